//! Which nodes are alive: the leader's memory, a value by the time it reaches the planner.

use std::collections::BTreeMap;

use muster_proto::{id::NodeId, node::NodeState};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    nodes: BTreeMap<NodeId, NodeState>,
}

impl Liveness {
    pub fn set(&mut self, node: NodeId, state: NodeState) {
        self.nodes.insert(node, state);
    }

    pub fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// A node this leader has not heard of yet is Unknown: neither given work nor taken for lost.
    #[must_use]
    pub fn of(&self, node: NodeId) -> NodeState {
        self.nodes.get(&node).copied().unwrap_or(NodeState::Unknown)
    }
}
