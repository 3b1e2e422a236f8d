//! A node: what its operator says of it (spec) and what it says of itself (description). Whether it is alive is not
//! here: that is the leader's memory and never replicated.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    id::NodeId,
    resources::Resources,
    time::Timestamp,
    trust::{Digest, NodeCertificate},
    version::{RaftId, Version},
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    #[default]
    Worker,
    Manager,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Availability {
    #[default]
    Active,
    /// Keeps its tasks, gets no new ones.
    Pause,
    /// Its tasks move elsewhere.
    Drain,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    pub role: Role,
    pub availability: Availability,
    pub labels: BTreeMap<String, String>,
}

/// What an operator asks of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeChange {
    /// None: as it is.
    pub role: Option<Role>,
    pub availability: Availability,
    pub labels: BTreeMap<String, String>,
}

/// Whether the node's executor can take work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EngineHealth {
    Ok,
    /// Why not, for the user.
    Unavailable(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDescription {
    pub hostname: String,
    pub os: String,
    pub arch: String,
    pub resources: Resources,
    /// `docker`, `sim`.
    pub engine: String,
    pub engine_version: String,
    pub engine_labels: BTreeMap<String, String>,
    pub engine_health: EngineHealth,
    /// What this host could not do, a sentence each: an ingress port that another process holds.
    pub problems: Vec<String>,
    pub muster_version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub version: Version,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub spec: NodeSpec,
    /// None until its agent's first session.
    pub description: Option<NodeDescription>,
    /// Where the others reach it: `host:port`.
    pub address: String,
    /// On managers, and only on them.
    #[serde(default)]
    pub raft_id: Option<RaftId>,
    #[serde(default)]
    pub certificate: Option<NodeCertificate>,
    /// When none of all the certificates it was issued is good any more, not even to ask for the next.
    #[serde(default)]
    pub certified_until: Option<Timestamp>,
    /// The newest format of log entries that its muster reads.
    #[serde(default = "first_format")]
    pub log_format: u16,
}

impl Node {
    /// Whether it is known to have a certificate of this root.
    #[must_use]
    pub fn has_shown(&self, root: Digest) -> bool {
        self.certificate.as_ref().is_some_and(|held| held.shown == Some(root))
    }
}

/// Nodes were written without it while there was one format.
fn first_format() -> u16 {
    1
}

/// What a node should be, beside what it should run. One that is not so asks the managers for what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeOrders {
    pub role: Role,
    /// The digests of all roots the cluster trusts, the one that signs first, with commas; empty where there is none.
    pub roots_digest: String,
    /// Addresses of all managers: `host:port` each.
    pub managers: Vec<String>,
    /// A new root waits until this node has shown the certificate of it that it was given.
    pub show_certificate: bool,
    /// Nodes that are none any more and whose certificates have not all ended, in order.
    pub removed: Vec<NodeId>,
}

/// What the leader's memory says of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NodeState {
    /// No session since this leader began, and the lease it was granted then still runs.
    Unknown,
    Ready,
    Down,
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Role::Worker => "worker",
            Role::Manager => "manager",
        })
    }
}

impl fmt::Display for Availability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Availability::Active => "Active",
            Availability::Pause => "Pause",
            Availability::Drain => "Drain",
        })
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            NodeState::Unknown => "Unknown",
            NodeState::Ready => "Ready",
            NodeState::Down => "Down",
        })
    }
}
