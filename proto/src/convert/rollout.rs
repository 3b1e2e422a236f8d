//! How far a service's last change has come: towards the wire only.

use crate::{
    rollout::{Rollout, RolloutFailure},
    v1,
};

impl From<&Rollout> for v1::Rollout {
    fn from(domain: &Rollout) -> Self {
        Self {
            state: domain.state.as_str().to_owned(),
            target: domain.target.0,
            started_at: domain.started_at.millis(),
            completed_at: domain.completed_at.map(|at| at.millis()),
            progressed_at: domain.progressed_at.millis(),
            done: domain.done.iter().map(Into::into).collect(),
            failed: domain.failed.iter().map(Into::into).collect(),
            failures: domain.failures.iter().map(Into::into).collect(),
            message: domain.message.clone(),
            hold: domain.hold.map(|hold| hold.as_str().to_owned()),
        }
    }
}

impl From<&RolloutFailure> for v1::RolloutFailure {
    fn from(domain: &RolloutFailure) -> Self {
        Self {
            task_id: domain.task_id.to_string(),
            slot: Some((&domain.slot).into()),
            node_id: domain.node_id.map(|id| id.to_string()),
            at: domain.at.millis(),
            error: domain.error.clone(),
            exit_code: domain.exit_code,
            evidence: domain.evidence.as_deref().map(Into::into),
        }
    }
}
