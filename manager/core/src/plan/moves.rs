//! Tasks that a rebalance moves: each serves until another of its slot does on the node that was chosen for it. Which
//! move, and where to, was decided when they were marked ([`super::rebalance`]); here it is begun, in its turn, or given
//! up. A move that is given up leaves the task where it is, and what was to take its place is told to stop.
//!
//! The rest is the hand-over that a drain uses too: [`super::slot`] and [`super::turns`].

use muster_proto::{
    id::NodeId,
    node::{Availability, NodeState},
    restart::RestartRecord,
    service::Service,
    task::Task,
    task_state::DesiredState,
    waiting::WaitingOn,
};

use super::{
    pass::{Pass, Start, When},
    rebalance, schedule,
    turns::Turns,
    view::{Footing, footing},
};

/// Gives up the moves of the service that cannot be carried out any more.
pub(super) fn review(pass: &mut Pass<'_, '_>, service: &Service) {
    let state = pass.draft.state();
    for task in state.tasks_of_service(service.id) {
        let Some(to) = pass.destination(task) else { continue };
        if pass.draft.is_full() {
            pass.more = true;
            return;
        }
        if !is_possible(pass, service, task, to) {
            pass.draft.keep(task.id);
            forget_turn(pass, task);
        }
    }
}

fn is_possible(pass: &Pass<'_, '_>, service: &Service, task: &Task, to: NodeId) -> bool {
    let is_there = |node: Option<NodeId>| {
        node.is_some_and(|node| pass.draft.node(node).is_some() && !pass.outage.holds(node)) && !pass.is_down(node)
    };
    // From a drained one it goes to any that takes it.
    let is_drained = |node| pass.draft.node(node).is_some_and(|node| node.spec.availability == Availability::Drain);
    let successor = pass
        .draft
        .state()
        .tasks_of_slot(task.service_id, task.slot)
        .filter(|other| other.id != task.id && other.desired <= DesiredState::Running)
        .max_by_key(|other| (other.created_at, other.id));
    rebalance::stays(service, &task.template).is_none()
        && task.template_version == service.template_version
        && task.node_id != Some(to)
        && is_there(task.node_id)
        && is_there(Some(to))
        && !task.node_id.is_some_and(is_drained)
        && successor.is_none_or(|next| footing(pass, service, next) == Footing::Sound)
}

/// `task` serves, nobody else of its slot is on the way, and the slot has a turn.
pub(super) fn begin(pass: &mut Pass<'_, '_>, service: &Service, task: &Task, to: NodeId, turns: &mut Turns) {
    // A new leader has not heard of every node yet, and gives up nothing that an earlier one began.
    if pass.liveness.of(to) == NodeState::Unknown {
        return pass.draft.explain(task.id, Some(WaitingOn::Turn));
    }
    if schedule::accepts(&pass.draft, pass.liveness, service, task, to).is_err() {
        pass.draft.keep(task.id);
        return forget_turn(pass, task);
    }
    turns.take(task.slot);
    forget_turn(pass, task);
    let start = Start { template: task.template_version, when: When::AtOnce, restarts: RestartRecord::default() };
    let id = pass.create(service, task.slot, start);
    pass.draft.place(id, Ok(to));
}

fn forget_turn(pass: &mut Pass<'_, '_>, task: &Task) {
    if task.waiting == Some(WaitingOn::Turn) {
        pass.draft.explain(task.id, None);
    }
}
