//! Where two logs have the same entry, they have the same entries before it. Looked at after each fault.
//!
//! Planted to prove it: a follower that keeps what it has where its leader has something else, and takes what follows.

use std::collections::BTreeMap;

/// Of two managers: the records of their logs, by key, which sorts them by index.
pub fn matching(a: (u64, &BTreeMap<Vec<u8>, Vec<u8>>), b: (u64, &BTreeMap<Vec<u8>, Vec<u8>>)) -> Result<(), String> {
    let shared: Vec<(&Vec<u8>, bool)> =
        a.1.iter().filter_map(|(key, record)| Some((key, b.1.get(key)? == record))).collect();
    let Some(last) = shared.iter().rposition(|(_, same)| *same) else { return Ok(()) };
    match shared[..last].iter().find(|(_, same)| !same) {
        Some((key, _)) => Err(format!(
            "the logs of managers {} and {} differ at {:02x?} and are the same after it, at {:02x?}",
            a.0, b.0, key, shared[last].0
        )),
        None => Ok(()),
    }
}
