//! The frozen DDL of one version of a read model, made SQLite's, and held against the definition by name.

use std::collections::BTreeMap;

use annals_model::projection::{ColumnType, ReadModel, TableKind, TableShape};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

/// Where SQLite wants its table options.
const TABLE_OPTIONS: &str = "/*table options*/";
/// Everything below this line is built after a bulk load.
const INDEXES: &str = "-- indexes";
/// The sink's own tables.
const OWN_PREFIX: &str = "annals_";

/// What every generation holds besides its rows.
pub(super) const OWN_TABLES: &str = "
    CREATE TABLE annals_meta (key TEXT NOT NULL PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE annals_checkpoints (
        context INTEGER NOT NULL, partition INTEGER NOT NULL, log_offset INTEGER NOT NULL, ordinal INTEGER NOT NULL,
        claim_epoch INTEGER NOT NULL, emitted_at INTEGER NOT NULL, PRIMARY KEY (context, partition)
    ) STRICT, WITHOUT ROWID;";

/// The statements that create the tables.
pub(super) fn tables(ddl: &str) -> String {
    split(ddl).0.replace(TABLE_OPTIONS, "WITHOUT ROWID")
}

/// The statements that create the indexes; may be empty.
pub(super) fn indexes(ddl: &str) -> &str {
    split(ddl).1
}

fn split(ddl: &str) -> (&str, &str) {
    let mut start = 0;
    for line in ddl.split_inclusive('\n') {
        if line.trim() == INDEXES {
            return (&ddl[..start], &ddl[start + line.len()..]);
        }
        start += line.len();
    }
    (ddl, "")
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
    for shape in model.tables() {
        if !names.iter().any(|name| name == shape.name) {
            return Ok(Some(format!("table `{}` is missing in the DDL", shape.name)));
        }
        let found = columns(connection, shape.name).await?;
        if let Some(difference) = column_difference(shape, &found) {
            return Ok(Some(format!("table `{}`: {difference}", shape.name)));
        }
    }
    let surplus = names
        .iter()
        .find(|name| !name.starts_with(OWN_PREFIX) && !model.tables().iter().any(|shape| shape.name == name.as_str()));
    Ok(surplus.map(|name| format!("table `{name}` of the DDL is in no projection and no rollup")))
}

/// A column as the database declares it.
#[derive(Debug, PartialEq, Eq)]
struct Declared {
    column_type: String,
    nullable: bool,
    /// Place in the primary key from 1; 0 for the others.
    key: i64,
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

fn column_difference(shape: &TableShape, found: &BTreeMap<String, Declared>) -> Option<String> {
    let wanted = wanted_columns(shape);
    for (name, declared) in &wanted {
        match found.get(*name) {
            None => return Some(format!("column `{name}` is missing in the DDL")),
            Some(column) if column != declared => {
                return Some(format!("column `{name}` is {}, the definition needs {}", show(column), show(declared)));
            }
            Some(_) => {}
        }
    }
    found
        .keys()
        .find(|name| !wanted.contains_key(name.as_str()))
        .map(|name| format!("column `{name}` of the DDL is not in the definition"))
}

fn wanted_columns(shape: &TableShape) -> BTreeMap<&str, Declared> {
    let key = ["tenant_id", "workspace_id", "id"];
    let mut wanted: BTreeMap<&str, Declared> = key
        .into_iter()
        .zip(1..)
        .map(|(name, key)| (name, Declared { column_type: "uuid".to_owned(), nullable: false, key }))
        .collect();
    for column in &shape.columns {
        let column_type = type_name(column.column_type).to_owned();
        wanted.insert(column.name, Declared { column_type, nullable: column.nullable, key: 0 });
    }
    if matches!(shape.kind, TableKind::Rows(_)) {
        wanted.insert("deleted", Declared { column_type: "boolean".to_owned(), nullable: false, key: 0 });
    }
    wanted
}

fn type_name(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Bool => "boolean",
        ColumnType::Int => "bigint",
        ColumnType::Text => "text",
        ColumnType::Uuid => "uuid",
        ColumnType::Timestamp => "timestamptz",
    }
}

fn show(column: &Declared) -> String {
    let null = if column.nullable { "" } else { " NOT NULL" };
    let key = if column.key == 0 { String::new() } else { format!(" (place {} in the primary key)", column.key) };
    format!("{}{null}{key}", column.column_type)
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
