//! The one place where errors become gRPC statuses. The message is what the user reads: one sentence of what happened
//! and one of what to do, made where the error is made.

use muster_core::{command::Outcome, rejection::Rejection};
use muster_proto::{assignment::LEADER_METADATA, version::Version};
use tonic::{Code, Status, metadata::MetadataValue};

use crate::{ca::CaError, founding::FoundingError, leadership::Leadership, quorum::QuorumLost, replica::ProposeError};

/// The new version of the object that a command was about.
pub(crate) fn accepted(outcome: Outcome) -> Result<Version, Status> {
    match outcome {
        Outcome::Done { version } | Outcome::Partly { version, .. } => Ok(version),
        Outcome::Rejected(rejection) => Err(rejected(&rejection)),
    }
}

pub(crate) fn rejected(rejection: &Rejection) -> Status {
    let code = match rejection {
        Rejection::ClusterExists
        | Rejection::NameTaken { .. }
        | Rejection::NodeExists(_)
        | Rejection::AddressTaken { .. } => Code::AlreadyExists,
        Rejection::NoSuchService(_) | Rejection::NoSuchNode(_) | Rejection::NoSuchTask(_) => Code::NotFound,
        Rejection::ServiceChanged { .. }
        | Rejection::NodeChanged { .. }
        | Rejection::TaskChanged
        | Rejection::SlotChanged
        | Rejection::StaleTerm { .. }
        | Rejection::StaleFence
        | Rejection::ClusterChanged { .. }
        | Rejection::OtherRole(..)
        | Rejection::StaleTemplate => Code::Aborted,
        Rejection::NodeRemoved(_)
        | Rejection::OtherKey(_)
        | Rejection::TokenUnknown
        | Rejection::TokenExpired { .. }
        | Rejection::TokenUsedUp { .. } => Code::PermissionDenied,
        Rejection::TooManyTokens(_) => Code::ResourceExhausted,
        Rejection::NoCluster
        | Rejection::LastManager(_)
        | Rejection::NoAuthority
        | Rejection::RotationUnderWay
        | Rejection::NotCertified(_)
        | Rejection::ReadsOlderLog { .. }
        | Rejection::PortTaken { .. }
        | Rejection::NoFreePort { .. }
        | Rejection::NoPreviousSpec(_)
        | Rejection::NothingToPause(_)
        | Rejection::PausedAlready(_)
        | Rejection::NothingToResume(_)
        | Rejection::WaitsForPromotion(_)
        | Rejection::NoCanary(_)
        | Rejection::CanaryNotReady(_)
        | Rejection::CannotMove
        | Rejection::NotForward => Code::FailedPrecondition,
        Rejection::ModeChanged | Rejection::NameChanged(_) | Rejection::PortRepeated(_) => Code::InvalidArgument,
    };
    let mut status = Status::new(code, rejection.to_string());
    if matches!(rejection, Rejection::NodeRemoved(_) | Rejection::OtherKey(_) | Rejection::NodeExists(_)) {
        status.metadata_mut().insert(NOT_AS_SUCH_METADATA, MetadataValue::from_static("1"));
    }
    status
}

/// In the metadata of a refusal that is about the id or the key that a host gives itself: with others it may join.
pub const NOT_AS_SUCH_METADATA: &str = "muster-not-as-such";
/// In the metadata of a refusal that came before anything was done.
pub const UNTOUCHED_METADATA: &str = "muster-untouched";

pub(crate) fn untouched(mut refusal: Status) -> Status {
    refusal.metadata_mut().insert(UNTOUCHED_METADATA, MetadataValue::from_static("1"));
    refusal
}

/// In the metadata of a refusal after which the call may be made again, on the leader that there is then: see
/// [`crate::forward`].
pub(crate) const REPEAT_METADATA: &str = "muster-repeat";

pub(crate) fn elsewhere(mut refusal: Status) -> Status {
    refusal.metadata_mut().insert(REPEAT_METADATA, MetadataValue::from_static("1"));
    refusal
}

pub(crate) fn unproposed(error: &ProposeError) -> Status {
    let code = match error {
        ProposeError::NotLeader { .. } | ProposeError::NoLeader | ProposeError::Busy | ProposeError::Stopping => {
            Code::Unavailable
        }
        ProposeError::OlderManager { .. } => Code::FailedPrecondition,
        ProposeError::NoRoom => Code::ResourceExhausted,
        ProposeError::TooLarge { .. } => Code::InvalidArgument,
        // Not Unavailable: a caller that repeats it blindly could make the change twice.
        ProposeError::Unconfirmed => Code::DeadlineExceeded,
        ProposeError::Failed(_) => Code::Internal,
    };
    let mut status = Status::new(code, error.to_string());
    if let ProposeError::NotLeader { leader } = error
        && let Ok(leader) = leader.parse()
    {
        status.metadata_mut().insert(LEADER_METADATA, leader);
    }
    match error {
        ProposeError::NotLeader { .. } | ProposeError::NoLeader | ProposeError::Stopping | ProposeError::NoRoom => {
            elsewhere(status)
        }
        ProposeError::Busy
        | ProposeError::OlderManager { .. }
        | ProposeError::TooLarge { .. }
        | ProposeError::Unconfirmed
        | ProposeError::Failed(_) => status,
    }
}

/// What only the leader does, asked of another.
pub(crate) fn not_leading(now: &Leadership) -> Status {
    unproposed(&match now {
        Leadership::Other { leader, .. } => ProposeError::NotLeader { leader: leader.address.clone() },
        Leadership::Nobody | Leadership::Me { .. } => ProposeError::NoLeader,
    })
}

/// Nothing was done.
pub(crate) fn stopping() -> Status {
    unproposed(&ProposeError::Stopping)
}

/// A certificate that was not made.
pub(crate) fn unsigned(error: &FoundingError) -> Status {
    match error {
        FoundingError::Ca(CaError::PublicKey(_)) => Status::invalid_argument(error.to_string()),
        FoundingError::Ca(_) | FoundingError::Seal(_) | FoundingError::NoAuthority | FoundingError::Text(_) => {
            Status::internal(error.to_string())
        }
    }
}

pub(crate) fn quorum(error: &QuorumLost) -> Status {
    Status::failed_precondition(error.to_string())
}

/// A message that does not say what it must, from whoever sent it.
pub(crate) fn malformed(error: &impl std::error::Error) -> Status {
    Status::invalid_argument(error.to_string())
}
