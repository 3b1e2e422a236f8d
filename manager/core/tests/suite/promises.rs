//! What the planner promises across a whole history, kept beside a [`World`] and looked at after every plan. Each promise
//! names the bug that was planted to see it caught.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::state::State;
use muster_proto::{
    id::{ServiceId, TaskId},
    isolation::OnIsolation,
    node::Availability,
    resources::Resources,
    rollout::{RolloutState, UpdateOrder},
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
    /// Slots that a rollout went past because they failed: what was begun there may go on beside what it was to replace.
    failed: Serving,
    /// The newest assignment that was at work in each slot that must not run twice.
    fences: BTreeMap<(ServiceId, Slot), (Fence, TaskId)>,
    /// Tasks that stood on a node while it was not heard: that it brings them back is not the planner's doing.
    lost: BTreeSet<TaskId>,
    /// In which order each task took over, or is to: what its service said when it was let go, and whether the slot had to
    /// leave its node then.
    orders: BTreeMap<TaskId, (UpdateOrder, bool)>,
}

impl Promises {
    pub(crate) fn note_specs(&mut self, state: &State) {
        for service in state.services() {
            for config in [&service.spec.update, &service.spec.rollback] {
                let places = if config.parallelism == 0 { usize::MAX } else { config.parallelism as usize };
                let most = self.parallelism.entry(service.id).or_default();
                *most = places.max(*most);
            }
            let failed = service.rollout.iter().flat_map(|rollout| rollout.failed.iter().copied());
            self.failed.entry(service.id).or_default().extend(failed);
        }
    }

    /// A plan was carried out, before which these slots served.
    pub(crate) fn planned(&mut self, world: &World, before: &Serving) {
        let after = serving(world);
        for (id, slots) in before {
            let now = after.get(id);
            let lost: Vec<Slot> =
                slots.iter().filter(|slot| !now.is_some_and(|now| now.contains(slot))).copied().collect();
            lost.iter().for_each(|slot| only_what_must_goes_first(world, *id, *slot));
            self.given_up.entry(*id).or_default().extend(lost);
        }
        self.note_orders(&world.state);
        self.availability_is_kept(world, &after);
    }

    fn note_lost(&mut self, world: &World) {
        self.lost.retain(|task| world.state.task(*task).is_some());
        let is_silent = |task: &&Task| task.node_id.is_some_and(|node| world.is_silent(node));
        self.lost.extend(world.state.tasks().filter(is_silent).map(|task| task.id));
    }

    fn note_orders(&mut self, state: &State) {
        self.orders.retain(|task, _| state.task(*task).is_some());
        for task in state.tasks().filter(|task| task.desired == DesiredState::Running) {
            if let Some(service) = state.service(task.service_id) {
                let leaves = || state.tasks_of_slot(service.id, task.slot).any(|other| leaves(state, other));
                self.orders.entry(task.id).or_insert_with(|| (order(service), leaves()));
            }
        }
    }

    pub(crate) fn observe(&mut self, world: &World) {
        self.note_lost(world);
        self.availability_is_kept(world, &serving(world));
        self.no_more_run_than_the_surge_allows(world);
        self.only_what_may_runs_beside_another(world);
        at_most_one_is_one(world);
        self.fences_only_grow(world);
    }

    /// Never more than the parallelism of a service's slots are without a task that serves through the planner's own
    /// doing: over the whole history, on drained nodes too.
    ///
    /// Planted: a rollout that has not done with a slot while its new task stands on a drained node; caught after 106
    /// histories that begin things. A hand-over that counts only while its successor is sound the scenario `drain_fails`
    /// catches, and the surge below after 90 histories that begin things, and 376 in a crowd.
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
            // It would be gone by now in any case, or may be.
            let lost = &self.lost;
            let ended_by_itself = |slot: &Slot| {
                let ran = world.state.tasks_of_slot(*id, *slot).filter(|task| task.status.running_at.is_some());
                let last = ran.max_by_key(|task| (task.created_at, task.id));
                last.is_some_and(|task| {
                    lost.contains(&task.id) || matches!(task.status.state, TaskState::Failed | TaskState::Complete)
                })
            };
            let is_excused = |slot: &Slot| failed(slot) || out_of_reach(slot) || ended_by_itself(slot);
            slots.retain(|slot| wanted(slot) && !serves(slot) && !is_excused(slot));
            let allowed = self.parallelism.get(id).copied().unwrap_or_default();
            assert!(slots.len() <= allowed, "{slots:?} of {} were given up\n{}", service.spec.name, world.told());
        }
    }

    /// Containers that are wanted and at work, ready or not, on nodes that were heard all the time: the replicas, and one
    /// more for each slot that may be between two tasks. Not counted are slots that failed: a rollout that is to continue
    /// goes past them, and what hangs there stays beside the task that serves.
    ///
    /// Planted: a drain that takes no turn; caught after 1 history that begins things, and 4 in a crowd. A hand-over without
    /// a node that keeps its turn beside the rollout's the scenario `drain_meets_rollout` catches; 1,000 histories in a
    /// crowd do not.
    fn no_more_run_than_the_surge_allows(&self, world: &World) {
        for service in world.state.services() {
            let Mode::Replicated { replicas } = service.spec.mode else { continue };
            let wanted = |task: &&Task| {
                task.service_id == service.id && task.desired == DesiredState::Running && !self.lost.contains(&task.id)
            };
            let at_work = world.agents.at_work().filter_map(|work| world.state.task(work.task)).filter(wanted).count();
            let surge = self.parallelism.get(&service.id).copied().unwrap_or_default();
            let failed = self.failed.get(&service.id).map_or(0, BTreeSet::len);
            let most = (replicas as usize).saturating_add(surge).saturating_add(failed);
            assert!(at_work <= most, "{at_work} of {} run, {replicas} are wanted\n{}", service.spec.name, world.told());
        }
    }

    /// In a slot that stops first, or that cannot run twice, none is at work beside an older one, told to stop or not, but
    /// where that has to leave its node. Also a drain goes start-first, where the slot can run twice.
    ///
    /// Planted: a drain that never stops first; a default order that looks at the new version only. Caught after 15 histories
    /// that begin things and by the first, and after 93 and 33 in a crowd. Found when it was written: a task that can run
    /// twice, started beside an exclusive one on a drained node (caught after 695 histories); and since it looks at what was
    /// told to stop: the same beside one on its way out (after 32 that begin things).
    fn only_what_may_runs_beside_another(&self, world: &World) {
        let mut slots: BTreeMap<(ServiceId, Slot), Vec<&Task>> = BTreeMap::new();
        for task in world.agents.at_work().filter_map(|work| world.state.task(work.task)) {
            if !self.lost.contains(&task.id) {
                slots.entry((task.service_id, task.slot)).or_default().push(task);
            }
        }
        for tasks in slots.values_mut().filter(|tasks| tasks.len() > 1) {
            tasks.sort_by_key(|task| (task.created_at, task.id));
            let is_wanted = |task: &&Task| task.desired <= DesiredState::Running;
            let Some(at) = tasks.iter().rposition(is_wanted) else { continue };
            let (newest, older) = (tasks[at], &tasks[..at]);
            let is_exclusive = tasks.iter().any(|task| is_exclusive(task));
            let alone = match self.orders.get(&newest.id) {
                Some((UpdateOrder::StopFirst, has_to_leave)) => is_exclusive || !has_to_leave,
                Some((UpdateOrder::Auto, _)) => is_exclusive,
                Some((UpdateOrder::StartFirst, _)) | None => false,
            };
            let beside = older.iter().find(|task| is_exclusive || !is_wanted(task) || !leaves(&world.state, task));
            let told = || world.told();
            assert!(!alone || beside.is_none(), "{} runs beside {beside:?}\n{}", newest.id, told());
        }
    }

    /// In a slot that must not run twice nothing starts under an older fence than what was there before.
    ///
    /// Planted: fences that fall with each assignment; caught by the first history of cuts.
    fn fences_only_grow(&mut self, world: &World) {
        for work in world.agents.at_work().filter(|work| work.on_isolation == OnIsolation::Stop) {
            let now = (work.fence, work.task);
            let Some(before) = self.fences.insert((work.service, work.slot), now) else { continue };
            assert!(before == now || before.0 < now.0, "{now:?} runs after {before:?}\n{}", world.told());
        }
    }
}

/// Where two tasks of a slot may run at once, the planner never stops the one that serves before another does: in no
/// rollout, drain or move. Said of the order that is in force, so that it is sharp whatever the specs were before.
///
/// Planted: a drain that stops first; a default order that does. Caught by the first history that begins things, and after
/// 138 and 54 of any kind.
fn only_what_must_goes_first(world: &World, service: ServiceId, slot: Slot) {
    let Some(service) = world.state.service(service) else { return };
    let rows = || world.state.tasks_of_slot(service.id, slot);
    let is_wanted = rows().any(|task| task.desired <= DesiredState::Running);
    let must = match order(service) {
        UpdateOrder::StopFirst => true,
        // By default it also makes room for its successor, where that finds none.
        UpdateOrder::Auto => rows().any(|task| is_exclusive(task) || asks_for_room(task)),
        // Asked for by name it is the user's risk, but on a drained node.
        UpdateOrder::StartFirst => rows().any(is_exclusive),
    };
    assert!(!is_wanted || must, "slot {slot} of {} was given up\n{}", service.spec.name, world.told());
}

/// At most one container of a slot that stops when it is cut off, whatever happens to nodes, leaders and clocks.
///
/// Planted: a lost task that is replaced before its grace is over (caught by the first history of cuts).
fn at_most_one_is_one(world: &World) {
    let mut seen: BTreeMap<(ServiceId, Slot), TaskId> = BTreeMap::new();
    for work in world.agents.at_work().filter(|work| work.on_isolation == OnIsolation::Stop) {
        if let Some(other) = seen.insert((work.service, work.slot), work.task) {
            panic!("{} runs beside {other} in slot {}\n{}", work.task, work.slot, world.told());
        }
    }
}

/// The order that is in force: a rollback goes about as its own flags say.
fn order(service: &Service) -> UpdateOrder {
    match service.rollout.as_ref().map(|rollout| rollout.state) {
        Some(RolloutState::RollbackStarted | RolloutState::RollbackPaused) => service.spec.rollback.order,
        None
        | Some(
            RolloutState::Updating | RolloutState::Paused | RolloutState::Completed | RolloutState::RollbackCompleted,
        ) => service.spec.update.order,
    }
}

/// It serves, and has to go elsewhere.
fn leaves(state: &State, task: &Task) -> bool {
    let node = task.node_id.and_then(|node| state.node(node));
    let is_told = task.moves_to.is_some() || node.is_none_or(|node| node.spec.availability == Availability::Drain);
    is_told && task.is_active() && task.status.state == TaskState::Running
}

fn is_exclusive(task: &Task) -> bool {
    let template = &task.template;
    template.spec.on_isolation == OnIsolation::Stop
        || !template.host_ports.is_empty()
        || template.spec.container.mounts.iter().any(|mount| mount.is_exclusive())
}

fn asks_for_room(task: &Task) -> bool {
    let spec = &task.template.spec;
    let reserved = &spec.resources.reservations;
    reserved.nano_cpus > 0 || reserved.memory_bytes > 0 || spec.placement.max_replicas_per_node.is_some()
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
/// Planted: what a task holds is counted only while it runs; host ports are not looked at (caught after 56 histories in a
/// crowd).
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
///
/// Planted: no message where a rollout finds no task to replace; caught after 16 histories.
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
