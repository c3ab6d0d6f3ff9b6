//! The writer of one generation: rows, rollups and checkpoint in one transaction.

use std::sync::Arc;

use annals_engine::log::BoxFuture;
use annals_engine::sink::{Checkpoints, CommitError, GenerationState, Sink, SinkError, SinkSnapshot};
use annals_model::position::{Checkpoint, ContextPartition};
use annals_model::projection::{GroupRow, KeySets, RollupTotals, RowKey, RowLife, Tables, Value};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use super::answer::within;
use super::checkpoints;
use super::connect::{SessionName, connect_alone};
#[cfg(feature = "seeded-bugs")]
use super::mistakes;
use super::snapshot::PostgresSnapshot;
use super::statements::{Statements, TableStatements};
use super::target::Target;
use super::values::{Arrays, stored_row};
use super::write::{put_groups, run};
use super::{bulk, ddl};
use crate::limits;
use crate::sinks::checkpoints::fact;
use crate::sinks::shape::KEY;

/// The writer of one generation.
#[derive(Debug)]
pub(super) struct PostgresSink {
    target: Target,
    statements: Arc<Statements>,
    /// Nothing after a failure, or after a future that was dropped half way: another connection goes on, when the
    /// session of the lost one has ended.
    connection: Option<PgConnection>,
    session: SessionName,
    arrays: Arrays,
    /// Open for a bulk load: nothing else may be done before it has ended.
    loading: bool,
}

impl PostgresSink {
    /// Opens the writer of a generation of this log, if its tables are the definition's.
    pub(super) async fn open(target: Target, log_id: annals_model::ids::LogId) -> Result<Self, SinkError> {
        let session = SessionName::new(&target.schema);
        let mut connection = target.connect(&session.on(target.address.writer())).await?;
        let opening = async {
            let found = checkpoints::log_id(&mut connection, &target.schema).await?;
            let loaded = checkpoints::fact(&mut connection, &target.schema, fact::LOADED).await?;
            Ok((found, loaded.is_some()))
        };
        let opened = within(limits::STORE_ANSWER_MS_MAX, opening).await;
        let (found, loaded) = opened.map_err(|error| target.error("annals_meta", &error))?;
        if found != log_id {
            return Err(SinkError::OtherLog { generation: target.label.clone(), found, log: log_id });
        }
        let loading = target.generation.state == GenerationState::Building && !loaded;
        let stage = if loading { ddl::Stage::Loading } else { ddl::Stage::Loaded };
        ddl::check(&mut connection, &target, stage).await?;
        if loading {
            connection = target.connect(&session.on(target.address.builder())).await?;
        }
        let statements = Arc::new(Statements::new(&target.model, &target.schema));
        Ok(Self { target, statements, connection: Some(connection), session, arrays: Arrays::default(), loading })
    }

    fn loaded(&self, asked: &str) -> Result<(), SinkError> {
        if self.loading { Err(self.refusal(&format!("{asked} comes after the bulk load's end"))) } else { Ok(()) }
    }

    fn refusal(&self, cause: &str) -> SinkError {
        SinkError::State {
            generation: self.target.label.clone(),
            state: self.target.generation.state,
            cause: cause.to_owned(),
        }
    }

    /// The connection, which the caller puts back if it is still fit for use.
    async fn take(&mut self) -> Result<PgConnection, SinkError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let address = &self.target.address;
        let options = if self.loading { address.builder() } else { address.writer() };
        connect_alone(&options, &self.session).await.map_err(|error| self.target.error("", &error))
    }

    async fn load_rows(&mut self, keys: &KeySets, tables: &mut Tables) -> Result<(), SinkError> {
        self.loaded("reading rows")?;
        let mut connection = self.take().await?;
        for (index, table) in self.statements.rows() {
            let missing: Vec<RowKey> =
                keys.sorted(index).into_iter().filter(|key| !tables.contains(index, key)).collect();
            for chunk in missing.chunks(limits::SINK_BATCH_ROWS_MAX) {
                let loading = load_chunk(&mut connection, &mut self.arrays, table, index, chunk, tables);
                within(limits::STORE_ANSWER_MS_MAX, loading)
                    .await
                    .map_err(|error| self.target.error(table.shape.name, &error))?;
            }
        }
        self.connection = Some(connection);
        Ok(())
    }

    async fn commit_changes(
        &mut self,
        changes: &Tables,
        at: ContextPartition,
        from: Checkpoint,
        to: Checkpoint,
    ) -> Result<(), CommitError> {
        self.loaded("a commit")?;
        let mut connection = self.take().await?;
        let committed = self.try_commit(&mut connection, changes, at, from, to).await;
        if !matches!(committed, Err(CommitError::Sink(_))) {
            self.connection = Some(connection);
        }
        committed
    }

    /// Each step has its time, not all of them together: a large batch is many statements, and as slow as they are.
    async fn try_commit(
        &mut self,
        connection: &mut PgConnection,
        changes: &Tables,
        at: ContextPartition,
        from: Checkpoint,
        to: Checkpoint,
    ) -> Result<(), CommitError> {
        let Self { target, arrays, statements, .. } = self;
        let error = |error: sqlx::Error| target.error("annals_checkpoints", &error);
        let limit = limits::STORE_ANSWER_MS_MAX;
        let mut transaction = within(limit, connection.begin()).await.map_err(error)?;
        // The row is locked: whoever else commits to this partition waits, and then finds another checkpoint.
        let found = within(limit, checkpoints::lock(&mut transaction, &target.schema, at)).await.map_err(error)?;
        if found != from {
            within(limit, transaction.rollback()).await.map_err(error)?;
            return Err(CommitError::Stale { at, from, found });
        }
        for (index, table) in statements.rows() {
            write_rows(&mut transaction, arrays, table, index, changes)
                .await
                .map_err(|error| target.error(table.shape.name, &error))?;
        }
        for (index, table) in statements.rollups() {
            add_deltas(&mut transaction, arrays, table, &changes.rollup_deltas(index))
                .await
                .map_err(|error| target.error(table.shape.name, &error))?;
        }
        #[cfg(feature = "seeded-bugs")]
        mistakes::rows_written(&mut transaction).await.map_err(error)?;
        within(limit, checkpoints::put(&mut transaction, &target.schema, at, to)).await.map_err(error)?;
        within(limit, transaction.commit()).await.map_err(error)?;
        Ok(())
    }

    async fn load_shards(&mut self, shards: &[Tables]) -> Result<(), SinkError> {
        if !self.loading {
            return Err(self.refusal("a bulk load needs a generation that is being built, and was not loaded yet"));
        }
        let mut connection = self.take().await?;
        bulk::load(&mut connection, &self.target, &self.statements, shards).await?;
        self.connection = Some(connection);
        Ok(())
    }

    async fn finish_load(&mut self, rollups: &RollupTotals, to: &Checkpoints) -> Result<(), SinkError> {
        if !self.loading {
            return Err(self.refusal("no bulk load is under way"));
        }
        let mut connection = self.take().await?;
        bulk::finish(&mut connection, &self.target, &self.statements, &mut self.arrays, rollups, to).await?;
        // The next one is a writer's.
        self.loading = false;
        Ok(())
    }
}

impl Sink for PostgresSink {
    fn checkpoints(&mut self) -> BoxFuture<'_, Result<Checkpoints, SinkError>> {
        Box::pin(async move {
            let mut connection = self.take().await?;
            let target = &self.target;
            let (schema, contexts) = (&target.schema, target.model.contexts());
            let looking = checkpoints::all(&mut connection, schema, &contexts);
            let found = within(limits::STORE_ANSWER_MS_MAX, looking).await;
            let found = found.map_err(|error| target.error("annals_checkpoints", &error))?;
            self.connection = Some(connection);
            Ok(found)
        })
    }

    fn load<'a>(&'a mut self, keys: &'a KeySets, tables: &'a mut Tables) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.load_rows(keys, tables))
    }

    fn commit<'a>(
        &'a mut self,
        changes: &'a Tables,
        at: ContextPartition,
        from: Checkpoint,
        to: Checkpoint,
    ) -> BoxFuture<'a, Result<(), CommitError>> {
        Box::pin(self.commit_changes(changes, at, from, to))
    }

    fn bulk_load<'a>(&'a mut self, shards: &'a [Tables]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.load_shards(shards))
    }

    fn bulk_finish<'a>(
        &'a mut self,
        rollups: &'a RollupTotals,
        checkpoints: &'a Checkpoints,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.finish_load(rollups, checkpoints))
    }

    fn snapshot(&mut self) -> BoxFuture<'_, Result<Box<dyn SinkSnapshot>, SinkError>> {
        Box::pin(async move {
            self.loaded("a snapshot")?;
            let snapshot = PostgresSnapshot::open(self.target.clone(), self.statements.clone()).await?;
            Ok(Box::new(snapshot) as Box<dyn SinkSnapshot>)
        })
    }
}

async fn load_chunk(
    connection: &mut PgConnection,
    arrays: &mut Arrays,
    table: &TableStatements,
    index: usize,
    keys: &[RowKey],
    tables: &mut Tables,
) -> Result<(), sqlx::Error> {
    arrays.begin(&table.types[..KEY.len()]);
    keys.iter().try_for_each(|key| arrays.push_key(key))?;
    let text = AssertSqlSafe(table.select.clone());
    let rows = sqlx::query_with(text, arrays.arguments(KEY.len())?).fetch_all(connection).await?;
    let mut values = Vec::with_capacity(table.types.len());
    for row in &rows {
        values.clear();
        let (key, life) = stored_row(&table.shape, row, &mut values)?;
        tables.load(index, key, life, &values).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    }
    Ok(())
}

async fn write_rows(
    connection: &mut PgConnection,
    arrays: &mut Arrays,
    table: &TableStatements,
    index: usize,
    changes: &Tables,
) -> Result<(), sqlx::Error> {
    for chunk in changes.changed_keys(index).chunks(limits::SINK_BATCH_ROWS_MAX) {
        arrays.begin(&table.types);
        let mut values: Vec<Value<'_>> = Vec::with_capacity(table.types.len());
        for key in chunk {
            values.clear();
            // The key was listed by these very tables.
            let Some(life) = changes.values(index, key, &mut values) else { continue };
            values.push(Value::Bool(life == RowLife::Deleted));
            arrays.push_key(key)?;
            let own = values.iter().enumerate();
            own.into_iter().try_for_each(|(place, value)| arrays.push(KEY.len() + place, *value))?;
        }
        run(connection, &table.write, arrays, table.types.len()).await?;
    }
    Ok(())
}

async fn add_deltas(
    connection: &mut PgConnection,
    arrays: &mut Arrays,
    table: &TableStatements,
    deltas: &[GroupRow],
) -> Result<(), sqlx::Error> {
    for chunk in deltas.chunks(limits::SINK_BATCH_ROWS_MAX) {
        put_groups(connection, arrays, table, chunk).await?;
        // The key's arrays still stand.
        run(connection, &table.delete_empty, arrays, KEY.len()).await?;
    }
    Ok(())
}
