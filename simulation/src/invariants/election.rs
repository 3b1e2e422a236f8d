//! Who has voted keeps to it, whatever happens to it meanwhile, and who leads was voted for by more than half.
//!
//! A term here is openraft's and the candidate's number: one manager may vote twice in one of openraft's terms, for
//! candidates of rising numbers, and two may lead in it one after the other. What makes that safe is that no manager
//! ever goes back behind a vote that it gave, also not after it lost power. So it is what managers say that is looked
//! at, at the moment they say it, and what their disks know of it when they start again.
//!
//! Planted to prove it: a vote that is answered before it is durable (seen by what the disk knows at a start); a vote
//! that is given to whoever asks (seen by what is said); a candidate that leads with the votes of half (seen by who
//! voted).

use std::collections::{BTreeMap, BTreeSet};

use muster_manager::raft::promise::Promise;
use muster_proto::version::Term;

#[derive(Debug, Default)]
pub struct Seen {
    /// The latest term that each manager is bound to.
    bound: BTreeMap<u64, Term>,
    votes: BTreeMap<Term, BTreeSet<u64>>,
    leaders: BTreeMap<Term, u64>,
    /// Once the cluster has formed. Before that there are fewer.
    voters: Option<u64>,
}

impl Seen {
    pub fn formed(&mut self, voters: u64) {
        self.voters = Some(voters);
    }

    /// A manager has said so.
    pub fn promises(&mut self, raft_id: u64, promise: Promise) -> Result<(), String> {
        let bound = self.bound.entry(raft_id).or_insert(promise.term());
        let earlier = std::mem::replace(bound, promise.term().max(*bound));
        if let Promise::Vote(term) = promise {
            self.votes.entry(term).or_default().insert(raft_id);
        }
        if promise.term() < earlier {
            return Err(format!("manager {raft_id} was bound to term {earlier} and says {promise:?}"));
        }
        Ok(())
    }

    /// What a manager finds on its disk when it starts.
    pub fn starts(&self, raft_id: u64, kept: Option<Term>) -> Result<(), String> {
        match self.bound.get(&raft_id) {
            Some(bound) if kept.is_none_or(|kept| kept < *bound) => {
                Err(format!("manager {raft_id} starts with term {kept:?} and had bound itself to {bound}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub fn leads(&mut self, term: Term, raft_id: u64) -> Result<(), String> {
        match self.leaders.get(&term) {
            Some(first) if *first == raft_id => return Ok(()),
            Some(first) => return Err(format!("managers {first} and {raft_id} both lead in term {term}")),
            None => drop(self.leaders.insert(term, raft_id)),
        }
        let Some(voters) = self.voters else { return Ok(()) };
        // Its own is not said to anybody.
        let votes =
            self.votes.get(&term).map_or(0, |votes| votes.iter().filter(|voter| **voter != raft_id).count()) + 1;
        if votes as u64 > voters / 2 {
            return Ok(());
        }
        Err(format!("manager {raft_id} leads in term {term} with {votes} votes of {voters}"))
    }
}
