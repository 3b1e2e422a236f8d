//! How often agents say that they live, and for how long that is good. The settings name the longest pause between two
//! heartbeats and the lease; there are ten in a lease at least, and both are stretched where there are so many nodes that
//! their heartbeats alone would keep the leader busy.
//!
//! Every session begins with them, and ends when they change. What the leader grants is never shorter than what an agent
//! may count on: after a change the longer lease counts on, until its agent has begun a session under the new terms.

use std::time::Duration;

use muster_proto::{
    cluster::{ClusterSpec, FormerLease},
    time::Timestamp,
};

use crate::state::State;

/// What a leader takes in beside its other work: a heartbeat costs it some 20 µs, and these a tenth of one core.
pub const HEARTBEATS_PER_SECOND_MAX: u32 = 5_000;
/// At least. A lease counts from the last heartbeat that was answered: whatever passes between it and a cut is taken from
/// what a node can be cut off for.
const HEARTBEATS_IN_A_LEASE: u32 = 10;
/// A lease so short that this is more than a tenth of it is nobody's.
const PERIOD_MIN: Duration = Duration::from_millis(50);
/// For how long a new leader reckons with a lease that was granted before a change, beyond that lease. Generous, because
/// managers' clocks differ; it makes no difference but in the first lease after a leader change.
const FORMER_LEASE_SLACK: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What agents are told, and keep to.
    pub heartbeat: Duration,
    pub lease: Duration,
}

impl Terms {
    #[must_use]
    pub fn of(state: &State) -> Self {
        let nodes = u32::try_from(state.nodes.len()).unwrap_or(u32::MAX);
        match state.cluster() {
            Some(cluster) => Self::stretched(&cluster.spec, nodes),
            None => Self::stretched(&ClusterSpec::default(), nodes),
        }
    }

    /// Doubled until so many nodes send no more than [`HEARTBEATS_PER_SECOND_MAX`]. In steps that are that coarse because
    /// each ends all sessions once.
    #[must_use]
    pub fn stretched(spec: &ClusterSpec, nodes: u32) -> Self {
        let mut heartbeat = spec.heartbeat.min(spec.lease / HEARTBEATS_IN_A_LEASE).max(PERIOD_MIN);
        let mut lease = spec.lease;
        while Duration::from_secs(nodes.into()) > heartbeat.saturating_mul(HEARTBEATS_PER_SECOND_MAX) {
            (heartbeat, lease) = (heartbeat.saturating_mul(2), lease.saturating_mul(2));
        }
        Self { heartbeat, lease }
    }
}

/// The longest lease that an agent may count on which the managers cannot hear.
#[must_use]
pub fn longest_lease(state: &State, now: Timestamp) -> Duration {
    let former = state.cluster().and_then(|cluster| cluster.former_lease.as_ref());
    let counts = former.filter(|former| now.since(former.changed_at) < former.lease.saturating_add(FORMER_LEASE_SLACK));
    Terms::of(state).lease.max(counts.map(|former| former.lease).unwrap_or_default())
}

/// What is to be remembered when terms that were `before` are so no more; None: nothing new.
pub(crate) fn former_lease(state: &State, before: Terms, now: Timestamp) -> Option<FormerLease> {
    let is_shorter = Terms::of(state).lease < before.lease;
    is_shorter.then(|| FormerLease { lease: before.lease.max(longest_lease(state, now)), changed_at: now })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn stretched(heartbeat: Duration, lease: Duration, nodes: u32) -> (Duration, Duration) {
        let spec = ClusterSpec { heartbeat, lease, ..ClusterSpec::default() };
        let Terms { heartbeat, lease } = Terms::stretched(&spec, nodes);
        (heartbeat, lease)
    }

    #[test]
    fn there_are_ten_in_a_lease_or_more() {
        assert_eq!(stretched(SECOND, SECOND * 3, 3), (SECOND * 3 / 10, SECOND * 3), "the defaults");
        assert_eq!(stretched(SECOND, SECOND * 10, 3), (SECOND, SECOND * 10));
        assert_eq!(stretched(SECOND, SECOND * 60, 3), (SECOND, SECOND * 60), "more often, where that is asked for");
        assert_eq!(stretched(SECOND / 10, SECOND * 3, 3), (SECOND / 10, SECOND * 3));
        assert_eq!(
            stretched(Duration::ZERO, Duration::ZERO, u32::MAX).1,
            Duration::ZERO,
            "refused before, and no loop"
        );
    }

    #[test]
    fn large_clusters_beat_slower() {
        let default = |nodes| stretched(SECOND, SECOND * 3, nodes);
        assert_eq!(default(1_500), (SECOND * 3 / 10, SECOND * 3));
        assert_eq!(default(1_501), (SECOND * 6 / 10, SECOND * 6));
        assert_eq!(default(10_000), (SECOND * 24 / 10, SECOND * 24));
        assert_eq!(stretched(SECOND * 5, SECOND * 60, 10_000), (SECOND * 5, SECOND * 60), "who beats slowly is not");
    }

    /// Of what agents keep to, and not of what was set.
    #[test]
    fn it_never_beats_more_than_it_may() {
        for nodes in [1, 999, 1_000, 4_001, 65_536, 1_000_000] {
            for (heartbeat, lease) in [(100, 300), (333, 1_000), (1_000, 3_000), (60_000, 600_000)] {
                let ms = Duration::from_millis;
                let (heartbeat, _) = stretched(ms(heartbeat), ms(lease), nodes);
                assert!(f64::from(nodes) / heartbeat.as_secs_f64() <= f64::from(HEARTBEATS_PER_SECOND_MAX));
            }
        }
    }
}
