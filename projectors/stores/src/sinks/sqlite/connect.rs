//! How connections are set up, and what SQLite's errors mean to callers.

use std::path::Path;
use std::time::Duration;

use annals_engine::sink::{SinkError, StoreError};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use crate::limits;

/// A read-write connection. `NORMAL` never loses consistency in WAL mode, only the newest commits in a power loss: rows
/// and checkpoint then go back together, and the log, which is the truth, tells the rest again. An fsync per batch would
/// buy nothing but latency.
pub(super) fn writer(path: &Path) -> SqliteConnectOptions {
    base(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .pragma("journal_size_limit", limits::SINK_WAL_BYTES_KEPT.to_string())
}

/// A connection that serves queries.
pub(super) fn reader(path: &Path) -> SqliteConnectOptions {
    base(path).pragma("query_only", "ON")
}

/// A connection that holds a generation still, whatever its file is: it writes nothing.
pub(super) fn holder(path: &Path) -> SqliteConnectOptions {
    base(path)
}

/// The registry: small, rarely written, and each change of it must survive.
pub(super) fn registry(path: &Path) -> SqliteConnectOptions {
    base(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
}

/// A file being built: nobody else reads it, and a killed build is begun anew, so nothing needs a journal or a sync until
/// the end.
pub(super) fn builder(path: &Path) -> SqliteConnectOptions {
    base(path)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off)
        .pragma("cache_size", format!("-{}", limits::BULK_CACHE_KIB))
}

fn base(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_millis(limits::SINK_BUSY_TIMEOUT_MS))
        .statement_cache_capacity(limits::SINK_STATEMENTS_MAX)
        .disable_statement_logging()
}

/// What an error of SQLite means for the generation that it happened in.
pub(super) fn sink_error(generation: &str, table: &str, error: &sqlx::Error) -> SinkError {
    let (generation, table, cause) = (generation.to_owned(), table.to_owned(), error.to_string());
    if is_damage(error) {
        return SinkError::Damaged { generation, table, cause };
    }
    match primary_code(error) {
        Some(SQLITE_CONSTRAINT | SQLITE_MISMATCH | SQLITE_TOOBIG) => SinkError::Refused { generation, table, cause },
        _ => SinkError::Unavailable { generation, cause },
    }
}

/// True where what is stored cannot be read, and will not be by itself: no database, a broken one, one without the tables
/// (a file that was emptied is a database without any).
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
        sqlx::Error::Database(database) => match primary_code(error) {
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => true,
            // Statements are fixed, so that this is of what they speak of. It is also the code of a transaction that
            // SQLite ended by itself, when the disk was full.
            Some(SQLITE_ERROR) => {
                ["no such table", "no such column"].iter().any(|lack| database.message().starts_with(lack))
            }
            _ => false,
        },
        _ => false,
    }
}

const SQLITE_ERROR: u32 = 1;
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_TOOBIG: u32 = 18;
const SQLITE_CONSTRAINT: u32 = 19;
const SQLITE_MISMATCH: u32 = 20;
const SQLITE_NOTADB: u32 = 26;

/// SQLite's result code without the extension in its higher bits.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse::<u32>().ok().map(|code| code & 0xff)
}

/// The registry's own failures that are not SQLite's: files and folders.
pub(super) fn unavailable(error: impl ToString) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// What SQLite says of the registry: damage does not pass by itself.
pub(super) fn failed(error: sqlx::Error) -> StoreError {
    match is_damage(&error) {
        true => StoreError::Damaged(error.to_string()),
        false => unavailable(error),
    }
}
