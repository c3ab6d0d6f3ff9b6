//! Read models in PostgreSQL: a schema per generation, a registry in a schema of our own, and stable views over what is
//! live. Any number of processes may work on the same database: what they must agree on lies in it.

pub(crate) mod access;
pub(crate) mod answer;
mod bulk;
pub(crate) mod checkpoints;
mod connect;
mod ddl;
mod follow;
#[cfg(feature = "seeded-bugs")]
mod mistakes;
mod open;
mod processes;
mod readers;
mod registry;
mod snapshot;
mod statements;
mod storage;
mod target;
pub(crate) mod values;
mod write;
mod writer;

use std::ops::Deref;
use std::sync::Arc;

use annals_engine::generations::Generations;
use annals_engine::generations::storage::Storage;
use annals_engine::sink::{Generation, GenerationId, StoreError};
use annals_model::ids::LogId;
use annals_model::read_model::Definition;

use self::connect::Address;
pub use self::open::OpenError;
pub use self::readers::PostgresReaders;
use self::registry::PostgresRegistry;
use self::storage::PostgresStorage;
use super::store::relational;
use crate::limits;

/// All generations of all read models of one deployment, in one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    generations: Generations,
    registry: Arc<PostgresRegistry>,
    storage: Arc<PostgresStorage>,
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
        let registry = Arc::new(PostgresRegistry::new(address.clone()));
        let models: Vec<_> = definitions.into_iter().map(relational).collect();
        let storage = Arc::new(PostgresStorage::new(address, registry.pool.clone(), log_id, models.clone()));
        let stored = [(models, storage.clone() as Arc<dyn Storage>)];
        Ok(Self { generations: Generations::new(log_id, registry.clone(), stored), registry, storage })
    }

    /// Read-only connections to the rows of a generation, for queries; shared by all generations and bounded by
    /// [`limits::POSTGRES_READERS_MAX`].
    pub async fn readers(&self, generation: &Generation) -> Result<PostgresReaders, StoreError> {
        self.storage.readers(generation)
    }

    /// The logs that the generations here were made from. One that cannot be read says nothing: whoever opens it is told.
    pub(crate) async fn logs(&self) -> Result<Vec<LogId>, StoreError> {
        let looking = async {
            let mut connection = self.registry.pool.acquire().await?;
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
        answer::within(limits::STORE_ANSWER_MS_MAX, looking).await.map_err(answer::unavailable)
    }

    /// Where they lie and as whom they are read, for messages.
    pub(crate) fn place(&self) -> String {
        self.storage.address.to_string()
    }
}

impl Deref for PostgresStore {
    type Target = Generations;

    fn deref(&self) -> &Generations {
        &self.generations
    }
}

#[cfg(test)]
mod tests;
