//! Environment variables.

use super::super::{Invalid, LIST_MAX, Result, count, no_zero_byte};
use crate::{parse::Quoted, show};

/// What Linux accepts for one variable (MAX_ARG_STRLEN).
const ENTRY_BYTES_MAX: usize = 128 << 10;

pub(super) fn check(env: &[String]) -> Result {
    let field = "task.container.env";
    count(field, "environment variables", env.len(), LIST_MAX)?;
    no_zero_byte(field, "environment variable", env.iter().map(String::as_str))?;
    for entry in env {
        match entry.split_once('=') {
            Some((key, _)) if !key.is_empty() => {}
            Some(_) | None => {
                return Err(Invalid::new(
                    field,
                    format!("{} is not an environment variable with a value", Quoted(entry)),
                    "write it like KEY=value",
                ));
            }
        }
        if entry.len() > ENTRY_BYTES_MAX {
            let limit = show::bytes(ENTRY_BYTES_MAX as u64);
            return Err(Invalid::new(
                field,
                format!("the environment variable {} is longer than {limit}", Quoted(entry)),
                "move its value into a file of the image or a volume",
            ));
        }
    }
    Ok(())
}
