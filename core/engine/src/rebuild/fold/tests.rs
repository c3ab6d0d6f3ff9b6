use std::collections::BTreeMap;

use annals_model::ids::Partition;
use annals_model::position::{Offset, Ordinal};
use annals_model::projection::{GroupRow, KeyRange, OwnedValue, RowLife};
use proptest::prelude::*;

use super::*;
use crate::log::checked::CheckedReader;
use crate::log::memory::{MemoryLog, MemoryOptions};
use crate::rebuild::shop_log::{ITEMS, append, log_of};
use crate::sink::contract::history::Shop;
use crate::sink::contract::stock::{SHOP, stock_v1};

/// Everything that a fold makes.
#[derive(Debug, PartialEq)]
struct Made {
    tables: Vec<BTreeMap<RowKey, (RowLife, Vec<OwnedValue>)>>,
    totals: Vec<GroupRow>,
    checkpoints: Checkpoints,
    events: u64,
}

fn add_rows(made: &mut [BTreeMap<RowKey, (RowLife, Vec<OwnedValue>)>], shard: &Tables) {
    for (table, rows) in made.iter_mut().enumerate() {
        for key in shard.sorted_keys(table) {
            let mut values = Vec::new();
            let life = shard.values(table, &key, &mut values).expect("a key that it named");
            let row = (life, values.into_iter().map(|value| value.into_owned()).collect());
            assert!(rows.insert(key, row).is_none(), "{key} is in two ranges");
        }
    }
}

/// One event after the other, one partition after the other, into one table: what all folds must equal.
async fn one_by_one(log: &MemoryLog) -> Made {
    let model = stock_v1();
    let mut tables = model.new_tables(KeyRange::ALL);
    let mut checkpoints = Checkpoints::start(log.id());
    let mut events = 0;
    for partition in 0..log.partitions(SHOP) {
        let at = ContextPartition { context: SHOP, partition: Partition(partition) };
        let end = log.end(at).await.expect("a readable log");
        let mut reader = CheckedReader::open(log, at, Checkpoint::default()).await.expect("a readable log");
        while reader.checkpoint().offset < end {
            let batch = reader.next().await.expect("a sound log").expect("events up to the end");
            batch.records.iter().for_each(|record| model.apply(record, &mut tables).expect("events that apply"));
            events += batch.records.len() as u64;
        }
        checkpoints.set(at, reader.checkpoint());
    }
    let mut made = vec![BTreeMap::new(); 2];
    add_rows(&mut made, &tables);
    Made { tables: made, totals: tables.rollup_totals(0), checkpoints, events }
}

async fn folded(log: &Arc<MemoryLog>, target: Target, options: FoldOptions) -> Result<(Made, Folded), FoldError> {
    let log: Arc<dyn EventLog> = log.clone();
    let mut fold = Fold::new(log, stock_v1(), target, options, Control::default()).await?;
    let mut tables = vec![BTreeMap::new(); 2];
    let mut lower = None;
    while let Some(shards) = fold.next().await? {
        for shard in &shards {
            assert_eq!(shard.range().lower, lower, "ranges follow each other");
            add_rows(&mut tables, shard);
        }
        lower = shards[0].range().upper;
        assert!(shards.iter().all(|shard| shard.range().upper == lower), "shards of one range");
    }
    let folded = fold.finish();
    let (totals, checkpoints) = (folded.totals.rows(0), folded.checkpoints.clone());
    Ok((Made { tables, totals, checkpoints, events: folded.events }, folded))
}

fn options(memory_bytes_max: usize, workers: usize) -> FoldOptions {
    FoldOptions { memory_bytes_max, workers, events_per_second_max: None }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_fold_with_any_memory_workers_and_batches_equals_one_event_after_the_other(
        seed in any::<u64>(),
        partitions in 1..5u16,
        batches in proptest::collection::vec(1..60usize, 0..12),
        read_records_max in prop_oneof![Just(1usize), 2..50usize, Just(usize::MAX)],
        memory_bytes_max in prop_oneof![Just(0usize), 1_000..40_000usize, Just(1 << 30)],
        workers in 1..4usize,
    ) {
        runtime().block_on(async {
            let log = log_of(seed, partitions, &batches, read_records_max).await;
            let expected = one_by_one(&log).await;
            let (made, folded) =
                folded(&log, Target::Ends, options(memory_bytes_max, workers)).await.expect("a sound log");
            let rows: usize = made.tables.iter().map(BTreeMap::len).sum();
            assert_eq!((folded.rows, made.events), (rows as u64, expected.events));
            assert_eq!(made, expected);
            assert!(folded.passes == 1 || memory_bytes_max < 1 << 30);
            // The same rows again, from exactly there, while the log goes on.
            let target = Target::Exactly(expected.checkpoints.clone());
            log.claim_by_rival(ContextPartition { context: SHOP, partition: Partition(0) });
            let (again, _) = self::folded(&log, target, options(memory_bytes_max, workers)).await.expect("a sound log");
            assert_eq!(again, expected);
        });
    }

    #[test]
    fn a_fold_to_a_checkpoint_in_the_middle_equals_the_log_as_it_was_then(
        seed in any::<u64>(),
        (before, after) in (proptest::collection::vec(1..30usize, 1..5), proptest::collection::vec(1..30usize, 1..5)),
        memory_bytes_max in prop_oneof![Just(0usize), Just(1 << 30)],
    ) {
        runtime().block_on(async {
            let log = MemoryLog::with_options(&[SHOP], MemoryOptions { partitions: 1, ..MemoryOptions::default() });
            let mut shop = Shop::new(seed, 0, 1, ITEMS);
            append(&log, &mut shop, &before).await;
            let then = one_by_one(&log).await;
            append(&log, &mut shop, &after).await;
            let target = Target::Exactly(then.checkpoints.clone());
            let (made, _) = folded(&log, target, options(memory_bytes_max, 2)).await.expect("a sound log");
            assert_eq!(made, then);
        });
    }
}

#[tokio::test]
async fn a_small_memory_reads_the_log_several_times() {
    let log = log_of(3, 2, &[200; 3], usize::MAX).await;
    let (_, folded) = folded(&log, Target::Ends, options(0, 2)).await.expect("a sound log");
    assert!(folded.passes > 3, "{} passes", folded.passes);
}

#[tokio::test]
async fn a_checkpoint_that_the_log_does_not_have_is_refused() {
    let log = log_of(5, 1, &[20; 3], usize::MAX).await;
    let expected = one_by_one(&log).await;
    let (at, good) = expected.checkpoints.iter().next().expect("one partition");
    let wrong = [
        ("beyond the end", Checkpoint { offset: Offset(good.offset.0 + 5), ..good }),
        ("more events", Checkpoint { ordinal: good.ordinal.next(), ..good }),
        ("fewer events", Checkpoint { ordinal: Ordinal(good.ordinal.0 - 1), ..good }),
        ("a later claim", Checkpoint { claim_epoch: good.claim_epoch.next(), ..good }),
        ("no claim", Checkpoint { claim_epoch: annals_model::position::ClaimEpoch::ZERO, ..good }),
        ("a later time", Checkpoint { emitted_at: annals_model::time::Timestamp(good.emitted_at.0 + 1), ..good }),
    ];
    for (what, checkpoint) in wrong {
        let mut checkpoints = Checkpoints::start(log.id());
        checkpoints.set(at, checkpoint);
        let refused = folded(&log, Target::Exactly(checkpoints), options(1 << 30, 1)).await;
        assert!(matches!(refused, Err(FoldError::NoSuchCheckpoint { .. })), "{what}: {refused:?}");
    }
    let mut elsewhere = Checkpoints::start(log.id());
    elsewhere.set(ContextPartition { context: SHOP, partition: Partition(9) }, good);
    let refused = folded(&log, Target::Exactly(elsewhere), options(1 << 30, 1)).await;
    assert!(matches!(refused, Err(FoldError::NoSuchCheckpoint { .. })), "{refused:?}");
    let other = Checkpoints::start(annals_model::ids::LogId::default());
    let refused = folded(&log, Target::Exactly(other), options(1 << 30, 1)).await;
    assert!(matches!(refused, Err(FoldError::OtherLog { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_event_that_cannot_be_applied_stops_the_fold_and_is_named() {
    let log = MemoryLog::with_options(&[SHOP], MemoryOptions { partitions: 2, ..MemoryOptions::default() });
    append(&log, &mut Shop::new(1, 1, 2, ITEMS), &[50]).await;
    let mut shop = Shop::new(1, 0, 2, ITEMS);
    append(&log, &mut shop, &[10]).await;
    let end = log.end(shop.at()).await.expect("a readable log");
    let mut bytes = Vec::new();
    shop.impossible_event(&mut bytes);
    let offset = log.push_unchecked(shop.at(), &bytes);
    assert!(offset.at() >= end);
    match folded(&log, Target::Ends, options(1 << 30, 2)).await {
        Err(FoldError::Apply { at, failure }) => {
            assert_eq!((at, failure.offset, failure.table), (shop.at(), offset, Some("items")));
            assert_eq!(failure.cause, annals_model::projection::ApplyError::Missing);
            assert!(failure.key.is_some());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_cancelled_fold_stops_and_a_throttled_one_keeps_its_rate() {
    let log = log_of(7, 1, &[300], 50).await;
    let log: Arc<dyn EventLog> = log;
    let control = Control::default();
    let slow = FoldOptions { events_per_second_max: Some(1_000), ..options(1 << 30, 1) };
    let mut fold =
        Fold::new(log.clone(), stock_v1(), Target::Ends, slow, control.clone()).await.expect("a readable log");
    let started = std::time::Instant::now();
    fold.next().await.expect("a sound log").expect("one range");
    assert!(started.elapsed() >= std::time::Duration::from_millis(290), "{:?}", started.elapsed());
    let progress = *control.progress().borrow();
    assert_eq!((progress.events_done, progress.events_total, progress.pass), (300, 300, 1));
    assert!(progress.bytes_per_event > 100 && progress.rows > 0, "{progress:?}");

    let control = Control::default();
    let crawl = FoldOptions { events_per_second_max: Some(1), ..slow };
    let mut fold = Fold::new(log, stock_v1(), Target::Ends, crawl, control.clone()).await.expect("a readable log");
    let mut progress = control.progress();
    let cancel = async {
        progress.wait_for(|progress| progress.events_done > 0).await.expect("a fold under way");
        control.cancel();
    };
    let (stopped, ()) = tokio::join!(fold.next(), cancel);
    assert!(matches!(stopped, Err(FoldError::Cancelled)), "{stopped:?}");
}
