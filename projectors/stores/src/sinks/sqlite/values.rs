//! Values of rows as SQLite stores them: ids are 16-byte blobs, instants are microseconds, truth values are 0 and 1.

use annals_model::ids::{TenantId, WorkspaceId};
use annals_model::projection::{Column, ColumnType, Float, RowId, RowKey, RowLife, TableKind, TableShape, Value};
use annals_model::time::Timestamp;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, Row as _, TypeInfo as _, ValueRef as _};
use uuid::Uuid;

use crate::sinks::shape;

/// SQLite's name of a type: what it makes of a name decides how it stores values.
pub(crate) fn type_name(column_type: ColumnType) -> &'static str {
    match column_type {
        // Of a column of type `json` it would store the text `1` as a number.
        ColumnType::Json => "json text",
        other => shape::type_name(other),
    }
}

/// Parameters of one statement.
#[derive(Default)]
pub(crate) struct Parameters {
    arguments: SqliteArguments,
}

impl Parameters {
    pub(crate) fn with_capacity(values: usize) -> Self {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(values, 0);
        Self { arguments }
    }

    pub(super) fn key(&mut self, key: &RowKey) -> Result<(), sqlx::Error> {
        for id in [key.tenant.0, key.workspace.0, key.id.0] {
            self.value(Value::Uuid(id))?;
        }
        Ok(())
    }

    pub(crate) fn value(&mut self, value: Value<'_>) -> Result<(), sqlx::Error> {
        match value {
            Value::Null => self.arguments.add(None::<i64>),
            Value::Bool(value) => self.arguments.add(i64::from(value)),
            Value::Int(value) => self.arguments.add(value),
            Value::Text(value) => self.arguments.add(value),
            Value::Uuid(value) => self.arguments.add(value.as_bytes().as_slice()),
            Value::Timestamp(value) => self.arguments.add(value.0),
            Value::Float(value) => self.arguments.add(value.get()),
            Value::Json(text) => self.arguments.add(text),
        }
        .map_err(sqlx::Error::Encode)
    }

    pub(super) fn life(&mut self, life: RowLife) -> Result<(), sqlx::Error> {
        self.value(Value::Bool(life == RowLife::Deleted))
    }

    pub(crate) fn into_arguments(self) -> SqliteArguments {
        self.arguments
    }
}

/// A stored row: its key, its life, and its values in the order of the shape's columns, appended to `values`.
pub(super) fn stored_row<'r>(
    shape: &TableShape,
    row: &'r SqliteRow,
    values: &mut Vec<Value<'r>>,
) -> Result<(RowKey, RowLife), sqlx::Error> {
    let key = RowKey { tenant: TenantId(id(row, 0)?), workspace: WorkspaceId(id(row, 1)?), id: RowId(id(row, 2)?) };
    for (index, column) in shape.columns.iter().enumerate() {
        values.push(stored_value(row, index + 3, column)?);
    }
    let life = match shape.kind {
        TableKind::Rows(_) if integer(row, shape.columns.len() + 3)? != 0 => RowLife::Deleted,
        TableKind::Rows(_) | TableKind::Rollup(_) => RowLife::Live,
    };
    Ok((key, life))
}

/// The value of one column of a result.
pub(crate) fn stored_value<'r>(row: &'r SqliteRow, index: usize, column: &Column) -> Result<Value<'r>, sqlx::Error> {
    if row.try_get_raw(index)?.is_null() {
        return Ok(Value::Null);
    }
    Ok(match column.column_type {
        ColumnType::Bool => match integer(row, index)? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            other => return Err(damaged(row, index, &format!("{other} is no truth value"))),
        },
        ColumnType::Int => Value::Int(integer(row, index)?),
        ColumnType::Timestamp => Value::Timestamp(Timestamp(integer(row, index)?)),
        ColumnType::Uuid => Value::Uuid(id(row, index)?),
        ColumnType::Text => Value::Text(text(row, index)?),
        ColumnType::Json => Value::Json(text(row, index)?),
        ColumnType::Float => {
            check_type(row, index, "REAL")?;
            let number: f64 = row.try_get_unchecked(index)?;
            Value::Float(Float::new(number).map_err(|error| damaged(row, index, &error.to_string()))?)
        }
    })
}

fn id(row: &SqliteRow, index: usize) -> Result<Uuid, sqlx::Error> {
    check_type(row, index, "BLOB")?;
    let bytes: &[u8] = row.try_get_unchecked(index)?;
    Uuid::from_slice(bytes).map_err(|_| damaged(row, index, &format!("an id of {} bytes", bytes.len())))
}

fn text(row: &SqliteRow, index: usize) -> Result<&str, sqlx::Error> {
    check_type(row, index, "TEXT")?;
    row.try_get_unchecked(index)
}

fn integer(row: &SqliteRow, index: usize) -> Result<i64, sqlx::Error> {
    check_type(row, index, "INTEGER")?;
    row.try_get_unchecked(index)
}

/// SQLite would convert silently, and a damaged row would look like a sound one.
fn check_type(row: &SqliteRow, index: usize, wanted: &str) -> Result<(), sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if !value.is_null() && value.type_info().name() == wanted {
        return Ok(());
    }
    let found = if value.is_null() { "NULL".to_owned() } else { value.type_info().name().to_owned() };
    Err(damaged(row, index, &format!("{found} where {wanted} belongs")))
}

fn damaged(row: &SqliteRow, index: usize, cause: &str) -> sqlx::Error {
    use sqlx::Column as _;
    sqlx::Error::ColumnDecode { index: row.columns()[index].name().to_owned(), source: cause.into() }
}
