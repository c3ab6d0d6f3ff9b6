//! A store that shows what an owner remembers, and checks it against itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use annals_engine::engine::{
    AggregateEntry, AggregateKey, Changes, LedgerEntry, MemoryStateStore, Peek, ReferenceKey, StateDigests, StateStore,
    StateStores, UniqueKey,
};
use annals_engine::log::BoxFuture;
use annals_model::ids::OperationId;
use annals_model::position::{Checkpoint, ContextPartition, Ordinal, RecordOffset, Sequence};
use annals_model::time::Timestamp;

use crate::accounts::contexts;

/// What an owner remembers behind its last batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) ordinal: Ordinal,
    pub(crate) emitted_at: Timestamp,
    pub(crate) digests: StateDigests,
    /// Where unique keys or references are not what the states say.
    pub(crate) contradiction: Option<String>,
}

/// What all owners of an engine remember.
pub(crate) type Memories = Arc<Mutex<BTreeMap<ContextPartition, Memory>>>;

/// A mistake that a store makes on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreBug {
    None,
    /// A claim does not bring the ledger back.
    ForgetsLedgerAtClaim,
    /// A value that was set free stays taken.
    KeepsUniqueKeys,
    /// A reference that was dropped is still counted.
    KeepsReferences,
}

/// Makes watched stores, and where to look at what they hold.
pub(crate) fn watched(bug: StoreBug) -> (StateStores, Memories) {
    let memories = Memories::default();
    let shown = Arc::clone(&memories);
    let make = move |at| {
        let (inner, states, known) = Default::default();
        let memories = Arc::clone(&shown);
        Box::new(WatchedStore { at, inner, states, known, memories, bug }) as Box<dyn StateStore>
    };
    (Arc::new(make), memories)
}

#[derive(Debug)]
struct WatchedStore {
    at: ContextPartition,
    inner: MemoryStateStore,
    states: BTreeMap<AggregateKey, AggregateEntry>,
    /// Operations that a buggy ledger still knows.
    known: BTreeSet<OperationId>,
    memories: Memories,
    bug: StoreBug,
}

impl WatchedStore {
    fn contradiction(&self) -> Option<String> {
        let contexts = contexts();
        let mut holders = BTreeMap::new();
        let mut counts: BTreeMap<_, i64> = BTreeMap::new();
        for (key, entry) in &self.states {
            let kind = contexts[0].aggregate(key.aggregate_type)?;
            for (name, value) in kind.unique_keys(&entry.state) {
                if let Some(other) = holders.insert((key.scope, name, value.clone()), *key) {
                    return Some(format!("{other:?} and {key:?} both hold {name} {value}"));
                }
            }
            for (label, target) in kind.references(&entry.state) {
                *counts.entry((key.scope, target, label)).or_default() += 1;
            }
        }
        for key in self.states.keys() {
            let (scope, target, label) = (key.scope, key.id, "parent");
            let wanted = counts.get(&(scope, target, label)).copied().unwrap_or_default();
            let found = self.inner.references(&ReferenceKey { scope, target, label });
            if wanted != found {
                return Some(format!("{found} references to {target}, not {wanted}"));
            }
            for value in crate::histories::NAMES {
                let (name, value) = ("account.name", (*value).to_owned());
                let wanted = holders.get(&(scope, name, value.clone())).copied();
                let found = self.inner.holder(&UniqueKey { scope, name, value: value.clone() });
                if wanted != found {
                    return Some(format!("{value} is held by {found:?}, not {wanted:?}"));
                }
            }
        }
        None
    }
}

impl StateStore for WatchedStore {
    fn position(&self) -> Checkpoint {
        self.inner.position()
    }
    fn peek(&self, key: &AggregateKey) -> Peek<'_> {
        self.inner.peek(key)
    }
    fn load<'a>(&'a mut self, keys: &'a [AggregateKey]) -> BoxFuture<'a, ()> {
        self.inner.load(keys)
    }
    fn ledger(&self, operation: OperationId) -> Option<LedgerEntry> {
        let forgotten = self.bug == StoreBug::ForgetsLedgerAtClaim && !self.known.contains(&operation);
        self.inner.ledger(operation).filter(|_| !forgotten)
    }
    fn holder(&self, key: &UniqueKey) -> Option<AggregateKey> {
        self.inner.holder(key)
    }
    fn references(&self, key: &ReferenceKey) -> i64 {
        self.inner.references(key)
    }
    fn history(&self, key: &AggregateKey, after: Sequence, limit: usize) -> Vec<RecordOffset> {
        self.inner.history(key, after, limit)
    }
    fn apply(&mut self, mut changes: Changes, position: Checkpoint) {
        self.states.extend(changes.aggregates.iter().map(|(key, entry)| (*key, entry.clone())));
        self.known.extend(changes.ledger.keys());
        match self.bug {
            StoreBug::None => {}
            // A fold ends by moving over the claim alone.
            StoreBug::ForgetsLedgerAtClaim if changes.ledger.is_empty() => self.known.clear(),
            StoreBug::ForgetsLedgerAtClaim => {}
            StoreBug::KeepsUniqueKeys => changes.unique.retain(|_, holder| holder.is_some()),
            StoreBug::KeepsReferences => changes.references.retain(|_, delta| *delta > 0),
        }
        self.inner.apply(changes, position);
        let memory = Memory {
            ordinal: position.ordinal,
            emitted_at: position.emitted_at,
            digests: self.inner.digests(),
            contradiction: self.contradiction(),
        };
        self.memories.lock().unwrap().insert(self.at, memory);
    }
    fn clear(&mut self) {
        self.inner.clear();
        self.states.clear();
        self.memories.lock().unwrap().remove(&self.at);
    }
}
