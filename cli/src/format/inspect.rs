//! What `inspect` commands share: an array of objects, a template for each, or text for people.

use serde_json::Value;

use super::{
    flag::{self, Format},
    object,
};
use crate::{error::Error, flags, out::Out};

#[derive(clap::Args, Clone, Debug)]
pub struct InspectFlags {
    /// json or a template; see --help [default: json]
    #[arg(long, value_name = "FORMAT", long_help = flag::HELP)]
    pub format: Option<Format>,
    /// Show it for people, not for programs
    #[arg(long)]
    pub pretty: bool,
}

impl InspectFlags {
    /// `people` is the text of each object for `--pretty`.
    pub fn print(&self, objects: Vec<Value>, people: &[String], out: &mut Out) -> Result<(), Error> {
        flags::apart(("--pretty", self.pretty), &[("--format", self.format.is_some())])?;
        if self.pretty {
            return out.bytes(people.join("\n").as_bytes());
        }
        match self.format.as_ref().unwrap_or(&Format::Json) {
            Format::Json => out.line(object::pretty(Value::Array(objects))),
            Format::Template(template) => {
                objects.iter().try_for_each(|value| out.line(object::rendered(template, value)?))
            }
            Format::Table | Format::TableOf(_) => Err(Error::Usage(
                "inspect has no table; use --pretty, --format json or a template such as '{{.ID}}'".to_owned(),
            )),
        }
    }
}
