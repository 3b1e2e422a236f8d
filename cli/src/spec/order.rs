//! What to know of an order that was asked for by name where a slot cannot run twice. It is no mistake in every case, so
//! it is warned of and not refused: a host port is free on another node, a program may share its volume.

use std::fmt;

use muster_proto::{
    mount::MountSource,
    rollout::{UpdateConfig, UpdateOrder},
    service::{Mode, ServiceSpec},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Update,
    Rollback,
}

impl Kind {
    pub const ALL: &[Self] = &[Kind::Update, Kind::Rollback];

    fn config(self, spec: &ServiceSpec) -> &UpdateConfig {
        match self {
            Kind::Update => &spec.update,
            Kind::Rollback => &spec.rollback,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Kind::Update => "update",
            Kind::Rollback => "rollback",
        })
    }
}

/// `asked`: those about which something is to be said.
#[must_use]
pub fn warnings(spec: &ServiceSpec, asked: &[Kind]) -> Vec<String> {
    let start_first = asked.iter().filter(|kind| kind.config(spec).order == UpdateOrder::StartFirst);
    start_first.flat_map(|kind| port(*kind, spec).into_iter().chain(volume(*kind, spec))).collect()
}

/// One that is left to the engine is another each time.
fn port(kind: Kind, spec: &ServiceSpec) -> Option<String> {
    let port = spec.endpoint.host_ports().map(|port| port.published).find(|port| *port != 0)?;
    let wait = match kind.config(spec).progress_deadline.is_zero() {
        true => "waits for ever, as it has no progress deadline",
        false => "waits until its progress deadline and fails",
    };
    Some(match spec.mode {
        Mode::Replicated { .. } => format!(
            "--{kind}-order start-first with host port {port} needs a node on which no task of the service runs, and \
             without one each {kind} {wait}; --{kind}-order auto stops the old task \
             first"
        ),
        Mode::Global => format!(
            "--{kind}-order start-first with host port {port} can never start a second task on the node of the first, so \
             each {kind} of this global service {wait}; use --{kind}-order auto, \
             which stops the old task first"
        ),
    })
}

fn volume(kind: Kind, spec: &ServiceSpec) -> Option<String> {
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
