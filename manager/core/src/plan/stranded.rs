//! Which tasks of a drained node no other node takes, and why: what whoever drains it is told at once, instead of having
//! to wait for the planner and to look.
//!
//! Called by the RPC that drains, on the state in which the node is drained. The scheduler is asked as the planner will
//! ask it, and what it finds a node for takes its room there. Nothing is changed, and nothing rests on the answer: the
//! planner decides by itself, and a node may be gone by then or another there.

use muster_proto::{
    id::{NodeId, ServiceId},
    node::NodeState,
    service::Mode,
    task::{Slot, Task},
    time::Timestamp,
    waiting::WaitingOn,
};

use super::{
    draft::Draft,
    schedule::{Placer, Start},
};
use crate::{liveness::Liveness, state::State};

/// A task that stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranded {
    pub service: ServiceId,
    pub slot: Slot,
    pub why: WaitingOn,
}

/// In order of service and slot. Of a node that is down nothing: what ran there is replaced anyway.
#[must_use]
pub fn stranded(state: &State, liveness: &Liveness, now: Timestamp, node: NodeId) -> Vec<Stranded> {
    if liveness.of(node) == NodeState::Down {
        return Vec::new();
    }
    let (draft, mut placer) = (Draft::new(state, now), Placer::new(state, liveness, now));
    let mut tasks: Vec<&Task> = state.tasks_of_node(node).filter(|task| goes_elsewhere(state, task)).collect();
    tasks.sort_by_key(|task| (task.service_id, task.slot, task.id));
    let mut stranded = Vec::new();
    for task in tasks {
        let Some(service) = state.service(task.service_id) else { continue };
        match placer.place(&draft, service, &task.template, task.slot, Start::AtOnce) {
            Ok(to) => placer.relocate(task, to),
            // Who is on its way out holds the room: it comes by itself.
            Err(WaitingOn::Predecessor) => {}
            Err(why) => stranded.push(Stranded { service: service.id, slot: task.slot, why }),
        }
    }
    stranded
}

/// A drain moves it, and its slot has no other yet. A global service's task ends with the drain.
fn goes_elsewhere(state: &State, task: &Task) -> bool {
    let is_replicated = state.service(task.service_id).is_some_and(|service| match service.spec.mode {
        Mode::Replicated { .. } => true,
        Mode::Global => false,
    });
    let is_elsewhere = |other: &Task| other.is_active() && other.node_id.is_some_and(|at| Some(at) != task.node_id);
    is_replicated && task.is_active() && !state.tasks_of_slot(task.service_id, task.slot).any(is_elsewhere)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_proto::{
        node::{Availability, Node},
        service::Service,
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
        let found = stranded(&state, &liveness, NOW, NodeId::from_bits(1));
        found.into_iter().map(|task| (task.slot, task.why)).collect()
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
