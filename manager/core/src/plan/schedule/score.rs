//! Which of the nodes that pass is best: the derived order of these structs, least first, *is* the policy.

use std::cmp::Reverse;

use muster_proto::id::NodeId;

use super::{seats::Seat, service_use::FAILURES_MANY};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    /// Before the spread, which the failures of one bad node would otherwise feed: it has the fewest tasks because
    /// they fail there. Where a template fails everywhere, every node is equally failing.
    pub standing: Standing,
    /// This service's tasks in the node's branch of each preference, the first preference first.
    pub branches: Vec<u32>,
    pub node: NodeScore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Good,
    FailsOften,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeScore {
    pub standing: Standing,
    /// Active tasks of this service here.
    pub of_service: u32,
    /// Active tasks of all services here.
    pub of_all: u32,
    pub free_memory_bytes: Reverse<u64>,
    pub free_nano_cpus: Reverse<u64>,
    pub node: NodeId,
}

/// What a move has to make better, in the order of [`Score`] but for what is free: sizes differ, and nothing would come to
/// rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gain {
    /// The service's own spread.
    Spread,
    /// The same, or with the same spread the count of all tasks.
    Load,
}

impl Score {
    /// Better than where a task is now by at least the task itself, neither place counting it: so each move makes the
    /// sums of squares smaller, and no row of moves goes on for ever.
    pub(super) fn is_gain_over(&self, present: &Self, gain: Gain) -> bool {
        let spread = (&self.branches, self.node.of_service).cmp(&(&present.branches, present.node.of_service));
        match gain {
            Gain::Spread => spread.is_lt(),
            Gain::Load => spread.then(self.node.of_all.cmp(&present.node.of_all)).is_lt(),
        }
    }
}

impl Standing {
    pub(super) fn after(failures: u32) -> Self {
        if failures >= FAILURES_MANY { Standing::FailsOften } else { Standing::Good }
    }
}

impl NodeScore {
    pub(super) fn of(seat: &Seat<'_>, of_service: u32, standing: Standing) -> Self {
        let free = seat.free();
        Self {
            standing,
            of_service,
            of_all: seat.in_use.active,
            free_memory_bytes: Reverse(free.memory_bytes),
            free_nano_cpus: Reverse(free.nano_cpus),
            node: seat.node.id,
        }
    }
}
