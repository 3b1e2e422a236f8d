//! At most one manager leads in a term.

use std::collections::BTreeMap;

use muster_proto::version::Term;

#[derive(Debug, Default)]
pub struct Seen(BTreeMap<Term, u64>);

impl Seen {
    pub fn leads(&mut self, term: Term, raft_id: u64) -> Result<(), String> {
        match *self.0.entry(term).or_insert(raft_id) {
            first if first == raft_id => Ok(()),
            first => Err(format!("managers {first} and {raft_id} both lead in term {term}")),
        }
    }
}
