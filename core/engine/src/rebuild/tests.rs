use std::future::Future;
use std::task::Poll;

use annals_model::position::{Checkpoint, Offset, Ordinal, PositionVector};
use annals_model::projection::KeyRange;
use annals_model::time::Timestamp;
use proptest::prelude::*;

use super::shop_log::{ITEMS, append, log_of};
use super::*;
use crate::log::memory::MemoryLog;
use crate::sink::contract::history::Shop;
use crate::sink::contract::stock::{STOCK, stock_v1, stock_v2};
use crate::sink::contract::stored;
use crate::sink::memory::MemoryStore;
use crate::sink::{GenerationId, GenerationState};
use crate::verify::{VerifyOutcome, verify};

struct Setting {
    log: Arc<MemoryLog>,
    store: MemoryStore,
}

impl Setting {
    async fn new(seed: u64, partitions: u16, batches: &[usize], read_records_max: usize) -> Self {
        let log = log_of(seed, partitions, batches, read_records_max).await;
        let store = MemoryStore::new([stock_v1(), stock_v2()], log.id());
        Self { log, store }
    }

    async fn rebuild(&self, read_model: Arc<ReadModel>, options: FoldOptions) -> Result<Rebuilt, RebuildError> {
        rebuild(self.log.clone(), &self.store, read_model, "test", options, &Control::default()).await
    }

    /// The live generation, brought to the log's end by an ordinary runner.
    async fn live(&self) -> Generation {
        let live = self.store.ensure_live(&stock_v1()).await.expect("a store").expect("a live generation");
        let mut sink = self.store.open(&live).await.expect("a generation");
        let ends = self.ends().await;
        runner::catch_up(self.log.as_ref(), &stock_v1(), sink.as_mut(), &ends).await.expect("events that apply");
        live
    }

    async fn ends(&self) -> PositionVector {
        runner::ends(self.log.as_ref(), &stock_v1()).await.expect("a readable log")
    }

    async fn digest(&self, generation: &Generation) -> String {
        let control = Control::default();
        let outcome = verify(self.log.clone(), &self.store, stock_v1(), generation, options(1 << 30), &control).await;
        match outcome.expect("a readable generation") {
            VerifyOutcome::Equal { digest, .. } => digest.to_string(),
            other => panic!("{other:?}"),
        }
    }

    async fn generations(&self) -> Vec<(GenerationId, GenerationState)> {
        let generations = self.store.list(STOCK).await.expect("a store");
        generations.into_iter().map(|generation| (generation.id, generation.state)).collect()
    }
}

fn options(memory_bytes_max: usize) -> FoldOptions {
    FoldOptions { memory_bytes_max, workers: 2, events_per_second_max: None }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn rows_kept_live_and_rows_rebuilt_are_equal_whatever_the_batches(
        seed in any::<u64>(),
        partitions in 1..4u16,
        batches in proptest::collection::vec(1..60usize, 1..8),
        read_records_max in prop_oneof![Just(1usize), 2..50usize, Just(usize::MAX)],
        memory_bytes_max in prop_oneof![Just(0usize), Just(1 << 30)],
    ) {
        runtime().block_on(async {
            let setting = Setting::new(seed, partitions, &batches, read_records_max).await;
            let live = setting.live().await;
            let rebuilt = setting.rebuild(stock_v1(), options(memory_bytes_max)).await.expect("a sound log");
            let mut sinks = Vec::new();
            for generation in [&live, &rebuilt.generation] {
                let mut sink = setting.store.open(generation).await.expect("a generation");
                sinks.push(stored(sink.as_mut(), &stock_v1()).await);
            }
            assert_eq!(sinks[0], sinks[1]);
            assert_eq!(setting.digest(&live).await, setting.digest(&rebuilt.generation).await);
            assert_eq!(rebuilt.checkpoints, sinks[0].checkpoints);
        });
    }
}

#[tokio::test]
async fn what_is_appended_during_a_rebuild_is_in_its_rows() {
    let setting = Setting::new(1, 1, &[300], 20).await;
    let mut shop = Shop::new(1, 0, 1, ITEMS);
    (0..300).for_each(|_| shop.event(&mut Vec::new()));
    setting.live().await;
    let control = Control::default();
    let mut progress = control.progress();
    let slow = FoldOptions { events_per_second_max: Some(2_000), ..options(1 << 30) };
    let rebuild = rebuild(setting.log.clone(), &setting.store, stock_v1(), "test", slow, &control);
    let write = async {
        progress.wait_for(|progress| progress.events_done > 0).await.expect("a rebuild under way");
        append(&setting.log, &mut shop, &[100]).await;
    };
    let (rebuilt, ()) = tokio::join!(rebuild, write);
    let rebuilt = rebuilt.expect("a sound log");
    assert_eq!(rebuilt.checkpoints.positions(), setting.ends().await);
    assert_eq!(setting.digest(&rebuilt.generation).await, setting.digest(&setting.live().await).await);
}

#[tokio::test]
async fn a_second_rebuild_at_the_same_time_is_refused() {
    let setting = Setting::new(2, 1, &[50], usize::MAX).await;
    let (building, lock) = setting.store.create(&stock_v1(), "other").await.expect("no other builder");
    match setting.rebuild(stock_v1(), options(1 << 30)).await {
        Err(RebuildError::Create(CreateError::AlreadyRunning { id, .. })) => assert_eq!(id, building.id),
        other => panic!("{other:?}"),
    }
    assert_eq!(setting.generations().await, [(building.id, GenerationState::Building)]);
    drop(lock);
    let rebuilt = setting.rebuild(stock_v1(), options(1 << 30)).await.expect("a sound log");
    assert_eq!((rebuilt.generation.id, rebuilt.generation.state), (building.id, GenerationState::Ready));
}

#[tokio::test]
async fn a_builder_killed_anywhere_leaves_the_live_rows_and_a_generation_that_is_begun_anew() {
    let setting = Setting::new(3, 2, &[60; 4], 7).await;
    let live = setting.live().await;
    let before = setting.digest(&live).await;
    let mut killed = 0;
    for polls in 0.. {
        let mut rebuild = Box::pin(setting.rebuild(stock_v1(), options(3_000)));
        let mut left = polls;
        let ended = std::future::poll_fn(|context| match left {
            0 => Poll::Ready(None),
            _ => {
                left -= 1;
                rebuild.as_mut().poll(context).map(Some)
            }
        })
        .await;
        drop(rebuild);
        let Some(rebuilt) = ended else {
            killed += 1;
            assert_eq!(setting.digest(&live).await, before);
            let others: Vec<_> = setting.generations().await.into_iter().filter(|(id, _)| *id != live.id).collect();
            assert!(others.len() <= 1 && others.iter().all(|(_, state)| *state == GenerationState::Building));
            continue;
        };
        let rebuilt = rebuilt.expect("a sound log");
        assert_eq!((rebuilt.generation.id, rebuilt.generation.state), (GenerationId(2), GenerationState::Ready));
        assert_eq!(setting.digest(&rebuilt.generation).await, before);
        break;
    }
    assert!(killed > 3, "{killed}");
}

#[tokio::test]
async fn a_rebuild_that_fails_says_why_and_leaves_no_ready_generation() {
    let setting = Setting::new(4, 1, &[50], usize::MAX).await;
    let mut shop = Shop::new(4, 0, 1, ITEMS);
    (0..50).for_each(|_| shop.event(&mut Vec::new()));
    let claim = setting.log.claim_by_rival(shop.at());
    shop.claim_epoch = claim;
    let mut bytes = Vec::new();
    shop.impossible_event(&mut bytes);
    let offset = setting.log.push_unchecked(shop.at(), &bytes);
    let error = setting.rebuild(stock_v1(), options(1 << 30)).await.expect_err("an event that cannot be applied");
    assert!(matches!(error, RebuildError::Fold(FoldError::Apply { .. })), "{error}");
    let generations = setting.store.list(STOCK).await.expect("a store");
    let [failed] = generations.as_slice() else { panic!("{generations:?}") };
    assert_eq!((failed.state, failed.failure.as_ref()), (GenerationState::Failed, Some(&error.to_string())));
    assert!(error.to_string().contains(&format!("at offset {offset} to items row")), "{error}");
}

#[tokio::test]
async fn a_cancelled_rebuild_is_marked_as_failed() {
    let setting = Setting::new(5, 1, &[50], usize::MAX).await;
    let control = Control::default();
    control.cancel();
    let rebuilt = rebuild(setting.log.clone(), &setting.store, stock_v1(), "test", options(1 << 30), &control).await;
    assert!(matches!(rebuilt, Err(RebuildError::Fold(FoldError::Cancelled))), "{rebuilt:?}");
    assert_eq!(setting.generations().await, [(GenerationId(1), GenerationState::Failed)]);
}

#[tokio::test]
async fn a_plan_says_what_would_be_read_and_whether_it_is_called_for() {
    let setting = Setting::new(7, 2, &[60, 40], usize::MAX).await;
    let planned = |read_model: Arc<ReadModel>| {
        let setting = &setting;
        async move { plan(setting.log.as_ref(), &setting.store, &read_model, Some(1_000)).await.expect("a log") }
    };
    let first = planned(stock_v1()).await;
    assert_eq!((&first.why, first.events, first.partitions.len()), (&Why::NothingLive, 200, 2));
    assert_eq!(first.estimated, Duration::from_millis(200));
    assert!(first.bytes > 200 * 100, "{}", first.bytes);
    assert_eq!(first.tables.iter().map(|table| table.name).collect::<Vec<_>>(), ["items", "visits", "shelf_totals"]);
    assert!(setting.generations().await.is_empty(), "nothing is executed");

    let live = setting.live().await;
    assert_eq!(planned(stock_v1()).await.why, Why::UpToDate);
    let second = planned(stock_v2()).await;
    assert_eq!((second.why, second.live), (Why::OtherVersion { live: 1 }, Some(live)));
    let rebuilt = setting.rebuild(stock_v2(), options(1 << 30)).await.expect("a sound log");
    assert_eq!(planned(stock_v2()).await.why, Why::ReadyToPromote(rebuilt.generation));
    let (building, _lock) = setting.store.create(&stock_v2(), "test").await.expect("no other builder");
    assert_eq!(planned(stock_v2()).await.building, Some(building));
}

#[tokio::test]
async fn a_live_generation_beyond_the_logs_end_is_planned_anew() {
    // Without an event of the checkpoint's time the log has lost it; with it, the log is whole.
    for (events_more, said) in [(1, "beyond the log's end"), (0, "the log is whole, the checkpoint is false")] {
        let setting = Setting::new(9, 2, &[30], usize::MAX).await;
        let live = setting.live().await;
        let mut sink = setting.store.open(&live).await.expect("a generation");
        let (at, from) = sink.checkpoints().await.expect("a store").iter().next().expect("events");
        let (offset, ordinal) = (Offset(from.offset.0 + 1_000), Ordinal(from.ordinal.0 + events_more));
        let emitted_at = Timestamp(from.emitted_at.0 + events_more as i64);
        let to = Checkpoint { offset, ordinal, emitted_at, ..from };
        sink.commit(&stock_v1().new_tables(KeyRange::ALL), at, from, to).await.expect("the next checkpoint");
        let planned = plan(setting.log.as_ref(), &setting.store, &stock_v1(), None).await.expect("a log");
        assert!(matches!(&planned.why, Why::LiveUnusable { cause } if cause.contains(said)), "{said}: {planned:?}");
    }
}
