//! A service as JSON.

use serde_json::{Value, json};

use super::spec::{ports, spec};
use crate::object::{
    Service,
    service::{Failure, Rollout},
};

#[must_use]
pub fn service(service: &Service) -> Value {
    json!({
        "ID": service.id,
        "Version": {"Index": service.version},
        "CreatedAt": service.created_at.to_string(),
        "UpdatedAt": service.updated_at.to_string(),
        "Spec": spec(&service.spec),
        "PreviousSpec": service.previous.as_ref().map(spec),
        "Endpoint": {
            "Spec": {"Ports": ports(&service.spec.endpoint.ports)},
            "Ports": ports(&service.ports),
        },
        "UpdateStatus": service.rollout.as_ref().map(update_status),
    })
}

fn update_status(rollout: &Rollout) -> Value {
    json!({
        "State": rollout.state.as_str(),
        "StartedAt": rollout.started_at.to_string(),
        "CompletedAt": rollout.completed_at.map(|at| at.to_string()),
        "Message": rollout.message,
        "SlotsDone": rollout.done,
        "SlotsFailed": rollout.failed,
        "Failures": rollout.failures.iter().map(failure).collect::<Vec<_>>(),
    })
}

fn failure(failure: &Failure) -> Value {
    let evidence = failure.evidence.as_ref();
    json!({
        "TaskID": failure.task_id,
        "Slot": failure.slot.to_string(),
        "NodeID": failure.node_id,
        "At": failure.at.to_string(),
        "Err": failure.error,
        "ExitCode": failure.exit_code,
        "OOMKilled": evidence.map(|evidence| evidence.oom_killed).filter(|&killed| killed),
        "HealthOutput": evidence.and_then(|evidence| evidence.health.clone()),
        "LogTail": evidence.map(|evidence| evidence.log_tail.clone()).filter(|lines| !lines.is_empty()),
    })
}
