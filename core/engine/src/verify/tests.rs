use annals_model::ids::TenantId;
use annals_model::position::Offset;
use annals_model::projection::{KeyRange, RollupTotals, Tables};

use super::*;
use crate::log::memory::MemoryLog;
use crate::rebuild::rebuild;
use crate::rebuild::shop_log::{ITEMS, append, log_of};
use crate::sink::contract::history::Shop;
use crate::sink::contract::stock::{STOCK, stock_v1, stock_v2};
use crate::sink::memory::MemoryStore;

/// What a build is about to load, to be spoilt.
struct Load {
    shards: Vec<Tables>,
    totals: RollupTotals,
    checkpoints: Checkpoints,
}

struct Setting {
    log: Arc<MemoryLog>,
    store: MemoryStore,
}

impl Setting {
    async fn new(seed: u64, partitions: u16, batches: &[usize]) -> Self {
        let log = log_of(seed, partitions, batches, usize::MAX).await;
        let store = MemoryStore::new([stock_v1(), stock_v2()], log.id());
        Self { log, store }
    }

    /// A ready generation, loaded with what `spoil` makes of the truth.
    async fn built(&self, spoil: impl FnOnce(&mut Load)) -> Generation {
        let (generation, _lock) = self.store.create(&stock_v1(), "test").await.expect("no other builder");
        let mut sink = self.store.open(&generation).await.expect("a new generation");
        let mut fold = Fold::new(self.log.clone(), stock_v1(), Target::Ends, options(1 << 30), Control::default())
            .await
            .expect("a readable log");
        let shards = fold.next().await.expect("a sound log").expect("one range");
        assert!(fold.next().await.expect("a sound log").is_none());
        let folded = fold.finish();
        let mut load = Load { shards, totals: folded.totals, checkpoints: folded.checkpoints };
        spoil(&mut load);
        sink.bulk_load(&load.shards).await.expect("rows that fit");
        sink.bulk_finish(&load.totals, &load.checkpoints).await.expect("rows that fit");
        self.store.finish(&generation, Ok(())).await.expect("a building generation")
    }

    async fn verify(&self, generation: &Generation, memory_bytes_max: usize) -> Result<VerifyOutcome, VerifyError> {
        let options = options(memory_bytes_max);
        verify(self.log.clone(), &self.store, stock_v1(), generation, options, &Control::default()).await
    }

    async fn recorded(&self, generation: &Generation) -> Option<String> {
        self.store.generation(STOCK, generation.id).await.expect("a generation").verified_digest
    }
}

fn options(memory_bytes_max: usize) -> FoldOptions {
    FoldOptions { memory_bytes_max, workers: 2, events_per_second_max: None }
}

#[track_caller]
fn diverging(outcome: VerifyOutcome) -> (u64, Vec<Divergence>) {
    match outcome {
        VerifyOutcome::Diverges { diverging, first, .. } => (diverging, first),
        other => panic!("not found: {other:?}"),
    }
}

#[tokio::test]
async fn what_a_rebuild_made_is_equal_and_its_digest_is_recorded() {
    let setting = Setting::new(1, 3, &[100, 1, 60]).await;
    let rebuilt = rebuild(setting.log.clone(), &setting.store, stock_v1(), "test", options(4_000), &Control::default())
        .await
        .expect("a sound log");
    let by_hand = setting.built(|_| {}).await;
    let mut digests = Vec::new();
    for (generation, memory_bytes_max) in [(&rebuilt.generation, 1 << 30), (&by_hand, 1 << 30), (&by_hand, 0)] {
        match setting.verify(generation, memory_bytes_max).await.expect("a readable generation") {
            VerifyOutcome::Equal { digest, rows, events, tables, .. } => {
                assert_eq!((events, rows), (483, tables.iter().map(|table| table.rows).sum()));
                assert!(tables.iter().all(|table| table.rows > 0 && table.digest == table.folded_digest));
                assert_eq!(setting.recorded(generation).await, Some(digest.to_string()));
                digests.push(digest);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
    assert!(rebuilt.passes > 1);
}

#[tokio::test]
async fn a_generation_is_compared_with_the_log_as_it_was_at_its_checkpoint() {
    let setting = Setting::new(2, 1, &[80]).await;
    let generation = setting.built(|_| {}).await;
    let mut shop = Shop::new(2, 0, 1, ITEMS);
    (0..80).for_each(|_| shop.event(&mut Vec::new()));
    append(&setting.log, &mut shop, &[50]).await;
    let outcome = setting.verify(&generation, 1 << 30).await.expect("a readable generation");
    assert!(matches!(outcome, VerifyOutcome::Equal { events: 80, .. }), "{outcome:?}");
}

/// Puts a row as it is not: `change` gets what it is.
fn replace(tables: &mut Tables, table: usize, key: RowKey, change: impl FnOnce(&mut RowImage)) {
    let mut values = Vec::new();
    let life = tables.values(table, &key, &mut values).expect("a row that is there");
    let mut row = RowImage { life, values: values.into_iter().map(|value| value.into_owned()).collect() };
    change(&mut row);
    let values: Vec<_> = row.values.iter().map(OwnedValue::as_value).collect();
    tables.load(table, key, row.life, &values).expect("values that fit");
}

/// The key in the middle of a table of the first shard.
fn middle(load: &Load, table: usize) -> RowKey {
    let keys = load.shards[0].sorted_keys(table);
    keys[keys.len() / 2]
}

const ITEMS_TABLE: usize = 0;
const VISITS_TABLE: usize = 1;
/// Column `times` of visits.
const TIMES: usize = 2;

#[tokio::test]
async fn a_changed_row_is_named_with_both_values_and_its_events() {
    let setting = Setting::new(3, 2, &[200]).await;
    let mut spoilt = None;
    let generation = setting
        .built(|load| {
            let key = middle(load, VISITS_TABLE);
            spoilt = Some(key);
            replace(&mut load.shards[0], VISITS_TABLE, key, |row| row.values[TIMES] = OwnedValue::Int(1_000));
        })
        .await;
    for memory_bytes_max in [1 << 30, 0] {
        let outcome = setting.verify(&generation, memory_bytes_max).await.expect("a readable generation");
        let (diverging, first) = diverging(outcome);
        let [row] = first.as_slice() else { panic!("{first:?}") };
        assert_eq!((diverging, row.table, Some(row.key)), (1, "visits", spoilt));
        let (stored, folded) = (row.stored.as_ref().expect("a row"), row.folded.as_ref().expect("a row"));
        assert_eq!(stored.values[TIMES], OwnedValue::Int(1_000));
        assert_eq!(stored.values[..TIMES], folded.values[..TIMES]);
        // One event per visit.
        assert_eq!(folded.values[TIMES], OwnedValue::Int(row.events.len() as i64));
        assert!(row.events.iter().all(|event| event.event_type == "item.moved"));
        assert!(row.events.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    }
    assert_eq!(setting.recorded(&generation).await, None);
}

#[tokio::test]
async fn a_row_that_lives_where_the_log_says_deleted_is_found() {
    let setting = Setting::new(4, 1, &[200]).await;
    let generation = setting
        .built(|load| {
            let shard = &mut load.shards[0];
            let life_of = |key: &RowKey| shard.values(ITEMS_TABLE, key, &mut Vec::new());
            let keys = shard.sorted_keys(ITEMS_TABLE);
            let deleted = *keys.iter().find(|key| life_of(key) == Some(RowLife::Deleted)).expect("a tombstone");
            replace(shard, ITEMS_TABLE, deleted, |row| row.life = RowLife::Live);
        })
        .await;
    let (_, first) = diverging(setting.verify(&generation, 1 << 30).await.expect("a readable generation"));
    let lives = |image: &Option<RowImage>| image.as_ref().map(|row| row.life);
    assert_eq!((lives(&first[0].stored), lives(&first[0].folded)), (Some(RowLife::Live), Some(RowLife::Deleted)));
    assert_eq!(first.len(), 1);
}

#[tokio::test]
async fn a_missing_row_is_found() {
    let setting = Setting::new(5, 1, &[200]).await;
    let mut spoilt = None;
    let generation = setting
        .built(|load| {
            // The last key of all: nothing in the generation comes behind it.
            let last =
                load.shards[0].sorted_keys(ITEMS_TABLE).into_iter().chain(load.shards[0].sorted_keys(VISITS_TABLE));
            spoilt = last.max();
            load.shards[0].lower_upper(spoilt.expect("rows"));
        })
        .await;
    let (diverging, first) = diverging(setting.verify(&generation, 1 << 30).await.expect("a readable generation"));
    let [row] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!((diverging, Some(row.key), &row.stored), (1, spoilt, &None));
    assert!(row.folded.is_some() && !row.events.is_empty());
}

#[tokio::test]
async fn an_extra_row_is_found_wherever_it_lies() {
    for tenant in [TenantId::default(), TenantId(uuid::Uuid::max())] {
        let setting = Setting::new(6, 1, &[200]).await;
        let mut spoilt = None;
        let generation = setting
            .built(|load| {
                let model = middle(load, VISITS_TABLE);
                let mut values = Vec::new();
                load.shards[0].values(VISITS_TABLE, &model, &mut values);
                let values: Vec<OwnedValue> = values.into_iter().map(|value| value.into_owned()).collect();
                let values: Vec<_> = values.iter().map(OwnedValue::as_value).collect();
                let key = RowKey { tenant, ..model };
                load.shards[0].load(VISITS_TABLE, key, RowLife::Live, &values).expect("values that fit");
                spoilt = Some(key);
            })
            .await;
        for memory_bytes_max in [1 << 30, 0] {
            let outcome = setting.verify(&generation, memory_bytes_max).await.expect("a readable generation");
            let (diverging, first) = diverging(outcome);
            let [row] = first.as_slice() else { panic!("{first:?}") };
            assert_eq!((diverging, Some(row.key), &row.folded), (1, spoilt, &None));
            assert!(row.stored.is_some() && row.events.is_empty());
        }
    }
}

#[tokio::test]
async fn a_wrong_rollup_is_found() {
    let setting = Setting::new(7, 1, &[200]).await;
    let generation = setting.built(|load| load.totals.add(&load.shards[0])).await;
    let (diverging, first) = diverging(setting.verify(&generation, 0).await.expect("a readable generation"));
    assert_eq!(diverging, first.len() as u64);
    for row in first {
        let (stored, folded) = (row.stored.expect("a group"), row.folded.expect("a group"));
        assert_eq!((row.table, row.events.len()), ("shelf_totals", 0));
        let doubled = |at: usize| match (&stored.values[at], &folded.values[at]) {
            (OwnedValue::Int(stored), OwnedValue::Int(folded)) => *stored == 2 * folded,
            _ => false,
        };
        assert!(doubled(1) && doubled(2), "{stored:?} {folded:?}");
    }
}

#[tokio::test]
async fn a_checkpoint_that_claims_more_than_the_rows_have_is_found() {
    let setting = Setting::new(8, 1, &[100]).await;
    let mut shop = Shop::new(8, 0, 1, ITEMS);
    (0..100).for_each(|_| shop.event(&mut Vec::new()));
    let old = setting.built(|_| {}).await;
    let mut rows = None;
    setting
        .built(|load| rows = Some(std::mem::replace(&mut load.shards, vec![stock_v1().new_tables(KeyRange::ALL)])))
        .await;
    append(&setting.log, &mut shop, &[40]).await;
    let claims_too_much = setting.built(|load| load.shards = rows.expect("the rows of before")).await;
    let (diverging, _) = diverging(setting.verify(&claims_too_much, 1 << 30).await.expect("a readable generation"));
    assert!(diverging > 0);
    let outcome = setting.verify(&old, 1 << 30).await.expect("a readable generation");
    assert!(matches!(outcome, VerifyOutcome::Equal { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_checkpoint_that_the_log_does_not_have_is_found() {
    let setting = Setting::new(9, 2, &[100]).await;
    let at = Shop::new(9, 1, 2, ITEMS).at();
    let beyond = |checkpoint: &mut Checkpoint| checkpoint.offset = Offset(checkpoint.offset.0 + 10);
    let more = |checkpoint: &mut Checkpoint| checkpoint.ordinal = checkpoint.ordinal.next();
    for spoil in [beyond as fn(&mut Checkpoint), more] {
        let generation = setting
            .built(|load| {
                let mut checkpoint = load.checkpoints.get(at);
                spoil(&mut checkpoint);
                load.checkpoints.set(at, checkpoint);
            })
            .await;
        let outcome = setting.verify(&generation, 1 << 30).await.expect("a readable generation");
        let VerifyOutcome::NoSuchCheckpoint { at: found_at, checkpoint, found } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(found_at, at);
        assert_ne!((checkpoint.offset, checkpoint.ordinal), (found.offset, found.ordinal));
        assert_eq!(setting.recorded(&generation).await, None);
    }
}

#[tokio::test]
async fn the_number_of_rows_shown_is_bounded_and_all_are_counted() {
    let setting = Setting::new(10, 1, &[400]).await;
    let mut spoilt = 0;
    let generation = setting
        .built(|load| {
            for key in load.shards[0].sorted_keys(VISITS_TABLE) {
                spoilt += 1;
                replace(&mut load.shards[0], VISITS_TABLE, key, |row| row.values[TIMES] = OwnedValue::Int(-1));
            }
        })
        .await;
    let (diverging, first) = diverging(setting.verify(&generation, 1 << 30).await.expect("a readable generation"));
    assert!(spoilt > crate::limits::VERIFY_DIVERGENCES_MAX as u64, "{spoilt}");
    assert_eq!((diverging, first.len()), (spoilt, crate::limits::VERIFY_DIVERGENCES_MAX));
}

#[tokio::test]
async fn another_version_of_the_read_model_is_refused() {
    let setting = Setting::new(11, 1, &[10]).await;
    let generation = setting.built(|_| {}).await;
    let control = Control::default();
    let refused =
        verify(setting.log.clone(), &setting.store, stock_v2(), &generation, options(1 << 30), &control).await;
    assert!(matches!(refused, Err(VerifyError::OtherVersion { version: 2, .. })), "{refused:?}");
}
