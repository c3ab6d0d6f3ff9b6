//! One read transaction on a generation's schema, bound to one tenant: the rows of a statement, and the position that
//! they stand for.

use annals_model::ids::TenantId;
use annals_model::projection::{Column, OwnedValue, ReadModel};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _};

use super::bound::time_max;
use super::statement::{Read, Statement, selected};
use crate::limits;
use crate::sinks::PostgresReaders;
use crate::sinks::postgres::access::TENANT_SETTING;
use crate::sinks::postgres::answer::within;
pub(super) use crate::sinks::postgres::answer::{told, took_too_long};
use crate::sinks::postgres::checkpoints;
use crate::sinks::postgres::values::{arguments, stored_value};
use annals_model::query::Query;

pub(super) async fn read(
    readers: &PostgresReaders,
    statement: Statement,
    query: &Query,
    model: &ReadModel,
    tenant: TenantId,
) -> Result<Read, sqlx::Error> {
    let mut reader = readers.acquire().await?;
    // PostgreSQL ends what runs too long by itself; this is for a server that answers nothing.
    let reading = read_on(reader.connection(), readers, statement, query, model, tenant);
    let read = within(limits::STORE_ANSWER_MS_MAX, reading).await;
    reader.answered(&read);
    read
}

async fn read_on(
    connection: &mut PgConnection,
    readers: &PostgresReaders,
    statement: Statement,
    query: &Query,
    model: &ReadModel,
    tenant: TenantId,
) -> Result<Read, sqlx::Error> {
    // One view of the database from the first read to the last, and of one tenant's rows alone, whatever the text says.
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL {TENANT_SETTING} = '{tenant}'; \
         SET LOCAL statement_timeout = {}",
        time_max(query).as_millis()
    );
    let mut transaction = connection.begin_with(AssertSqlSafe(begin)).await?;
    let position = checkpoints::all(&mut transaction, &readers.schema, &model.contexts()).await?;
    let arguments = arguments(statement.arguments.iter().map(OwnedValue::as_value))?;
    let rows = sqlx::query_with(AssertSqlSafe(statement.text), arguments).fetch_all(&mut *transaction).await?;
    transaction.rollback().await?;
    let selected = selected(query, model.tables());
    let rows = rows.iter().map(|row| values(row, &selected)).collect::<Result<_, _>>()?;
    Ok(Read { rows, position })
}

fn values(row: &PgRow, selected: &[Column]) -> Result<Vec<OwnedValue>, sqlx::Error> {
    let value = |(index, column)| stored_value(row, index, column).map(|value| value.into_owned());
    selected.iter().enumerate().map(value).collect()
}
