//! Read models in SQLite: a file per generation, and one registry beside them. Several processes may work on the same
//! directory: what they must agree on lies in the files.

mod bulk;
mod checkpoints;
mod connect;
mod ddl;
mod files;
mod generations;
mod parameters;
mod processes;
mod promote;
mod readers;
mod registry;
mod snapshot;
mod statements;
mod target;
pub(crate) mod values;
mod writer;

use std::path::Path;
use std::sync::Arc;

use annals_engine::generations::life::Life;
use annals_engine::log::BoxFuture;
use annals_engine::owners::system_now;
use annals_engine::sink::{
    BuildLock, Checkpoints, CreateError, Generation, GenerationId, GenerationStore, KnownProcess, ProcessReport,
    PromoteError, Promoted, Sink, StoreError,
};
use annals_model::ids::LogId;
use annals_model::projection::ReadModel;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqlitePoolOptions};
use tokio::sync::watch;

use self::files::Files;
use self::readers::Readers;
use self::registry::{failed, unavailable};
use self::statements::Statements;
use self::target::Target;
pub(crate) use self::values::{Parameters, stored_value};
use self::writer::SqliteSink;
use crate::limits;
use annals_model::read_model::Definition;

/// The name that a connection knows an attached database by.
#[derive(Clone, Copy, Debug)]
struct Schema(&'static str);

/// The database that a connection was opened on.
const MAIN: Schema = Schema("main");

/// All generations of all read models under one data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    files: Files,
    log_id: LogId,
    models: Vec<Arc<ReadModel>>,
    definitions: Vec<Prepared>,
    registry: SqlitePool,
    readers: Arc<Readers>,
    changes: watch::Sender<u64>,
    /// Looks for other processes' changes; ends with the store.
    poll: tokio::task::AbortHandle,
}

#[derive(Debug)]
struct Prepared {
    model: Arc<ReadModel>,
    statements: Arc<Statements>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

impl SqliteStore {
    /// Opens the read models under `data_directory`, or makes room for them. `log_id` is the log that they are built
    /// from. Needs a Tokio runtime; what this build knows are `definitions`.
    pub async fn open(data_directory: &Path, definitions: Vec<Definition>, log_id: LogId) -> Result<Self, StoreError> {
        let files = Files::new(data_directory);
        files.create_root().map_err(unavailable)?;
        let options = connect::registry(&files.registry());
        let registry = SqlitePoolOptions::new()
            .max_connections(limits::REGISTRY_CONNECTIONS_MAX)
            .connect_with(options.clone())
            .await
            .map_err(failed)?;
        sqlx::raw_sql(registry::TABLES).execute(&registry).await.map_err(failed)?;
        let readers = Arc::new(Readers::default());
        let changes = watch::Sender::new(0);
        let poll = tokio::spawn(readers::follow_registry(options, changes.clone(), readers.clone())).abort_handle();
        let definitions: Vec<Prepared> = definitions
            .into_iter()
            .map(|definition| Prepared {
                statements: Arc::new(Statements::new(&definition.model)),
                model: definition.model,
            })
            .collect();
        let models = definitions.iter().map(|definition| definition.model.clone()).collect();
        Ok(Self { inner: Arc::new(Inner { files, log_id, models, definitions, registry, readers, changes, poll }) })
    }

    /// Read-only connections to the rows of a generation, for queries; shared, bounded by
    /// [`limits::READERS_PER_GENERATION_MAX`], and let go of when the generation is removed.
    pub async fn readers(&self, generation: &Generation) -> Result<SqlitePool, StoreError> {
        let target = self.inner.target(generation)?;
        if !target.path.exists() {
            return Err(target.missing().into());
        }
        Ok(self.inner.readers.pool(generation, &target.path))
    }

    /// How far a generation has come, read beside its writer.
    pub async fn checkpoints(&self, generation: &Generation) -> Result<Checkpoints, StoreError> {
        let target = self.inner.target(generation)?;
        let error = |error: sqlx::Error| target.error("annals_checkpoints", &error);
        let mut connection = self.readers(generation).await?.acquire().await.map_err(error)?;
        Ok(stored_checkpoints(&mut connection, &target.model).await.map_err(error)?)
    }

    /// The logs that the generations here were made from. One that cannot be read says nothing: whoever opens it is told.
    pub(crate) async fn logs(&self) -> Result<Vec<LogId>, StoreError> {
        let mut connection = self.inner.registry.acquire().await.map_err(unavailable)?;
        let mut logs = Vec::new();
        for (read_model, id) in registry::whole(&mut connection).await? {
            let path = self.inner.files.generation(&read_model, id);
            let Ok(mut file) = connect::reader(&path).connect().await else { continue };
            logs.extend(checkpoints::log_id(&mut file, MAIN).await.ok());
        }
        Ok(logs)
    }

    /// Where they lie, for messages.
    pub(crate) fn place(&self) -> String {
        self.inner.files.root().display().to_string()
    }

    fn changed(&self) {
        self.inner.changes.send_modify(|version| *version += 1);
    }
}

impl Inner {
    fn definition(&self, read_model: &str, version: u32) -> Result<&Prepared, StoreError> {
        self.definitions
            .iter()
            .find(|definition| definition.model.name() == read_model && definition.model.version() == version)
            .ok_or_else(|| StoreError::UnknownVersion { read_model: read_model.to_owned(), version })
    }

    fn target(&self, generation: &Generation) -> Result<Target, StoreError> {
        let definition = self.definition(&generation.read_model, generation.version)?;
        Ok(Target {
            label: generation.to_string(),
            path: self.files.generation(&generation.read_model, generation.id),
            model: definition.model.clone(),
            statements: definition.statements.clone(),
            generation: generation.clone(),
        })
    }
}

/// How far the generation behind a connection has come; in a transaction, what its rows stand for.
pub(crate) async fn stored_checkpoints(
    connection: &mut SqliteConnection,
    model: &ReadModel,
) -> Result<Checkpoints, sqlx::Error> {
    checkpoints::all(connection, MAIN, &model.contexts()).await
}

impl GenerationStore for SqliteStore {
    fn log_id(&self) -> LogId {
        self.inner.log_id
    }

    fn read_models(&self) -> &[Arc<ReadModel>] {
        &self.inner.models
    }

    fn list<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Vec<Generation>, StoreError>> {
        Box::pin(async move {
            let mut connection = self.inner.registry.acquire().await.map_err(failed)?;
            registry::list(&mut connection, read_model).await
        })
    }

    fn ensure_live<'a>(&'a self, read_model: &'a ReadModel) -> BoxFuture<'a, Result<Option<Generation>, StoreError>> {
        Box::pin(async move {
            let (live, created) = self.inner.ensure_live(read_model).await?;
            if created {
                self.changed();
            }
            Ok(live)
        })
    }

    fn create<'a>(
        &'a self,
        read_model: &'a ReadModel,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(Generation, BuildLock), CreateError>> {
        Box::pin(async move {
            let created = self.inner.create(read_model, reason).await?;
            self.changed();
            Ok(created)
        })
    }

    fn open<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Box<dyn Sink>, StoreError>> {
        Box::pin(async move {
            let target = self.inner.target(generation)?;
            self.inner.check(&target).await?;
            let sink = SqliteSink::open(target).await?;
            Ok(Box::new(sink) as Box<dyn Sink>)
        })
    }

    fn finish<'a>(
        &'a self,
        generation: &'a Generation,
        outcome: Result<(), &'a str>,
    ) -> BoxFuture<'a, Result<Generation, StoreError>> {
        Box::pin(async move {
            let finish = |life: &Life| life.finish(generation, outcome, system_now());
            let finished = self.inner.step(&generation.read_model, finish).await?;
            self.changed();
            Ok(finished)
        })
    }

    fn record_verified<'a>(
        &'a self,
        generation: &'a Generation,
        digest: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.inner.step(&generation.read_model, |life| life.verified(generation, digest)).await?;
            self.changed();
            Ok(())
        })
    }

    fn record_mismatch<'a>(
        &'a self,
        generation: &'a Generation,
        found: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.inner.step(&generation.read_model, |life| life.mismatch(generation, found)).await?;
            self.changed();
            Ok(())
        })
    }

    fn is_being_built<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.inner.is_being_built(generation))
    }

    fn probe<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Checkpoints, StoreError>> {
        Box::pin(self.inner.probe(generation))
    }

    fn tell_of_process<'a>(&'a self, process: &'a ProcessReport) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.inner.tell_of_process(process))
    }

    fn forget_process<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.inner.forget_process(id))
    }

    fn processes(&self) -> BoxFuture<'_, Result<Vec<KnownProcess>, StoreError>> {
        Box::pin(self.inner.processes())
    }

    fn promote<'a>(
        &'a self,
        read_model: &'a str,
        target: GenerationId,
    ) -> BoxFuture<'a, Result<Promoted, PromoteError>> {
        Box::pin(async move {
            let promoted = self.inner.promote(read_model, target).await?;
            self.changed();
            Ok(promoted)
        })
    }

    fn remove<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.inner.remove(generation).await?;
            self.changed();
            Ok(())
        })
    }

    fn stored_checkpoints<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Checkpoints, StoreError>> {
        Box::pin(self.checkpoints(generation))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }
}

#[cfg(test)]
mod tests;
