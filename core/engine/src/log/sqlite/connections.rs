//! Connections to the log's file: how they are set up, and the few that all readers of a process share.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::failure::Failure;
use crate::limits;

/// May this process write?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Serves and writes.
    ReadWrite,
    /// Looks on while another process may write.
    ReadOnly,
}

/// Settings that every connection to a log has.
pub(super) fn settings(path: &Path, access: Access) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(access == Access::ReadOnly)
        .foreign_keys(false)
        .synchronous(SqliteSynchronous::Full)
        // What fsync promises elsewhere is F_FULLFSYNC on macOS; ignored on other systems.
        .pragma("fullfsync", "1")
        .pragma("checkpoint_fullfsync", "1")
        // The checkpointer does it, off the path of an append.
        .pragma("wal_autocheckpoint", "0")
        .busy_timeout(Duration::from_millis(limits::LOG_BUSY_TIMEOUT_MS))
        .statement_cache_capacity(limits::LOG_STATEMENTS_MAX)
        .row_buffer_size(limits::LOG_READ_AHEAD_ROWS_MAX)
        .thread_name(|id| format!("log-sqlite-{id}"))
        .disable_statement_logging()
}

/// Opens one connection.
pub(super) async fn connect(path: &Path, access: Access) -> Result<SqliteConnection, Failure> {
    Ok(settings(path, access).connect().await?)
}

/// Read connections of one process: opened when needed, kept, at most [`limits::LOG_READ_CONNECTIONS_MAX`].
#[derive(Debug)]
pub(super) struct ReadConnections {
    path: PathBuf,
    access: Access,
    idle: Mutex<Vec<SqliteConnection>>,
    permits: Semaphore,
}

/// A connection in use. It is closed unless it is given back: after an error, or when its future is dropped, nobody
/// knows what it is doing.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    pub(super) connection: SqliteConnection,
    lender: &'a ReadConnections,
    _permit: SemaphorePermit<'a>,
}

impl ReadConnections {
    pub(super) fn new(path: &Path, access: Access) -> Self {
        let permits = Semaphore::new(limits::LOG_READ_CONNECTIONS_MAX);
        Self { path: path.into(), access, idle: Mutex::default(), permits }
    }

    pub(super) async fn lend(&self) -> Result<Lent<'_>, Failure> {
        let closed = |_| Failure::Broken("the log is closed".into());
        let permit = self.permits.acquire().await.map_err(closed)?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, self.access).await?,
        };
        Ok(Lent { connection, lender: self, _permit: permit })
    }

    /// Lends no more, and closes what is idle.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            // It only reads: nothing is lost if it does not close well.
            let _ = connection.close().await;
        }
    }
}

impl Lent<'_> {
    pub(super) fn give_back(self) {
        let mut idle = self.lender.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.lender.permits.is_closed() {
            idle.push(self.connection);
        }
    }
}
