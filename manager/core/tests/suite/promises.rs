//! What the planner promises across a whole history, kept beside a [`World`] and looked at after every plan. Each promise
//! names the bug that was planted to see it caught.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::state::State;
use muster_proto::{
    id::{NodeId, ServiceId, TaskId},
    isolation::OnIsolation,
    node::Availability,
    resources::Resources,
    service::{Mode, Service},
    task::{Slot, Task},
    task_state::{DesiredState, TaskState},
    version::Fence,
};

use crate::world::World;

/// Slots with a task that serves, of each service.
pub(crate) type Serving = BTreeMap<ServiceId, BTreeSet<Slot>>;

#[derive(Debug, Default)]
pub(crate) struct Promises {
    /// The largest parallelism that each service has had: what was begun under it may still be under way.
    parallelism: BTreeMap<ServiceId, usize>,
    /// Slots whose serving task the planner stopped, and where none has served since.
    given_up: Serving,
    /// The newest assignment that was at work in each slot that must not run twice.
    fences: BTreeMap<(ServiceId, Slot), (Fence, TaskId)>,
    /// Nodes that were cut off while tasks stood there: what they bring back is not the planner's doing.
    lost: BTreeSet<NodeId>,
}

impl Promises {
    pub(crate) fn note_specs(&mut self, state: &State) {
        for service in state.services() {
            for config in [&service.spec.update, &service.spec.rollback] {
                let places = if config.parallelism == 0 { usize::MAX } else { config.parallelism as usize };
                let most = self.parallelism.entry(service.id).or_default();
                *most = places.max(*most);
            }
        }
    }

    pub(crate) fn note_lost(&mut self, node: NodeId) {
        self.lost.insert(node);
    }

    /// A plan was carried out, before which these slots served.
    pub(crate) fn planned(&mut self, world: &World, before: &Serving) {
        let after = serving(world);
        for (id, slots) in before {
            let now = after.get(id);
            let lost = slots.iter().filter(|slot| !now.is_some_and(|now| now.contains(slot)));
            self.given_up.entry(*id).or_default().extend(lost.copied());
        }
        self.availability_is_kept(world, &after);
    }

    pub(crate) fn observe(&mut self, world: &World) {
        self.availability_is_kept(world, &serving(world));
        self.no_more_run_than_the_surge_allows(world);
        self.fences_only_grow(world);
    }

    /// Never more than the parallelism of a service's slots are without a task that serves through the planner's own
    /// doing: over the whole history, on drained nodes too.
    ///
    /// Planted: a hand-over that counts only while its successor is sound. The scenario `drain_fails` caught it; 300 random
    /// histories did not.
    fn availability_is_kept(&mut self, world: &World, serving: &Serving) {
        for (id, slots) in &mut self.given_up {
            let Some(service) = world.state.service(*id) else {
                slots.clear();
                continue;
            };
            let wanted =
                |slot: &Slot| world.state.tasks_of_slot(*id, *slot).any(|task| task.desired <= DesiredState::Running);
            let failed = |slot: &Slot| service.rollout.as_ref().is_some_and(|rollout| rollout.failed.contains(slot));
            let serves = |slot: &Slot| serving.get(id).is_some_and(|serving| serving.contains(slot));
            let out_of_reach = |slot: &Slot| match slot {
                Slot::Node(node) => world.is_silent(*node),
                Slot::Number(_) => false,
            };
            slots.retain(|slot| wanted(slot) && !serves(slot) && !failed(slot) && !out_of_reach(slot));
            let allowed = self.parallelism.get(id).copied().unwrap_or_default();
            assert!(slots.len() <= allowed, "{slots:?} of {} were given up\n{}", service.spec.name, world.told());
        }
    }

    /// Containers that are wanted and at work, ready or not, on nodes that are heard: the replicas, and one more for each
    /// slot that may be between two tasks.
    ///
    /// Planted: a hand-over without a node that keeps its turn beside the rollout's. The scenario `drain_meets_rollout`
    /// caught it; 300 random histories did not.
    fn no_more_run_than_the_surge_allows(&self, world: &World) {
        for service in world.state.services() {
            let Mode::Replicated { replicas } = service.spec.mode else { continue };
            let wanted = |task: &&Task| {
                task.service_id == service.id
                    && task.desired == DesiredState::Running
                    && task.node_id.is_some_and(|node| !world.is_silent(node) && !self.came_back_drained(world, node))
            };
            let at_work = world.agents.at_work().filter_map(|work| world.state.task(work.task)).filter(wanted).count();
            let surge = self.parallelism.get(&service.id).copied().unwrap_or_default();
            let most = (replicas as usize).saturating_add(surge);
            assert!(at_work <= most, "{at_work} of {} run, {replicas} are wanted\n{}", service.spec.name, world.told());
        }
    }

    fn came_back_drained(&self, world: &World, node: NodeId) -> bool {
        let drained = world.state.node(node).is_none_or(|node| node.spec.availability == Availability::Drain);
        drained && self.lost.contains(&node)
    }

    /// In a slot that must not run twice nothing starts under an older fence than what was there before.
    ///
    /// Planted: fences that fall with each assignment.
    fn fences_only_grow(&mut self, world: &World) {
        for work in world.agents.at_work().filter(|work| work.on_isolation == OnIsolation::Stop) {
            let now = (work.fence, work.task);
            let Some(before) = self.fences.insert((work.service, work.slot), now) else { continue };
            assert!(before == now || before.0 < now.0, "{now:?} runs after {before:?}\n{}", world.told());
        }
    }
}

/// Runs, is wanted, and stands on a node that is not known to be down.
pub(crate) fn serving(world: &World) -> Serving {
    let mut serving = Serving::new();
    for task in world.state.tasks() {
        let stands = task.node_id.is_some_and(|node| world.state.node(node).is_some() && !world.is_down(node));
        if stands && task.desired == DesiredState::Running && task.status.state == TaskState::Running {
            serving.entry(task.service_id).or_default().insert(task.slot);
        }
    }
    serving
}

/// After every entry: what stands on a node fits there, and each host port has one owner. A successor that is only
/// prepared binds its port once the slot's task before has ended.
///
/// Planted: what a task holds is counted only while it runs; host ports are not looked at (caught within 1,200 histories
/// and not within 300).
pub(crate) fn nothing_is_given_out_twice(state: &State) {
    for node in state.nodes() {
        let Some(total) = node.description.as_ref().map(|description| description.resources) else { continue };
        let mut reserved = Resources { nano_cpus: 0, memory_bytes: 0 };
        let mut owners: BTreeMap<u16, (ServiceId, Slot)> = BTreeMap::new();
        let mut bound: BTreeSet<u16> = BTreeSet::new();
        for task in state.tasks_of_node(node.id).filter(|task| task.holds_resources()) {
            let asked = &task.template.spec.resources.reservations;
            reserved.nano_cpus += asked.nano_cpus;
            reserved.memory_bytes += asked.memory_bytes;
            let binds = task.desired == DesiredState::Running || task.status.state >= TaskState::Starting;
            for port in task.template.host_ports.iter().map(|port| port.published).filter(|port| *port != 0) {
                let owner = owners.insert(port, (task.service_id, task.slot));
                let same = owner.is_none_or(|owner| owner == (task.service_id, task.slot));
                assert!(same, "port {port} of {} is given out to {}", node.id, task.name());
                assert!(!binds || bound.insert(port), "{} binds port {port} beside another", task.id);
            }
        }
        assert!(
            reserved.nano_cpus <= total.nano_cpus && reserved.memory_bytes <= total.memory_bytes,
            "{reserved:?} are reserved on {}, which has {total:?}",
            node.id
        );
    }
}

/// At rest a rollout that is over, or paused, says why.
pub(crate) fn every_end_has_a_reason(service: &Service) {
    if let Some(rollout) = service.rollout.as_deref().filter(|rollout| !rollout.state.is_moving()) {
        assert!(!rollout.message.is_empty(), "{} ended silently", service.spec.name);
    }
}

/// Drains, moves and rollouts end: once every node is heard again, those that take tasks have room, and time has gone by.
/// Which services it says nothing of: those with a task that no node takes, or of an image that does not stay up.
///
/// Planted: a successor that was called off and never ran, taken for a hand-over under way; a rollout that has not done
/// with a slot while its new task stands on a drained node.
pub(crate) fn what_was_begun_ends(world: &World, works: impl Fn(&str) -> bool) {
    for service in world.state.services() {
        let current = || world.state.tasks_of_service(service.id).filter(|task| task.desired <= DesiredState::Running);
        let has_ended = service.rollout.as_ref().is_none_or(|rollout| !rollout.state.is_moving());
        assert!(has_ended, "the rollout of {} goes on for ever\n{}", service.spec.name, world.told());
        let could = |task: &Task| task.node_id.is_some() && works(&task.template.spec.container.image);
        if !current().all(could) || service.spec.mode == Mode::Global {
            continue;
        }
        for task in current() {
            let node = task.node_id.and_then(|node| world.state.node(node));
            let left = node.is_some_and(|node| node.spec.availability != Availability::Drain);
            assert!(left, "{} never leaves its drained node\n{}", task.name(), world.told());
            assert!(task.moves_to.is_none(), "{} never moves\n{}", task.name(), world.told());
        }
    }
}
