//! How long an answer may take, and what PostgreSQL's errors mean to callers.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use annals_engine::sink::{SinkError, StoreError};

/// An answer that came too late, or not at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutOfTime {
    /// PostgreSQL ended the statement because of its time.
    #[error("the statement took longer than {} s and was ended ({told})", took_ms / 1_000)]
    Statement {
        /// How long it ran.
        took_ms: u128,
        /// What PostgreSQL said.
        told: String,
    },
    /// Nothing came.
    #[error("no answer from PostgreSQL within {} s; what it was asked is given up", limit_ms / 1_000)]
    Silence {
        /// How long it was waited for.
        limit_ms: u64,
    },
    /// What was given up before is still at work.
    #[error("PostgreSQL has not ended the statement that was given up before, within {} s", limit_ms / 1_000)]
    Ending {
        /// How long it was waited for.
        limit_ms: u64,
    },
}

impl From<OutOfTime> for sqlx::Error {
    fn from(error: OutOfTime) -> Self {
        io::Error::new(io::ErrorKind::TimedOut, error).into()
    }
}

/// The answer, unless it takes longer: a server that was stopped answers nothing, and closes nothing. A slow statement
/// is told from a silent server: PostgreSQL ends it by itself first.
pub(crate) async fn within<T>(
    limit_ms: u64,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let began = Instant::now();
    match tokio::time::timeout(Duration::from_millis(limit_ms), answer).await {
        Ok(Err(error)) if sqlstate(&error).as_deref() == Some(QUERY_CANCELED) => {
            Err(OutOfTime::Statement { took_ms: began.elapsed().as_millis(), told: told(&error) }.into())
        }
        Ok(answer) => answer,
        Err(_) => Err(OutOfTime::Silence { limit_ms }.into()),
    }
}

const QUERY_CANCELED: &str = "57014";

/// True if PostgreSQL ended a statement because of its time.
pub(crate) fn took_too_long(error: &sqlx::Error) -> bool {
    sqlstate(error).as_deref() == Some(QUERY_CANCELED)
        || matches!(out_of_time(error), Some(OutOfTime::Statement { .. }))
}

fn out_of_time(error: &sqlx::Error) -> Option<&OutOfTime> {
    match error {
        sqlx::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// What an error of PostgreSQL means for the generation that it happened in.
pub(super) fn sink_error(generation: &str, table: &str, error: &sqlx::Error) -> SinkError {
    let (generation, table, cause) = (generation.to_owned(), table.to_owned(), told(error));
    match kind(error) {
        Kind::Damaged => SinkError::Damaged { generation, table, cause },
        Kind::Refused => SinkError::Refused { generation, table, cause },
        Kind::Unavailable => SinkError::Unavailable { generation, cause },
    }
}

/// True for an error that is about what is stored, not about the server or the way to it.
pub(super) fn is_of_content(error: &sqlx::Error) -> bool {
    kind(error) == Kind::Damaged
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Damaged,
    Refused,
    Unavailable,
}

fn kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Kind::Damaged,
        sqlx::Error::Encode(_) => Kind::Refused,
        _ => sqlstate(error).map_or(Kind::Unavailable, |state| of_sqlstate(&state)),
    }
}

/// Everything else (no connection, no room, too many sessions, stopped by an administrator, no right to do it) may be
/// over the next time.
fn of_sqlstate(state: &str) -> Kind {
    const UNDEFINED_SCHEMA: &str = "3F000";
    const UNDEFINED_TABLE: &str = "42P01";
    const UNDEFINED_COLUMN: &str = "42703";
    const DATA_CORRUPTED: &str = "XX001";
    const INDEX_CORRUPTED: &str = "XX002";
    match state {
        UNDEFINED_SCHEMA | UNDEFINED_TABLE | UNDEFINED_COLUMN | DATA_CORRUPTED | INDEX_CORRUPTED => Kind::Damaged,
        // Data exceptions, constraints, limits of the program: of the rows themselves.
        _ if ["22", "23", "54"].iter().any(|class| state.starts_with(class)) => Kind::Refused,
        _ => Kind::Unavailable,
    }
}

/// PostgreSQL's code of an error, if it is one of PostgreSQL's.
pub(crate) fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}

/// An error in words: PostgreSQL's own and its code, or what became of the connection.
pub(crate) fn told(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(database) => {
            let detail = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|own| own.detail());
            let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
            let code = database.code().unwrap_or_default();
            format!("PostgreSQL says: {}{detail} (SQLSTATE {code})", database.message())
        }
        None if matches!(error, sqlx::Error::PoolTimedOut) => {
            "no connection to PostgreSQL in time: it is down, or all that this process may have are in use".to_owned()
        }
        None => match out_of_time(error) {
            Some(late) => late.to_string(),
            None => format!("the connection to PostgreSQL failed: {error}"),
        },
    }
}

/// The registry's own failures.
pub(super) fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(told(&error))
}
