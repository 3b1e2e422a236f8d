//! The slots that an update replaces before it is promoted: which they are, and how they do. Pure reckoning, like the other
//! books of a rollout.

use muster_proto::{
    rollout::{Rollout, Trust, UpdateConfig},
    service::Service,
    task::{Slot, Task},
    time::Timestamp,
};

use super::rollout::{Progress, Watched, is_back, is_over, window_end};

/// How many slots an update may still begin before its canaries are promoted; None: as many as there are.
pub(super) fn left(service: &Service, rollout: &Rollout, survey: &[(Slot, Progress)]) -> Option<usize> {
    if !are_wanted(service, rollout) {
        return None;
    }
    let canary = usize::try_from(service.spec.update.canary).unwrap_or(usize::MAX);
    let begun = survey.iter().filter(|(slot, progress)| is_one(rollout, *slot, *progress));
    Some(canary.saturating_sub(begun.count()))
}

/// More canaries were asked for than there are slots, or as many: they wait for their promotion all the same, and nothing
/// follows it. Not where the version runs beside them since before: that is no news there.
pub(super) fn are_all(service: &Service, rollout: &Rollout, survey: &[(Slot, Progress)]) -> bool {
    let mut reached = survey.iter().filter(|(_, progress)| *progress != Progress::Away).peekable();
    are_wanted(service, rollout)
        && reached.peek().is_some()
        && reached.all(|(slot, progress)| is_one(rollout, *slot, *progress))
}

/// An update that waits until its canaries are promoted. Until then what comes new takes the version before.
pub(super) fn are_watched(service: &Service) -> bool {
    service.rollout.as_deref().is_some_and(|rollout| are_wanted(service, rollout))
}

fn are_wanted(service: &Service, rollout: &Rollout) -> bool {
    service.spec.update.canary > 0 && !is_back(rollout) && rollout.trust < Trust::Promoted && !is_over(rollout)
}

/// Made by this rollout, and come to something. Until then its slot is on its way, which is enough to know it by.
pub(super) fn has_shown_itself(rollout: &Rollout, task: &Task) -> bool {
    let made_by_it = task.template_version == rollout.target && task.created_at >= rollout.started_at;
    made_by_it && (task.status.running_at.is_some() || task.status.state.is_final())
}

/// What this rollout made, or finds on its way. A slot that ran the version before it began shows nothing.
fn is_one(rollout: &Rollout, slot: Slot, progress: Progress) -> bool {
    match progress {
        Progress::Moving => true,
        Progress::Running { .. } | Progress::Finished => rollout.canaries.contains(&slot),
        Progress::Outdated | Progress::Away => false,
    }
}

/// All have failed: none is worth a question, however many may.
pub(super) fn none_works(rollout: &Rollout, survey: &[(Slot, Progress)]) -> bool {
    let canaries = || survey.iter().filter(|(slot, progress)| is_one(rollout, *slot, *progress));
    let failed = |(slot, progress): &(Slot, Progress)| *progress == Progress::Moving && rollout.failed.contains(slot);
    canaries().next().is_some() && canaries().all(failed)
}

/// Those that run or have finished, and those that failed.
pub(super) fn sorted(rollout: &Rollout, survey: &[(Slot, Progress)]) -> (Vec<Slot>, Vec<Slot>) {
    let canaries = survey.iter().filter(|(slot, progress)| is_one(rollout, *slot, *progress));
    let (failed, working): (Vec<_>, Vec<_>) = canaries.partition(|(_, progress)| *progress == Progress::Moving);
    let slots = |of: Vec<&(Slot, Progress)>| of.into_iter().map(|(slot, _)| *slot).collect();
    (slots(working), slots(failed))
}

/// Also a canary that ran before the update was taken up again has to have lived through its window.
pub(super) fn watched_until(
    now: Timestamp,
    config: &UpdateConfig,
    rollout: &Rollout,
    survey: &[(Slot, Progress)],
) -> Watched {
    let canaries = || survey.iter().filter(|(slot, progress)| is_one(rollout, *slot, *progress));
    let on_its_way =
        |(slot, progress): &(Slot, Progress)| *progress == Progress::Moving && !rollout.failed.contains(slot);
    if canaries().any(on_its_way) {
        return Watched::NotReady;
    }
    match canaries().filter_map(|(_, progress)| window_end(config, *progress)).max() {
        Some(until) if until > now => Watched::Until(until),
        Some(_) | None => Watched::Done,
    }
}
