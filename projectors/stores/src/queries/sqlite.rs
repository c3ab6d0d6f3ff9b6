//! One read transaction on a generation's file: the rows of a statement, and the position that they stand for.

use std::time::{Duration, Instant};

use annals_model::projection::{Column, OwnedValue, ReadModel};
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _};

use super::statement::{Read, Statement, selected};
use crate::limits;
use crate::sinks::sqlite::{Parameters, stored_checkpoints, stored_value};
use annals_model::query::Query;

pub(super) async fn read(
    readers: &SqlitePool,
    statement: Statement,
    query: &Query,
    model: &ReadModel,
    time_max: Duration,
) -> Result<Read, sqlx::Error> {
    let mut parameters = Parameters::with_capacity(statement.arguments.len());
    for argument in &statement.arguments {
        parameters.value(argument.as_value())?;
    }
    let mut connection = readers.acquire().await?;
    bound_work(&mut connection, Instant::now() + time_max).await?;
    // Deferred: its view of the file begins with the first read in it and stays until it ends.
    let mut transaction = connection.begin().await?;
    let position = stored_checkpoints(&mut transaction, model).await?;
    let rows = sqlx::query_with(AssertSqlSafe(statement.text), parameters.into_arguments())
        .fetch_all(&mut *transaction)
        .await?;
    transaction.rollback().await?;
    let selected = selected(query, model.tables());
    let rows = rows.iter().map(|row| values(row, &selected)).collect::<Result<_, _>>()?;
    Ok(Read { rows, position })
}

/// Lets SQLite itself end what runs past `until`: a statement goes on by itself where nobody waits for it any more, and
/// there are few connections. Whoever has the connection next sets a time of their own.
async fn bound_work(connection: &mut SqliteConnection, until: Instant) -> Result<(), sqlx::Error> {
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(limits::QUERY_STEPS_BETWEEN_LOOKS, move || Instant::now() < until);
    Ok(())
}

/// True if a statement was ended by [`bound_work`].
pub(super) fn took_too_long(error: &sqlx::Error) -> bool {
    const SQLITE_INTERRUPT: &str = "9";
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some(SQLITE_INTERRUPT))
}

fn values(row: &SqliteRow, selected: &[Column]) -> Result<Vec<OwnedValue>, sqlx::Error> {
    let value = |(index, column)| stored_value(row, index, column).map(|value| value.into_owned());
    selected.iter().enumerate().map(value).collect()
}
