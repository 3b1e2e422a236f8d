//! Columns of text laid out as docker does: no borders, three spaces between, no column narrower than ten.

use super::text::one_line;

/// Docker's minimum, which keeps short columns apart enough to read.
const COLUMN_WIDTH_MIN: usize = 10;
const GAP: usize = 3;

/// The rows as lines, without spaces at their ends. Rows may differ in length.
#[must_use]
pub fn lay_out(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            let longest = rows.iter().filter_map(|row| row.get(at)).map(|cell| one_line(cell).chars().count()).max();
            (longest.unwrap_or(0) + GAP).max(COLUMN_WIDTH_MIN)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let line: String =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{:<width$}", one_line(cell))).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [["ID", "NAME", "ERROR"], ["1", "a-long-service", "line\nbreak"], ["2", "b", ""]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        expect![[r#"
            ID        NAME             ERROR
            1         a-long-service   line break
            2         b
        "#]]
        .assert_eq(&lay_out(&rows));
    }
}
