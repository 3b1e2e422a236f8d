//! Who fills one slot: a new attempt where nobody does, one of several where too many would, a hand-over where the
//! task that does has to go. Restarts, lost and drained nodes, releases and the halves of a replacement all end here.
//!
//! A slot aims at one template version, its goal. The best task of that version on firm footing is the keeper: once
//! it runs, everyone else is told to stop; until then whoever serves goes on serving.

use std::time::Duration;

use muster_proto::{
    restart::RestartRecord,
    rollout::UpdateOrder,
    service::Service,
    task::{Task, Template},
    task_state::{DesiredState, TaskState},
    version::TemplateVersion,
    waiting::WaitingOn,
};

use super::{
    goal,
    pass::{Pass, Start, When},
    restart::{self, AfterEnd, Why},
    rollout,
    view::{Footing, SlotView, footing},
};
use crate::effect;

/// A slot that the rollout does not come to in this pass.
pub(super) fn fill(pass: &mut Pass<'_, '_>, service: &Service, view: &SlotView<'_>) {
    let goal = goal::goal(pass, service, view);
    let sound = |pass: &Pass<'_, '_>, task: &&Task| {
        task.template_version == goal && footing(pass, service, task) == Footing::Sound
    };
    let keeper = view
        .current()
        .filter(|task| sound(pass, task))
        .min_by_key(|task| (task.status.state != TaskState::Running, task.created_at, task.id));
    match keeper {
        Some(keeper) if keeper.status.state == TaskState::Running => {
            release(pass, service, view, keeper);
            retire(pass, view.current().filter(|task| task.id != keeper.id));
        }
        Some(keeper) => {
            release(pass, service, view, keeper);
            retire(pass, view.current().filter(|task| task.id != keeper.id && !may_serve(task)));
        }
        None => start_attempt(pass, service, view, goal),
    }
}

/// Nobody on firm footing: what the last attempt came to decides about the next.
fn start_attempt(pass: &mut Pass<'_, '_>, service: &Service, view: &SlotView<'_>, goal: TemplateVersion) {
    let begin = |when, restarts| Start { template: goal, when, restarts };
    let last = view.current().filter(|task| task.template_version == goal).last();
    let Some(last) = last else {
        return attempt(pass, service, view, begin(When::AtOnce, RestartRecord::default()));
    };
    match footing(pass, service, last) {
        Footing::Ended => match restart::after_end(last, pass.now) {
            AfterEnd::Restart { pause, record } => {
                let Some(when) = after_pause(pass, service, last, pause) else { return };
                attempt(pass, service, view, begin(when, record));
            }
            AfterEnd::Stay(Why::AttemptsUsedUp { max_attempts }) => {
                pass.draft.explain(last.id, Some(WaitingOn::RestartsUsedUp { max_attempts }));
            }
            AfterEnd::Stay(Why::Condition) => {}
        },
        Footing::Lost | Footing::Displaced => {
            attempt(pass, service, view, begin(When::AtOnce, last.restarts.clone()));
        }
        // A keeper, and then this is not called.
        Footing::Sound => {}
    }
}

/// The next task of a slot, and the end of those that it makes needless. Whoever serves goes on until it runs, except
/// on a drained node where the slot cannot run twice. What has to be alone waits for all who are still on their way
/// out, whichever attempt told them to stop.
fn attempt(pass: &mut Pass<'_, '_>, service: &Service, view: &SlotView<'_>, mut start: Start) {
    let exclusive = is_exclusive(service, start.template);
    let goes = |pass: &Pass<'_, '_>, task: &Task| {
        !may_serve(task) || (exclusive && footing(pass, service, task) == Footing::Displaced)
    };
    let leaving: Vec<&Task> = view.current().filter(|task| goes(pass, task)).collect();
    let alone = exclusive || rollout::config(service).order == UpdateOrder::StopFirst;
    let held = view.is_blocked(pass) || leaving.iter().any(|task| may_be_at_work(pass, task));
    if start.when == When::AtOnce && alone && held {
        start.when = When::AfterPredecessor;
    }
    pass.create(service, view.slot, start);
    retire(pass, leaving.into_iter());
}

/// How the next attempt begins, or None while it is too early for one. As a rule it is prepared during the pause; but
/// one that could not even be prepared would fail again at once, so its successor is not made before the pause is over.
fn after_pause(pass: &mut Pass<'_, '_>, service: &Service, last: &Task, pause: Duration) -> Option<When> {
    if pause.is_zero() {
        return Some(When::AtOnce);
    }
    let was_prepared = last.status.state != TaskState::Rejected && last.desired == DesiredState::Running;
    if was_prepared {
        return Some(When::At(pass.now + pause));
    }
    let until = last.status.at + pause;
    if until <= pass.now {
        return Some(When::AtOnce);
    }
    pass.draft.explain(last.id, Some(WaitingOn::RestartDelay { until }));
    pass.wake_at(service.id, until);
    None
}

/// The first half of a replacement by the rollout's target. The second, telling the old task to stop, comes with the
/// first for stop-first, and once the new one runs for start-first.
pub(super) fn begin_replacement(pass: &mut Pass<'_, '_>, service: &Service, view: &SlotView<'_>) {
    let order = rollout::config(service).order;
    let holders = || view.current().filter(|task| task.holds_resources());
    let stop_first = match order {
        UpdateOrder::StopFirst => true,
        UpdateOrder::StartFirst => false,
        UpdateOrder::Auto => {
            cannot_run_twice(&service.template) || holders().any(|task| cannot_run_twice(&task.template))
        }
    };
    let must_wait = stop_first && (view.is_blocked(pass) || holders().any(|task| may_be_at_work(pass, task)));
    let start = Start {
        template: service.template_version,
        when: if must_wait { When::AfterPredecessor } else { When::AtOnce },
        restarts: RestartRecord::default(),
    };
    pass.create(service, view.slot, start);
    retire(pass, view.current().filter(|task| stop_first || !may_serve(task)));
}

/// A task that was prepared starts when its pause is over and nobody else is in the slot's way.
fn release(pass: &mut Pass<'_, '_>, service: &Service, view: &SlotView<'_>, keeper: &Task) {
    if keeper.desired != DesiredState::Ready {
        return;
    }
    match keeper.start_after {
        Some(at) if at > pass.now => pass.wake_at(service.id, at),
        Some(_) | None if view.is_blocked(pass) => {
            if keeper.node_id.is_some() {
                pass.draft.explain(keeper.id, Some(WaitingOn::Predecessor));
            }
        }
        Some(_) | None => pass.draft.desire(keeper.id, DesiredState::Running),
    }
}

/// Two tasks of one slot would fight over a host port or a volume.
fn cannot_run_twice(template: &Template) -> bool {
    !template.host_ports.is_empty() || template.spec.container.mounts.iter().any(|mount| mount.is_exclusive())
}

fn is_exclusive(service: &Service, version: TemplateVersion) -> bool {
    effect::template_of(service, version).is_some_and(|template| cannot_run_twice(template))
}

/// Runs, at least when last heard of: worth keeping until another does. One that has not come so far is not.
fn may_serve(task: &Task) -> bool {
    task.status.state == TaskState::Running
}

/// Not known to have ended. A node that is down is not waited for.
fn may_be_at_work(pass: &Pass<'_, '_>, task: &Task) -> bool {
    task.holds_resources() && !pass.is_down(task.node_id)
}

fn retire<'t>(pass: &mut Pass<'_, '_>, tasks: impl Iterator<Item = &'t Task>) {
    for task in tasks {
        pass.draft.retire(task.id);
    }
}
