//! A manager whose log is damaged where it was durable does not start, whatever else has happened to it.
//!
//! Not proved by a planted bug yet.

pub fn opened(raft_id: u64, is_damaged: bool) -> Result<(), String> {
    if is_damaged { Err(format!("manager {raft_id} starts on a damaged log")) } else { Ok(()) }
}
