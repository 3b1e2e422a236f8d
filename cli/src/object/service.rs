//! A service as the daemon tells it.

use muster_proto::{
    endpoint::PortConfig,
    rollout::{Hold, RolloutState},
    service::ServiceSpec,
    task::{Evidence, Slot},
    time::Timestamp,
    v1,
};

use super::{missing, unreadable};
use crate::{error::Error, format::text::one_line};

#[derive(Clone, Debug)]
pub struct Service {
    pub id: String,
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub spec: ServiceSpec,
    pub previous: Option<ServiceSpec>,
    /// As allocated.
    pub ports: Vec<PortConfig>,
    pub template_version: u64,
    pub rollout: Option<Rollout>,
}

/// How far the last change of the template has come.
#[derive(Clone, Debug)]
pub struct Rollout {
    pub state: RolloutState,
    pub target: u64,
    pub started_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    pub done: usize,
    pub failed: usize,
    pub failures: Vec<Failure>,
    pub message: String,
    /// Its canaries work, and it waits for their promotion.
    pub awaits_promotion: bool,
}

/// A task that failed under a rollout, and what it left.
#[derive(Clone, Debug)]
pub struct Failure {
    pub task_id: String,
    pub slot: Slot,
    pub node_id: Option<String>,
    pub at: Timestamp,
    pub error: String,
    pub exit_code: Option<i32>,
    pub evidence: Option<Evidence>,
}

impl TryFrom<v1::Service> for Service {
    type Error = Error;

    fn try_from(service: v1::Service) -> Result<Self, Error> {
        let spec = service.spec.ok_or_else(|| missing("a service's spec"))?;
        Ok(Self {
            id: service.id,
            version: service.version,
            created_at: Timestamp::from_millis(service.created_at),
            updated_at: Timestamp::from_millis(service.updated_at),
            spec: read_spec(spec)?,
            previous: service.previous_spec.map(read_spec).transpose()?,
            ports: ports(service.ports)?,
            template_version: service.template_version,
            rollout: service.rollout.map(Rollout::try_from).transpose()?,
        })
    }
}

fn read_spec(spec: v1::ServiceSpec) -> Result<ServiceSpec, Error> {
    spec.try_into().map_err(|why| unreadable("a service's spec", why))
}

pub(super) fn ports(ports: Vec<v1::PortConfig>) -> Result<Vec<PortConfig>, Error> {
    ports.into_iter().map(|port| port.try_into().map_err(|why| unreadable("a port", why))).collect()
}

impl TryFrom<v1::Rollout> for Rollout {
    type Error = Error;

    fn try_from(rollout: v1::Rollout) -> Result<Self, Error> {
        Ok(Self {
            state: rollout_state(&rollout.state)?,
            target: rollout.target,
            started_at: Timestamp::from_millis(rollout.started_at),
            completed_at: rollout.completed_at.map(Timestamp::from_millis),
            done: rollout.done.len(),
            failed: rollout.failed.len(),
            failures: rollout.failures.into_iter().map(Failure::try_from).collect::<Result<_, _>>()?,
            message: one_line(&rollout.message),
            awaits_promotion: rollout.hold.as_deref() == Some(Hold::Canary.as_str()),
        })
    }
}

fn rollout_state(text: &str) -> Result<RolloutState, Error> {
    let all = [
        RolloutState::Updating,
        RolloutState::Paused,
        RolloutState::Completed,
        RolloutState::RollbackStarted,
        RolloutState::RollbackPaused,
        RolloutState::RollbackCompleted,
    ];
    all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| unreadable("a rollout's state", text))
}

impl TryFrom<v1::RolloutFailure> for Failure {
    type Error = Error;

    fn try_from(failure: v1::RolloutFailure) -> Result<Self, Error> {
        let slot = failure.slot.ok_or_else(|| missing("a failure's slot"))?;
        Ok(Self {
            task_id: failure.task_id,
            slot: slot.try_into().map_err(|why| unreadable("a failure's slot", why))?,
            node_id: failure.node_id,
            at: Timestamp::from_millis(failure.at),
            error: one_line(&failure.error),
            exit_code: failure.exit_code,
            evidence: failure.evidence.map(Evidence::from),
        })
    }
}
