//! Whichever store a deployment keeps its read models in: one closed enum, so that servers and tools name no database.

use std::sync::Arc;

use annals_engine::log::BoxFuture;
use annals_engine::sink::{
    BuildLock, Checkpoints, CreateError, Generation, GenerationId, GenerationStore, KnownProcess, ProcessReport,
    PromoteError, Promoted, Sink, StoreError,
};
use annals_model::ids::LogId;
use annals_model::projection::ReadModel;
use sqlx::SqlitePool;
use tokio::sync::watch;

use super::SqliteStore;
#[cfg(feature = "postgres")]
use super::{PostgresReaders, PostgresStore};

/// All generations of all read models of one deployment. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Store {
    /// Files below a data directory.
    Sqlite(SqliteStore),
    /// Schemas of a database.
    #[cfg(feature = "postgres")]
    Postgres(PostgresStore),
}

/// Read-only connections to one generation's rows, for [`Queries`](crate::queries::Queries). Cheap to clone.
#[derive(Clone, Debug)]
pub enum Readers {
    /// To its file.
    Sqlite(SqlitePool),
    /// To its schema.
    #[cfg(feature = "postgres")]
    Postgres(PostgresReaders),
}

impl Store {
    /// Read-only connections to the rows of a generation; shared and bounded.
    pub async fn readers(&self, generation: &Generation) -> Result<Readers, StoreError> {
        match self {
            Self::Sqlite(store) => store.readers(generation).await.map(Readers::Sqlite),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.readers(generation).await.map(Readers::Postgres),
        }
    }

    /// How far a generation has come, read beside its writer.
    pub async fn checkpoints(&self, generation: &Generation) -> Result<Checkpoints, StoreError> {
        match self {
            Self::Sqlite(store) => store.checkpoints(generation).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.checkpoints(generation).await,
        }
    }

    /// The log that everything here was made from, where that is not this store's log. Where something was made from
    /// this log, or nothing at all, it is this log's.
    pub async fn other_log(&self) -> Result<Option<LogId>, StoreError> {
        let logs = match self {
            Self::Sqlite(store) => store.logs().await?,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.logs().await?,
        };
        Ok(logs.first().copied().filter(|_| !logs.contains(&self.log_id())))
    }

    /// Where the read models lie, for messages.
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite(store) => store.place(),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.place(),
        }
    }

    fn inner(&self) -> &dyn GenerationStore {
        match self {
            Self::Sqlite(store) => store,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store,
        }
    }
}

impl From<SqliteStore> for Store {
    fn from(store: SqliteStore) -> Self {
        Self::Sqlite(store)
    }
}

#[cfg(feature = "postgres")]
impl From<PostgresStore> for Store {
    fn from(store: PostgresStore) -> Self {
        Self::Postgres(store)
    }
}

impl GenerationStore for Store {
    fn log_id(&self) -> LogId {
        self.inner().log_id()
    }

    fn read_models(&self) -> &[Arc<ReadModel>] {
        self.inner().read_models()
    }

    fn list<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Vec<Generation>, StoreError>> {
        self.inner().list(read_model)
    }

    fn ensure_live<'a>(&'a self, read_model: &'a ReadModel) -> BoxFuture<'a, Result<Option<Generation>, StoreError>> {
        self.inner().ensure_live(read_model)
    }

    fn create<'a>(
        &'a self,
        read_model: &'a ReadModel,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(Generation, BuildLock), CreateError>> {
        self.inner().create(read_model, reason)
    }

    fn open<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Box<dyn Sink>, StoreError>> {
        self.inner().open(generation)
    }

    fn finish<'a>(
        &'a self,
        generation: &'a Generation,
        outcome: Result<(), &'a str>,
    ) -> BoxFuture<'a, Result<Generation, StoreError>> {
        self.inner().finish(generation, outcome)
    }

    fn record_verified<'a>(
        &'a self,
        generation: &'a Generation,
        digest: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner().record_verified(generation, digest)
    }

    fn record_mismatch<'a>(
        &'a self,
        generation: &'a Generation,
        found: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner().record_mismatch(generation, found)
    }

    fn is_being_built<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.inner().is_being_built(generation)
    }

    fn probe<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Checkpoints, StoreError>> {
        self.inner().probe(generation)
    }

    fn tell_of_process<'a>(&'a self, process: &'a ProcessReport) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner().tell_of_process(process)
    }

    fn forget_process<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner().forget_process(id)
    }

    fn processes(&self) -> BoxFuture<'_, Result<Vec<KnownProcess>, StoreError>> {
        self.inner().processes()
    }

    fn promote<'a>(
        &'a self,
        read_model: &'a str,
        target: GenerationId,
    ) -> BoxFuture<'a, Result<Promoted, PromoteError>> {
        self.inner().promote(read_model, target)
    }

    fn remove<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner().remove(generation)
    }

    fn stored_checkpoints<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Checkpoints, StoreError>> {
        self.inner().stored_checkpoints(generation)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner().changes()
    }
}
