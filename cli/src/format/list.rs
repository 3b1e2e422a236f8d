//! A list of objects as a table, as JSON lines or by a template.

use serde_json::{Map, Value};

use super::{
    flag::{self, Format},
    table::lay_out,
    template::Template,
};
use crate::{error::Error, out::Out};

/// How a list is shown, as all commands that list things have it.
#[derive(clap::Args, Clone, Debug)]
pub struct ListFlags {
    /// table, json or a template; see --help
    #[arg(long, value_name = "FORMAT", default_value = "table", long_help = flag::HELP)]
    pub format: Format,
    /// Only ids
    #[arg(short, long)]
    pub quiet: bool,
}

impl ListFlags {
    /// The command's own layout, to which more can be said than a row holds.
    #[must_use]
    pub fn is_for_people(&self) -> bool {
        match self.format {
            Format::Table => !self.quiet,
            Format::TableOf(_) | Format::Json | Format::Template(_) => false,
        }
    }

    pub fn print(&self, list: &List, out: &mut Out) -> Result<(), Error> {
        if self.quiet { list.print_ids(out) } else { list.print(&self.format, out) }
    }
}

/// A field of a list's rows and the title of its column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub field: &'static str,
    pub title: &'static str,
    pub shown: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    InTable,
    /// Only for templates and JSON.
    OnRequest,
}

impl Column {
    #[must_use]
    pub const fn new(field: &'static str, title: &'static str) -> Self {
        Self { field, title, shown: Shown::InTable }
    }

    #[must_use]
    pub const fn on_request(field: &'static str, title: &'static str) -> Self {
        Self { field, title, shown: Shown::OnRequest }
    }
}

/// Rows have a cell for each column, those on request too.
#[derive(Debug)]
pub struct List {
    pub columns: &'static [Column],
    pub rows: Vec<Vec<String>>,
}

impl List {
    pub fn print(&self, format: &Format, out: &mut Out) -> Result<(), Error> {
        let text = self.text(format).map_err(|why| Error::Usage(format!("--format: {why}")))?;
        out.bytes(text.as_bytes())
    }

    /// The first column alone, which is the id.
    pub fn print_ids(&self, out: &mut Out) -> Result<(), Error> {
        self.rows.iter().filter_map(|row| row.first()).try_for_each(|id| out.line(id))
    }

    fn text(&self, format: &Format) -> Result<String, String> {
        match format {
            Format::Table => Ok(self.table()),
            Format::TableOf(template) => self.table_of(template),
            Format::Json => Ok(self.rows.iter().map(|row| format!("{}\n", self.object(row))).collect()),
            Format::Template(template) => {
                self.check(template)?;
                self.rows.iter().map(|row| template.render(&self.object(row)).map(|line| line + "\n")).collect()
            }
        }
    }

    fn table(&self) -> String {
        let pick = |cell: &dyn Fn(usize, &Column) -> String| -> Vec<String> {
            let shown = self.columns.iter().enumerate().filter(|(_, column)| column.shown == Shown::InTable);
            shown.map(|(at, column)| cell(at, column)).collect()
        };
        let mut lines = vec![pick(&|_, column| column.title.to_owned())];
        lines.extend(self.rows.iter().map(|row| pick(&|at, _| row[at].clone())));
        lay_out(&lines)
    }

    fn table_of(&self, template: &Template) -> Result<String, String> {
        self.check(template)?;
        let title = |field: &str| {
            let column = self.columns.iter().find(|column| column.field == field);
            column.map_or_else(String::new, |column| column.title.to_owned())
        };
        let cells = |line: String| line.split('\t').map(str::to_owned).collect::<Vec<String>>();
        let mut lines = vec![cells(template.header(title))];
        for row in &self.rows {
            lines.push(cells(template.render(&self.object(row))?));
        }
        Ok(lay_out(&lines))
    }

    /// A wrong field is wrong in an empty list too.
    fn check(&self, template: &Template) -> Result<(), String> {
        template.render(&self.object(&vec![String::new(); self.columns.len()])).map(drop)
    }

    fn object(&self, row: &[String]) -> Value {
        let fields = self.columns.iter().zip(row);
        Value::Object(
            fields
                .map(|(column, cell)| (column.field.to_owned(), Value::String(cell.clone())))
                .collect::<Map<String, Value>>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const COLUMNS: &[Column] = &[
        Column::new("ID", "ID"),
        Column::new("DesiredState", "DESIRED STATE"),
        Column::on_request("Labels", "LABELS"),
    ];

    fn check(format: &str, expected: Expect) {
        let list = List {
            columns: COLUMNS,
            rows: vec![vec!["1".into(), "Running".into(), "a=b".into()], vec!["2".into(), "Ready".into(), "".into()]],
        };
        let shown = format.parse::<Format>().and_then(|format| list.text(&format));
        expected.assert_eq(&shown.unwrap_or_else(|why| why));
    }

    #[test]
    fn each_format() {
        check(
            "table",
            expect![[r#"
                ID        DESIRED STATE
                1         Running
                2         Ready
            "#]],
        );
        check(
            r"table {{.DesiredState}}\t{{.Labels}}",
            expect![[r#"
                DESIRED STATE   LABELS
                Running         a=b
                Ready
            "#]],
        );
        check(
            "json",
            expect![[r#"
                {"ID":"1","DesiredState":"Running","Labels":"a=b"}
                {"ID":"2","DesiredState":"Ready","Labels":""}
            "#]],
        );
        check(
            "{{.ID}}:{{.Labels}}",
            expect![[r#"
            1:a=b
            2:
        "#]],
        );
        check("{{.Id}}", expect!["there is no field .Id; the fields are ID, DesiredState, Labels"]);
    }
}
