//! Copies the write-ahead log into the database file, off the path of an append.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::{Row, SqliteConnection};
use tokio::sync::watch;

use super::committer::WrittenBytes;
use super::connections::{Access, connect};
use super::failure::Failure;
use crate::limits;
use crate::outage::Outage;

/// Checkpoints whenever enough was written, until `closed` is set.
pub(super) async fn checkpoint(path: PathBuf, written: Arc<WrittenBytes>, mut closed: watch::Receiver<bool>) {
    let (mut connection, failing) = (None, Outage::default());
    loop {
        tokio::select! {
            _ = closed.wait_for(|closed| *closed) => return,
            () = written.enough.notified() => {}
        }
        match checkpoint_once(&mut connection, &path).await {
            Ok(()) if failing.ends() => tracing::info!("the log is checkpointed again"),
            Ok(()) => {}
            // Nothing acknowledged is lost: it stays in the write-ahead log, and a checkpoint that failed is done
            // again in full, on a new connection.
            Err(error) => {
                if failing.begins() {
                    tracing::warn!(%error, "checkpoint of the log failed");
                }
                connection = None;
            }
        }
    }
}

async fn checkpoint_once(kept: &mut Option<SqliteConnection>, path: &std::path::Path) -> Result<(), Failure> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(connect(path, Access::ReadWrite).await?),
    };
    let row = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut *connection).await?;
    // Columns: busy, pages in the write-ahead log, pages of them copied.
    let pages: i64 = row.try_get(1)?;
    let page_bytes: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut *connection).await?;
    if pages.saturating_mul(page_bytes).cast_unsigned() > limits::LOG_WAL_BYTES_MAX {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection).await?;
    }
    Ok(())
}
