//! One consistent view of a generation: a read transaction of its own connection, read page by page.

use std::sync::Arc;

use annals_engine::limits::SNAPSHOT_CHUNK_ROWS_MAX;
use annals_engine::log::BoxFuture;
use annals_engine::sink::{Checkpoints, SinkError, SinkSnapshot, StoredRow};
use annals_model::projection::{RowKey, Value};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::answer::within;
use super::checkpoints;
use super::statements::Statements;
use super::target::Target;
use super::values::{arguments, stored_row};
use crate::limits;

/// Holds a read transaction open: no dead row is tidied up while it lives, so it should not live long.
#[derive(Debug)]
pub(super) struct PostgresSnapshot {
    target: Target,
    statements: Arc<Statements>,
    connection: PgConnection,
    checkpoints: Checkpoints,
}

impl PostgresSnapshot {
    pub(super) async fn open(target: Target, statements: Arc<Statements>) -> Result<Self, SinkError> {
        let mut connection = target.connect(&target.address.snapshot()).await?;
        let contexts = target.model.contexts();
        let beginning = async {
            // Not a `Transaction`: it lives as long as its connection, and ends with it.
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            checkpoints::all(&mut connection, &target.schema, &contexts).await
        };
        let begun = within(limits::STORE_ANSWER_MS_MAX, beginning).await;
        let checkpoints = begun.map_err(|error| target.error("annals_checkpoints", &error))?;
        Ok(Self { target, statements, connection, checkpoints })
    }

    async fn page(&mut self, table: usize, after: Option<RowKey>, out: &mut Vec<StoredRow>) -> Result<(), sqlx::Error> {
        out.clear();
        let table = &self.statements.tables[table];
        let key = after.iter().flat_map(|key| [key.tenant.0, key.workspace.0, key.id.0]).map(Value::Uuid);
        let arguments = arguments(key.chain([Value::Int(SNAPSHOT_CHUNK_ROWS_MAX as i64)]))?;
        let rows = sqlx::query_with(AssertSqlSafe(table.pages.next(after.is_none())), arguments)
            .fetch_all(&mut self.connection)
            .await?;
        for row in &rows {
            let mut values = Vec::with_capacity(table.types.len());
            let (key, life) = stored_row(&table.shape, row, &mut values)?;
            out.push(StoredRow { key, life, values: values.into_iter().map(|value| value.into_owned()).collect() });
        }
        Ok(())
    }
}

impl SinkSnapshot for PostgresSnapshot {
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
            let name = self.statements.tables[table].shape.name;
            let page = within(limits::STORE_ANSWER_MS_MAX, self.page(table, after, rows)).await;
            page.map_err(|error| self.target.error(name, &error))
        })
    }
}
