//! A node as JSON.

use serde_json::{Value, json};

use crate::object::{Node, node::Description};

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
        "Status": {"State": node.state.to_string().to_lowercase(), "Addr": node.address},
        "ManagerStatus": manager_status(node),
    })
}

fn manager_status(node: &Node) -> Value {
    match node.role {
        muster_proto::node::Role::Manager => json!({"Leader": node.leader, "Addr": node.address}),
        muster_proto::node::Role::Worker => Value::Null,
    }
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
