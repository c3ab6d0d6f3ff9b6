//! What an owner remembers of its partition, and the changes that a batch makes to it.
//!
//! All of it is a cache of the log: losing it costs a fold, never a fact.

use annals_model::aggregate::AnyLabel;
use annals_model::context::AnyState;
use annals_model::envelope::Fingerprint;
use annals_model::ids::{AggregateId, ContextId, OperationId, Scope, WorkspaceId};
use annals_model::position::{Checkpoint, Offset, RecordOffset, Sequence};
use foldhash::HashMap;

use crate::log::BoxFuture;

mod changes;
mod digest;

pub(super) use changes::Advanced;
pub use changes::Changes;
pub use digest::StateDigests;

/// Where an aggregate is to be found.
#[derive(Clone, Copy, Debug)]
pub struct AggregateAddress<'a> {
    /// The context that owns it.
    pub context: ContextId,
    /// Wire name of its type.
    pub aggregate_type: &'a str,
    /// Its consistency boundary: workspace nil for tenant-level aggregates.
    pub scope: Scope,
    /// Its id.
    pub id: AggregateId,
}

/// One aggregate of the partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AggregateKey {
    /// Its consistency boundary.
    pub scope: Scope,
    /// Wire name of its type.
    pub aggregate_type: &'static str,
    /// Its id.
    pub id: AggregateId,
}

/// A living aggregate.
#[derive(Clone, Debug)]
pub struct AggregateEntry {
    /// Its state.
    pub state: AnyState,
    /// Its version.
    pub version: Sequence,
    /// The workspace that its events are about; fixed by the first.
    pub workspace: WorkspaceId,
}

/// An accepted command, for ever.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerEntry {
    /// The request, in full: the operation id holds only a hash of it.
    pub client_request_id: Box<str>,
    /// What it asked.
    pub fingerprint: Fingerprint,
    /// The aggregate that it changed.
    pub aggregate: AggregateKey,
    /// That aggregate's version behind it.
    pub version: Sequence,
    /// Number of events; 0 if there was nothing to do.
    pub events: u16,
    /// Its first record.
    pub first: RecordOffset,
    /// Behind its last record.
    pub end: Offset,
}

/// A value that one aggregate of a scope holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UniqueKey {
    /// Where it is unique.
    pub scope: Scope,
    /// Which key.
    pub name: &'static str,
    /// The value.
    pub value: String,
}

/// Where references are counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReferenceKey {
    /// Both ends lie in it.
    pub scope: Scope,
    /// What is pointed at.
    pub target: AggregateId,
    /// Under which label.
    pub label: AnyLabel,
}

/// What a look at an aggregate finds.
#[derive(Debug)]
pub enum Peek<'a> {
    /// It lives and is in memory.
    Loaded(&'a AggregateEntry),
    /// It does not exist.
    Absent,
    /// It may exist, but its state must be loaded first.
    NotLoaded,
}

/// An owner's memory. States may be cold: a store holds as many of them in memory as it has room for. All else, the ledger,
/// holders, counts and histories, is answered at once. The in-memory store keeps every state loaded.
pub trait StateStore: Send + std::fmt::Debug {
    /// Everything before this position is applied.
    fn position(&self) -> Checkpoint;
    /// The aggregate, if it is in memory. Whoever is told [`Peek::NotLoaded`] knows nothing, not even whether it exists, and
    /// must load it.
    fn peek(&self, key: &AggregateKey) -> Peek<'_>;
    /// Brings aggregates into memory. Until the next [`StateStore::apply`], [`StateStore::release`] or
    /// [`StateStore::clear`] they stay there, with all those loaded before: [`StateStore::peek`] does not answer
    /// [`Peek::NotLoaded`] for any of them, nor for one that does not exist.
    fn load<'a>(&'a mut self, keys: &'a [AggregateKey]) -> BoxFuture<'a, ()>;
    /// The accepted command with this id.
    fn ledger(&self, operation: OperationId) -> Option<LedgerEntry>;
    /// Who holds a value.
    fn holder(&self, key: &UniqueKey) -> Option<AggregateKey>;
    /// Number of live references.
    fn references(&self, key: &ReferenceKey) -> i64;
    /// Where an aggregate's events lie, from the one behind `after`, at most `limit`.
    fn history(&self, key: &AggregateKey, after: Sequence, limit: usize) -> Vec<RecordOffset>;
    /// Applies a batch's changes and moves the position, as one. Any state may be cold behind it.
    fn apply(&mut self, changes: Changes, position: Checkpoint);
    /// A batch is over, whatever came of it: what was loaded for it may leave memory.
    fn release(&mut self);
    /// Forgets everything: the partition belongs to somebody else.
    fn clear(&mut self);
}

/// The in-memory store.
#[derive(Debug, Default)]
pub struct MemoryStateStore {
    position: Checkpoint,
    aggregates: HashMap<AggregateKey, AggregateEntry>,
    ledger: HashMap<OperationId, LedgerEntry>,
    unique: HashMap<UniqueKey, AggregateKey>,
    references: HashMap<ReferenceKey, i64>,
    /// Sequences are contiguous, so the event with sequence n is at index n - 1.
    index: HashMap<AggregateKey, Vec<RecordOffset>>,
}

impl StateStore for MemoryStateStore {
    fn position(&self) -> Checkpoint {
        self.position
    }
    fn peek(&self, key: &AggregateKey) -> Peek<'_> {
        self.aggregates.get(key).map_or(Peek::Absent, Peek::Loaded)
    }
    fn load<'a>(&'a mut self, _: &'a [AggregateKey]) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
    fn ledger(&self, operation: OperationId) -> Option<LedgerEntry> {
        self.ledger.get(&operation).cloned()
    }
    fn holder(&self, key: &UniqueKey) -> Option<AggregateKey> {
        self.unique.get(key).copied()
    }
    fn references(&self, key: &ReferenceKey) -> i64 {
        self.references.get(key).copied().unwrap_or_default()
    }
    fn history(&self, key: &AggregateKey, after: Sequence, limit: usize) -> Vec<RecordOffset> {
        let all = self.index.get(key).map_or(&[][..], Vec::as_slice);
        let start = usize::try_from(after.0).map_or(all.len(), |after| after.min(all.len()));
        all[start..].iter().take(limit).copied().collect()
    }
    fn apply(&mut self, changes: Changes, position: Checkpoint) {
        self.aggregates.extend(changes.aggregates);
        self.ledger.extend(changes.ledger);
        for (key, holder) in changes.unique {
            match holder {
                Some(holder) => self.unique.insert(key, holder),
                None => self.unique.remove(&key),
            };
        }
        for (key, delta) in changes.references {
            let count = self.references.entry(key).or_default();
            *count += delta;
            debug_assert!(*count >= 0, "more references to {} dropped than made", key.target);
            if *count == 0 {
                self.references.remove(&key);
            }
        }
        for (key, offset) in changes.index {
            self.index.entry(key).or_default().push(offset);
        }
        self.position = position;
    }
    fn release(&mut self) {}
    fn clear(&mut self) {
        *self = Self::default();
    }
}
