//! What one Raft entry carries: the commands that were waiting when the log was free, in the order they came. Openraft
//! 0.9 syncs the log once for each entry of a leader, so that batching has to happen here. They are applied one after
//! the other under one lock, each with a number of its own: what `muster_core` calls the log index counts commands.
//!
//! The log, each follower and the state machine take the same batch: it is shared, not copied, and encoded once. Whoever
//! makes one applies its commands as they are, everybody else as they come back from their bytes: that must be the same
//! (`docs/adr/0007-log-formats.md`).
//! Knows the shape that rmp-serde gives an entry, so that one can be written around bytes that there are already, and
//! so that what came from another manager goes into the log as it came.

use std::sync::{Arc, OnceLock};

use muster_core::command::Entry;
use openraft::EntryPayload;
use rmp_serde::encode::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    proposer,
    raft::{
        TypeConfig,
        msgpack::{Fields, Reader, array},
        transport::MESSAGE_BYTES_MAX,
    },
};

/// What an entry or a command has around its own bytes, at the most.
const AROUND_BYTES_MAX: usize = 128;

#[derive(Clone)]
pub(crate) struct Batch(Arc<Inner>);

struct Inner {
    entries: Vec<Entry>,
    encoded: OnceLock<Vec<u8>>,
}

/// As it is written.
#[derive(Serialize)]
#[serde(rename = "Batch")]
struct Written<'a> {
    entries: &'a [Entry],
}

#[derive(Deserialize)]
#[serde(rename = "Batch")]
struct Read {
    entries: Vec<Entry>,
}

impl Batch {
    pub(crate) fn new(entries: Vec<Entry>) -> Self {
        Self(Arc::new(Inner { entries, encoded: OnceLock::new() }))
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.0.entries
    }

    /// Of commands that are encoded already: the bytes of each, in their order.
    pub(crate) fn of(entries: Vec<Entry>, commands: &[Vec<u8>]) -> Self {
        // What cannot be put together fails where it is asked for.
        let encoded = around(&entries, commands).map_or_else(|_| OnceLock::new(), OnceLock::from);
        debug_assert!(encoded.get().is_some_and(|bytes| comes_back(bytes, &entries)), "{entries:?} does not come back");
        Self(Arc::new(Inner { entries, encoded }))
    }

    /// MessagePack with names.
    pub(crate) fn encoded(&self) -> Result<&[u8], Error> {
        let encoded = &self.0.encoded;
        if let Some(encoded) = encoded.get() {
            return Ok(encoded);
        }
        let bytes = rmp_serde::to_vec_named(&Written { entries: &self.0.entries })?;
        Ok(encoded.get_or_init(|| bytes))
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Batch").field("entries", &self.0.entries).finish()
    }
}

impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        self.0.entries == other.0.entries
    }
}

impl Serialize for Batch {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        Written { entries: &self.0.entries }.serialize(out)
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Read::deserialize(from).map(|read| Self::new(read.entries))
    }
}

/// This manager applies the commands as they are here, the others as they come back from their bytes.
fn comes_back(bytes: &[u8], entries: &[Entry]) -> bool {
    rmp_serde::from_slice::<Read>(bytes).is_ok_and(|read| read.entries == entries)
}

fn around(entries: &[Entry], commands: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(commands.iter().map(|command| command.len() + AROUND_BYTES_MAX).sum());
    array(entries.len(), Fields::of(1, &mut out).named("entries"))?;
    for (entry, encoded) in entries.iter().zip(commands) {
        // Taken apart, so that a field added later is not forgotten here.
        let Entry { format, at, request, command: _ } = entry;
        let mut fields = Fields::of(if request.is_some() { 4 } else { 3 }, &mut out);
        fields.field("format", format)?;
        fields.field("at", at)?;
        if request.is_some() {
            fields.field("request", request)?;
        }
        fields.named("command").extend(encoded);
    }
    Ok(out)
}

/// As rmp-serde does it, around the batch's bytes.
pub(crate) fn encode_entry(entry: &openraft::Entry<TypeConfig>, out: &mut Vec<u8>) -> Result<(), Error> {
    match &entry.payload {
        EntryPayload::Normal(batch) => {
            let mut fields = Fields::of(2, out);
            fields.field("log_id", &entry.log_id)?;
            Fields::of(1, fields.named("payload")).named("Normal").extend(batch.encoded()?);
            Ok(())
        }
        EntryPayload::Blank | EntryPayload::Membership(_) => rmp_serde::encode::write_named(out, entry),
    }
}

/// What an entry takes, near enough.
pub(crate) fn encoded_len(entry: &openraft::Entry<TypeConfig>) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => {
            batch.encoded().map_or(MESSAGE_BYTES_MAX, |encoded| encoded.len() + AROUND_BYTES_MAX)
        }
        EntryPayload::Blank | EntryPayload::Membership(_) => proposer::encoded_len(entry),
    }
}

/// What [`encode_entry`] wrote, here or in another manager; the batch keeps its bytes.
pub(crate) fn decode_entry(reader: &mut Reader<'_>) -> Option<openraft::Entry<TypeConfig>> {
    let (mut log_id, mut payload) = (None, None);
    for _ in 0..reader.map()? {
        match reader.name()? {
            "log_id" => log_id = reader.read(),
            "payload" => payload = decode_payload(reader),
            // Of a later version.
            _ => drop(reader.value()?),
        }
    }
    Some(openraft::Entry { log_id: log_id?, payload: payload? })
}

fn decode_payload(reader: &mut Reader<'_>) -> Option<EntryPayload<TypeConfig>> {
    let mut inner = *reader;
    if inner.map() != Some(1) || inner.name() != Some("Normal") {
        return reader.read();
    }
    let encoded = inner.value()?;
    *reader = inner;
    let Read { entries } = rmp_serde::from_slice(encoded).ok()?;
    Some(EntryPayload::Normal(Batch(Arc::new(Inner { entries, encoded: OnceLock::from(encoded.to_vec()) }))))
}

#[cfg(test)]
mod tests {
    use muster_core::command::{self, Command};
    use muster_proto::{
        id::{RequestId, ServiceId},
        service::ServiceSpec,
        time::Timestamp,
    };
    use openraft::testing::{blank_ent, log_id};

    use super::*;

    fn batch(count: u128) -> Batch {
        let entry = |number: u128| {
            let request = number.is_multiple_of(2).then_some(RequestId::from_bits(number));
            let spec = Box::new(ServiceSpec::new(format!("web{number}"), "app:1"));
            let command = Command::CreateService { id: ServiceId::from_bits(number), spec };
            command::Entry::new(Timestamp::from_millis(7), request, command)
        };
        let entries: Vec<_> = (0..count).map(entry).collect();
        let commands: Vec<_> = entries.iter().map(|entry| rmp_serde::to_vec_named(&entry.command).unwrap()).collect();
        Batch::of(entries, &commands)
    }

    #[test]
    fn what_is_put_together_by_hand_is_what_rmp_serde_writes() {
        for count in [0, 1, 2, 15, 16, 256] {
            let batch = batch(count);
            assert_eq!(batch.encoded().unwrap(), rmp_serde::to_vec_named(&batch).unwrap());
            let entry = openraft::Entry { log_id: log_id(1, 2, 3), payload: EntryPayload::Normal(batch) };
            let mut bytes = Vec::new();
            encode_entry(&entry, &mut bytes).unwrap();
            assert_eq!(bytes, rmp_serde::to_vec_named(&entry).unwrap());
            assert!(bytes.len() <= encoded_len(&entry));
            assert_eq!(decode_entry(&mut Reader::of(&bytes)), Some(entry));
        }
    }

    #[test]
    fn entries_of_openraft_s_own_come_back_too() {
        let blank = blank_ent::<TypeConfig>(1, 2, 3);
        let mut bytes = Vec::new();
        encode_entry(&blank, &mut bytes).unwrap();
        assert_eq!(decode_entry(&mut Reader::of(&bytes)), Some(blank));
        assert_eq!(decode_entry(&mut Reader::of(&bytes[1..])), None);
    }
}
