//! Where do read models keep their rows? In a relational store: in SQLite, a file per generation; or in PostgreSQL, a
//! schema per generation.

mod checkpoints;
mod ddl;
mod merge;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod processes;
mod registry;
mod shape;
pub(crate) mod sqlite;
mod statements;
mod store;

pub use self::ddl::ddl;
#[cfg(feature = "postgres")]
pub use self::postgres::{OpenError, PostgresReaders, PostgresStore};
pub use self::sqlite::SqliteStore;
pub use self::store::{Readers, Store};

#[cfg(test)]
mod tests {
    use super::*;

    mod running;
}
