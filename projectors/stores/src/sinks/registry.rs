//! The registry's rows: which statements read and write them, in the words that all databases share.

/// All columns of a generation's row.
macro_rules! columns {
    () => {
        "read_model, id, version, state, started_at, finished_at, retired_at, verified_digest, reason, failure"
    };
}

/// A module `rows` with the statements of one database, whose tables lie in `$schema`. A macro, not a function of the
/// database: sqlx has types of its own for each, and a function would say so of every value that it reads or writes.
macro_rules! registry_rows {
    ($database:ty, $schema:literal, $failed:path) => {
        mod rows {
            use annals_engine::generations::life::{Change, Life};
            use annals_engine::sink::{Generation, GenerationId, GenerationState, StoreError};
            use annals_model::time::Timestamp;
            use sqlx::{Database, Row as _};

            use crate::sinks::registry::columns;

            type Connection = <$database as Database>::Connection;
            type Query<'q> = sqlx::query::Query<'q, $database, <$database as Database>::Arguments>;

            /// All generations of a read model, oldest first, and what the last verification of each found.
            pub(crate) async fn list(
                connection: &mut Connection,
                read_model: &str,
            ) -> Result<Vec<Generation>, StoreError> {
                let rows = sqlx::query(concat!(
                    "SELECT ",
                    columns!(),
                    ", (SELECT found FROM ",
                    $schema,
                    "mismatches AS of WHERE of.read_model = known.read_model AND of.id = known.id
                        AND of.started_at = known.started_at) FROM ",
                    $schema,
                    "generations AS known WHERE read_model = $1 ORDER BY id"
                ))
                .bind(read_model)
                .fetch_all(connection)
                .await
                .map_err($failed)?;
                rows.iter().map(generation).collect()
            }

            /// Generations that have been made whole, of read models that this build may not know.
            pub(crate) async fn whole(connection: &mut Connection) -> Result<Vec<(String, GenerationId)>, sqlx::Error> {
                let rows: Vec<(String, i64)> = sqlx::query_as(concat!(
                    "SELECT read_model, id FROM ",
                    $schema,
                    "generations WHERE state IN ('ready', 'live', 'retired')"
                ))
                .fetch_all(connection)
                .await?;
                let known = |(name, id)| Some((name, GenerationId(u32::try_from(id).ok()?)));
                Ok(rows.into_iter().filter_map(known).collect())
            }

            /// All rows of a read model, for a step in the life of one of its generations.
            pub(crate) async fn life(connection: &mut Connection, read_model: &str) -> Result<Life, StoreError> {
                let text = concat!("SELECT last_generation FROM ", $schema, "read_models WHERE name = $1");
                let last: Option<i64> =
                    sqlx::query_scalar(text).bind(read_model).fetch_optional(&mut *connection).await.map_err($failed)?;
                Ok(Life::new(read_model, number(last.unwrap_or_default())?, list(connection, read_model).await?))
            }

            /// Numbers without a sign are stored as such with one.
            fn number(stored: i64) -> Result<u32, StoreError> {
                let damaged = |_| StoreError::Damaged(format!("{stored} is no number of a generation or version"));
                u32::try_from(stored).map_err(damaged)
            }

            fn generation(row: &<$database as Database>::Row) -> Result<Generation, StoreError> {
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

            /// Writes what a step makes of these rows, where they are still what it was decided on. Nobody can come between
            /// in a turn; who writes without one is told.
            pub(crate) async fn write(
                connection: &mut Connection,
                life: &Life,
                change: &Change,
            ) -> Result<(), StoreError> {
                let generation = change.generation();
                let written = async |query: Query<'_>, connection: &mut Connection| {
                    match query.execute(connection).await.map_err($failed)?.rows_affected() {
                        1 => Ok(()),
                        _ => Err(StoreError::from(life.changed(generation.id))),
                    }
                };
                match change {
                    Change::Added(_) => {
                        // The number counts as used, if the last one that was used still is.
                        let counted = sqlx::query(concat!(
                            "INSERT INTO ",
                            $schema,
                            "read_models AS known (name, last_generation) VALUES ($1, $2)
                             ON CONFLICT (name) DO UPDATE SET last_generation = $2 WHERE known.last_generation = $3"
                        ));
                        let counted = counted.bind(life.read_model()).bind(i64::from(generation.id.0));
                        written(counted.bind(i64::from(life.last())), connection).await?;
                        let added = sqlx::query(concat!(
                            "INSERT INTO ",
                            $schema,
                            "generations (",
                            columns!(),
                            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
                        ));
                        written(bound(added, generation), connection).await
                    }
                    Change::Changed { before, after } => {
                        if before.mismatch != after.mismatch {
                            put_mismatch(connection, after, after.mismatch.as_deref()).await?;
                        }
                        let changed = sqlx::query(concat!(
                            "UPDATE ",
                            $schema,
                            "generations SET (",
                            columns!(),
                            ") = ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                             WHERE read_model = $11 AND id = $12 AND started_at = $13 AND state = $14
                                 AND retired_at IS NOT DISTINCT FROM $15"
                        ));
                        written(as_before(bound(changed, after), before), connection).await
                    }
                    Change::Removed(before) => {
                        put_mismatch(connection, before, None).await?;
                        // Its number stays used.
                        let removed = sqlx::query(concat!(
                            "DELETE FROM ",
                            $schema,
                            "generations WHERE read_model = $1 AND id = $2 AND started_at = $3 AND state = $4
                                 AND retired_at IS NOT DISTINCT FROM $5"
                        ));
                        written(as_before(removed, before), connection).await
                    }
                }
            }

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
            async fn put_mismatch(
                connection: &mut Connection,
                of: &Generation,
                found: Option<&str>,
            ) -> Result<(), StoreError> {
                let text = match found {
                    Some(_) => concat!(
                        "INSERT INTO ",
                        $schema,
                        "mismatches (read_model, id, started_at, found) VALUES ($1, $2, $3, $4)
                         ON CONFLICT (read_model, id) DO UPDATE SET started_at = excluded.started_at, found = excluded.found"
                    ),
                    None => concat!("DELETE FROM ", $schema, "mismatches WHERE read_model = $1 AND id = $2"),
                };
                let query = sqlx::query(text).bind(&of.read_model).bind(i64::from(of.id.0));
                let query = match found {
                    // PostgreSQL keeps no NUL in a text.
                    Some(found) => query.bind(of.started_at.0).bind(found.replace('\0', " ")),
                    None => query,
                };
                query.execute(connection).await.map(drop).map_err($failed)
            }
        }
    };
}

pub(super) use {columns, registry_rows};
