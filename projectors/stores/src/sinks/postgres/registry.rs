//! The registry: a schema of our own that says which generations there are and which is live.

use annals_engine::sink::{Generation, GenerationId, GenerationState, StoreError};
use annals_model::time::Timestamp;
use sqlx::postgres::{PgConnection, PgPool, PgRow};
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

/// One generation.
pub(super) async fn get(
    connection: &mut PgConnection,
    read_model: &str,
    id: GenerationId,
) -> Result<Generation, StoreError> {
    let row = sqlx::query(concat!(selected!(), "WHERE read_model = $1 AND id = $2"))
        .bind(read_model)
        .bind(i64::from(id.0))
        .fetch_optional(connection)
        .await
        .map_err(unavailable)?;
    match row {
        Some(row) => generation(&row),
        None => Err(StoreError::NoSuchGeneration { read_model: read_model.to_owned(), id }),
    }
}

fn generation(row: &PgRow) -> Result<Generation, StoreError> {
    let damaged = |error: sqlx::Error| StoreError::Damaged(error.to_string());
    let time = |index: usize| row.try_get::<Option<i64>, _>(index).map(|time| time.map(Timestamp));
    let number = |index: usize| {
        let number = row.try_get::<i64, _>(index).map_err(damaged)?;
        u32::try_from(number)
            .map_err(|_| StoreError::Damaged(format!("{number} is no number of a generation or version")))
    };
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

/// Takes the next number of a read model.
pub(super) async fn next_id(connection: &mut PgConnection, read_model: &str) -> Result<GenerationId, StoreError> {
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO annals.read_models AS known (name, last_generation) VALUES ($1, 1)
         ON CONFLICT (name) DO UPDATE SET last_generation = known.last_generation + 1 RETURNING last_generation",
    )
    .bind(read_model)
    .fetch_one(connection)
    .await
    .map_err(unavailable)?;
    u32::try_from(id).map(GenerationId).map_err(|_| StoreError::Damaged(format!("{id} is no number of a generation")))
}

/// Adds a generation, or replaces what is known of it.
pub(super) async fn put(connection: &mut PgConnection, generation: &Generation) -> Result<(), StoreError> {
    sqlx::query(concat!(
        "INSERT INTO annals.generations (",
        columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (read_model, id) DO UPDATE SET (",
        columns!(),
        ") = ROW (excluded.*)"
    ))
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
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(unavailable)
}

/// Forgets a generation; its number stays taken.
pub(super) async fn delete(
    connection: &mut PgConnection,
    read_model: &str,
    id: GenerationId,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM annals.generations WHERE read_model = $1 AND id = $2")
        .bind(read_model)
        .bind(i64::from(id.0))
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(unavailable)
}

/// Remembers what a verification found.
pub(super) async fn put_mismatch(
    connection: &mut PgConnection,
    generation: &Generation,
    found: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO annals.mismatches (read_model, id, started_at, found) VALUES ($1, $2, $3, $4)
         ON CONFLICT (read_model, id) DO UPDATE SET started_at = excluded.started_at, found = excluded.found",
    )
    .bind(&generation.read_model)
    .bind(i64::from(generation.id.0))
    .bind(generation.started_at.0)
    // PostgreSQL keeps no NUL in a text.
    .bind(found.replace('\0', " "))
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(unavailable)
}

/// Forgets it.
pub(super) async fn delete_mismatch(
    connection: &mut PgConnection,
    read_model: &str,
    id: GenerationId,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM annals.mismatches WHERE read_model = $1 AND id = $2")
        .bind(read_model)
        .bind(i64::from(id.0))
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(unavailable)
}
