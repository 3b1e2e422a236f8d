//! The cluster's settings.

use std::time::Duration;

use super::{ConvertError, Result};
use crate::{cluster::ClusterSpec, v1};

impl From<&ClusterSpec> for v1::ClusterSpec {
    fn from(domain: &ClusterSpec) -> Self {
        Self {
            task_history_limit: domain.task_history_limit,
            heartbeat_ms: millis(domain.heartbeat),
            lease_ms: millis(domain.lease),
            default_memory_limit_bytes: domain.default_memory_limit_bytes,
            default_pids_limit: domain.default_pids_limit,
            certificate_validity_ms: millis(domain.certificate_validity),
        }
    }
}

impl TryFrom<v1::ClusterSpec> for ClusterSpec {
    type Error = ConvertError;
    fn try_from(wire: v1::ClusterSpec) -> Result<Self> {
        Ok(Self {
            task_history_limit: wire.task_history_limit,
            heartbeat: Duration::from_millis(wire.heartbeat_ms),
            lease: Duration::from_millis(wire.lease_ms),
            default_memory_limit_bytes: wire.default_memory_limit_bytes,
            default_pids_limit: wire.default_pids_limit,
            certificate_validity: Duration::from_millis(wire.certificate_validity_ms),
        })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
