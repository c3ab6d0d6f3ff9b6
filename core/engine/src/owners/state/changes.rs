//! What a batch changes, and the one way in which states move.

use annals_model::aggregate::Reference;
use annals_model::context::ErasedAggregate;
use annals_model::ids::OperationId;
use annals_model::position::RecordOffset;
use foldhash::HashMap;

use super::{AggregateEntry, AggregateKey, LedgerEntry, Peek, ReferenceKey, StateStore, UniqueKey};

/// Changes of one batch, on top of a store: looked up first, dropped as a whole if the append fails.
#[derive(Debug, Default)]
pub struct Changes {
    /// States behind the batch.
    pub aggregates: HashMap<AggregateKey, AggregateEntry>,
    /// Commands accepted in the batch.
    pub ledger: HashMap<OperationId, LedgerEntry>,
    /// Values taken, or set free.
    pub unique: HashMap<UniqueKey, Option<AggregateKey>>,
    /// Changes of reference counts.
    pub references: HashMap<ReferenceKey, i64>,
    /// Where the batch's events lie; known behind the append.
    pub index: Vec<(AggregateKey, RecordOffset)>,
}

/// What came of moving an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(in crate::owners) enum Advanced {
    /// It has its next state.
    Moved,
    /// Nothing was changed: its state must be loaded first.
    NotLoaded,
}

impl Changes {
    /// An aggregate as the batch sees it so far.
    pub fn peek<'a>(&'a self, store: &'a dyn StateStore, key: &AggregateKey) -> Peek<'a> {
        self.aggregates.get(key).map_or_else(|| store.peek(key), Peek::Loaded)
    }
    /// An accepted command as the batch sees it so far.
    pub fn ledger(&self, store: &dyn StateStore, operation: OperationId) -> Option<LedgerEntry> {
        self.ledger.get(&operation).cloned().or_else(|| store.ledger(operation))
    }
    /// A value's holder as the batch sees it so far.
    pub fn holder(&self, store: &dyn StateStore, key: &UniqueKey) -> Option<AggregateKey> {
        self.unique.get(key).copied().unwrap_or_else(|| store.holder(key))
    }
    /// Live references as the batch sees them so far.
    pub fn references(&self, store: &dyn StateStore, key: &ReferenceKey) -> i64 {
        store.references(key) + self.references.get(key).copied().unwrap_or_default()
    }

    /// Moves an aggregate by one command to its next state: state, unique keys and references together. There is no other
    /// way for states to move, so an owner that decides and one that folds the log come to the same memory, wherever the
    /// batches of either end.
    ///
    /// `next` is given the present state (nothing before the first event); it is not asked if that is not in memory.
    pub(in crate::owners) fn advance<E>(
        &mut self,
        store: &dyn StateStore,
        kind: &dyn ErasedAggregate,
        key: AggregateKey,
        next: impl FnOnce(Option<AggregateEntry>) -> Result<AggregateEntry, E>,
    ) -> Result<Advanced, E> {
        // Taken out, so that a fold changes it in place.
        let before = match self.aggregates.remove(&key) {
            Some(pending) => Some(pending),
            None => match store.peek(&key) {
                Peek::Loaded(entry) => Some(entry.clone()),
                Peek::Absent => None,
                Peek::NotLoaded => return Ok(Advanced::NotLoaded),
            },
        };
        let held = |entry: &AggregateEntry| (kind.unique_keys(&entry.state), kind.references(&entry.state));
        let (old_keys, old_references) = before.as_ref().map(held).unwrap_or_default();
        let next = next(before)?;
        let (new_keys, new_references) = held(&next);
        let scope = key.scope;
        for (name, value) in old_keys.iter().filter(|old| !new_keys.contains(old)).cloned() {
            let given_up = UniqueKey { scope, name, value };
            // Two of an old log may have a value that became one when values got a normal form: only its holder gives it up.
            if self.holder(store, &given_up) == Some(key) {
                self.unique.insert(given_up, None);
            }
        }
        for (name, value) in new_keys.into_iter().filter(|new| !old_keys.contains(new)) {
            let taken = UniqueKey { scope, name, value };
            // Of such two the first holds it; a decision takes no value that is held.
            if self.holder(store, &taken).is_none() {
                self.unique.insert(taken, Some(key));
            }
        }
        if old_references != new_references {
            let counted = |Reference { label, target }| ReferenceKey { scope, target, label };
            old_references.into_iter().for_each(|old| self.count(counted(old), -1));
            new_references.into_iter().for_each(|new| self.count(counted(new), 1));
        }
        self.aggregates.insert(key, next);
        Ok(Advanced::Moved)
    }

    fn count(&mut self, key: ReferenceKey, delta: i64) {
        *self.references.entry(key).or_default() += delta;
    }
}
