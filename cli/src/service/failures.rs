//! What failed tasks left, for `service ps` below its table: the last to fail in each slot, and those that a rollout
//! failed with, whose rows may be gone. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use muster_proto::{
    task::{Evidence, Slot},
    time::Timestamp,
};

use super::tasks::Layout;
use crate::{
    format::{
        evidence,
        text::{ago, counted, one_line},
    },
    object::{Service, Task, service::Failure},
};

/// More of them tell nothing new; the newest are shown.
const FAILURES_SHOWN_MAX: usize = 8;

/// A task that failed and left something that its row does not show.
struct Left<'a> {
    name: String,
    task_id: &'a str,
    at: Timestamp,
    error: &'a str,
    exit_code: Option<i32>,
    evidence: Option<&'a Evidence>,
}

/// `shown`: the rows of the table. Empty where there is nothing to tell.
#[must_use]
pub(super) fn text(services: &[Service], shown: &[&Task], layout: &Layout) -> String {
    let rows: BTreeSet<&str> = shown.iter().map(|task| task.id.as_str()).collect();
    let of_rollouts = services.iter().flat_map(|service| {
        let failures = service.rollout.iter().flat_map(|rollout| &rollout.failures);
        failures.map(|failure| of_rollout(service, failure))
    });
    let mut all: Vec<Left<'_>> =
        of_rollouts.filter(|left| layout.filters.is_empty() || rows.contains(left.task_id)).collect();
    all.extend(last_of_each_slot(shown).into_iter().map(of_task));
    all.retain(|left| left.evidence.is_some_and(|evidence| !evidence::left(left.error, evidence).is_empty()));
    all.sort_by_key(|left| (Reverse(left.at), left.task_id));
    let mut told = BTreeSet::new();
    all.retain(|left| told.insert(left.task_id));
    let each: String = all.iter().take(FAILURES_SHOWN_MAX).map(|left| block(left, layout)).collect();
    match all.len().saturating_sub(FAILURES_SHOWN_MAX) {
        0 => each,
        more => format!(
            "{each}\nand {}; --format json shows what those of the table left, `muster service inspect \
             --pretty` those of a rollout\n",
            counted(more, "earlier failure")
        ),
    }
}

fn last_of_each_slot<'a>(shown: &[&'a Task]) -> Vec<&'a Task> {
    let mut last: BTreeMap<(&str, Slot), &Task> = BTreeMap::new();
    for task in shown.iter().copied().filter(|task| task.status.state.is_failure()) {
        let known = last.entry((task.service_id.as_str(), task.slot)).or_insert(task);
        if (known.created_at, &known.id) < (task.created_at, &task.id) {
            *known = task;
        }
    }
    last.into_values().collect()
}

fn of_task(task: &Task) -> Left<'_> {
    Left {
        name: task.name(),
        task_id: &task.id,
        at: task.status.at,
        error: task.failure(),
        exit_code: task.status.exit_code,
        evidence: task.status.evidence.as_deref(),
    }
}

fn of_rollout<'a>(service: &Service, failure: &'a Failure) -> Left<'a> {
    Left {
        name: format!("{}.{}", service.spec.name, failure.slot),
        task_id: &failure.task_id,
        at: failure.at,
        error: &failure.error,
        exit_code: failure.exit_code,
        evidence: failure.evidence.as_ref(),
    }
}

fn block(left: &Left<'_>, layout: &Layout) -> String {
    let Left { name, task_id, at, error, exit_code, evidence } = left;
    let lines = evidence::lines(error, *exit_code, *evidence);
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    let (id, when) = (layout.truncate.id(task_id), ago(*at, layout.now));
    format!("\n{name} (task {id}, {when}): {}\n{lines}", one_line(error))
}
