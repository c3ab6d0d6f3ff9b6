//! A generation's schema: made, checked, shown, held still, removed; each in the registry's transaction, so that rows and
//! registry move together.

use std::sync::Arc;

use annals_engine::generations::registry::AnyTurn;
use annals_engine::generations::storage::{Still, Storage};
use annals_engine::log::BoxFuture;
use annals_engine::sink::{Checkpoints, Generation, GenerationState, Sink, SinkError, StoreError};
use annals_model::ids::{ContextId, LogId};
use annals_model::projection::ReadModel;
use sqlx::postgres::{PgConnection, PgPool};

use super::access::{put_views, run};
use super::answer::{sink_error, sqlstate, told, unavailable, within};
use super::checkpoints;
use super::connect::Address;
use super::readers::PostgresReaders;
use super::registry::transaction;
use super::target::Target;
use super::writer::PostgresSink;
use super::{ddl, readers, schema};
use crate::limits;
use crate::sinks::checkpoints::fact;
use crate::sinks::shape::quoted;

/// The schemas of one database's generations, in which its registry lies as well.
#[derive(Debug)]
pub(super) struct PostgresStorage {
    pub(super) address: Address,
    registry: PgPool,
    readers: PgPool,
    log_id: LogId,
    models: Vec<Arc<ReadModel>>,
}

impl PostgresStorage {
    pub(super) fn new(address: Address, registry: PgPool, log_id: LogId, models: Vec<Arc<ReadModel>>) -> Self {
        let readers = readers::pool(&address);
        Self { address, registry, readers, log_id, models }
    }

    pub(super) fn target(&self, generation: &Generation) -> Result<Target, StoreError> {
        let (read_model, version) = (&generation.read_model, generation.version);
        let found = self.models.iter().find(|model| model.name() == read_model && model.version() == version);
        let unknown = || StoreError::UnknownVersion { read_model: read_model.clone(), version };
        Ok(Target {
            label: generation.to_string(),
            schema: schema(read_model, generation.id),
            model: found.cloned().ok_or_else(unknown)?,
            generation: generation.clone(),
            address: self.address.clone(),
        })
    }

    pub(super) fn readers(&self, generation: &Generation) -> Result<PostgresReaders, StoreError> {
        let schema = self.target(generation)?.schema;
        Ok(PostgresReaders { pool: self.readers.clone(), schema })
    }

    /// A schema with the empty tables of the generation's version.
    async fn make_schema(&self, transaction: &mut PgConnection, generation: &Generation) -> Result<(), StoreError> {
        let target = self.target(generation)?;
        let error = |error: sqlx::Error| StoreError::from(target.error("", &error));
        let limit = limits::STORE_ANSWER_MS_MAX;
        within(limit, ddl::make(transaction, &target)).await.map_err(error)?;
        ddl::check(transaction, &target, ddl::Stage::Made).await?;
        let filling = async {
            ddl::order_by_bytes(transaction, &target).await?;
            let facts = [
                (fact::LOG_ID, self.log_id.to_string()),
                (fact::READ_MODEL, generation.read_model.clone()),
                (fact::VERSION, generation.version.to_string()),
                (fact::GENERATION, generation.id.to_string()),
                (fact::STARTED_AT, generation.started_at.0.to_string()),
            ];
            for (key, value) in &facts {
                checkpoints::put_fact(transaction, &target.schema, key, value).await?;
            }
            if generation.state == GenerationState::Building {
                return ddl::prepare_load(transaction, &target).await;
            }
            checkpoints::put_fact(transaction, &target.schema, fact::LOADED, "yes").await?;
            ddl::finish(transaction, &target).await
        };
        within(limit, filling).await.map_err(error)
    }

    /// Refuses a generation of another log, and tables that are not the definition's; then the stable views show it.
    async fn show_views(&self, connection: &mut PgConnection, generation: &Generation) -> Result<(), StoreError> {
        let target = self.target(generation)?;
        let found = checkpoints::log_id(connection, &target.schema).await;
        self.is_own(&target, found.map_err(|error| target.error("annals_meta", &error))?)?;
        ddl::check(connection, &target, ddl::Stage::Loaded).await?;
        let views = put_views(connection, &generation.read_model, &target.schema, target.model.tables());
        let put = within(limits::STORE_ANSWER_MS_MAX, views).await;
        put.map_err(|error| view_failure(&generation.read_model, error))
    }

    fn is_own(&self, target: &Target, found: LogId) -> Result<(), SinkError> {
        if found == self.log_id {
            return Ok(());
        }
        Err(SinkError::OtherLog { generation: target.label.clone(), found, log: self.log_id })
    }

    async fn hold_checkpoints(
        &self,
        connection: &mut PgConnection,
        live: &Generation,
        contexts: &[ContextId],
    ) -> Result<Option<Still>, StoreError> {
        let error = |error: sqlx::Error| sink_error(&live.to_string(), "annals_checkpoints", &error);
        let schema = schema(&live.read_model, live.id);
        // Both, and the fact in one of them: an error would end the transaction.
        let is_there = sqlx::query_scalar(
            "SELECT count(*) = 2 FROM pg_tables
             WHERE schemaname = $1 AND tablename IN ('annals_checkpoints', 'annals_meta')",
        )
        .bind(&schema)
        .fetch_one(&mut *connection);
        if !within(limits::STORE_ANSWER_MS_MAX, is_there).await.map_err(error)? {
            tracing::warn!(generation = %live, "live generation cannot be read, any other is better");
            return Ok(None);
        }
        // Writers of the live generation wait before they change its checkpoints; readers do not.
        let hold = format!("LOCK TABLE {}.annals_checkpoints IN SHARE ROW EXCLUSIVE MODE", quoted(&schema));
        within(limits::STORE_ANSWER_MS_MAX, run(connection, hold)).await.map_err(error)?;
        match checkpoints::all(connection, &schema, contexts).await {
            // The lock is the transaction's.
            Ok(shown) => Ok(Some(Still::new(shown, ())).filter(|still| still.shown.log_id() == self.log_id)),
            // It does not say of which log it is.
            Err(sqlx::Error::Decode(_)) => Ok(None),
            Err(cause) => Err(error(cause).into()),
        }
    }

    /// On a connection that queries do not use up.
    async fn ask_anew(&self, generation: &Generation) -> Result<Checkpoints, StoreError> {
        let target = self.target(generation)?;
        let error = |error: sqlx::Error| StoreError::from(target.error("annals_checkpoints", &error));
        let asking = async {
            let mut connection = self.registry.acquire().await?;
            let found = checkpoints::all(&mut connection, &target.schema, &target.model.contexts()).await?;
            Ok((connection, found))
        };
        // Dropped half way, the connection is closed: it would come back with an answer that nobody waits for.
        let (mut connection, found) = within(limits::STORE_ANSWER_MS_MAX, asking).await.map_err(error)?;
        ddl::check(&mut connection, &target, ddl::Stage::Loaded).await?;
        self.is_own(&target, found.log_id())?;
        Ok(found)
    }
}

/// A turn that is not this database's is refused: its rows would not stand or fall with the registry's.
impl Storage for PostgresStorage {
    fn make<'a>(&'a self, turn: &'a mut AnyTurn, generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.make_schema(transaction(turn)?, generation).await })
    }

    fn open<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Box<dyn Sink>, StoreError>> {
        Box::pin(async move {
            let sink = PostgresSink::open(self.target(generation)?, self.log_id).await?;
            Ok(Box::new(sink) as Box<dyn Sink>)
        })
    }

    fn checkpoints<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Checkpoints, StoreError>> {
        Box::pin(async move {
            let model = self.target(generation)?.model;
            self.readers(generation)?.checkpoints(generation, &model).await
        })
    }

    fn probe<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Checkpoints, StoreError>> {
        Box::pin(self.ask_anew(generation))
    }

    fn show<'a>(&'a self, turn: &'a mut AnyTurn, generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.show_views(transaction(turn)?, generation).await })
    }

    fn hold<'a>(
        &'a self,
        turn: &'a mut AnyTurn,
        live: &'a Generation,
        contexts: &'a [ContextId],
    ) -> BoxFuture<'a, Result<Option<Still>, StoreError>> {
        Box::pin(async move { self.hold_checkpoints(transaction(turn)?, live, contexts).await })
    }

    /// The registry is held meanwhile: whoever reads the generation is not waited for for long.
    fn remove<'a>(
        &'a self,
        turn: &'a mut AnyTurn,
        generation: &'a Generation,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let schema = schema(&generation.read_model, generation.id);
            let dropping = drop_schema(transaction(turn)?, &schema);
            within(limits::STORE_ANSWER_MS_MAX, dropping).await.map_err(|error| {
                let cause = format!("its schema {schema} cannot be dropped: {}", told(&error));
                SinkError::Unavailable { generation: generation.to_string(), cause }.into()
            })
        })
    }
}

/// Its writers wait at the checkpoints, before they touch a table: none of them holds one that this waits for.
async fn drop_schema(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    let schema_name = quoted(schema);
    run(connection, format!("SET LOCAL lock_timeout = '{}ms'", limits::DROP_LOCK_WAIT_MS_MAX)).await?;
    let has_checkpoints: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'annals_checkpoints')",
    )
    .bind(schema)
    .fetch_one(&mut *connection)
    .await?;
    if has_checkpoints {
        run(connection, format!("LOCK TABLE {schema_name}.annals_checkpoints IN ACCESS EXCLUSIVE MODE")).await?;
    }
    run(connection, format!("DROP SCHEMA IF EXISTS {schema_name} CASCADE")).await
}

/// What others built on a view with columns that go away keeps it.
fn view_failure(read_model: &str, error: sqlx::Error) -> StoreError {
    const DEPENDENT_OBJECTS: &str = "2BP01";
    if sqlstate(&error).as_deref() == Some(DEPENDENT_OBJECTS) {
        let told = told(&error);
        return StoreError::Unavailable(format!(
            "views of {read_model} change, but others depend on them: {told}; drop those, promote, and make them again"
        ));
    }
    unavailable(error)
}
