//! An assignment as the engine's create request, and the labels by which containers are found again. Pure.
//!
//! Capabilities are the engine's default set, to which a spec adds or from which it takes; gaining more by setuid
//! programs is never possible. The engine restarts nothing and checks no health: both are the agent's.

use std::{collections::HashMap, time::Duration};

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, Mount as EngineMount, MountTmpfsOptions, MountType, PortBinding,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use muster_proto::{
    assignment::Assignment,
    endpoint::PortConfig,
    id::TaskId,
    mount::{Mount, MountSource},
    version::Fence,
};

use crate::executor::{self, Identity};

pub(super) const LABEL_CLUSTER: &str = "muster.cluster";
pub(super) const LABEL_NODE: &str = "muster.node";
const LABEL_TASK: &str = "muster.task";
const LABEL_FENCE: &str = "muster.fence";
const LABEL_SERVICE: &str = "muster.service";
const LABEL_SERVICE_NAME: &str = "muster.service-name";
const LABEL_SLOT: &str = "muster.slot";
const LABEL_ISOLATION_GRACE_MS: &str = "muster.isolation-grace-ms";

/// `web.3.<task id>`: unique, and made for no other attempt.
pub(super) fn name(assignment: &Assignment) -> String {
    format!("{}.{}.{}", assignment.service_name, assignment.slot, assignment.task_id)
}

/// Whose task a container is; None for one that is not this node's.
pub(super) fn owner(identity: &Identity, labels: &HashMap<String, String>) -> Option<(TaskId, Fence)> {
    let is = |label: &str, value: String| labels.get(label) == Some(&value);
    if !is(LABEL_CLUSTER, identity.cluster_id.to_string()) || !is(LABEL_NODE, identity.node_id.to_string()) {
        return None;
    }
    let task_id = labels.get(LABEL_TASK)?.parse().ok()?;
    let fence = labels.get(LABEL_FENCE)?.parse().ok()?;
    Some((task_id, Fence(fence)))
}

fn labels(identity: &Identity, assignment: &Assignment) -> HashMap<String, String> {
    let own = [
        (LABEL_CLUSTER, identity.cluster_id.to_string()),
        (LABEL_NODE, identity.node_id.to_string()),
        (LABEL_TASK, assignment.task_id.to_string()),
        (LABEL_FENCE, assignment.fence.to_string()),
        (LABEL_SERVICE, assignment.service_id.to_string()),
        (LABEL_SERVICE_NAME, assignment.service_name.clone()),
        (LABEL_SLOT, assignment.slot.to_string()),
    ];
    let user = assignment.template.spec.container.labels.clone();
    let grace = executor::isolation_grace(assignment);
    let grace = grace.map(|grace| (LABEL_ISOLATION_GRACE_MS.to_owned(), grace.as_millis().to_string()));
    // Ours last: a user's label must not make a container somebody else's.
    user.into_iter().chain(own.map(|(key, value)| (key.to_owned(), value))).chain(grace).collect()
}

/// As its label says; see [`crate::executor::Found`].
pub(super) fn isolation_grace(labels: &HashMap<String, String>) -> Option<Duration> {
    labels.get(LABEL_ISOLATION_GRACE_MS)?.parse().ok().map(Duration::from_millis)
}

pub(super) fn body(identity: &Identity, assignment: &Assignment, image: &str) -> ContainerCreateBody {
    let spec = &assignment.template.spec.container;
    let host_ports = &assignment.template.host_ports;
    ContainerCreateBody {
        image: Some(image.to_owned()),
        hostname: spec.hostname.clone(),
        user: spec.user.clone(),
        env: some(executor::environment(assignment)),
        entrypoint: some(spec.entrypoint.clone()),
        cmd: some(spec.args.clone()),
        working_dir: spec.workdir.clone(),
        labels: Some(labels(identity, assignment)),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: i64::try_from(spec.stop_grace_period.as_secs()).ok(),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        exposed_ports: some(host_ports.iter().map(port_key).collect()),
        host_config: Some(host_config(assignment)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(assignment: &Assignment) -> HostConfig {
    let spec = &assignment.template.spec.container;
    let limits = &assignment.limits;
    let memory = limit(limits.memory_bytes);
    let ulimits = spec.ulimits.iter().map(|ulimit| ResourcesUlimits {
        name: Some(ulimit.name.clone()),
        soft: Some(ulimit.soft),
        hard: Some(ulimit.hard),
    });
    let bindings = assignment.template.host_ports.iter().map(|port| (port_key(port), Some(vec![binding(port)])));
    HostConfig {
        nano_cpus: limit(limits.nano_cpus),
        memory,
        // No swap on top: a task over its limit is killed and says so, instead of slowing the host down.
        memory_swap: memory,
        pids_limit: limit(limits.pids),
        init: spec.init.then_some(true),
        readonly_rootfs: Some(spec.read_only),
        cap_add: some(spec.cap_add.clone()),
        cap_drop: some(spec.cap_drop.clone()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        ulimits: some(ulimits.collect()),
        mounts: some(spec.mounts.iter().map(mount).collect()),
        port_bindings: Some(bindings.collect()),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        ..HostConfig::default()
    }
}

/// Zero means none was asked for, to us and to the engine; what is too large for it is no limit either.
fn limit(value: u64) -> Option<i64> {
    i64::try_from(value).ok().filter(|value| *value > 0)
}

/// An empty list would replace what the image says.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn port_key(port: &PortConfig) -> String {
    format!("{}/{}", port.target, port.protocol)
}

fn binding(port: &PortConfig) -> PortBinding {
    // An empty port lets the engine choose one.
    let host_port = if port.published == 0 { String::new() } else { port.published.to_string() };
    PortBinding { host_ip: None, host_port: Some(host_port) }
}

fn mount(mount: &Mount) -> EngineMount {
    let base =
        EngineMount { target: Some(mount.target.clone()), read_only: Some(mount.read_only), ..EngineMount::default() };
    match &mount.source {
        MountSource::Volume { name } => {
            EngineMount { typ: Some(MountType::VOLUME), source: Some(name.clone()), ..base }
        }
        MountSource::Bind { path } => EngineMount { typ: Some(MountType::BIND), source: Some(path.clone()), ..base },
        MountSource::Tmpfs { size_bytes, mode } => EngineMount {
            typ: Some(MountType::TMPFS),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: limit(*size_bytes),
                mode: mode.map(i64::from),
                options: None,
            }),
            ..base
        },
    }
}
