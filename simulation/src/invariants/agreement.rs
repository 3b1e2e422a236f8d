//! Two managers that applied the same number of commands have the same state.
//!
//! Not proved by a planted bug yet.

use std::collections::BTreeMap;

use muster_manager::digest::StateDigest;

/// A digest costs time; two managers compare at the same numbers.
const EVERY: u64 = 16;

#[derive(Debug, Default)]
pub struct Seen(BTreeMap<u64, (u64, String)>);

impl Seen {
    #[must_use]
    pub fn wants(&self, applied: u64) -> bool {
        applied.is_multiple_of(EVERY)
    }

    pub fn applied(&mut self, raft_id: u64, found: StateDigest) -> Result<(), String> {
        let StateDigest { applied_index, digest } = found;
        let (first, held) = self.0.entry(applied_index).or_insert((raft_id, digest.clone()));
        if *held == digest {
            return Ok(());
        }
        Err(format!("managers {first} and {raft_id} differ after {applied_index} commands: {held} and {digest}"))
    }
}
