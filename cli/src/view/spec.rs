//! A service's spec as JSON.

use muster_proto::{
    container::ContainerSpec,
    endpoint::PortConfig,
    health::{HealthCheck, HealthPolicy, Probe},
    mount::{Mount, MountSource},
    pin::ImagePin,
    placement::Placement,
    resources::ResourceRequirements,
    restart::RestartPolicy,
    rollout::UpdateConfig,
    service::{Mode, ServiceSpec},
    task::TaskSpec,
};
use serde_json::{Value, json};

use super::nanos;

#[must_use]
pub fn spec(spec: &ServiceSpec) -> Value {
    json!({
        "Name": spec.name,
        "Labels": spec.labels,
        "TaskTemplate": task(&spec.task),
        "Mode": mode(spec.mode),
        "UpdateConfig": rollout(&spec.update),
        "RollbackConfig": rollout(&spec.rollback),
        "EndpointSpec": {"Ports": ports(&spec.endpoint.ports)},
    })
}

/// Zero and empty are how the domain says "not set" of limits and texts.
fn set<T: PartialEq + Default>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn task(task: &TaskSpec) -> Value {
    json!({
        "ContainerSpec": container(&task.container),
        "Resources": resources(&task.resources),
        "RestartPolicy": restart(&task.restart),
        "Placement": placement(&task.placement),
        "ForceUpdate": task.force_update,
        "OnIsolation": task.on_isolation.to_string(),
    })
}

fn container(container: &ContainerSpec) -> Value {
    let (digest, local_id) = match &container.pin {
        Some(ImagePin::Digest(digest)) => (Some(digest), None),
        Some(ImagePin::LocalId(id)) => (None, Some(id)),
        None => (None, None),
    };
    json!({
        "Image": container.image,
        "ImageDigest": digest,
        "ImageID": local_id,
        "Labels": container.labels,
        "Command": set(container.entrypoint.clone()),
        "Args": set(container.args.clone()),
        "Hostname": container.hostname,
        "Env": set(container.env.clone()),
        "Dir": container.workdir,
        "User": container.user,
        "ReadOnly": set(container.read_only),
        "Init": set(container.init),
        "StopSignal": container.stop_signal,
        "StopGracePeriod": nanos(container.stop_grace_period),
        "Mounts": set(container.mounts.iter().map(mount).collect::<Vec<_>>()),
        "Healthcheck": health(&container.health),
        "CapabilityAdd": set(container.cap_add.clone()),
        "CapabilityDrop": set(container.cap_drop.clone()),
        "Ulimits": set(container.ulimits.iter()
            .map(|ulimit| json!({"Name": ulimit.name, "Soft": ulimit.soft, "Hard": ulimit.hard}))
            .collect::<Vec<_>>()),
    })
}

fn mount(mount: &Mount) -> Value {
    let (kind, source, tmpfs) = match &mount.source {
        MountSource::Volume { name } => ("volume", set(name.clone()), None),
        MountSource::Bind { path } => ("bind", Some(path.clone()), None),
        MountSource::Tmpfs { size_bytes, mode } => {
            ("tmpfs", None, Some(json!({"SizeBytes": set(*size_bytes), "Mode": mode})))
        }
    };
    json!({
        "Type": kind,
        "Source": source,
        "Target": mount.target,
        "ReadOnly": set(mount.read_only),
        "TmpfsOptions": tmpfs,
    })
}

/// Docker's `Test`, with HTTP and TCP beside CMD and CMD-SHELL. Null: the image's own.
fn health(policy: &HealthPolicy) -> Value {
    match policy {
        HealthPolicy::FromImage => Value::Null,
        HealthPolicy::Disabled => json!({"Test": ["NONE"]}),
        HealthPolicy::Check(HealthCheck { probe, interval, timeout, retries, start_period }) => json!({
            "Test": test(probe),
            "Interval": nanos(*interval),
            "Timeout": nanos(*timeout),
            "Retries": retries,
            "StartPeriod": nanos(*start_period),
        }),
    }
}

fn test(probe: &Probe) -> Vec<String> {
    match probe {
        Probe::Command { argv, shell: true } => [vec!["CMD-SHELL".to_owned()], argv.clone()].concat(),
        Probe::Command { argv, shell: false } => [vec!["CMD".to_owned()], argv.clone()].concat(),
        Probe::Http { port, path } => vec!["HTTP".to_owned(), format!("{port}{path}")],
        Probe::Tcp { port } => vec!["TCP".to_owned(), port.to_string()],
    }
}

fn resources(resources: &ResourceRequirements) -> Value {
    let ResourceRequirements { limits, reservations } = resources;
    json!({
        "Limits": {
            "NanoCPUs": set(limits.nano_cpus),
            "MemoryBytes": set(limits.memory_bytes),
            "Pids": set(limits.pids),
        },
        "Reservations": {
            "NanoCPUs": set(reservations.nano_cpus),
            "MemoryBytes": set(reservations.memory_bytes),
        },
    })
}

fn restart(restart: &RestartPolicy) -> Value {
    json!({
        "Condition": restart.condition.to_string(),
        "Delay": restart.delay.map(nanos),
        "MaxAttempts": restart.max_attempts,
        "Window": set(nanos(restart.window)),
    })
}

fn placement(placement: &Placement) -> Value {
    let constraints: Vec<String> = placement.constraints.iter().map(ToString::to_string).collect();
    let preferences: Vec<Value> = placement
        .preferences
        .iter()
        .map(|preference| json!({"Spread": {"SpreadDescriptor": preference.0.to_string()}}))
        .collect();
    json!({
        "Constraints": set(constraints),
        "Preferences": set(preferences),
        "MaxReplicas": placement.max_replicas_per_node,
    })
}

fn mode(mode: Mode) -> Value {
    match mode {
        Mode::Replicated { replicas } => json!({"Replicated": {"Replicas": replicas}}),
        Mode::Global => json!({"Global": {}}),
    }
}

fn rollout(config: &UpdateConfig) -> Value {
    json!({
        "Parallelism": config.parallelism,
        "Delay": nanos(config.delay),
        "FailureAction": config.failure_action.to_string(),
        "Monitor": nanos(config.monitor),
        // Through its text, or 0.1 would be shown as 0.10000000149.
        "MaxFailureRatio": config.max_failure_ratio.to_string().parse::<f64>().unwrap_or_default(),
        "Order": config.order.to_string(),
        "ProgressDeadline": nanos(config.progress_deadline),
        "Canary": set(config.canary),
    })
}

#[must_use]
pub(super) fn ports(ports: &[PortConfig]) -> Vec<Value> {
    let shown = ports.iter().map(|port| {
        json!({
            "Protocol": port.protocol.to_string(),
            "TargetPort": port.target,
            "PublishedPort": set(port.published),
            "PublishMode": port.mode.to_string(),
        })
    });
    shown.collect()
}
