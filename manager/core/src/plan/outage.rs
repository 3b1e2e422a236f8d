//! When many nodes of a large cluster go down at once: that is the network, the power or the managers' own view far
//! more often than so many hosts, and to start everything anew on what is left would do more harm than waiting.
//!
//! The leases of nodes that vanish together end within a moment of one another, not together. So once more than a fifth
//! are gone within [`TOGETHER`], their tasks wait for [`SETTLE`] to see whether more follow. Where it is more than half,
//! their tasks are not replaced at all until fewer are missing: nodes return, or the operator drains or removes those
//! that will not. Whatever else goes down apart from them is replaced as ever.
//!
//! Which nodes that are down count:
//! - Those that this leader heard and lost together, whether or not they have tasks: of ten nodes six that vanish are most,
//!   also where all that ran stood on three of them. That takes one with something to be replaced: for the others there
//!   is nothing to hold back, however many they are.
//! - One that went down apart from them, or that this leader never heard, counts while it has something to be replaced.
//!   With nothing it may have been off for weeks: it is no part of what vanishes, and none of what that is measured by
//!   either, or a cluster with many hosts switched off would never lose most of what it has. And for a new leader the
//!   leases of all silent nodes end in one moment, which it could not tell from an outage.
//!
//! A function of the state and the leases alone. A new leader comes to the same answer where enough of the nodes that
//! vanished have something to be replaced; those without are no more to it than hosts that have long been off.

use std::{collections::BTreeSet, time::Duration};

use muster_proto::{
    id::NodeId,
    node::{Availability, Node},
    service::Mode,
    task_state::DesiredState,
    time::Timestamp,
    waiting::WaitingOn,
};

use crate::{
    liveness::{Liveness, Loss},
    state::State,
};

/// A cluster of fewer is not large: there one node is a good part of it. A drained one counts while it is down, or to give
/// one of ten up would let go of all the others; one that is up is no part of what tasks run on.
pub const NODES_MIN: usize = 10;
/// Leases that end within this span are taken for one event.
const TOGETHER: Duration = Duration::from_secs(30);
/// How long it takes from the first lease that ends to the last one: they are renewed every second, and a tick is 200 ms.
const SETTLE: Duration = Duration::from_secs(2);

/// The nodes whose tasks are not replaced now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outage {
    nodes: BTreeSet<NodeId>,
    /// None: as long as so many are gone.
    until: Option<Timestamp>,
}

/// A node that is down and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lost {
    since: Timestamp,
    node: NodeId,
    has_tasks: bool,
}

impl Outage {
    #[must_use]
    pub fn of(state: &State, liveness: &Liveness, now: Timestamp) -> Self {
        // A drained node is one that its operator has given up, or is about to.
        let counted = state.nodes().filter(|node| node.spec.availability != Availability::Drain);
        let (mut up, mut down) = (0, Vec::new());
        for node in counted {
            match liveness.lost(node.id) {
                Some((since, loss)) => {
                    let has_tasks = has_something_to_replace(state, node.id);
                    down.extend(match (has_tasks, loss) {
                        (false, Loss::Inherited) => None,
                        (_, Loss::Witnessed | Loss::Inherited) => Some(Lost { since, node: node.id, has_tasks }),
                    });
                }
                None => up += 1,
            }
        }
        let is_spare =
            |node: &&Node| node.spec.availability == Availability::Drain && liveness.down_since(node.id).is_none();
        if state.nodes().filter(|node| !is_spare(node)).count() < NODES_MIN {
            return Self::default();
        }
        down.sort_unstable();
        let together = largest_within(&down);
        let Some(last) = together.last() else { return Self::default() };
        let apart = with_tasks(&down) - with_tasks(together);
        let count = up + together.len() + apart;
        let nodes = || together.iter().map(|lost| lost.node).collect();
        if together.len() * 2 > count {
            return Self { nodes: nodes(), until: None };
        }
        let settled = last.since + SETTLE;
        match Some(settled).filter(|at| *at > now && together.len() * 5 > count) {
            Some(until) => Self { nodes: nodes(), until: Some(until) },
            None => Self::default(),
        }
    }

    pub(super) fn holds(&self, node: NodeId) -> bool {
        self.nodes.contains(&node)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.iter().copied()
    }

    pub(super) fn is_none(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Why the tasks of `node` are not replaced.
    pub(super) fn waiting(&self, node: NodeId) -> Option<WaitingOn> {
        self.holds(node).then_some(WaitingOn::Outage { until: self.until })
    }
}

/// A task that is meant to run there and could run elsewhere.
fn has_something_to_replace(state: &State, node: NodeId) -> bool {
    let is_replicated = |service| {
        state.service(service).is_some_and(|service| match service.spec.mode {
            Mode::Replicated { .. } => true,
            Mode::Global => false,
        })
    };
    let meant = |desired| desired <= DesiredState::Running;
    state
        .tasks_of_node(node)
        .any(|task| meant(task.desired) && !task.status.state.is_final() && is_replicated(task.service_id))
}

/// `down` in order of time. Of several that are as large the latest; none in which no node has tasks.
fn largest_within(down: &[Lost]) -> &[Lost] {
    let (mut best, mut first, mut tasks) = (0..0, 0, 0);
    for (last, lost) in down.iter().enumerate() {
        tasks += usize::from(lost.has_tasks);
        while lost.since.since(down[first].since) > TOGETHER {
            tasks -= usize::from(down[first].has_tasks);
            first += 1;
        }
        if tasks > 0 && last + 1 - first >= best.len() {
            best = first..last + 1;
        }
    }
    &down[best]
}

fn with_tasks(lost: &[Lost]) -> usize {
    lost.iter().filter(|lost| lost.has_tasks).count()
}
