//! How connections are set up, and what PostgreSQL may do on them.
//!
//! No statement outlives whoever asked: PostgreSQL ends one that takes longer than its time, before anybody gives it up,
//! and looks all the time whether its client is still there. A writer that lost its connection opens another only when
//! the lost one's session has ended: however often it tries, at most one of its statements is at work.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::Instant;
use uuid::Uuid;

use super::access::WRITER_SETTING;
use super::answer::{OutOfTime, within};
#[cfg(feature = "seeded-bugs")]
use super::mistakes;
use crate::limits;

/// Pause between two looks whether a session has ended.
const LOOK_AGAIN_MS: u64 = 10;

/// Takes from the planner what would lead it past an index where its estimates are wrong. Compiling a plan, or sharing it
/// among processes, costs more than any of these statements.
const INDEXES_ONLY: [(&str, &str); 4] =
    [("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("jit", "off"), ("max_parallel_workers_per_gather", "0")];
/// The same for those who read and write rows by their keys, which needs no join but the one by probing, and no sort.
const PROBES_ONLY: [(&str, &str); 6] = [
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
    ("enable_memoize", "off"),
    ("enable_sort", "off"),
    ("enable_incremental_sort", "off"),
];

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
                // A peer that vanished without a word must not hold locks for hours, nor have work done for it.
                .options([
                    ("tcp_keepalives_idle", "10"),
                    ("tcp_keepalives_interval", "5"),
                    ("tcp_keepalives_count", "3"),
                ])
                .options(
                    [
                        ("tcp_user_timeout", limits::STORE_PEER_SILENT_MS_MAX),
                        ("client_connection_check_interval", limits::STORE_PEER_LOOK_MS),
                        ("lock_timeout", limits::SINK_BUSY_TIMEOUT_MS),
                    ]
                    .map(|(name, ms)| (name, ms.to_string())),
                ),
        ))
    }

    pub(super) fn database(&self) -> &str {
        self.0.get_database().unwrap_or_else(|| self.0.get_username())
    }

    /// Writes rows. A commit is on the disk when it is answered: processes that live on remember how far they came, and
    /// a server that woke up older would show readers less than before. A writer that was stopped inside a transaction
    /// does not hold the others up for long.
    pub(super) fn writer(&self) -> PgConnectOptions {
        self.own(limits::SINK_IDLE_MS_MAX, limits::STATEMENT_MS_MAX)
            .options(INDEXES_ONLY)
            .options(PROBES_ONLY)
            .options([("synchronous_commit", "on"), (WRITER_SETTING, "on")])
    }

    /// Loads a new generation: what it ends with must survive. One COPY takes a whole table, and an index is built of it.
    pub(super) fn builder(&self) -> PgConnectOptions {
        self.own(limits::BULK_ANSWER_MS_MAX, limits::BULK_FINISH_MS_MAX)
            .options([("maintenance_work_mem", format!("{}MB", limits::BULK_MAINTENANCE_MEMORY_MIB))])
            .options([(WRITER_SETTING, "on")])
    }

    /// Looks at all rows of a generation, for as long as that takes, page by page.
    pub(super) fn snapshot(&self) -> PgConnectOptions {
        self.own(limits::SNAPSHOT_IDLE_MS_MAX, limits::STATEMENT_MS_MAX)
            .options(INDEXES_ONLY)
            .options(PROBES_ONLY)
            .options([(WRITER_SETTING, "on"), ("default_transaction_read_only", "on")])
    }

    /// The registry: each change of it must survive.
    pub(super) fn registry(&self) -> PgConnectOptions {
        self.own(limits::SINK_IDLE_MS_MAX, limits::STATEMENT_MS_MAX)
    }

    /// Serves queries: without [`WRITER_SETTING`], so that row-level security binds it to the tenant that it names.
    pub(super) fn reader(&self) -> PgConnectOptions {
        self.own(limits::SINK_IDLE_MS_MAX, limits::QUERY_TIME_MS_MAX)
            .options(INDEXES_ONLY)
            .options([("default_transaction_read_only", "on")])
    }

    fn own(&self, idle_ms: u64, statement_ms: u64) -> PgConnectOptions {
        let times = [("idle_in_transaction_session_timeout", idle_ms), ("statement_timeout", statement_ms)];
        let own = self.0.clone().options(times.map(|(name, ms)| (name, ms.to_string())));
        #[cfg(feature = "seeded-bugs")]
        let own = mistakes::unbounded(own);
        own
    }
}

/// Opens a connection, within its time.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    within(limits::STORE_CONNECT_MS_MAX, options.connect()).await
}

/// The name of a session in PostgreSQL, by which it is found again after its client has lost it.
#[derive(Clone, Debug)]
pub(super) struct SessionName(String);

impl SessionName {
    /// One that no other session has; `of` is for people who look.
    pub(super) fn new(of: &str) -> Self {
        // PostgreSQL cuts names at 63 bytes.
        let of: String = of.chars().filter(char::is_ascii_graphic).take(limits::SESSION_NAME_CHARS_MAX).collect();
        Self(format!("annals {of} {}", &Uuid::new_v4().simple().to_string()[..16]))
    }

    /// These options, for a session of this name.
    pub(super) fn on(&self, options: PgConnectOptions) -> PgConnectOptions {
        options.application_name(&self.0)
    }
}

/// Opens the one connection of this name, within its time: an older one, which was lost with its work under way, is
/// ended first, and what it was doing has happened, or never will.
pub(super) async fn connect_alone(options: &PgConnectOptions, name: &SessionName) -> Result<PgConnection, sqlx::Error> {
    let mut connection = connect(&name.on(options.clone())).await?;
    within(limits::STORE_ANSWER_MS_MAX, end_others(&mut connection, name)).await?;
    Ok(connection)
}

async fn end_others(connection: &mut PgConnection, name: &SessionName) -> Result<(), sqlx::Error> {
    #[cfg(feature = "seeded-bugs")]
    if mistakes::leaves_sessions_behind() {
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_millis(limits::SESSION_END_MS_MAX);
    loop {
        let ending = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                      WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid()";
        let left: i64 = sqlx::query_scalar(ending).bind(&name.0).fetch_one(&mut *connection).await?;
        if left == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(OutOfTime::Ending { limit_ms: limits::SESSION_END_MS_MAX }.into());
        }
        tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
    }
}
