//! What an error of SQLite means for the log.

use annals_model::position::{ContextPartition, RecordOffset};

use crate::log::ReadError;

/// Primary result codes: <https://sqlite.org/rescode.html>.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const NOTADB: i32 = 26;
/// Extended: the file ends inside a page.
const IOERR_SHORT_READ: i32 = 522;
/// Extended: the file that readers and the writer share cannot grow. Where there is not even room for that, SQLite says
/// `disk I/O error` and not, as elsewhere, that the disk is full.
const IOERR_SHMSIZE: i32 = 4874;

/// An error of SQLite, sorted by what may be done about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The file does not hold what was written: restore it.
    #[error("{0}")]
    Damaged(String),
    /// Busy, full, out of memory: before a commit nothing is written; try again later.
    #[error("{0}")]
    Transient(String),
    /// Anything else, I/O errors first: the connection is not used again.
    #[error("{0}")]
    Broken(String),
}

pub(super) fn damaged(cause: impl Into<String>) -> Failure {
    Failure::Damaged(cause.into())
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(error) => error.code().and_then(|code| code.parse::<i32>().ok()),
            // A column that has another type than every row that was ever written.
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => return Self::Damaged(error.to_string()),
            _ => None,
        };
        let cause = match &error {
            sqlx::Error::Database(error) => error.message().to_owned(),
            _ => error.to_string(),
        };
        Self::of(code, cause)
    }
}

impl Failure {
    /// By SQLite's result code, if it is SQLite's.
    fn of(code: Option<i32>, cause: String) -> Self {
        match code {
            Some(IOERR_SHORT_READ) => Self::Damaged(cause),
            Some(IOERR_SHMSIZE) => Self::Broken(format!("{cause}: database or disk is full")),
            Some(code) if matches!(code & 0xff, CORRUPT | NOTADB) => Self::Damaged(cause),
            Some(code) if matches!(code & 0xff, BUSY | LOCKED | NOMEM | FULL) => Self::Transient(cause),
            _ => Self::Broken(cause),
        }
    }

    /// As a reader of `at` reports it, who was about to read `offset`.
    pub(super) fn into_read_error(self, at: ContextPartition, offset: RecordOffset) -> ReadError {
        match self {
            Self::Damaged(cause) => ReadError::Corrupt { at, offset, cause },
            Self::Transient(cause) | Self::Broken(cause) => ReadError::Unavailable(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_called_so_wherever_it_is_noticed() {
        let full = Failure::of(Some(FULL), "database or disk is full".to_owned());
        assert!(matches!(&full, Failure::Transient(cause) if cause == "database or disk is full"), "{full}");
        let full = Failure::of(Some(IOERR_SHMSIZE), "disk I/O error".to_owned());
        assert!(matches!(&full, Failure::Broken(cause) if cause.ends_with("database or disk is full")), "{full}");
        // A disk that fails is not a full one.
        let broken = Failure::of(Some(10), "disk I/O error".to_owned());
        assert!(matches!(&broken, Failure::Broken(cause) if cause == "disk I/O error"), "{broken}");
    }
}
