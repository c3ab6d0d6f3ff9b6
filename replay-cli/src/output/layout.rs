//! How a table fits the terminal: optional columns go first, then lines are broken between words, and where that is not
//! enough each record becomes a block of lines.

use std::io::{self, IsTerminal};

use comfy_table::{Attribute, Cell, CellAlignment, ColumnConstraint, Table, Width};
use serde_json::Value;

use super::fold::{Edges, fold};
use super::{Column, bare_table, cell, trimmed};

/// Between two columns, characters.
const GAP: usize = 2;
/// A longer word (an address, a digest; no id) may be broken, characters.
const WORD_MAX: usize = 36;
/// What such a word is left at least, characters.
const BROKEN_WORD: usize = 12;

/// The width of the terminal that stdout goes to; nothing where there is none, and lines must not be broken.
pub fn terminal_columns() -> Option<u16> {
    io::stdout().is_terminal().then(|| Table::new().width()).flatten()
}

/// One column with its texts.
struct Texts<'a> {
    column: &'a Column,
    heading: String,
    cells: Vec<String>,
    numeric: bool,
}

impl<'a> Texts<'a> {
    fn of(column: &'a Column, records: &[Value]) -> Self {
        let values = || records.iter().map(|record| record.pointer(&column.pointer).unwrap_or(&Value::Null));
        let mut given = values().filter(|value| !value.is_null()).peekable();
        Self {
            column,
            heading: column.heading.to_uppercase(),
            numeric: given.peek().is_some() && given.all(Value::is_number),
            cells: values().map(cell::human).collect(),
        }
    }

    /// The least width that breaks no word, except those that are too long for any terminal.
    fn least(&self) -> usize {
        let texts = std::iter::once(&self.heading).chain(&self.cells);
        let longest = texts.flat_map(|text| text.split(' ')).map(|word| word.chars().count()).max().unwrap_or(0);
        if longest > WORD_MAX { BROKEN_WORD } else { longest }
    }
}

/// Records as a table of at most `width` characters, or as wide as it takes. What no record has is left out.
pub fn table(records: &[Value], columns: &[Column], width: Option<u16>) -> String {
    let given =
        |column: &&Column| records.iter().any(|record| record.pointer(&column.pointer).is_some_and(|v| !v.is_null()));
    let shown = columns.iter().filter(|column| records.is_empty() || given(column));
    let mut texts: Vec<Texts<'_>> = shown.map(|column| Texts::of(column, records)).collect();
    let Some(width) = width else { return rows(&texts, records.len(), None) };
    let too_wide = |texts: &[Texts<'_>]| {
        let least: usize = texts.iter().map(|text| text.least() + GAP).sum();
        least > usize::from(width) + GAP
    };
    let mut left_out = Vec::new();
    while too_wide(&texts) {
        let Some(last) = texts.iter().rposition(|text| text.column.optional) else {
            return blocks(&texts, records.len(), width.into());
        };
        left_out.insert(0, texts.remove(last).heading);
    }
    let mut text = rows(&texts, records.len(), Some(width));
    if !left_out.is_empty() {
        text.push_str(&format!("\n(too narrow for {}; -o json has all)", left_out.join(", ")));
    }
    text
}

fn rows(texts: &[Texts<'_>], records: usize, width: Option<u16>) -> String {
    let mut table = bare_table(width);
    let align = |text: &Texts<'_>| if text.numeric { CellAlignment::Right } else { CellAlignment::Left };
    table.set_header(texts.iter().map(|text| {
        let cell = Cell::new(&text.heading).set_alignment(align(text));
        if width.is_some() { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    for record in 0..records {
        table.add_row(texts.iter().map(|text| Cell::new(&text.cells[record]).set_alignment(align(text))));
    }
    if width.is_some() {
        for (column, text) in table.column_iter_mut().zip(texts) {
            let least = u16::try_from(text.least() + GAP).unwrap_or(u16::MAX);
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
        }
    }
    trimmed(&mut table)
}

/// A line per value, or as many as it needs, and a blank line between records.
fn blocks(texts: &[Texts<'_>], records: usize, width: usize) -> String {
    let headings = texts.iter().map(|text| text.heading.chars().count()).max().unwrap_or(0);
    let block = |record: usize| {
        let lines = texts.iter().map(|text| {
            let first = format!("{:headings$}  ", text.heading);
            fold(
                &text.cells[record],
                width,
                &Edges { first: &first, rest: &" ".repeat(headings + GAP), unfinished: "" },
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    (0..records).map(block).collect::<Vec<_>>().join("\n\n")
}
