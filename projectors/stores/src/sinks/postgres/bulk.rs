//! The fast way into a new generation: binary COPY in key order into tables without keys and indexes, and everything else
//! at the end, in one transaction.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use annals_engine::sink::{Checkpoints, SinkError};
use annals_model::projection::{RollupTotals, RowKey, RowLife, Tables, Value};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::answer::within;
use super::checkpoints;
use super::ddl;
use super::statements::{Statements, TableStatements};
use super::target::Target;
use super::values::{Arrays, put, put_key};
use super::write::put_groups;
use crate::limits;
use crate::sinks::checkpoints::fact;
use crate::sinks::merge::merged;

/// What a binary COPY begins with: its signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with: a row of -1 columns.
const TRAILER: &[u8] = &(-1i16).to_be_bytes();

/// Copies all rows of the shards, table by table, in key order.
pub(super) async fn load(
    connection: &mut PgConnection,
    target: &Target,
    statements: &Statements,
    shards: &[Tables],
) -> Result<(), SinkError> {
    let error = |error: sqlx::Error| target.error("annals_meta", &error);
    let mut transaction = within(limits::STORE_ANSWER_MS_MAX, connection.begin()).await.map_err(error)?;
    hold(&mut transaction, target).await?;
    for (index, table) in statements.rows() {
        copy(&mut transaction, table, index, shards).await.map_err(|error| target.error(table.shape.name, &error))?;
    }
    within(limits::BULK_ANSWER_MS_MAX, transaction.commit()).await.map_err(error)
}

/// Keeps another builder from beginning anew before the transaction ends, or notices that it has: our lock may have gone
/// with its connection.
async fn hold(connection: &mut PgConnection, target: &Target) -> Result<(), SinkError> {
    let holding = checkpoints::held_fact(connection, &target.schema, fact::STARTED_AT);
    let found = within(limits::STORE_ANSWER_MS_MAX, holding).await;
    let found = found.map_err(|error| target.error("annals_meta", &error))?;
    if found == Some(target.generation.started_at.0.to_string()) {
        return Ok(());
    }
    let cause = "another builder has begun it anew, because this one's connection was lost; rebuild again".to_owned();
    Err(SinkError::State { generation: target.label.clone(), state: target.generation.state, cause })
}

async fn copy(
    connection: &mut PgConnection,
    table: &TableStatements,
    index: usize,
    shards: &[Tables],
) -> Result<(), sqlx::Error> {
    let rows = merged(shards, index);
    if rows.is_empty() {
        return Ok(());
    }
    let mut copy = within(limits::STORE_ANSWER_MS_MAX, connection.copy_in_raw(&table.copy)).await?;
    let mut encoder = Encoder { table, index, shards, rows: &rows, values: Vec::new() };
    let (mut ready, mut next) = (HEADER.to_vec(), Vec::new());
    encoder.fill(&mut ready)?;
    while !ready.is_empty() {
        {
            let mut sending = pin!(within(limits::BULK_ANSWER_MS_MAX, copy.send(ready.as_slice())));
            // The server takes these rows while this thread prepares the next.
            let sent = poll_fn(|context| Poll::Ready(sending.as_mut().poll(context))).await;
            next.clear();
            encoder.fill(&mut next)?;
            match sent {
                Poll::Ready(sent) => sent.map(drop)?,
                Poll::Pending => sending.await.map(drop)?,
            }
        }
        std::mem::swap(&mut ready, &mut next);
    }
    within(limits::BULK_ANSWER_MS_MAX, copy.send(TRAILER)).await.map(drop)?;
    within(limits::BULK_ANSWER_MS_MAX, copy.finish()).await.map(drop)
}

/// The rows that are still to be sent.
struct Encoder<'a> {
    table: &'a TableStatements,
    index: usize,
    shards: &'a [Tables],
    rows: &'a [(RowKey, usize)],
    values: Vec<Value<'a>>,
}

impl Encoder<'_> {
    /// Appends rows until the buffer is full.
    fn fill(&mut self, out: &mut Vec<u8>) -> Result<(), sqlx::Error> {
        let columns = i16::try_from(self.table.types.len()).map_err(|error| sqlx::Error::Encode(error.into()))?;
        while out.len() < limits::BULK_COPY_BYTES {
            let Some(((key, shard), rest)) = self.rows.split_first() else { break };
            self.rows = rest;
            self.values.clear();
            // The key was listed by these very tables.
            let Some(life) = self.shards[*shard].values(self.index, key, &mut self.values) else { continue };
            out.extend_from_slice(&columns.to_be_bytes());
            put_key(out, key)?;
            self.values.iter().try_for_each(|value| put(out, *value))?;
            put(out, Value::Bool(life == RowLife::Deleted))?;
        }
        Ok(())
    }
}

/// Keys, rollups, indexes, row-level security and checkpoints: the generation is complete, and durable when this returns.
pub(super) async fn finish(
    connection: &mut PgConnection,
    target: &Target,
    statements: &Statements,
    arrays: &mut Arrays,
    rollups: &RollupTotals,
    to: &Checkpoints,
) -> Result<(), SinkError> {
    let error = |error: sqlx::Error| target.error("annals_checkpoints", &error);
    let mut transaction = within(limits::STORE_ANSWER_MS_MAX, connection.begin()).await.map_err(error)?;
    hold(&mut transaction, target).await?;
    let finishing = async {
        ddl::put_keys(&mut transaction, target).await?;
        for (index, table) in statements.rollups() {
            for chunk in rollups.rows(index).chunks(limits::SINK_BATCH_ROWS_MAX) {
                put_groups(&mut transaction, arrays, table, chunk).await?;
            }
        }
        ddl::finish(&mut transaction, target).await?;
        for (at, checkpoint) in to.iter() {
            checkpoints::put(&mut transaction, &target.schema, at, checkpoint).await?;
        }
        checkpoints::put_fact(&mut transaction, &target.schema, fact::LOADED, "yes").await?;
        transaction.commit().await
    };
    within(limits::BULK_FINISH_MS_MAX, finishing).await.map_err(error)
}
