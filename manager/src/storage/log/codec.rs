//! Log entries as records and back. MessagePack with names: a field added later is skipped by who does not know it,
//! where the entry's format allows that.

use muster_core::command::LOG_FORMAT;
use openraft::EntryPayload;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    raft::{TypeConfig, batch, msgpack::Reader},
    storage::{
        record::{self, PAYLOAD_BYTES_MAX, Record},
        store::{Pair, Write},
    },
};

pub(crate) type Entry = openraft::Entry<TypeConfig>;

/// Letters of the keys; entries sort by index, then part.
const ENTRY: u8 = b'l';
pub(super) const VOTE: &[u8] = b"v";
pub(super) const COMMITTED: &[u8] = b"c";
pub(super) const PURGED: &[u8] = b"p";

/// Why a record could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("{0}")]
    Damaged(String),
    #[error("the log has an entry of format {0}, this muster reads {LOG_FORMAT}; run the muster version that wrote it")]
    Format(u16),
}

pub(super) fn key(index: u64, part: u16) -> Vec<u8> {
    let mut key = vec![ENTRY];
    key.extend(index.to_be_bytes());
    key.extend(part.to_be_bytes());
    key
}

pub(super) fn index_of(key: &[u8]) -> Option<(u64, u16)> {
    let (index, part) = key.strip_prefix(&[ENTRY])?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*index), u16::from_be_bytes(part.try_into().ok()?)))
}

/// The newest format among the entry's commands; zero where it has none.
fn format_of(entry: &Entry) -> u16 {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.entries().iter().map(|entry| entry.format).max().unwrap_or(0),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

pub(super) fn encode_entry(entry: &Entry) -> Result<Vec<Write>, rmp_serde::encode::Error> {
    let mut payload = Vec::new();
    batch::encode_entry(entry, &mut payload)?;
    let format = format_of(entry);
    let pieces: Vec<_> = payload.chunks(PAYLOAD_BYTES_MAX).collect();
    let parts = u16::try_from(pieces.len()).expect("an entry is bounded far below 65,535 parts");
    let numbered = (0..parts).zip(pieces);
    Ok(numbered
        .map(|(part, payload)| {
            let key = key(entry.log_id.index, part);
            let value = record::seal(&key, Record { format, parts, payload });
            Write::Put { key, value }
        })
        .collect())
}

pub(super) fn encode_single<T: Serialize>(key: &[u8], value: &T) -> Result<Write, rmp_serde::encode::Error> {
    let payload = rmp_serde::to_vec_named(value)?;
    let value = record::seal(key, Record { format: 0, parts: 1, payload: &payload });
    Ok(Write::Put { key: key.to_vec(), value })
}

pub(super) fn decode_single<T: DeserializeOwned>(what: &str, key: &[u8], sealed: &[u8]) -> Result<T, Unreadable> {
    let record = record::open(key, sealed).ok_or_else(|| Unreadable::Damaged(format!("{what} does not add up")))?;
    rmp_serde::from_slice(record.payload).map_err(|_| Unreadable::Damaged(format!("{what} cannot be read")))
}

/// Puts records back together, in their order, and insists that none is missing.
#[derive(Debug)]
pub(super) struct Assembler {
    /// The index that must come next, once one has.
    next: Option<u64>,
    parts_read: u16,
    payload: Vec<u8>,
}

impl Assembler {
    /// `first`: the index to begin with; None accepts any.
    pub(super) fn new(first: Option<u64>) -> Self {
        Self { next: first, parts_read: 0, payload: Vec::new() }
    }

    /// The entry that this record completes, if it does.
    pub(super) fn push(&mut self, (key, sealed): &Pair) -> Result<Option<Entry>, Unreadable> {
        let (index, part) =
            index_of(key).ok_or_else(|| Unreadable::Damaged("a record has a name that is not muster's".into()))?;
        let damaged = |how: &str| Unreadable::Damaged(format!("entry {index} {how}"));
        if let Some(next) = self.next.filter(|next| *next != index) {
            return Err(Unreadable::Damaged(format!("entry {next} is missing")));
        }
        let record = record::open(key, sealed).ok_or_else(|| damaged("does not add up"))?;
        if part != self.parts_read {
            return Err(damaged("has a part missing"));
        }
        self.next = Some(index);
        self.payload.extend(record.payload);
        self.parts_read += 1;
        if self.parts_read < record.parts {
            return Ok(None);
        }
        if record.format > LOG_FORMAT {
            return Err(Unreadable::Format(record.format));
        }
        let entry = batch::decode_entry(&mut Reader::of(&self.payload)).ok_or_else(|| damaged("cannot be read"))?;
        if entry.log_id.index != index {
            return Err(damaged("is in another's place"));
        }
        *self = Self::new(Some(index + 1));
        Ok(Some(entry))
    }

    /// Call after the last record.
    pub(super) fn finish(&self) -> Result<(), Unreadable> {
        match (self.parts_read, self.next) {
            (0, _) | (_, None) => Ok(()),
            (_, Some(index)) => Err(Unreadable::Damaged(format!("entry {index} has a part missing"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_core::command::{self, Command};
    use muster_proto::{id::ServiceId, time::Timestamp};
    use openraft::testing::{blank_ent, log_id};

    use super::*;
    use crate::raft::Batch;

    fn entry(index: u64, format: u16, commands: usize) -> Entry {
        let command = Command::RemoveService { id: ServiceId::from_bits(7) };
        let one = command::Entry { format, at: Timestamp::from_millis(1), request: None, command };
        let batch = Batch::new(vec![one; commands]);
        Entry { log_id: log_id(1, 1, index), payload: EntryPayload::Normal(batch) }
    }

    fn pairs(entry: &Entry) -> Vec<Pair> {
        let writes = encode_entry(entry).unwrap();
        writes
            .into_iter()
            .map(|write| match write {
                Write::Put { key, value } => (key, value),
                Write::Delete { .. } => panic!("an entry is put"),
            })
            .collect()
    }

    fn read(first: Option<u64>, records: &[Pair]) -> Result<Vec<Entry>, Unreadable> {
        let mut assembler = Assembler::new(first);
        let mut entries = Vec::new();
        for record in records {
            entries.extend(assembler.push(record)?);
        }
        assembler.finish().map(|()| entries)
    }

    #[test]
    fn a_long_entry_takes_several_records_and_comes_back_whole() {
        let long = entry(5, LOG_FORMAT, 5_000);
        let records = pairs(&long);
        assert!(records.len() > 2 && records.iter().all(|(_, value)| value.len() < 64 << 10));
        assert_eq!(read(Some(5), &records), Ok(vec![long]));
    }

    #[test]
    fn any_missing_part_is_named() {
        let records = pairs(&entry(5, LOG_FORMAT, 5_000));
        for missing in 0..records.len() {
            let mut rest = records.clone();
            rest.remove(missing);
            assert_eq!(read(Some(5), &rest), Err(Unreadable::Damaged("entry 5 has a part missing".into())));
        }
    }

    #[test]
    fn a_gap_is_named() {
        let records = [pairs(&blank_ent(1, 1, 3)), pairs(&blank_ent(1, 1, 5))].concat();
        assert_eq!(read(None, &records), Err(Unreadable::Damaged("entry 4 is missing".into())));
        assert_eq!(read(Some(2), &records), Err(Unreadable::Damaged("entry 2 is missing".into())));
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        assert_eq!(read(None, &pairs(&entry(5, LOG_FORMAT + 1, 1))), Err(Unreadable::Format(LOG_FORMAT + 1)));
    }
}
