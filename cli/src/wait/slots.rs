//! Where each slot of a service stands, from one snapshot. Pure.

use std::collections::BTreeMap;

use muster_proto::{service::Mode, task::Slot, task_state::TaskState};

use crate::object::{Service, Task};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No task that counts was made yet.
    Missing,
    /// On its way.
    Underway,
    /// No node will have it.
    Blocked,
    /// A task that counts runs and is ready.
    Running,
    /// Ended with success, and no task follows.
    Complete,
    /// Failed, and no task follows.
    GivenUp,
}

#[derive(Clone, Debug)]
pub struct SlotView<'a> {
    pub slot: Slot,
    pub phase: Phase,
    /// The task that the phase is about.
    pub task: Option<&'a Task>,
    /// The newest of those that count to have ended without having been told to: what is to run for ever may also end
    /// with success.
    pub last_failure: Option<&'a Task>,
}

/// Which tasks count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Those of the present template.
    Present,
    Any,
}

/// In order of the slots. A replicated service has one for each replica; a global one for each node that it has
/// tasks on.
#[must_use]
pub fn views<'a>(service: &Service, tasks: &'a [Task], versions: Versions) -> Vec<SlotView<'a>> {
    let mut by_slot: BTreeMap<Slot, Vec<&Task>> = BTreeMap::new();
    match service.spec.mode {
        Mode::Replicated { replicas } => by_slot.extend((1..=replicas).map(|n| (Slot::Number(n), Vec::new()))),
        Mode::Global => {
            let present = tasks.iter().filter(|task| task.service_id == service.id && !is_retired(task));
            by_slot.extend(present.map(|task| (task.slot, Vec::new())));
        }
    }
    for task in tasks.iter().filter(|task| counts(service, task, versions)) {
        if let Some(of_slot) = by_slot.get_mut(&task.slot) {
            of_slot.push(task);
        }
    }
    by_slot.into_iter().map(|(slot, tasks)| view(slot, tasks)).collect()
}

fn counts(service: &Service, task: &Task, versions: Versions) -> bool {
    let is_meant = match versions {
        Versions::Present => task.template_version == service.template_version,
        Versions::Any => true,
    };
    task.service_id == service.id && is_meant
}

/// Told to go, as opposed to having ended by itself.
fn is_retired(task: &Task) -> bool {
    !task.is_active() && !task.status.state.is_failure() && task.status.state != TaskState::Complete
}

fn view(slot: Slot, mut tasks: Vec<&Task>) -> SlotView<'_> {
    tasks.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    let is_over = |state: TaskState| state.is_failure() || state == TaskState::Complete;
    let last_failure = tasks.iter().copied().find(|task| is_over(task.status.state));
    let serving = tasks.iter().copied().find(|task| task.is_serving());
    let active = tasks.iter().copied().find(|task| task.is_active());
    let (phase, task) = match (serving, active) {
        (Some(task), _) => (Phase::Running, Some(task)),
        (None, Some(task)) if task.blocked_by().is_some() => (Phase::Blocked, Some(task)),
        (None, Some(task)) => (Phase::Underway, Some(task)),
        (None, None) => match tasks.first().copied() {
            Some(task) if task.is_followed() => (Phase::Underway, Some(task)),
            Some(task) if task.status.state.is_failure() => (Phase::GivenUp, Some(task)),
            Some(task) if task.status.state == TaskState::Complete => (Phase::Complete, Some(task)),
            Some(_) | None => (Phase::Missing, None),
        },
    };
    SlotView { slot, phase, task, last_failure }
}

#[must_use]
pub fn count(views: &[SlotView<'_>], phase: Phase) -> usize {
    views.iter().filter(|view| view.phase == phase).count()
}
