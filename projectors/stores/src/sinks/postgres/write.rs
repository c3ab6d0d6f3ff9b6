//! One statement writes many rows: their columns go with it as arrays.

use std::sync::Arc;

use annals_model::projection::{GroupRow, OwnedValue, Value};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::answer::within;
use super::statements::TableStatements;
use super::values::Arrays;
use crate::limits;
use crate::sinks::shape::KEY;

/// Adds groups to what is there of one rollup.
pub(super) async fn put_groups(
    connection: &mut PgConnection,
    arrays: &mut Arrays,
    table: &TableStatements,
    groups: &[GroupRow],
) -> Result<(), sqlx::Error> {
    arrays.begin(&table.types);
    for group in groups {
        arrays.push_key(&group.key)?;
        let measures = group.measures.iter().map(|measure| Value::Int(*measure));
        let own = group.group.iter().map(OwnedValue::as_value).chain(measures);
        own.enumerate().try_for_each(|(place, value)| arrays.push(KEY.len() + place, value))?;
    }
    run(connection, &table.write, arrays, table.types.len()).await
}

/// Runs a statement about the first `columns` of the arrays.
pub(super) async fn run(
    connection: &mut PgConnection,
    statement: &Arc<str>,
    arrays: &Arrays,
    columns: usize,
) -> Result<(), sqlx::Error> {
    let running = sqlx::query_with(AssertSqlSafe(statement.clone()), arrays.arguments(columns)?).execute(connection);
    within(limits::STORE_ANSWER_MS_MAX, running).await.map(drop)
}
