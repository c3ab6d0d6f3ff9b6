//! One consistent view of a generation: a read transaction of its own connection, read page by page.

use annals_engine::limits::SNAPSHOT_CHUNK_ROWS_MAX;
use annals_engine::log::BoxFuture;
use annals_engine::sink::{Checkpoints, SinkError, SinkSnapshot, StoredRow};
use annals_model::projection::{RowKey, Value};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::target::Target;
use super::values::{Parameters, stored_row};
use super::{checkpoints, connect};

/// Holds a read transaction open: the write-ahead log grows while it lives, so it should not live long.
#[derive(Debug)]
pub(super) struct SqliteSnapshot {
    target: Target,
    connection: SqliteConnection,
    checkpoints: Checkpoints,
}

impl SqliteSnapshot {
    pub(super) async fn open(target: Target) -> Result<Self, SinkError> {
        let mut connection = target.connect(&connect::reader(&target.path)).await?;
        let error = |error: sqlx::Error| target.error("annals_checkpoints", &error);
        // Not a `Transaction`: it lives as long as its connection, and ends with it.
        connection.execute("BEGIN").await.map_err(error)?;
        let checkpoints = checkpoints::all(&mut connection, &target.model.contexts()).await.map_err(error)?;
        Ok(Self { target, connection, checkpoints })
    }

    async fn page(&mut self, table: usize, after: Option<RowKey>, out: &mut Vec<StoredRow>) -> Result<(), sqlx::Error> {
        out.clear();
        let table = &self.target.statements.tables[table];
        let mut parameters = Parameters::with_capacity(4);
        if let Some(key) = &after {
            parameters.key(key)?;
        }
        parameters.value(Value::Int(SNAPSHOT_CHUNK_ROWS_MAX as i64))?;
        let rows = sqlx::query_with(AssertSqlSafe(table.pages.next(after.is_none())), parameters.into_arguments())
            .fetch_all(&mut self.connection)
            .await?;
        for row in &rows {
            let mut values = Vec::with_capacity(table.width);
            let (key, life) = stored_row(&table.shape, row, &mut values)?;
            out.push(StoredRow { key, life, values: values.into_iter().map(|value| value.into_owned()).collect() });
        }
        Ok(())
    }
}

impl SinkSnapshot for SqliteSnapshot {
    fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }

    fn rows<'a>(
        &'a mut self,
        table: usize,
        after: Option<RowKey>,
        rows: &'a mut Vec<StoredRow>,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let name = self.target.statements.tables[table].shape.name;
            self.page(table, after, rows).await.map_err(|error| self.target.error(name, &error))
        })
    }
}
