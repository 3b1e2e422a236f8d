//! Between the wire and the domain, one file for each concept.
//!
//! Called at the edges only: RPC servers and clients. Towards the wire every conversion is total
//! (`impl From<&Domain> for v1::X`). From the wire nothing is trusted (`impl TryFrom<v1::X> for Domain`): a message that
//! lacks what it needs, or holds what the domain cannot, is a [`ConvertError`] that names the field; nothing required
//! is filled in silently and nothing panics.
//!
//! Deliberately not here: whether a well-formed spec makes sense ([`crate::validate`]), and how long texts and lists
//! may be, which the size limit of a message and [`crate::validate`] bound.
//!
//! Objects that are only ever shown (Service, Task, Node, Rollout) go to the wire and never back: clients show the wire
//! type, and take the parts they need to decide something (a spec, a status, a state) back into the domain.

mod assignment;
mod choice;
mod cluster;
mod container;
mod field;
mod mount;
mod node;
mod orders;
mod placement;
mod resources;
mod rollout;
mod service;
mod task;

#[cfg(test)]
pub(crate) mod any;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod refused;

pub use node::{ManagerNow, NodeNow};

/// Why a message is not what it claims to be: `task.container.mounts[0].target is missing`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {wrong}")]
pub struct ConvertError {
    /// The path to the field.
    pub field: String,
    pub wrong: String,
}

impl ConvertError {
    fn new(field: &str, wrong: impl Into<String>) -> Self {
        Self { field: field.to_owned(), wrong: wrong.into() }
    }

    /// The same, seen from the message that holds `outer`.
    fn within(self, outer: &str) -> Self {
        let dot = if self.field.is_empty() { "" } else { "." };
        Self { field: format!("{outer}{dot}{}", self.field), wrong: self.wrong }
    }
}

type Result<T> = std::result::Result<T, ConvertError>;
