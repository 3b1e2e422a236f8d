//! No node's lease is renewed by a leader that has been succeeded: a node counts its lease from the sending of the last
//! heartbeat that was answered, and whoever leads next counts it from when it began to lead. What stops in isolation
//! runs at most once only if the first is never later than the second.
//!
//! Planted to prove it: heartbeats that are answered by whoever believes to lead.

use std::collections::BTreeMap;

use muster_proto::{id::NodeId, version::Term};
use tokio::time::Instant;

#[derive(Debug, Default)]
pub struct Seen(BTreeMap<Term, (u64, Instant)>);

impl Seen {
    pub fn leads(&mut self, term: Term, raft_id: u64) {
        self.0.entry(term).or_insert((raft_id, Instant::now()));
    }

    /// The manager has answered what the node sent then.
    pub fn renewed(&self, node: NodeId, raft_id: u64, sent: Instant) -> Result<(), String> {
        // Whoever leads again counts every lease anew.
        let own = self.0.iter().rfind(|(_, (leader, _))| *leader == raft_id).map(|(term, _)| *term);
        let mut later = self.0.iter().filter(|(term, _)| Some(**term) > own);
        match later.find(|(_, (_, began))| *began < sent) {
            Some((term, (_, began))) => Err(format!(
                "manager {raft_id} renewed the lease of node {node} from {} ms after another began to lead in term {term}",
                (sent - *began).as_millis()
            )),
            None => Ok(()),
        }
    }
}
