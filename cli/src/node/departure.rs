//! Which tasks have not left a drained node, and what each of them waits for. Pure.

use muster_proto::{task_state::DesiredState, waiting::WaitingOn};

use crate::{
    object::Task,
    wait::{tally::Word, verdict::FAILURES_MAX},
};

/// A task that is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remaining {
    pub(super) name: String,
    pub(super) progress: Progress,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is told to stop, or its replacement comes along.
    Underway(String),
    /// Others of its service go first, or the planner waits for something that ends.
    Waits(String),
    /// Nothing follows before something changes: no node takes the replacement, or none stays up.
    Stuck(String),
}

impl Progress {
    pub(super) fn word(&self) -> Word {
        match self {
            Progress::Underway(text) => Word::Underway(text.clone()),
            Progress::Waits(text) | Progress::Stuck(text) => Word::Waits(text.clone()),
        }
    }
}

/// Whether the node can be asked what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contact {
    Heard,
    /// It is down: what it was told to stop counts as gone, nobody can know better.
    Lost,
}

/// Whether `task`, which is the node's, is still there.
pub(super) fn remains(task: &Task, contact: Contact) -> bool {
    match contact {
        Contact::Heard => !task.status.state.is_final(),
        Contact::Lost => task.is_active(),
    }
}

/// `tasks` holds those of the services that have tasks there.
pub(super) fn remaining(node_id: &str, contact: Contact, tasks: &[Task]) -> Vec<Remaining> {
    let here = tasks.iter().filter(|task| task.node_id.as_deref() == Some(node_id) && remains(task, contact));
    let mut remaining: Vec<Remaining> =
        here.map(|task| Remaining { name: task.name(), progress: progress(node_id, task, tasks) }).collect();
    remaining.sort_by(|a, b| a.name.cmp(&b.name));
    remaining
}

fn progress(node_id: &str, task: &Task, tasks: &[Task]) -> Progress {
    if !task.is_active() {
        return Progress::Underway("stopping".to_owned());
    }
    let later = |other: &&Task| {
        other.service_id == task.service_id
            && other.slot == task.slot
            && other.node_id.as_deref() != Some(node_id)
            && (other.created_at, &other.id) > (task.created_at, &task.id)
    };
    let newest = tasks.iter().filter(later).max_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    let Some(next) = newest else {
        return match &task.waiting {
            Some(waiting) if *waiting == WaitingOn::Turn.to_string() => in_turn(task, tasks),
            Some(waiting) => Progress::Waits(waiting.clone()),
            None => Progress::Underway("its replacement is to be made".to_owned()),
        };
    };
    if let Some(why) = stuck(next, tasks) {
        return Progress::Stuck(why);
    }
    if next.status.state.is_final() {
        return Progress::Waits(format!("its replacement failed: {}", next.failure()));
    }
    match &next.waiting {
        Some(waiting) => Progress::Waits(waiting.clone()),
        None => Progress::Underway(format!("its replacement is {}", next.status.state.to_string().to_lowercase())),
    }
}

/// The turn comes once those before have moved, or never.
fn in_turn(task: &Task, tasks: &[Task]) -> Progress {
    let before = || tasks.iter().filter(|other| other.service_id == task.service_id && other.slot != task.slot);
    let moves = |other: &Task| other.is_active() && !other.is_serving() && stuck(other, tasks).is_none();
    match before().find_map(|other| stuck(other, tasks).map(|why| (other.name(), why))) {
        Some((name, why)) if !before().any(moves) => Progress::Stuck(format!("{name} goes first: {why}")),
        Some(_) | None => Progress::Waits(WaitingOn::Turn.to_string()),
    }
}

/// Why a replacement does not come. It may fail again and again, and is not there while it pauses.
fn stuck(next: &Task, tasks: &[Task]) -> Option<String> {
    if let Some(blocked) = next.blocked_by() {
        return Some(blocked.to_owned());
    }
    let failures = match (next.desired, next.status.state.is_final()) {
        (DesiredState::Ready | DesiredState::Running, false) => next.failures,
        (DesiredState::Ready | DesiredState::Running, true) => next.failures.saturating_add(1),
        // Given up, or replaced.
        (DesiredState::Shutdown | DesiredState::Remove, _) => return None,
    };
    if failures < FAILURES_MAX {
        return None;
    }
    let of_slot = tasks.iter().filter(|task| task.service_id == next.service_id && task.slot == next.slot);
    let failed = of_slot.filter(|task| task.status.state.is_failure());
    let last = failed.max_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    let why = last.map_or_else(String::new, |task| format!(": {}", task.failure()));
    Some(format!("its replacement failed {failures} times in a row{why}"))
}
