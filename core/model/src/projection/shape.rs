//! Tables as a store keeps them: their columns and their indexes.

use crate::projection::left_out::LeftOut;
use crate::projection::row::Column;

/// What a table of a read model is, and its index among its kind (the index that [`super::Tables`] and [`super::KeySets`]
/// mean).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableKind {
    /// Rows of a projection.
    Rows(usize),
    /// Sums of a rollup.
    Rollup(usize),
}

/// What a table is looked up or ordered by, besides its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Index {
    /// `by_<what>`; the store puts the table's name before it.
    pub name: &'static str,
    /// Columns of the row. The store puts tenant and workspace before them, and `id` behind.
    pub columns: &'static [&'static str],
}

impl Index {
    /// An index over these columns.
    pub const fn new(name: &'static str, columns: &'static [&'static str]) -> Self {
        Self { name, columns }
    }
}

/// One table as a sink stores it. Every table has `tenant_id`, `workspace_id` and `id`, its primary key, before the
/// columns; a table of rows has `deleted` behind them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableShape {
    /// Its name.
    pub name: &'static str,
    /// Its own columns; for a rollup the group's, then the measures.
    pub columns: Vec<Column>,
    /// How many of the columns, at the end, are measures: what a sink adds to instead of replacing it.
    pub measures: usize,
    /// Whose it is.
    pub kind: TableKind,
    /// What else it is looked up by.
    pub indexes: Vec<Index>,
}

impl TableShape {
    /// The table whose row has these columns, without those that are left out. An index over one of them goes with it.
    pub(super) fn leave_out(&mut self, whole: &[Column], left_out: LeftOut) {
        self.columns = whole.to_vec();
        left_out.remove_from(&mut self.columns, 0);
        let columns = &self.columns;
        self.indexes.retain(|index| index.columns.iter().all(|name| has(columns, name)));
    }

    /// # Panics
    /// When an index names a column that the table does not have, or two indexes have one name.
    pub(super) fn check_indexes(&self) {
        for (place, index) in self.indexes.iter().enumerate() {
            let (table, name) = (self.name, index.name);
            assert!(index.columns.iter().all(|column| has(&self.columns, column)), "{table} lacks a column of {name}");
            let is_twice = self.indexes[..place].iter().any(|earlier| earlier.name == name);
            assert!(!is_twice, "two indexes of {table} are named {name}");
        }
    }
}

fn has(columns: &[Column], name: &str) -> bool {
    columns.iter().any(|column| column.name == name)
}
