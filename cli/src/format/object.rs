//! One object as JSON or by a template: for `inspect`, `info` and `version`.

use serde::Serialize;
use serde_json::Value;

use super::template::Template;
use crate::error::Error;

/// Fields stay in the order of the struct. Unset ones are null here, so that templates know them.
#[must_use]
pub fn value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).expect("a view has text keys and finite numbers only")
}

/// Indented, without the fields that are not set.
#[must_use]
pub fn pretty(value: Value) -> String {
    format!("{:#}", pruned(value))
}

/// On one line, without the fields that are not set.
#[must_use]
pub fn compact(value: Value) -> String {
    pruned(value).to_string()
}

pub fn rendered(template: &Template, value: &Value) -> Result<String, Error> {
    template.render(value).map_err(|why| Error::Usage(format!("--format: {why}")))
}

fn pruned(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let set = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(set.map(|(name, value)| (name, pruned(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(pruned).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}
