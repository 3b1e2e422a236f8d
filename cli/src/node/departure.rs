//! Which tasks have not left a drained node, and what each of them waits for. Pure.

use muster_proto::waiting::WaitingOn;

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
    if next.status.state.is_final() {
        return Progress::Waits(format!("its replacement failed: {}", next.failure()));
    }
    if let Some(why) = stuck(next) {
        return Progress::Stuck(why);
    }
    match &next.waiting {
        Some(waiting) => Progress::Waits(waiting.clone()),
        None => Progress::Underway(format!("its replacement is {}", next.status.state.to_string().to_lowercase())),
    }
}

/// The turn comes once those before have moved, or never.
fn in_turn(task: &Task, tasks: &[Task]) -> Progress {
    let before = || tasks.iter().filter(|other| other.service_id == task.service_id && other.slot != task.slot);
    let moves = |other: &Task| other.is_active() && !other.is_serving() && stuck(other).is_none();
    match before().find_map(|other| stuck(other).map(|why| (other.name(), why))) {
        Some((name, why)) if !before().any(moves) => Progress::Stuck(format!("{name} goes first: {why}")),
        Some(_) | None => Progress::Waits(WaitingOn::Turn.to_string()),
    }
}

/// Why a replacement does not come.
fn stuck(next: &Task) -> Option<String> {
    match next.blocked_by() {
        Some(blocked) => Some(blocked.to_owned()),
        None if next.is_active() && next.failures >= FAILURES_MAX => {
            Some(format!("its replacement failed {} times in a row", next.failures))
        }
        None => None,
    }
}
