//! Where to look next, and when at the latest. Pure: the loop feeds it and asks it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_core::{plan::Dirty, state::State};
use muster_proto::{
    id::{NodeId, ServiceId},
    node::Node,
    service::Mode,
    time::Timestamp,
    version::Version,
};

/// Between two looks at a service that nothing touched: a plan that asks for a time gone by must not spin.
const PAUSE_MIN: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Agenda {
    dirty: Dirty,
    wakes: BTreeMap<ServiceId, Timestamp>,
    /// Each node as it was when it was last looked at.
    nodes: BTreeMap<NodeId, Version>,
}

impl Default for Agenda {
    fn default() -> Self {
        Self { dirty: nothing(), wakes: BTreeMap::new(), nodes: BTreeMap::new() }
    }
}

fn nothing() -> Dirty {
    Dirty::Services(BTreeSet::new())
}

impl Agenda {
    pub(super) fn add_everything(&mut self) {
        self.dirty = Dirty::Everything;
    }

    pub(super) fn add_services(&mut self, more: impl IntoIterator<Item = ServiceId>) {
        match &mut self.dirty {
            Dirty::Everything => {}
            Dirty::Services(services) => services.extend(more),
        }
    }

    pub(super) fn add(&mut self, dirty: Dirty) {
        match dirty {
            Dirty::Everything => self.add_everything(),
            Dirty::Services(services) => self.add_services(services),
        }
    }

    /// What to plan for now; None where there is nothing to look at.
    pub(super) fn take(&mut self) -> Option<Dirty> {
        if self.dirty == nothing() { None } else { Some(std::mem::replace(&mut self.dirty, nothing())) }
    }

    /// A plan has looked at these; its wake-up times replace theirs.
    pub(super) fn planned(&mut self, now: Timestamp, dirty: &Dirty, wake: BTreeMap<ServiceId, Timestamp>) {
        match dirty {
            Dirty::Everything => self.wakes.clear(),
            Dirty::Services(services) => self.wakes.retain(|service, _| !services.contains(service)),
        }
        let soonest = now + PAUSE_MIN;
        self.wakes.extend(wake.into_iter().map(|(service, at)| (service, at.max(soonest))));
    }

    /// Services whose time has come are looked at next.
    pub(super) fn take_due(&mut self, now: Timestamp) {
        let due: Vec<_> = self.wakes.iter().filter(|(_, at)| **at <= now).map(|(service, _)| *service).collect();
        for service in &due {
            self.wakes.remove(service);
        }
        self.add_services(due);
    }

    /// How long until the next wake-up time, at most `max`; None where there is none.
    pub(super) fn sleep(&self, now: Timestamp, max: Duration) -> Option<Duration> {
        self.wakes.values().min().map(|at| at.since(now).min(max))
    }

    /// Which of the nodes are new or changed since the last call.
    pub(super) fn note_nodes<'a>(&mut self, nodes: impl Iterator<Item = &'a Node>) -> BTreeSet<NodeId> {
        let now: BTreeMap<_, _> = nodes.map(|node| (node.id, node.version)).collect();
        let changed = now.iter().filter(|(id, version)| self.nodes.get(*id) != Some(*version));
        let changed = changed.map(|(id, _)| *id).chain(self.nodes.keys().filter(|id| !now.contains_key(id)).copied());
        let changed = changed.collect();
        self.nodes = now;
        changed
    }
}

/// Services that nodes which came, went or changed can concern: those with tasks there, those with tasks that wait for
/// a node, and those that want a task on every node.
pub(super) fn services_of_nodes(state: &State, nodes: &BTreeSet<NodeId>) -> BTreeSet<ServiceId> {
    let there = nodes.iter().flat_map(|node| state.tasks_of_node(*node));
    let is_meant = |to: NodeId| nodes.contains(&to);
    let waiting = state
        .tasks()
        .filter(|task| task.is_active() && (task.node_id.is_none() || task.moves_to.is_some_and(is_meant)));
    let global = state.services().filter(|service| match service.spec.mode {
        Mode::Global => true,
        Mode::Replicated { .. } => false,
    });
    there.chain(waiting).map(|task| task.service_id).chain(global.map(|service| service.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ServiceId = ServiceId::from_bits(1);
    const B: ServiceId = ServiceId::from_bits(2);
    const MAX: Duration = Duration::from_secs(30);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn everything_swallows_services_and_is_taken_once() {
        let mut agenda = Agenda::default();
        assert_eq!(agenda.take(), None);
        agenda.add_services([A]);
        agenda.add_everything();
        agenda.add_services([B]);
        assert_eq!(agenda.take(), Some(Dirty::Everything));
        assert_eq!(agenda.take(), None);
    }

    #[test]
    fn a_wake_up_time_makes_its_service_dirty_when_it_comes() {
        let mut agenda = Agenda::default();
        agenda.planned(at(0), &Dirty::Everything, [(A, at(1_000)), (B, at(2_000))].into());
        assert_eq!(agenda.sleep(at(400), MAX), Some(Duration::from_millis(600)));
        agenda.take_due(at(999));
        assert_eq!(agenda.take(), None);
        agenda.take_due(at(1_000));
        assert_eq!(agenda.take(), Some(Dirty::Services([A].into())));
        assert_eq!(agenda.sleep(at(1_000), MAX), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_new_plan_replaces_the_times_of_what_it_looked_at() {
        let mut agenda = Agenda::default();
        agenda.planned(at(0), &Dirty::Everything, [(A, at(1_000)), (B, at(2_000))].into());
        agenda.planned(at(0), &Dirty::Services([A].into()), BTreeMap::new());
        assert_eq!(agenda.sleep(at(0), MAX), Some(Duration::from_secs(2)));
        agenda.planned(at(0), &Dirty::Everything, BTreeMap::new());
        assert_eq!(agenda.sleep(at(0), MAX), None);
    }

    #[test]
    fn a_time_gone_by_does_not_make_the_loop_spin() {
        let mut agenda = Agenda::default();
        agenda.planned(at(5_000), &Dirty::Everything, [(A, at(1_000))].into());
        assert_eq!(agenda.sleep(at(5_000), MAX), Some(PAUSE_MIN));
    }

    #[test]
    fn a_far_wake_up_time_is_slept_to_in_steps() {
        let mut agenda = Agenda::default();
        agenda.planned(at(0), &Dirty::Everything, [(A, at(3_600_000))].into());
        assert_eq!(agenda.sleep(at(0), MAX), Some(MAX));
    }
}
