//! Values in PostgreSQL's binary format: arguments, the arrays that carry a batch, and the columns of results.

use annals_model::ids::{TenantId, WorkspaceId};
use annals_model::projection::{Column, ColumnType, Float, RowId, RowKey, RowLife, TableShape, Value};
use annals_model::time::Timestamp;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo, PgValueRef};
use sqlx::{Arguments as _, Encode, Postgres, Row as _, Type, ValueRef as _};
use uuid::Uuid;

use crate::sinks::shape::is_of_rows;

/// PostgreSQL counts microseconds from the year 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// First and last instant of a `timestamptz`, in its own count: 4714 BC and AD 294276.
const INSTANT_MIN: i64 = -211_813_488_000_000_000;
const INSTANT_MAX: i64 = 9_223_371_331_199_999_999;

const INT2: u32 = 21;
const INT4: u32 = 23;

/// PostgreSQL's numbers of a type and of its array type.
const fn oids(column_type: ColumnType) -> (u32, u32) {
    match column_type {
        ColumnType::Bool => (16, 1000),
        ColumnType::Int => (20, 1016),
        ColumnType::Text => (25, 1009),
        ColumnType::Uuid => (2950, 2951),
        ColumnType::Timestamp => (1184, 1185),
        ColumnType::Float => (701, 1022),
        ColumnType::Json => (114, 199),
    }
}

/// Appends a value with its length before it, as rows of COPY and elements of arrays have it.
pub(super) fn put(out: &mut Vec<u8>, value: Value<'_>) -> Result<(), sqlx::Error> {
    let start = out.len();
    out.extend_from_slice(&(-1i32).to_be_bytes());
    if value != Value::Null {
        put_bytes(out, value).map_err(sqlx::Error::Encode)?;
        let length = i32::try_from(out.len() - start - 4).map_err(|error| sqlx::Error::Encode(error.into()))?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn put_bytes(out: &mut Vec<u8>, value: Value<'_>) -> Result<(), BoxDynError> {
    match value {
        Value::Null => {}
        Value::Bool(value) => out.push(u8::from(value)),
        Value::Int(value) => out.extend_from_slice(&value.to_be_bytes()),
        Value::Text(value) | Value::Json(value) => out.extend_from_slice(value.as_bytes()),
        Value::Uuid(value) => out.extend_from_slice(value.as_bytes()),
        Value::Float(value) => out.extend_from_slice(&value.to_be_bytes()),
        Value::Timestamp(Timestamp(micros)) => {
            let since = micros.checked_sub(EPOCH_MICROS).filter(|since| (INSTANT_MIN..=INSTANT_MAX).contains(since));
            let since = since.ok_or_else(|| format!("{micros} µs since 1970 is no instant of a timestamptz"))?;
            out.extend_from_slice(&since.to_be_bytes());
        }
    }
    Ok(())
}

/// Appends the three columns of a key.
pub(super) fn put_key(out: &mut Vec<u8>, key: &RowKey) -> Result<(), sqlx::Error> {
    [key.tenant.0, key.workspace.0, key.id.0].into_iter().try_for_each(|id| put(out, Value::Uuid(id)))
}

/// One value as the argument of a statement.
pub(crate) struct Argument<'a>(pub(crate) Value<'a>);

impl Type<Postgres> for Argument<'_> {
    fn type_info() -> PgTypeInfo {
        // 0: PostgreSQL finds out, which only a null needs.
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Argument<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        put_bytes(buffer, self.0)?;
        Ok(if self.0 == Value::Null { IsNull::Yes } else { IsNull::No })
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        self.0.column_type().map(|column_type| PgTypeInfo::with_oid(Oid(oids(column_type).0)))
    }
}

/// The arguments of a statement about a few values.
pub(crate) fn arguments<'a>(values: impl IntoIterator<Item = Value<'a>>) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for value in values {
        arguments.add(Argument(value)).map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// The columns of many rows, each as one array: a batch of any size is the same statement. Its memory serves batch after
/// batch.
#[derive(Debug, Default)]
pub(super) struct Arrays {
    columns: Vec<Array>,
}

#[derive(Debug)]
struct Array {
    element: ColumnType,
    elements: Vec<u8>,
    rows: i32,
    has_nulls: bool,
}

impl Arrays {
    /// Empties it, for columns of these types.
    pub(super) fn begin(&mut self, types: &[ColumnType]) {
        self.columns.truncate(types.len());
        for (column, element) in self.columns.iter_mut().zip(types) {
            column.element = *element;
            column.elements.clear();
            column.rows = 0;
            column.has_nulls = false;
        }
        for element in &types[self.columns.len()..] {
            self.columns.push(Array { element: *element, elements: Vec::new(), rows: 0, has_nulls: false });
        }
    }

    /// Adds a row's value to the column at `index`.
    pub(super) fn push(&mut self, index: usize, value: Value<'_>) -> Result<(), sqlx::Error> {
        let column = &mut self.columns[index];
        column.rows += 1;
        column.has_nulls |= value == Value::Null;
        put(&mut column.elements, value)
    }

    /// Adds a row's key to the first three columns.
    pub(super) fn push_key(&mut self, key: &RowKey) -> Result<(), sqlx::Error> {
        let ids = [key.tenant.0, key.workspace.0, key.id.0];
        ids.into_iter().enumerate().try_for_each(|(index, id)| self.push(index, Value::Uuid(id)))
    }

    /// One argument per column, of the first `columns`.
    pub(super) fn arguments(&self, columns: usize) -> Result<PgArguments, sqlx::Error> {
        let mut arguments = PgArguments::default();
        arguments.reserve(columns, self.columns[..columns].iter().map(|column| column.elements.len() + 24).sum());
        for column in &self.columns[..columns] {
            arguments.add(column).map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }
}

impl Type<Postgres> for Array {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Array {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let dimensions = i32::from(self.rows > 0);
        buffer.extend_from_slice(&dimensions.to_be_bytes());
        buffer.extend_from_slice(&i32::from(self.has_nulls).to_be_bytes());
        buffer.extend_from_slice(&oids(self.element).0.to_be_bytes());
        if dimensions > 0 {
            buffer.extend_from_slice(&self.rows.to_be_bytes());
            // The index of its first element.
            buffer.extend_from_slice(&1i32.to_be_bytes());
            buffer.extend_from_slice(&self.elements);
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(oids(self.element).1)))
    }
}

/// A stored row: its key, its life, and its values in the order of the shape's columns, appended to `values`.
pub(super) fn stored_row<'r>(
    shape: &TableShape,
    row: &'r PgRow,
    values: &mut Vec<Value<'r>>,
) -> Result<(RowKey, RowLife), sqlx::Error> {
    let key = RowKey { tenant: TenantId(id(row, 0)?), workspace: WorkspaceId(id(row, 1)?), id: RowId(id(row, 2)?) };
    for (index, column) in shape.columns.iter().enumerate() {
        values.push(stored_value(row, index + 3, column)?);
    }
    let is_deleted = is_of_rows(shape) && truth(row, shape.columns.len() + 3)?;
    Ok((key, if is_deleted { RowLife::Deleted } else { RowLife::Live }))
}

/// The value of one column of a result.
pub(crate) fn stored_value<'r>(row: &'r PgRow, index: usize, column: &Column) -> Result<Value<'r>, sqlx::Error> {
    if row.try_get_raw(index)?.is_null() {
        return Ok(Value::Null);
    }
    Ok(match column.column_type {
        ColumnType::Bool => Value::Bool(truth(row, index)?),
        ColumnType::Int => Value::Int(integer(row, index)?),
        ColumnType::Uuid => Value::Uuid(id(row, index)?),
        ColumnType::Text => Value::Text(text(row, index, ColumnType::Text)?),
        ColumnType::Json => Value::Json(text(row, index, ColumnType::Json)?),
        ColumnType::Float => {
            let number = f64::from_be_bytes(array(row, index, ColumnType::Float)?);
            Value::Float(Float::new(number).map_err(|error| damaged(row, index, &error.to_string()))?)
        }
        ColumnType::Timestamp => {
            let since = i64::from_be_bytes(array(row, index, ColumnType::Timestamp)?);
            let micros = since.checked_add(EPOCH_MICROS);
            Value::Timestamp(Timestamp(micros.ok_or_else(|| damaged(row, index, "an instant out of range"))?))
        }
    })
}

fn id(row: &PgRow, index: usize) -> Result<Uuid, sqlx::Error> {
    array(row, index, ColumnType::Uuid).map(Uuid::from_bytes)
}

fn text(row: &PgRow, index: usize, wanted: ColumnType) -> Result<&str, sqlx::Error> {
    let (_, bytes) = bytes(row, index, &[oids(wanted).0])?;
    std::str::from_utf8(bytes).map_err(|error| damaged(row, index, &error.to_string()))
}

fn truth(row: &PgRow, index: usize) -> Result<bool, sqlx::Error> {
    array::<1>(row, index, ColumnType::Bool).map(|[byte]| byte != 0)
}

/// Of a column, or of an expression of a query, which may be a shorter integer.
fn integer(row: &PgRow, index: usize) -> Result<i64, sqlx::Error> {
    let (oid, bytes) = bytes(row, index, &[oids(ColumnType::Int).0, INT4, INT2])?;
    let value = match oid {
        INT2 => bytes.try_into().ok().map(|bytes| i64::from(i16::from_be_bytes(bytes))),
        INT4 => bytes.try_into().ok().map(|bytes| i64::from(i32::from_be_bytes(bytes))),
        _ => bytes.try_into().ok().map(i64::from_be_bytes),
    };
    value.ok_or_else(|| damaged(row, index, "an integer of another length"))
}

fn array<const N: usize>(row: &PgRow, index: usize, wanted: ColumnType) -> Result<[u8; N], sqlx::Error> {
    let (_, bytes) = bytes(row, index, &[oids(wanted).0])?;
    bytes.try_into().map_err(|_| damaged(row, index, &format!("a value of {} bytes", bytes.len())))
}

/// The bytes of a value that is not null, and its type, which must be one of these.
fn bytes<'r>(row: &'r PgRow, index: usize, wanted: &[u32]) -> Result<(u32, &'r [u8]), sqlx::Error> {
    let value: PgValueRef<'r> = row.try_get_raw(index)?;
    let found = value.type_info().oid().map_or(0, |oid| oid.0);
    if value.is_null() || !wanted.contains(&found) {
        let found = if value.is_null() { "NULL".to_owned() } else { format!("type {found}") };
        return Err(damaged(row, index, &format!("{found} where type {} belongs", wanted[0])));
    }
    Ok((found, value.as_bytes().map_err(sqlx::Error::Decode)?))
}

fn damaged(row: &PgRow, index: usize, cause: &str) -> sqlx::Error {
    use sqlx::Column as _;
    sqlx::Error::ColumnDecode { index: row.columns()[index].name().to_owned(), source: cause.into() }
}
