//! `Name: value` lines for people, indented by depth, without those that have no value.

use std::fmt;

/// Enough for the longest name in use, so that values stand under one another.
const NAME_WIDTH: usize = 20;
const INDENT: &str = " ";

#[derive(Debug, Default)]
pub struct Lines(String);

impl Lines {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn heading(&mut self, name: &str) -> &mut Self {
        self.0.push_str(&format!("{name}:\n"));
        self
    }

    /// At the margin.
    pub fn top(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        self.line("", name, &value.to_string())
    }

    /// Under a heading.
    pub fn under(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        self.line(INDENT, name, &value.to_string())
    }

    fn line(&mut self, indent: &str, name: &str, value: &str) -> &mut Self {
        if !value.is_empty() {
            let width = NAME_WIDTH - indent.len();
            self.0.push_str(&format!("{indent}{:<width$}{value}\n", format!("{name}:")));
        }
        self
    }

    #[must_use]
    pub fn text(self) -> String {
        self.0
    }
}
