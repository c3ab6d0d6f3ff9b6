//! Whichever store a deployment keeps its read models in: one closed enum, so that servers and tools name no database.

use std::ops::Deref;
use std::sync::Arc;

use annals_engine::generations::Generations;
use annals_engine::sink::{Generation, StoreError};
use annals_model::ids::LogId;
use annals_model::projection::ReadModel;
use annals_model::read_model::{Contents, Definition};
use sqlx::SqlitePool;

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
}

/// What a relational database stores of a read model. Other kinds have storages of their own.
pub(crate) fn relational(definition: Definition) -> Arc<ReadModel> {
    match definition.contents {
        Contents::Tables => definition.model,
        Contents::Documents(never) | Contents::Graph(never) => match never {},
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

/// What happens to generations is the same wherever they lie.
impl Deref for Store {
    type Target = Generations;

    fn deref(&self) -> &Generations {
        match self {
            Self::Sqlite(store) => store,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store,
        }
    }
}
