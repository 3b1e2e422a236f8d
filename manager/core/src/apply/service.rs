//! Commands about services. Here an update becomes a rollout, or does not; what `previous` holds is decided in
//! `docs/adr/0005-previous-spec.md`.

use std::sync::Arc;

use muster_proto::{
    id::{ServiceId, TaskId},
    rollout::{Hold, Rollout, RolloutState},
    service::{Mode, PreviousSpec, Service, ServiceSpec},
    task::Template,
    task_state::DesiredState,
    time::Timestamp,
    version::{TemplateVersion, Version},
};

use super::{Stamp, Touched};
use crate::{effect, plan::allocate, rejection::Rejection, state::State};

pub(super) fn create(
    state: &mut State,
    stamp: Stamp,
    id: ServiceId,
    spec: &ServiceSpec,
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    if let Some(other) = state.service_named(&spec.name).or_else(|| state.service(id)) {
        return Err(Rejection::NameTaken { name: other.spec.name.clone(), id: other.id });
    }
    if let Some(left_over) = state.tasks_of_service(id).next() {
        return Err(Rejection::NameTaken { name: left_over.service_name.clone(), id });
    }
    let service = Service {
        id,
        version: stamp.version(),
        created_at: stamp.at,
        updated_at: stamp.at,
        ports: allocate::ports(state, &spec.endpoint.ports, None)?,
        template: Arc::new(spec.template()),
        template_version: TemplateVersion(stamp.position.index),
        spec: spec.clone(),
        previous: None,
        rollout: None,
    };
    touched.service(None, Some(&service));
    state.put_service(service);
    Ok(stamp.version())
}

pub(super) fn update(
    state: &mut State,
    stamp: Stamp,
    (id, read): (ServiceId, Version),
    spec: &ServiceSpec,
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    let before = read_at(state, id, read)?;
    check_identity(&before.spec, spec)?;
    let ports = allocate::ports(state, &spec.endpoint.ports, Some(id))?;
    let (template, template_version) = number_template(before, spec, stamp);
    let rollout = rollout_after(before, spec, template_version, stamp.at);
    if before.spec == *spec && before.rollout == rollout {
        return Ok(before.version);
    }
    let after = Service {
        id,
        version: stamp.version(),
        created_at: before.created_at,
        updated_at: stamp.at,
        previous: previous_after(before, spec, template_version),
        spec: spec.clone(),
        template,
        template_version,
        ports,
        rollout,
    };
    touched.service(Some(before), Some(&after));
    state.put_service(after);
    Ok(stamp.version())
}

/// Back to the previous spec by hand. As in Swarm the present spec becomes the previous one, so that a second
/// rollback undoes the first.
pub(super) fn roll_back(
    state: &mut State,
    stamp: Stamp,
    (id, read): (ServiceId, Version),
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    let before = read_at(state, id, read)?.clone();
    let Some(previous) = before.previous.as_deref() else {
        return Err(Rejection::NoPreviousSpec(before.spec.name));
    };
    let ports = allocate::ports(state, &previous.spec.endpoint.ports, Some(id))?;
    let mut after = effect::restore(&before, previous, ports);
    after.previous = Some(Arc::new(previous_of(&before)));
    after.version = stamp.version();
    after.updated_at = stamp.at;
    if after.template_version != before.template_version {
        let message = "rolling back to the previous spec, as asked".to_owned();
        let rollout = effect::begin_rollout(RolloutState::RollbackStarted, after.template_version, stamp.at, message);
        after.rollout = Some(Box::new(rollout));
    }
    touched.service(Some(&before), Some(&after));
    state.put_service(after);
    Ok(stamp.version())
}

/// The row goes at once, so that name and ports are free; the tasks' rows go when their agents have cleaned up.
pub(super) fn remove(
    state: &mut State,
    stamp: Stamp,
    id: ServiceId,
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    let tasks: Vec<TaskId> = state.tasks_of_service(id).map(|task| task.id).collect();
    let service = state.remove_service(id).ok_or(Rejection::NoSuchService(id))?;
    touched.service(Some(&service), None);
    for task in tasks {
        let edited = state.edit_task(task, |task| {
            task.version = stamp.version();
            effect::desire(task, DesiredState::Remove);
        });
        if let Some((before, after)) = edited {
            touched.task(state, Some(&before), Some(&after));
        }
    }
    Ok(stamp.version())
}

pub(super) fn read_at(state: &State, id: ServiceId, read: Version) -> Result<&Service, Rejection> {
    let service = state.service(id).ok_or(Rejection::NoSuchService(id))?;
    if service.version == read { Ok(service) } else { Err(Rejection::ServiceChanged { read, now: service.version }) }
}

fn check_identity(before: &ServiceSpec, after: &ServiceSpec) -> Result<(), Rejection> {
    if before.name != after.name {
        return Err(Rejection::NameChanged(before.name.clone()));
    }
    match (before.mode, after.mode) {
        (Mode::Replicated { .. }, Mode::Replicated { .. }) | (Mode::Global, Mode::Global) => Ok(()),
        (Mode::Replicated { .. }, Mode::Global) | (Mode::Global, Mode::Replicated { .. }) => {
            Err(Rejection::ModeChanged)
        }
    }
}

/// A template that the service still knows keeps its number, and with it the tasks that run it already.
fn number_template(before: &Service, spec: &ServiceSpec, stamp: Stamp) -> (Arc<Template>, TemplateVersion) {
    if spec.is_of(&before.template) {
        return (Arc::clone(&before.template), before.template_version);
    }
    match before.previous.as_deref().filter(|previous| spec.is_of(&previous.template)) {
        Some(previous) => (Arc::clone(&previous.template), previous.template_version),
        None => (Arc::new(spec.template()), TemplateVersion(stamp.position.index)),
    }
}

/// A new template begins a rollout, also where no replica is wanted: then it completes at once, and whoever watches
/// need not know the difference. A paused one is taken up again by an update that changes nothing, or how it rolls
/// out; scaling or labels leave it where it is.
fn rollout_after(before: &Service, spec: &ServiceSpec, target: TemplateVersion, at: Timestamp) -> Option<Box<Rollout>> {
    if target != before.template_version {
        let message = "replacing tasks by the new version".to_owned();
        return Some(Box::new(effect::begin_rollout(RolloutState::Updating, target, at, message)));
    }
    let rollout = before.rollout.clone()?;
    if resumed(rollout.state) == rollout.state {
        return Some(rollout);
    }
    let rolls_out_otherwise = before.spec.update != spec.update || before.spec.rollback != spec.rollback;
    // Canaries are promoted and not updated away.
    let unchanged = before.spec == *spec && rollout.hold != Some(Hold::Canary);
    if unchanged || rolls_out_otherwise { Some(Box::new(taken_up_again(&rollout, at))) } else { Some(rollout) }
}

/// What a paused rollout becomes.
pub(super) fn resumed(state: RolloutState) -> RolloutState {
    match state {
        RolloutState::Paused => RolloutState::Updating,
        RolloutState::RollbackPaused => RolloutState::RollbackStarted,
        RolloutState::Updating
        | RolloutState::Completed
        | RolloutState::RollbackStarted
        | RolloutState::RollbackCompleted => state,
    }
}

/// What failed is forgiven, and what is done stays done.
pub(super) fn taken_up_again(rollout: &Rollout, at: Timestamp) -> Rollout {
    let fresh = effect::begin_rollout(resumed(rollout.state), rollout.target, at, "taken up again".to_owned());
    Rollout { done: rollout.done.clone(), canaries: rollout.canaries.clone(), trust: rollout.trust, ..fresh }
}

/// An update that supersedes an unfinished one keeps the spec before both: the half-rolled one is not known to be
/// good. Scaling meanwhile holds for the way back too.
fn previous_after(before: &Service, spec: &ServiceSpec, target: TemplateVersion) -> Option<Arc<PreviousSpec>> {
    if before.spec == *spec {
        return before.previous.clone();
    }
    let unfinished = match before.rollout.as_deref().map(|rollout| rollout.state) {
        Some(RolloutState::Updating | RolloutState::Paused) => true,
        None
        | Some(
            RolloutState::Completed
            | RolloutState::RollbackStarted
            | RolloutState::RollbackPaused
            | RolloutState::RollbackCompleted,
        ) => false,
    };
    if !unfinished {
        return Some(Arc::new(previous_of(before)));
    }
    let mut kept = before.previous.clone().filter(|previous| previous.template_version != target)?;
    if kept.spec.mode != spec.mode {
        Arc::make_mut(&mut kept).spec.mode = spec.mode;
    }
    Some(kept)
}

fn previous_of(service: &Service) -> PreviousSpec {
    PreviousSpec {
        spec: service.spec.clone(),
        template: Arc::clone(&service.template),
        template_version: service.template_version,
    }
}
