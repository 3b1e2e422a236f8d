//! The books of a rollout: which slots are done, which failed and why, and what that amounts to. Pure reading and
//! reckoning; what follows from it is done in [`super::update`].

use std::time::Duration;

use muster_proto::{
    restart::RestartPolicy,
    rollout::{FailureAction, Rollout, RolloutFailure, RolloutState, Trust, UpdateConfig},
    service::{Mode, Service},
    task::{Slot, Task},
    task_state::TaskState,
    time::Timestamp,
    waiting::{Refusal, WaitingOn},
};

use super::{
    canary,
    pass::Pass,
    restart::{self, AfterEnd, Why},
    schedule,
    view::{Footing, SlotView, Slots, footing},
};

/// What a task that is about to become ready mostly needs, an image pulled and a start included.
const SEEN_MIN: Duration = Duration::from_secs(60);

/// How far one slot has come towards the rollout's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Holds another version; the rollout has not come to it.
    Outdated,
    /// Has a task of the target, or gets one now, that is not ready.
    Moving,
    /// Also where it has to leave its node: that is the drain's business, and counted there.
    Running {
        since: Timestamp,
        /// By how much its node may tell later of its end than it came.
        lag: Duration,
    },
    /// Ended as it should, and stays so.
    Finished,
    /// Global, and its node is down or takes no new task; or most nodes went down at once. Nothing can be done there,
    /// and nothing waits for it.
    Away,
}

/// What the books amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    GoOn,
    Complete,
    /// More slots failed than may.
    Failed,
    /// No slot became done for too long.
    Stuck,
    /// The canaries have lived through the monitor window, and are to be promoted.
    CanariesWork,
}

pub(super) fn config(service: &Service) -> &UpdateConfig {
    // One that is over says nothing about how the next drain goes about.
    let back = service.rollout.as_ref().is_some_and(|rollout| match rollout.state {
        RolloutState::RollbackStarted | RolloutState::RollbackPaused => true,
        RolloutState::Updating | RolloutState::Paused | RolloutState::Completed | RolloutState::RollbackCompleted => {
            false
        }
    });
    if back { &service.spec.rollback } else { &service.spec.update }
}

pub(super) fn progress(pass: &Pass<'_, '_>, service: &Service, view: &SlotView<'_>) -> Progress {
    if let (Mode::Global, Slot::Node(node)) = (service.spec.mode, view.slot)
        && pass.is_down(Some(node))
    {
        return Progress::Away;
    }
    let of_target = || view.current().filter(|task| task.template_version == service.template_version);
    let running = |wanted: Footing| {
        let running = of_target()
            .filter(|task| task.status.state == TaskState::Running && footing(pass, service, task) == wanted);
        running.map(|task| (task.status.running_at.unwrap_or(task.status.at), task)).min_by_key(|(since, _)| *since)
    };
    if let Some((since, task)) = running(Footing::Sound).or_else(|| running(Footing::Displaced)) {
        return Progress::Running { since, lag: lag(view, task, since) };
    }
    let vanished = view.current().filter(|task| footing(pass, service, task) == Footing::Vanished);
    match vanished.filter_map(|task| pass.outage.waiting(task.node_id?)).next() {
        // It is known in a moment whether it is replaced.
        Some(WaitingOn::Outage { until: Some(_) }) => return Progress::Moving,
        Some(_) => return Progress::Away,
        None if takes_nothing_new(pass, service, view) => return Progress::Away,
        None => {}
    }
    match of_target().last() {
        Some(last) if has_finished(last) => Progress::Finished,
        Some(_) => Progress::Moving,
        None if view.exists() || canary::are_watched(service) => Progress::Outdated,
        None => Progress::Moving,
    }
}

/// Of a slot that was in a crash loop there when the task became ready, its node tells once in a while.
fn lag(view: &SlotView<'_>, running: &Task, since: Timestamp) -> Duration {
    let there = view.rows.iter().filter(|task| task.node_id == running.node_id);
    match there.filter_map(|task| failed_at(task)).max() {
        Some(last) if last + RestartPolicy::LOOP_MEMORY > since => RestartPolicy::LOOP_PAUSE,
        Some(_) | None => Duration::ZERO,
    }
}

/// The last failure, without a stable run before it, that the row tells of: where it is not this task's own, the row of
/// the one before may be gone.
fn failed_at(task: &Task) -> Option<Timestamp> {
    let by_itself = task.status.state.failed_by_itself(task.template.spec.restart.condition);
    if by_itself && !restart::ran_stably(&task.status) {
        Some(task.status.at)
    } else {
        Some(task.created_at).filter(|_| task.restarts.failures > 0)
    }
}

/// A global slot whose node is paused or without its engine: it keeps what it has. A paused one also finishes what it
/// has begun.
fn takes_nothing_new(pass: &Pass<'_, '_>, service: &Service, view: &SlotView<'_>) -> bool {
    let Slot::Node(node) = view.slot else { return false };
    let Some(node) = pass.draft.node(node) else { return false };
    let begun =
        || view.current().any(|task| task.template_version == service.template_version && task.holds_resources());
    match schedule::eligible(pass.liveness, service, node) {
        Err(Refusal::EngineUnavailable(_)) => true,
        Err(Refusal::NodePaused) => !begun(),
        Ok(())
        | Err(
            Refusal::NodeDown
            | Refusal::NodeUnknown
            | Refusal::NodeDrained
            | Refusal::Constraint(_)
            | Refusal::Cpu { .. }
            | Refusal::Memory { .. }
            | Refusal::HostPort(_)
            | Refusal::MaxReplicas(_),
        ) => false,
    }
}

fn has_finished(task: &Task) -> bool {
    task.status.state == TaskState::Complete
        && restart::after_end(task, task.status.at) == AfterEnd::Stay(Why::Condition)
}

/// The rollout with what has happened since written into it.
pub(super) fn record(pass: &Pass<'_, '_>, service: &Service, rollout: &Rollout, slots: &Slots<'_>) -> Rollout {
    let mut next = rollout.clone();
    for view in slots.values() {
        let is_done = |task: &Task| {
            task.template_version == rollout.target && (task.status.running_at.is_some() || has_finished(task))
        };
        if canary::are_watched(service) && view.current().any(|task| canary::has_shown_itself(rollout, task)) {
            next.canaries.insert(view.slot);
        }
        if view.current().any(is_done) && next.done.insert(view.slot) {
            next.progressed_at = pass.now;
        }
        let failure = view.rows.iter().find(|task| counts_against(config(service), rollout, task));
        if let Some(task) = failure
            && next.failed.insert(view.slot)
        {
            keep_evidence(&mut next, failure_of(task, cause(task)));
        }
    }
    next
}

/// A task that this rollout made and that ended by itself, unready or inside the monitor window.
fn counts_against(config: &UpdateConfig, rollout: &Rollout, task: &Task) -> bool {
    let made_by_it = task.template_version == rollout.target && task.created_at >= rollout.started_at;
    let early = task.status.running_at.is_none_or(|since| task.status.at.since(since) <= config.monitor);
    made_by_it && early && task.status.state.failed_by_itself(task.template.spec.restart.condition)
}

pub(super) fn keep_evidence(rollout: &mut Rollout, failure: RolloutFailure) {
    if rollout.failures.len() < Rollout::FAILURES_MAX {
        rollout.failures.push(failure);
    }
}

pub(super) fn failure_of(task: &Task, error: String) -> RolloutFailure {
    RolloutFailure {
        task_id: task.id,
        slot: task.slot,
        node_id: task.node_id,
        at: task.status.at,
        error,
        exit_code: task.status.exit_code,
        evidence: task.status.evidence.clone(),
    }
}

/// What went wrong, or what it waits for.
pub(super) fn cause(task: &Task) -> String {
    if let Some(error) = &task.status.error {
        return error.clone();
    }
    match (task.status.exit_code, &task.waiting) {
        (Some(code), _) if task.status.state.is_final() => format!("ended with exit code {code}"),
        (_, Some(waiting)) => waiting.to_string(),
        (_, None) if task.status.message.is_empty() => task.status.state.to_string().to_lowercase(),
        (_, None) => task.status.message.clone(),
    }
}

/// Every slot that counts and how far it is.
pub(super) fn survey(pass: &Pass<'_, '_>, service: &Service, slots: &Slots<'_>) -> Vec<(Slot, Progress)> {
    slots.values().map(|view| (view.slot, progress(pass, service, view))).collect()
}

pub(super) fn failed_count(rollout: &Rollout, survey: &[(Slot, Progress)]) -> usize {
    survey.iter().filter(|(slot, _)| rollout.failed.contains(slot)).count()
}

/// Asks to be woken when a window or the deadline ends.
pub(super) fn judge(
    pass: &mut Pass<'_, '_>,
    service: &Service,
    rollout: &Rollout,
    survey: &[(Slot, Progress)],
) -> Verdict {
    let config = config(service);
    if config.failure_action != FailureAction::Continue && failed_too_many(config, rollout, survey) {
        return Verdict::Failed;
    }
    let canaries_are_all = canary::are_all(service, rollout, survey);
    if !canaries_are_all && survey.iter().all(|(slot, progress)| is_settled(rollout, *slot, *progress)) {
        let made_by_it = |progress| running_since(progress).is_some_and(|since| since >= rollout.started_at);
        let watched = survey.iter().map(|(_, progress)| *progress).filter(|progress| made_by_it(*progress));
        match watched.filter_map(|progress| window_end(config, progress)).max() {
            Some(watched_until) if watched_until > pass.now => pass.wake_at(service.id, watched_until),
            Some(_) | None => return Verdict::Complete,
        }
    }
    if canaries_are_all || canary::left(service, rollout, survey) == Some(0) {
        if canary::none_works(rollout, survey) {
            return Verdict::Failed;
        }
        match canary::watched_until(pass.now, config, rollout, survey) {
            Watched::Until(at) => pass.wake_at(service.id, at),
            Watched::Done => return Verdict::CanariesWork,
            Watched::NotReady => {}
        }
    }
    if let Some(deadline) = deadline(pass, config, rollout, survey) {
        if deadline <= pass.now {
            return Verdict::Stuck;
        }
        pass.wake_at(service.id, deadline);
    }
    Verdict::GoOn
}

/// How the tasks that a rollout has made so far stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// Some slot is on its way.
    NotReady,
    /// The last monitor window ends then.
    Until(Timestamp),
    Done,
}

pub(super) fn watched_until(
    now: Timestamp,
    config: &UpdateConfig,
    rollout: &Rollout,
    survey: &[(Slot, Progress)],
) -> Watched {
    let mut latest = None;
    for (slot, progress) in survey {
        match progress {
            Progress::Moving if !rollout.failed.contains(slot) => return Watched::NotReady,
            Progress::Running { since, .. } if *since >= rollout.started_at => {
                latest = latest.max(window_end(config, *progress));
            }
            Progress::Finished => latest = latest.max(Some(rollout.started_at + config.monitor)),
            Progress::Moving | Progress::Running { .. } | Progress::Outdated | Progress::Away => {}
        }
    }
    match latest {
        None => Watched::NotReady,
        Some(until) if until > now => Watched::Until(until),
        Some(_) => Watched::Done,
    }
}

/// When all is heard that a running task can count against its version with.
pub(super) fn window_end(config: &UpdateConfig, progress: Progress) -> Option<Timestamp> {
    running_since(progress).map(|since| since + window(config, progress))
}

fn window(config: &UpdateConfig, progress: Progress) -> Duration {
    match progress {
        Progress::Running { lag, .. } if !config.monitor.is_zero() => config.monitor + lag,
        Progress::Running { .. } | Progress::Outdated | Progress::Moving | Progress::Finished | Progress::Away => {
            config.monitor
        }
    }
}

/// How long a slot keeps its place after its task became ready. The first batch is watched: a version that dies just
/// after it became ready must not reach the others. What a rollback goes back to is known to work.
pub(super) fn rests_until(service: &Service, progress: Progress) -> Option<Timestamp> {
    let config = config(service);
    let unproven = service
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.state == RolloutState::Updating && rollout.trust == Trust::Unproven);
    let rest = if unproven { config.delay.max(window(config, progress)) } else { config.delay };
    running_since(progress).map(|since| since + rest)
}

/// The pause after a slot and the watch over it are no lack of progress. Neither is time in which nobody led: after it the
/// rollout is seen for [`SEEN_MIN`] before it is judged, and no longer, or leaders that change now and then put the end
/// off for ever.
fn deadline(
    pass: &Pass<'_, '_>,
    config: &UpdateConfig,
    rollout: &Rollout,
    survey: &[(Slot, Progress)],
) -> Option<Timestamp> {
    let span = Some(config.progress_deadline).filter(|span| !span.is_zero())?;
    let watched = survey.iter().map(|(_, progress)| window(config, *progress)).max().unwrap_or(config.monitor);
    let allowance = if rollout.done.is_empty() { Duration::ZERO } else { config.delay.max(watched) };
    let seen = pass.liveness.lived_since() + allowance + span.min(SEEN_MIN);
    Some((rollout.progressed_at + allowance + span).max(seen))
}

pub(super) fn failed_too_many(config: &UpdateConfig, rollout: &Rollout, survey: &[(Slot, Progress)]) -> bool {
    let failed = failed_count(rollout, survey);
    let allowed = f64::from(config.max_failure_ratio.clamp(0.0, 1.0)) * count_f64(survey.len());
    // The ratio was rounded to f32 when it was read: 0.7 of 10 is 7 all the same.
    let allowed = allowed * (1.0 + f64::from(f32::EPSILON));
    // A ratio that is no number allows nothing.
    failed > 0 && (allowed.is_nan() || count_f64(failed) > allowed)
}

fn count_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// One that failed, and may, is not waited for.
fn is_settled(rollout: &Rollout, slot: Slot, progress: Progress) -> bool {
    match progress {
        Progress::Running { .. } | Progress::Finished | Progress::Away => true,
        Progress::Moving => rollout.failed.contains(&slot),
        Progress::Outdated => false,
    }
}

pub(super) fn running_since(progress: Progress) -> Option<Timestamp> {
    match progress {
        Progress::Running { since, .. } => Some(since),
        Progress::Outdated | Progress::Moving | Progress::Finished | Progress::Away => None,
    }
}

pub(super) fn is_over(rollout: &Rollout) -> bool {
    match rollout.state {
        RolloutState::Completed | RolloutState::RollbackCompleted => true,
        RolloutState::Updating
        | RolloutState::Paused
        | RolloutState::RollbackStarted
        | RolloutState::RollbackPaused => false,
    }
}

pub(super) fn is_back(rollout: &Rollout) -> bool {
    rollout.state.is_rollback()
}

pub(super) fn completed(rollout: &Rollout) -> RolloutState {
    if is_back(rollout) { RolloutState::RollbackCompleted } else { RolloutState::Completed }
}

pub(super) fn paused(rollout: &Rollout) -> RolloutState {
    if is_back(rollout) { RolloutState::RollbackPaused } else { RolloutState::Paused }
}

#[cfg(test)]
mod tests {
    use muster_proto::version::TemplateVersion;

    use super::*;
    use crate::effect;

    fn too_many(failed: u32, of: u32, max_failure_ratio: f32) -> bool {
        let config = UpdateConfig { max_failure_ratio, ..UpdateConfig::default() };
        let mut books =
            effect::begin_rollout(RolloutState::Updating, TemplateVersion(1), Timestamp::EPOCH, String::new());
        books.failed = (1..=failed).map(Slot::Number).collect();
        let survey: Vec<_> = (1..=of).map(|number| (Slot::Number(number), Progress::Moving)).collect();
        failed_too_many(&config, &books, &survey)
    }

    #[test]
    fn as_many_may_fail_as_the_ratio_says_and_no_more() {
        for tenths in 1..=10_u8 {
            let ratio = f32::from(tenths) / 10.0;
            assert!(!too_many(tenths.into(), 10, ratio), "{ratio}");
            assert!(!too_many(u32::from(tenths) * 1_000, 10_000, ratio), "{ratio}");
            assert!(tenths == 10 || too_many(u32::from(tenths) + 1, 10, ratio), "{ratio}");
            assert!(tenths == 10 || too_many(u32::from(tenths) * 1_000 + 1, 10_000, ratio), "{ratio}");
        }
        assert!(too_many(1, 10, 0.0) && too_many(1, 10, f32::NAN) && !too_many(0, 10, f32::NAN));
    }
}
