//! Resource limits of processes.

use std::collections::BTreeSet;

use super::super::{Invalid, Result};
use crate::{
    container::Ulimit,
    parse::{Quoted, ULIMIT_NAMES},
};

pub(super) fn check(ulimits: &[Ulimit]) -> Result {
    let field = "task.container.ulimits";
    let mut seen = BTreeSet::new();
    for ulimit in ulimits {
        let name = ulimit.name.as_str();
        if !ULIMIT_NAMES.contains(&name) {
            return Err(Invalid::new(
                field,
                format!("there is no ulimit {}", Quoted(name)),
                format!("use one of {}", ULIMIT_NAMES.join(", ")),
            ));
        }
        if !seen.insert(name) {
            return Err(Invalid::new(field, format!("the ulimit {name} is given twice"), "leave one of them out"));
        }
        if ulimit.soft < -1 || ulimit.hard < -1 {
            return Err(Invalid::new(field, format!("the ulimit {name} is negative"), "write -1 for no limit"));
        }
        if ulimit.is_inverted() {
            return Err(Invalid::new(
                field,
                format!("the soft limit of the ulimit {name} is above its hard limit"),
                "lower the first or raise the second",
            ));
        }
    }
    Ok(())
}
