//! Which services to look at again when nodes come, go or change: where the leader loop's hints about nodes become hints
//! about services. A plan of what these name has to equal a plan of everything.

use std::collections::BTreeSet;

use muster_proto::{
    id::{NodeId, ServiceId},
    service::Mode,
    task::Task,
    time::Timestamp,
};

use super::outage::Outage;
use crate::{liveness::Liveness, state::State};

/// Services that nodes which came, went or changed can concern: those with tasks there, those with tasks that wait for
/// a node, and those that want a task on every node.
#[must_use]
pub fn services_of_nodes(state: &State, nodes: &BTreeSet<NodeId>) -> BTreeSet<ServiceId> {
    if nodes.is_empty() {
        return BTreeSet::new();
    }
    let there = nodes.iter().flat_map(|node| state.tasks_of_node(*node));
    let is_meant = |task: &&Task| task.moves_to.is_some_and(|to| nodes.contains(&to));
    let waiting =
        state.tasks_without_node().chain(state.moving_tasks().filter(is_meant)).filter(|task| task.is_active());
    let global = state.services().filter(|service| match service.spec.mode {
        Mode::Global => true,
        Mode::Replicated { .. } => false,
    });
    there.chain(waiting).map(|task| task.service_id).chain(global.map(|service| service.id)).collect()
}

/// Remembers which nodes the last plan held back in an outage, and where its clock stood. What ends an outage can be far
/// from the services that it holds: a node that is removed, a service that goes. A clock that leaps moves the end of
/// whatever is counted on it.
#[derive(Debug, Default)]
pub struct OutageWatch {
    last: Outage,
    lived_since: Timestamp,
}

impl OutageWatch {
    /// Services with tasks on nodes that are held back now and were not, or were and are not; all, where the clock has
    /// leapt. To be called before each plan.
    pub fn changed(&mut self, state: &State, liveness: &Liveness, now: Timestamp) -> BTreeSet<ServiceId> {
        let lived_since = liveness.lived_since();
        if std::mem::replace(&mut self.lived_since, lived_since) != lived_since {
            self.last = Outage::of(state, liveness, now);
            return state.service_ids().collect();
        }
        if self.last.is_none() && liveness.all_down().next().is_none() {
            return BTreeSet::new();
        }
        let outage = Outage::of(state, liveness, now);
        if outage == self.last {
            return BTreeSet::new();
        }
        let before = std::mem::replace(&mut self.last, outage);
        let nodes: BTreeSet<NodeId> = before.nodes().chain(self.last.nodes()).collect();
        nodes.into_iter().flat_map(|node| state.tasks_of_node(node)).map(|task| task.service_id).collect()
    }
}
