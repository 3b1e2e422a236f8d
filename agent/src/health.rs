//! Health checks, run by the agent for every executor alike.
//!
//! [`judge`] decides what a row of results means, [`probe`] gets one result. The task's actor puts the two together
//! and acts on the verdict.

mod http;
pub(crate) mod judge;
pub(crate) mod probe;

use muster_proto::health::{HealthCheck, HealthPolicy};

/// The check that holds for a task: the service's word, else the image's.
pub(crate) fn effective(policy: &HealthPolicy, image: Option<&HealthCheck>) -> Option<HealthCheck> {
    match policy {
        HealthPolicy::FromImage => image.cloned(),
        HealthPolicy::Disabled => None,
        HealthPolicy::Check(check) => Some(check.clone()),
    }
}
