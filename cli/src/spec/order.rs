//! What to know of an order that was asked for by name where a slot cannot run twice. It is no mistake in every case, so
//! it is warned of and not refused: a host port is free on another node, a program may share its volume.

use muster_proto::{
    mount::MountSource,
    rollout::UpdateOrder,
    service::{Mode, ServiceSpec},
};

#[must_use]
pub fn warnings(spec: &ServiceSpec) -> Vec<String> {
    let configs = [("update", &spec.update), ("rollback", &spec.rollback)];
    let start_first = configs.into_iter().filter(|(_, config)| config.order == UpdateOrder::StartFirst);
    start_first.flat_map(|(kind, _)| port(kind, spec).into_iter().chain(volume(kind, spec))).collect()
}

/// One that is left to the engine is another each time.
fn port(kind: &str, spec: &ServiceSpec) -> Option<String> {
    let port = spec.endpoint.host_ports().map(|port| port.published).find(|port| *port != 0)?;
    Some(match spec.mode {
        Mode::Replicated { .. } => format!(
            "--{kind}-order start-first with host port {port} needs a node on which no task of the service runs, and \
             without one each {kind} waits until its progress deadline and fails; --{kind}-order auto stops the old task \
             first"
        ),
        Mode::Global => format!(
            "--{kind}-order start-first with host port {port} can never start a second task on the node of the first, so \
             each {kind} of this global service waits until its progress deadline and fails; use --{kind}-order auto, \
             which stops the old task first"
        ),
    })
}

fn volume(kind: &str, spec: &ServiceSpec) -> Option<String> {
    let volumes = spec.task.container.mounts.iter().filter(|mount| mount.is_exclusive());
    let volume = volumes.map(|mount| &mount.source).find_map(|source| match source {
        MountSource::Volume { name } => Some(name),
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    })?;
    Some(format!(
        "--{kind}-order start-first lets the old and the new task of a slot write to volume {volume} at once; use \
         --{kind}-order auto, which stops the old one first, unless the program can share it"
    ))
}
