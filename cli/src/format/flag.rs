//! The `--format` flag.

use std::str::FromStr;

use super::template::Template;
use crate::error::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// The command's own layout.
    Table,
    /// A table of the template's fields; tabs part the columns.
    TableOf(Template),
    Json,
    Template(Template),
}

/// The long help of every `--format`.
pub const HELP: &str = "\
How to show the result:
  table                    columns with a header (the default of lists)
  table {{.ID}}\\t{{.Name}}  a table of these fields, \\t between the columns
  json                     JSON: of a list one object on each line, of inspect the whole, indented
  {{.Field}}               text with fields in it, a line for each object

In a template {{.Field}} is a field's value, {{.Spec.Name}} a field inside a field, {{json .}} the whole object and
{{json .Field}} a field as JSON; \\t is a tab and \\n a new line. There are no other functions. A field that does not
exist is an error that names those that do.";

/// For commands that show one object.
#[must_use]
pub fn no_table(command: &str) -> Error {
    Error::Usage(format!(
        "{command} has no table of fields; use --format json or a template such as '{{{{.Version}}}}'"
    ))
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "table" => Ok(Format::Table),
            "json" => Ok(Format::Json),
            "" => Err("it is empty; write table, json or a template such as '{{.Name}}'".to_owned()),
            trimmed => match trimmed.strip_prefix("table ") {
                Some(template) => template.parse().map(Format::TableOf),
                None => text.parse().map(Format::Template),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_templates() {
        assert_eq!("table".parse(), Ok(Format::Table));
        assert_eq!("json".parse(), Ok(Format::Json));
        assert!(matches!("table {{.ID}}".parse(), Ok(Format::TableOf(_))));
        assert!(matches!("{{.ID}}".parse(), Ok(Format::Template(_))));
        assert!("".parse::<Format>().is_err());
    }

    #[test]
    fn text_without_a_field_is_a_mistake() {
        let error = "yaml".parse::<Format>().unwrap_err();
        assert!(error.contains("table, json"), "{error}");
    }
}
