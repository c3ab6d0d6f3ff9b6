//! Typed handlers: which events a projection wants, which rows each touches, and how it changes them.

use std::any::{Any, TypeId};
use std::collections::hash_map::Entry;
use std::fmt;
use std::marker::PhantomData;

use crate::avro::DecodeError;
use crate::envelope::{Record, SchemaId};
use crate::event::{Event, Recorded};
use crate::ids::ContextId;
use crate::projection::key::{KeySets, Keys, RowId, RowKey};
use crate::projection::left_out::LeftOut;
use crate::projection::row::Row;
use crate::projection::table::{AnyTable, Origin, RowLife, Slot, Table, Tables};

/// Why an event cannot be applied. The read model stops there: skipping it would make its rows a lie.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The event changes or deletes a row that is not there: fix the handlers and rebuild under a new version.
    #[error("the event changes a row that does not exist")]
    Missing,
    /// The event creates a row that is there already: fix the handlers and rebuild under a new version.
    #[error("the event creates a row that exists")]
    Exists,
    /// The event contradicts its row in a way that its handler knows: fix the handlers, rebuild under a new version.
    #[error("the event contradicts the row: {0}")]
    Contradiction(&'static str),
    /// The payload's bytes are not what its schema says: verify the log.
    #[error("the payload cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    /// The schema is unknown to this build, or a version that it no longer reads: run a build that knows it.
    #[error("schema id {} is unknown to this build; upgrade it", .0.0)]
    UnknownSchema(SchemaId),
}

/// One row, as a handler may change it.
pub struct RowSlot<'a, R> {
    /// Always there between two calls; `insert` moves it out for a moment.
    entry: Option<Entry<'a, RowKey, Slot<R>>>,
    heap_bytes: &'a mut usize,
    keep_origin: bool,
    left_out: LeftOut,
}

impl<R> fmt::Debug for RowSlot<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowSlot").field("key", &self.entry.as_ref().map(Entry::key)).finish_non_exhaustive()
    }
}

impl<'a, R: Row> RowSlot<'a, R> {
    #[inline]
    pub(crate) fn new(table: &'a mut Table<R>, key: RowKey) -> Self {
        Self {
            entry: Some(table.rows.entry(key)),
            heap_bytes: &mut table.heap_bytes,
            keep_origin: table.keep_origin,
            left_out: table.left_out,
        }
    }

    /// The row, if it is there.
    pub fn get(&self) -> Option<&R> {
        match &self.entry {
            Some(Entry::Occupied(entry)) if entry.get().life == RowLife::Live => Some(&entry.get().row),
            _ => None,
        }
    }

    /// Creates the row; [`ApplyError::Exists`] if it is there. A deleted row may be created anew.
    pub fn insert(&mut self, row: R) -> Result<(), ApplyError> {
        self.put(row)?;
        if !self.left_out.is_empty() {
            // In its place: a row that may change before it is moved is moved once more.
            return self.change(|_| {});
        }
        Ok(())
    }

    #[inline]
    fn put(&mut self, row: R) -> Result<(), ApplyError> {
        match self.entry.take() {
            Some(Entry::Occupied(mut entry)) => {
                let slot = entry.get_mut();
                let free = slot.life == RowLife::Deleted;
                if free {
                    *self.heap_bytes = *self.heap_bytes + row.heap_bytes() - slot.row.heap_bytes();
                    // A tombstone contributes nothing to a rollup, so as an origin it is no row.
                    if matches!(slot.origin, Origin::Clean) {
                        slot.origin = Origin::Absent;
                    }
                    slot.row = row;
                    slot.life = RowLife::Live;
                }
                self.entry = Some(Entry::Occupied(entry));
                if free { Ok(()) } else { Err(ApplyError::Exists) }
            }
            Some(Entry::Vacant(entry)) => {
                *self.heap_bytes += row.heap_bytes();
                let slot = Slot { row, life: RowLife::Live, origin: Origin::Absent };
                self.entry = Some(Entry::Occupied(entry.insert_entry(slot)));
                Ok(())
            }
            None => unreachable!("the entry is put back by every call"),
        }
    }

    /// Changes the row; [`ApplyError::Missing`] unless it is there.
    pub fn change(&mut self, change: impl FnOnce(&mut R)) -> Result<(), ApplyError> {
        let left_out = self.left_out;
        let before = self.live()?;
        let held = before.row.heap_bytes();
        change(&mut before.row);
        if !left_out.is_empty() {
            before.row.leave_out(left_out);
        }
        let holds = before.row.heap_bytes();
        *self.heap_bytes = *self.heap_bytes + holds - held;
        Ok(())
    }

    /// Deletes the row; [`ApplyError::Missing`] unless it is there. A tombstone with the last values stays.
    pub fn delete(&mut self) -> Result<(), ApplyError> {
        self.live()?.life = RowLife::Deleted;
        Ok(())
    }

    fn live(&mut self) -> Result<&mut Slot<R>, ApplyError> {
        match &mut self.entry {
            Some(Entry::Occupied(entry)) if entry.get().life == RowLife::Live => {
                let slot = entry.get_mut();
                if matches!(slot.origin, Origin::Clean) {
                    slot.origin = match self.keep_origin {
                        true => Origin::Row(Box::new(slot.row.clone())),
                        false => Origin::Absent,
                    };
                }
                Ok(slot)
            }
            _ => Err(ApplyError::Missing),
        }
    }
}

/// Routes an event to the row with its aggregate's id.
pub fn own<E>(event: &Recorded<'_, E>, keys: &mut Keys) {
    keys.add(event.aggregate_id);
}

/// Routes an event to a row of its own, with the event's id: for tables that hold what happened, line by line.
pub fn each<E>(event: &Recorded<'_, E>, keys: &mut Keys) {
    keys.add(RowId(event.event_id.0));
}

type Route<E> = fn(&Recorded<'_, E>, &mut Keys);
type Apply<R, E> = fn(&mut RowSlot<'_, R>, &Recorded<'_, E>) -> Result<(), ApplyError>;

/// Collects the handlers of one projection.
pub struct Fold<R> {
    table: usize,
    pub(crate) subscriptions: Vec<Subscription>,
    row: PhantomData<fn(R)>,
}

impl<R> fmt::Debug for Fold<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fold").field("subscriptions", &self.subscriptions.len()).finish_non_exhaustive()
    }
}

impl<R: Row> Fold<R> {
    pub(crate) fn new(table: usize) -> Self {
        Self { table, subscriptions: Vec::new(), row: PhantomData }
    }

    /// Wants the events `E`: `route` names the rows that one touches, `apply` changes each of them. Both are pure
    /// functions of the event (and the row): no clock, no randomness, no other row.
    pub fn on<E: Event>(&mut self, route: Route<E>, apply: Apply<R, E>) {
        let handler: Box<dyn Handler<E>> = Box::new(TypedHandler { table: self.table, route, apply });
        self.subscriptions.push(Subscription {
            event: TypeId::of::<E>(),
            new_group: || Box::new(Group::<E> { handlers: Vec::new() }),
            handler: Box::new(handler),
        });
    }
}

/// One handler whose event type is erased until the read model groups it with the others of that type.
pub(crate) struct Subscription {
    pub(crate) event: TypeId,
    pub(crate) new_group: fn() -> Box<dyn EventGroup>,
    /// A `Box<dyn Handler<E>>`.
    pub(crate) handler: Box<dyn Any>,
}

/// What went wrong at which row of which table; the read model adds what it knows of the event.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) row: Option<(usize, RowKey)>,
    pub(crate) cause: ApplyError,
}

/// All handlers of one event type, over all tables: the payload is decoded once for them.
pub(crate) trait EventGroup: Send + Sync {
    /// Adds a `Box<dyn Handler<E>>`.
    fn add(&mut self, handler: Box<dyn Any>);
    /// Takes the handlers of a table out; how many there were.
    fn remove(&mut self, table: usize) -> usize;
    fn is_empty(&self) -> bool;
    fn context(&self) -> ContextId;
    fn event_type(&self) -> &'static str;
    fn oldest_version(&self) -> i32;
    fn newest_version(&self) -> i32;
    fn route(&self, record: &Record<'_>, sets: &mut KeySets) -> Result<(), ApplyError>;
    fn apply(&self, record: &Record<'_>, tables: &mut Tables) -> Result<(), Refusal>;
}

trait Handler<E>: Send + Sync {
    fn table(&self) -> usize;
    fn route(&self, event: &Recorded<'_, E>, keys: &mut Keys);
    fn apply(&self, event: &Recorded<'_, E>, table: &mut dyn AnyTable, key: RowKey) -> Result<(), ApplyError>;
}

struct TypedHandler<R, E> {
    table: usize,
    route: Route<E>,
    apply: Apply<R, E>,
}

impl<R: Row, E: Event> Handler<E> for TypedHandler<R, E> {
    fn table(&self) -> usize {
        self.table
    }
    fn route(&self, event: &Recorded<'_, E>, keys: &mut Keys) {
        (self.route)(event, keys);
    }
    fn apply(&self, event: &Recorded<'_, E>, table: &mut dyn AnyTable, key: RowKey) -> Result<(), ApplyError> {
        (self.apply)(&mut RowSlot::new(Table::<R>::of_mut(table), key), event)
    }
}

struct Group<E> {
    handlers: Vec<Box<dyn Handler<E>>>,
}

impl<E: Event> EventGroup for Group<E> {
    fn add(&mut self, handler: Box<dyn Any>) {
        // Both sides were made by `Fold::on::<E>` and found each other by `TypeId::of::<E>()`.
        let handler = handler.downcast::<Box<dyn Handler<E>>>().expect("a handler of this group's event type");
        self.handlers.push(*handler);
    }
    fn remove(&mut self, table: usize) -> usize {
        let before = self.handlers.len();
        self.handlers.retain(|handler| handler.table() != table);
        before - self.handlers.len()
    }
    fn is_empty(&self) -> bool {
        self.handlers.is_empty()
    }
    fn context(&self) -> ContextId {
        E::CONTEXT
    }
    fn event_type(&self) -> &'static str {
        E::EVENT_TYPE
    }
    fn oldest_version(&self) -> i32 {
        E::OLDEST_VERSION
    }
    fn newest_version(&self) -> i32 {
        E::EVENT_VERSION
    }

    fn route(&self, record: &Record<'_>, sets: &mut KeySets) -> Result<(), ApplyError> {
        let event = Recorded { record, payload: E::decode_any(record.schema, record.payload)? };
        let mut keys = Keys::default();
        for handler in &self.handlers {
            keys.clear();
            handler.route(&event, &mut keys);
            keys.ids().iter().for_each(|id| sets.add(handler.table(), RowKey::of(&record.envelope, *id)));
        }
        Ok(())
    }

    fn apply(&self, record: &Record<'_>, tables: &mut Tables) -> Result<(), Refusal> {
        let payload =
            E::decode_any(record.schema, record.payload).map_err(|error| Refusal { row: None, cause: error.into() })?;
        let event = Recorded { record, payload };
        // Taken out and put back, so that its room serves all events of these tables.
        let mut keys = std::mem::take(&mut tables.keys);
        let applied = self.handlers.iter().try_for_each(|handler| {
            keys.clear();
            handler.route(&event, &mut keys);
            let table = handler.table();
            keys.ids().iter().map(|id| RowKey::of(&record.envelope, *id)).try_for_each(|key| {
                if !tables.range.contains(&key) {
                    return Ok(());
                }
                handler
                    .apply(&event, tables.tables[table].as_mut(), key)
                    .map_err(|cause| Refusal { row: Some((table, key)), cause })
            })
        });
        tables.keys = keys;
        applied
    }
}
