//! The types openraft is instantiated with, and its settings. Openraft's own types stay inside this crate: callers see
//! [`crate::replica`].

pub mod alone;
pub(crate) mod batch;
pub(crate) mod contact;
pub(crate) mod election;
pub mod grpc;
pub mod inbox;
pub mod members;
pub(crate) mod msgpack;
pub(crate) mod network;
pub mod promise;
pub(crate) mod recent;
pub(crate) mod runtime;
pub mod service;
pub mod standing;
pub mod transport;
pub mod wire;

use std::{fmt, sync::Arc, time::Duration};

use muster_core::{command::Outcome, recovery::RAFT_ID_BITS};
use muster_proto::{id::NodeId, version::Term};
use serde::{Deserialize, Serialize};

pub(crate) use self::batch::Batch;
use crate::{outside::SnapshotEvery, snapshots::SnapshotFile};

/// The outcomes of a [`Batch`], in its order. Empty for entries that openraft makes itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcomes(pub(crate) Vec<Outcome>);

/// A member of the Raft group, as the membership entries name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub node_id: NodeId,
    /// `host:port`.
    pub address: String,
}

/// Openraft asks for one, for members that were added without saying who they are; we never add such.
impl Default for Peer {
    fn default() -> Self {
        Self { node_id: NodeId::from_bits(0), address: String::new() }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at {}", self.node_id, self.address)
    }
}

openraft::declare_raft_types!(
    pub(crate) TypeConfig:
        D = Batch,
        R = Outcomes,
        NodeId = u64,
        Node = Peer,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotFile,
        AsyncRuntime = runtime::Runtime,
);

/// The reign of one leader, as everything beyond Raft counts it. Two managers can lead in one of openraft's terms, one
/// after the other; no two have the same number of both, and the later one's is higher. What else is in their Raft ids is
/// the same for all of an incarnation.
pub(crate) fn term_of(leader: openraft::LeaderId<u64>) -> Term {
    Term((leader.term << RAFT_ID_BITS) | (leader.node_id & ((1 << RAFT_ID_BITS) - 1)))
}

/// Openraft's part of a term.
pub(crate) fn raft_term(term: Term) -> u64 {
    term.0 >> RAFT_ID_BITS
}

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type StoredMembership = openraft::StoredMembership<u64, Peer>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, Peer>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type Metrics = openraft::RaftMetrics<u64, Peer>;

/// A leader is missed after four of these at the earliest; see [`election`].
const HEARTBEAT: Duration = Duration::from_millis(100);
/// How long one vote is waited for.
pub(crate) const VOTE_MAX: Duration = Duration::from_millis(300);
/// How long a voter that has heard of a leader refuses everyone else.
pub(crate) const LEASE: Duration = Duration::from_millis(400);
/// Entries in one message to a follower; the transport bounds it in bytes as well.
const PAYLOAD_ENTRIES_MAX: u64 = 300;

pub(crate) fn config(cluster: String, snapshot_every: SnapshotEvery) -> Arc<openraft::Config> {
    Arc::new(openraft::Config {
        cluster_name: cluster,
        heartbeat_interval: millis(HEARTBEAT),
        // Elections are called by [`election`]; these are what else openraft takes from its timer's settings.
        election_timeout_min: millis(VOTE_MAX),
        election_timeout_max: millis(LEASE),
        max_payload_entries: PAYLOAD_ENTRIES_MAX,
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(snapshot_every.entries),
        // Openraft drops nothing by itself: what may go, and when, is said by [`crate::compaction`].
        max_in_snapshot_log_to_keep: u64::MAX,
        replication_lag_threshold: 2 * snapshot_every.entries,
        ..openraft::Config::default()
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
