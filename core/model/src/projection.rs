//! How events become rows: projections, rollups, and the read models that group them.
//!
//! A projection is a pure keyed fold: each event is *routed* to keys, and changes the row of each. A row knows only
//! its own key's events, so rows can be folded in any order, in parallel, in memory, up to any position, or twice and
//! compared. Live projection and rebuild run the same functions; all a projection can touch is its row.

pub mod fold;
pub mod key;
pub mod left_out;
pub mod read_model;
pub mod rollup;
pub mod row;
pub mod shape;
pub mod table;
pub mod value;
mod word;

pub use fold::{ApplyError, Fold, RowSlot, each, own};
pub use key::{KeyRange, KeySets, Keys, RowId, RowKey};
pub use left_out::LeftOut;
pub use read_model::{ApplyFailure, ReadModel, SubscribedEvent};
pub use rollup::{Contributions, GroupRow, Rollup, RollupTotals};
pub use row::{Column, Field, Row, RowError};
pub use shape::{Index, TableKind, TableShape};
pub use table::{RowLife, SharedRow, Tables};
pub use value::{ColumnType, Float, Json, NotFinite, NotJson, OwnedValue, Value};

/// One table: its row, and how events change it.
///
/// All its events belong to one context, and all events of one key to one scope, so that every row follows one total
/// order.
pub trait Projection: 'static {
    /// The table's name: lower-case, plural, unique within its read model.
    const NAME: &'static str;
    /// Its row.
    type Row: Row;
    /// What queries look it up or order it by, besides its key.
    const INDEXES: &'static [Index] = &[];
    /// Names the events that it wants, and what each does.
    fn fold(on: &mut Fold<Self::Row>);
}

#[cfg(test)]
mod tests;
