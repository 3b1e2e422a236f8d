//! The words for how it ended. Each says what happened, shows what the failed tasks left, and names the next step.

use muster_proto::{rollout::RolloutState, task::Evidence};

use super::slots::{self, Phase, SlotView};
use crate::{
    format::{
        evidence,
        text::{Truncate, counted},
    },
    object::{
        Service, Task,
        service::{Failure, Rollout},
    },
};

/// More slots than this with one and the same trouble tell nothing new.
const SLOTS_SHOWN_MAX: usize = 5;

#[must_use]
pub fn converged(service: &Service, views: &[SlotView<'_>]) -> String {
    let running = slots::count(views, Phase::Running);
    let complete = match slots::count(views, Phase::Complete) {
        0 => String::new(),
        complete => format!(", {complete} complete"),
    };
    format!("service {} converged: {} running{complete}", service.spec.name, counted(running, "task"))
}

/// However it ended: the rollout that was held before is still there, and somebody's next step.
#[must_use]
pub fn while_held(ended: &str, service: &Service, held: &Rollout) -> String {
    let what = if held.state.is_rollback() { "rollback" } else { "update" };
    format!("{ended}\nthe {what} of service {} is still held: {}", service.spec.name, held.message)
}

/// The rollout's own sentence, which names the next step where there is one to take, and what the failed tasks left.
#[must_use]
pub fn rollout(name: &str, rollout: &Rollout) -> String {
    let failures: String = rollout.failures.iter().map(|failure| failed_task(name, failure)).collect();
    let next = match rollout.state {
        RolloutState::RollbackCompleted => format!(
            "\nthe service runs its previous spec again; `muster service ps {name}` shows the tasks that failed"
        ),
        RolloutState::Updating
        | RolloutState::Paused
        | RolloutState::Completed
        | RolloutState::RollbackStarted
        | RolloutState::RollbackPaused => String::new(),
    };
    format!("service {name}: {}{failures}{next}", rollout.message)
}

fn failed_task(name: &str, failure: &Failure) -> String {
    let id = Truncate::Short.id(&failure.task_id);
    let left = left_behind(&failure.error, failure.exit_code, failure.evidence.as_ref());
    format!("\n  {name}.{} (task {id}): {}{left}", failure.slot, failure.error)
}

/// What it left, each on a line of its own below it.
fn left_behind(error: &str, exit_code: Option<i32>, left: Option<&Evidence>) -> String {
    evidence::lines(error, exit_code, left).iter().map(|line| format!("\n    {line}")).collect()
}

#[must_use]
pub fn keeps_failing(name: &str, view: &SlotView<'_>) -> String {
    let failures = view.task.map_or(0, Task::failures_in_a_row);
    format!(
        "service {name} does not stay up: {name}.{} {} {failures} times in a row{}\nit is tried again with growing \
         pauses; look at `muster service logs {name}`, then mend it with `muster service update {name}` or remove it with \
         `muster service rm {name}`",
        view.slot,
        view.last_failure.map_or("failed", Task::how_it_went),
        last_failure(view),
    )
}

/// `until`: what the next attempt waits for.
#[must_use]
pub fn put_off(name: &str, view: &SlotView<'_>, until: &str) -> String {
    format!(
        "service {name} does not stay up: {name}.{} {}, and its next attempt is a long way off: {until}{}\nlook at \
         `muster service logs {name}`, then mend it with `muster service update {name}`, or try again at once with `muster \
         service update --force {name}`",
        view.slot,
        view.last_failure.map_or("failed", Task::how_it_went),
        last_failure(view),
    )
}

#[must_use]
pub fn given_up(name: &str, views: &[SlotView<'_>]) -> String {
    let given_up: Vec<&SlotView<'_>> = views.iter().filter(|view| view.phase == Phase::GivenUp).collect();
    let each: String = given_up.iter().take(SLOTS_SHOWN_MAX).map(|view| last_failure(view)).collect();
    format!(
        "service {name} is given up in {}: its restart policy allows no further attempt{each}\nlook at `muster service \
         logs {name}`, then start it anew with `muster service update --force {name}`",
        counted(given_up.len(), "slot"),
    )
}

fn last_failure(view: &SlotView<'_>) -> String {
    let Some(task) = view.last_failure else { return String::new() };
    let left = left_behind(task.failure(), task.status.exit_code, task.status.evidence.as_deref());
    format!("\n  {} (task {}): {}{left}", task.name(), Truncate::Short.id(&task.id), task.failure())
}

#[must_use]
pub fn blocked(name: &str, views: &[SlotView<'_>]) -> String {
    let blocked: Vec<&SlotView<'_>> = views.iter().filter(|view| view.phase == Phase::Blocked).collect();
    let reasons: String = blocked
        .iter()
        .filter_map(|view| view.task)
        .take(SLOTS_SHOWN_MAX)
        .map(|task| format!("\n  {}: {}", task.name(), task.blocked_by().unwrap_or_default()))
        .collect();
    let more = match blocked.len().saturating_sub(SLOTS_SHOWN_MAX) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    let wait = if blocked.len() == 1 { "waits" } else { "wait" };
    format!(
        "service {name} cannot run as asked: {} of {} {wait} for a node{reasons}{more}\nwhat waits starts as soon as a \
         node takes it; look at `muster service ps {name}` and `muster node ls`",
        blocked.len(),
        counted(views.len(), "task"),
    )
}

#[must_use]
pub fn no_nodes(name: &str) -> String {
    format!(
        "global service {name} has no task: no node is active and meets its constraints; look at `muster node ls` and \
         `muster service inspect {name}`"
    )
}
