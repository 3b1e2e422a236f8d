//! What became of the latest requests of users, so that a request which is repeated (its answer was lost with a leader)
//! is answered with its first outcome and not done twice.

use std::collections::{BTreeMap, VecDeque};

use muster_proto::id::RequestId;
use serde::{Deserialize, Serialize};

use crate::command::Outcome;

/// A repetition comes within 10 s, which is how long a request is waited for (`manager/src/forward.rs`). So this covers
/// 6,500 requests a second, several times what one leader's disk takes; each costs about 100 bytes.
const REMEMBERED_MAX: usize = 65_536;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Requests {
    outcomes: BTreeMap<RequestId, Outcome>,
    /// The oldest first.
    order: VecDeque<RequestId>,
}

/// As it is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Rows(Vec<(RequestId, Outcome)>);

impl Requests {
    pub(crate) fn outcome(&self, id: RequestId) -> Option<&Outcome> {
        self.outcomes.get(&id)
    }

    pub(crate) fn remember(&mut self, id: RequestId, outcome: Outcome) {
        if self.outcomes.insert(id, outcome).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > REMEMBERED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.outcomes.remove(&oldest);
            }
        }
    }
}

impl From<&Requests> for Rows {
    fn from(requests: &Requests) -> Self {
        let row = |id: &RequestId| requests.outcomes.get(id).map(|outcome| (*id, outcome.clone()));
        Self(requests.order.iter().filter_map(row).collect())
    }
}

impl From<Rows> for Requests {
    fn from(rows: Rows) -> Self {
        let mut requests = Self::default();
        rows.0.into_iter().for_each(|(id, outcome)| requests.remember(id, outcome));
        requests
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::version::Version;

    use super::*;

    fn done(version: u64) -> Outcome {
        Outcome::Done { version: Version(version) }
    }

    #[test]
    fn the_oldest_is_forgotten_first_and_rows_read_back() {
        let id = |number: usize| RequestId::from_bits(number as u128);
        let mut requests = Requests::default();
        for number in 0..=REMEMBERED_MAX {
            requests.remember(id(number), done(number as u64));
        }
        assert_eq!(requests.outcome(id(0)), None);
        assert_eq!(requests.outcome(id(1)), Some(&done(1)));
        assert_eq!(requests.outcome(id(REMEMBERED_MAX)), Some(&done(REMEMBERED_MAX as u64)));
        assert_eq!(Requests::from(Rows::from(&requests)), requests);
    }
}
