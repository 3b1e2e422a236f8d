//! What is done to one of several managers, and for how long.

use std::{ops::Range, time::Duration};

use rand::{Rng, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// The short end is over before anyone notices, the long end outlasts an election and a lease.
const LASTS_MS: Range<u64> = 100..4000;
/// One kill in so many takes a second manager along, so that for a while nobody can write.
const SECOND_ONE_IN: u32 = 4;

/// The faults of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Kill,
    Pause,
    Partition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// SIGKILL, and started again.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Pause,
    /// Off the network, and on it again.
    Cut,
    /// It hears nothing of the others, which hear it.
    Deaf,
    /// The others hear nothing of it, which hears them.
    Mute,
}

/// A fault on one manager, by its place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    pub manager: usize,
    pub fault: Fault,
}

/// What happens in one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub strikes: Vec<Strike>,
    pub lasts: Duration,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill-manager",
            Kind::Pause => "pause-manager",
            Kind::Partition => "partition",
        }
    }

    pub(crate) fn plan(self, rng: &mut StdRng, managers: usize) -> Plan {
        let manager = rng.random_range(0..managers);
        let lasts = Duration::from_millis(rng.random_range(LASTS_MS));
        let second = rng.random_ratio(1, SECOND_ONE_IN);
        let fault = match self {
            Kind::Kill => Fault::Kill,
            Kind::Pause => Fault::Pause,
            Kind::Partition => [Fault::Cut, Fault::Deaf, Fault::Mute][rng.random_range(0..3)],
        };
        let mut strikes = vec![Strike { manager, fault }];
        if second && self == Kind::Kill {
            strikes.push(Strike { manager: (manager + 1) % managers, fault });
        }
        Plan { strikes, lasts }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_manager_is_struck_and_a_majority_at_times() {
        let mut rng = StdRng::seed_from_u64(7);
        let plans: Vec<Plan> = (0..100).map(|_| Kind::Kill.plan(&mut rng, 3)).collect();
        let struck: BTreeSet<usize> = plans.iter().map(|plan| plan.strikes[0].manager).collect();
        assert_eq!(struck.len(), 3);
        assert!(plans.iter().any(|plan| plan.strikes.len() == 2));
        assert!(plans.iter().all(|plan| plan.strikes.len() < 2 || plan.strikes[0].manager != plan.strikes[1].manager));
    }

    #[test]
    fn partitions_are_whole_and_one_way() {
        let mut rng = StdRng::seed_from_u64(7);
        let faults = (0..100).map(|_| Kind::Partition.plan(&mut rng, 3).strikes[0].fault);
        let faults: Vec<Fault> = faults.collect();
        assert!([Fault::Cut, Fault::Deaf, Fault::Mute].iter().all(|fault| faults.contains(fault)));
    }
}
