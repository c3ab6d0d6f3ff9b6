//! The registry: one small database that says which generations there are and which is live.

use annals_engine::sink::{Generation, GenerationId, GenerationState, StoreError};
use annals_model::time::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

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

/// One generation.
pub(super) async fn get(
    connection: &mut SqliteConnection,
    read_model: &str,
    id: GenerationId,
) -> Result<Generation, StoreError> {
    let row = sqlx::query(concat!(selected!(), "WHERE read_model = ? AND id = ?"))
        .bind(read_model)
        .bind(id.0)
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    match row {
        Some(row) => generation(&row),
        None => Err(StoreError::NoSuchGeneration { read_model: read_model.to_owned(), id }),
    }
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

/// Takes the next number of a read model.
pub(super) async fn next_id(connection: &mut SqliteConnection, read_model: &str) -> Result<GenerationId, StoreError> {
    sqlx::query_scalar(
        "INSERT INTO read_models (name, last_generation) VALUES (?, 1)
         ON CONFLICT (name) DO UPDATE SET last_generation = last_generation + 1 RETURNING last_generation",
    )
    .bind(read_model)
    .fetch_one(connection)
    .await
    .map(GenerationId)
    .map_err(failed)
}

/// Adds a generation, or replaces what is known of it.
pub(super) async fn put(connection: &mut SqliteConnection, generation: &Generation) -> Result<(), StoreError> {
    sqlx::query(concat!("INSERT OR REPLACE INTO generations (", columns!(), ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"))
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
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(failed)
}

/// Forgets a generation; its number stays taken.
pub(super) async fn delete(
    connection: &mut SqliteConnection,
    read_model: &str,
    id: GenerationId,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM generations WHERE read_model = ? AND id = ?")
        .bind(read_model)
        .bind(id.0)
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(failed)
}

/// Remembers what a verification found.
pub(super) async fn put_mismatch(
    connection: &mut SqliteConnection,
    generation: &Generation,
    found: &str,
) -> Result<(), StoreError> {
    sqlx::query("INSERT OR REPLACE INTO mismatches (read_model, id, started_at, found) VALUES (?, ?, ?, ?)")
        .bind(&generation.read_model)
        .bind(generation.id.0)
        .bind(generation.started_at.0)
        .bind(found)
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(failed)
}

/// Forgets it.
pub(super) async fn delete_mismatch(
    connection: &mut SqliteConnection,
    read_model: &str,
    id: GenerationId,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM mismatches WHERE read_model = ? AND id = ?")
        .bind(read_model)
        .bind(id.0)
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(failed)
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
