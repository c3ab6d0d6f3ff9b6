//! A generation's checkpoints and its own few facts, stored beside the rows so that they move with them.

use annals_engine::sink::Checkpoints;
use annals_model::ids::{ContextId, LogId, Partition};
use annals_model::position::{Checkpoint, ContextPartition};
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::sinks::checkpoints::{self as stored, checkpoint, columns, fact};

pub(super) async fn put_fact(
    connection: &mut SqliteConnection,
    key: &'static str,
    value: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR REPLACE INTO annals_meta (key, value) VALUES (?, ?)")
        .bind(key)
        .bind(value)
        .execute(connection)
        .await
        .map(|_| ())
}

pub(super) async fn fact(connection: &mut SqliteConnection, key: &'static str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM annals_meta WHERE key = ?").bind(key).fetch_optional(connection).await
}

/// The log that a generation was made from.
pub(super) async fn log_id(connection: &mut SqliteConnection) -> Result<LogId, sqlx::Error> {
    stored::log_id(fact(connection, fact::LOG_ID).await?)
}

/// The stored checkpoint of one partition; the default one where none is stored.
pub(super) async fn get(connection: &mut SqliteConnection, at: ContextPartition) -> Result<Checkpoint, sqlx::Error> {
    let text = concat!("SELECT ", columns!(), " FROM annals_checkpoints WHERE context = ? AND partition = ?");
    let row = sqlx::query(text).bind(at.context.number).bind(at.partition.0).fetch_optional(connection).await?;
    row.as_ref().map_or(Ok(Checkpoint::default()), checkpoint)
}

/// All stored checkpoints, among the given contexts.
pub(super) async fn all(connection: &mut SqliteConnection, contexts: &[ContextId]) -> Result<Checkpoints, sqlx::Error> {
    let mut checkpoints = Checkpoints::start(log_id(connection).await?);
    let text = concat!("SELECT ", columns!(), " FROM annals_checkpoints");
    for row in sqlx::query(text).fetch_all(connection).await? {
        let (number, partition): (u8, u16) = (row.try_get(0)?, row.try_get(1)?);
        if let Some(&context) = contexts.iter().find(|context| context.number == number) {
            let at = ContextPartition { context, partition: Partition(partition) };
            checkpoints.set(at, checkpoint(&row)?);
        }
    }
    Ok(checkpoints)
}

/// Replaces the checkpoint of one partition.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    at: ContextPartition,
    to: Checkpoint,
) -> Result<(), sqlx::Error> {
    sqlx::query(concat!("INSERT OR REPLACE INTO annals_checkpoints (", columns!(), ") VALUES (?, ?, ?, ?, ?, ?)"))
        .bind(at.context.number)
        .bind(at.partition.0)
        .bind(to.offset.0.cast_signed())
        .bind(to.ordinal.0.cast_signed())
        .bind(to.claim_epoch.0.cast_signed())
        .bind(to.emitted_at.0)
        .execute(connection)
        .await
        .map(|_| ())
}
