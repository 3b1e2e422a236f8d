//! A node as the daemon tells it.

use std::collections::BTreeMap;

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
        })
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
