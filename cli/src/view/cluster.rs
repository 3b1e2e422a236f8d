//! The cluster as JSON, in the shape of `docker swarm` where it has the same thing.

use serde_json::{Value, json};

use super::nanos;
use crate::object::Cluster;

#[must_use]
pub fn cluster(cluster: &Cluster) -> Value {
    let spec = &cluster.spec;
    json!({
        "ID": cluster.id,
        "Version": {"Index": cluster.version},
        "CreatedAt": cluster.created_at.to_string(),
        "Incarnation": cluster.incarnation,
        "Spec": {
            "Orchestration": {
                "TaskHistoryRetentionLimit": spec.task_history_limit,
                "AutoRebalance": spec.auto_rebalance,
            },
            "Dispatcher": {"HeartbeatPeriod": nanos(spec.heartbeat), "Lease": nanos(spec.lease)},
            "CAConfig": {"NodeCertExpiry": nanos(spec.certificate_validity)},
            "TaskDefaults": {
                "MemoryBytes": spec.default_memory_limit_bytes,
                "Pids": spec.default_pids_limit,
            },
        },
        "Managers": cluster.managers,
        "Nodes": cluster.nodes,
        "Services": cluster.services,
        "TasksRunning": cluster.tasks_running,
    })
}
