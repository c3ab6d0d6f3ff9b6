//! The writer of one generation: rows, rollups and checkpoint in one transaction.

use annals_engine::log::BoxFuture;
use annals_engine::sink::{Checkpoints, CommitError, GenerationState, Sink, SinkError, SinkSnapshot};
use annals_model::position::{Checkpoint, ContextPartition};
use annals_model::projection::{GroupRow, KeySets, RollupTotals, RowKey, Tables};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use super::connect;
use super::parameters::{group_parameters, row_parameters};
use super::snapshot::SqliteSnapshot;
use super::statements::TableStatements;
use super::target::Target;
use super::values::{Parameters, stored_row};
use super::{bulk, checkpoints};
use crate::sinks::checkpoints::fact;

/// The writer of one generation.
#[derive(Debug)]
pub(super) struct SqliteSink {
    target: Target,
    connection: SqliteConnection,
    /// A commit failed: what the connection takes for its transaction may not be what SQLite does, which rolls back by
    /// itself when the disk is full. Another connection goes on.
    failed: bool,
    /// Open for a bulk load: without journal, so that nothing else may be done before it has ended.
    loading: bool,
}

impl SqliteSink {
    pub(super) async fn open(target: Target) -> Result<Self, SinkError> {
        let mut connection = target.connect(&connect::reader(&target.path)).await?;
        let loaded = checkpoints::fact(&mut connection, fact::LOADED).await;
        let loaded = loaded.map_err(|error| target.error("annals_meta", &error))?.is_some();
        let loading = target.generation.state == GenerationState::Building && !loaded;
        // Closed before another journal mode is set: that needs the file for itself.
        connection.close().await.map_err(|error| target.error("", &error))?;
        let options = if loading { connect::builder(&target.path) } else { connect::writer(&target.path) };
        let connection = target.connect(&options).await?;
        Ok(Self { target, connection, failed: false, loading })
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

    /// A connection that is fit for use, after a commit that failed.
    async fn renew(&mut self) -> Result<(), SinkError> {
        if self.failed {
            self.connection = self.target.connect(&connect::writer(&self.target.path)).await?;
            self.failed = false;
        }
        Ok(())
    }

    async fn load_rows(&mut self, keys: &KeySets, tables: &mut Tables) -> Result<(), SinkError> {
        self.loaded("reading rows")?;
        self.renew().await?;
        let Self { target, connection, .. } = self;
        for (index, table) in target.statements.rows() {
            let missing: Vec<RowKey> =
                keys.sorted(index).into_iter().filter(|key| !tables.contains(index, key)).collect();
            for chunk in table.chunks(&missing) {
                load_chunk(connection, table, index, chunk, tables)
                    .await
                    .map_err(|error| target.error(table.shape.name, &error))?;
            }
        }
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
        self.renew().await?;
        // Also if this future is dropped half way.
        self.failed = true;
        let committed = self.try_commit(changes, at, from, to).await;
        self.failed = matches!(committed, Err(CommitError::Sink(_)));
        committed
    }

    async fn try_commit(
        &mut self,
        changes: &Tables,
        at: ContextPartition,
        from: Checkpoint,
        to: Checkpoint,
    ) -> Result<(), CommitError> {
        let Self { target, connection, .. } = self;
        let error = |error: sqlx::Error| target.error("annals_checkpoints", &error);
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(error)?;
        let found = checkpoints::get(&mut transaction, at).await.map_err(error)?;
        if found != from {
            transaction.rollback().await.map_err(error)?;
            return Err(CommitError::Stale { at, from, found });
        }
        for (index, table) in target.statements.rows() {
            write_rows(&mut transaction, table, index, changes)
                .await
                .map_err(|error| target.error(table.shape.name, &error))?;
        }
        for (index, table) in target.statements.rollups() {
            add_deltas(&mut transaction, table, &changes.rollup_deltas(index))
                .await
                .map_err(|error| target.error(table.shape.name, &error))?;
        }
        checkpoints::put(&mut transaction, at, to).await.map_err(error)?;
        transaction.commit().await.map_err(error)?;
        Ok(())
    }

    async fn load_shards(&mut self, shards: &[Tables]) -> Result<(), SinkError> {
        if !self.loading {
            return Err(self.refusal("a bulk load needs a generation that is being built, and was not loaded yet"));
        }
        bulk::load(&mut self.connection, &self.target, shards).await
    }

    async fn finish_load(&mut self, rollups: &RollupTotals, to: &Checkpoints) -> Result<(), SinkError> {
        if !self.loading {
            return Err(self.refusal("no bulk load is under way"));
        }
        bulk::finish(&mut self.connection, &self.target, rollups, to).await?;
        bulk::make_durable(&self.target).await?;
        self.connection = self.target.connect(&connect::writer(&self.target.path)).await?;
        self.loading = false;
        Ok(())
    }
}

impl Sink for SqliteSink {
    fn checkpoints(&mut self) -> BoxFuture<'_, Result<Checkpoints, SinkError>> {
        Box::pin(async move {
            self.renew().await?;
            let Self { target, connection, .. } = self;
            let found = checkpoints::all(connection, &target.model.contexts()).await;
            found.map_err(|error| target.error("annals_checkpoints", &error))
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
            let snapshot = SqliteSnapshot::open(self.target.clone()).await?;
            Ok(Box::new(snapshot) as Box<dyn SinkSnapshot>)
        })
    }

    fn check(&mut self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.loaded("a check")?;
            let target = &self.target;
            let mut connection = target.connect(&connect::reader(&target.path)).await?;
            let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
                .fetch_one(&mut connection)
                .await
                .map_err(|error| target.error("", &error))?;
            if found != "ok" {
                let (generation, table) = (target.label.clone(), String::new());
                return Err(SinkError::Damaged { generation, table, cause: found });
            }
            connection.close().await.map_err(|error| target.error("", &error))
        })
    }
}

async fn load_chunk(
    connection: &mut SqliteConnection,
    table: &TableStatements,
    index: usize,
    keys: &[RowKey],
    tables: &mut Tables,
) -> Result<(), sqlx::Error> {
    let mut parameters = Parameters::with_capacity(keys.len() * 3);
    keys.iter().try_for_each(|key| parameters.key(key))?;
    let text = AssertSqlSafe(table.select(keys.len()));
    let rows = sqlx::query_with(text, parameters.into_arguments()).fetch_all(connection).await?;
    for row in &rows {
        let mut values = Vec::with_capacity(table.width);
        let (key, life) = stored_row(&table.shape, row, &mut values)?;
        tables.load(index, key, life, &values).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    }
    Ok(())
}

async fn write_rows(
    connection: &mut SqliteConnection,
    table: &TableStatements,
    index: usize,
    changes: &Tables,
) -> Result<(), sqlx::Error> {
    for chunk in table.chunks(&changes.changed_keys(index)) {
        let parameters = row_parameters(table, chunk.iter().map(|key| (changes, key)), index)?;
        let text = AssertSqlSafe(table.write(chunk.len()));
        sqlx::query_with(text, parameters.into_arguments()).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn add_deltas(
    connection: &mut SqliteConnection,
    table: &TableStatements,
    deltas: &[GroupRow],
) -> Result<(), sqlx::Error> {
    for chunk in table.chunks(deltas) {
        let parameters = group_parameters(table, chunk)?;
        let text = AssertSqlSafe(table.write(chunk.len()));
        sqlx::query_with(text, parameters.into_arguments()).execute(&mut *connection).await?;
        let mut keys = Parameters::with_capacity(chunk.len() * 3);
        chunk.iter().try_for_each(|group| keys.key(&group.key))?;
        let text = AssertSqlSafe(table.delete_empty(chunk.len()));
        sqlx::query_with(text, keys.into_arguments()).execute(&mut *connection).await?;
    }
    Ok(())
}
