//! How connections are set up, how long an answer may take, and what PostgreSQL's errors mean to callers.

use std::fmt;
use std::future::Future;
use std::io;
use std::str::FromStr as _;
use std::time::Duration;

use annals_engine::sink::SinkError;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::access::WRITER_SETTING;
use crate::limits;

/// Where a database is, and as whom. Its password is never shown.
#[derive(Clone)]
pub(super) struct Address(PgConnectOptions);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, host, port) = (self.0.get_username(), self.0.get_host(), self.0.get_port());
        match self.0.get_socket() {
            Some(socket) => write!(f, "database {} at {} as {user}", self.database(), socket.display()),
            None => write!(f, "database {} at {host}:{port} as {user}", self.database()),
        }
    }
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, sqlx::Error> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(sqlx::Error::Configuration("it does not begin with postgres://".into()));
        }
        let options = PgConnectOptions::from_str(url)?;
        Ok(Self(
            options
                .application_name("annals")
                .statement_cache_capacity(limits::SINK_STATEMENTS_MAX)
                .disable_statement_logging()
                // A peer that vanished without a word must not hold locks for hours.
                .options([
                    ("tcp_keepalives_idle", "10"),
                    ("tcp_keepalives_interval", "5"),
                    ("tcp_keepalives_count", "3"),
                ])
                .options([("lock_timeout", limits::SINK_BUSY_TIMEOUT_MS.to_string())]),
        ))
    }

    pub(super) fn database(&self) -> &str {
        self.0.get_database().unwrap_or_else(|| self.0.get_username())
    }

    /// Writes rows. A commit is on the disk when it is answered: processes that live on remember how far they came, and
    /// a server that woke up older would show readers less than before. A writer that was stopped inside a transaction
    /// does not hold the others up for long.
    pub(super) fn writer(&self) -> PgConnectOptions {
        self.own(limits::SINK_IDLE_MS_MAX).options([("synchronous_commit", "on"), (WRITER_SETTING, "on")])
    }

    /// Loads a new generation: what it ends with must survive.
    pub(super) fn builder(&self) -> PgConnectOptions {
        self.own(limits::BULK_ANSWER_MS_MAX)
            .options([("maintenance_work_mem", format!("{}MB", limits::BULK_MAINTENANCE_MEMORY_MIB))])
            .options([(WRITER_SETTING, "on")])
    }

    /// Looks at all rows of a generation, for as long as that takes.
    pub(super) fn snapshot(&self) -> PgConnectOptions {
        self.own(limits::SNAPSHOT_IDLE_MS_MAX)
            .options([(WRITER_SETTING, "on"), ("default_transaction_read_only", "on")])
    }

    /// The registry: each change of it must survive.
    pub(super) fn registry(&self) -> PgConnectOptions {
        self.own(limits::SINK_IDLE_MS_MAX)
    }

    /// Serves queries: without [`WRITER_SETTING`], so that row-level security binds it to the tenant that it names.
    pub(super) fn reader(&self) -> PgConnectOptions {
        self.own(limits::SINK_IDLE_MS_MAX)
            .options([("default_transaction_read_only", "on".to_owned())])
            .options([("statement_timeout", limits::QUERY_TIME_MS_MAX.to_string())])
    }

    fn own(&self, idle_ms: u64) -> PgConnectOptions {
        self.0.clone().options([("idle_in_transaction_session_timeout", idle_ms.to_string())])
    }
}

/// Opens a connection, within its time.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    within(limits::STORE_CONNECT_MS_MAX, options.connect()).await
}

/// The answer, unless it takes longer: a server that was stopped answers nothing, and closes nothing.
pub(crate) async fn within<T>(
    limit_ms: u64,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(Duration::from_millis(limit_ms), answer).await {
        Ok(answer) => answer,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit_ms} ms")).into()),
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
        None => format!("PostgreSQL does not answer: {error}"),
    }
}
