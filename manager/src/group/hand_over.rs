//! Leadership goes to another manager without an election timeout: proposals are held back, the successor gets what it
//! lacks, and is asked to stand for election at once. Used before this leader stops and before it is taken out.
//!
//! Nothing acknowledged is at risk: whoever wins has been voted for by a majority, as ever. When nobody takes over, this
//! manager leads on.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::{
    proposer::IN_FLIGHT_MAX,
    raft::members::{Group, Members},
};

/// For entries that are being written when proposals are held back.
const QUIET_MAX: Duration = Duration::from_millis(500);
/// For the successor to get the last entries.
const CATCH_UP_MAX: Duration = Duration::from_millis(300);
/// For the word to reach it, and for the election: votes are written down on two disks or three, which may be slow.
const ELECTION_MAX: Duration = Duration::from_millis(1_500);
/// Successors that are tried.
const TRIED_MAX: usize = 2;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandOverError {
    #[error("this manager does not lead")]
    NotLeader,
    #[error("no other manager can be reached that has all entries")]
    NoSuccessor,
    #[error("no other manager took over: {0}")]
    NotTaken(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Succession {
    pub(crate) members: Members,
    /// A place for each proposal under way; see [`crate::proposer`].
    pub(crate) proposals: Arc<Semaphore>,
}

/// Who could take over, the best first.
fn successors(group: &Group, me: u64) -> Vec<u64> {
    let others = group.voters.iter().filter(|id| **id != me && group.is_heard(**id, me));
    let mut ranked = others.map(|id| (group.matched.get(id).copied().unwrap_or(0), *id)).collect::<Vec<_>>();
    ranked.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.into_iter().map(|(_, id)| id).collect()
}

impl Succession {
    /// Returns once another manager leads.
    pub(crate) async fn hand_over(&self) -> Result<(), HandOverError> {
        let (began, me) = (Instant::now(), self.members.me());
        if !self.members.is_leading() {
            return Err(HandOverError::NotLeader);
        }
        // Held until the end. Without all of the places, an entry may overtake the word; the election decides then.
        let all = u32::try_from(IN_FLIGHT_MAX).unwrap_or(u32::MAX);
        let _held = timeout(QUIET_MAX, self.proposals.acquire_many(all)).await;
        let mut failed = HandOverError::NoSuccessor;
        for successor in successors(&self.members.now(), me).into_iter().take(TRIED_MAX) {
            let caught_up = |group: &Group| group.is_current(successor, me, 0);
            if timeout(CATCH_UP_MAX, self.members.until(caught_up)).await.is_err() {
                continue;
            }
            match self.give_to(successor).await {
                Ok(()) => {
                    tracing::info!(to = successor, took = ?began.elapsed(), "handed over");
                    return Ok(());
                }
                Err(why) => failed = HandOverError::NotTaken(why),
            }
        }
        Err(failed)
    }

    async fn give_to(&self, successor: u64) -> Result<(), String> {
        let given = async {
            self.members.hand_over(successor).await.map_err(|why| why.to_string())?;
            self.members.led_by_another().await;
            Ok(())
        };
        timeout(ELECTION_MAX, given).await.unwrap_or_else(|_elapsed| Err("it was not elected in time".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn who_has_most_comes_first_and_who_is_silent_not_at_all() {
        let group = Group {
            voters: BTreeSet::from([1, 2, 3, 4, 5]),
            matched: BTreeMap::from([(1, 90), (2, 80), (3, 90), (4, 90), (5, 99)]),
            silence: BTreeMap::from([(2, Duration::ZERO), (3, Duration::ZERO), (4, Duration::ZERO)]),
            ..Group::default()
        };
        assert_eq!(successors(&group, 1), [3, 4, 2]);
    }
}
