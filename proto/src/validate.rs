//! Whether a well-formed spec, of a service or a node, makes sense: every rule is here, once.
//!
//! Called by the command line, so that a slip is told before anything is sent, and by managers, always: nothing that
//! reaches the log has skipped it. One file for each part of a spec.
//!
//! It sees one spec alone. What depends on the rest of the cluster (a name or a port that is taken, a node that could
//! hold it) is for managers, and whether an image exists is for whoever can pull it.

mod cluster;
mod container;
mod health;
mod labels;
mod mounts;
mod placement;
mod ports;
mod resources;
mod rollout;
#[cfg(test)]
mod sentences;

use std::time::Duration;

use prost::Message;

use crate::{
    node::NodeChange,
    parse::Quoted,
    service::{Mode, REPLICAS_MAX, ServiceSpec},
    show, v1,
};

/// A spec as its message is encoded: it is in memory and in the log of every manager, twice with its predecessor.
pub const SPEC_BYTES_MAX: usize = 256 << 10;

/// What a node's labels hold together: they are in every snapshot, and whole in the log with every change.
pub const NODE_LABELS_BYTES_MAX: usize = 64 << 10;

/// Of a service: a DNS label, which it shall become.
pub const NAME_BYTES_MAX: usize = 63;

/// Of arguments, variables, labels and the like: far more than anyone has, and little enough to look through.
pub const LIST_MAX: usize = 1024;

/// Longest stop grace period and longest pause in a health check: a task that takes a day to stop is stuck.
pub const TASK_WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Longest pause of a rollout or between restarts.
pub const SERVICE_WAIT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The rule that a spec breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Invalid {
    /// The path to the field, as the wire names it.
    pub field: String,
    /// What is wrong and what to do about it, for the user.
    pub text: String,
}

impl Invalid {
    fn new(field: impl Into<String>, happened: impl AsRef<str>, to_do: impl AsRef<str>) -> Self {
        Self { field: field.into(), text: format!("{}; {}", happened.as_ref(), to_do.as_ref()) }
    }
}

type Result = std::result::Result<(), Invalid>;

/// The first rule that `spec` breaks.
pub fn service_spec(spec: &ServiceSpec) -> Result {
    rules(spec)?;
    size(v1::ServiceSpec::from(spec).encoded_len())
}

/// The same of one whose message takes so many bytes.
pub fn received_spec(spec: &ServiceSpec, bytes: usize) -> Result {
    rules(spec)?;
    size(bytes)
}

fn rules(spec: &ServiceSpec) -> Result {
    service_name(&spec.name)?;
    labels::check("labels", "service", &spec.labels)?;
    mode(spec.mode)?;
    container::check(&spec.task.container)?;
    resources::check(&spec.task.resources)?;
    restart(spec)?;
    placement::check(&spec.task.placement, spec.mode)?;
    rollout::check("update", &spec.update, spec.task.on_isolation)?;
    rollout::check("rollback", &spec.rollback, spec.task.on_isolation)?;
    ports::check(&spec.endpoint)
}

fn size(bytes: usize) -> Result {
    if bytes > SPEC_BYTES_MAX {
        let limit = show::bytes(SPEC_BYTES_MAX as u64);
        return Err(Invalid::new(
            "",
            format!("the service takes {} to describe, and at most {limit} are accepted", show::bytes(bytes as u64)),
            "move large values into files of the image or a volume",
        ));
    }
    Ok(())
}

pub use cluster::cluster_spec;

/// The first rule that what an operator asks of a node breaks.
pub fn node_change(change: &NodeChange) -> Result {
    labels::check("labels", "node", &change.labels)?;
    let bytes = change.labels.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    if bytes > NODE_LABELS_BYTES_MAX {
        let limit = show::bytes(NODE_LABELS_BYTES_MAX as u64);
        return Err(Invalid::new(
            "labels",
            format!("the node's labels hold {} together, and at most {limit} are accepted", show::bytes(bytes as u64)),
            "keep to what services are placed by",
        ));
    }
    Ok(())
}

/// What a service may be called: letters and digits, and between them hyphens and underscores.
pub fn service_name(name: &str) -> Result {
    let to_do = "use up to 63 letters, digits, - and _, with a letter or digit at each end";
    let is_end = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    if name.is_empty() {
        return Err(Invalid::new("name", "the service has no name", to_do));
    }
    let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if bytes.len() <= NAME_BYTES_MAX && inner && is_end(bytes.first()) && is_end(bytes.last()) {
        return Ok(());
    }
    Err(Invalid::new("name", format!("a service cannot be called {}", Quoted(name)), to_do))
}

fn mode(mode: Mode) -> Result {
    match mode {
        Mode::Replicated { replicas } if replicas > REPLICAS_MAX => Err(Invalid::new(
            "mode.replicated.replicas",
            format!("{replicas} replicas are more than one service can have"),
            format!("ask for {REPLICAS_MAX} at most"),
        )),
        Mode::Replicated { .. } | Mode::Global => Ok(()),
    }
}

fn restart(spec: &ServiceSpec) -> Result {
    use crate::restart::RestartRecord;
    let restart = &spec.task.restart;
    let recent_max = u32::try_from(RestartRecord::RECENT_MAX).expect("a small constant");
    match restart.max_attempts {
        Some(0) => {
            return Err(Invalid::new(
                "task.restart.max_attempts",
                "a limit of 0 restarts was asked for",
                "leave it out for no limit, or ask for the restart condition none",
            ));
        }
        Some(attempts) if attempts > recent_max && !restart.window.is_zero() => {
            return Err(Invalid::new(
                "task.restart.max_attempts",
                format!("{attempts} restarts within a window are more than are counted"),
                format!("ask for {recent_max} at most, or for no window"),
            ));
        }
        Some(_) | None => {}
    }
    let delay = restart.delay.unwrap_or_default();
    at_most("task.restart.delay_ms", "restart delay", delay, SERVICE_WAIT_MAX)?;
    at_most("task.restart.window_ms", "restart window", restart.window, SERVICE_WAIT_MAX)
}

fn at_most(field: &str, what: &str, duration: Duration, max: Duration) -> Result {
    if duration <= max {
        return Ok(());
    }
    let shown = show::duration(duration);
    Err(Invalid::new(
        field,
        format!("the {what} of {shown} is too long"),
        format!("use {} at most", show::duration(max)),
    ))
}

fn count(field: &str, what: &str, count: usize, max: usize) -> Result {
    if count <= max {
        return Ok(());
    }
    Err(Invalid::new(field, format!("there are {count} {what}"), format!("keep to {max} at most")))
}

/// No text that reaches a kernel may hold a zero byte: it would end there.
fn no_zero_byte<'a>(field: &str, what: &str, texts: impl IntoIterator<Item = &'a str>) -> Result {
    match texts.into_iter().find(|text| text.contains('\0')) {
        None => Ok(()),
        Some(text) => Err(Invalid::new(field, format!("the {what} {} holds a zero byte", Quoted(text)), "take it out")),
    }
}
