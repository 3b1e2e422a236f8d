//! The bytes of the managers' Raft messages: the only file that encodes and decodes them, but for the entries inside,
//! which go as they are in the log ([`batch`]).
//!
//! ```text
//! format (2) | envelope: MessagePack with names
//! ```
//!
//! A field added later is skipped by who does not know it; what an older version could misread raises the format, and
//! such a message is refused. The entries inside carry formats of their own.

use muster_proto::id::ClusterId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::raft::{
    SnapshotMeta, TypeConfig, Vote,
    batch::{self, decode_entry, encode_entry},
    msgpack::{self, Fields, Reader},
    standing::Refusal,
    transport::MESSAGE_BYTES_MAX,
};

pub(crate) type Append = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub(crate) type Appended = openraft::raft::AppendEntriesResponse<u64>;
pub(crate) type VoteAsked = openraft::raft::VoteRequest<u64>;
pub(crate) type VoteGiven = openraft::raft::VoteResponse<u64>;
pub(crate) type SnapshotTaken = openraft::raft::SnapshotResponse<u64>;

const FORMAT: u16 = 1;
/// Around the entries of a message.
const ENVELOPE_BYTES_MAX: usize = 16 << 10;

/// Who sends, to whom, and in which cluster: a message that strayed is not even looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) cluster: ClusterId,
    /// Of the sender's state. Zero: it has none yet.
    pub(crate) incarnation: u64,
    /// The sender's Raft id.
    pub(crate) from: u64,
    /// The receiver's Raft id.
    pub(crate) to: u64,
    pub(crate) body: T,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply<T> {
    Given(T),
    /// The receiver has nothing to do with the sender.
    Refused(Refusal),
    /// To an append: the receiver follows, and has no room for the entries. A sender of the version before takes it for
    /// a refusal.
    NoRoom,
}

/// A candidate asks for a vote, or whether it should.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ballot {
    pub(crate) asked: VoteAsked,
    pub(crate) why: Candidacy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Candidacy {
    /// Not yet one: would this member want another leader? Answered with [`Sounded`], and nobody is bound by it.
    Sounding,
    /// No leader was heard of.
    Silence,
    /// The leader of this term hands over: that it was heard of lately is no reason to refuse.
    HandedOver { term: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sounded {
    /// This member has not heard of its leader for long either.
    pub(crate) misses_leader: bool,
}

/// The leader asks a member to take over from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HandOver {
    /// That the sender leads in. In another the word has come too late.
    pub(crate) term: u64,
}

/// What comes before the bytes of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    /// How many come. Zero: not said.
    #[serde(default)]
    pub(crate) bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("the message is of format {0}, this muster reads {FORMAT}; run the same version on all managers")]
    Format(u16),
    #[error("the message cannot be read")]
    Unreadable,
    #[error("the message takes {0} bytes and one may take {MESSAGE_BYTES_MAX}")]
    TooLarge(usize),
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, WireError> {
    encoded(|bytes| rmp_serde::encode::write_named(bytes, value))
}

fn encoded(write: impl FnOnce(&mut Vec<u8>) -> Result<(), rmp_serde::encode::Error>) -> Result<Vec<u8>, WireError> {
    let mut bytes = FORMAT.to_be_bytes().to_vec();
    write(&mut bytes).map_err(|_| WireError::Unreadable)?;
    if bytes.len() > MESSAGE_BYTES_MAX { Err(WireError::TooLarge(bytes.len())) } else { Ok(bytes) }
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    rmp_serde::from_slice(envelope_of(bytes)?).map_err(|_| WireError::Unreadable)
}

fn envelope_of(bytes: &[u8]) -> Result<&[u8], WireError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLarge(bytes.len()));
    }
    let (format, rest) = bytes.split_first_chunk::<2>().ok_or(WireError::Unreadable)?;
    match u16::from_be_bytes(*format) {
        FORMAT => Ok(rest),
        newer => Err(WireError::Format(newer)),
    }
}

/// As [`encode`], around the bytes that the entries have already.
pub(crate) fn encode_append(sealed: &Envelope<Append>) -> Result<Vec<u8>, WireError> {
    // Taken apart, so that a field added later is not forgotten here.
    let Envelope { cluster, incarnation, from, to, body } = sealed;
    let Append { vote, prev_log_id, entries, leader_commit } = body;
    encoded(|bytes| {
        let mut envelope = Fields::of(5, bytes);
        envelope.field("cluster", cluster)?;
        envelope.field("incarnation", incarnation)?;
        envelope.field("from", from)?;
        envelope.field("to", to)?;
        let mut body = Fields::of(4, envelope.named("body"));
        body.field("vote", vote)?;
        body.field("prev_log_id", prev_log_id)?;
        let list = body.named("entries");
        msgpack::array(entries.len(), list)?;
        entries.iter().try_for_each(|entry| encode_entry(entry, list))?;
        body.field("leader_commit", leader_commit)
    })
}

/// As [`decode`]; the entries keep the bytes that they came as.
pub(crate) fn decode_append(bytes: &[u8]) -> Result<Envelope<Append>, WireError> {
    read_envelope(&mut Reader::of(envelope_of(bytes)?)).ok_or(WireError::Unreadable)
}

fn read_envelope(reader: &mut Reader<'_>) -> Option<Envelope<Append>> {
    let (mut cluster, mut incarnation, mut from, mut to, mut body) = (None, None, None, None, None);
    for _ in 0..reader.map()? {
        match reader.name()? {
            "cluster" => cluster = reader.read(),
            "incarnation" => incarnation = reader.read(),
            "from" => from = reader.read(),
            "to" => to = reader.read(),
            "body" => body = Some(read_append(reader)?),
            // Of a later version.
            _ => drop(reader.value()?),
        }
    }
    Some(Envelope { cluster: cluster?, incarnation: incarnation?, from: from?, to: to?, body: body? })
}

fn read_append(reader: &mut Reader<'_>) -> Option<Append> {
    let (mut vote, mut prev_log_id, mut entries, mut leader_commit) = (None, None, None, None);
    for _ in 0..reader.map()? {
        match reader.name()? {
            "vote" => vote = reader.read(),
            "prev_log_id" => prev_log_id = reader.read(),
            "entries" => {
                let count = reader.array()?;
                entries = Some((0..count).map(|_| decode_entry(reader)).collect::<Option<Vec<_>>>()?);
            }
            "leader_commit" => leader_commit = reader.read(),
            // Of a later version.
            _ => drop(reader.value()?),
        }
    }
    let (prev_log_id, leader_commit) = (prev_log_id?, leader_commit?);
    Some(Append { vote: vote?, prev_log_id, entries: entries?, leader_commit })
}

/// How many of the entries, from the first, fit in one message; at least one.
pub(crate) fn fitting(append: &Append) -> usize {
    let mut room = MESSAGE_BYTES_MAX - ENVELOPE_BYTES_MAX;
    let fitting = append.entries.iter().take_while(|entry| {
        let bytes = batch::encoded_len(entry);
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use muster_core::command::{Command, Entry, LOG_FORMAT};
    use muster_proto::{id::NodeId, node::NodeSpec, time::Timestamp};
    use openraft::{CommittedLeaderId, EntryPayload, LogId};

    use super::*;
    use crate::raft::Batch;

    fn append(address_bytes: usize, entries: u64) -> Append {
        let (id, spec, address) = (NodeId::from_bits(2), NodeSpec::default(), "a".repeat(address_bytes));
        let command = Command::JoinNode { id, spec, address };
        let entry = Entry { format: LOG_FORMAT, at: Timestamp::EPOCH, request: None, command };
        let batch = Batch::new(vec![entry]);
        let entry = |index| openraft::Entry::<TypeConfig> {
            log_id: LogId::new(CommittedLeaderId::new(1, 1), index),
            payload: EntryPayload::Normal(batch.clone()),
        };
        Append {
            vote: Vote::new_committed(1, 1),
            prev_log_id: None,
            entries: (1..=entries).map(entry).collect(),
            leader_commit: None,
        }
    }

    fn envelope<T>(body: T) -> Envelope<T> {
        Envelope { cluster: ClusterId::from_bits(7), incarnation: 1, from: 3, to: 4, body }
    }

    #[test]
    fn what_is_sent_is_what_arrives() {
        let sent = envelope(append(10, 3));
        let bytes = encode_append(&sent).unwrap();
        assert_eq!(bytes, encode(&sent).unwrap(), "what is put together by hand is what rmp-serde writes");
        let arrived = decode_append(&bytes).unwrap();
        assert_eq!((arrived.from, arrived.to, arrived.incarnation), (sent.from, sent.to, sent.incarnation));
        assert_eq!(arrived.cluster, sent.cluster);
        assert_eq!(arrived.body.entries, sent.body.entries);
        assert_eq!(encode_append(&arrived), Ok(bytes.clone()), "it goes on as it came");
        assert_eq!(decode::<Envelope<Append>>(&bytes).unwrap().body.entries, sent.body.entries);
    }

    #[test]
    fn another_format_and_nonsense_are_told_apart() {
        let mut bytes = encode(&envelope(HandOver { term: 4 })).unwrap();
        assert_eq!(decode::<Envelope<HandOver>>(&bytes[..bytes.len() - 1]), Err(WireError::Unreadable));
        assert_eq!(decode::<Envelope<HandOver>>(&[]), Err(WireError::Unreadable));
        bytes[..2].copy_from_slice(&(FORMAT + 1).to_be_bytes());
        assert_eq!(decode::<Envelope<HandOver>>(&bytes), Err(WireError::Format(FORMAT + 1)));
    }

    #[test]
    fn as_many_entries_go_as_fit() {
        let large = append(1 << 20, 9);
        let fitting = fitting(&large);
        assert!((1..9).contains(&fitting), "{fitting}");
        let cut = Append { entries: large.entries[..fitting].to_vec(), ..large.clone() };
        assert!(encode(&envelope(cut)).is_ok());
        let more = Append { entries: large.entries[..=fitting].to_vec(), ..large };
        assert!(matches!(encode(&envelope(more)), Err(WireError::TooLarge(_))));
    }
}
