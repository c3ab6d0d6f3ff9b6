//! Rows as typed structs, each field a column.

use uuid::Uuid;

use crate::ids::{AggregateId, TenantId, UserId, WorkspaceId};
use crate::position::Sequence;
use crate::projection::left_out::LeftOut;
use crate::projection::value::{ColumnType, Float, Json, Value};
use crate::time::Timestamp;

/// One column of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub column_type: ColumnType,
    /// May be null.
    pub nullable: bool,
}

/// Why stored values are no row of this build: the table was written by another definition, or by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Another number of columns: the table has another definition; rebuild it.
    #[error("row has {found} columns instead of {expected}; rebuild the read model")]
    Columns {
        /// What the row type has.
        expected: usize,
        /// What was stored.
        found: usize,
    },
    /// A value of another type, or a null where none may be; rebuild the table.
    #[error("column {column} holds {found:?} instead of {expected:?}; rebuild the read model")]
    Type {
        /// Which column; empty while unknown.
        column: &'static str,
        /// What the row type has.
        expected: ColumnType,
        /// What was stored, nothing = null.
        found: Option<ColumnType>,
    },
    /// A value that its type cannot have (an unknown name, a number out of range); rebuild the table.
    #[error("column {column} holds no valid {what}; rebuild the read model")]
    Invalid {
        /// Which column; empty while unknown.
        column: &'static str,
        /// What was expected.
        what: &'static str,
    },
}

impl RowError {
    /// Of a value of another type than its column's.
    pub const fn mismatch(expected: ColumnType, found: Value<'_>) -> Self {
        Self::Type { column: "", expected, found: found.column_type() }
    }

    /// Of a value that its type cannot have.
    pub const fn invalid(what: &'static str) -> Self {
        Self::Invalid { column: "", what }
    }

    /// The same error, naming the column.
    #[must_use]
    pub const fn in_column(self, column: &'static str) -> Self {
        match self {
            Self::Columns { .. } => self,
            Self::Type { expected, found, .. } => Self::Type { column, expected, found },
            Self::Invalid { what, .. } => Self::Invalid { column, what },
        }
    }
}

/// A type that one column can hold. A closed set of names (an enum) is a text column: implement this beside the enum.
pub trait Field: Sized {
    /// What the column holds.
    const TYPE: ColumnType;
    /// May be null.
    const NULLABLE: bool = false;
    /// As a value.
    fn value(&self) -> Value<'_>;
    /// From a value, exactly as [`Field::value`] made it.
    fn from_value(value: Value<'_>) -> Result<Self, RowError>;
    /// What the field holds in every row of a version of its table that leaves the column out: never stored, never shown.
    fn absent() -> Self;
    /// Bytes held outside of the struct itself: memory limits count them.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// A row: one struct per table, written with [`crate::row!`].
pub trait Row: Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// Its columns, without those that every table has (`tenant_id`, `workspace_id`, `id`, `deleted`).
    const COLUMNS: &'static [Column];
    /// Appends one value per column, in order.
    fn values<'a>(&'a self, out: &mut Vec<Value<'a>>);
    /// From one value per column, in order.
    #[inline]
    fn from_values(values: &[Value<'_>]) -> Result<Self, RowError> {
        Self::from_kept_values(values, LeftOut::NONE)
    }
    /// From one value per column that is not left out, in order; the fields of the others are absent.
    fn from_kept_values(values: &[Value<'_>], left_out: LeftOut) -> Result<Self, RowError>;
    /// Makes the fields of these columns absent.
    fn leave_out(&mut self, columns: LeftOut);
    /// Bytes held outside of the struct itself.
    fn heap_bytes(&self) -> usize;
}

/// A group without columns: one rollup row per workspace.
impl Row for () {
    const COLUMNS: &'static [Column] = &[];
    fn values<'a>(&'a self, _out: &mut Vec<Value<'a>>) {}
    fn from_kept_values(values: &[Value<'_>], _left_out: LeftOut) -> Result<Self, RowError> {
        match values.len() {
            0 => Ok(()),
            found => Err(RowError::Columns { expected: 0, found }),
        }
    }
    fn leave_out(&mut self, _columns: LeftOut) {}
    fn heap_bytes(&self) -> usize {
        0
    }
}

macro_rules! fields {
    ($($type:ty, $column:ident, |$this:ident| $value:expr, $pattern:pat => $result:expr, $absent:expr;)+) => {$(
        impl Field for $type {
            const TYPE: ColumnType = ColumnType::$column;
            fn value(&self) -> Value<'_> {
                let $this = self;
                Value::$column($value)
            }
            fn from_value(value: Value<'_>) -> Result<Self, RowError> {
                match value {
                    Value::$column($pattern) => $result,
                    other => Err(RowError::mismatch(Self::TYPE, other)),
                }
            }
            fn absent() -> Self {
                $absent
            }
        }
    )+};
}

fields! {
    bool, Bool, |this| *this, value => Ok(value), false;
    i64, Int, |this| *this, value => Ok(value), 0;
    i32, Int, |this| i64::from(*this), value => i32::try_from(value).map_err(|_| RowError::invalid("32-bit number")), 0;
    Uuid, Uuid, |this| *this, value => Ok(value), Self::nil();
    AggregateId, Uuid, |this| this.0, value => Ok(Self(value)), Self(Uuid::nil());
    UserId, Uuid, |this| this.0, value => Ok(Self(value)), Self(Uuid::nil());
    TenantId, Uuid, |this| this.0, value => Ok(Self(value)), Self(Uuid::nil());
    WorkspaceId, Uuid, |this| this.0, value => Ok(Self(value)), Self(Uuid::nil());
    Timestamp, Timestamp, |this| *this, value => Ok(value), Self(0);
    Float, Float, |this| *this, value => Ok(value), Self::default();
    // The envelope stores sequences as Avro longs, so none is above i64::MAX.
    Sequence, Int, |this| this.0 as i64,
        value => u64::try_from(value).map(Self).map_err(|_| RowError::invalid("sequence")), Self(0);
}

impl Field for String {
    const TYPE: ColumnType = ColumnType::Text;
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
    fn from_value(value: Value<'_>) -> Result<Self, RowError> {
        match value {
            Value::Text(text) => Ok(text.into()),
            other => Err(RowError::mismatch(Self::TYPE, other)),
        }
    }
    fn absent() -> Self {
        Self::new()
    }
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl Field for Json {
    const TYPE: ColumnType = ColumnType::Json;
    fn value(&self) -> Value<'_> {
        Value::Json(self.as_str())
    }
    fn from_value(value: Value<'_>) -> Result<Self, RowError> {
        match value {
            // Whoever wrote another text than the canonical one did not write what the fold made.
            Value::Json(text) => {
                let read = Self::parse(text).ok().filter(|json| json.as_str() == text);
                read.ok_or(RowError::invalid("canonical JSON"))
            }
            other => Err(RowError::mismatch(Self::TYPE, other)),
        }
    }
    fn absent() -> Self {
        Self::null()
    }
    fn heap_bytes(&self) -> usize {
        self.as_str().len()
    }
}

impl<T: Field> Field for Option<T> {
    const TYPE: ColumnType = T::TYPE;
    const NULLABLE: bool = {
        assert!(!T::NULLABLE, "a column has one null: no option of an option");
        true
    };
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Field::value)
    }
    fn from_value(value: Value<'_>) -> Result<Self, RowError> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
    fn absent() -> Self {
        None
    }
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, Field::heap_bytes)
    }
}

/// Defines a row struct and its columns: one per field, same name, same order.
///
/// ```
/// annals_model::row! {
///     /// An application as the workspace sees it.
///     pub struct ApplicationRow {
///         /// Its name.
///         pub name: String,
///         /// The newest release, if there is one.
///         pub release: Option<String>,
///     }
/// }
/// ```
#[macro_export]
macro_rules! row {
    ($(#[$doc:meta])* $vis:vis struct $name:ident {
        $($(#[$field_doc:meta])* $field_vis:vis $field:ident : $type:ty),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug)]
        $vis struct $name { $($(#[$field_doc])* $field_vis $field: $type),+ }

        impl $crate::projection::Row for $name {
            const COLUMNS: &'static [$crate::projection::Column] = &[$($crate::projection::Column {
                name: stringify!($field),
                column_type: <$type as $crate::projection::Field>::TYPE,
                nullable: <$type as $crate::projection::Field>::NULLABLE,
            }),+];
            fn values<'a>(&'a self, out: &mut Vec<$crate::projection::Value<'a>>) {
                $(out.push($crate::projection::Field::value(&self.$field));)+
            }
            #[inline]
            fn from_kept_values(
                values: &[$crate::projection::Value<'_>],
                left_out: $crate::projection::LeftOut,
            ) -> ::std::result::Result<Self, $crate::projection::RowError> {
                let expected = <Self as $crate::projection::Row>::COLUMNS.len() - left_out.len();
                if values.len() != expected {
                    return Err($crate::projection::RowError::Columns { expected, found: values.len() });
                }
                let mut values = values.iter();
                let mut places = 0usize..;
                Ok(Self {
                    // As many values as columns that are kept: counted above.
                    $($field: match places.next().is_some_and(|place| left_out.contains(place)) {
                        true => <$type as $crate::projection::Field>::absent(),
                        false => values.next().map_or_else(
                            || Err($crate::projection::RowError::invalid("value")),
                            |value| <$type as $crate::projection::Field>::from_value(*value),
                        ).map_err(|error| error.in_column(stringify!($field)))?,
                    }),+
                })
            }
            fn leave_out(&mut self, columns: $crate::projection::LeftOut) {
                let mut places = 0usize..;
                $(if places.next().is_some_and(|place| columns.contains(place)) {
                    self.$field = <$type as $crate::projection::Field>::absent();
                })+
            }
            fn heap_bytes(&self) -> usize {
                0 $(+ $crate::projection::Field::heap_bytes(&self.$field))+
            }
        }
    };
}
