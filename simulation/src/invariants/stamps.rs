//! Time in the state never goes back, however wrong the clocks of its leaders are.
//!
//! Not proved by a planted bug yet.

use std::collections::BTreeMap;

use muster_proto::time::Timestamp;

/// The latest that any manager had applied, and its stamp.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<u64, Timestamp>);

impl Seen {
    pub fn applied(
        &mut self,
        raft_id: u64,
        before: &mut Option<(u64, Timestamp)>,
        index: u64,
        stamp: Timestamp,
    ) -> Result<(), String> {
        self.0.insert(index, stamp);
        let earlier = before.replace((index, stamp));
        match earlier {
            Some((at, earlier)) if index > at && stamp < earlier => {
                Err(format!("on manager {raft_id} time goes back from {earlier} at {at} to {stamp} at {index}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}
