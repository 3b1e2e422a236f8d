//! Which nodes are alive: the leader's memory, a value by the time it reaches the planner.

use std::{collections::BTreeMap, time::Duration};

use muster_proto::{id::NodeId, node::NodeState, time::Timestamp};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    nodes: BTreeMap<NodeId, Known>,
    /// Since then this leader has lived through all the time that its clock went forward.
    lived_since: Timestamp,
}

/// A jump that a clock makes in one step, and not the drift between two of them; what is less is left to gather.
pub const LEAP_MIN: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Ready,
    /// Its lease ran out then.
    Down {
        since: Timestamp,
        loss: Loss,
    },
}

/// What a leader saw of a node that is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It heard the node, and then no more.
    Witnessed,
    /// It has never heard the node, which may have been off for weeks when it began.
    Inherited,
}

impl Liveness {
    pub fn ready(&mut self, node: NodeId) {
        self.nodes.insert(node, Known::Ready);
    }

    /// Its lease ran out at `since`, or before.
    pub fn down(&mut self, node: NodeId, since: Timestamp) {
        let loss = match self.nodes.get(&node) {
            Some(Known::Ready) => Loss::Witnessed,
            Some(Known::Down { loss, .. }) => *loss,
            None => Loss::Inherited,
        };
        self.nodes.insert(node, Known::Down { since, loss });
    }

    pub fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// A leader begins at `now`, and knows of no time before.
    pub fn begin(&mut self, now: Timestamp) {
        self.lived_since = now;
    }

    /// The clock that the times here are read from went forward to `now`, and by `gap` of that without anybody living
    /// through it: what is counted from them does not shrink by it.
    pub fn skip(&mut self, gap: Duration, now: Timestamp) {
        self.lived_since = now;
        for known in self.nodes.values_mut() {
            if let Known::Down { since, .. } = known {
                *since = *since + gap;
            }
        }
    }

    /// From when on a span may be counted whose beginning is written in the state.
    #[must_use]
    pub fn lived_since(&self) -> Timestamp {
        self.lived_since
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
        self.lost(node).map(|(since, _)| since)
    }

    /// When its lease ran out, and whether this leader has heard it before; None unless it is down.
    #[must_use]
    pub fn lost(&self, node: NodeId) -> Option<(Timestamp, Loss)> {
        match self.nodes.get(&node) {
            Some(Known::Down { since, loss }) => Some((*since, *loss)),
            Some(Known::Ready) | None => None,
        }
    }

    /// In order of id.
    pub fn all_down(&self) -> impl Iterator<Item = (NodeId, Timestamp)> + '_ {
        self.nodes.iter().filter_map(|(node, known)| match known {
            Known::Down { since, .. } => Some((*node, *since)),
            Known::Ready => None,
        })
    }
}
