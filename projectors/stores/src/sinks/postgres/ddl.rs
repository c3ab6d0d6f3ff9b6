//! Tables of a version of a read model in PostgreSQL: what is PostgreSQL's own about them.

use annals_engine::sink::SinkError;
use annals_model::projection::ColumnType;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::access::{self, run};
use super::target::Target;
use crate::sinks::ddl::{self, Dialect};
use crate::sinks::shape::{self, Declared, Found, KEY, joined, quoted, type_name};

/// What every generation holds besides its rows.
const OWN_TABLES: &str = "
    CREATE TABLE annals_meta (key text PRIMARY KEY, value text NOT NULL);
    CREATE TABLE annals_checkpoints (
        context smallint NOT NULL, partition integer NOT NULL, log_offset bigint NOT NULL, ordinal bigint NOT NULL,
        claim_epoch bigint NOT NULL, emitted_at bigint NOT NULL, PRIMARY KEY (context, partition)
    );";

/// Makes a generation's schema with its tables, and nothing of an earlier attempt in it. In a transaction of the caller.
pub(super) async fn make(connection: &mut PgConnection, target: &Target) -> Result<(), sqlx::Error> {
    let schema = quoted(&target.schema);
    let statements = format!(
        "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema};
         SET LOCAL search_path TO {schema}; {OWN_TABLES} {}",
        ddl::tables(&target.model, Dialect { table_options: "", type_name })
    );
    run(connection, statements).await
}

/// Text is ordered by its bytes in every store: pages and cursors are the same, whatever the database's locale is.
pub(super) async fn order_by_bytes(connection: &mut PgConnection, target: &Target) -> Result<(), sqlx::Error> {
    for shape in target.model.tables() {
        let texts = shape.columns.iter().filter(|column| column.column_type == ColumnType::Text);
        let each = texts.map(|column| format!("ALTER COLUMN {} TYPE text COLLATE \"C\"", quoted(column.name)));
        let each = each.collect::<Vec<_>>().join(", ");
        if !each.is_empty() {
            let (schema, name) = (quoted(&target.schema), quoted(shape.name));
            run(connection, format!("ALTER TABLE {schema}.{name} {each}")).await?;
        }
    }
    Ok(())
}

/// Takes what slows a bulk load down: the primary keys come back in [`finish`].
pub(super) async fn prepare_load(connection: &mut PgConnection, target: &Target) -> Result<(), sqlx::Error> {
    for table in target.model.tables() {
        let (schema, key) = (quoted(&target.schema), quoted(&format!("{}_pkey", table.name)));
        run(connection, format!("ALTER TABLE {schema}.{} DROP CONSTRAINT {key}", quoted(table.name))).await?;
    }
    Ok(())
}

/// Builds the primary keys of a loaded generation, in the order in which its rows lie.
pub(super) async fn put_keys(connection: &mut PgConnection, target: &Target) -> Result<(), sqlx::Error> {
    for table in target.model.tables() {
        let (schema, name) = (quoted(&target.schema), quoted(table.name));
        run(connection, format!("ALTER TABLE {schema}.{name} ADD PRIMARY KEY ({})", joined(&KEY))).await?;
    }
    Ok(())
}

/// Everything that a generation has besides tables and rows: indexes, row-level security, what the planner knows.
pub(super) async fn finish(connection: &mut PgConnection, target: &Target) -> Result<(), sqlx::Error> {
    let schema = quoted(&target.schema);
    let indexes = ddl::indexes(&target.model);
    run(connection, format!("SET LOCAL search_path TO {schema}; {indexes}")).await?;
    access::secure(connection, &target.schema, target.model.tables()).await?;
    access::let_serve(connection, &target.schema).await?;
    for table in target.model.tables() {
        run(connection, format!("ANALYZE {schema}.{}", quoted(table.name))).await?;
    }
    Ok(())
}

/// How much of a generation is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// What the DDL made.
    Made,
    /// Rows may come: no primary keys yet, and nobody but the builder looks.
    Loading,
    /// All of it.
    Loaded,
}

/// Refuses tables that are not the definition's, or that show every tenant's rows to everybody.
pub(super) async fn check(connection: &mut PgConnection, target: &Target, stage: Stage) -> Result<(), SinkError> {
    let found = difference(connection, target, stage).await.map_err(|error| target.error("", &error))?;
    shape::refuse(&target.model, found)
}

async fn difference(
    connection: &mut PgConnection,
    target: &Target,
    stage: Stage,
) -> Result<Option<String>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT relname::text, attname::text, format_type(atttypid, atttypmod), NOT attnotnull,
                coalesce(array_position(conkey, attnum), 0)::bigint, attcollation IN (0, '\"C\"'::regcollation),
                relrowsecurity AND relforcerowsecurity
         FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
         LEFT JOIN pg_constraint ON conrelid = pg_class.oid AND contype = 'p'
         WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND relkind = 'r'",
    )
    .bind(&target.schema)
    .fetch_all(connection)
    .await?;
    if rows.is_empty() {
        return Ok(Some("its tables are missing".to_owned()));
    }
    let mut found = Found::new();
    let mut unlike = None;
    for row in &rows {
        let (table, column): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let column_type: String = row.try_get(2)?;
        let column_type =
            if column_type == "timestamp with time zone" { "timestamptz".to_owned() } else { column_type };
        let mut key: i64 = row.try_get(4)?;
        if stage == Stage::Loading {
            // The key is built behind the rows.
            key = KEY.iter().zip(1..).find(|(name, _)| **name == column).map_or(0, |(_, place)| place);
        }
        if target.model.tables().iter().any(|shape| shape.name == table) {
            if stage != Stage::Made && !row.try_get::<bool, _>(5)? {
                unlike.get_or_insert_with(|| format!("table `{table}`: column `{column}` is not ordered by bytes"));
            } else if stage == Stage::Loaded && !row.try_get::<bool, _>(6)? {
                unlike.get_or_insert_with(|| format!("table `{table}` is without forced row-level security"));
            }
        }
        let declared = Declared { column_type, nullable: row.try_get(3)?, key };
        found.entry(table).or_default().insert(column, declared);
    }
    Ok(shape::difference(&target.model, &found, type_name).or(unlike))
}
