//! What an answer's rows have: a table's own columns, whatever they are in the version that is asked, or a list.

use crate::projection::{Column, ColumnType, Projection, Rollup, TableShape};

/// The columns of a query's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// These: of a query that joins or computes.
    Listed(&'static [Column]),
    /// Those of a table of the read model, in the order of its row: a new one shows up by itself, and an older version that
    /// is without it answers without it.
    Table {
        /// Its name.
        table: &'static str,
        /// `id` before them.
        with_id: bool,
    },
}

const ID: Column = Column { name: "id", column_type: ColumnType::Uuid, nullable: false };

impl Columns {
    /// `id` and the columns of a projection's row.
    pub const fn of<P: Projection>() -> Self {
        Self::Table { table: P::NAME, with_id: true }
    }

    /// `id`, the columns of a rollup's group, and its measures.
    pub const fn of_rollup<T: Rollup>() -> Self {
        Self::Table { table: T::NAME, with_id: true }
    }

    /// The same without `id`, for rows that have another name.
    #[must_use]
    pub const fn without_id(self) -> Self {
        match self {
            Self::Listed(_) => self,
            Self::Table { table, .. } => Self::Table { table, with_id: false },
        }
    }

    /// The columns, where a read model has these tables; nothing where it lacks the one that is meant.
    pub fn of_tables(self, tables: &[TableShape]) -> Option<Vec<Column>> {
        match self {
            Self::Listed(columns) => Some(columns.to_vec()),
            Self::Table { table, with_id } => {
                let shape = tables.iter().find(|shape| shape.name == table)?;
                Some(with_id.then_some(ID).into_iter().chain(shape.columns.iter().copied()).collect())
            }
        }
    }
}
