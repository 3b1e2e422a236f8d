//! Which tasks of a drained node no other node takes, and why: what whoever drains it is told at once, instead of having
//! to wait for the planner and to look.
//!
//! Called by the RPC that drains: what has to go is noted before, as the planner stops some of it at once, and looked at
//! in the state in which the node is drained. The scheduler is asked as the planner will ask it, or has, and what it finds
//! a node for takes its room there. Nothing is changed, and nothing rests on the answer: the planner decides by itself,
//! and a node may be gone by then or another there.

use muster_proto::{
    id::{NodeId, ServiceId},
    node::NodeState,
    service::Mode,
    task::{Slot, Task},
    task_state::TaskState,
    time::Timestamp,
    waiting::WaitingOn,
};

use super::{
    draft::Draft,
    schedule::{Placer, Start},
};
use crate::{liveness::Liveness, state::State};

/// A task that no other node takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranded {
    pub service: ServiceId,
    pub slot: Slot,
    pub meanwhile: Meanwhile,
    pub why: WaitingOn,
}

/// What becomes of it until one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meanwhile {
    /// It runs, and goes on where it is.
    Stays,
    /// It did not run yet, and is stopped.
    Waits,
}

/// Tasks of a node that a drain of it moves. In order of service and slot.
#[must_use]
pub fn movable(state: &State, node: NodeId) -> Vec<Task> {
    let moved = |task: &&Task| task.is_active() && is_replicated(state, task);
    let mut movable: Vec<Task> = state.tasks_of_node(node).filter(moved).cloned().collect();
    movable.sort_by_key(|task| (task.service_id, task.slot, task.id));
    movable
}

/// Of those that were [`movable`] from the node. Of a node that is down nothing: what ran there is replaced anyway.
#[must_use]
pub fn stranded(state: &State, liveness: &Liveness, now: Timestamp, node: NodeId, movable: &[Task]) -> Vec<Stranded> {
    if liveness.of(node) == NodeState::Down {
        return Vec::new();
    }
    let (draft, mut placer) = (Draft::new(state, now), Placer::new(state, liveness, now));
    let mut stranded = Vec::new();
    for task in movable.iter().filter(|task| !is_elsewhere(state, task)) {
        let Some(service) = state.service(task.service_id) else { continue };
        let meanwhile = if task.status.state == TaskState::Running { Meanwhile::Stays } else { Meanwhile::Waits };
        match placer.place(&draft, service, &task.template, task.slot, Start::AtOnce) {
            Ok(to) => placer.relocate(task, to),
            // Who is on its way out holds the room: it comes by itself.
            Err(WaitingOn::Predecessor) => {}
            Err(why) => stranded.push(Stranded { service: service.id, slot: task.slot, meanwhile, why }),
        }
    }
    stranded
}

/// A global service's task ends with the drain.
fn is_replicated(state: &State, task: &Task) -> bool {
    state.service(task.service_id).is_some_and(|service| match service.spec.mode {
        Mode::Replicated { .. } => true,
        Mode::Global => false,
    })
}

/// Its slot has another on another node.
fn is_elsewhere(state: &State, task: &Task) -> bool {
    let is_there = |other: &Task| other.is_active() && other.node_id.is_some_and(|at| Some(at) != task.node_id);
    state.tasks_of_slot(task.service_id, task.slot).any(is_there)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_proto::{
        node::{Availability, Node},
        service::Service,
        task::TaskStatus,
        task_state::DesiredState,
        waiting::Refusal,
    };

    use super::*;
    use crate::plan::schedule::fixture::{self, NOW, cluster};

    /// Of the 4 GiB that each node has.
    const GIB: u64 = 1 << 30;

    fn drained() -> Node {
        let mut node = fixture::node(1);
        node.spec.availability = Availability::Drain;
        node
    }

    fn asking(memory_bytes: u64) -> Service {
        let mut service = fixture::service(1);
        Arc::make_mut(&mut service.template).spec.resources.reservations.memory_bytes = memory_bytes;
        service
    }

    fn found(nodes: Vec<Node>, service: Service, tasks: Vec<Task>) -> Vec<(Slot, WaitingOn)> {
        let (mut state, liveness) = cluster(nodes, tasks);
        state.services.insert(service.id, service.into());
        let movable = movable(&state, NodeId::from_bits(1));
        let found = stranded(&state, &liveness, NOW, NodeId::from_bits(1), &movable);
        found.into_iter().map(|task| (task.slot, task.why)).collect()
    }

    #[test]
    fn what_does_not_run_yet_waits_whether_or_not_the_planner_has_stopped_it() {
        let (from, web) = (drained(), asking(GIB));
        let mut starting = fixture::task(2, &web, 2, &from);
        starting.status = TaskStatus::new(TaskState::Starting, NOW, "starts");
        let tasks = vec![fixture::task(1, &web, 1, &from), starting.clone()];
        let (mut before, liveness) = cluster([from.clone()], tasks.clone());
        let mut stopped = Task { desired: DesiredState::Shutdown, ..starting };
        stopped.status = TaskStatus::new(TaskState::Shutdown, NOW, "stopped");
        let next = Task { node_id: None, ..fixture::task(3, &web, 2, &from) };
        let (mut after, _) = cluster([from], [tasks[0].clone(), stopped, next]);
        for state in [&mut before, &mut after] {
            state.services.insert(web.id, web.clone().into());
        }
        let movable = movable(&before, NodeId::from_bits(1));
        let at_once = stranded(&before, &liveness, NOW, NodeId::from_bits(1), &movable);
        let later = stranded(&after, &liveness, NOW, NodeId::from_bits(1), &movable);
        let meanwhile: Vec<Meanwhile> = at_once.iter().map(|task| task.meanwhile).collect();
        assert_eq!(meanwhile, [Meanwhile::Stays, Meanwhile::Waits]);
        assert_eq!(later, at_once);
    }

    #[test]
    fn room_that_one_takes_is_not_offered_to_the_next() {
        let (from, to, web) = (drained(), fixture::node(2), asking(3 * GIB));
        let tasks = vec![fixture::task(1, &web, 1, &from), fixture::task(2, &web, 2, &from)];
        let refusals = vec![(1, Refusal::NodeDrained), (1, Refusal::Memory { asked: 3 * GIB, free_max: GIB })];
        let why = WaitingOn::NoSuitableNode { nodes: 2, refusals };
        assert_eq!(found(vec![from, to], web, tasks), [(Slot::Number(2), why)]);
    }

    #[test]
    fn the_last_node_keeps_what_it_has_and_not_what_goes_anyway() {
        let (from, web) = (drained(), asking(GIB));
        let mut stopping = fixture::task(2, &web, 2, &from);
        stopping.desired = DesiredState::Shutdown;
        let tasks = vec![fixture::task(1, &web, 1, &from), stopping];
        let why = WaitingOn::NoSuitableNode { nodes: 1, refusals: vec![(1, Refusal::NodeDrained)] };
        assert_eq!(found(vec![from.clone()], web, tasks), [(Slot::Number(1), why)]);

        let mut global = asking(GIB);
        global.spec.mode = Mode::Global;
        let mut task = fixture::task(1, &global, 1, &from);
        task.slot = Slot::Node(from.id);
        assert_eq!(found(vec![from], global, vec![task]), []);
    }

    #[test]
    fn a_slot_that_has_its_next_task_elsewhere_is_moving() {
        let (from, to, web) = (drained(), fixture::node(2), asking(3 * GIB));
        let tasks = vec![fixture::task(1, &web, 1, &from), fixture::task(2, &web, 1, &to)];
        assert_eq!(found(vec![from, to], web, tasks), []);
    }
}
