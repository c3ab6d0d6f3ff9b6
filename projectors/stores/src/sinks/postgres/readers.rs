//! Connections that serve queries.

use std::time::Duration;

use annals_engine::sink::{Checkpoints, Generation, StoreError};
use annals_model::projection::ReadModel;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};

use super::answer::{sink_error, within};
use super::checkpoints;
use super::connect::Address;
use crate::limits;

/// Read-only connections to the rows of one generation. All generations of a process share them.
#[derive(Clone, Debug)]
pub struct PostgresReaders {
    pub(crate) pool: PgPool,
    /// Where the generation's tables lie.
    pub(crate) schema: String,
}

impl PostgresReaders {
    /// How far the generation has come.
    pub(super) async fn checkpoints(
        &self,
        generation: &Generation,
        model: &ReadModel,
    ) -> Result<Checkpoints, StoreError> {
        let error = |error: sqlx::Error| sink_error(&generation.to_string(), "annals_checkpoints", &error);
        let mut reader = self.acquire().await.map_err(error)?;
        let contexts = model.contexts();
        let looking = checkpoints::all(reader.connection(), &self.schema, &contexts);
        let found = within(limits::STORE_ANSWER_MS_MAX, looking).await;
        reader.answered(&found);
        Ok(found.map_err(error)?)
    }

    /// One of the connections, when one is free.
    pub(crate) async fn acquire(&self) -> Result<Reader, sqlx::Error> {
        Ok(Reader { connection: self.pool.acquire().await?, is_fit: false })
    }
}

/// A connection that serves a query. One whose answer did not come, or that nobody waits for any more, is closed, and
/// PostgreSQL ends what is under way on it: the pool would wait for the answer.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: PoolConnection<Postgres>,
    is_fit: bool,
}

impl Reader {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.is_fit = false;
        &mut self.connection
    }

    /// Says how the question ended that was asked last: PostgreSQL's own errors leave the connection fit for the next.
    pub(crate) fn answered<T>(&mut self, answer: &Result<T, sqlx::Error>) {
        self.is_fit = match answer {
            Ok(_) => true,
            Err(error) => error.as_database_error().is_some(),
        };
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !self.is_fit {
            self.connection.close_on_drop();
        }
    }
}

/// The pool of a process, opened when it is first needed.
pub(super) fn pool(address: &Address) -> PgPool {
    PgPoolOptions::new()
        .max_connections(limits::POSTGRES_READERS_MAX)
        .acquire_timeout(Duration::from_millis(limits::READER_WAIT_MS_MAX))
        .connect_lazy_with(address.reader())
}
