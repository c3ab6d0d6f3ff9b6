//! A generation's life in registry and schema: created, finished, removed. Each is one transaction over both.

use std::time::Duration;

use annals_engine::generations::life::{Change, Life, Refusal};
use annals_engine::owners::system_now;
use annals_engine::sink::{
    BuildLock, Checkpoints, CreateError, Generation, GenerationId, GenerationState, SinkError, StoreError,
};
use annals_model::projection::ReadModel;
use sqlx::postgres::PgConnection;
use sqlx::{Postgres, Transaction};
use tokio::time::Instant;

use super::access::{put_views, run};
use super::answer::{OutOfTime, told, within};
use super::checkpoints::{self, fact};
use super::connect;
use super::registry::{self, unavailable};
use super::{Inner, ddl};
use crate::limits;
use crate::sinks::shape::quoted;

/// Pause between two tries to get a builder's lock.
const TRY_AGAIN_MS: u64 = 10;

impl Inner {
    /// Takes a step that changes rows of the registry alone.
    pub(super) async fn step(
        &self,
        read_model: &str,
        decide: impl FnOnce(&Life) -> Result<Change, Refusal>,
    ) -> Result<Generation, StoreError> {
        let mut transaction = registry::change(&self.registry).await?;
        let life = registry::life(&mut transaction, read_model).await?;
        let change = decide(&life)?;
        registry::write(&mut transaction, &life, &change).await?;
        commit(transaction).await?;
        Ok(change.generation().clone())
    }

    /// The live generation and whether it was created just now.
    pub(super) async fn ensure_live(&self, model: &ReadModel) -> Result<(Option<Generation>, bool), StoreError> {
        // Without the registry's lock at first: that is all that a process does which may only read.
        let known = Life::new(model.name(), 0, self.list(model.name()).await?);
        if known.first_start(model.version(), system_now())?.is_none() {
            return Ok((known.live().cloned(), false));
        }
        let mut transaction = registry::change(&self.registry).await?;
        let life = registry::life(&mut transaction, model.name()).await?;
        let Some(change) = life.first_start(model.version(), system_now())? else {
            return Ok((life.live().cloned(), false));
        };
        let generation = change.generation();
        self.make_schema(&mut transaction, generation).await?;
        let schema = self.target(generation)?.schema;
        put_views(&mut transaction, model.name(), &schema, model.tables()).await.map_err(unavailable)?;
        registry::write(&mut transaction, &life, &change).await?;
        commit(transaction).await?;
        Ok((Some(generation.clone()), true))
    }

    pub(super) async fn create(&self, model: &ReadModel, reason: &str) -> Result<(Generation, BuildLock), CreateError> {
        // A connection of its own holds the lock: the server lets go of it when the connection ends, however it ends.
        let mut holder = connect::connect(&self.address.registry()).await.map_err(unavailable)?;
        let mut transaction = registry::change(&self.registry).await?;
        let life = registry::life(&mut transaction, model.name()).await?;
        let change = life.begin(model.version(), reason, system_now()).map_err(StoreError::from)?;
        let generation = change.generation();
        if !try_lock(&mut holder, model.name(), generation.id).await? {
            return Err(CreateError::AlreadyRunning { read_model: model.name().to_owned(), id: generation.id });
        }
        self.make_schema(&mut transaction, generation).await?;
        registry::write(&mut transaction, &life, &change).await?;
        commit(transaction).await?;
        Ok((generation.clone(), BuildLock::new(holder)))
    }

    /// A schema with the empty tables of the generation's version.
    async fn make_schema(
        &self,
        transaction: &mut Transaction<'static, Postgres>,
        generation: &Generation,
    ) -> Result<(), StoreError> {
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

    /// Whether a session holds the lock that [`try_lock`] takes.
    pub(super) async fn is_being_built(&self, generation: &Generation) -> Result<bool, StoreError> {
        let looking = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND classid::bigint = hashtext('annals build ' || $1)::bigint & 4294967295 AND objid::bigint = $2)",
        )
        .bind(&generation.read_model)
        .bind(i64::from(generation.id.0))
        .fetch_one(&self.registry);
        within(limits::STORE_ANSWER_MS_MAX, looking).await.map_err(unavailable)
    }

    /// On a connection that queries do not use up.
    pub(super) async fn probe(&self, generation: &Generation) -> Result<Checkpoints, StoreError> {
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
        match found.log_id() == self.log_id {
            true => Ok(found),
            false => {
                let (found, log) = (found.log_id(), self.log_id);
                Err(SinkError::OtherLog { generation: target.label, found, log }.into())
            }
        }
    }

    /// Row and schema in one transaction. The registry is held meanwhile: whoever reads the generation is not waited for
    /// for long.
    pub(super) async fn remove(&self, generation: &Generation) -> Result<(), StoreError> {
        let mut transaction = registry::change(&self.registry).await?;
        let life = registry::life(&mut transaction, &generation.read_model).await?;
        let change = life.remove(generation)?;
        registry::write(&mut transaction, &life, &change).await?;
        let schema = super::schema(&generation.read_model, generation.id);
        within(limits::STORE_ANSWER_MS_MAX, drop_schema(&mut transaction, &schema)).await.map_err(|error| {
            let cause = format!("its schema {schema} cannot be dropped: {}", told(&error));
            SinkError::Unavailable { generation: generation.to_string(), cause }
        })?;
        commit(transaction).await
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

pub(super) async fn commit(transaction: Transaction<'static, Postgres>) -> Result<(), StoreError> {
    within(limits::STORE_ANSWER_MS_MAX, transaction.commit()).await.map_err(unavailable)
}

/// The right to build a generation. Tried for a moment: the server notices the end of a builder a little after it.
async fn try_lock(holder: &mut PgConnection, read_model: &str, id: GenerationId) -> Result<bool, StoreError> {
    let deadline = Instant::now() + Duration::from_millis(limits::BUILD_LOCK_WAIT_MS_MAX);
    loop {
        let taking = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('annals build ' || $1), $2)")
            .bind(read_model)
            .bind(id.0.cast_signed())
            .fetch_one(&mut *holder);
        if within(limits::STORE_ANSWER_MS_MAX, taking).await.map_err(unavailable)? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(TRY_AGAIN_MS)).await;
    }
}

impl Inner {
    /// All generations of a read model, oldest first.
    pub(super) async fn list(&self, read_model: &str) -> Result<Vec<Generation>, StoreError> {
        let mut connection = within(limits::STORE_ANSWER_MS_MAX, self.registry.acquire()).await.map_err(unavailable)?;
        let limit = Duration::from_millis(limits::STORE_ANSWER_MS_MAX);
        match tokio::time::timeout(limit, registry::list(&mut connection, read_model)).await {
            Ok(listed) => listed,
            Err(_) => {
                // It would come back with an answer that nobody waits for.
                connection.close_on_drop();
                Err(unavailable(OutOfTime::Silence { limit_ms: limits::STORE_ANSWER_MS_MAX }.into()))
            }
        }
    }
}
