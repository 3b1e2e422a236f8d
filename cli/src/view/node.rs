//! A node as JSON.

use serde_json::{Value, json};

use crate::object::{ManagerStatus, Node, node::Description};

#[must_use]
pub fn node(node: &Node) -> Value {
    json!({
        "ID": node.id,
        "Version": {"Index": node.version},
        "CreatedAt": node.created_at.to_string(),
        "UpdatedAt": node.updated_at.to_string(),
        "Spec": {
            "Labels": node.labels,
            "Role": node.role.to_string(),
            "Availability": node.availability.to_string().to_lowercase(),
        },
        "Description": node.description.as_ref().map(description),
        "Status": {
            "State": node.state.to_string().to_lowercase(),
            "Addr": node.address,
            "LastSeen": node.last_seen.map(|at| at.to_string()),
        },
        "ManagerStatus": manager_status(node),
        "CertificateExpiresAt": node.certificate_expires_at.map(|at| at.to_string()),
    })
}

fn manager_status(node: &Node) -> Value {
    let status = node.manager_status();
    if status == ManagerStatus::None {
        return Value::Null;
    }
    json!({
        "Leader": node.leader,
        "Reachability": status.to_string().to_lowercase(),
        "Addr": node.address,
        "RaftID": node.manager.map(|manager| manager.raft_id),
        "Voter": node.manager.map(|manager| manager.voter),
        "Lag": node.manager.map(|manager| manager.lag),
    })
}

fn description(description: &Description) -> Value {
    json!({
        "Hostname": description.hostname,
        "Platform": {"Architecture": description.arch, "OS": description.os},
        "Resources": {
            "NanoCPUs": description.resources.nano_cpus,
            "MemoryBytes": description.resources.memory_bytes,
        },
        "Engine": {
            "Name": description.engine,
            "EngineVersion": description.engine_version,
            "Labels": description.engine_labels,
            "Unavailable": description.engine_unavailable,
        },
        "MusterVersion": description.muster_version,
        "Problems": description.problems,
    })
}
