//! Moves a rollout on: writes its books, ends it (complete, paused, rolled back), and says which slots are replaced
//! next. Slots that missed a finished rollout, because their node was down, are caught up with here as well.

use std::collections::BTreeSet;

use muster_proto::{
    endpoint::PortConfig,
    rollout::{FailureAction, Hold, Rollout, RolloutFailure, RolloutState, Trust},
    service::{PreviousSpec, Service},
    task::Slot,
    task_state::{DesiredState, TaskState},
    time::Timestamp,
    version::TemplateVersion,
};

use super::{
    allocate, canary, goal,
    orchestrate::{Wanted, orchestrate},
    pass::Pass,
    rollout::{self, Progress, Verdict, Watched},
    turns::{self, Handover},
    view::{SlotView, Slots, serves},
    words,
};
use crate::effect;

/// The service as it is after this, with the slots it then wants: a rollback has another spec.
pub(super) fn advance<'a>(pass: &mut Pass<'a, '_>, service: Service) -> (Service, Wanted<'a>) {
    let wanted = orchestrate(pass, &service);
    match step(pass, service, &wanted.slots) {
        Step::Same(service) => (service, wanted),
        // The way back has its own books, and slots that never left are done at once. It never fails into another
        // rollback, so that this ends.
        Step::Back(restored) => advance(pass, restored),
    }
}

enum Step {
    Same(Service),
    Back(Service),
}

fn step(pass: &mut Pass<'_, '_>, service: Service, slots: &Slots<'_>) -> Step {
    let Some(stored) = service.rollout.as_deref().filter(|rollout| rollout.state.is_moving()) else {
        return Step::Same(service);
    };
    // A new leader knows in a moment which nodes are there; what it judged before that would be a guess.
    if slots.values().any(|view| view.is_unheard(pass)) {
        return Step::Same(service);
    }
    let mut books = rollout::record(pass, &service, stored, slots);
    let survey = rollout::survey(pass, &service, slots);
    if books.trust == Trust::Unproven {
        match rollout::watched_until(pass.now, rollout::config(&service), &books, &survey) {
            Watched::Done => books.trust = Trust::Proven,
            Watched::Until(at) => pass.wake_at(service.id, at),
            Watched::NotReady => {}
        }
    }
    let mut verdict = rollout::judge(pass, &service, &books, &survey);
    if verdict == Verdict::Stuck && goes_on_without_the_stuck(pass.now, &service, &mut books, &survey, slots) {
        books.progressed_at = pass.now;
        verdict = rollout::judge(pass, &service, &books, &survey);
    }
    match verdict {
        Verdict::GoOn => {}
        Verdict::CanariesWork => hold_canaries(&service, &mut books, &survey),
        Verdict::Complete => complete(pass, &service, &mut books, &survey),
        Verdict::Failed => {
            let failed = rollout::failed_count(&books, &survey);
            let reason =
                format!("{failed} of {} tasks failed; {}", survey.len(), words::first_failure(&service, &books));
            return fail(pass, service, books, &reason);
        }
        Verdict::Stuck => {
            let span = words::shown(rollout::config(&service).progress_deadline);
            let reason = format!("no task became ready for {span}; {}", words::first_failure(&service, &books));
            return fail(pass, service, books, &reason);
        }
    }
    Step::Same(store(pass, service, books))
}

fn hold_canaries(service: &Service, books: &mut Rollout, survey: &[(Slot, Progress)]) {
    let name = &service.spec.name;
    let (working, failed) = canary::sorted(books, survey);
    let failures = match failed.is_empty() {
        true => String::new(),
        false => {
            let first = words::first_failure(service, books);
            format!("; {} failed, which is allowed; {first}", words::names(name, &failed))
        }
    };
    books.state = RolloutState::Paused;
    books.hold = Some(Hold::Canary);
    books.message = format!(
        "{} of {} tasks of {name} run the new version as canaries{failures}; go on with `muster service promote {name}`, \
         or back with `muster service rollback {name}`",
        working.len(),
        survey.len(),
    );
}

fn store(pass: &mut Pass<'_, '_>, service: Service, books: Rollout) -> Service {
    if service.rollout.as_deref() == Some(&books) {
        return service;
    }
    pass.draft.set_rollout(service.id, books.clone());
    Service { rollout: Some(Box::new(books)), ..service }
}

fn complete(pass: &Pass<'_, '_>, service: &Service, books: &mut Rollout, survey: &[(Slot, Progress)]) {
    let of = |wanted: Progress| survey.iter().filter(move |(_, progress)| *progress == wanted);
    let away = of(Progress::Away).count();
    let failed: Vec<Slot> = of(Progress::Moving).map(|(slot, _)| *slot).collect();
    let (name, there) = (&service.spec.name, survey.len() - away - failed.len());
    let version = if rollout::is_back(books) { "previous" } else { "new" };
    let mut message = match (books.message.strip_prefix(ROLLING_BACK), there) {
        (Some(why), _) => format!("rolled back: {why}"),
        (None, 0) if failed.is_empty() => {
            format!("no task of {name} is there to be replaced; the next ones run the {version} version")
        }
        (None, 0) => format!("no task of {name} runs the {version} version"),
        (None, 1) => format!("1 task of {name} runs the {version} version"),
        (None, _) => format!("{there} tasks of {name} run the {version} version"),
    };
    if !failed.is_empty() {
        let first = words::first_failure(service, books);
        message.push_str(&format!("; {} failed, which is allowed; {first}", words::names(name, &failed)));
    }
    if away > 0 {
        message.push_str(&format!("; {away} on nodes that take no tasks now will follow"));
    }
    books.message = message;
    books.state = rollout::completed(books);
    books.completed_at = Some(pass.now);
}

/// At the deadline slots that never became ready count as failed. Whether those are some, and no more than may be.
fn goes_on_without_the_stuck(
    now: Timestamp,
    service: &Service,
    books: &mut Rollout,
    survey: &[(Slot, Progress)],
    slots: &Slots<'_>,
) -> bool {
    let config = rollout::config(service);
    let newly = give_up_on_stuck(now, books, survey, slots);
    newly > 0 && (config.failure_action == FailureAction::Continue || !rollout::failed_too_many(config, books, survey))
}

/// How many are newly so.
fn give_up_on_stuck(now: Timestamp, books: &mut Rollout, survey: &[(Slot, Progress)], slots: &Slots<'_>) -> usize {
    let mut newly = 0;
    for (slot, _) in survey.iter().filter(|(_, progress)| *progress == Progress::Moving) {
        if !books.failed.insert(*slot) {
            continue;
        }
        newly += 1;
        let last = slots.get(slot).and_then(|view| view.current().last());
        if let Some(task) = last {
            // It fails now, whatever it has come to and when.
            let failure = RolloutFailure { at: now, ..rollout::failure_of(task, rollout::cause(task)) };
            rollout::keep_evidence(books, failure);
        }
    }
    newly
}

const ROLLING_BACK: &str = "rolling back: ";

/// What the spec asks for when a rollout fails. A rollback that fails has nothing to go back to: it pauses, and so
/// does a continuing rollout that is stuck for good.
fn fail(pass: &mut Pass<'_, '_>, service: Service, mut books: Rollout, reason: &str) -> Step {
    let name = &service.spec.name;
    let wants_rollback = match rollout::config(&service).failure_action {
        FailureAction::Rollback => !rollout::is_back(&books),
        FailureAction::Pause | FailureAction::Continue => false,
    };
    if wants_rollback {
        match way_back(pass, &service) {
            Ok((previous, ports)) => {
                let restored = effect::restore(&service, &previous, ports);
                return Step::Back(start_rollback(pass, restored, &books, reason));
            }
            Err(obstacle) => {
                books.message = format!(
                    "paused: {reason}; cannot roll back: {obstacle}; fix it and run `muster service update {name}` to go on"
                );
            }
        }
    } else if rollout::is_back(&books) {
        books.message = format!("rollback paused: {reason}; fix it and run `muster service update {name}` to go on");
    } else {
        books.message = format!(
            "paused: {reason}; fix it and run `muster service update {name}` to go on, or `muster service rollback {name}`"
        );
    }
    books.state = rollout::paused(&books);
    books.hold = Some(Hold::Failure);
    Step::Same(store(pass, service, books))
}

/// The previous spec with its ports, or what is in the way.
fn way_back(pass: &Pass<'_, '_>, service: &Service) -> Result<(PreviousSpec, Vec<PortConfig>), String> {
    let previous = service.previous.as_deref().ok_or("there is no previous spec")?;
    if previous.template_version == service.template_version {
        return Err("the previous spec runs the same version".to_owned());
    }
    let ports = allocate::ports(pass.draft.state(), &previous.spec.endpoint.ports, Some(service.id))
        .map_err(|rejection| rejection.to_string())?;
    Ok((previous.clone(), ports))
}

/// The first failures that led here stay with the rollback as its evidence, and leave room for its own.
fn start_rollback(pass: &mut Pass<'_, '_>, mut restored: Service, failed: &Rollout, reason: &str) -> Service {
    let target: TemplateVersion = restored.template_version;
    let fresh =
        effect::begin_rollout(RolloutState::RollbackStarted, target, pass.now, format!("{ROLLING_BACK}{reason}"));
    let led_here: Vec<_> = failed.failures.iter().take(Rollout::FAILURES_MAX / 2).cloned().collect();
    let back = Rollout { failures: led_here, ..fresh };
    restored.rollout = Some(Box::new(back.clone()));
    pass.draft.start_rollback(restored.clone(), back);
    restored
}

/// The slots to be replaced in this pass. A slot takes its place among `parallelism` from the moment it is begun
/// until `delay` after its new task is ready; one that failed, and may, gives its place away.
pub(super) fn next_slots(pass: &mut Pass<'_, '_>, service: &Service, slots: &Slots<'_>) -> BTreeSet<Slot> {
    let held = match service.rollout.as_deref().map(|rollout| rollout.state) {
        Some(RolloutState::Paused | RolloutState::RollbackPaused) => true,
        None
        | Some(
            RolloutState::Updating
            | RolloutState::Completed
            | RolloutState::RollbackStarted
            | RolloutState::RollbackCompleted,
        ) => false,
    };
    let survey = rollout::survey(pass, service, slots);
    // Also where the rollout begins with none: a drain may wait for the place of a slot that rests.
    wake_for_delays(pass, service, &survey);
    if held || !survey.iter().any(|(_, progress)| *progress == Progress::Outdated) {
        return BTreeSet::new();
    }
    let taken = survey.iter().zip(slots.values()).filter(|((slot, at), view)| {
        takes_place(pass, service, *slot, *at) || leaves(pass, service, view) || view.is_unheard(pass)
    });
    let taken = taken.count();
    let places = turns::places(service).unwrap_or(usize::MAX);
    let mut outdated: Vec<(Turn, Slot)> = slots
        .values()
        .zip(&survey)
        .filter(|(view, (_, progress))| *progress == Progress::Outdated && !view.is_unheard(pass))
        .map(|(view, _)| (turn(pass, service, view), view.slot))
        .filter(|(turn, _)| *turn != Turn::Leaving)
        .collect();
    outdated.sort_unstable();
    let canaries = service.rollout.as_deref().and_then(|rollout| canary::left(service, rollout, &survey));
    // Those that have a place already need no other.
    let held = outdated.iter().filter(|(turn, _)| *turn == Turn::HasPlace).count();
    let most = (held + places.saturating_sub(taken)).min(canaries.unwrap_or(usize::MAX));
    outdated.into_iter().take(most).map(|(_, slot)| slot).collect()
}

/// Its hand-over from a drained node takes a place. One without a node takes none: its old task serves, and what the
/// rollout brings may be what finds room. Neither does one that the rollout came to, and failed with.
fn leaves(pass: &Pass<'_, '_>, service: &Service, view: &SlotView<'_>) -> bool {
    let failed = service.rollout.as_ref().is_some_and(|rollout| rollout.failed.contains(&view.slot));
    !failed && turns::handover(pass, service, view) == Some(Handover::Begun)
}

/// In which order outdated slots are replaced: where nothing serves nothing is lost; where there was no room there
/// will be none, and the others need not wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// It leaves a drained node, and what should take over there does not work, or nothing serves meanwhile: the new
    /// version may be what mends it.
    HasPlace,
    Idle,
    Serving,
    Homeless,
    /// It leaves a drained node, and its next task is on its way: that one's turn is over first.
    Leaving,
}

fn turn(pass: &Pass<'_, '_>, service: &Service, view: &SlotView<'_>) -> Turn {
    let serving = view.current().any(|task| serves(pass, task));
    let ended = view.current().last().is_some_and(|task| task.status.state.is_final());
    if leaves(pass, service, view) {
        if ended || !serving { Turn::HasPlace } else { Turn::Leaving }
    } else if serving {
        Turn::Serving
    } else if view.current().any(|task| task.node_id.is_some()) || was_given_up(view) {
        Turn::Idle
    } else {
        Turn::Homeless
    }
}

/// What ran there last was told to go, and made room: the slot comes before any other that would be given up as well.
fn was_given_up(view: &SlotView<'_>) -> bool {
    let last = view.rows.iter().rfind(|task| task.status.running_at.is_some());
    last.is_some_and(|task| {
        let by_itself = task.status.state.is_final() && task.status.state != TaskState::Shutdown;
        task.desired == DesiredState::Shutdown && !by_itself
    })
}

/// The rollout has begun with this slot and is not done with it. One that is paused has left it where it was, but for
/// those that go back to what serves there.
pub(super) fn is_under_way(pass: &Pass<'_, '_>, service: &Service, view: &SlotView<'_>) -> bool {
    let is_on = service.rollout.as_ref().is_some_and(|rollout| !rollout::is_over(rollout));
    let is_meant = || goal::goal(pass, service, view) == service.template_version;
    is_on && is_meant() && takes_place(pass, service, view.slot, rollout::progress(pass, service, view))
}

fn takes_place(pass: &Pass<'_, '_>, service: &Service, slot: Slot, progress: Progress) -> bool {
    let failed = service.rollout.as_ref().is_some_and(|rollout| rollout.failed.contains(&slot));
    let resting = |since| {
        let made_by_it = service.rollout.as_ref().is_some_and(|rollout| since >= rollout.started_at);
        made_by_it && rollout::rests_until(service, progress).is_some_and(|until| until > pass.now)
    };
    match progress {
        Progress::Moving => !failed,
        Progress::Running { since, .. } => resting(since),
        Progress::Outdated | Progress::Finished | Progress::Away => false,
    }
}

fn wake_for_delays(pass: &mut Pass<'_, '_>, service: &Service, survey: &[(Slot, Progress)]) {
    let ends = survey.iter().filter_map(|(_, progress)| rollout::rests_until(service, *progress));
    let next = ends.filter(|end| *end > pass.now).min();
    if let Some(end) = next {
        pass.wake_at(service.id, end);
    }
}
