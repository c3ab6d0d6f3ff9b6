//! One read transaction on a generation's file: the rows of a statement, and the position that they stand for.

use annals_engine::sink::Checkpoints;
use annals_model::projection::{Column, ColumnType, OwnedValue, ReadModel};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::definition::{Query, column};
use super::statement::Statement;
use crate::sinks::sqlite::{Parameters, stored_checkpoints, stored_value};

/// What one transaction saw.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) rows: Vec<Vec<OwnedValue>>,
    pub(super) position: Checkpoints,
}

pub(super) async fn read(
    readers: &SqlitePool,
    statement: Statement,
    query: &Query,
    model: &ReadModel,
) -> Result<Read, sqlx::Error> {
    let mut parameters = Parameters::with_capacity(statement.arguments.len());
    for argument in &statement.arguments {
        parameters.value(argument.as_value())?;
    }
    // Deferred: its view of the file begins with the first read in it and stays until it ends.
    let mut transaction = readers.begin().await?;
    let position = stored_checkpoints(&mut transaction, model).await?;
    let rows = sqlx::query_with(AssertSqlSafe(statement.text), parameters.into_arguments())
        .fetch_all(&mut *transaction)
        .await?;
    transaction.rollback().await?;
    let selected = selected(query);
    let rows = rows.iter().map(|row| values(row, &selected)).collect::<Result<_, _>>()?;
    Ok(Read { rows, position })
}

/// The columns that a statement selects, in order.
fn selected(query: &Query) -> Vec<Column> {
    let gave_up = query.gave_up.map(|name| column(name, ColumnType::Bool));
    query.columns.iter().chain(query.order).copied().chain(gave_up).collect()
}

fn values(row: &SqliteRow, selected: &[Column]) -> Result<Vec<OwnedValue>, sqlx::Error> {
    let value = |(index, column)| stored_value(row, index, column).map(|value| value.into_owned());
    selected.iter().enumerate().map(value).collect()
}
