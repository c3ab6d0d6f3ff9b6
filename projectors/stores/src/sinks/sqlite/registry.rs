//! The registry: one small database that says which generations there are and which is live.

use annals_engine::generations::life::{Change, Life};
use annals_engine::sink::{Generation, GenerationId, GenerationState, StoreError};
use annals_model::time::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteQueryResult, SqliteRow};

use super::connect;

/// Created at the first open; tables that came later are made in a registry that is there, and an older build passes them
/// over. So what is new is a table, never a column: an older build writes whole rows.
pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS read_models (
        name TEXT NOT NULL PRIMARY KEY, last_generation INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS generations (
        read_model TEXT NOT NULL REFERENCES read_models (name), id INTEGER NOT NULL, version INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('building', 'ready', 'live', 'retired', 'failed')),
        started_at INTEGER NOT NULL, finished_at INTEGER, retired_at INTEGER,
        verified_digest TEXT, reason TEXT, failure TEXT, PRIMARY KEY (read_model, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS mismatches (
        read_model TEXT NOT NULL, id INTEGER NOT NULL, started_at INTEGER NOT NULL, found TEXT NOT NULL,
        PRIMARY KEY (read_model, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS processes (
        id TEXT NOT NULL PRIMARY KEY, seen_at_ms INTEGER NOT NULL, report TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX IF NOT EXISTS one_is_live ON generations (read_model) WHERE state = 'live';
    CREATE UNIQUE INDEX IF NOT EXISTS one_is_building ON generations (read_model) WHERE state = 'building';";

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
            ", (SELECT found FROM mismatches AS of WHERE of.read_model = known.read_model AND of.id = known.id
                AND of.started_at = known.started_at) FROM generations AS known "
        )
    };
}

/// The registry's own failures that are not SQLite's: files and folders.
pub(super) fn unavailable(error: impl ToString) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// What SQLite says of the registry: damage does not pass by itself.
pub(super) fn failed(error: sqlx::Error) -> StoreError {
    match connect::is_damage(&error) {
        true => StoreError::Damaged(error.to_string()),
        false => unavailable(error),
    }
}

/// All generations of a read model, oldest first.
pub(super) async fn list(connection: &mut SqliteConnection, read_model: &str) -> Result<Vec<Generation>, StoreError> {
    let rows = sqlx::query(concat!(selected!(), "WHERE read_model = ? ORDER BY id"))
        .bind(read_model)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(generation).collect()
}

/// All rows of a read model, for a step in the life of one of its generations.
pub(super) async fn life(connection: &mut SqliteConnection, read_model: &str) -> Result<Life, StoreError> {
    let last: Option<u32> = sqlx::query_scalar("SELECT last_generation FROM read_models WHERE name = ?")
        .bind(read_model)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    Ok(Life::new(read_model, last.unwrap_or_default(), list(connection, read_model).await?))
}

fn generation(row: &SqliteRow) -> Result<Generation, StoreError> {
    let damaged = |error: sqlx::Error| StoreError::Damaged(error.to_string());
    let time = |index: usize| row.try_get::<Option<i64>, _>(index).map(|time| time.map(Timestamp));
    let state: String = row.try_get(3).map_err(damaged)?;
    Ok(Generation {
        read_model: row.try_get(0).map_err(damaged)?,
        id: GenerationId(row.try_get(1).map_err(damaged)?),
        version: row.try_get(2).map_err(damaged)?,
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
pub(super) async fn write(connection: &mut SqliteConnection, life: &Life, change: &Change) -> Result<(), StoreError> {
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

/// Nobody can come between inside of a transaction that writes; who writes outside of one is told.
fn one(written: SqliteQueryResult, life: &Life, id: GenerationId) -> Result<(), StoreError> {
    if written.rows_affected() == 1 { Ok(()) } else { Err(life.changed(id).into()) }
}

/// Counts a number as used, if the last one that was used still is.
async fn take_number(connection: &mut SqliteConnection, life: &Life, id: GenerationId) -> Result<(), StoreError> {
    let counted = sqlx::query(
        "INSERT INTO read_models (name, last_generation) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET last_generation = ?2 WHERE last_generation = ?3",
    )
    .bind(life.read_model())
    .bind(id.0)
    .bind(life.last())
    .execute(connection)
    .await
    .map_err(failed)?;
    one(counted, life, id)
}

async fn insert(connection: &mut SqliteConnection, generation: &Generation) -> Result<SqliteQueryResult, StoreError> {
    bound(
        sqlx::query(concat!("INSERT INTO generations (", columns!(), ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")),
        generation,
    )
    .execute(connection)
    .await
    .map_err(failed)
}

async fn update(
    connection: &mut SqliteConnection,
    before: &Generation,
    after: &Generation,
) -> Result<SqliteQueryResult, StoreError> {
    let query = sqlx::query(concat!(
        "UPDATE generations SET (",
        columns!(),
        ") = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         WHERE read_model = ? AND id = ? AND started_at = ? AND state = ? AND retired_at IS ?"
    ));
    as_before(bound(query, after), before).execute(connection).await.map_err(failed)
}

/// Its number stays taken.
async fn delete(connection: &mut SqliteConnection, before: &Generation) -> Result<SqliteQueryResult, StoreError> {
    let query = sqlx::query(
        "DELETE FROM generations WHERE read_model = ? AND id = ? AND started_at = ? AND state = ? AND retired_at IS ?",
    );
    as_before(query, before).execute(connection).await.map_err(failed)
}

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// With all columns of a generation.
fn bound<'q>(query: Query<'q>, generation: &'q Generation) -> Query<'q> {
    query
        .bind(&generation.read_model)
        .bind(generation.id.0)
        .bind(generation.version)
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
        .bind(before.id.0)
        .bind(before.started_at.0)
        .bind(before.state.name())
        .bind(before.retired_at.map(|time| time.0))
}

/// Remembers what a verification found, or that nothing is known against a generation.
async fn put_mismatch(connection: &mut SqliteConnection, generation: &Generation) -> Result<(), StoreError> {
    let query = match &generation.mismatch {
        Some(found) => {
            sqlx::query("INSERT OR REPLACE INTO mismatches (read_model, id, started_at, found) VALUES (?, ?, ?, ?)")
                .bind(&generation.read_model)
                .bind(generation.id.0)
                .bind(generation.started_at.0)
                .bind(found)
        }
        None => sqlx::query("DELETE FROM mismatches WHERE read_model = ? AND id = ?")
            .bind(&generation.read_model)
            .bind(generation.id.0),
    };
    query.execute(connection).await.map(|_| ()).map_err(failed)
}

/// Generations that have been made whole, of read models that this build may not know.
pub(super) async fn whole(connection: &mut SqliteConnection) -> Result<Vec<(String, GenerationId)>, StoreError> {
    let rows: Vec<(String, u32)> =
        sqlx::query_as("SELECT read_model, id FROM generations WHERE state IN ('ready', 'live', 'retired')")
            .fetch_all(connection)
            .await
            .map_err(unavailable)?;
    Ok(rows.into_iter().map(|(read_model, id)| (read_model, GenerationId(id))).collect())
}

/// What tells a generation from all others: one that was begun anew has the number of the one before it.
pub(super) type Identity = (String, GenerationId, Timestamp);

/// All generations that exist, for letting go of what belongs to others.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Identity>, StoreError> {
    let rows: Vec<(String, u32, i64)> = sqlx::query_as("SELECT read_model, id, started_at FROM generations")
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    Ok(rows.into_iter().map(|(read_model, id, at)| (read_model, GenerationId(id), Timestamp(at))).collect())
}
