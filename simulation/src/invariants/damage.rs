//! A manager whose log is damaged where it was durable does not start, whatever else has happened to it.
//!
//! Planted to prove it: records that are read without a look at their checksum.

pub fn opened(raft_id: u64, is_damaged: bool) -> Result<(), String> {
    if is_damaged { Err(format!("manager {raft_id} starts on a damaged log")) } else { Ok(()) }
}
