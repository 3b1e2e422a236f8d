//! Carries out a plan. Each action names what it was made for; one that no longer fits is left out alone, and nothing
//! is looked up or chosen here.

use muster_proto::{
    id::{NodeId, ServiceId, TaskId},
    rollout::{Rollout, RolloutState},
    service::Service,
    task::{Slot, Task},
    task_state::{DesiredState, TaskState},
    version::{Fence, Term, Version},
    waiting::WaitingOn,
};

use super::{Stamp, Touched, outcome_of_list};
use crate::{
    action::Action,
    command::{Move, Outcome},
    effect::{self, NewTask},
    plan::allocate,
    rejection::Rejection,
    state::State,
};

pub(super) fn apply_all(
    state: &mut State,
    stamp: Stamp,
    term: Term,
    actions: &[Action],
    touched: &mut Touched,
) -> Result<Outcome, Rejection> {
    if term != stamp.position.term {
        return Err(Rejection::StaleTerm { made: term, now: stamp.position.term });
    }
    let mut stale = Vec::new();
    for (place, action) in (0..).zip(actions) {
        if let Err(rejection) = apply_one(state, stamp, action, touched) {
            stale.push((place, rejection));
        }
    }
    Ok(outcome_of_list(stamp, stale))
}

fn apply_one(state: &mut State, stamp: Stamp, action: &Action, touched: &mut Touched) -> Result<(), Rejection> {
    match action {
        Action::CreateTask {
            id,
            service_id,
            slot,
            slot_version,
            template_version,
            desired,
            start_after,
            restarts,
            placement,
        } => {
            let new = NewTask {
                id: *id,
                service_id: *service_id,
                slot: *slot,
                template_version: *template_version,
                desired: *desired,
                start_after: *start_after,
                restarts: restarts.clone(),
            };
            create(state, stamp, &new, *slot_version, placement, touched)
        }
        Action::AssignTask { id, version, node_id } => assign(state, stamp, (*id, *version), *node_id, touched),
        Action::SetDesired { id, version, desired } => set_desired(state, stamp, (*id, *version), *desired, touched),
        Action::SetWaiting { id, version, waiting } => {
            row(state, stamp, *id, *version)?;
            edit(state, stamp, *id, touched, |task| task.waiting.clone_from(waiting))
        }
        Action::OrphanTask { id, version } => {
            if row(state, stamp, *id, *version)?.status.state.is_final() {
                return Err(Rejection::NotForward);
            }
            edit(state, stamp, *id, touched, |task| effect::orphan(task, stamp.at))
        }
        Action::KeepTask { id, version } => {
            row(state, stamp, *id, *version)?;
            edit(state, stamp, *id, touched, |task| task.moves_to = None)
        }
        Action::ForgetTask { id, version } => forget(state, stamp, (*id, *version), touched),
        Action::SetRollout { service_id, version, rollout } => {
            set_rollout(state, stamp, (*service_id, *version), rollout, touched)
        }
        Action::StartRollback { service_id, version, rollout } => {
            start_rollback(state, stamp, (*service_id, *version), rollout, touched)
        }
    }
}

/// What an object looked like to the plan: unchanged since, or changed by an earlier action of the same plan.
fn is_current(stamp: Stamp, made_for: Version, now: Version) -> bool {
    now == made_for || now == stamp.version()
}

fn row(state: &State, stamp: Stamp, id: TaskId, made_for: Version) -> Result<&Task, Rejection> {
    let task = state.task(id).ok_or(Rejection::NoSuchTask(id))?;
    if is_current(stamp, made_for, task.version) { Ok(task) } else { Err(Rejection::TaskChanged) }
}

fn service(state: &State, stamp: Stamp, id: ServiceId, made_for: Version) -> Result<&Service, Rejection> {
    let service = state.service(id).ok_or(Rejection::NoSuchService(id))?;
    if is_current(stamp, made_for, service.version) {
        Ok(service)
    } else {
        Err(Rejection::ServiceChanged { read: made_for, now: service.version })
    }
}

fn edit(
    state: &mut State,
    stamp: Stamp,
    id: TaskId,
    touched: &mut Touched,
    change: impl FnOnce(&mut Task),
) -> Result<(), Rejection> {
    let edited = state.edit_task(id, |task| {
        task.version = stamp.version();
        change(task);
    });
    let (before, after) = edited.ok_or(Rejection::NoSuchTask(id))?;
    touched.task(state, Some(&before), Some(&after));
    Ok(())
}

/// Only what serves can move: it goes on until another does. A global service's slot is its node.
pub(super) fn move_all(state: &mut State, stamp: Stamp, moves: &[Move], touched: &mut Touched) -> Outcome {
    let mut stale = Vec::new();
    for (place, one) in (0..).zip(moves) {
        if let Err(rejection) = move_one(state, stamp, *one, touched) {
            stale.push((place, rejection));
        }
    }
    outcome_of_list(stamp, stale)
}

fn move_one(
    state: &mut State,
    stamp: Stamp,
    Move { task, version, to }: Move,
    touched: &mut Touched,
) -> Result<(), Rejection> {
    let present = state.task(task).ok_or(Rejection::NoSuchTask(task))?;
    if present.version != version {
        return Err(Rejection::TaskChanged);
    }
    if state.node(to).is_none() {
        return Err(Rejection::NoSuchNode(to));
    }
    let serves = present.status.state == TaskState::Running && present.desired == DesiredState::Running;
    let has_place = match present.slot {
        Slot::Number(_) => true,
        Slot::Node(_) => false,
    };
    if !serves || !has_place || present.node_id == Some(to) || present.moves_to.is_some() {
        return Err(Rejection::CannotMove);
    }
    edit(state, stamp, task, touched, |task| task.moves_to = Some(to))
}

fn create(
    state: &mut State,
    stamp: Stamp,
    new: &NewTask,
    slot_version: Version,
    placement: &Result<NodeId, WaitingOn>,
    touched: &mut Touched,
) -> Result<(), Rejection> {
    let service = state.service(new.service_id).ok_or(Rejection::NoSuchService(new.service_id))?;
    let template = effect::template_of(service, new.template_version).ok_or(Rejection::StaleTemplate)?;
    if state.task(new.id).is_some() {
        return Err(Rejection::TaskChanged);
    }
    if new.desired > DesiredState::Running {
        return Err(Rejection::NotForward);
    }
    let slot_now = state.slot_version(new.service_id, new.slot);
    if slot_now > slot_version && slot_now != stamp.version() {
        return Err(Rejection::SlotChanged);
    }
    let mut task = effect::create(service, template, new, stamp.at);
    match placement {
        Ok(node) if state.node(*node).is_none() => return Err(Rejection::NoSuchNode(*node)),
        Ok(node) => effect::assign(&mut task, *node, Fence(stamp.position.index), stamp.at),
        Err(waiting) => task.waiting = Some(waiting.clone()),
    }
    task.version = stamp.version();
    state.insert_task(task.clone());
    touched.task(state, None, Some(&task));
    Ok(())
}

fn assign(
    state: &mut State,
    stamp: Stamp,
    (id, made_for): (TaskId, Version),
    node: NodeId,
    touched: &mut Touched,
) -> Result<(), Rejection> {
    let task = row(state, stamp, id, made_for)?;
    if task.node_id.is_some() || !task.is_active() || !task.status.state.may_become(TaskState::Assigned) {
        return Err(Rejection::NotForward);
    }
    if state.node(node).is_none() {
        return Err(Rejection::NoSuchNode(node));
    }
    let fence = Fence(stamp.position.index);
    edit(state, stamp, id, touched, |task| effect::assign(task, node, fence, stamp.at))
}

fn set_desired(
    state: &mut State,
    stamp: Stamp,
    (id, made_for): (TaskId, Version),
    desired: DesiredState,
    touched: &mut Touched,
) -> Result<(), Rejection> {
    if row(state, stamp, id, made_for)?.desired >= desired {
        return Err(Rejection::NotForward);
    }
    edit(state, stamp, id, touched, |task| effect::desire(task, desired))
}

/// Only a row that nobody holds anything for any more.
fn forget(
    state: &mut State,
    stamp: Stamp,
    (id, made_for): (TaskId, Version),
    touched: &mut Touched,
) -> Result<(), Rejection> {
    let task = row(state, stamp, id, made_for)?;
    let held = task.node_id.is_some_and(|node| state.node(node).is_some()) && !task.status.removed;
    if held {
        return Err(Rejection::NotForward);
    }
    let task = state.remove_task(id).ok_or(Rejection::NoSuchTask(id))?;
    touched.task(state, Some(&task), None);
    Ok(())
}

fn set_rollout(
    state: &mut State,
    stamp: Stamp,
    (id, made_for): (ServiceId, Version),
    rollout: &Rollout,
    touched: &mut Touched,
) -> Result<(), Rejection> {
    let before = service(state, stamp, id, made_for)?.clone();
    if rollout.target != before.template_version {
        return Err(Rejection::StaleTemplate);
    }
    let after = Service { version: stamp.version(), rollout: Some(Box::new(rollout.clone())), ..before.clone() };
    touched.service(Some(&before), Some(&after));
    state.put_service(after);
    Ok(())
}

/// The previous spec is given up: rolling back to one that failed is never right.
fn start_rollback(
    state: &mut State,
    stamp: Stamp,
    (id, made_for): (ServiceId, Version),
    rollout: &Rollout,
    touched: &mut Touched,
) -> Result<(), Rejection> {
    let before = service(state, stamp, id, made_for)?.clone();
    let Some(previous) = before.previous.as_deref() else {
        return Err(Rejection::NoPreviousSpec(before.spec.name));
    };
    if rollout.target != previous.template_version || rollout.state != RolloutState::RollbackStarted {
        return Err(Rejection::StaleTemplate);
    }
    let ports = allocate::ports(state, &previous.spec.endpoint.ports, Some(id))?;
    let mut after = effect::restore(&before, previous, ports);
    after.rollout = Some(Box::new(rollout.clone()));
    after.version = stamp.version();
    after.updated_at = stamp.at;
    touched.service(Some(&before), Some(&after));
    state.put_service(after);
    Ok(())
}
