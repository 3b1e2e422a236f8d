//! A node as the daemon tells it.

use std::{collections::BTreeMap, fmt};

use muster_proto::{
    node::{Availability, NodeState, Role},
    resources::Resources,
    time::Timestamp,
    v1,
};

use super::unreadable;
use crate::error::Error;

#[derive(Clone, Debug)]
pub struct Node {
    pub id: String,
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub role: Role,
    pub availability: Availability,
    pub labels: BTreeMap<String, String>,
    /// None until its agent's first session.
    pub description: Option<Description>,
    pub address: String,
    pub state: NodeState,
    pub leader: bool,
    /// As the leader sees it. None of a node that has no part in Raft.
    pub manager: Option<Manager>,
    /// When this leader last heard of it.
    pub last_seen: Option<Timestamp>,
    pub certificate_expires_at: Option<Timestamp>,
}

/// A node's part in Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manager {
    pub raft_id: u64,
    pub voter: bool,
    pub reachable: bool,
    /// Entries that it has not taken yet.
    pub lag: u64,
}

/// What a node does for the cluster's decisions, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagerStatus {
    /// A worker.
    None,
    Leader,
    Reachable,
    Unreachable,
    /// It has no vote: it has to catch up first.
    Learner,
    /// It is to be a worker, and the other managers still count on it.
    Leaving,
}

impl fmt::Display for ManagerStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            ManagerStatus::None => "",
            ManagerStatus::Leader => "Leader",
            ManagerStatus::Reachable => "Reachable",
            ManagerStatus::Unreachable => "Unreachable",
            ManagerStatus::Learner => "Learner",
            ManagerStatus::Leaving => "Leaving",
        })
    }
}

#[derive(Clone, Debug)]
pub struct Description {
    pub hostname: String,
    pub os: String,
    pub arch: String,
    pub resources: Resources,
    pub engine: String,
    pub engine_version: String,
    pub engine_labels: BTreeMap<String, String>,
    pub engine_unavailable: Option<String>,
    pub muster_version: String,
    pub problems: Vec<String>,
}

impl Node {
    /// The hostname, or the id of a node that never said one.
    #[must_use]
    pub fn hostname(&self) -> &str {
        self.description.as_ref().map_or(&self.id, |description| &description.hostname)
    }

    /// A node that has just been promoted has no part yet, one that has just been demoted may still have one.
    #[must_use]
    pub fn manager_status(&self) -> ManagerStatus {
        match (self.leader, self.manager, self.role) {
            (true, ..) => ManagerStatus::Leader,
            (false, Some(Manager { voter: true, reachable: true, .. }), Role::Manager) => ManagerStatus::Reachable,
            (false, Some(Manager { voter: true, reachable: false, .. }), Role::Manager) => ManagerStatus::Unreachable,
            // Before it catches up there may be nobody to be heard of.
            (false, Some(Manager { voter: false, .. }) | None, Role::Manager) => ManagerStatus::Learner,
            (false, Some(_), Role::Worker) => ManagerStatus::Leaving,
            (false, None, Role::Worker) => ManagerStatus::None,
        }
    }
}

impl TryFrom<v1::Node> for Node {
    type Error = Error;

    fn try_from(node: v1::Node) -> Result<Self, Error> {
        let role = node.role().try_into().map_err(|why| unreadable("a node's role", why))?;
        let availability = node.availability().try_into().map_err(|why| unreadable("a node's availability", why))?;
        let state = match node.state() {
            // A node that the leader has not heard of yet has no state, which is what Unknown means.
            v1::NodeState::Unspecified | v1::NodeState::Unknown => NodeState::Unknown,
            v1::NodeState::Ready => NodeState::Ready,
            v1::NodeState::Down => NodeState::Down,
        };
        Ok(Self {
            id: node.id,
            version: node.version,
            created_at: Timestamp::from_millis(node.created_at),
            updated_at: Timestamp::from_millis(node.updated_at),
            role,
            availability,
            labels: node.labels.into_iter().collect(),
            description: node.description.map(Description::from),
            address: node.address,
            state,
            leader: node.leader,
            manager: node.manager.map(Manager::from),
            last_seen: node.last_seen.map(Timestamp::from_millis),
            certificate_expires_at: node.certificate_expires_at.map(Timestamp::from_millis),
        })
    }
}

impl From<v1::ManagerStatus> for Manager {
    fn from(v1::ManagerStatus { raft_id, voter, reachable, lag }: v1::ManagerStatus) -> Self {
        Self { raft_id, voter, reachable, lag }
    }
}

impl From<v1::NodeDescription> for Description {
    fn from(description: v1::NodeDescription) -> Self {
        let resources = description.resources.unwrap_or_default();
        Self {
            hostname: description.hostname,
            os: description.os,
            arch: description.arch,
            resources: Resources { nano_cpus: resources.nano_cpus, memory_bytes: resources.memory_bytes },
            engine: description.engine,
            engine_version: description.engine_version,
            engine_labels: description.engine_labels.into_iter().collect(),
            engine_unavailable: description.engine_unavailable,
            muster_version: description.muster_version,
            problems: description.problems,
        }
    }
}

pub fn all(nodes: Vec<v1::Node>) -> Result<Vec<Node>, Error> {
    nodes.into_iter().map(Node::try_from).collect()
}
