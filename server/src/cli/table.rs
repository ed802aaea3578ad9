//! Aligned tables.

use std::fmt::Write as _;

/// Which side of a column is straight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table with a head line; columns are as wide as their widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Makes a table; columns of numbers are aligned to the right.
    pub(crate) fn new<const N: usize>(columns: [(&'static str, Align); N]) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row. What cannot be shown in one line is replaced, as texts come from servers and other users.
    pub(crate) fn push<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// Writes the table, or `empty` if it has no row.
    pub(crate) fn render(&self, empty: &str) -> String {
        if self.rows.is_empty() {
            return format!("{empty}\n");
        }
        let head: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let lines = || std::iter::once(&head).chain(&self.rows);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max())
            .map(Option::unwrap_or_default)
            .collect();
        let mut text = String::new();
        for line in lines() {
            let mut written = String::new();
            for ((cell, width), (_, align)) in line.iter().zip(&widths).zip(&self.columns) {
                // Writing to a string cannot fail.
                let _ = match align {
                    Align::Left => write!(written, "{cell:<width$}  "),
                    Align::Right => write!(written, "{cell:>width$}  "),
                };
            }
            text.push_str(written.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Writes facts one below the other, their values aligned.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len() + 1).max().unwrap_or_default();
    facts.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{:<width$} {}", format!("{name}:"), printable(value));
        text
    })
}

/// Replaces control characters, so that no text from elsewhere steers the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let mut table = Table::new([("name", Align::Left), ("size", Align::Right), ("note", Align::Left)]);
        assert_eq!(table.render("nothing"), "nothing\n");
        table.push(["ä".to_owned(), "1 B".to_owned(), String::new()]);
        table.push(["long name".to_owned(), "1.00 KiB".to_owned(), "x\x1b[31m".to_owned()]);
        let text = table.render("nothing");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            ["name           size  note", "ä               1 B", "long name  1.00 KiB  x\u{fffd}[31m"]
        );
    }

    #[test]
    fn facts_are_aligned() {
        let text = facts(&[("a", "1".to_owned()), ("long", "2".to_owned())]);
        assert_eq!(text, "a:    1\nlong: 2\n");
    }
}
