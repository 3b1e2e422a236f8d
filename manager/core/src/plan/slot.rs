//! Who fills one slot: a new attempt where nobody does, one of several where too many would, a hand-over where the
//! task that does has to go. Restarts, lost and drained nodes, releases and the halves of a replacement all end here.
//!
//! A slot aims at one template version, its goal. The best task of that version on firm footing is the keeper: once
//! it runs, everyone else is told to stop; until then whoever serves goes on serving. Where two may not run at once the
//! one that serves is told to stop once its successor has a node and is prepared there, and no sooner.

use std::time::Duration;

use muster_proto::{
    id::{NodeId, TaskId},
    isolation::OnIsolation,
    node::NodeState,
    restart::RestartRecord,
    rollout::UpdateOrder,
    service::Service,
    task::{Slot, Task},
    task_state::{DesiredState, TaskState},
    version::TemplateVersion,
    waiting::WaitingOn,
};

use super::{
    goal, moves,
    pass::{Pass, Start, When},
    predecessor::{self, AtWork, cannot_run_twice},
    restart::{self, AfterEnd, Why},
    rollout,
    turns::{self, Turns},
    view::{Footing, SlotView, footing},
};
use crate::effect;

/// A slot that the rollout does not come to in this pass.
pub(super) fn fill(pass: &mut Pass<'_, '_>, service: &Service, view: &SlotView<'_>, turns: &mut Turns) {
    let goal = goal::goal(pass, service, view);
    let sound = |pass: &Pass<'_, '_>, task: &&Task| {
        task.template_version == goal && footing(pass, service, task) == Footing::Sound
    };
    let keeper = view
        .current()
        .filter(|task| sound(pass, task))
        .min_by_key(|task| (task.status.state != TaskState::Running, !is_heard(pass, task), task.created_at, task.id));
    match keeper {
        Some(keeper) if keeper.status.state == TaskState::Running => {
            pass.draft.explain(keeper.id, None);
            let known = is_heard(pass, keeper);
            let may_be_needed = |task: &&Task| sound(pass, task) || pass.destination(task).is_some();
            let others = view.current().filter(|task| task.id != keeper.id && (known || !may_be_needed(task)));
            let others: Vec<&Task> = others.collect();
            retire(pass, others.into_iter());
        }
        Some(_) if turns.gave_away(view.slot) => wait_for_turn(pass, view),
        Some(keeper) => {
            release(pass, service, view, keeper);
            retire(pass, view.current().filter(|task| task.id != keeper.id && !may_serve(task)));
        }
        None => start_attempt(pass, service, view, goal, turns),
    }
}

/// What has no node holds nothing, and goes without a trace.
fn wait_for_turn(pass: &mut Pass<'_, '_>, view: &SlotView<'_>) {
    for task in view.current() {
        if may_serve(task) {
            pass.draft.explain(task.id, Some(WaitingOn::Turn));
        } else if task.node_id.is_none() {
            pass.draft.retire(task.id);
        }
    }
}

/// Nobody on firm footing: what the last attempt came to decides about the next.
fn start_attempt(
    pass: &mut Pass<'_, '_>,
    service: &Service,
    view: &SlotView<'_>,
    goal: TemplateVersion,
    turns: &mut Turns,
) {
    let begin = |when, restarts| Start { template: goal, when, restarts };
    if leaving(pass, service, view).is_some() && !turns.has_one_for(view.slot) {
        return wait_for_turn(pass, view);
    }
    let last = view.current().filter(|task| task.template_version == goal).last();
    let Some(last) = last else {
        return attempt(pass, service, view, begin(When::AtOnce, RestartRecord::default()), turns);
    };
    if let Some(to) = pass.destination(last) {
        return moves::begin(pass, service, last, to, turns);
    }
    match footing(pass, service, last) {
        Footing::Ended => match after_end(pass, service, view, last) {
            AfterEnd::Restart { pause, record } => {
                let Some(when) = after_pause(pass, service, last, pause) else { return };
                attempt(pass, service, view, begin(when, record), turns);
            }
            AfterEnd::Stay(Why::AttemptsUsedUp { max_attempts }) => {
                pass.draft.explain(last.id, Some(WaitingOn::RestartsUsedUp { max_attempts }));
            }
            AfterEnd::Stay(Why::Condition) => {}
        },
        Footing::Lost | Footing::Displaced => {
            attempt(pass, service, view, begin(When::AtOnce, restart::carried(last, pass.now)), turns);
        }
        Footing::Vanished => {
            let waiting = last.node_id.and_then(|node| pass.outage.waiting(node));
            pass.draft.explain(last.id, waiting);
        }
        // A keeper, and then this is not called.
        Footing::Sound => {}
    }
}

/// The restart policy is about tasks that fail where they are. It neither holds back what was mended since, nor a task
/// that goes on where it was because what should take its place does not work: that is tried again.
fn after_end(pass: &Pass<'_, '_>, service: &Service, view: &SlotView<'_>, last: &Task) -> AfterEnd {
    let answer = restart::after_end(last, pass.now);
    let AfterEnd::Stay(_) = answer else { return answer };
    let taken_up = service.rollout.as_ref().is_some_and(|rollout| {
        rollout.state.is_moving() && rollout.target == last.template_version && last.created_at < rollout.started_at
    });
    if taken_up && last.status.state.is_failure() {
        return AfterEnd::Restart { pause: Duration::ZERO, record: RestartRecord::default() };
    }
    if leaving(pass, service, view).is_some() { restart::again(last, pass.now) } else { answer }
}

/// What serves and has to go: whoever is to follow, of whatever version, needs the slot's turn.
fn leaving<'a>(pass: &Pass<'_, '_>, service: &Service, view: &SlotView<'a>) -> Option<&'a Task> {
    view.current().filter(|task| may_serve(task) && footing(pass, service, task) == Footing::Displaced).last()
}

/// The next task of a slot, and the end of those that it makes needless. Whoever serves goes on until it runs, or until
/// it is prepared where the slot cannot run twice. What has to be alone waits for all who are still on their way out,
/// whichever attempt told them to stop.
fn attempt(pass: &mut Pass<'_, '_>, service: &Service, view: &SlotView<'_>, mut start: Start, turns: &mut Turns) {
    let is_leaving = leaving(pass, service, view).is_some();
    if is_leaving {
        turns.take(view.slot);
    }
    let template = effect::template_of(service, start.template).cloned();
    let exclusive = template.as_ref().is_some_and(|template| cannot_run_twice(template));
    let goes_first = |pass: &Pass<'_, '_>, task: &Task| {
        may_serve(task)
            && template.as_ref().is_some_and(|template| predecessor::goes_first(pass, service, template, task))
    };
    let must_end = |pass: &Pass<'_, '_>, old: &Task| {
        let next = template.as_ref();
        next.is_some_and(|next| predecessor::strictly_alone(service, next, &old.template))
            && predecessor::at_work(pass, old) != AtWork::No
    };
    let goes = |task: &&Task| !may_serve(task) || goes_first(pass, task);
    let before: Vec<&Task> = view.current().filter(goes).chain(predecessor::on_the_way_out(view)).collect();
    // Also what can run twice waits for one that cannot, whether that serves or not.
    let alone = exclusive
        || rollout::config(service).order == UpdateOrder::StopFirst
        || before.iter().any(|task| goes_first(pass, task) || must_end(pass, task));
    let held = predecessor::in_the_way(pass, home(view), before.iter().copied());
    if start.when == When::AtOnce && alone && held.is_some() {
        start.when = When::AfterPredecessor;
    }
    let id = create(pass, service, view, start, held);
    if is_leaving {
        pass.leaving.push(id);
    }
    retire(pass, view.current().filter(|task| !may_serve(task)));
}

fn create(
    pass: &mut Pass<'_, '_>,
    service: &Service,
    view: &SlotView<'_>,
    start: Start,
    held: Option<WaitingOn>,
) -> TaskId {
    for task in view.current().filter(|task| waited_for_the_planner(task)) {
        pass.draft.explain(task.id, None);
    }
    let waits = start.when == When::AfterPredecessor;
    let id = pass.create(service, view.slot, start);
    if let Some(WaitingOn::Isolation { until }) = held.filter(|_| waits) {
        pass.wake_at(service.id, until);
        pass.held.insert(id, WaitingOn::Isolation { until });
    }
    id
}

/// How the next attempt begins, or None while it is too early for one. The pause began with the end, whenever that was
/// told. As a rule the next is prepared during it; but one that could not even be prepared would fail again at once, so
/// its successor is not made before the pause is over.
fn after_pause(pass: &mut Pass<'_, '_>, service: &Service, last: &Task, pause: Duration) -> Option<When> {
    let until = last.status.at + pause;
    if pause.is_zero() || until <= pass.now {
        return Some(When::AtOnce);
    }
    let was_prepared = last.status.state != TaskState::Rejected && last.desired == DesiredState::Running;
    if was_prepared {
        return Some(When::At(until));
    }
    pass.draft.explain(last.id, Some(WaitingOn::RestartDelay { until }));
    pass.wake_at(service.id, until);
    None
}

/// The first half of a replacement by the rollout's target. The second, telling the old task to stop, comes once the new
/// one runs, or for stop-first once it has its node and is prepared there.
pub(super) fn begin_replacement(pass: &mut Pass<'_, '_>, service: &Service, view: &SlotView<'_>) {
    let goes = |task: &&Task| !may_serve(task) || predecessor::goes_first(pass, service, &service.template, task);
    let before: Vec<&Task> = view.current().filter(goes).chain(predecessor::on_the_way_out(view)).collect();
    let mut at_work = before.iter().filter(|old| predecessor::at_work(pass, old) != AtWork::No);
    let stop_first = at_work.any(|old| predecessor::strictly_alone(service, &service.template, &old.template));
    let held = predecessor::in_the_way(pass, home(view), before.iter().copied());
    let start = Start {
        template: service.template_version,
        when: if stop_first && held.is_some() { When::AfterPredecessor } else { When::AtOnce },
        restarts: RestartRecord::default(),
    };
    // A hand-over that the rollout calls off counts for something else from now on.
    pass.more |= turns::handover(pass, service, view).is_some();
    create(pass, service, view, start, held);
    // One of the old ones goes on serving. What it took over from goes, as it would without a rollout.
    let stands =
        |task: &Task| may_serve(task) && is_heard(pass, task) && footing(pass, service, task) == Footing::Sound;
    let took_over = view.current().any(stands);
    let is_needless = |task: &Task| !may_serve(task) || took_over && footing(pass, service, task) == Footing::Displaced;
    let needless: Vec<&Task> = view.current().filter(|task| is_needless(task)).collect();
    retire(pass, needless.into_iter());
}

/// A task that was prepared starts when its pause is over and nobody else is in the slot's way. Whoever serves and has to
/// be gone first is told so now, and not before: an image that cannot be had must not cost the task that works.
fn release(pass: &mut Pass<'_, '_>, service: &Service, view: &SlotView<'_>, keeper: &Task) {
    if keeper.desired != DesiredState::Ready {
        return;
    }
    if let Some(at) = keeper.start_after.filter(|at| *at > pass.now) {
        return pass.wake_at(service.id, at);
    }
    let there = keeper.node_id.or(home(view));
    let serving = || view.current().filter(|task| task.id != keeper.id && may_serve(task));
    let mut first: Vec<&Task> =
        serving().filter(|task| predecessor::goes_first(pass, service, &keeper.template, task)).collect();
    if !first.is_empty() && keeper.status.state < TaskState::Ready {
        let held = predecessor::in_the_way(pass, there, first.iter().copied());
        if let Some(WaitingOn::Isolation { until }) = held {
            pass.wake_at(service.id, until);
        }
        return;
    }
    let others = view.current().filter(|task| task.id != keeper.id && !may_serve(task));
    let before = others.chain(first.iter().copied()).chain(predecessor::on_the_way_out(view));
    match predecessor::in_the_way(pass, there, before) {
        Some(waiting) => {
            if let WaitingOn::Isolation { until } = waiting {
                pass.wake_at(service.id, until);
                // Should it find its node in this plan.
                pass.held.insert(keeper.id, WaitingOn::Isolation { until });
            }
            if keeper.node_id.is_some() {
                pass.draft.explain(keeper.id, Some(waiting));
            }
        }
        None => {
            pass.draft.desire(keeper.id, DesiredState::Running);
            // Cut off and stopped by now: should its node return with it all the same, it is not to be kept.
            let isolated = serving().filter(|task| task.template.spec.on_isolation == OnIsolation::Stop);
            let lost: Vec<&Task> = isolated.filter(|task| footing(pass, service, task) == Footing::Lost).collect();
            retire(pass, lost.into_iter());
        }
    }
    // Those that are merely cut off may come back before the time is over, and then they stay.
    first.retain(|task| footing(pass, service, task) != Footing::Lost);
    // Where nothing serves any more the slot may aim at the rollout's target at once.
    pass.more |= !first.is_empty() && keeper.template_version != service.template_version;
    retire(pass, first.into_iter());
}

/// The node that any task of a global slot runs on.
fn home(view: &SlotView<'_>) -> Option<NodeId> {
    match view.slot {
        Slot::Node(node) => Some(node),
        Slot::Number(_) => None,
    }
}

/// A new leader has not heard of every node yet. Until it has, a successor that an earlier leader began is left alone.
fn is_heard(pass: &Pass<'_, '_>, task: &Task) -> bool {
    task.node_id.is_some_and(|node| pass.liveness.of(node) != NodeState::Unknown)
}

/// Runs, at least when last heard of: worth keeping until another does. One that has not come so far is not.
fn may_serve(task: &Task) -> bool {
    task.status.state == TaskState::Running
}

/// For what happens now.
fn waited_for_the_planner(task: &Task) -> bool {
    match &task.waiting {
        Some(WaitingOn::Turn | WaitingOn::Outage { .. }) => true,
        None
        | Some(
            WaitingOn::NoSuitableNode { .. }
            | WaitingOn::NoNodes
            | WaitingOn::RestartDelay { .. }
            | WaitingOn::Predecessor
            | WaitingOn::RestartsUsedUp { .. }
            | WaitingOn::Isolation { .. },
        ) => false,
    }
}

fn retire<'t>(pass: &mut Pass<'_, '_>, tasks: impl Iterator<Item = &'t Task>) {
    for task in tasks {
        // Stopped where it was cut off, it counts as handed over from now on.
        pass.more |= task.status.state == TaskState::Shutdown && task.desired <= DesiredState::Running;
        pass.draft.retire(task.id);
    }
}
