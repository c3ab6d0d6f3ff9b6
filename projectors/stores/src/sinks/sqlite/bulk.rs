//! The fast way into a new generation: rows in key order without journal, index or sync, and everything else at the end.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use annals_engine::sink::{Checkpoints, SinkError};
use annals_model::projection::{GroupRow, RollupTotals, RowKey, Tables};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use super::parameters::{group_parameters, row_parameters};
use super::statements::TableStatements;
use super::target::Target;
use super::values::Parameters;
use super::{checkpoints, ddl, files};
use crate::limits;
use crate::sinks::checkpoints::fact;
use crate::sinks::ddl::indexes;
use crate::sinks::merge::merged;

/// Inserts all rows of the shards, table by table, in key order.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    target: &Target,
    shards: &[Tables],
) -> Result<(), SinkError> {
    for (index, table) in target.statements.rows() {
        load_table(connection, table, index, shards).await.map_err(|error| target.error(table.shape.name, &error))?;
    }
    Ok(())
}

async fn load_table(
    connection: &mut SqliteConnection,
    table: &TableStatements,
    index: usize,
    shards: &[Tables],
) -> Result<(), sqlx::Error> {
    let rows = merged(shards, index);
    for part in rows.chunks(limits::BULK_TRANSACTION_ROWS_MAX) {
        let mut transaction = connection.begin().await?;
        let mut chunks = table.chunks(part);
        let parameters = |chunk: &[(RowKey, usize)]| {
            row_parameters(table, chunk.iter().map(|(key, shard)| (&shards[*shard], key)), index)
        };
        let mut next = chunks.next().map(|chunk| parameters(chunk).map(|ready| (chunk.len(), ready)));
        while let Some(ready) = next.transpose()? {
            let mut inserting = pin!(insert(&mut transaction, table, ready.0, ready.1));
            // The connection's own thread inserts these rows while this one prepares the next.
            let inserted = poll_fn(|context| Poll::Ready(inserting.as_mut().poll(context))).await;
            next = chunks.next().map(|chunk| parameters(chunk).map(|ready| (chunk.len(), ready)));
            match inserted {
                Poll::Ready(inserted) => inserted?,
                Poll::Pending => inserting.await?,
            }
        }
        transaction.commit().await?;
    }
    Ok(())
}

async fn insert(
    connection: &mut SqliteConnection,
    table: &TableStatements,
    rows: usize,
    parameters: Parameters,
) -> Result<(), sqlx::Error> {
    let text = AssertSqlSafe(table.insert(rows));
    sqlx::query_with(text, parameters.into_arguments()).execute(connection).await.map(|_| ())
}

/// Rollups, indexes and checkpoints: the generation is complete.
pub(super) async fn finish(
    connection: &mut SqliteConnection,
    target: &Target,
    rollups: &RollupTotals,
    to: &Checkpoints,
) -> Result<(), SinkError> {
    for (index, table) in target.statements.rollups() {
        load_groups(connection, table, &rollups.rows(index))
            .await
            .map_err(|error| target.error(table.shape.name, &error))?;
    }
    let error = |error: sqlx::Error| target.error("annals_checkpoints", &error);
    ddl::run(connection, indexes(&target.model)).await.map_err(error)?;
    ddl::put_statistics(connection).await.map_err(error)?;
    let mut transaction = connection.begin().await.map_err(error)?;
    for (at, checkpoint) in to.iter() {
        checkpoints::put(&mut transaction, at, checkpoint).await.map_err(error)?;
    }
    checkpoints::put_fact(&mut transaction, fact::LOADED, "yes").await.map_err(error)?;
    transaction.commit().await.map_err(error)
}

async fn load_groups(
    connection: &mut SqliteConnection,
    table: &TableStatements,
    groups: &[GroupRow],
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    for chunk in table.chunks(groups) {
        insert(&mut transaction, table, chunk.len(), group_parameters(table, chunk)?).await?;
    }
    transaction.commit().await
}

/// Flushes the finished file. The builder's connection must be closed before, and no other one of this process may be
/// open: closing any handle of a file drops all of a process's locks on it.
pub(super) async fn make_durable(target: &Target) -> Result<(), SinkError> {
    let path = target.path.clone();
    let unavailable = |cause: String| SinkError::Unavailable { generation: target.label.clone(), cause };
    tokio::task::spawn_blocking(move || files::sync(&path))
        .await
        .map_err(|error| unavailable(error.to_string()))?
        .map_err(|error| unavailable(error.to_string()))
}
