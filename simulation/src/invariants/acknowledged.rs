//! What was acknowledged is found on every manager: services that were created are there, those removed are not. Reads
//! are held to the same while faults come (`simulation/src/clients.rs`).
//!
//! Planted to prove it: entries that are acknowledged before they are durable; reads that do not ask whether this manager
//! still leads.

use std::collections::BTreeMap;

use muster_core::state::State;
use muster_proto::id::ServiceId;

use crate::clients::Known;

pub fn found(raft_id: u64, state: &State, known: &BTreeMap<ServiceId, Known>) -> Result<(), String> {
    for (id, known) in known {
        match (known, state.service(*id)) {
            (Known::Created, None) => {
                return Err(format!("manager {raft_id} has lost service {id}, whose creation was acknowledged"));
            }
            (Known::Removed, Some(_)) => {
                return Err(format!("manager {raft_id} still has service {id}, whose removal was acknowledged"));
            }
            (Known::Created, Some(_)) | (Known::Removed, None) | (Known::Asked | Known::Leaving, _) => {}
        }
    }
    Ok(())
}
