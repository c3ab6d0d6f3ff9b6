mod disagreement;
mod health;
mod observing;

use std::time::Duration;

use annals_model::position::{Checkpoint, Offset, Ordinal};
use annals_model::projection::{ApplyError, Contributions, Fold, Projection, Rollup, own};

use super::*;
use crate::lines::Lines;
use crate::log::checked::CheckedReader;
use crate::log::memory::{MemoryLog, MemoryOptions};
use crate::log::{AppendBatch, AppendOutcome, LogWriter, Owner, ReadError};
use crate::sink::contract::history::{Random, Shop};
use crate::sink::contract::{Whole, rows_of, stock, stored};
use crate::sink::memory::{MemoryStore, SinkFaults};
use crate::sink::{GenerationState, PromoteError};

const PARTITIONS: u16 = 3;
/// In paused time: only a test that would never end gets there.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// A log, a store, and the owners of all partitions.
struct World {
    log: Arc<MemoryLog>,
    store: MemoryStore,
    owners: Vec<(Shop, Option<Box<dyn LogWriter>>)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let options = MemoryOptions {
            partitions: PARTITIONS,
            holes_seed: Some(seed),
            read_records_max: 1 + random.below(20) as usize,
            ..MemoryOptions::default()
        };
        let log = MemoryLog::with_options(&[stock::SHOP], options);
        let store = MemoryStore::new(stock::read_models(), log.id());
        let owners = (0..PARTITIONS).map(|number| (Shop::new(seed, number, PARTITIONS, 12), None)).collect();
        Self { log, store, owners }
    }

    async fn append(&mut self, partition: usize, events: usize, event: fn(&mut Shop, &mut Vec<u8>)) {
        let (shop, held) = &mut self.owners[partition];
        let writer = match held.take() {
            Some(writer) => writer,
            None => {
                let owner = Owner { id: "shop".into(), address: String::new() };
                self.log.claim(shop.at(), owner).await.unwrap().writer
            }
        };
        shop.claim_epoch = writer.claim_epoch();
        let mut batch = AppendBatch::default();
        (0..events).for_each(|_| batch.push(|out| event(shop, out)));
        match writer.append(batch).await {
            AppendOutcome::Durable { writer, .. } => *held = Some(writer),
            other => panic!("{other:?}"),
        }
    }

    async fn live(&self) -> Generation {
        self.store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap()
    }

    async fn runner(&self, generation: &Generation) -> RunnerHandle {
        let model = self.store.read_model(&generation.read_model, generation.version).unwrap();
        start(self.log.clone(), model, generation.clone(), self.store.open(generation).await.unwrap())
    }

    async fn stored(&self, generation: &Generation) -> Whole {
        let model = self.store.read_model(&generation.read_model, generation.version).unwrap();
        stored(self.store.open(generation).await.unwrap().as_mut(), &model).await
    }

    /// The oracle: the whole log, or all of it before some events, in one fold.
    async fn folded(&self, model: &ReadModel, before: impl Fn(ContextPartition) -> Option<Offset>) -> Whole {
        let mut tables = stock::new_tables(model);
        let mut checkpoints = Checkpoints::start(self.log.id());
        for at in partitions(&*self.log, model) {
            let mut reader = CheckedReader::open(&*self.log, at, Checkpoint::default()).await.unwrap();
            while let Some(batch) = reader.next().await.unwrap() {
                let before = before(at).unwrap_or(Offset(u64::MAX));
                let wanted = batch.records.iter().filter(|record| record.offset.at() < before);
                wanted.for_each(|record| model.apply(record, &mut tables).unwrap());
            }
            if reader.checkpoint().offset > Offset::START {
                checkpoints.set(at, reader.checkpoint());
            }
        }
        Whole { checkpoints, tables: rows_of(model, &tables) }
    }

    /// Runs until everything is in, and compares.
    async fn settle_and_compare(&self, generation: &Generation) {
        let model = self.store.read_model(&generation.read_model, generation.version).unwrap();
        let until = ends(&*self.log, &model).await.unwrap();
        let mut sink = self.store.open(generation).await.unwrap();
        let reached = catch_up(&*self.log, &model, sink.as_mut(), &until).await.unwrap();
        self.store.set_faults(SinkFaults::none());
        let found = self.stored(generation).await;
        assert_eq!(found, self.folded(&model, |_| None).await);
        assert_eq!(found.checkpoints, reached);
    }
}

async fn reaches(progress: &mut watch::Receiver<RunnerProgress>, wanted: &PositionVector) {
    let covers = |progress: &RunnerProgress| progress.positions.covers(wanted, |_| true);
    tokio::time::timeout(PATIENCE, progress.wait_for(covers)).await.unwrap().unwrap();
}

async fn failure(progress: &mut watch::Receiver<RunnerProgress>) -> RunnerFailure {
    let failed = |progress: &RunnerProgress| progress.failure().is_some();
    let progress = tokio::time::timeout(PATIENCE, progress.wait_for(failed)).await.unwrap().unwrap();
    progress.failure().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn rows_are_the_fold_of_the_log_wherever_runners_die_and_sinks_fail() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        let mut random = Random::new(seed);
        world.store.set_faults(SinkFaults::seeded(seed, 8, 8));
        let live = world.live().await;
        for _ in 0..12 {
            let runner = world.runner(&live).await;
            for _ in 0..random.below(6) {
                if random.below(6) == 0 {
                    world.owners[0].1 = None;
                }
                let (partition, events) = (random.below(u64::from(PARTITIONS)), 1 + random.below(30));
                world.append(partition as usize, events as usize, Shop::event).await;
                for _ in 0..random.below(20) {
                    tokio::task::yield_now().await;
                }
            }
            if random.below(2) == 0 { drop(runner) } else { runner.stop().await }
        }
        world.settle_and_compare(&live).await;
    }
}

#[tokio::test(start_paused = true)]
async fn runners_of_one_generation_never_apply_an_event_twice() {
    for seed in 100..130 {
        let mut world = World::new(seed);
        let mut random = Random::new(seed);
        world.store.set_faults(SinkFaults::seeded(seed, 2, 5));
        let live = world.live().await;
        let mut runners = vec![world.runner(&live).await, world.runner(&live).await, world.runner(&live).await];
        for _ in 0..40 {
            let (partition, events) = (random.below(u64::from(PARTITIONS)), 1 + random.below(30));
            world.append(partition as usize, events as usize, Shop::event).await;
            for _ in 0..random.below(12) {
                tokio::task::yield_now().await;
            }
        }
        let until = ends(&*world.log, &stock::stock_v1()).await.unwrap();
        for runner in &mut runners {
            // The slower ones see what the fastest did.
            reaches(&mut runner.progress, &until).await;
        }
        for runner in runners {
            runner.stop().await;
        }
        world.settle_and_compare(&live).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_back_is_folded_on_from_where_it_is() {
    for seed in 200..210 {
        let mut world = World::new(seed);
        let live = world.live().await;
        let mut runner = world.runner(&live).await;
        let mut backup = world.store.backup(&live);
        for round in 0..3 {
            for partition in 0..usize::from(PARTITIONS) {
                world.append(partition, 7, Shop::event).await;
            }
            let until = ends(&*world.log, &stock::stock_v1()).await.unwrap();
            reaches(&mut runner.progress, &until).await;
            if round == 1 {
                world.store.restore(&live, backup.clone());
            }
            backup = world.store.backup(&live);
        }
        runner.stop().await;
        world.settle_and_compare(&live).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_applied_stops_its_read_model_and_names_position_row_and_cause() {
    let mut world = World::new(1);
    world.append(1, 25, Shop::event).await;
    let live = world.live().await;
    let mut runner = world.runner(&live).await;
    reaches(&mut runner.progress, &ends(&*world.log, &stock::stock_v1()).await.unwrap()).await;
    runner.stop().await;
    // Ten good events in front of it and one behind, all in one append.
    world.append(1, 10, Shop::event).await;
    let at = world.owners[1].0.at();
    let good = world.log.end(at).await.unwrap();
    world.append(1, 1, Shop::impossible_event).await;
    world.append(1, 1, Shop::event).await;
    let mut runner = world.runner(&live).await;
    let RunnerFailure::Apply { at: found, failure } = failure(&mut runner.progress).await else {
        panic!("no apply failure")
    };
    assert_eq!((found, failure.read_model, failure.table), (at, stock::STOCK, Some("items")));
    assert_eq!((failure.cause.clone(), failure.event_type.as_str()), (ApplyError::Missing, "item.priced"));
    assert!(failure.key.is_some() && failure.offset.at() >= good, "{failure}");
    let found = world.stored(&live).await;
    let wanted = world.folded(&stock::stock_v1(), |_| Some(failure.offset.at())).await;
    assert_eq!(found.tables, wanted.tables, "everything before the event is in, and nothing behind it");
    assert_eq!(found.checkpoints.get(at).offset, runner.progress.borrow().checkpoints.get(at).offset);
    assert!(found.checkpoints.get(at).offset <= failure.offset.at());
    // Starting it again does not help, and does no harm.
    let mut again = world.runner(&live).await;
    let RunnerFailure::Apply { failure: second, .. } = self::failure(&mut again.progress).await else { panic!() };
    assert_eq!(second, failure);
    assert_eq!(world.stored(&live).await, found);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_down_is_tried_again_and_then_given_up() {
    let mut world = World::new(2);
    let live = world.live().await;
    world.store.set_faults(SinkFaults::seeded(0, 100, 0));
    let mut runner = world.runner(&live).await;
    let retrying = |progress: &RunnerProgress| matches!(progress.state, RunnerState::Retrying { attempts: 3, .. });
    tokio::time::timeout(PATIENCE, runner.progress.wait_for(retrying)).await.unwrap().unwrap();
    let failure = failure(&mut runner.progress).await;
    assert!(failure.is_transient(), "{failure}");
    world.store.set_faults(SinkFaults::none());
    world.append(0, 5, Shop::event).await;
    world.settle_and_compare(&live).await;
}

struct Panics;
impl Projection for Panics {
    const NAME: &'static str = "panics";
    type Row = stock::ItemRowV2;
    fn fold(on: &mut Fold<stock::ItemRowV2>) {
        on.on::<stock::Added>(own, |_, e| panic!("cannot count to {}", e.sequence));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_handler_stops_its_read_model() {
    let mut world = World::new(3);
    let model = Arc::new(ReadModel::new("panics", 1, &stock::CATALOGUE).table::<Panics>());
    let store = MemoryStore::new([model.clone()], world.log.id());
    let live = store.ensure_live(&model).await.unwrap().unwrap();
    let mut runner = start(world.log.clone(), model, live.clone(), store.open(&live).await.unwrap());
    world.append(0, 1, Shop::event).await;
    match failure(&mut runner.progress).await {
        RunnerFailure::Panicked { at, text, .. } => {
            assert_eq!((at, text.as_str()), (world.owners[0].0.at(), "cannot count to 1"));
        }
        other => panic!("{other:?}"),
    }
}

struct LosesItsWay;
impl Projection for LosesItsWay {
    const NAME: &'static str = "lost";
    type Row = stock::ItemRowV2;
    fn fold(on: &mut Fold<stock::ItemRowV2>) {
        on.on::<stock::Added>(
            |e, keys| if e.sequence.0 > 0 { panic!("no way for {}", e.sequence) } else { own(e, keys) },
            |row, e| row.insert(stock::ItemRowV2 { name: e.payload.name.clone(), moves: 0 }),
        );
    }
}

struct Collects;
impl Projection for Collects {
    const NAME: &'static str = "collected";
    type Row = stock::ItemRowV2;
    fn fold(on: &mut Fold<stock::ItemRowV2>) {
        on.on::<stock::Added>(own, |row, e| row.insert(stock::ItemRowV2 { name: e.payload.name.clone(), moves: 0 }));
    }
}
struct Miscounts;
impl Rollup for Miscounts {
    const NAME: &'static str = "miscounted";
    type Of = Collects;
    type Group = ();
    const MEASURES: &'static [&'static str] = &["items"];
    fn contribute(_: &stock::ItemRowV2, out: &mut Contributions<()>) {
        out.add((), &[1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_panics_in_a_read_models_own_code_stops_it_and_says_so() {
    for (model, words) in [
        (ReadModel::new("lost", 1, &stock::CATALOGUE).table::<LosesItsWay>(), "no way for 1"),
        (ReadModel::new("miscounts", 1, &stock::CATALOGUE).table::<Collects>().rollup::<Miscounts>(), "one number per"),
    ] {
        let mut world = World::new(3);
        let model = Arc::new(model);
        let store = MemoryStore::new([model.clone()], world.log.id());
        let live = store.ensure_live(&model).await.unwrap().unwrap();
        let mut runner = start(world.log.clone(), model.clone(), live.clone(), store.open(&live).await.unwrap());
        world.append(0, 1, Shop::event).await;
        let found = failure(&mut runner.progress).await;
        assert!(found.to_string().contains(words) && !found.is_transient(), "{found}");
        // Nothing of it is in, and whoever builds such a read model is told the same.
        let until = ends(&*world.log, &model).await.unwrap();
        let mut sink = store.open(&live).await.unwrap();
        let built = catch_up(&*world.log, &model, sink.as_mut(), &until).await;
        assert!(built.unwrap_err().to_string().contains(words));
        assert!(sink.checkpoints().await.unwrap().iter().all(|(_, stored)| stored.ordinal.0 == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_the_log_does_not_have_stops_the_runner() {
    let (mut world, other) = (World::new(4), World::new(4));
    let live = world.live().await;
    world.append(0, 5, Shop::event).await;
    world.settle_and_compare(&live).await;
    // The same rows beside a log that is shorter, or that is another one.
    let sink = world.store.open(&live).await.unwrap();
    let mut runner = start(other.log.clone(), stock::stock_v1(), live, sink);
    let failure = failure(&mut runner.progress).await;
    assert!(matches!(failure, RunnerFailure::Sink(crate::sink::SinkError::OtherLog { .. })), "{failure}");
}

/// A ready generation of version 2, empty: its runner brings it here.
async fn ready(store: &MemoryStore) -> Generation {
    let (generation, _lock) = store.create(&stock::stock_v2(), "a test").await.unwrap();
    store.finish(&generation, Ok(())).await.unwrap()
}

async fn until_live(read_models: &ReadModels, id: u32) -> LiveReadModel {
    let look = async {
        loop {
            match read_models.live(stock::STOCK) {
                Some(live) if live.generation.id.0 == id => return live,
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn read_models_follow_what_is_built_promoted_and_removed() {
    let mut world = World::new(5);
    // The deployment began with version 1; this build carries 2 as well.
    let first = world.live().await;
    let read_models = ReadModels::start(world.log.clone(), world.store.handle()).await.unwrap();
    let live = read_models.live(stock::STOCK).unwrap();
    assert_eq!(live.generation, first);
    world.append(0, 40, Shop::event).await;
    let until = ends(&*world.log, &live.read_model).await.unwrap();
    assert_eq!(live.wait_for(&until, PATIENCE).await.unwrap(), until);
    let second = ready(&world.store).await;
    // The promotion waits for the runner that is started for the new generation.
    let promote = async {
        loop {
            match world.store.promote(stock::STOCK, second.id).await {
                Err(PromoteError::Behind { .. }) => {}
                other => return other.unwrap(),
            }
        }
    };
    tokio::time::timeout(PATIENCE, promote).await.unwrap();
    let promoted = until_live(&read_models, 2).await;
    assert_eq!((promoted.read_model.version(), promoted.positions()), (2, until));
    // Whoever still reads from the first is told to look again.
    assert!(read_models.is_replaced(&first) && !read_models.is_replaced(&promoted.generation));
    // Both are kept current; a rollback is possible at any time.
    world.append(1, 40, Shop::event).await;
    let until = ends(&*world.log, &live.read_model).await.unwrap();
    live.wait_for(&until, PATIENCE).await.unwrap();
    promoted.wait_for(&until, PATIENCE).await.unwrap();
    world.store.rollback(stock::STOCK).await.unwrap();
    let back = until_live(&read_models, 1).await;
    let retired = world.store.generation(stock::STOCK, second.id).await.unwrap();
    world.store.remove(&retired).await.unwrap();
    let ended = |progress: &RunnerProgress| matches!(progress.state, RunnerState::Ended);
    tokio::time::timeout(PATIENCE, promoted.progress.clone().wait_for(ended)).await.unwrap().unwrap();
    world.append(2, 10, Shop::event).await;
    let until = ends(&*world.log, &live.read_model).await.unwrap();
    back.wait_for(&until, PATIENCE).await.unwrap();
    read_models.stop().await;
    world.settle_and_compare(&first).await;
}

#[tokio::test(start_paused = true)]
async fn one_read_model_that_stops_does_not_stop_the_others() {
    let mut world = World::new(6);
    world.live().await;
    let second = ready(&world.store).await;
    let read_models = ReadModels::start(world.log.clone(), world.store.handle()).await.unwrap();
    // Version 2 does not read prices.
    world.append(0, 1, Shop::impossible_event).await;
    world.append(0, 20, Shop::event).await;
    let until = ends(&*world.log, &stock::stock_v2()).await.unwrap();
    let live = read_models.live(stock::STOCK).unwrap();
    let stopped = live.wait_for(&until, PATIENCE).await;
    assert!(matches!(stopped, Err(WaitError::Stopped { .. })), "{stopped:?}");
    let statuses = read_models.statuses();
    assert_eq!(statuses.len(), 2);
    assert!(statuses[0].progress.as_ref().unwrap().failure().unwrap().to_string().contains("does not exist"));
    assert_eq!((statuses[1].generation.id, statuses[1].generation.state), (second.id, GenerationState::Ready));
    let kept = world.store.promote(stock::STOCK, second.id).await.unwrap();
    until_live(&read_models, kept.live.id.0).await.wait_for(&until, PATIENCE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_gave_up_is_started_again_when_the_sink_is_back() {
    let mut world = World::new(7);
    let first = world.live().await;
    let read_models = ReadModels::start(world.log.clone(), world.store.handle()).await.unwrap();
    world.store.set_faults(SinkFaults::seeded(0, 100, 0));
    world.append(0, 20, Shop::event).await;
    let mut live = read_models.live(stock::STOCK).unwrap();
    assert!(failure(&mut live.progress).await.is_transient());
    world.store.set_faults(SinkFaults::none());
    let until = ends(&*world.log, &live.read_model).await.unwrap();
    let again = async {
        while until_live(&read_models, 1).await.wait_for(&until, PATIENCE).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
    read_models.stop().await;
    world.settle_and_compare(&first).await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_stays_down_is_told_once_however_often_its_runner_is_started_again() {
    let lines = Lines::of_this_thread();
    let mut world = World::new(9);
    let first = world.live().await;
    let read_models = ReadModels::start(world.log.clone(), world.store.handle()).await.unwrap();
    let told = || (lines.count("WARN", "waits for its sink"), lines.count("INFO", "waits no longer"));
    for outage in 1..=2 {
        world.store.set_faults(SinkFaults::seeded(0, 100, 0));
        world.append(0, 20, Shop::event).await;
        let mut before: Option<watch::Receiver<RunnerProgress>> = None;
        for _ in 0..5 {
            // Each of these is another runner.
            let another = async {
                loop {
                    let progress = until_live(&read_models, 1).await.progress;
                    if before.as_ref().is_none_or(|before| !before.same_channel(&progress)) {
                        break progress;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            let mut progress = tokio::time::timeout(PATIENCE, another).await.unwrap();
            assert!(failure(&mut progress).await.is_transient());
            before = Some(progress);
        }
        // Its rows, its checkpoints: two operations.
        assert!((outage..=2 * outage).contains(&told().0), "{:?}", told());
        world.store.set_faults(SinkFaults::none());
        let until = ends(&*world.log, &stock::stock_v1()).await.unwrap();
        let again = async {
            while until_live(&read_models, 1).await.wait_for(&until, PATIENCE).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, again).await.unwrap();
        assert_eq!(told().0, told().1, "{:?}", told());
    }
    assert_eq!(lines.count("WARN", "pauses"), 0);
    read_models.stop().await;
    world.settle_and_compare(&first).await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_limit_and_says_where_the_rows_stand() {
    let mut world = World::new(8);
    world.append(0, 3, Shop::event).await;
    world.live().await;
    let read_models = ReadModels::start(world.log.clone(), world.store.handle()).await.unwrap();
    let live = read_models.live(stock::STOCK).unwrap();
    let there = ends(&*world.log, &live.read_model).await.unwrap();
    live.wait_for(&there, PATIENCE).await.unwrap();
    let far = PositionVector::of(world.owners[0].0.at(), Offset(u64::MAX));
    match live.wait_for(&far, Duration::from_millis(70)).await {
        Err(WaitError::Lags { waited_ms: 70, progress, .. }) => assert_eq!(progress.positions, there),
        other => panic!("{other:?}"),
    }
    // Contexts that the read model does not read do not hold anybody up.
    let elsewhere = annals_model::ids::ContextId { number: 99, name: "elsewhere" };
    let at = ContextPartition { context: elsewhere, partition: annals_model::ids::Partition(0) };
    live.wait_for(&PositionVector::of(at, Offset(5)), Duration::ZERO).await.unwrap();
}
