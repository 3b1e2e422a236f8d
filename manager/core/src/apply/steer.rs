//! A rollout paused, resumed or promoted by hand. Its books stay as they are: what was done and what failed counts on.

use muster_proto::{
    id::ServiceId,
    rollout::{Hold, Rollout, RolloutState, Trust},
    service::Service,
    time::Timestamp,
    version::Version,
};

use super::{Stamp, Touched, service};
use crate::{command::Steer, rejection::Rejection, state::State};

pub(super) fn steer(
    state: &mut State,
    stamp: Stamp,
    (id, read): (ServiceId, Version),
    steer: Steer,
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    let before = service::read_at(state, id, read)?.clone();
    let rollout = match steer {
        Steer::Pause => pause(&before)?,
        Steer::Resume => resume(&before, stamp.at)?,
        Steer::Promote => promote(&before, stamp.at)?,
    };
    let after = Service { version: stamp.version(), rollout: Some(Box::new(rollout)), ..before.clone() };
    touched.service(Some(&before), Some(&after));
    state.put_service(after);
    Ok(stamp.version())
}

fn pause(service: &Service) -> Result<Rollout, Rejection> {
    let name = &service.spec.name;
    let rollout = service.rollout.as_deref().ok_or_else(|| Rejection::NothingToPause(name.clone()))?;
    let state = match rollout.state {
        RolloutState::Updating => RolloutState::Paused,
        RolloutState::RollbackStarted => RolloutState::RollbackPaused,
        RolloutState::Paused | RolloutState::RollbackPaused => return Err(Rejection::PausedAlready(name.clone())),
        RolloutState::Completed | RolloutState::RollbackCompleted => {
            return Err(Rejection::NothingToPause(name.clone()));
        }
    };
    let message = format!("paused by hand; `muster service resume {name}` goes on");
    Ok(Rollout { state, message, hold: Some(Hold::ByHand), ..rollout.clone() })
}

/// One that failed begins to count anew: whoever resumes it has mended what failed.
fn resume(service: &Service, at: Timestamp) -> Result<Rollout, Rejection> {
    let name = || service.spec.name.clone();
    let rollout = service.rollout.as_deref().ok_or_else(|| Rejection::NothingToResume(name()))?;
    if !is_paused(rollout.state) {
        return Err(Rejection::NothingToResume(name()));
    }
    match rollout.hold {
        Some(Hold::Canary) => Err(Rejection::WaitsForPromotion(name())),
        Some(Hold::ByHand) => Ok(go_on(rollout, at)),
        Some(Hold::Failure) | None => Ok(service::taken_up_again(rollout, at)),
    }
}

fn promote(service: &Service, at: Timestamp) -> Result<Rollout, Rejection> {
    let name = || service.spec.name.clone();
    let rollout = service.rollout.as_deref().ok_or_else(|| Rejection::NoCanary(name()))?;
    match (rollout.state, rollout.hold) {
        (RolloutState::Paused, Some(Hold::Canary)) => Ok(Rollout { trust: Trust::Promoted, ..go_on(rollout, at) }),
        (RolloutState::Updating, _) if service.spec.update.canary > 0 && rollout.trust < Trust::Promoted => {
            Err(Rejection::CanaryNotReady(name()))
        }
        (
            RolloutState::Updating
            | RolloutState::Paused
            | RolloutState::Completed
            | RolloutState::RollbackStarted
            | RolloutState::RollbackPaused
            | RolloutState::RollbackCompleted,
            _,
        ) => Err(Rejection::NoCanary(name())),
    }
}

fn is_paused(state: RolloutState) -> bool {
    match state {
        RolloutState::Paused | RolloutState::RollbackPaused => true,
        RolloutState::Updating
        | RolloutState::Completed
        | RolloutState::RollbackStarted
        | RolloutState::RollbackCompleted => false,
    }
}

/// From where it was paused; the time in between is no lack of progress.
fn go_on(rollout: &Rollout, at: Timestamp) -> Rollout {
    Rollout {
        state: service::resumed(rollout.state),
        hold: None,
        progressed_at: at,
        message: "taken up again".to_owned(),
        ..rollout.clone()
    }
}
