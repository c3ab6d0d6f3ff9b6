//! Read models in PostgreSQL: a schema per generation, a registry in a schema of our own, and stable views over what is
//! live. Any number of processes may work on the same database: what they must agree on lies in it.

pub(crate) mod access;
pub(crate) mod answer;
mod bulk;
pub(crate) mod checkpoints;
mod connect;
mod ddl;
mod generations;
mod open;
mod processes;
mod promote;
mod readers;
mod registry;
mod snapshot;
mod statements;
mod target;
pub(crate) mod values;
mod write;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use annals_engine::generations::life::Life;
use annals_engine::log::BoxFuture;
use annals_engine::owners::system_now;
use annals_engine::sink::{
    BuildLock, Checkpoints, CreateError, Generation, GenerationId, GenerationStore, KnownProcess, ProcessReport,
    PromoteError, Promoted, Sink, StoreError,
};
use annals_model::ids::LogId;
use annals_model::projection::ReadModel;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::sync::watch;

use self::connect::Address;
pub use self::open::OpenError;
pub use self::readers::PostgresReaders;
use self::target::Target;
use self::writer::PostgresSink;
use crate::limits;
use annals_model::read_model::Definition;

/// All generations of all read models of one deployment, in one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: Address,
    log_id: LogId,
    models: Vec<Arc<ReadModel>>,
    definitions: Vec<Definition>,
    registry: PgPool,
    readers: PgPool,
    changes: watch::Sender<u64>,
    /// Looks for other processes' changes; ends with the store.
    poll: tokio::task::AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

/// The schema of a generation.
fn schema(read_model: &str, id: GenerationId) -> String {
    format!("{read_model}_g{id}")
}

impl PostgresStore {
    /// Opens the read models in the database at `url`, or makes room for them. `log_id` is the log that they are built
    /// from. Needs a Tokio runtime; what this build knows are `definitions`. Refuses a role that row-level security does
    /// not bind.
    pub async fn open(url: &str, definitions: Vec<Definition>, log_id: LogId) -> Result<Self, OpenError> {
        let address = Address::parse(url).map_err(|error| OpenError::Address(error.to_string()))?;
        open::prepare(&address).await?;
        let registry = PgPoolOptions::new()
            .max_connections(limits::REGISTRY_CONNECTIONS_MAX)
            .acquire_timeout(Duration::from_millis(limits::STORE_CONNECT_MS_MAX))
            .connect_lazy_with(address.registry());
        let readers = readers::pool(&address);
        let changes = watch::Sender::new(0);
        let poll = tokio::spawn(readers::follow_registry(address.clone(), changes.clone())).abort_handle();
        let models = definitions.iter().map(|definition| definition.model.clone()).collect();
        let inner = Inner { address, log_id, models, definitions, registry, readers, changes, poll };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Read-only connections to the rows of a generation, for queries; shared by all generations and bounded by
    /// [`limits::POSTGRES_READERS_MAX`].
    pub async fn readers(&self, generation: &Generation) -> Result<PostgresReaders, StoreError> {
        self.inner.definition(&generation.read_model, generation.version)?;
        let schema = schema(&generation.read_model, generation.id);
        Ok(PostgresReaders { pool: self.inner.readers.clone(), schema })
    }

    /// How far a generation has come, read beside its writer.
    pub async fn checkpoints(&self, generation: &Generation) -> Result<Checkpoints, StoreError> {
        let definition = self.inner.definition(&generation.read_model, generation.version)?;
        self.readers(generation).await?.checkpoints(generation, &definition.model).await
    }

    /// The logs that the generations here were made from. One that cannot be read says nothing: whoever opens it is told.
    pub(crate) async fn logs(&self) -> Result<Vec<LogId>, StoreError> {
        let looking = async {
            let mut connection = self.inner.registry.acquire().await?;
            let mut logs = Vec::new();
            for (read_model, id) in registry::whole(&mut connection).await? {
                match checkpoints::log_id(&mut connection, &schema(&read_model, id)).await {
                    Ok(log) => logs.push(log),
                    Err(error) if answer::is_of_content(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(logs)
        };
        answer::within(limits::STORE_ANSWER_MS_MAX, looking).await.map_err(registry::unavailable)
    }

    /// Where they lie and as whom they are read, for messages.
    pub(crate) fn place(&self) -> String {
        self.inner.address.to_string()
    }

    fn changed(&self) {
        self.inner.changes.send_modify(|version| *version += 1);
    }
}

impl Inner {
    fn definition(&self, read_model: &str, version: u32) -> Result<&Definition, StoreError> {
        self.definitions
            .iter()
            .find(|definition| definition.model.name() == read_model && definition.model.version() == version)
            .ok_or_else(|| StoreError::UnknownVersion { read_model: read_model.to_owned(), version })
    }

    fn target(&self, generation: &Generation) -> Result<Target, StoreError> {
        let definition = self.definition(&generation.read_model, generation.version)?;
        Ok(Target {
            label: generation.to_string(),
            schema: schema(&generation.read_model, generation.id),
            model: definition.model.clone(),
            generation: generation.clone(),
            address: self.address.clone(),
        })
    }
}

impl GenerationStore for PostgresStore {
    fn log_id(&self) -> LogId {
        self.inner.log_id
    }

    fn read_models(&self) -> &[Arc<ReadModel>] {
        &self.inner.models
    }

    fn list<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Vec<Generation>, StoreError>> {
        Box::pin(self.inner.list(read_model))
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
            let sink = PostgresSink::open(self.inner.target(generation)?, self.inner.log_id).await?;
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

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }
}

#[cfg(test)]
mod tests;
