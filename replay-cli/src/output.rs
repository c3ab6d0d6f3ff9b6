//! Results on stdout: an aligned table for people, JSON for programs.

use annals_projectors::process::arguments::print;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::exit::Failure;

pub mod cell;
pub mod fold;
mod layout;

pub use self::layout::{table, terminal_columns};

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people
    Table,
    /// One JSON document
    Json,
    /// One JSON record per line
    Jsonl,
}

/// One column of a table: its heading and where its value lies in a record, as a JSON pointer.
#[derive(Clone, Debug)]
pub struct Column {
    pub heading: String,
    pointer: String,
    /// Left out where the terminal is too narrow.
    optional: bool,
}

impl Column {
    /// A column; `pointer` as in RFC 6901, `/aggregate/id`.
    pub fn new(heading: &str, pointer: &str) -> Self {
        Self { heading: heading.to_owned(), pointer: pointer.to_owned(), optional: false }
    }

    /// A column that may be left out where the terminal is too narrow for all.
    pub fn optional(self) -> Self {
        Self { optional: true, ..self }
    }
}

/// Columns from pairs of heading and pointer.
pub fn columns(pairs: &[(&str, &str)]) -> Vec<Column> {
    pairs.iter().map(|(heading, pointer)| Column::new(heading, pointer)).collect()
}

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
}

impl Output {
    /// To stdout, in this format.
    pub fn new(format: Format) -> Self {
        Self { format }
    }

    /// The chosen format.
    pub fn format(self) -> Format {
        self.format
    }

    /// Writes a list: a table, a JSON array, or a line per record.
    pub fn records(self, records: &[Value], columns: &[Column]) -> Result<(), Failure> {
        match self.format {
            Format::Table => print_lines(&table(records, columns, terminal_columns())),
            Format::Json => print_lines(&pretty(&Value::Array(records.to_vec()))),
            Format::Jsonl => records.iter().try_for_each(|record| print_lines(&record.to_string())),
        }
    }

    /// Writes one thing: `human` as it is, or the document.
    pub fn document(self, document: &Value, human: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Table => print_lines(&human()),
            Format::Json => print_lines(&pretty(document)),
            Format::Jsonl => print_lines(&document.to_string()),
        }
    }
}

/// A table of records as text, without the line's end, as wide as it takes. What no record has is left out.
pub fn render(records: &[Value], columns: &[Column]) -> String {
    table(records, columns, None)
}

/// The same in at most so many columns.
pub fn render_within(records: &[Value], columns: &[Column], width_columns: u16) -> String {
    table(records, columns, Some(width_columns))
}

/// Names and values, one pair per line, as text.
pub fn render_pairs(pairs: &[(&str, String)]) -> String {
    let mut table = bare_table(None);
    for (name, value) in pairs {
        table.add_row([name, value.as_str()]);
    }
    trimmed(&mut table)
}

fn bare_table(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    match width {
        Some(width) => _ = table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic),
        // A pipe has no width: lines must not be broken there.
        None => _ = table.set_content_arrangement(ContentArrangement::Disabled).force_no_tty(),
    }
    table
}

fn trimmed(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }

    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn pretty(value: &Value) -> String {
    // Values have string keys only, so this cannot fail; the plain form would do as well.
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// Prints lines to stdout.
pub fn print_lines(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}

#[cfg(test)]
mod tests;
