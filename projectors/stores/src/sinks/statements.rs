//! The statements of a read model's tables: what they are in every database.

use std::sync::Arc;

use annals_model::projection::{TableKind, TableShape};

use super::shape::{KEY, all_columns, joined, measures, quoted};

/// The statements of one table, in one database.
pub(super) trait OfTable {
    /// The table.
    fn shape(&self) -> &TableShape;
}

/// The statements of all tables.
#[derive(Debug)]
pub(super) struct Statements<T> {
    /// In the order of [`ReadModel::tables`](annals_model::projection::ReadModel::tables).
    pub(super) tables: Vec<T>,
}

impl<T: OfTable> Statements<T> {
    /// The tables of rows, each with its index among them.
    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, &T)> {
        self.tables.iter().filter_map(|table| match table.shape().kind {
            TableKind::Rows(index) => Some((index, table)),
            TableKind::Rollup(_) => None,
        })
    }

    /// The tables of rollups, each with its index among them.
    pub(super) fn rollups(&self) -> impl Iterator<Item = (usize, &T)> {
        self.tables.iter().filter_map(|table| match table.shape().kind {
            TableKind::Rows(_) => None,
            TableKind::Rollup(index) => Some((index, table)),
        })
    }
}

/// Reads rows in key order, page by page.
#[derive(Debug)]
pub(super) struct Pages {
    /// The next rows: three values of the key behind which they lie, then the number of rows.
    pub(super) after: Arc<str>,
    /// The first rows: the number of rows.
    pub(super) first: Arc<str>,
}

impl Pages {
    /// Of a table by the name that statements know it by.
    pub(super) fn new(table: &str, shape: &TableShape) -> Self {
        let (list, key) = (joined(&all_columns(shape)), joined(&KEY));
        Self {
            after: format!("SELECT {list} FROM {table} WHERE ({key}) > ($1, $2, $3) ORDER BY {key} LIMIT $4").into(),
            first: format!("SELECT {list} FROM {table} ORDER BY {key} LIMIT $1").into(),
        }
    }

    /// The one that goes on there.
    pub(super) fn next(&self, is_first: bool) -> Arc<str> {
        if is_first { self.first.clone() } else { self.after.clone() }
    }
}

/// What becomes of a row that is there already, `t`: it is replaced; of a rollup's, the measures are added to.
pub(super) fn conflict_assignments(shape: &TableShape) -> String {
    let assign = |name: &str| format!("{0} = excluded.{0}", quoted(name));
    let add = |name: &str| format!("{0} = t.{0} + excluded.{0}", quoted(name));
    let list: Vec<String> = match shape.kind {
        TableKind::Rows(_) => all_columns(shape).into_iter().skip(KEY.len()).map(assign).collect(),
        TableKind::Rollup(_) => measures(shape).map(add).collect(),
    };
    list.join(", ")
}
