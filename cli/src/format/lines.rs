//! `Name: value` lines for people, indented by depth. Those that have no value are left out, and headings with
//! nothing under them. Each is one line whatever its value holds, and none moves a terminal's cursor.

use std::fmt;

use super::text::one_line;

/// Enough for the longest name in use, so that values stand under one another.
const NAME_WIDTH: usize = 20;
const INDENT: &str = " ";

#[derive(Debug, Default)]
pub struct Lines {
    text: String,
    /// Printed when something comes under it.
    heading: Option<String>,
}

impl Lines {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn heading(&mut self, name: &str) -> &mut Self {
        self.heading = Some(format!("{name}:\n"));
        self
    }

    /// At the margin.
    pub fn top(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        self.heading = None;
        self.line("", name, &value.to_string())
    }

    /// Under a heading.
    pub fn under(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        self.line(INDENT, name, &value.to_string())
    }

    /// What goes on from the line before, under its value.
    pub fn more(&mut self, value: impl fmt::Display) -> &mut Self {
        self.text.push_str(&format!("{:NAME_WIDTH$}{}\n", "", one_line(&value.to_string())));
        self
    }

    fn line(&mut self, indent: &str, name: &str, value: &str) -> &mut Self {
        if !value.is_empty() {
            let width = NAME_WIDTH - indent.len();
            self.text.extend(self.heading.take());
            self.text.push_str(&format!("{indent}{:<width$}{}\n", format!("{name}:"), one_line(value)));
        }
        self
    }

    #[must_use]
    pub fn text(self) -> String {
        self.text
    }
}
