//! Who fills one slot: a new attempt where nobody does, one of several where too many would, a hand-over where the
//! task that does has to go. Restarts, lost and drained nodes, releases and the halves of a replacement all end here.
//!
//! A slot aims at one template version, its goal. The best task of that version on firm footing is the keeper: once
//! it runs, everyone else is told to stop; until then whoever serves goes on serving.

use std::time::Duration;

use muster_proto::{
    id::TaskId,
    restart::RestartRecord,
    rollout::{RolloutState, UpdateOrder},
    service::Service,
    task::{Task, Template},
    task_state::{DesiredState, TaskState},
    version::TemplateVersion,
    waiting::{Refusal, WaitingOn},
};

use super::{
    pass::{Pass, Start, When},
    restart::{self, AfterEnd, Why},
    rollout, schedule,
    view::{Footing, SlotView, footing},
};
use crate::effect;

/// `begun`: the rollout has come to this slot in this very pass.
pub(super) fn fill(pass: &mut Pass<'_, '_>, service: &Service, view: &SlotView<'_>, begun: bool) {
    if begun {
        return begin_replacement(pass, service, view);
    }
    let goal = goal(pass, service, view);
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

/// The version the slot is to be filled with now. One that the rollout has not come to stays with what serves there,
/// and so does one where a pause finds the old task still serving. An empty one takes the new version, except while an
/// update is paused: then the one before it, which is known to work.
fn goal(pass: &Pass<'_, '_>, service: &Service, view: &SlotView<'_>) -> TemplateVersion {
    let target = service.template_version;
    let pause = Pause::of(service);
    if view.has(target) && pause == Pause::None {
        return target;
    }
    if let Some(version) = served_by_another(pass, service, view) {
        return version;
    }
    if view.has(target) {
        return target;
    }
    let stays = view.current().map(|task| task.template_version).last();
    let known = stays.filter(|version| effect::template_of(service, *version).is_some());
    let before = service.previous.as_ref().map(|previous| previous.template_version);
    match (known, pause) {
        (Some(version), _) => version,
        (None, Pause::Update) => before.unwrap_or(target),
        (None, Pause::None | Pause::Rollback) => target,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    None,
    Update,
    Rollback,
}

impl Pause {
    fn of(service: &Service) -> Self {
        match service.rollout.as_ref().map(|rollout| rollout.state) {
            Some(RolloutState::Paused) => Pause::Update,
            Some(RolloutState::RollbackPaused) => Pause::Rollback,
            None
            | Some(
                RolloutState::Updating
                | RolloutState::Completed
                | RolloutState::RollbackStarted
                | RolloutState::RollbackCompleted,
            ) => Pause::None,
        }
    }
}

/// Another version than the target, in a slot where the target does not run.
fn served_by_another(pass: &Pass<'_, '_>, service: &Service, view: &SlotView<'_>) -> Option<TemplateVersion> {
    let serving = || {
        view.current()
            .filter(|task| task.status.state == TaskState::Running && footing(pass, service, task) == Footing::Sound)
    };
    let of_target = serving().any(|task| task.template_version == service.template_version);
    serving().map(|task| task.template_version).last().filter(|_| !of_target)
}

/// Nobody on firm footing: what the last attempt came to decides about the next.
fn start_attempt(pass: &mut Pass<'_, '_>, service: &Service, view: &SlotView<'_>, goal: TemplateVersion) {
    let last = view.current().filter(|task| task.template_version == goal).last();
    let Some(last) = last else {
        let when =
            if is_exclusive(service, goal) && view.is_blocked(pass) { When::AfterPredecessor } else { When::AtOnce };
        pass.create(service, view.slot, Start { template: goal, when, restarts: RestartRecord::default() });
        return retire_idle(pass, view);
    };
    match footing(pass, service, last) {
        Footing::Ended => match restart::after_end(last, pass.now) {
            AfterEnd::Restart { pause, record } => {
                let Some(when) = after_pause(pass, service, last, pause) else { return };
                pass.create(service, view.slot, Start { template: goal, when, restarts: record });
                retire_idle(pass, view);
            }
            AfterEnd::Stay(Why::AttemptsUsedUp { max_attempts }) => {
                pass.draft.explain(last.id, Some(WaitingOn::RestartsUsedUp { max_attempts }));
            }
            AfterEnd::Stay(Why::Condition) => {}
        },
        Footing::Lost => {
            let restarts = last.restarts.clone();
            pass.create(service, view.slot, Start { template: goal, when: When::AtOnce, restarts });
            retire_idle(pass, view);
        }
        Footing::Displaced => move_away(pass, service, view, last),
        // A keeper, and then this is not called.
        Footing::Sound => {}
    }
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

/// The task's node is drained: another takes over, before it stops where the slot may run twice.
fn move_away(pass: &mut Pass<'_, '_>, service: &Service, view: &SlotView<'_>, task: &Task) {
    let stop_first = is_exclusive(service, task.template_version);
    let start = Start {
        template: task.template_version,
        when: if stop_first { When::AfterPredecessor } else { When::AtOnce },
        restarts: task.restarts.clone(),
    };
    pass.create(service, view.slot, start);
    if stop_first {
        pass.draft.retire(task.id);
    }
    retire_idle(pass, view);
}

/// The first half of a replacement by the rollout's target. The second, telling the old task to stop, comes with the
/// first for stop-first, and once the new one runs for start-first.
fn begin_replacement(pass: &mut Pass<'_, '_>, service: &Service, view: &SlotView<'_>) {
    let order = rollout::config(service).order;
    let holders = || view.current().filter(|task| task.holds_resources());
    let stop_first = match order {
        UpdateOrder::StopFirst => true,
        UpdateOrder::StartFirst => false,
        UpdateOrder::Auto => {
            cannot_run_twice(&service.template) || holders().any(|task| cannot_run_twice(&task.template))
        }
    };
    let must_wait = stop_first && (view.is_blocked(pass) || holders().any(|task| !pass.is_down(task.node_id)));
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

/// Start-first by default finds no room where every node is full: then the slot's old tasks make it, where the new one
/// could take their place. Called once it is known that `id` gets no node in this pass.
pub(super) fn make_room(pass: &mut Pass<'_, '_>, id: TaskId, waiting: &WaitingOn) {
    let Some(task) = pass.draft.task(id).filter(|_| lacks_room(waiting)).cloned() else { return };
    let Some(service) = pass.draft.service(task.service_id).cloned() else { return };
    let may_stop_first = match rollout::config(&service).order {
        UpdateOrder::Auto | UpdateOrder::StopFirst => true,
        UpdateOrder::StartFirst => false,
    };
    if !may_stop_first || pass.draft.is_full() {
        return;
    }
    let slot = pass.draft.state().tasks_of_slot(task.service_id, task.slot);
    let in_the_way: Vec<TaskId> = slot
        .filter_map(|row| pass.draft.task(row.id))
        .filter(|row| row.id != id && row.is_active() && footing(pass, &service, row) == Footing::Sound)
        .filter(|row| {
            let node = row.node_id.and_then(|node| pass.draft.node(node));
            node.is_some_and(|node| schedule::eligible(pass.liveness, &service, node).is_ok())
        })
        .map(|row| row.id)
        .collect();
    for id in in_the_way {
        pass.draft.retire(id);
    }
}

fn lacks_room(waiting: &WaitingOn) -> bool {
    match waiting {
        WaitingOn::NoSuitableNode { refusals, .. } => refusals.iter().any(|(_, refusal)| is_about_room(refusal)),
        WaitingOn::NoNodes
        | WaitingOn::RestartDelay { .. }
        | WaitingOn::Predecessor
        | WaitingOn::RestartsUsedUp { .. } => false,
    }
}

fn is_about_room(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Cpu { .. } | Refusal::Memory { .. } | Refusal::HostPort(_) | Refusal::MaxReplicas(_) => true,
        Refusal::NodeDown
        | Refusal::NodeUnknown
        | Refusal::NodePaused
        | Refusal::NodeDrained
        | Refusal::EngineUnavailable(_)
        | Refusal::Constraint(_) => false,
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

fn retire_idle(pass: &mut Pass<'_, '_>, view: &SlotView<'_>) {
    retire(pass, view.current().filter(|task| !may_serve(task)));
}

fn retire<'t>(pass: &mut Pass<'_, '_>, tasks: impl Iterator<Item = &'t Task>) {
    for task in tasks {
        pass.draft.retire(task.id);
    }
}
