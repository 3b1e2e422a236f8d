//! What the daemon answers, as the commands use it. Wire types stop here: states become closed enums and times become
//! timestamps, or the answer is refused as a whole.
//!
//! These are not the manager's own types because the wire carries less of them: why a task waits arrives as text.

pub mod cluster;
pub mod node;
pub mod service;
pub mod task;

pub use cluster::Cluster;
pub use node::{ManagerStatus, Node};
pub use service::Service;
pub use task::Task;

use crate::error::Error;

/// The other side speaks another version of the protocol.
pub(crate) fn unreadable(what: &str, why: impl std::fmt::Display) -> Error {
    Error::Failed(format!(
        "cannot read the daemon's answer: {what}: {why}; it may be of another version, compare with `muster version`"
    ))
}

pub(crate) fn missing(what: &str) -> Error {
    unreadable(what, "it is missing")
}
