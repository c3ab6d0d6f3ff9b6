//! The registry: a schema of our own that says which generations there are and which is live.

use std::time::Duration;

use annals_engine::generations::life::{Change, Life};
use annals_engine::generations::registry::{AnyTurn, BuildLock, Registry, Turn};
use annals_engine::log::BoxFuture;
use annals_engine::sink::{Generation, GenerationId, KnownProcess, ProcessReport, StoreError};
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{Postgres, Transaction};
use tokio::sync::watch;
use tokio::time::Instant;

use super::answer::{OutOfTime, unavailable, within};
use super::connect::{self, Address};
use super::{follow, processes};
use crate::limits;
use crate::sinks::registry::registry_rows;

/// What the tables are like; raised when they change.
pub(super) const FORMAT: i32 = 1;

/// The format of the registry that is there.
pub(super) async fn format(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("SELECT format FROM annals.registry").fetch_one(connection).await
}

/// Created at the first open; tables that came later are made in a registry that is there, and an older build passes them
/// over. So what is new is a table, never a column: an older build writes whole rows.
pub(super) const TABLES: &str = "
    CREATE SCHEMA IF NOT EXISTS annals;
    CREATE TABLE IF NOT EXISTS annals.registry (
        one boolean PRIMARY KEY DEFAULT true CHECK (one), format integer NOT NULL, version bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS annals.read_models (
        name text COLLATE \"C\" PRIMARY KEY, last_generation bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS annals.generations (
        read_model text COLLATE \"C\" NOT NULL REFERENCES annals.read_models (name), id bigint NOT NULL,
        version bigint NOT NULL,
        state text NOT NULL CHECK (state IN ('building', 'ready', 'live', 'retired', 'failed')),
        started_at bigint NOT NULL, finished_at bigint, retired_at bigint,
        verified_digest text, reason text, failure text, PRIMARY KEY (read_model, id)
    );
    CREATE TABLE IF NOT EXISTS annals.mismatches (
        read_model text COLLATE \"C\" NOT NULL, id bigint NOT NULL, started_at bigint NOT NULL, found text NOT NULL,
        PRIMARY KEY (read_model, id)
    );
    CREATE TABLE IF NOT EXISTS annals.processes (
        id text COLLATE \"C\" PRIMARY KEY, seen_at timestamptz NOT NULL, report text NOT NULL
    );
    CREATE UNIQUE INDEX IF NOT EXISTS one_is_live ON annals.generations (read_model) WHERE state = 'live';
    CREATE UNIQUE INDEX IF NOT EXISTS one_is_building ON annals.generations (read_model) WHERE state = 'building';
    INSERT INTO annals.registry (format, version) VALUES (1, 0) ON CONFLICT DO NOTHING;";

registry_rows!(sqlx::Postgres, "annals.", super::unavailable);
pub(super) use self::rows::whole;

/// Pause between two tries to get a builder's lock.
const TRY_AGAIN_MS: u64 = 10;

/// The registry of one database.
#[derive(Debug)]
pub(super) struct PostgresRegistry {
    address: Address,
    pub(super) pool: PgPool,
    changes: watch::Sender<u64>,
    /// Looks for other processes' changes; ends with this.
    poll: tokio::task::AbortHandle,
}

impl Drop for PostgresRegistry {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

impl PostgresRegistry {
    pub(super) fn new(address: Address) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(limits::REGISTRY_CONNECTIONS_MAX)
            .acquire_timeout(Duration::from_millis(limits::STORE_CONNECT_MS_MAX))
            .connect_lazy_with(address.registry());
        let changes = watch::Sender::new(0);
        let poll = tokio::spawn(follow::follow_registry(address.clone(), changes.clone())).abort_handle();
        Self { address, pool, changes, poll }
    }

    async fn listed(&self, read_model: &str) -> Result<Vec<Generation>, StoreError> {
        let mut connection = within(limits::STORE_ANSWER_MS_MAX, self.pool.acquire()).await.map_err(unavailable)?;
        let limit = Duration::from_millis(limits::STORE_ANSWER_MS_MAX);
        match tokio::time::timeout(limit, rows::list(&mut connection, read_model)).await {
            Ok(listed) => listed,
            Err(_) => {
                // It would come back with an answer that nobody waits for.
                connection.close_on_drop();
                Err(unavailable(OutOfTime::Silence { limit_ms: limits::STORE_ANSWER_MS_MAX }.into()))
            }
        }
    }

    async fn begun(&self, read_model: &str) -> Result<Box<dyn Turn>, StoreError> {
        let begun = within(limits::STORE_ANSWER_MS_MAX, async {
            let mut transaction = self.pool.begin().await?;
            // Nobody else does before the transaction ends, and all are told when it has.
            sqlx::query("UPDATE annals.registry SET version = version + 1").execute(&mut *transaction).await?;
            Ok(transaction)
        });
        let mut transaction = begun.await.map_err(unavailable)?;
        let life = rows::life(&mut transaction, read_model).await?;
        Ok(Box::new(PostgresTurn { life, transaction, changes: self.changes.clone() }))
    }

    /// A connection of its own holds the lock: the server lets go of it when the connection ends, however it ends.
    async fn try_lock(&self, read_model: &str, id: GenerationId) -> Result<Option<BuildLock>, StoreError> {
        let mut holder = connect::connect(&self.address.registry()).await.map_err(unavailable)?;
        let deadline = Instant::now() + Duration::from_millis(limits::BUILD_LOCK_WAIT_MS_MAX);
        loop {
            let taking = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('annals build ' || $1), $2)")
                .bind(read_model)
                .bind(id.0.cast_signed())
                .fetch_one(&mut holder);
            if within(limits::STORE_ANSWER_MS_MAX, taking).await.map_err(unavailable)? {
                return Ok(Some(BuildLock::new(holder)));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(TRY_AGAIN_MS)).await;
        }
    }

    /// Whether a session holds the lock that [`Self::try_lock`] takes.
    async fn has_lock(&self, read_model: &str, id: GenerationId) -> Result<bool, StoreError> {
        let looking = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND classid::bigint = hashtext('annals build ' || $1)::bigint & 4294967295 AND objid::bigint = $2)",
        )
        .bind(read_model)
        .bind(i64::from(id.0))
        .fetch_one(&self.pool);
        within(limits::STORE_ANSWER_MS_MAX, looking).await.map_err(unavailable)
    }
}

impl Registry for PostgresRegistry {
    fn list<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Vec<Generation>, StoreError>> {
        Box::pin(self.listed(read_model))
    }

    fn turn<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Box<dyn Turn>, StoreError>> {
        Box::pin(self.begun(read_model))
    }

    fn lock<'a>(
        &'a self,
        read_model: &'a str,
        id: GenerationId,
    ) -> BoxFuture<'a, Result<Option<BuildLock>, StoreError>> {
        Box::pin(self.try_lock(read_model, id))
    }

    fn is_locked<'a>(&'a self, read_model: &'a str, id: GenerationId) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.has_lock(read_model, id))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn tell_of_process<'a>(&'a self, process: &'a ProcessReport) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(processes::tell(&self.pool, process))
    }

    fn forget_process<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(processes::forget(&self.pool, id))
    }

    fn processes(&self) -> BoxFuture<'_, Result<Vec<KnownProcess>, StoreError>> {
        Box::pin(processes::known(&self.pool))
    }
}

/// One transaction over the registry, the stable views and the generations' schemas.
#[derive(Debug)]
struct PostgresTurn {
    life: Life,
    transaction: Transaction<'static, Postgres>,
    changes: watch::Sender<u64>,
}

/// The transaction of a turn at this database's registry.
pub(super) fn transaction(turn: &mut AnyTurn) -> Result<&mut PgConnection, StoreError> {
    let turn: &mut dyn std::any::Any = turn;
    match turn.downcast_mut::<PostgresTurn>() {
        Some(turn) => Ok(&mut turn.transaction),
        None => Err(StoreError::Unavailable("rows in PostgreSQL need their registry in the same database".to_owned())),
    }
}

impl Turn for PostgresTurn {
    fn life(&self) -> &Life {
        &self.life
    }

    fn write<'a>(&'a mut self, change: &'a Change) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(rows::write(&mut self.transaction, &self.life, change))
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            within(limits::STORE_ANSWER_MS_MAX, self.transaction.commit()).await.map_err(unavailable)?;
            self.changes.send_modify(|version| *version += 1);
            Ok(())
        })
    }
}
