//! The SQL text of one generation's tables. A batch of any size is one statement per table: its columns are arrays.
//!
//! PostgreSQL's planner has nothing to choose. Its estimates are worth little here: nobody analysed a table that grew
//! just now, and the condition of row-level security counts as passing a row or two. A join of arrays and table that it
//! may turn round becomes keys × rows comparisons, and another index that begins with tenant and workspace is as good to
//! it as the primary key's. So each key asks by itself for the first row at or behind it, in the order that only the
//! primary key has: a subquery with a LIMIT cannot be merged into its surroundings. A conflict is looked for in the index
//! by nature. What is left to the planner's taste (sorting everything instead) the session forbids (`connect.rs`).

use std::sync::Arc;

use annals_model::projection::{ColumnType, ReadModel, TableShape};

use crate::sinks::shape::{KEY, all_columns, is_of_rows, joined, measures, quoted, type_name};
use crate::sinks::statements::{self, OfTable, Pages, conflict_assignments};

/// The statements of all tables of a generation.
pub(super) type Statements = statements::Statements<TableStatements>;

impl Statements {
    /// Of the generation that lies in `schema`.
    pub(super) fn new(model: &ReadModel, schema: &str) -> Self {
        Self { tables: model.tables().iter().map(|shape| TableStatements::new(shape, schema)).collect() }
    }
}

/// The statements of one table.
#[derive(Debug)]
pub(super) struct TableStatements {
    pub(super) shape: TableShape,
    /// Types of all columns, the key's first.
    pub(super) types: Vec<ColumnType>,
    /// Inserts or replaces rows; of a rollup, adds to the measures. An array per column.
    pub(super) write: Arc<str>,
    /// Reads the rows of keys. Three arrays.
    pub(super) select: Arc<str>,
    /// Deletes those of keys whose measures are all 0. Three arrays.
    pub(super) delete_empty: Arc<str>,
    /// Takes rows in binary.
    pub(super) copy: String,
    pub(super) pages: Pages,
}

impl OfTable for TableStatements {
    fn shape(&self) -> &TableShape {
        &self.shape
    }
}

impl TableStatements {
    fn new(shape: &TableShape, schema: &str) -> Self {
        let table = format!("{}.{}", quoted(schema), quoted(shape.name));
        let columns = all_columns(shape);
        let list = joined(&columns);
        let types = types(shape);
        let keys = format!("unnest({}) AS k ({})", places(&types[..KEY.len()]), joined(&KEY));
        let [tenant, workspace, id] = KEY;
        let probed = |what: &str| {
            format!(
                "{keys} CROSS JOIN LATERAL (SELECT {what} FROM {table} AS t WHERE t.{tenant} = k.{tenant} \
                 AND t.{workspace} = k.{workspace} AND t.{id} >= k.{id} ORDER BY t.{id} LIMIT 1) AS found \
                 WHERE found.{id} = k.{id}"
            )
        };
        let of_t = columns.iter().map(|name| format!("t.{}", quoted(name))).collect::<Vec<_>>().join(", ");
        let empty = measures(shape).map(|name| format!("t.{} = 0", quoted(name))).collect::<Vec<_>>().join(" AND ");
        Self {
            write: format!(
                "INSERT INTO {table} AS t ({list}) SELECT * FROM unnest({}) ON CONFLICT ({}) DO UPDATE SET {}",
                places(&types),
                joined(&KEY),
                conflict_assignments(shape)
            )
            .into(),
            select: format!("SELECT found.* FROM {}", probed(&of_t)).into(),
            // By the places of the rows: no join, nothing to turn round. Nobody else moves them meanwhile: whoever
            // holds the partition's checkpoint has its rows.
            delete_empty: format!(
                "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT found.place FROM {} AND found.is_empty))",
                probed(&format!("t.{id}, t.ctid AS place, {empty} AS is_empty"))
            )
            .into(),
            copy: format!("COPY {table} ({list}) FROM STDIN (FORMAT binary)"),
            pages: Pages::new(&table, shape),
            types,
            shape: shape.clone(),
        }
    }
}

fn types(shape: &TableShape) -> Vec<ColumnType> {
    let own = shape.columns.iter().map(|column| column.column_type);
    [ColumnType::Uuid; KEY.len()].into_iter().chain(own).chain(is_of_rows(shape).then_some(ColumnType::Bool)).collect()
}

/// `$1::uuid[], $2::text[]`
fn places(types: &[ColumnType]) -> String {
    let place = |(index, of): (usize, &ColumnType)| format!("${}::{}[]", index + 1, type_name(*of));
    types.iter().enumerate().map(place).collect::<Vec<_>>().join(", ")
}
