//! Reading one partition: one short statement per batch, because a long one would keep the write-ahead log from
//! starting over.

use std::sync::Arc;

use annals_model::position::{ContextPartition, Offset, RecordOffset};
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::Shared;
use super::block::Stored;
use super::failure::Failure;
use super::heads::read_head;
use crate::limits;
use crate::log::{BoxFuture, LogReader, RawBatch, ReadError};

const READ: &str = "SELECT first_offset, next_offset, records FROM appends
    WHERE context = ? AND partition = ? AND next_offset > ? ORDER BY next_offset LIMIT ?";

#[derive(Debug)]
pub(super) struct SqliteReader {
    shared: Arc<Shared>,
    cursor: Cursor,
    /// Rows to ask for next: one first, so that fetching a single record reads one append, then as many as fill a batch.
    rows_max: i64,
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    at: ContextPartition,
    position: Offset,
    /// The position is where an append begins; at first it may lie inside one.
    aligned: bool,
}

impl SqliteReader {
    /// Refuses a position behind the end.
    pub(super) async fn open(shared: Arc<Shared>, at: ContextPartition, from: Offset) -> Result<Self, ReadError> {
        let end = shared.end(at).await?;
        if from > end {
            return Err(ReadError::BeyondEnd { at, position: from, end });
        }
        Ok(Self { shared, cursor: Cursor { at, position: from, aligned: false }, rows_max: 1 })
    }

    async fn read(&mut self, batch: &mut RawBatch) -> Result<(), ReadError> {
        batch.clear();
        let unread = |failure: Failure| self.cursor.unread(failure);
        let mut lent = self.shared.readers.lend().await.map_err(unread)?;
        let mut cursor = self.cursor;
        let mut looked_again = false;
        loop {
            let rows = cursor.read(&mut lent.connection, self.rows_max, batch).await;
            match rows {
                // What lies before the damage is delivered first; the next call starts at it.
                Err(error) if batch.is_empty() => return Err(error),
                Err(_) => break,
                Ok(0) => {
                    let head = read_head(&mut lent.connection, cursor.at).await.map_err(unread)?;
                    if head.next == cursor.position {
                        break;
                    }
                    // Written since, or lost: a second look tells.
                    cursor.check_end(head.next, looked_again)?;
                    looked_again = true;
                }
                Ok(_) if batch.is_empty() => {}
                Ok(rows) => {
                    self.rows_max = next_rows_max(self.rows_max, rows, batch.bytes_len());
                    break;
                }
            }
        }
        lent.give_back();
        self.cursor = cursor;
        Ok(())
    }
}

/// As many rows as fill about one batch.
fn next_rows_max(asked: i64, read: i64, bytes: usize) -> i64 {
    let fits = limits::READ_BATCH_BYTES_MAX as i64 * read / (bytes as i64).max(1);
    fits.min(asked.saturating_mul(16)).clamp(1, limits::LOG_READ_ROWS_MAX)
}

impl Cursor {
    /// One statement. Moves over every row that it took whole, and answers how many those are.
    async fn read(
        &mut self,
        connection: &mut SqliteConnection,
        rows_max: i64,
        batch: &mut RawBatch,
    ) -> Result<i64, ReadError> {
        let mut rows = sqlx::query(READ)
            .bind(self.at.context.number)
            .bind(self.at.partition.0)
            .bind(self.position.0.cast_signed())
            .bind(rows_max)
            .fetch(connection);
        let mut taken = 0;
        while let Some(row) = rows.try_next().await.map_err(|error| self.unread(error.into()))? {
            let stored = stored(&row).map_err(|error| self.unread(error.into()))?;
            if !batch.is_empty() && batch.bytes_len() + stored.block.len() > limits::READ_BATCH_BYTES_MAX {
                break;
            }
            self.take(stored, batch)?;
            taken += 1;
        }
        Ok(taken)
    }

    /// Appends tile their partition: one begins where the one before it ends.
    fn take(&mut self, stored: Stored<'_>, batch: &mut RawBatch) -> Result<(), ReadError> {
        let (at, before) = (self.at, self.position);
        if stored.first > before || (self.aligned && stored.first != before) {
            let cause = format!("an append from {} on", stored.first);
            return Err(ReadError::NotContiguous { at, before, offset: RecordOffset(stored.first.0), cause });
        }
        stored.read(at, before, batch).map_err(|damage| ReadError::Corrupt {
            at,
            offset: damage.offset,
            cause: damage.cause,
        })?;
        self.position = stored.next;
        self.aligned = true;
        Ok(())
    }

    fn check_end(&self, end: Offset, looked_again: bool) -> Result<(), ReadError> {
        let (at, before) = (self.at, self.position);
        if end < before {
            return Err(ReadError::BeyondEnd { at, position: before, end });
        }
        if looked_again {
            let cause = format!("nothing up to the recorded end {end}");
            return Err(ReadError::NotContiguous { at, before, offset: RecordOffset(before.0), cause });
        }
        Ok(())
    }

    fn unread(&self, failure: Failure) -> ReadError {
        failure.into_read_error(self.at, RecordOffset(self.position.0))
    }
}

/// Columns first_offset, next_offset, records. A negative offset is damage.
pub(super) fn stored(row: &SqliteRow) -> Result<Stored<'_>, sqlx::Error> {
    Ok(Stored { first: Offset(row.try_get(0)?), next: Offset(row.try_get(1)?), block: row.try_get(2)? })
}

impl LogReader for SqliteReader {
    fn position(&self) -> Offset {
        self.cursor.position
    }

    fn next<'a>(&'a mut self, batch: &'a mut RawBatch) -> BoxFuture<'a, Result<(), ReadError>> {
        Box::pin(self.read(batch))
    }

    fn wait(&mut self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async {
            self.shared.wake.passed(self.cursor.at, self.cursor.position).await;
            Ok(())
        })
    }
}
