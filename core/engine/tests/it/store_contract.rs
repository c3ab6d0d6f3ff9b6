//! What owners rely on in a state store, whatever it keeps in memory. A new store passes these checks before it serves.

use annals_engine::log::BoxFuture;
use annals_engine::owners::{
    AggregateEntry, AggregateKey, Changes, LedgerEntry, MemoryStateStore, Peek, ReferenceKey, StateStore, UniqueKey,
};
use annals_model::envelope::Fingerprint;
use annals_model::ids::OperationId;
use annals_model::position::{Checkpoint, Offset, Ordinal, RecordOffset, Sequence};
use uuid::Uuid;

use crate::accounts::{Account, account, application, scope};
use crate::stores::{Memory, StoreBug, TestStore, watched};

type Check = for<'a> fn(&'a mut dyn StateStore) -> BoxFuture<'a, Result<(), String>>;

/// Every check, and what it says. Each gets an empty store.
const CHECKS: &[(&str, Check)] = &[
    ("an empty store knows nothing", |store| Box::pin(is_empty(store))),
    ("what is applied is there, with its position", |store| Box::pin(holds_what_is_applied(store))),
    ("a state that is loaded is the newest", |store| Box::pin(shows_the_newest_state(store))),
    ("what is loaded stays until the batch is over", |store| Box::pin(keeps_what_is_loaded(store))),
    ("a value that was set free is free", |store| Box::pin(sets_values_free(store))),
    ("references are counted up and down", |store| Box::pin(counts_references(store))),
    ("a history is paged by sequence", |store| Box::pin(pages_histories(store))),
    ("the end of a batch costs nothing but memory", |store| Box::pin(releases(store))),
    ("a store that forgets knows nothing", |store| Box::pin(forgets(store))),
];

fn require(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

fn key(n: u128) -> AggregateKey {
    AggregateKey { scope: scope(1), aggregate_type: "account", id: account(n) }
}

fn position(n: u64) -> Checkpoint {
    Checkpoint { offset: Offset(n * 10), ordinal: Ordinal(n), ..Checkpoint::default() }
}

fn name(value: &str) -> UniqueKey {
    UniqueKey { scope: scope(1), name: "account.name", value: value.to_owned() }
}

fn children(of: u128) -> ReferenceKey {
    ReferenceKey { scope: scope(1), target: account(of), label: Account::PARENT.erased() }
}

fn operation(n: u128) -> OperationId {
    OperationId(Uuid::from_u128(n << 64))
}

fn entry(version: u64) -> AggregateEntry {
    let state = application().contexts[0].aggregate("account").unwrap().initial();
    AggregateEntry { state, version: Sequence(version), workspace: scope(1).workspace }
}

fn accepted(n: u128, version: u64) -> LedgerEntry {
    LedgerEntry {
        client_request_id: format!("r{version}").into(),
        fingerprint: Fingerprint([7; 16]),
        aggregate: key(n),
        version: Sequence(version),
        events: 1,
        first: RecordOffset(version * 10),
        end: Offset(version * 10 + 1),
    }
}

/// Aggregate `n` comes to this version by one event, accepted as operation `version`.
fn event(n: u128, version: u64) -> Changes {
    Changes {
        aggregates: [(key(n), entry(version))].into_iter().collect(),
        ledger: [(operation(version.into()), accepted(n, version))].into_iter().collect(),
        index: vec![(key(n), RecordOffset(version * 10))],
        ..Changes::default()
    }
}

/// The version that is shown once the state is loaded; nothing if it does not exist.
async fn version(store: &mut dyn StateStore, n: u128) -> Result<Option<u64>, String> {
    store.load(&[key(n)]).await;
    match store.peek(&key(n)) {
        Peek::Loaded(entry) => Ok(Some(entry.version.0)),
        Peek::Absent => Ok(None),
        Peek::NotLoaded => Err(format!("account {n} is not loaded behind its load")),
    }
}

async fn is_empty(store: &mut dyn StateStore) -> Result<(), String> {
    require(store.position() == Checkpoint::default(), "it starts somewhere")?;
    require(version(store, 1).await?.is_none(), "an aggregate is there")?;
    require(store.ledger(operation(1)).is_none(), "an operation is there")?;
    require(store.holder(&name("a")).is_none(), "a value is held")?;
    require(store.references(&children(1)) == 0, "a reference is counted")?;
    require(store.history(&key(1), Sequence::ZERO, 9).is_empty(), "an event is there")
}

async fn holds_what_is_applied(store: &mut dyn StateStore) -> Result<(), String> {
    let mut changes = event(1, 1);
    changes.unique.insert(name("a"), Some(key(1)));
    changes.references.insert(children(2), 1);
    store.apply(changes, position(1));
    require(store.position() == position(1), "the position did not move")?;
    require(version(store, 1).await? == Some(1), "the aggregate is lost")?;
    require(store.ledger(operation(1)) == Some(accepted(1, 1)), "the operation is lost")?;
    require(store.holder(&name("a")) == Some(key(1)), "the value is not held")?;
    require(store.references(&children(2)) == 1, "the reference is not counted")?;
    require(store.history(&key(1), Sequence::ZERO, 9) == [RecordOffset(10)], "the event is lost")?;
    // A claim moves the position and nothing else.
    store.apply(Changes::default(), position(2));
    require(store.position() == position(2), "a batch without changes did not move the position")?;
    require(version(store, 1).await? == Some(1), "a batch without changes lost an aggregate")
}

async fn shows_the_newest_state(store: &mut dyn StateStore) -> Result<(), String> {
    for n in 1..=3 {
        store.apply(event(1, n), position(n));
        require(version(store, 1).await? == Some(n), "an older state is shown")?;
    }
    Ok(())
}

async fn keeps_what_is_loaded(store: &mut dyn StateStore) -> Result<(), String> {
    store.apply(event(1, 1), position(1));
    store.apply(event(2, 2), position(2));
    store.load(&[key(1), key(9)]).await;
    store.load(&[key(2)]).await;
    store.load(&[]).await;
    for n in [1, 2] {
        require(matches!(store.peek(&key(n)), Peek::Loaded(_)), "a load pushed another out")?;
    }
    require(matches!(store.peek(&key(9)), Peek::Absent), "what does not exist is not known not to")
}

async fn sets_values_free(store: &mut dyn StateStore) -> Result<(), String> {
    for (n, holder) in [(1, Some(key(1))), (2, None), (3, Some(key(2)))] {
        let unique = [(name("a"), holder)].into_iter().collect();
        store.apply(Changes { unique, ..Changes::default() }, position(n));
        require(store.holder(&name("a")) == holder, "a value is held by another")?;
    }
    Ok(())
}

async fn counts_references(store: &mut dyn StateStore) -> Result<(), String> {
    for (n, delta, count) in [(1, 2, 2), (2, -1, 1), (3, 0, 1), (4, -1, 0)] {
        let references = [(children(1), delta)].into_iter().collect();
        store.apply(Changes { references, ..Changes::default() }, position(n));
        require(store.references(&children(1)) == count, "references are miscounted")?;
    }
    require(store.references(&children(2)) == 0, "another's references were counted")
}

async fn pages_histories(store: &mut dyn StateStore) -> Result<(), String> {
    (1..=5).for_each(|n| store.apply(event(1, n), position(n)));
    store.apply(event(2, 6), position(6));
    let page = |after, limit| store.history(&key(1), Sequence(after), limit).iter().map(|o| o.0).collect::<Vec<_>>();
    require(page(0, 9) == [10, 20, 30, 40, 50], "the whole history is another")?;
    require(page(1, 2) == [20, 30], "a page is another")?;
    require(page(5, 2).is_empty() && page(9, 2).is_empty(), "there is something behind the end")
}

async fn releases(store: &mut dyn StateStore) -> Result<(), String> {
    let mut changes = event(1, 1);
    changes.unique.insert(name("a"), Some(key(1)));
    store.apply(changes, position(1));
    store.load(&[key(1)]).await;
    store.release();
    require(store.position() == position(1), "the position moved")?;
    require(store.holder(&name("a")) == Some(key(1)), "a value is not held any more")?;
    require(version(store, 1).await? == Some(1), "an aggregate is lost")
}

async fn forgets(store: &mut dyn StateStore) -> Result<(), String> {
    let mut changes = event(1, 1);
    changes.unique.insert(name("a"), Some(key(1)));
    changes.references.insert(children(1), 1);
    store.apply(changes, position(1));
    store.load(&[key(1)]).await;
    store.clear();
    is_empty(store).await
}

/// The checks that a kind of store fails, and why.
async fn failed(make: impl Fn() -> Box<dyn StateStore>) -> Vec<String> {
    let mut failed = Vec::new();
    for (what, check) in CHECKS {
        if let Err(why) = check(&mut *make()).await {
            failed.push(format!("{what}: {why}"));
        }
    }
    failed
}

#[tokio::test]
async fn the_store_in_memory_keeps_its_contract() {
    assert_eq!(failed(|| Box::new(MemoryStateStore::default())).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_store_whose_states_are_always_cold_keeps_its_contract() {
    assert_eq!(failed(|| Box::new(TestStore::new(Memory::Cold))).await, Vec::<String>::new());
}

/// A store that loads by pushing out what was loaded before, and one that goes on showing what it has loaded once.
#[derive(Debug)]
struct Hasty {
    inner: MemoryStateStore,
    loaded: Vec<(AggregateKey, Option<AggregateEntry>)>,
    pushes_out: bool,
}

impl StateStore for Hasty {
    fn position(&self) -> Checkpoint {
        self.inner.position()
    }
    fn peek(&self, key: &AggregateKey) -> Peek<'_> {
        match self.loaded.iter().find(|(loaded, _)| loaded == key) {
            Some((_, Some(entry))) => Peek::Loaded(entry),
            Some((_, None)) => Peek::Absent,
            None => Peek::NotLoaded,
        }
    }
    fn load<'a>(&'a mut self, keys: &'a [AggregateKey]) -> BoxFuture<'a, ()> {
        if self.pushes_out {
            self.loaded.clear();
        }
        for key in keys {
            if self.loaded.iter().any(|(loaded, _)| loaded == key) {
                continue;
            }
            let found = match self.inner.peek(key) {
                Peek::Loaded(entry) => Some(entry.clone()),
                Peek::Absent | Peek::NotLoaded => None,
            };
            self.loaded.push((*key, found));
        }
        Box::pin(std::future::ready(()))
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
    }
    fn release(&mut self) {}
    fn clear(&mut self) {
        self.inner.clear();
        self.loaded.clear();
    }
}

#[tokio::test]
async fn a_store_that_breaks_its_contract_is_noticed() {
    let at = annals_model::position::ContextPartition {
        context: crate::accounts::BANK,
        partition: annals_model::ids::Partition(0),
    };
    for (bug, noticed) in [
        (StoreBug::KeepsUniqueKeys, "a value that was set free is free"),
        (StoreBug::KeepsReferences, "references are counted up and down"),
    ] {
        let (stores, _) = watched(bug);
        let failed = failed(|| stores(at)).await;
        assert!(failed.iter().any(|failure| failure.starts_with(noticed)), "{bug:?}: {failed:?}");
    }
    for (pushes_out, noticed) in
        [(true, "what is loaded stays until the batch is over"), (false, "a state that is loaded is the newest")]
    {
        let hasty = || Box::new(Hasty { inner: MemoryStateStore::default(), loaded: Vec::new(), pushes_out });
        let failed = failed(|| hasty() as Box<dyn StateStore>).await;
        assert!(failed.iter().any(|failure| failure.starts_with(noticed)), "{noticed}: {failed:?}");
    }
}
