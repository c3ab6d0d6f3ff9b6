//! Read models in SQLite: a file per generation, and one registry beside them. Several processes may work on the same
//! directory: what they must agree on lies in the files.

mod bulk;
mod checkpoints;
mod connect;
mod ddl;
mod files;
mod follow;
mod parameters;
mod processes;
mod readers;
mod registry;
mod snapshot;
mod statements;
mod storage;
mod target;
pub(crate) mod values;
mod writer;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use annals_engine::generations::Generations;
use annals_engine::generations::storage::Storage;
use annals_engine::sink::{Checkpoints, Generation, StoreError};
use annals_model::ids::LogId;
use annals_model::projection::ReadModel;
use annals_model::read_model::Definition;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use self::connect::unavailable;
use self::files::Files;
use self::readers::Readers;
use self::registry::SqliteRegistry;
use self::storage::SqliteStorage;
pub(crate) use self::values::{Parameters, stored_value};
use super::store::relational;

/// All generations of all read models under one data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    generations: Generations,
    registry: Arc<SqliteRegistry>,
    storage: Arc<SqliteStorage>,
}

impl SqliteStore {
    /// Opens the read models under `data_directory`, or makes room for them. `log_id` is the log that they are built
    /// from. Needs a Tokio runtime; what this build knows are `definitions`.
    pub async fn open(data_directory: &Path, definitions: Vec<Definition>, log_id: LogId) -> Result<Self, StoreError> {
        let (files, readers) = (Files::new(data_directory), Arc::new(Readers::default()));
        let registry = Arc::new(SqliteRegistry::open(files.clone(), Arc::clone(&readers)).await?);
        let models: Vec<_> = definitions.into_iter().map(relational).collect();
        let storage = Arc::new(SqliteStorage::new(files, readers, log_id, &models));
        let stored = [(models, storage.clone() as Arc<dyn Storage>)];
        Ok(Self { generations: Generations::new(log_id, registry.clone(), stored), registry, storage })
    }

    /// Read-only connections to the rows of a generation, for queries; shared, bounded by
    /// [`crate::limits::READERS_PER_GENERATION_MAX`], and let go of when the generation is removed.
    pub async fn readers(&self, generation: &Generation) -> Result<SqlitePool, StoreError> {
        self.storage.readers(generation)
    }

    /// The logs that the generations here were made from. One that cannot be read says nothing: whoever opens it is told.
    pub(crate) async fn logs(&self) -> Result<Vec<LogId>, StoreError> {
        let mut connection = self.registry.pool.acquire().await.map_err(unavailable)?;
        let mut logs = Vec::new();
        for (read_model, id) in registry::whole(&mut connection).await.map_err(unavailable)? {
            let path = self.storage.files.generation(&read_model, id);
            let Ok(mut file) = connect::reader(&path).connect().await else { continue };
            logs.extend(checkpoints::log_id(&mut file).await.ok());
        }
        Ok(logs)
    }

    /// Where they lie, for messages.
    pub(crate) fn place(&self) -> String {
        self.storage.files.root().display().to_string()
    }
}

impl Deref for SqliteStore {
    type Target = Generations;

    fn deref(&self) -> &Generations {
        &self.generations
    }
}

/// How far the generation behind a connection has come; in a transaction, what its rows stand for.
pub(crate) async fn stored_checkpoints(
    connection: &mut SqliteConnection,
    model: &ReadModel,
) -> Result<Checkpoints, sqlx::Error> {
    checkpoints::all(connection, &model.contexts()).await
}

#[cfg(test)]
mod tests;
