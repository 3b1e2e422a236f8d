//! Which change of the managers' Raft group comes next. Pure: what the group is, what it should be, who has been heard
//! of; the shell around it is [`super::Service`].
//!
//! No step of its own makes the voters that are heard of less than a majority, and the leader never takes itself out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::raft::{Peer, members::Group};

/// A learner this close has as good as everything; what it lacks comes while the change is committed.
const LAG_MAX: u64 = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    AddLearner {
        raft_id: u64,
        peer: Peer,
    },
    Readdress {
        raft_id: u64,
        peer: Peer,
    },
    /// Also completes such a change where an earlier leader has left it half-way.
    SetVoters(BTreeSet<u64>),
    RemoveLearner(u64),
    /// This leader is to go.
    HandOver,
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::AddLearner { raft_id, peer } => write!(out, "manager {raft_id} ({peer}) begins to learn"),
            Step::Readdress { raft_id, peer } => write!(out, "manager {raft_id} is {peer} now"),
            Step::SetVoters(voters) => {
                out.write_str("the voters are")?;
                voters.iter().try_for_each(|id| write!(out, " {id}"))
            }
            Step::RemoveLearner(raft_id) => write!(out, "manager {raft_id} learns no more"),
            Step::HandOver => out.write_str("this manager hands over"),
        }
    }
}

/// `wanted`: the managers of the state by Raft id. `me`: the leader.
pub(crate) fn next_step(group: &Group, wanted: &BTreeMap<u64, Peer>, me: u64) -> Option<Step> {
    if let Some(goal) = group.joint.as_ref().filter(|_| !group.uncommitted) {
        return Some(Step::SetVoters(goal.clone()));
    }
    if group.changing || group.voters.iter().all(|id| !wanted.contains_key(id)) {
        return None;
    }
    let look = Look { group, wanted, me };
    look.readdress()
        .or_else(|| group.learners.iter().find(|id| !wanted.contains_key(id)).map(|id| Step::RemoveLearner(*id)))
        .or_else(|| look.remove_voter(Presence::Silent))
        .or_else(|| look.add_learner())
        .or_else(|| look.promote())
        .or_else(|| look.remove_voter(Presence::Heard))
        .or_else(|| look.hand_over())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Heard,
    Silent,
}

struct Look<'a> {
    group: &'a Group,
    wanted: &'a BTreeMap<u64, Peer>,
    me: u64,
}

impl Look<'_> {
    fn readdress(&self) -> Option<Step> {
        let moved = self.wanted.iter().find(|(id, peer)| self.group.peers.get(id).is_some_and(|known| known != *peer));
        moved.map(|(id, peer)| Step::Readdress { raft_id: *id, peer: peer.clone() })
    }

    fn add_learner(&self) -> Option<Step> {
        let missing = self.wanted.iter().find(|(id, _)| !self.group.peers.contains_key(id));
        missing.map(|(id, peer)| Step::AddLearner { raft_id: *id, peer: peer.clone() })
    }

    fn promote(&self) -> Option<Step> {
        let ready = |id: &&u64| self.wanted.contains_key(id) && self.group.is_current(**id, self.me, LAG_MAX);
        let mut promoted = self.group.learners.iter().filter(ready).map(|id| {
            let mut voters = self.group.voters.clone();
            voters.insert(*id);
            voters
        });
        promoted.find(|voters| self.keeps_quorum(voters)).map(Step::SetVoters)
    }

    /// Whoever is silent first: without it the others need fewer of them.
    fn remove_voter(&self, presence: Presence) -> Option<Step> {
        let of_presence = |id: u64| match presence {
            Presence::Heard => self.group.is_heard(id, self.me),
            Presence::Silent => !self.group.is_heard(id, self.me),
        };
        let leaving = self.group.voters.iter().filter(|id| **id != self.me && !self.wanted.contains_key(id));
        let mut left = leaving.filter(|id| of_presence(**id)).map(|id| {
            let mut voters = self.group.voters.clone();
            voters.remove(id);
            voters
        });
        left.find(|voters| self.keeps_quorum(voters)).map(Step::SetVoters)
    }

    fn hand_over(&self) -> Option<Step> {
        let mut successors = self.group.voters.iter().filter(|id| **id != self.me && self.wanted.contains_key(id));
        let leaves = !self.wanted.contains_key(&self.me);
        (leaves && successors.any(|id| self.group.is_current(*id, self.me, LAG_MAX))).then_some(Step::HandOver)
    }

    fn keeps_quorum(&self, voters: &BTreeSet<u64>) -> bool {
        let heard = voters.iter().filter(|id| self.group.is_heard(**id, self.me)).count();
        heard > voters.len() / 2
    }
}

#[cfg(test)]
mod tests;
