//! The log's file: how it is created, and what must hold before it is used.

use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use annals_model::ids::{ContextId, LogId, Partition};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};
use uuid::Uuid;

use super::SqliteOptions;
use super::connections::{Access, settings};
use super::failure::{Failure, damaged};
use super::heads::Head;
use crate::limits;
use crate::log::MetaEntry;
use crate::log::admission::OWN_META_PREFIX;

/// `ANLG`, in the file's header: tells a log from other SQLite files.
const APPLICATION_ID: i32 = 0x414e_4c47;
/// Of the tables and blocks below.
const FORMAT: i64 = 1;

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL, checksum INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE heads (context INTEGER NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    claim_epoch INTEGER NOT NULL, ordinal INTEGER NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (context, partition)) STRICT, WITHOUT ROWID;
CREATE TABLE appends (id INTEGER PRIMARY KEY, context INTEGER NOT NULL, partition INTEGER NOT NULL,
    first_offset INTEGER NOT NULL, next_offset INTEGER NOT NULL, records BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX appends_by_position ON appends (context, partition, next_offset);
";

const LOG_ID_KEY: &str = "log.id";

/// Why a log was not opened. Whatever the reason, nothing was changed in the file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no file to look at: check the path, or create the log by serving it.
    #[error("there is no log at {}", path.display())]
    Missing {
        /// Where it was expected.
        path: PathBuf,
    },
    /// The file is something else: check the path.
    #[error("{} is no log: {cause}; check the path, nothing was changed", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        cause: String,
    },
    /// The file is shortened or damaged: restore it from a backup. Nothing is guessed.
    #[error("log {} is damaged: {cause}; run `annals log verify` on it, restore it from a backup, nothing was changed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Written by a newer build: use that one.
    #[error("log {} has format {found}, this build knows {FORMAT}; use a newer build", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// Partition counts are fixed at creation: open it with the count it has.
    #[error(
        "context {context} has {found} partitions in this log, not {wanted}; the count is fixed when the log is created"
    )]
    PartitionCount {
        /// The context.
        context: ContextId,
        /// As created.
        found: u16,
        /// As asked for.
        wanted: u16,
    },
    /// No possible number of partitions: choose one between 1 and 4096.
    #[error("{0} partitions per context; 1 to {max} are possible", max = limits::LOG_PARTITIONS_MAX)]
    InvalidPartitionCount(u16),
    /// A context's number is frozen: the build and the log do not belong together.
    #[error("context number {number} is {found} in this log, {wanted} in this build; they do not belong together")]
    ContextRenamed {
        /// The number.
        number: u8,
        /// As the log has it.
        found: String,
        /// As this build has it.
        wanted: &'static str,
    },
    /// A context that the log does not have, and a reader cannot add: serve the log once with this build.
    #[error("context {0} is not in this log yet; start the server once with this build")]
    UnknownContext(ContextId),
    /// Locked, no permission, disk full: see to the cause and try again.
    #[error("log {} cannot be opened: {cause}", path.display())]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
}

impl OpenError {
    pub(super) fn of(path: &Path, failure: Failure) -> Self {
        let path = path.into();
        match failure {
            Failure::Damaged(cause) => Self::Damaged { path, cause },
            Failure::Transient(cause) | Failure::Broken(cause) => Self::Unavailable { path, cause },
        }
    }

    fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::Unavailable { path: path.into(), cause: error.to_string() }
    }
}

/// The checksum that lies beside a `meta` entry.
pub(super) fn meta_checksum(key: &str, value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key.as_bytes()), value)
}

/// An absolute path, so that no name can be taken for a SQLite URI.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, OpenError> {
    std::path::absolute(path).map_err(|error| OpenError::io(path, &error))
}

/// Creates an empty log unless there is a file. It is built under another name and put in place whole, so that a log
/// that exists is complete: an empty file is a truncated log, never a new one.
pub(super) async fn create_if_missing(path: &Path) -> Result<(), OpenError> {
    match std::fs::metadata(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(OpenError::io(path, &error)),
    }
    if with_suffix(path, "-wal").exists() {
        let cause = "its write-ahead log is there, the file itself is missing".into();
        return Err(OpenError::Damaged { path: path.into(), cause });
    }
    let draft = with_suffix(path, &format!(".new-{}", Uuid::new_v4().simple()));
    let created = build(&draft).await.map_err(|failure| OpenError::of(path, failure));
    // Unlike a rename, a link never replaces a log that another process has put there meanwhile.
    let placed = created.and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(OpenError::io(path, &error)),
        _ => sync_directory(path).map_err(|error| OpenError::io(path, &error)),
    });
    // A draft that stays behind is in nobody's way.
    let _ = std::fs::remove_file(&draft);
    placed
}

async fn build(draft: &Path) -> Result<(), Failure> {
    let settings: SqliteConnectOptions =
        settings(draft, Access::ReadWrite).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    let mut connection = settings.connect().await?;
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(TABLES).execute(&mut *transaction).await?;
    let id = Uuid::new_v4();
    put_own_meta(&mut transaction, LOG_ID_KEY, id.to_string().as_bytes()).await?;
    transaction.commit().await?;
    let stamp = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}");
    sqlx::raw_sql(AssertSqlSafe(stamp)).execute(&mut connection).await?;
    // The last connection to close copies the write-ahead log into the file, syncs it, and removes the log.
    connection.close().await?;
    Ok(())
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::File::open(directory)?.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What can be said about the file before SQLite touches it.
pub(super) fn check_bytes(path: &Path) -> Result<(), OpenError> {
    let io = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => OpenError::Missing { path: path.into() },
        _ => OpenError::io(path, &error),
    };
    let (header, length) = peek::<100>(path).map_err(io)?;
    let damaged = |cause| OpenError::Damaged { path: path.into(), cause };
    if length == 0 {
        return Err(damaged("it is empty".into()));
    }
    let magic = b"SQLite format 3\0";
    if !header.starts_with(&magic[..magic.len().min(length as usize)]) {
        return Err(OpenError::NotALog { path: path.into(), cause: "it is no sqlite file".into() });
    }
    if length < header.len() as u64 {
        return Err(damaged(format!("it ends after {length} bytes")));
    }
    // Source: https://sqlite.org/fileformat2.html#the_database_header
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    let pages_are_valid = number(24) == number(92);
    let wanted = u64::from(number(28)) * page_bytes;
    // Pages may lie in the write-ahead log only, so this can be told only without one.
    let no_wal = std::fs::metadata(with_suffix(path, "-wal")).map_or(true, |wal| wal.len() == 0);
    if no_wal && pages_are_valid && length < wanted {
        return Err(damaged(format!("it has {length} of {wanted} bytes")));
    }
    Ok(())
}

/// The file's first bytes (zeros behind its end) and its length.
///
/// The file stays open: POSIX locks belong to a process and a file, and closing any handle drops them all, those of
/// SQLite's connections to a log that is open already among them. Another process would then take itself for the last
/// user, and remove a write-ahead log that is still written to.
/// Source: <https://sqlite.org/howtocorrupt.html>, 2.2.
fn peek<const N: usize>(path: &Path) -> std::io::Result<([u8; N], u64)> {
    static PEEKED: Mutex<VecDeque<File>> = Mutex::new(VecDeque::new());
    let id = |metadata: &std::fs::Metadata| (metadata.dev(), metadata.ino());
    let wanted = id(&std::fs::metadata(path)?);
    let mut peeked = PEEKED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_wanted = |file: &File| file.metadata().is_ok_and(|metadata| id(&metadata) == wanted);
    let file = match peeked.iter().position(is_wanted) {
        Some(index) => &peeked[index],
        None => {
            let file = File::open(path)?;
            if peeked.len() >= limits::LOG_FILES_PEEKED_MAX {
                peeked.pop_front();
            }
            peeked.push_back(file);
            &peeked[peeked.len() - 1]
        }
    };
    let mut bytes = [0; N];
    let length = file.metadata()?.len();
    file.read_exact_at(&mut bytes[..N.min(usize::try_from(length).unwrap_or(N))], 0)?;
    Ok((bytes, length))
}

/// Checks that the file is a log of a format that this build knows, and reads the log's id.
pub(super) async fn check_identity(path: &Path, connection: &mut SqliteConnection) -> Result<LogId, OpenError> {
    let failed = |failure| OpenError::of(path, failure);
    let pragma = async |connection: &mut SqliteConnection, sql| -> Result<i64, OpenError> {
        sqlx::query_scalar(sql).fetch_one(connection).await.map_err(|error| failed(error.into()))
    };
    let application = pragma(connection, "PRAGMA application_id").await?;
    if application != i64::from(APPLICATION_ID) {
        let cause = format!("it is a sqlite file of another application (id {application:#x})");
        return Err(OpenError::NotALog { path: path.into(), cause });
    }
    let found = pragma(connection, "PRAGMA user_version").await?;
    if found > FORMAT {
        return Err(OpenError::NewerFormat { path: path.into(), found });
    }
    let id = get_meta(connection, LOG_ID_KEY).await.map_err(failed)?;
    id.and_then(|id| std::str::from_utf8(&id).ok()?.parse().ok())
        .ok_or_else(|| OpenError::Damaged { path: path.into(), cause: "its id is missing".into() })
}

/// Reads one `meta` value.
pub(super) async fn get_meta(connection: &mut SqliteConnection, key: &str) -> Result<Option<Vec<u8>>, Failure> {
    let query = sqlx::query("SELECT key, value, checksum FROM meta WHERE key = ?").bind(key.to_owned());
    let row = query.fetch_optional(connection).await?;
    row.as_ref().map(|row| checked_meta(row).map(|(_, value)| value)).transpose()
}

/// Reads all `meta` entries whose key starts with `prefix`, by key.
pub(super) async fn list_meta(connection: &mut SqliteConnection, prefix: &str) -> Result<Vec<MetaEntry>, Failure> {
    let query = "SELECT key, value, checksum FROM meta WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key";
    let rows = sqlx::query(query).bind(prefix.to_owned()).fetch_all(connection).await?;
    rows.iter().map(checked_meta).collect()
}

fn checked_meta(row: &sqlx::sqlite::SqliteRow) -> Result<MetaEntry, Failure> {
    let (key, value): (String, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
    if i64::from(meta_checksum(&key, &value)) != row.try_get::<i64, _>(2)? {
        return Err(damaged(format!("checksum of meta entry {key} does not match")));
    }
    Ok((key, value))
}

async fn put_own_meta(connection: &mut SqliteConnection, key: &str, value: &[u8]) -> Result<(), Failure> {
    let put = "INSERT INTO meta (key, value, checksum) VALUES (?, ?, ?)";
    let query = sqlx::query(put).bind(key.to_owned()).bind(value.to_owned()).bind(meta_checksum(key, value));
    query.execute(connection).await?;
    Ok(())
}

/// Compares the contexts of this build with those of the log; adds new ones if `access` allows it.
pub(super) async fn settle_contexts(
    path: &Path,
    connection: &mut SqliteConnection,
    contexts: &[ContextId],
    options: &SqliteOptions,
    access: Access,
) -> Result<Vec<(ContextId, u16)>, OpenError> {
    let failed = |failure| OpenError::of(path, failure);
    let mut counts = Vec::with_capacity(contexts.len());
    for context in contexts {
        let key = context_key(context.number);
        let stored = get_meta(connection, &key).await.map_err(failed)?;
        let Some(stored) = stored else {
            if holds_records(connection, *context).await.map_err(failed)? {
                return Err(failed(damaged(format!("{key} is missing, and the context's events are there"))));
            }
            if access == Access::ReadOnly {
                return Err(OpenError::UnknownContext(*context));
            }
            let count = options.partitions.unwrap_or(limits::LOG_PARTITIONS_DEFAULT);
            add_context(connection, *context, count).await.map_err(failed)?;
            counts.push((*context, count));
            continue;
        };
        let (name, found) = parse_context(&stored).ok_or_else(|| failed(damaged(format!("{key} means nothing"))))?;
        if name != context.name {
            let (number, found) = (context.number, name.to_owned());
            return Err(OpenError::ContextRenamed { number, found, wanted: context.name });
        }
        if let Some(wanted) = options.partitions.filter(|wanted| *wanted != found) {
            return Err(OpenError::PartitionCount { context: *context, found, wanted });
        }
        counts.push((*context, found));
    }
    Ok(counts)
}

/// True if anything is kept of a context, whatever `meta` says.
async fn holds_records(connection: &mut SqliteConnection, context: ContextId) -> Result<bool, Failure> {
    let query =
        "SELECT EXISTS (SELECT 1 FROM heads WHERE context = ?1) OR EXISTS (SELECT 1 FROM appends WHERE context = ?1)";
    Ok(sqlx::query_scalar(query).bind(context.number).fetch_one(connection).await?)
}

/// `<name> <partitions>`.
fn parse_context(stored: &[u8]) -> Option<(&str, u16)> {
    let (name, count) = std::str::from_utf8(stored).ok()?.split_once(' ')?;
    Some((name, count.parse().ok()?))
}

fn context_key(number: u8) -> String {
    format!("{OWN_META_PREFIX}context.{number:03}")
}

async fn add_context(connection: &mut SqliteConnection, context: ContextId, count: u16) -> Result<(), Failure> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let value = format!("{} {count}", context.name);
    put_own_meta(&mut transaction, &context_key(context.number), value.as_bytes()).await?;
    for partition in (0..count).map(Partition) {
        let insert = "INSERT INTO heads (context, partition, next_offset, claim_epoch, ordinal, checksum)
            VALUES (?, ?, 0, 0, 0, ?)";
        let checksum = Head::default().checksum(context.number, partition.0);
        let query = sqlx::query(insert).bind(context.number).bind(partition.0).bind(checksum);
        query.execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}
