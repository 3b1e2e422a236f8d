//! Labels of services and containers.

use std::collections::BTreeMap;

use super::{Invalid, LIST_MAX, Result, count};
use crate::{container::ContainerSpec, parse::Quoted, show};

const KEY_BYTES_MAX: usize = 255;
/// Enough for the rules that proxies read from labels.
const VALUE_BYTES_MAX: usize = 8 << 10;

pub(super) fn check(field: &str, whose: &str, labels: &BTreeMap<String, String>) -> Result {
    count(field, &format!("labels on the {whose}"), labels.len(), LIST_MAX)?;
    for (key, value) in labels {
        if key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Invalid::new(
                field,
                format!("a {whose} label cannot be called {}", Quoted(key)),
                format!("use 1 to {KEY_BYTES_MAX} characters without spaces"),
            ));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(Invalid::new(
                field,
                format!("the value of the {whose} label {} is too long", Quoted(key)),
                format!("keep it to {}", show::bytes(VALUE_BYTES_MAX as u64)),
            ));
        }
    }
    Ok(())
}

/// The executor would put its own value over the user's, so the user is told instead.
pub(super) fn none_reserved(field: &str, labels: &BTreeMap<String, String>) -> Result {
    match labels.keys().find(|key| key.starts_with(ContainerSpec::RESERVED_LABELS)) {
        None => Ok(()),
        Some(key) => Err(Invalid::new(
            field,
            format!("the container label {} is the cluster's own", Quoted(key)),
            format!("use a name that does not start with {}", ContainerSpec::RESERVED_LABELS),
        )),
    }
}
