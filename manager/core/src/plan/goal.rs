//! Which template version a slot is to be filled with: where a rollout in parts, a pause and a lost task meet.

use muster_proto::{rollout::RolloutState, service::Service, task_state::TaskState, version::TemplateVersion};

use super::{
    canary,
    pass::Pass,
    view::{Footing, SlotView, footing},
};
use crate::effect;

/// The version the slot is to be filled with now. One that the rollout has not come to stays with what serves there,
/// and so does one where a pause finds the old task still serving. An empty one takes the new version, except while an
/// update is paused or its canaries are watched: then the one before it, which is known to work.
pub(super) fn goal(pass: &Pass<'_, '_>, service: &Service, view: &SlotView<'_>) -> TemplateVersion {
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
        (None, Pause::None) if !view.exists() && canary::are_watched(service) => before.unwrap_or(target),
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
