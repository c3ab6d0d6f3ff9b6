//! A generation's checkpoints and its own few facts, stored beside the rows so that they move with them.

use annals_engine::sink::Checkpoints;
use annals_model::ids::{ContextId, LogId, Partition};
use annals_model::position::{Checkpoint, ClaimEpoch, ContextPartition, Offset, Ordinal};
use annals_model::time::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

/// The facts of [`annals_meta`](super::ddl::OWN_TABLES).
pub(super) mod fact {
    /// The log whose positions the checkpoints are.
    pub(in super::super) const LOG_ID: &str = "log_id";
    /// Name of the read model.
    pub(in super::super) const READ_MODEL: &str = "read_model";
    /// Its version.
    pub(in super::super) const VERSION: &str = "version";
    /// Number of the generation.
    pub(in super::super) const GENERATION: &str = "generation";
    /// Set when the bulk load has ended, or none was needed.
    pub(in super::super) const LOADED: &str = "loaded";
}

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
    let text = fact(connection, fact::LOG_ID).await?.unwrap_or_default();
    text.parse().map_err(|_| sqlx::Error::Decode(format!("`{text}` is no log id").into()))
}

/// The stored checkpoint of one partition; the default one where none is stored.
pub(super) async fn get(connection: &mut SqliteConnection, at: ContextPartition) -> Result<Checkpoint, sqlx::Error> {
    let row = sqlx::query(
        "SELECT context, partition, log_offset, ordinal, claim_epoch, emitted_at FROM annals_checkpoints
         WHERE context = ? AND partition = ?",
    )
    .bind(at.context.number)
    .bind(at.partition.0)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map_or(Ok(Checkpoint::default()), checkpoint)
}

/// All stored checkpoints, among the given contexts.
pub(super) async fn all(connection: &mut SqliteConnection, contexts: &[ContextId]) -> Result<Checkpoints, sqlx::Error> {
    let mut checkpoints = Checkpoints::start(log_id(connection).await?);
    let text = "SELECT context, partition, log_offset, ordinal, claim_epoch, emitted_at FROM annals_checkpoints";
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
    sqlx::query(
        "INSERT OR REPLACE INTO annals_checkpoints (context, partition, log_offset, ordinal, claim_epoch, emitted_at)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
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

fn checkpoint(row: &SqliteRow) -> Result<Checkpoint, sqlx::Error> {
    let unsigned = |index: usize| row.try_get::<i64, _>(index).map(i64::cast_unsigned);
    Ok(Checkpoint {
        offset: Offset(unsigned(2)?),
        ordinal: Ordinal(unsigned(3)?),
        claim_epoch: ClaimEpoch(unsigned(4)?),
        emitted_at: Timestamp(row.try_get(5)?),
    })
}
