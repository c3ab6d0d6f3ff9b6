//! Rows in memory: what live batches load, change and commit, and what a rebuild folds.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use foldhash::HashMap;

use crate::projection::key::{KeyRange, Keys, RowKey};
use crate::projection::left_out::LeftOut;
use crate::projection::rollup::{GroupRow, Groups, RollupPlan};
use crate::projection::row::{Row, RowError};
use crate::projection::value::Value;

/// Whether a row is there, or was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RowLife {
    /// It is there.
    Live,
    /// It was deleted; its last values are kept.
    Deleted,
}

/// What a row was when it was loaded: rollups need it to take its old contribution out.
pub(crate) enum Origin<R> {
    /// As it was loaded: nothing changed it.
    Clean,
    /// Changed; it contributed nothing before (it did not exist, or no rollup asks).
    Absent,
    /// Changed; this is what it was.
    Row(Box<R>),
}

pub(crate) struct Slot<R> {
    pub(crate) row: R,
    pub(crate) life: RowLife,
    pub(crate) origin: Origin<R>,
}

pub(crate) struct Table<R> {
    pub(crate) rows: HashMap<RowKey, Slot<R>>,
    /// Of all rows, outside of their structs.
    pub(crate) heap_bytes: usize,
    /// A rollup needs to know what changed rows were.
    pub(crate) keep_origin: bool,
    /// Columns of the row that this version of the table does not have. Their fields are absent in every row, whenever
    /// a handler or a rollup sees it: so rows do not depend on where one was written and loaded in between.
    pub(crate) left_out: LeftOut,
}

/// Rows that a table may take in between two looks at its size.
const GROWTH_HEADROOM_ROWS: usize = 256;

impl<R: Row> Table<R> {
    pub(crate) fn of(table: &dyn AnyTable) -> &Self {
        table.as_any().downcast_ref().expect("the table that the read model made for this row type")
    }
    pub(crate) fn of_mut(table: &mut dyn AnyTable) -> &mut Self {
        table.as_any_mut().downcast_mut().expect("the table that the read model made for this row type")
    }
    pub(crate) fn boxed(keep_origin: bool, left_out: LeftOut) -> Box<dyn AnyTable> {
        Box::new(Self { rows: HashMap::default(), heap_bytes: 0, keep_origin, left_out })
    }
}

/// A table whose row type is erased.
pub(crate) trait AnyTable: Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
    fn len(&self) -> usize;
    fn approx_bytes(&self) -> usize;
    fn contains(&self, key: &RowKey) -> bool;
    fn keys(&self, out: &mut Vec<RowKey>);
    fn changed_keys(&self, out: &mut Vec<RowKey>);
    fn values<'a>(&'a self, key: &RowKey, out: &mut Vec<Value<'a>>) -> Option<RowLife>;
    fn load(&mut self, key: RowKey, life: RowLife, values: &[Value<'_>]) -> Result<(), RowError>;
    fn evict_from(&mut self, bound: &RowKey);
    fn shared_key(&self, other: &dyn AnyTable) -> Option<RowKey>;
    fn mark_clean(&mut self);
    fn clear(&mut self);
}

impl<R: Row> AnyTable for Table<R> {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
    fn len(&self) -> usize {
        self.rows.len()
    }
    fn approx_bytes(&self) -> usize {
        let held = self.rows.capacity() / 7 * 8 * (size_of::<(RowKey, Slot<R>)>() + 1);
        // A hash table that is full doubles, and holds both copies while it does.
        let grows = !self.rows.is_empty() && self.rows.len() + GROWTH_HEADROOM_ROWS > self.rows.capacity();
        self.heap_bytes + if grows { 3 * held } else { held }
    }
    fn contains(&self, key: &RowKey) -> bool {
        self.rows.contains_key(key)
    }
    fn keys(&self, out: &mut Vec<RowKey>) {
        out.extend(self.rows.keys().copied());
    }
    fn changed_keys(&self, out: &mut Vec<RowKey>) {
        let changed = self.rows.iter().filter(|(_, slot)| !matches!(slot.origin, Origin::Clean));
        out.extend(changed.map(|(key, _)| *key));
    }
    fn values<'a>(&'a self, key: &RowKey, out: &mut Vec<Value<'a>>) -> Option<RowLife> {
        let slot = self.rows.get(key)?;
        let start = out.len();
        slot.row.values(out);
        if !self.left_out.is_empty() {
            self.left_out.remove_from(out, start);
        }
        Some(slot.life)
    }
    fn load(&mut self, key: RowKey, life: RowLife, values: &[Value<'_>]) -> Result<(), RowError> {
        let row = match self.left_out.is_empty() {
            true => R::from_values(values)?,
            false => R::from_kept_values(values, self.left_out)?,
        };
        self.heap_bytes += row.heap_bytes();
        if let Some(replaced) = self.rows.insert(key, Slot { row, life, origin: Origin::Clean }) {
            self.heap_bytes -= replaced.row.heap_bytes();
        }
        Ok(())
    }
    fn evict_from(&mut self, bound: &RowKey) {
        let heap_bytes = &mut self.heap_bytes;
        self.rows.retain(|key, slot| {
            let stays = key < bound;
            if !stays {
                *heap_bytes -= slot.row.heap_bytes();
            }
            stays
        });
        // Half of the room again, so that the next rows do not make it grow at once.
        self.rows.shrink_to(self.rows.len() + self.rows.len() / 2);
    }
    fn shared_key(&self, other: &dyn AnyTable) -> Option<RowKey> {
        let (few, many) = if self.len() < other.len() { (self, Self::of(other)) } else { (Self::of(other), self) };
        few.rows.keys().find(|key| many.rows.contains_key(key)).copied()
    }
    fn mark_clean(&mut self) {
        self.rows.values_mut().for_each(|slot| slot.origin = Origin::Clean);
    }
    fn clear(&mut self) {
        self.rows.clear();
        self.heap_bytes = 0;
    }
}

/// A row was folded from two partitions: its events span two scopes, so they have no total order. The projection routes
/// wrongly: fix it and rebuild under a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {key} of table {table} has events in two partitions")]
pub struct SharedRow {
    /// Index of the table.
    pub table: usize,
    /// The row.
    pub key: RowKey,
}

/// The rows of all tables of one read model within one range of keys, in memory. Made by
/// [`crate::projection::ReadModel::new_tables`]; the index of a table is its place among the read model's row tables.
pub struct Tables {
    pub(crate) range: KeyRange,
    pub(crate) tables: Vec<Box<dyn AnyTable>>,
    pub(crate) rollups: Arc<[RollupPlan]>,
    /// Room for the keys of one event.
    pub(crate) keys: Keys,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("range", &self.range).field("rows", &self.row_count()).finish_non_exhaustive()
    }
}

impl Tables {
    /// The keys that these tables hold; events routed to others are not applied.
    pub const fn range(&self) -> KeyRange {
        self.range
    }
    /// Number of row tables.
    pub fn table_count(&self) -> usize {
        self.tables.len()
    }
    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.row_count() == 0
    }
    /// Rows held, tombstones included.
    pub fn row_count(&self) -> usize {
        self.tables.iter().map(|table| table.len()).sum()
    }
    /// Memory held, bytes: a little more than the truth, and counted before a table grows rather than after.
    pub fn approx_bytes(&self) -> usize {
        self.tables.iter().map(|table| table.approx_bytes()).sum()
    }
    /// True if the row is held, live or deleted.
    pub fn contains(&self, table: usize, key: &RowKey) -> bool {
        self.tables[table].contains(key)
    }
    /// Puts a row as a sink stores it: unchanged until an event changes it.
    pub fn load(&mut self, table: usize, key: RowKey, life: RowLife, values: &[Value<'_>]) -> Result<(), RowError> {
        self.tables[table].load(key, life, values)
    }
    /// All keys held of a table, ascending.
    pub fn sorted_keys(&self, table: usize) -> Vec<RowKey> {
        let mut keys = Vec::with_capacity(self.tables[table].len());
        self.tables[table].keys(&mut keys);
        keys.sort_unstable();
        keys
    }
    /// Keys of the rows that events changed since they were loaded, ascending.
    pub fn changed_keys(&self, table: usize) -> Vec<RowKey> {
        let mut keys = Vec::new();
        self.tables[table].changed_keys(&mut keys);
        keys.sort_unstable();
        keys
    }
    /// Appends the column values of a row; a tombstone has its last ones. Nothing if the row is not held.
    pub fn values<'a>(&'a self, table: usize, key: &RowKey, out: &mut Vec<Value<'a>>) -> Option<RowLife> {
        self.tables[table].values(key, out)
    }
    /// What the changed rows change in a rollup: new minus old contributions, ascending by key, without zeros.
    pub fn rollup_deltas(&self, rollup: usize) -> Vec<GroupRow> {
        let plan = &self.rollups[rollup];
        let mut groups = Groups::default();
        (plan.deltas)(self.tables[plan.of].as_ref(), &mut groups);
        groups.into_rows()
    }
    pub(crate) fn add_rollup_totals(&self, rollup: usize, groups: &mut Groups) {
        let plan = &self.rollups[rollup];
        (plan.totals)(self.tables[plan.of].as_ref(), groups);
    }
    /// What all live rows contribute to a rollup, ascending by key, without zeros.
    pub fn rollup_totals(&self, rollup: usize) -> Vec<GroupRow> {
        let mut groups = Groups::default();
        self.add_rollup_totals(rollup, &mut groups);
        groups.into_rows()
    }
    /// Gives up the upper half of all keys held: lowers the range's upper bound to the key returned, which is for a
    /// later pass. Nothing changes if there are fewer than two keys.
    pub fn split_upper(&mut self) -> Option<RowKey> {
        let mut keys = Vec::with_capacity(self.row_count());
        self.tables.iter().for_each(|table| table.keys(&mut keys));
        let lowest = *keys.iter().min()?;
        let middle = keys.len() / 2;
        let median = *keys.select_nth_unstable(middle).1;
        // One key may be in several tables: the bound must leave something below it.
        let bound = if median > lowest { median } else { *keys.iter().filter(|key| **key > lowest).min()? };
        self.lower_upper(bound);
        Some(bound)
    }
    /// Gives up all keys from `bound` on.
    pub fn lower_upper(&mut self, bound: RowKey) {
        if self.range.upper.is_none_or(|upper| bound < upper) {
            self.range.upper = Some(bound);
            self.tables.iter_mut().for_each(|table| table.evict_from(&bound));
        }
    }
    /// A row that is in both, if there is one. Tables folded from different partitions must not share any.
    pub fn shared_row(&self, other: &Self) -> Option<SharedRow> {
        let pairs = self.tables.iter().zip(&other.tables).enumerate();
        pairs
            .into_iter()
            .find_map(|(table, (mine, theirs))| mine.shared_key(theirs.as_ref()).map(|key| SharedRow { table, key }))
    }
    /// Keeps all rows as what the sink now holds: nothing is changed any more.
    pub fn mark_clean(&mut self) {
        self.tables.iter_mut().for_each(|table| table.mark_clean());
    }
    /// Drops all rows and keeps the room.
    pub fn clear(&mut self) {
        self.tables.iter_mut().for_each(|table| table.clear());
    }
}
