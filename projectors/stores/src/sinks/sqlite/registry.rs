//! The registry: one small database that says which generations there are and which is live.

use std::sync::Arc;
use std::time::Duration;

use annals_engine::generations::life::{Change, Life};
use annals_engine::generations::registry::{BuildLock, Registry, Turn};
use annals_engine::log::BoxFuture;
use annals_engine::sink::{Generation, GenerationId, KnownProcess, ProcessReport, StoreError};
use sqlx::Transaction;
use sqlx::sqlite::{Sqlite, SqlitePool, SqlitePoolOptions};
use tokio::sync::watch;
use tokio::time::Instant;

use super::connect::{failed, unavailable};
use super::files::Files;
use super::readers::Readers;
use super::{connect, follow, processes};
use crate::limits;
use crate::sinks::registry::registry_rows;

/// Created at the first open; tables that came later are made in a registry that is there, and an older build passes them
/// over. So what is new is a table, never a column: an older build writes whole rows.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS read_models (
        name TEXT NOT NULL PRIMARY KEY, last_generation INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS generations (
        read_model TEXT NOT NULL REFERENCES read_models (name), id INTEGER NOT NULL, version INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('building', 'ready', 'live', 'retired', 'failed')),
        started_at INTEGER NOT NULL, finished_at INTEGER, retired_at INTEGER,
        verified_digest TEXT, reason TEXT, failure TEXT, PRIMARY KEY (read_model, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS mismatches (
        read_model TEXT NOT NULL, id INTEGER NOT NULL, started_at INTEGER NOT NULL, found TEXT NOT NULL,
        PRIMARY KEY (read_model, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS processes (
        id TEXT NOT NULL PRIMARY KEY, seen_at_ms INTEGER NOT NULL, report TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX IF NOT EXISTS one_is_live ON generations (read_model) WHERE state = 'live';
    CREATE UNIQUE INDEX IF NOT EXISTS one_is_building ON generations (read_model) WHERE state = 'building';";

registry_rows!(sqlx::Sqlite, "", super::failed);
pub(super) use self::rows::whole;

/// Pause between two tries to get a builder's lock.
const TRY_AGAIN_MS: u64 = 10;

/// The registry of one data directory.
#[derive(Debug)]
pub(super) struct SqliteRegistry {
    pub(super) pool: SqlitePool,
    files: Files,
    changes: watch::Sender<u64>,
    /// Looks for other processes' changes; ends with this.
    poll: tokio::task::AbortHandle,
}

impl Drop for SqliteRegistry {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

impl SqliteRegistry {
    /// Lets `readers` go of generations that are gone.
    pub(super) async fn open(files: Files, readers: Arc<Readers>) -> Result<Self, StoreError> {
        files.create_root().map_err(unavailable)?;
        let options = connect::registry(&files.registry());
        let pool = SqlitePoolOptions::new()
            .max_connections(limits::REGISTRY_CONNECTIONS_MAX)
            .connect_with(options.clone())
            .await
            .map_err(failed)?;
        sqlx::raw_sql(TABLES).execute(&pool).await.map_err(failed)?;
        let changes = watch::Sender::new(0);
        let poll = tokio::spawn(follow::follow_registry(options, changes.clone(), readers)).abort_handle();
        Ok(Self { pool, files, changes, poll })
    }
}

impl Registry for SqliteRegistry {
    fn list<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Vec<Generation>, StoreError>> {
        Box::pin(async move { rows::list(&mut *self.pool.acquire().await.map_err(failed)?, read_model).await })
    }

    fn turn<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Box<dyn Turn>, StoreError>> {
        Box::pin(async move {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
            let life = rows::life(&mut transaction, read_model).await?;
            Ok(Box::new(SqliteTurn { life, transaction, changes: self.changes.clone() }) as Box<dyn Turn>)
        })
    }

    fn lock<'a>(
        &'a self,
        read_model: &'a str,
        id: GenerationId,
    ) -> BoxFuture<'a, Result<Option<BuildLock>, StoreError>> {
        Box::pin(async move {
            let deadline = Instant::now() + Duration::from_millis(limits::BUILD_LOCK_WAIT_MS_MAX);
            loop {
                let lock = self.files.try_lock(read_model, id).map_err(unavailable)?;
                if lock.is_some() || Instant::now() >= deadline {
                    return Ok(lock.map(BuildLock::new));
                }
                tokio::time::sleep(Duration::from_millis(TRY_AGAIN_MS)).await;
            }
        })
    }

    fn is_locked<'a>(&'a self, read_model: &'a str, id: GenerationId) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { self.files.is_locked(read_model, id).map_err(unavailable) })
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

/// Nobody else writes to the registry while it lives. Generations are files of their own: they only come and go in it.
#[derive(Debug)]
struct SqliteTurn {
    life: Life,
    transaction: Transaction<'static, Sqlite>,
    changes: watch::Sender<u64>,
}

impl Turn for SqliteTurn {
    fn life(&self) -> &Life {
        &self.life
    }

    fn write<'a>(&'a mut self, change: &'a Change) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(rows::write(&mut self.transaction, &self.life, change))
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            self.transaction.commit().await.map_err(failed)?;
            self.changes.send_modify(|version| *version += 1);
            Ok(())
        })
    }
}
