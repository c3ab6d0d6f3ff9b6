//! Tables of a version of a read model in SQLite: what is SQLite's own about them.

use std::collections::BTreeMap;

use annals_model::projection::ReadModel;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::values::type_name;
use crate::sinks::ddl::{self, Dialect};
use crate::sinks::shape::{self, Declared};

/// What every generation holds besides its rows.
pub(super) const OWN_TABLES: &str = "
    CREATE TABLE annals_meta (key TEXT NOT NULL PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE annals_checkpoints (
        context INTEGER NOT NULL, partition INTEGER NOT NULL, log_offset INTEGER NOT NULL, ordinal INTEGER NOT NULL,
        claim_epoch INTEGER NOT NULL, emitted_at INTEGER NOT NULL, PRIMARY KEY (context, partition)
    ) STRICT, WITHOUT ROWID;";

/// The statements that create the tables.
pub(super) fn tables(model: &ReadModel) -> String {
    ddl::tables(model, Dialect { table_options: "WITHOUT ROWID", type_name })
}

/// Compares the tables of a database with a read model's definition; the first difference by name, if there is one.
pub(super) async fn difference(
    connection: &mut SqliteConnection,
    model: &ReadModel,
) -> Result<Option<String>, sqlx::Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut found = BTreeMap::new();
    for name in names {
        let columns = columns(connection, &name).await?;
        found.insert(name, columns);
    }
    Ok(shape::difference(model, &found, type_name))
}

async fn columns(connection: &mut SqliteConnection, table: &str) -> Result<BTreeMap<String, Declared>, sqlx::Error> {
    let rows = sqlx::query("SELECT name, lower(type), \"notnull\", pk FROM pragma_table_info(?)")
        .bind(table)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let not_null: bool = row.try_get(2)?;
            Ok((
                row.try_get::<String, _>(0)?,
                Declared { column_type: row.try_get(1)?, nullable: !not_null, key: row.try_get(3)? },
            ))
        })
        .collect()
}

/// Runs statements of the build's own text.
pub(super) async fn run(connection: &mut SqliteConnection, statements: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.map(|_| ())
}

/// Tells the planner what rows are like, once and for all: a tenant has many, a workspace many of them, and each further
/// column of an index narrows them to a few. Without this, SQLite takes the primary key's first two columns for as good
/// as a whole index and reads a workspace to find a name; with `ANALYZE`, plans would hang on when it ran.
pub(super) async fn put_statistics(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    // Creates the table of statistics without reading anything.
    run(connection, "ANALYZE sqlite_schema; DELETE FROM sqlite_stat1".to_owned()).await?;
    let indexes: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT tables.name, iif(indexes.origin = 'pk', tables.name, indexes.name),
                (SELECT count(*) FROM pragma_index_info(indexes.name))
         FROM sqlite_schema AS tables, pragma_index_list(tables.name) AS indexes
         WHERE tables.type = 'table' AND substr(tables.name, 1, 7) <> 'annals_'",
    )
    .fetch_all(&mut *connection)
    .await?;
    for (table, index, columns) in indexes {
        sqlx::query("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)")
            .bind(table)
            .bind(index)
            .bind(statistics(columns))
            .execute(&mut *connection)
            .await?;
    }
    // Loads them into this connection; others load them when they open.
    run(connection, "ANALYZE sqlite_schema".to_owned()).await
}

/// Rows of the table, then rows with equal values in the first 1, 2, … columns of an index with this many.
fn statistics(columns: i64) -> String {
    const TYPICAL: [u32; 6] = [1_000_000, 100_000, 10_000, 10, 5, 2];
    let equal = TYPICAL.iter().copied().chain(std::iter::repeat(2)).take(columns.max(0) as usize);
    equal.chain([1]).map(|rows| rows.to_string()).collect::<Vec<_>>().join(" ")
}
