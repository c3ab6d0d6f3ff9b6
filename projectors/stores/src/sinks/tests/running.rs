//! The main job of a read model in each store: rows follow the log while a second process rebuilds, verifies and promotes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_engine::log::{AppendBatch, AppendOutcome, EventLog, LogWriter, Owner};
use annals_engine::rebuild::control::Control;
use annals_engine::rebuild::fold::FoldOptions;
use annals_engine::rebuild::rebuild;
use annals_engine::runner::{GenerationStatus, LiveReadModel, ReadModels, ends};
use annals_engine::sink::contract::history::{Random, Shop};
use annals_engine::verify::{VerifyOutcome, verify};

use annals_dev::postgres::{Database, shared};
use annals_engine::sink::contract::stock;
use annals_engine::sink::{Generation, GenerationId, PromoteError};
use annals_model::projection::ReadModel;
use annals_model::read_model::Definition;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use super::*;
use crate::testing::Place;

fn definitions() -> Vec<Definition> {
    stock::read_models().map(|model| Definition::new(model, &[])).into()
}

const PARTITIONS: u16 = 2;
/// Longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the log is, and the rows.
struct Setting {
    directory: TempDir,
    /// Nothing: the rows lie in the directory as well.
    database: Option<Database>,
}

impl Setting {
    fn new(place: Place) -> Self {
        let database = match place {
            Place::Sqlite => None,
            Place::Postgres => Some(shared().unwrap().fresh_database().unwrap()),
        };
        Self { directory: TempDir::new().unwrap(), database }
    }
}

/// A process: its own handles on log and store.
struct Process {
    log: Arc<SqliteLog>,
    store: Store,
}

impl Process {
    async fn serving(setting: &Setting) -> Self {
        let options = SqliteOptions { partitions: Some(PARTITIONS), ..SqliteOptions::default() };
        let log = SqliteLog::open(&setting.directory.path().join("log.db"), &[stock::SHOP], options).await.unwrap();
        Self::with(setting, log).await
    }

    async fn operating(setting: &Setting) -> Self {
        let log = SqliteLog::open_read_only(&setting.directory.path().join("log.db"), &[stock::SHOP]).await.unwrap();
        Self::with(setting, log).await
    }

    async fn with(setting: &Setting, log: Arc<SqliteLog>) -> Self {
        let store = match &setting.database {
            None => SqliteStore::open(setting.directory.path(), definitions(), log.id()).await.unwrap().into(),
            Some(database) => PostgresStore::open(&database.url, definitions(), log.id()).await.unwrap().into(),
        };
        Self { log, store }
    }

    async fn rebuild(&self, model: Arc<ReadModel>) -> Generation {
        let (options, control) = (FoldOptions::default(), Control::default());
        let rebuilt = rebuild(self.log.clone(), &self.store, model, "a test", options, &control).await.unwrap();
        rebuilt.generation
    }

    async fn verify(&self, generation: &Generation) -> VerifyOutcome {
        let model = self.store.read_model(&generation.read_model, generation.version).unwrap();
        let (options, control) = (FoldOptions::default(), Control::default());
        verify(self.log.clone(), &self.store, model, generation, options, &control).await.unwrap()
    }
}

/// The owner of all partitions.
struct Owners {
    shops: Vec<(Shop, Option<Box<dyn LogWriter>>)>,
    random: Random,
}

impl Owners {
    async fn claim(log: &SqliteLog, seed: u64) -> Self {
        let mut shops = Vec::new();
        for number in 0..PARTITIONS {
            let mut shop = Shop::new(seed, number, PARTITIONS, 50);
            let owner = Owner { id: "shop".into(), address: String::new() };
            let writer = log.claim(shop.at(), owner).await.unwrap().writer;
            shop.claim_epoch = writer.claim_epoch();
            shops.push((shop, Some(writer)));
        }
        Self { shops, random: Random::new(seed) }
    }

    async fn append(&mut self) {
        let number = self.random.below(u64::from(PARTITIONS)) as usize;
        let (shop, held) = &mut self.shops[number];
        let mut batch = AppendBatch::default();
        (0..1 + self.random.below(20)).for_each(|_| batch.push(|out| shop.event(out)));
        match held.take().unwrap().append(batch).await {
            AppendOutcome::Durable { writer, .. } => *held = Some(writer),
            other => panic!("{other:?}"),
        }
    }
}

async fn until_live(read_models: &ReadModels, id: GenerationId) -> LiveReadModel {
    let look = async {
        loop {
            match read_models.live(stock::STOCK) {
                Some(live) if live.generation.id == id => return live,
                _ => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap()
}

/// Looks at the live generation all the time; what it shows must never be older than what was shown before.
async fn never_goes_back(read_models: &ReadModels, store: &Store, over: &AtomicBool) -> (u64, u64) {
    let (mut looks, mut switches) = (0, 0);
    let mut shown = vec![0u64; usize::from(PARTITIONS)];
    let mut served = None;
    while !over.load(Ordering::Relaxed) {
        let live = read_models.live(stock::STOCK).unwrap();
        let checkpoints = store.checkpoints(&live.generation).await.unwrap();
        if read_models.is_replaced(&live.generation) {
            continue;
        }
        for (at, checkpoint) in checkpoints.iter() {
            let (shown, offset) = (&mut shown[usize::from(at.partition.0)], checkpoint.offset.0);
            assert!(offset >= *shown, "{} shows {offset} after {shown}", live.generation);
            *shown = offset;
        }
        looks += 1;
        if served.replace(live.generation.id) != Some(live.generation.id) {
            switches += 1;
        }
    }
    (looks, switches)
}

async fn a_read_model_is_rebuilt_verified_promoted_and_rolled_back_while_events_go_on(place: Place) {
    let setting = Setting::new(place);
    let server = Process::serving(&setting).await;
    let first = server.store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    let read_models = ReadModels::start(server.log.clone(), server.store.handle()).await.unwrap();
    let mut owners = Owners::claim(&server.log, 1).await;
    for _ in 0..50 {
        owners.append().await;
    }
    let over = AtomicBool::new(false);
    let writing = async {
        while !over.load(Ordering::Relaxed) {
            owners.append().await;
        }
    };
    let operating = async {
        let operator = Process::operating(&setting).await;
        let second = operator.rebuild(stock::stock_v2()).await;
        assert!(matches!(operator.verify(&second).await, VerifyOutcome::Equal { .. }));
        for id in [second.id, first.id, second.id] {
            let promote = async {
                // The server's runner for a new generation starts when it sees it.
                while let Err(error) = operator.store.promote(stock::STOCK, id).await {
                    assert!(matches!(error, PromoteError::Behind { .. }), "{error}");
                }
            };
            tokio::time::timeout(PATIENCE, promote).await.unwrap();
            until_live(&read_models, id).await;
        }
        assert!(matches!(operator.verify(&first).await, VerifyOutcome::Equal { .. }));
        over.store(true, Ordering::Relaxed);
        second
    };
    let looking = never_goes_back(&read_models, &server.store, &over);
    let ((), second, (looks, switches)) = tokio::join!(writing, operating, looking);
    assert!(looks > 10 && switches >= 4, "{looks} looks, {switches} switches");
    let live = until_live(&read_models, second.id).await;
    let until = ends(&*server.log, &stock::stock_v1()).await.unwrap();
    live.wait_for(&until, PATIENCE).await.unwrap();
    // The retired one is kept current as well, by a runner of its own.
    let all_there = async {
        let reached = |status: &GenerationStatus| {
            status.progress.as_ref().is_some_and(|progress| progress.positions.covers(&until, |_| true))
        };
        while !read_models.statuses().iter().all(reached) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_there).await.unwrap();
    for generation in [&first, &second] {
        match server.verify(generation).await {
            VerifyOutcome::Equal { checkpoints, .. } => assert_eq!(checkpoints.positions(), until),
            other => panic!("{generation}: {other:?}"),
        }
    }
    read_models.stop().await;
}

async fn two_processes_keep_one_generation_current_and_neither_applies_an_event_twice(place: Place) {
    let setting = Setting::new(place);
    let (one, two) = (Process::serving(&setting).await, Process::operating(&setting).await);
    let first = one.store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    let both = [
        ReadModels::start(one.log.clone(), one.store.handle()).await.unwrap(),
        ReadModels::start(two.log.clone(), two.store.handle()).await.unwrap(),
    ];
    let mut owners = Owners::claim(&one.log, 2).await;
    for _ in 0..150 {
        owners.append().await;
    }
    let until = ends(&*one.log, &stock::stock_v1()).await.unwrap();
    for read_models in &both {
        read_models.live(stock::STOCK).unwrap().wait_for(&until, PATIENCE).await.unwrap();
    }
    assert!(matches!(one.verify(&first).await, VerifyOutcome::Equal { .. }));
}

async fn a_process_that_observes_follows_what_another_one_stores_and_promotes(place: Place) {
    let setting = Setting::new(place);
    let (runs, observes) = (Process::serving(&setting).await, Process::operating(&setting).await);
    runs.store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    let read_models = ReadModels::start(runs.log.clone(), runs.store.handle()).await.unwrap();
    let observer = ReadModels::observe(observes.log.clone(), observes.store.handle()).await.unwrap();
    let mut owners = Owners::claim(&runs.log, 3).await;
    for round in 0..3 {
        for _ in 0..20 {
            owners.append().await;
        }
        let live = observer.live(stock::STOCK).unwrap();
        let until = ends(&*runs.log, &live.read_model).await.unwrap();
        live.wait_for(&until, PATIENCE).await.unwrap();
        // What it says is there is there for whoever reads the rows now.
        let stored = observes.store.checkpoints(&live.generation).await.unwrap().positions();
        assert!(stored.covers(&until, |_| true), "round {round}");
        let next = runs.rebuild(stock::stock_v2()).await;
        let promote = async {
            while runs.store.promote(stock::STOCK, next.id).await.is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, promote).await.unwrap();
        let promoted = until_live(&observer, next.id).await;
        let shown = promoted.positions();
        let contexts = promoted.read_model.contexts();
        assert!(shown.covers(&until, |number| contexts.iter().any(|context| context.number == number)));
    }
    read_models.stop().await;
}

/// Moves what a generation says of itself, in every partition, as somebody with a shell does.
async fn forge(setting: &Setting, generation: &Generation) {
    const FORGE: &str = "annals_checkpoints SET log_offset = log_offset + 1000, ordinal = ordinal + 1000";
    match &setting.database {
        Some(database) => {
            shared().unwrap().sql(&database.name, &format!("UPDATE stock_g{}.{FORGE}", generation.id)).unwrap();
        }
        None => {
            let file = setting.directory.path().join(format!("read-models/stock/gen-{}.db", generation.id));
            let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
            sqlx::query(AssertSqlSafe(format!("UPDATE {FORGE}"))).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}

async fn a_forged_checkpoint_is_the_read_models_fault_and_not_the_logs(place: Place) {
    let setting = Setting::new(place);
    let process = Process::serving(&setting).await;
    let live = process.store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    let read_models = ReadModels::start(process.log.clone(), process.store.handle()).await.unwrap();
    let mut owners = Owners::claim(&process.log, 5).await;
    for _ in 0..40 {
        owners.append().await;
    }
    let until = ends(&*process.log, &stock::stock_v1()).await.unwrap();
    read_models.live(stock::STOCK).unwrap().wait_for(&until, PATIENCE).await.unwrap();
    read_models.stop().await;
    forge(&setting, &live).await;
    let read_models = ReadModels::start(process.log.clone(), process.store.handle()).await.unwrap();
    let stopped = async {
        loop {
            let statuses = read_models.statuses();
            let failure = statuses.iter().find_map(|status| status.progress.as_ref()?.failure().cloned());
            match failure {
                Some(failure) => return failure.to_string(),
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    let said = tokio::time::timeout(PATIENCE, stopped).await.unwrap();
    assert!(said.contains("the log is whole, the checkpoint is false; rebuild the read model"), "{said}");
    assert!(!said.contains("restore"), "{said}");
    read_models.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runners_go_on_by_themselves_after_postgresql_was_killed_or_stopped() {
    let mut server = annals_dev::postgres::Server::start().unwrap();
    let database = Some(server.fresh_database().unwrap());
    let setting = Setting { directory: TempDir::new().unwrap(), database };
    let process = Process::serving(&setting).await;
    let first = process.store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    let read_models = ReadModels::start(process.log.clone(), process.store.handle()).await.unwrap();
    let mut owners = Owners::claim(&process.log, 4).await;
    for round in 0..6 {
        for _ in 0..30 {
            owners.append().await;
        }
        if round % 2 == 0 {
            server.kill().unwrap();
            owners.append().await;
            server.restart().unwrap();
        } else {
            server.pause().unwrap();
            owners.append().await;
            server.resume().unwrap();
        }
    }
    let until = ends(&*process.log, &stock::stock_v1()).await.unwrap();
    let reached = async {
        // A runner that gave up for a while says so to whoever waits; it is started again.
        while read_models.live(stock::STOCK).unwrap().wait_for(&until, PATIENCE).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
    match process.verify(&first).await {
        VerifyOutcome::Equal { checkpoints, .. } => assert_eq!(checkpoints.positions(), until),
        other => panic!("{other:?}"),
    }
    read_models.stop().await;
}

macro_rules! on_each_store {
    ($($test:ident),+ $(,)?) => {
        mod in_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::Place::Sqlite).await;
            })+
        }
        mod in_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::Place::Postgres).await;
            })+
        }
    };
}

on_each_store! {
    a_read_model_is_rebuilt_verified_promoted_and_rolled_back_while_events_go_on,
    two_processes_keep_one_generation_current_and_neither_applies_an_event_twice,
    a_process_that_observes_follows_what_another_one_stores_and_promotes,
    a_forged_checkpoint_is_the_read_models_fault_and_not_the_logs,
}
