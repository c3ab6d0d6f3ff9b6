//! A generation's checkpoints and its own few facts, stored beside the rows so that they move with them.

use annals_engine::sink::Checkpoints;
use annals_model::ids::{ContextId, LogId, Partition};
use annals_model::position::{Checkpoint, ContextPartition};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use crate::sinks::checkpoints::{self as stored, checkpoint, columns, fact};
use crate::sinks::shape::quoted;

fn text(schema: &str, statement: impl FnOnce(&str) -> String) -> AssertSqlSafe<String> {
    AssertSqlSafe(statement(&quoted(schema)))
}

pub(super) async fn put_fact(
    connection: &mut PgConnection,
    schema: &str,
    key: &'static str,
    value: &str,
) -> Result<(), sqlx::Error> {
    let text = text(schema, |schema| {
        format!(
            "INSERT INTO {schema}.annals_meta (key, value) VALUES ($1, $2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        )
    });
    sqlx::query(text).bind(key).bind(value).execute(connection).await.map(|_| ())
}

pub(super) async fn fact(
    connection: &mut PgConnection,
    schema: &str,
    key: &'static str,
) -> Result<Option<String>, sqlx::Error> {
    let text = text(schema, |schema| format!("SELECT value FROM {schema}.annals_meta WHERE key = $1"));
    sqlx::query_scalar(text).bind(key).fetch_optional(connection).await
}

/// A fact that does not change before the transaction ends.
pub(super) async fn held_fact(
    connection: &mut PgConnection,
    schema: &str,
    key: &'static str,
) -> Result<Option<String>, sqlx::Error> {
    let text = text(schema, |schema| format!("SELECT value FROM {schema}.annals_meta WHERE key = $1 FOR SHARE"));
    sqlx::query_scalar(text).bind(key).fetch_optional(connection).await
}

/// The log that a generation was made from.
pub(super) async fn log_id(connection: &mut PgConnection, schema: &str) -> Result<LogId, sqlx::Error> {
    stored::log_id(fact(connection, schema, fact::LOG_ID).await?)
}

/// The stored checkpoint of one partition, the default one where none is stored; nobody else changes it before the
/// transaction ends, and whoever was about to has ended.
pub(super) async fn lock(
    connection: &mut PgConnection,
    schema: &str,
    at: ContextPartition,
) -> Result<Checkpoint, sqlx::Error> {
    if let Some(found) = try_lock(connection, schema, at).await? {
        return Ok(found);
    }
    let text = text(schema, |schema| {
        format!(
            concat!(
                "INSERT INTO {schema}.annals_checkpoints (",
                columns!(),
                ") VALUES ($1, $2, 0, 0, 0, 0) ",
                "ON CONFLICT (context, partition) DO NOTHING"
            ),
            schema = schema
        )
    });
    sqlx::query(text)
        .bind(i16::from(at.context.number))
        .bind(i32::from(at.partition.0))
        .execute(&mut *connection)
        .await?;
    Ok(try_lock(connection, schema, at).await?.unwrap_or_default())
}

async fn try_lock(
    connection: &mut PgConnection,
    schema: &str,
    at: ContextPartition,
) -> Result<Option<Checkpoint>, sqlx::Error> {
    let text = text(schema, |schema| {
        format!(
            concat!(
                "SELECT ",
                columns!(),
                " FROM {}.annals_checkpoints WHERE context = $1 AND partition = $2 FOR UPDATE"
            ),
            schema
        )
    });
    let row = sqlx::query(text)
        .bind(i16::from(at.context.number))
        .bind(i32::from(at.partition.0))
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(checkpoint).transpose()
}

/// All stored checkpoints, among the given contexts.
pub(crate) async fn all(
    connection: &mut PgConnection,
    schema: &str,
    contexts: &[ContextId],
) -> Result<Checkpoints, sqlx::Error> {
    // The log's id in the same statement: one look, one moment, one round trip.
    let text = text(schema, |schema| {
        format!(
            concat!(
                "SELECT ",
                columns!(),
                ", value FROM {schema}.annals_meta LEFT JOIN {schema}.annals_checkpoints ON true ",
                "WHERE key = 'log_id'"
            ),
            schema = schema
        )
    });
    let rows = sqlx::query(text).fetch_all(connection).await?;
    let log = stored::log_id(rows.first().map(|row| row.try_get(6)).transpose()?)?;
    let mut checkpoints = Checkpoints::start(log);
    for row in &rows {
        let (Some(number), Some(partition)) = (row.try_get::<Option<i16>, _>(0)?, row.try_get::<Option<i32>, _>(1)?)
        else {
            continue;
        };
        if let Some(&context) = contexts.iter().find(|context| i16::from(context.number) == number) {
            let partition = u16::try_from(partition).map_err(|error| sqlx::Error::Decode(error.into()))?;
            checkpoints.set(ContextPartition { context, partition: Partition(partition) }, checkpoint(row)?);
        }
    }
    Ok(checkpoints)
}

/// Replaces the checkpoint of one partition.
pub(super) async fn put(
    connection: &mut PgConnection,
    schema: &str,
    at: ContextPartition,
    to: Checkpoint,
) -> Result<(), sqlx::Error> {
    let text = text(schema, |schema| {
        format!(
            concat!(
                "INSERT INTO {schema}.annals_checkpoints (",
                columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6) ",
                "ON CONFLICT (context, partition) DO UPDATE SET log_offset = excluded.log_offset, ",
                "ordinal = excluded.ordinal, claim_epoch = excluded.claim_epoch, emitted_at = excluded.emitted_at"
            ),
            schema = schema
        )
    });
    sqlx::query(text)
        .bind(i16::from(at.context.number))
        .bind(i32::from(at.partition.0))
        .bind(to.offset.0.cast_signed())
        .bind(to.ordinal.0.cast_signed())
        .bind(to.claim_epoch.0.cast_signed())
        .bind(to.emitted_at.0)
        .execute(connection)
        .await
        .map(|_| ())
}
