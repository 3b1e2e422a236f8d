//! The cluster's settings.

use super::{ConvertError, Result, field};
use crate::{cluster::ClusterSpec, v1};

impl From<&ClusterSpec> for v1::ClusterSpec {
    fn from(domain: &ClusterSpec) -> Self {
        Self {
            task_history_limit: domain.task_history_limit,
            heartbeat_ms: field::to_millis(domain.heartbeat),
            lease_ms: field::to_millis(domain.lease),
            default_memory_limit_bytes: domain.default_memory_limit_bytes,
            default_pids_limit: domain.default_pids_limit,
            certificate_validity_ms: field::to_millis(domain.certificate_validity),
            auto_rebalance: domain.auto_rebalance,
        }
    }
}

impl TryFrom<v1::ClusterSpec> for ClusterSpec {
    type Error = ConvertError;
    fn try_from(wire: v1::ClusterSpec) -> Result<Self> {
        Ok(Self {
            task_history_limit: wire.task_history_limit,
            heartbeat: field::duration("heartbeat_ms", wire.heartbeat_ms)?,
            lease: field::duration("lease_ms", wire.lease_ms)?,
            default_memory_limit_bytes: wire.default_memory_limit_bytes,
            default_pids_limit: wire.default_pids_limit,
            certificate_validity: field::duration("certificate_validity_ms", wire.certificate_validity_ms)?,
            auto_rebalance: wire.auto_rebalance,
        })
    }
}
