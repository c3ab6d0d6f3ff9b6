//! The registry: a schema of our own that says which generations there are and which is live.

use annals_engine::generations::life::{Change, Life};
use annals_engine::sink::{Generation, GenerationId, GenerationState, StoreError};
use annals_model::time::Timestamp;
use sqlx::postgres::{PgArguments, PgConnection, PgPool, PgQueryResult, PgRow};
use sqlx::{Postgres, Row as _, Transaction};

use super::answer::{told, within};
use crate::limits;

/// Where the registry lies.
pub(super) const SCHEMA: &str = "annals";

/// What the tables are like; raised when they change.
pub(super) const FORMAT: i32 = 1;

/// The format of the registry that is there.
pub(super) async fn format(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("SELECT format FROM annals.registry").fetch_one(connection).await
}

/// Created at the first open; tables that came later are made in a registry that is there, and an older build passes them
/// over. So what is new is a table, never a column: an older build writes whole rows.
pub(super) const TABLES: &str = "
    CREATE SCHEMA IF NOT EXISTS annals;
    CREATE TABLE IF NOT EXISTS annals.registry (
        one boolean PRIMARY KEY DEFAULT true CHECK (one), format integer NOT NULL, version bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS annals.read_models (
        name text COLLATE \"C\" PRIMARY KEY, last_generation bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS annals.generations (
        read_model text COLLATE \"C\" NOT NULL REFERENCES annals.read_models (name), id bigint NOT NULL,
        version bigint NOT NULL,
        state text NOT NULL CHECK (state IN ('building', 'ready', 'live', 'retired', 'failed')),
        started_at bigint NOT NULL, finished_at bigint, retired_at bigint,
        verified_digest text, reason text, failure text, PRIMARY KEY (read_model, id)
    );
    CREATE TABLE IF NOT EXISTS annals.mismatches (
        read_model text COLLATE \"C\" NOT NULL, id bigint NOT NULL, started_at bigint NOT NULL, found text NOT NULL,
        PRIMARY KEY (read_model, id)
    );
    CREATE TABLE IF NOT EXISTS annals.processes (
        id text COLLATE \"C\" PRIMARY KEY, seen_at timestamptz NOT NULL, report text NOT NULL
    );
    CREATE UNIQUE INDEX IF NOT EXISTS one_is_live ON annals.generations (read_model) WHERE state = 'live';
    CREATE UNIQUE INDEX IF NOT EXISTS one_is_building ON annals.generations (read_model) WHERE state = 'building';
    INSERT INTO annals.registry (format, version) VALUES (1, 0) ON CONFLICT DO NOTHING;";

macro_rules! columns {
    () => {
        "read_model, id, version, state, started_at, finished_at, retired_at, verified_digest, reason, failure"
    };
}

/// All columns of a generation, and what its last verification found.
macro_rules! selected {
    () => {
        concat!(
            "SELECT ",
            columns!(),
            ", (SELECT found FROM annals.mismatches AS of WHERE of.read_model = known.read_model AND of.id = known.id
                AND of.started_at = known.started_at) FROM annals.generations AS known "
        )
    };
}

/// The registry's own failures.
pub(super) fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(told(&error))
}

/// Begins to change the registry: nobody else does before the transaction ends, and all are told when it has.
pub(super) async fn change(pool: &PgPool) -> Result<Transaction<'static, Postgres>, StoreError> {
    let begun = within(limits::STORE_ANSWER_MS_MAX, async {
        let mut transaction = pool.begin().await?;
        sqlx::query("UPDATE annals.registry SET version = version + 1").execute(&mut *transaction).await?;
        Ok(transaction)
    });
    begun.await.map_err(unavailable)
}

/// A number that changes with the registry.
pub(super) async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT version FROM annals.registry").fetch_one(connection).await
}

/// All generations of a read model, oldest first.
pub(super) async fn list(connection: &mut PgConnection, read_model: &str) -> Result<Vec<Generation>, StoreError> {
    let rows = sqlx::query(concat!(selected!(), "WHERE read_model = $1 ORDER BY id"))
        .bind(read_model)
        .fetch_all(connection)
        .await
        .map_err(unavailable)?;
    rows.iter().map(generation).collect()
}

/// Generations that have been made whole, of read models that this build may not know.
pub(super) async fn whole(connection: &mut PgConnection) -> Result<Vec<(String, GenerationId)>, sqlx::Error> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT read_model, id FROM annals.generations WHERE state IN ('ready', 'live', 'retired')")
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().filter_map(|(name, id)| Some((name, GenerationId(u32::try_from(id).ok()?)))).collect())
}

/// All rows of a read model, for a step in the life of one of its generations.
pub(super) async fn life(connection: &mut PgConnection, read_model: &str) -> Result<Life, StoreError> {
    let last: Option<i64> = sqlx::query_scalar("SELECT last_generation FROM annals.read_models WHERE name = $1")
        .bind(read_model)
        .fetch_optional(&mut *connection)
        .await
        .map_err(unavailable)?;
    Ok(Life::new(read_model, number(last.unwrap_or_default())?, list(connection, read_model).await?))
}

/// PostgreSQL has no unsigned numbers.
fn number(stored: i64) -> Result<u32, StoreError> {
    u32::try_from(stored).map_err(|_| StoreError::Damaged(format!("{stored} is no number of a generation or version")))
}

fn generation(row: &PgRow) -> Result<Generation, StoreError> {
    let damaged = |error: sqlx::Error| StoreError::Damaged(error.to_string());
    let time = |index: usize| row.try_get::<Option<i64>, _>(index).map(|time| time.map(Timestamp));
    let number = |index: usize| number(row.try_get(index).map_err(damaged)?);
    let state: String = row.try_get(3).map_err(damaged)?;
    Ok(Generation {
        read_model: row.try_get(0).map_err(damaged)?,
        id: GenerationId(number(1)?),
        version: number(2)?,
        state: GenerationState::from_name(&state)
            .ok_or_else(|| StoreError::Damaged(format!("`{state}` is no state of a generation")))?,
        started_at: Timestamp(row.try_get(4).map_err(damaged)?),
        finished_at: time(5).map_err(damaged)?,
        retired_at: time(6).map_err(damaged)?,
        verified_digest: row.try_get(7).map_err(damaged)?,
        reason: row.try_get(8).map_err(damaged)?,
        failure: row.try_get(9).map_err(damaged)?,
        mismatch: row.try_get(10).map_err(damaged)?,
    })
}

/// Writes what a step makes of these rows, where they are still what it was decided on.
pub(super) async fn write(connection: &mut PgConnection, life: &Life, change: &Change) -> Result<(), StoreError> {
    let generation = change.generation();
    let written = match change {
        Change::Added(_) => {
            take_number(connection, life, generation.id).await?;
            insert(connection, generation).await?
        }
        Change::Changed { before, after } => {
            if before.mismatch != after.mismatch {
                put_mismatch(connection, after).await?;
            }
            update(connection, before, after).await?
        }
        Change::Removed(before) => {
            put_mismatch(connection, &Generation { mismatch: None, ..before.clone() }).await?;
            delete(connection, before).await?
        }
    };
    one(written, life, generation.id)
}

/// Nobody can come between behind [`change`]; who writes without it is told.
fn one(written: PgQueryResult, life: &Life, id: GenerationId) -> Result<(), StoreError> {
    if written.rows_affected() == 1 { Ok(()) } else { Err(life.changed(id).into()) }
}

/// Counts a number as used, if the last one that was used still is.
async fn take_number(connection: &mut PgConnection, life: &Life, id: GenerationId) -> Result<(), StoreError> {
    let counted = sqlx::query(
        "INSERT INTO annals.read_models AS known (name, last_generation) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET last_generation = $2 WHERE known.last_generation = $3",
    )
    .bind(life.read_model())
    .bind(i64::from(id.0))
    .bind(i64::from(life.last()))
    .execute(connection)
    .await
    .map_err(unavailable)?;
    one(counted, life, id)
}

async fn insert(connection: &mut PgConnection, generation: &Generation) -> Result<PgQueryResult, StoreError> {
    let query = sqlx::query(concat!(
        "INSERT INTO annals.generations (",
        columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
    ));
    bound(query, generation).execute(connection).await.map_err(unavailable)
}

async fn update(
    connection: &mut PgConnection,
    before: &Generation,
    after: &Generation,
) -> Result<PgQueryResult, StoreError> {
    let query = sqlx::query(concat!(
        "UPDATE annals.generations SET (",
        columns!(),
        ") = ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         WHERE read_model = $11 AND id = $12 AND started_at = $13 AND state = $14
             AND retired_at IS NOT DISTINCT FROM $15"
    ));
    as_before(bound(query, after), before).execute(connection).await.map_err(unavailable)
}

/// Its number stays taken.
async fn delete(connection: &mut PgConnection, before: &Generation) -> Result<PgQueryResult, StoreError> {
    let query = sqlx::query(
        "DELETE FROM annals.generations WHERE read_model = $1 AND id = $2 AND started_at = $3 AND state = $4
             AND retired_at IS NOT DISTINCT FROM $5",
    );
    as_before(query, before).execute(connection).await.map_err(unavailable)
}

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// With all columns of a generation.
fn bound<'q>(query: Query<'q>, generation: &'q Generation) -> Query<'q> {
    query
        .bind(&generation.read_model)
        .bind(i64::from(generation.id.0))
        .bind(i64::from(generation.version))
        .bind(generation.state.name())
        .bind(generation.started_at.0)
        .bind(generation.finished_at.map(|time| time.0))
        .bind(generation.retired_at.map(|time| time.0))
        .bind(&generation.verified_digest)
        .bind(&generation.reason)
        .bind(&generation.failure)
}

/// With all that tells whether a row is still the same.
fn as_before<'q>(query: Query<'q>, before: &'q Generation) -> Query<'q> {
    query
        .bind(&before.read_model)
        .bind(i64::from(before.id.0))
        .bind(before.started_at.0)
        .bind(before.state.name())
        .bind(before.retired_at.map(|time| time.0))
}

/// Remembers what a verification found, or that nothing is known against a generation.
async fn put_mismatch(connection: &mut PgConnection, generation: &Generation) -> Result<(), StoreError> {
    let query = match &generation.mismatch {
        Some(found) => sqlx::query(
            "INSERT INTO annals.mismatches (read_model, id, started_at, found) VALUES ($1, $2, $3, $4)
             ON CONFLICT (read_model, id) DO UPDATE SET started_at = excluded.started_at, found = excluded.found",
        )
        .bind(&generation.read_model)
        .bind(i64::from(generation.id.0))
        .bind(generation.started_at.0)
        // PostgreSQL keeps no NUL in a text.
        .bind(found.replace('\0', " ")),
        None => sqlx::query("DELETE FROM annals.mismatches WHERE read_model = $1 AND id = $2")
            .bind(&generation.read_model)
            .bind(i64::from(generation.id.0)),
    };
    query.execute(connection).await.map(|_| ()).map_err(unavailable)
}
