//! Constraints and preferences.

use super::{Invalid, Result, count};
use crate::{parse, placement::Placement, service::Mode};

/// Each is checked for each node, for each task.
const CONSTRAINTS_MAX: usize = 64;
const PREFERENCES_MAX: usize = 8;

pub(super) fn check(placement: &Placement, mode: Mode) -> Result {
    let refused = |field: &str, error: parse::ParseError| Invalid { field: field.to_owned(), text: error.to_string() };
    let field = "task.placement.constraints";
    count(field, "constraints", placement.constraints.len(), CONSTRAINTS_MAX)?;
    for constraint in &placement.constraints {
        parse::constraint(&constraint.to_string()).map_err(|error| refused(field, error))?;
    }
    let field = "task.placement.preferences";
    count(field, "placement preferences", placement.preferences.len(), PREFERENCES_MAX)?;
    for preference in &placement.preferences {
        parse::preference(&preference.to_string()).map_err(|error| refused(field, error))?;
    }
    let field = "task.placement.max_replicas_per_node";
    match (placement.max_replicas_per_node, mode) {
        (None, Mode::Global | Mode::Replicated { .. }) => Ok(()),
        (Some(_), Mode::Global) => Err(Invalid::new(
            field,
            "a global service has one task on each node already",
            "leave out the maximum of replicas per node",
        )),
        (Some(0), Mode::Replicated { .. }) => {
            Err(Invalid::new(field, "a maximum of 0 replicas per node lets none run", "use 1 or more, or leave it out"))
        }
        (Some(_), Mode::Replicated { .. }) => Ok(()),
    }
}
