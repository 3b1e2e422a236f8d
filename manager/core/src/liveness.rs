//! Which nodes are alive: the leader's memory, a value by the time it reaches the planner.

use std::{collections::BTreeMap, time::Duration};

use muster_proto::{id::NodeId, node::NodeState, time::Timestamp};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    nodes: BTreeMap<NodeId, Known>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Ready,
    /// Its lease ran out then.
    Down {
        since: Timestamp,
    },
}

impl Liveness {
    pub fn ready(&mut self, node: NodeId) {
        self.nodes.insert(node, Known::Ready);
    }

    /// Its lease ran out at `since`, or before.
    pub fn down(&mut self, node: NodeId, since: Timestamp) {
        self.nodes.insert(node, Known::Down { since });
    }

    pub fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// The clock that the times here are read from went forward by `gap` that nobody lived through: what is counted
    /// from them does not shrink by it.
    pub fn skip(&mut self, gap: Duration) {
        for known in self.nodes.values_mut() {
            if let Known::Down { since } = known {
                *since = *since + gap;
            }
        }
    }

    /// The clock was set back to `now`: nothing is counted from a time to come.
    pub fn clamp(&mut self, now: Timestamp) {
        for known in self.nodes.values_mut() {
            if let Known::Down { since } = known {
                *since = now.min(*since);
            }
        }
    }

    /// A node this leader has not heard of yet is Unknown: neither given work nor taken for lost.
    #[must_use]
    pub fn of(&self, node: NodeId) -> NodeState {
        match self.nodes.get(&node) {
            None => NodeState::Unknown,
            Some(Known::Ready) => NodeState::Ready,
            Some(Known::Down { .. }) => NodeState::Down,
        }
    }

    /// When its lease ran out; None unless it is down.
    #[must_use]
    pub fn down_since(&self, node: NodeId) -> Option<Timestamp> {
        match self.nodes.get(&node) {
            Some(Known::Down { since }) => Some(*since),
            Some(Known::Ready) | None => None,
        }
    }

    /// In order of id.
    pub fn all_down(&self) -> impl Iterator<Item = (NodeId, Timestamp)> + '_ {
        self.nodes.iter().filter_map(|(node, known)| match known {
            Known::Down { since } => Some((*node, *since)),
            Known::Ready => None,
        })
    }
}
