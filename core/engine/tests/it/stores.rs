//! A store that shows what an owner remembers, and checks it against itself; and one whose states are always cold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use annals_engine::log::BoxFuture;
use annals_engine::owners::{
    AggregateEntry, AggregateKey, Changes, LedgerEntry, MemoryStateStore, Peek, ReferenceKey, StateDigests, StateStore,
    StateStores, UniqueKey,
};
use annals_model::ids::OperationId;
use annals_model::position::{Checkpoint, ContextPartition, Ordinal, RecordOffset, Sequence};
use annals_model::time::Timestamp;

use crate::accounts::{Account, application};

/// How much of what it was told a store keeps in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Memory {
    /// All of it.
    #[default]
    Warm,
    /// No state longer than for the batch that it was loaded for, as one on disk under the worst of pressure.
    Cold,
}

tokio::task_local! {
    /// The memory of the engines that a test starts; without it they keep everything.
    pub(crate) static MEMORY: Memory;
}

impl Memory {
    /// The test's.
    pub(crate) fn of_test() -> Self {
        MEMORY.try_with(|memory| *memory).unwrap_or_default()
    }

    /// Stores of this kind, one per partition.
    pub(crate) fn stores(self) -> StateStores {
        Arc::new(move |_| Box::new(TestStore::new(self)))
    }
}

/// Runs tests on each kind of memory: what an engine promises does not depend on what is loaded.
macro_rules! on_each_memory {
    ($(#[$attribute:meta] => $($test:ident),+ $(,)?);+ $(;)?) => {
        mod in_warm_memory {
            $($(#[$attribute]
            async fn $test() {
                crate::stores::MEMORY.scope(crate::stores::Memory::Warm, super::$test()).await;
            })+)+
        }
        mod in_cold_memory {
            $($(#[$attribute]
            async fn $test() {
                crate::stores::MEMORY.scope(crate::stores::Memory::Cold, super::$test()).await;
            })+)+
        }
    };
}
pub(crate) use on_each_memory;

/// The in-memory store, which, if it is to be cold, shows no state that was not loaded for this very batch.
#[derive(Debug)]
pub(crate) struct TestStore {
    inner: MemoryStateStore,
    memory: Memory,
    loaded: BTreeSet<AggregateKey>,
    /// The most that were loaded at once.
    most: Arc<AtomicUsize>,
}

impl TestStore {
    pub(crate) fn new(memory: Memory) -> Self {
        Self { inner: MemoryStateStore::default(), memory, loaded: BTreeSet::new(), most: Arc::default() }
    }

    /// Tells there how many states were loaded at once, at most.
    pub(crate) fn counted_in(self, most: Arc<AtomicUsize>) -> Self {
        Self { most, ..self }
    }
}

impl StateStore for TestStore {
    fn position(&self) -> Checkpoint {
        self.inner.position()
    }
    fn peek(&self, key: &AggregateKey) -> Peek<'_> {
        if self.memory == Memory::Cold && !self.loaded.contains(key) {
            return Peek::NotLoaded;
        }
        self.inner.peek(key)
    }
    fn load<'a>(&'a mut self, keys: &'a [AggregateKey]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // As a disk would: whoever asked is not the only one meanwhile.
            tokio::task::yield_now().await;
            self.loaded.extend(keys);
            self.most.fetch_max(self.loaded.len(), Ordering::Relaxed);
        })
    }
    fn ledger(&self, operation: OperationId) -> Option<LedgerEntry> {
        self.inner.ledger(operation)
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
    fn apply(&mut self, changes: Changes, position: Checkpoint) {
        self.inner.apply(changes, position);
        self.loaded.clear();
    }
    fn release(&mut self) {
        self.loaded.clear();
    }
    fn clear(&mut self) {
        self.inner.clear();
        self.loaded.clear();
    }
}

/// What an owner remembers behind its last batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) ordinal: Ordinal,
    pub(crate) emitted_at: Timestamp,
    pub(crate) digests: StateDigests,
    /// Where unique keys or references are not what the states say.
    pub(crate) contradiction: Option<String>,
}

/// What all owners of an engine remember.
pub(crate) type Memories = Arc<Mutex<BTreeMap<ContextPartition, Remembered>>>;

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
    let memory = Memory::of_test();
    let make = move |at| {
        let (states, known) = Default::default();
        let inner = TestStore::new(memory);
        let memories = Arc::clone(&shown);
        Box::new(WatchedStore { at, inner, states, known, memories, bug }) as Box<dyn StateStore>
    };
    (Arc::new(make), memories)
}

#[derive(Debug)]
struct WatchedStore {
    at: ContextPartition,
    inner: TestStore,
    states: BTreeMap<AggregateKey, AggregateEntry>,
    /// Operations that a buggy ledger still knows.
    known: BTreeSet<OperationId>,
    memories: Memories,
    bug: StoreBug,
}

impl WatchedStore {
    fn contradiction(&self) -> Option<String> {
        let contexts = application().contexts;
        let mut holders = BTreeMap::new();
        let mut counts: BTreeMap<_, i64> = BTreeMap::new();
        for (key, entry) in &self.states {
            let kind = contexts[0].aggregate(key.aggregate_type)?;
            for (name, value) in kind.unique_keys(&entry.state) {
                if let Some(other) = holders.insert((key.scope, name, value.clone()), *key) {
                    return Some(format!("{other:?} and {key:?} both hold {name} {value}"));
                }
            }
            for reference in kind.references(&entry.state) {
                assert_eq!(reference.label, Account::PARENT.erased());
                *counts.entry((key.scope, reference.target)).or_default() += 1;
            }
        }
        for key in self.states.keys() {
            let (scope, target, label) = (key.scope, key.id, Account::PARENT.erased());
            let wanted = counts.get(&(scope, target)).copied().unwrap_or_default();
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
        let memory = Remembered {
            ordinal: position.ordinal,
            emitted_at: position.emitted_at,
            digests: self.inner.inner.digests(),
            contradiction: self.contradiction(),
        };
        self.memories.lock().unwrap().insert(self.at, memory);
    }
    fn release(&mut self) {
        self.inner.release();
    }
    fn clear(&mut self) {
        self.inner.clear();
        self.states.clear();
        self.memories.lock().unwrap().remove(&self.at);
    }
}
