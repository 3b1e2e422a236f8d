//! What the Raft log carries. Everything a command needs is in it: the leader has stamped time and ids.

use muster_proto::{
    assignment::TaskReport,
    cluster::ClusterSpec,
    id::{ClusterId, NodeId, ServiceId},
    node::{NodeDescription, NodeSpec},
    service::ServiceSpec,
    time::Timestamp,
    version::{Term, Version},
};
use serde::{Deserialize, Serialize};

use crate::{action::Action, rejection::Rejection};

/// Counted up when a manager of the version before could misread an entry. An entry of a higher format stops a manager
/// with a clear message; it is never skipped.
pub const LOG_FORMAT: u16 = 1;

/// Where an entry stands in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogPosition {
    pub term: Term,
    pub index: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub format: u16,
    /// The leader's clock when it proposed.
    pub at: Timestamp,
    pub command: Command,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// The first entry of a cluster: the cluster and its first node.
    CreateCluster {
        id: ClusterId,
        spec: ClusterSpec,
        node_id: NodeId,
        node: NodeSpec,
        address: String,
    },
    CreateService {
        id: ServiceId,
        spec: Box<ServiceSpec>,
    },
    /// Refused when the service is no longer at `version`.
    UpdateService {
        id: ServiceId,
        version: Version,
        spec: Box<ServiceSpec>,
    },
    /// Back to the previous spec, by hand.
    RollbackService {
        id: ServiceId,
        version: Version,
    },
    RemoveService {
        id: ServiceId,
    },
    /// A node becomes a member.
    JoinNode {
        id: NodeId,
        spec: NodeSpec,
        address: String,
    },
    /// What its operator wants of a node. Refused when the node is no longer at `version`.
    UpdateNode {
        id: NodeId,
        version: Version,
        spec: NodeSpec,
    },
    /// What an agent says of its node; a new address too.
    DescribeNode {
        id: NodeId,
        description: Box<NodeDescription>,
        address: String,
    },
    /// What agents say of their tasks. A report under a superseded fence is left out alone.
    ReportTasks {
        reports: Vec<(NodeId, TaskReport)>,
    },
    /// A plan made in `term`. As a whole void when the entry's own term is another.
    Execute {
        term: Term,
        actions: Vec<Action>,
    },
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Applied; the version is that of the object it was about, else the log index.
    Done { version: Version },
    /// Nothing was changed.
    Rejected(Rejection),
    /// Applied but for the stale items: their places in the list and why.
    Partly { version: Version, stale: Vec<(u32, Rejection)> },
}
