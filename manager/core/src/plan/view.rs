//! One slot's tasks, sorted by what they are to it.

use std::collections::BTreeMap;

use muster_proto::{
    id::ServiceId,
    node::{Availability, NodeState},
    service::{Mode, Service},
    task::{Slot, Task},
    task_state::{DesiredState, TaskState},
    version::TemplateVersion,
};

use super::pass::Pass;
use crate::state::State;

#[derive(Clone, Debug)]
pub(super) struct SlotView<'a> {
    pub(super) slot: Slot,
    /// Oldest first.
    pub(super) rows: Vec<&'a Task>,
}

pub(super) type Slots<'a> = BTreeMap<Slot, SlotView<'a>>;

/// How firmly a task that should run stands in its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Footing {
    Sound,
    /// Its node is down: it may run, nobody knows.
    Lost,
    /// Its node went down with most others: it stays as it is until more is known.
    Vanished,
    /// Its node is drained, or it is to move: it runs and has to go.
    Displaced,
    Ended,
}

impl<'a> SlotView<'a> {
    pub(super) fn empty(slot: Slot) -> Self {
        Self { slot, rows: Vec::new() }
    }

    /// Meant to run: also one that ended by itself and was not replaced yet. A slot exists while it has any.
    pub(super) fn current(&self) -> impl Iterator<Item = &'a Task> + '_ {
        self.rows.iter().copied().filter(|task| task.desired <= DesiredState::Running)
    }

    pub(super) fn exists(&self) -> bool {
        self.current().next().is_some()
    }

    /// One of its tasks stands on a node that a new leader has not heard of yet: whether it runs nobody knows, and it
    /// takes one lease at most to find out.
    pub(super) fn is_unheard(&self, pass: &Pass<'_, '_>) -> bool {
        self.current().any(|task| {
            task.holds_resources() && task.node_id.is_some_and(|node| pass.liveness.of(node) == NodeState::Unknown)
        })
    }

    pub(super) fn has(&self, version: TemplateVersion) -> bool {
        self.current().any(|task| task.template_version == version)
    }
}

pub(super) fn slots_of(state: &State, service: ServiceId) -> Slots<'_> {
    let mut slots = Slots::new();
    for task in state.tasks_of_service(service) {
        slots.entry(task.slot).or_insert_with(|| SlotView::empty(task.slot)).rows.push(task);
    }
    for view in slots.values_mut() {
        view.rows.sort_by_key(|task| (task.created_at, task.id));
    }
    slots
}

pub(super) fn footing(pass: &Pass<'_, '_>, service: &Service, task: &Task) -> Footing {
    if task.status.state.is_final() {
        return Footing::Ended;
    }
    match service.spec.mode {
        // A global slot is its node: there is no other place for its task.
        Mode::Global => Footing::Sound,
        Mode::Replicated { .. } if task.node_id.is_some_and(|node| pass.outage.holds(node)) => Footing::Vanished,
        Mode::Replicated { .. } if pass.is_down(task.node_id) => Footing::Lost,
        Mode::Replicated { .. } => {
            let node = task.node_id.and_then(|node| pass.draft.node(node));
            match node.map(|node| node.spec.availability) {
                Some(Availability::Drain) => Footing::Displaced,
                Some(_) | None if pass.destination(task).is_some() => Footing::Displaced,
                Some(Availability::Active | Availability::Pause) | None => Footing::Sound,
            }
        }
    }
}

/// Serves, as far as the managers can know.
pub(super) fn serves(pass: &Pass<'_, '_>, task: &Task) -> bool {
    task.status.state == TaskState::Running && !pass.is_down(task.node_id)
}
