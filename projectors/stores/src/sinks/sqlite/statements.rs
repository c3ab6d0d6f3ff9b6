//! The SQL text of one read model's tables, for every number of rows that one statement may carry: powers of two, so that
//! a batch of any size is a handful of prepared statements.

use std::fmt::Write as _;
use std::sync::Arc;

use annals_model::projection::{ReadModel, TableShape};

use crate::limits;
use crate::sinks::shape::{KEY, all_columns, is_of_rows, joined, measures, quoted};
use crate::sinks::statements::{self, OfTable, Pages, conflict_assignments};

/// The statements of all tables of a read model.
pub(super) type Statements = statements::Statements<TableStatements>;

impl Statements {
    pub(super) fn new(model: &ReadModel) -> Self {
        Self { tables: model.tables().iter().map(TableStatements::new).collect() }
    }
}

/// The statements of one table.
#[derive(Debug)]
pub(super) struct TableStatements {
    pub(super) shape: TableShape,
    /// Values per row.
    pub(super) width: usize,
    /// Text of the statement for 2^index rows.
    insert: Vec<Arc<str>>,
    write: Vec<Arc<str>>,
    select: Vec<Arc<str>>,
    delete_empty: Vec<Arc<str>>,
    pub(super) pages: Pages,
}

impl OfTable for TableStatements {
    fn shape(&self) -> &TableShape {
        &self.shape
    }
}

impl TableStatements {
    fn new(shape: &TableShape) -> Self {
        let table = quoted(shape.name);
        let columns = all_columns(shape);
        let width = columns.len();
        let list = joined(&columns);
        let rows_max = limits::SINK_STATEMENT_ROWS_MAX.min(limits::SINK_STATEMENT_PARAMETERS_MAX / width);
        let each = |text: &dyn Fn(usize) -> String| -> Vec<Arc<str>> {
            (0..=rows_max.ilog2()).map(|power| text(1 << power).into()).collect()
        };
        let insert = |rows| format!("INSERT INTO {table} AS t ({list}) VALUES {}", places(rows, width));
        let set = conflict_assignments(shape);
        let write = |rows| format!("{} ON CONFLICT ({}) DO UPDATE SET {set}", insert(rows), joined(&KEY));
        let on_key = KEY.map(|name| format!("t.{name} = k.{name}")).join(" AND ");
        let with_keys = |rows| format!("WITH k ({}) AS (VALUES {})", joined(&KEY), places(rows, KEY.len()));
        let of_t = columns.iter().map(|name| format!("t.{}", quoted(name))).collect::<Vec<_>>().join(", ");
        // CROSS JOIN: SQLite keeps the order, so each key is one search of the primary key.
        let select = |rows| format!("{} SELECT {of_t} FROM k CROSS JOIN {table} AS t ON {on_key}", with_keys(rows));
        let empty = measures(shape).map(|name| format!("{} = 0", quoted(name))).collect::<Vec<_>>().join(" AND ");
        let delete_empty = |rows| {
            let keys = places(rows, KEY.len());
            format!("DELETE FROM {table} WHERE ({}) IN (VALUES {keys}) AND {empty}", joined(&KEY))
        };
        Self {
            width,
            insert: each(&insert),
            write: each(&write),
            select: each(&select),
            delete_empty: if is_of_rows(shape) { Vec::new() } else { each(&delete_empty) },
            pages: Pages::new(&table, shape),
            shape: shape.clone(),
        }
    }

    /// Inserts as many new rows as [`Self::chunks`] gave.
    pub(super) fn insert(&self, rows: usize) -> Arc<str> {
        text_for(&self.insert, rows)
    }

    /// Inserts or replaces rows; of a rollup, adds to the measures.
    pub(super) fn write(&self, rows: usize) -> Arc<str> {
        text_for(&self.write, rows)
    }

    /// Reads the rows of as many keys.
    pub(super) fn select(&self, rows: usize) -> Arc<str> {
        text_for(&self.select, rows)
    }

    /// Deletes those of as many keys whose measures are all 0.
    pub(super) fn delete_empty(&self, rows: usize) -> Arc<str> {
        text_for(&self.delete_empty, rows)
    }

    /// Cuts rows into pieces that one statement may carry.
    pub(super) fn chunks<'a, T>(&self, mut rows: &'a [T]) -> impl Iterator<Item = &'a [T]> {
        let largest = 1usize << (self.write.len() - 1);
        std::iter::from_fn(move || {
            let power = rows.len().min(largest).checked_ilog2()?;
            let (chunk, rest) = rows.split_at(1 << power);
            rows = rest;
            Some(chunk)
        })
    }
}

fn text_for(texts: &[Arc<str>], rows: usize) -> Arc<str> {
    texts[rows.ilog2() as usize].clone()
}

/// `(?, ?), (?, ?)`
fn places(rows: usize, width: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(", "));
    let mut text = String::with_capacity(rows * (row.len() + 2));
    for index in 0..rows {
        let separator = if index == 0 { "" } else { ", " };
        let _ = write!(text, "{separator}{row}");
    }
    text
}
