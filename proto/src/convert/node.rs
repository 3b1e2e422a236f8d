//! Nodes: what an agent says of its host both ways, what an operator asks from the wire, the object towards it.

use super::{ConvertError, Result, field};
use crate::{
    node::{EngineHealth, Node, NodeChange, NodeDescription, NodeState},
    time::Timestamp,
    v1,
    version::RaftId,
};

impl From<&NodeDescription> for v1::NodeDescription {
    fn from(domain: &NodeDescription) -> Self {
        let engine_unavailable = match &domain.engine_health {
            EngineHealth::Ok => None,
            EngineHealth::Unavailable(why) => Some(why.clone()),
        };
        Self {
            hostname: domain.hostname.clone(),
            os: domain.os.clone(),
            arch: domain.arch.clone(),
            resources: Some((&domain.resources).into()),
            engine: domain.engine.clone(),
            engine_version: domain.engine_version.clone(),
            engine_labels: domain.engine_labels.clone(),
            engine_unavailable,
            muster_version: domain.muster_version.clone(),
            problems: domain.problems.clone(),
        }
    }
}

impl TryFrom<v1::NodeDescription> for NodeDescription {
    type Error = ConvertError;
    fn try_from(wire: v1::NodeDescription) -> Result<Self> {
        Ok(Self {
            hostname: wire.hostname,
            os: wire.os,
            arch: wire.arch,
            resources: field::required("resources", wire.resources)?,
            engine: wire.engine,
            engine_version: wire.engine_version,
            engine_labels: wire.engine_labels,
            engine_health: wire.engine_unavailable.map_or(EngineHealth::Ok, EngineHealth::Unavailable),
            problems: wire.problems,
            muster_version: wire.muster_version,
        })
    }
}

impl TryFrom<v1::UpdateNodeRequest> for NodeChange {
    type Error = ConvertError;
    fn try_from(wire: v1::UpdateNodeRequest) -> Result<Self> {
        let availability = field::choice::<v1::Availability, _>("availability", wire.availability)?;
        let role = match wire.role {
            0 => None,
            said => Some(field::choice::<v1::Role, _>("role", said)?),
        };
        Ok(Self { role, availability, labels: wire.labels })
    }
}

/// A node with what is not replicated: the leader's memory of it.
#[derive(Clone, Copy, Debug)]
pub struct NodeNow<'a> {
    pub node: &'a Node,
    pub state: NodeState,
    /// Whether it leads.
    pub leader: bool,
    /// None of workers, but for one that was a manager until the Raft group has let it go.
    pub manager: Option<ManagerNow>,
    pub last_seen: Option<Timestamp>,
}

/// A manager in the eyes of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManagerNow {
    pub raft_id: RaftId,
    pub voter: bool,
    pub reachable: bool,
    /// Entries that it has not taken yet.
    pub lag: u64,
}

impl From<ManagerNow> for v1::ManagerStatus {
    fn from(ManagerNow { raft_id, voter, reachable, lag }: ManagerNow) -> Self {
        Self { raft_id: raft_id.0, voter, reachable, lag }
    }
}

impl From<NodeNow<'_>> for v1::Node {
    fn from(NodeNow { node, state, leader, manager, last_seen }: NodeNow<'_>) -> Self {
        Self {
            id: node.id.to_string(),
            version: node.version.0,
            created_at: node.created_at.millis(),
            updated_at: node.updated_at.millis(),
            role: v1::Role::from(node.spec.role).into(),
            availability: v1::Availability::from(node.spec.availability).into(),
            labels: node.spec.labels.clone(),
            description: node.description.as_ref().map(Into::into),
            address: node.address.clone(),
            state: v1::NodeState::from(state).into(),
            leader,
            manager: manager.map(Into::into),
            last_seen: last_seen.map(Timestamp::millis),
            certificate_expires_at: node.certificate.as_ref().map(|certificate| certificate.expires_at.millis()),
        }
    }
}
