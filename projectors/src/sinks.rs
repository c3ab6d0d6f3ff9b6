//! Where do read models keep their rows? In a relational store: in SQLite, a file per generation; or in PostgreSQL, a
//! schema per generation.

mod life;
mod merge;
pub(crate) mod postgres;
mod shape;
pub(crate) mod sqlite;
mod store;

use std::sync::Arc;

use annals_model::projection::ReadModel;

pub use self::postgres::{OpenError, PostgresReaders, PostgresStore};
pub use self::sqlite::SqliteStore;
pub use self::store::{Readers, Store};

/// A read model in one version, with the frozen DDL of its tables (`migrations/<read_model>/v<N>.sql`).
#[derive(Clone, Debug)]
pub struct ReadModelDefinition {
    /// Its projections and rollups.
    pub model: Arc<ReadModel>,
    /// `CREATE TABLE` statements, each ending in `/*table options*/`; below a line `-- indexes` the indexes.
    pub ddl: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    mod running;
}
