//! Files that somebody broke: the live generation's, and the registry's.

use std::path::{Path, PathBuf};

use annals_engine::generations::keep::Keep;
use annals_engine::generations::retention::drop_old;
use annals_engine::rebuild::{Why, plan};
use annals_engine::sink::Generation;
use sqlx::ConnectOptions as _;

use super::*;

const DAMAGES: [&str; 5] = ["missing", "empty", "garbage", "cut in half", "without its tables"];

/// Breaks a database file; nothing of it lies in a write-ahead log.
async fn damage(path: &Path, how: &str) {
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    let whole = std::fs::read(path).unwrap();
    match how {
        "missing" => std::fs::remove_file(path).unwrap(),
        "empty" => std::fs::write(path, b"").unwrap(),
        "garbage" => std::fs::write(path, [0x5a; 9_000]).unwrap(),
        "cut in half" => std::fs::write(path, &whole[..whole.len() / 2]).unwrap(),
        _ => {
            let mut connection = connect::writer(path).connect().await.unwrap();
            sqlx::raw_sql("DROP TABLE annals_checkpoints; DROP TABLE items").execute(&mut connection).await.unwrap();
            sqlx::Connection::close(connection).await.unwrap();
        }
    }
}

fn file_of(directory: &TempDir, generation: &Generation) -> PathBuf {
    directory.path().join(format!("read-models/stock/gen-{}.db", generation.id))
}

async fn built(store: &SqliteStore) -> Generation {
    let model = stock::stock_v1();
    let (generation, _lock) = store.create(&model, "a test").await.unwrap();
    let mut sink = store.open(&generation).await.unwrap();
    sink.bulk_finish(&model.new_rollup_totals(), &Checkpoints::start(LOG_ID)).await.unwrap();
    store.finish(&generation, Ok(())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_generation_that_cannot_be_read_is_damage_and_gives_way_to_any_other() {
    for how in DAMAGES {
        let directory = TempDir::new().unwrap();
        let store = store(&directory).await;
        let live = store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
        // Whoever had it open goes on with what is not there any more; who asks anew is told.
        let open = store.readers(&live).await.unwrap();
        sqlx::query("SELECT 1").execute(&open).await.unwrap();
        store.probe(&live).await.unwrap();
        open.close().await;
        damage(&file_of(&directory, &live), how).await;
        for found in [store.probe(&live).await.map(|_| ()), store.open(&live).await.map(|_| ())] {
            let damaged = matches!(found, Err(StoreError::Sink(SinkError::Damaged { .. } | SinkError::Shape { .. })));
            assert!(damaged, "{how}: {found:?}");
        }
        let log = annals_engine::log::memory::MemoryLog::new(&[stock::SHOP]);
        let planned = plan(&*log, &store, &stock::stock_v1(), None).await.unwrap();
        assert!(matches!(planned.why, Why::LiveUnusable { .. }), "{how}: {:?}", planned.why);
        let ready = built(&store).await;
        let promoted = store.promote(stock::STOCK, ready.id).await.unwrap_or_else(|error| panic!("{how}: {error}"));
        assert_eq!((promoted.live.id, promoted.retired.map(|retired| retired.id)), (ready.id, Some(live.id)));
        store.probe(&ready).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_cannot_be_read_is_damage_and_no_outage() {
    for how in ["garbage", "cut in half"] {
        let directory = TempDir::new().unwrap();
        let first = store(&directory).await;
        first.ensure_live(&stock::stock_v1()).await.unwrap();
        first.registry.pool.close().await;
        drop(first);
        damage(&directory.path().join("read-models/registry.db"), how).await;
        let opened = SqliteStore::open(directory.path(), definitions(), LOG_ID).await.map(|_| ());
        assert!(matches!(opened, Err(StoreError::Damaged(_))), "{how}: {opened:?}");
    }
}

#[tokio::test]
async fn a_registry_of_an_older_build_is_opened_and_an_older_build_still_writes_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("read-models/registry.db");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut older = connect::registry(&path).connect().await.unwrap();
    let tables = "
        CREATE TABLE read_models (name TEXT NOT NULL PRIMARY KEY, last_generation INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE generations (
            read_model TEXT NOT NULL REFERENCES read_models (name), id INTEGER NOT NULL, version INTEGER NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('building', 'ready', 'live', 'retired', 'failed')),
            started_at INTEGER NOT NULL, finished_at INTEGER, retired_at INTEGER,
            verified_digest TEXT, reason TEXT, failure TEXT, PRIMARY KEY (read_model, id)
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX one_is_live ON generations (read_model) WHERE state = 'live';
        CREATE UNIQUE INDEX one_is_building ON generations (read_model) WHERE state = 'building';
        INSERT INTO read_models VALUES ('stock', 3);
        INSERT INTO generations VALUES ('stock', 3, 1, 'retired', 1, 2, 3, 'cafe', 'by hand', NULL);";
    sqlx::raw_sql(tables).execute(&mut older).await.unwrap();
    let store = store(&directory).await;
    let found = store.list(stock::STOCK).await.unwrap();
    assert_eq!((found[0].id.0, found[0].verified_digest.as_deref(), &found[0].mismatch), (3, Some("cafe"), &None));
    store.record_mismatch(&found[0], "1 row").await.unwrap();
    sqlx::raw_sql(
        "INSERT OR REPLACE INTO generations VALUES ('stock', 3, 1, 'live', 1, 2, NULL, 'cafe', 'by hand', NULL)",
    )
    .execute(&mut older)
    .await
    .unwrap();
    assert_eq!(store.live(stock::STOCK).await.unwrap().unwrap().mismatch.as_deref(), Some("1 row"));
    // Its life goes on from there.
    let next = built(&store).await;
    let promoted = store.promote(stock::STOCK, next.id).await.unwrap();
    let retired = promoted.retired.unwrap();
    assert_eq!((promoted.live.id.0, retired.id.0, retired.mismatch.as_deref()), (4, 3, Some("1 row")));
    store.remove(&retired).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generation_whose_files_cannot_be_removed_stays_known_and_goes_behind_the_next_promotion() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let first = store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    for _ in 0..2 {
        let next = built(&store).await;
        store.promote(stock::STOCK, next.id).await.unwrap();
    }
    // A folder in the place of a file: that nobody removes.
    let file = file_of(&directory, &first);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let numbers = |all: &[Generation]| all.iter().map(|generation| generation.id.0).collect::<Vec<_>>();
    let dropped = drop_old(&store, stock::STOCK, Keep::default()).await.unwrap();
    let left: Vec<_> = dropped.left.iter().map(|(generation, error)| (generation.id.0, error.to_string())).collect();
    assert_eq!((numbers(&dropped.gone), left.len(), left[0].0), (Vec::new(), 1, 1));
    assert!(left[0].1.contains("its files cannot be removed"), "{left:?}");
    assert_eq!(numbers(&store.list(stock::STOCK).await.unwrap()), [1, 2, 3]);
    std::fs::remove_dir(&file).unwrap();
    let next = built(&store).await;
    store.promote(stock::STOCK, next.id).await.unwrap();
    let dropped = drop_old(&store, stock::STOCK, Keep::default()).await.unwrap();
    assert_eq!((numbers(&dropped.gone), dropped.left.len()), (vec![1, 2], 0));
    assert_eq!(numbers(&store.list(stock::STOCK).await.unwrap()), [3, 4]);
    let files = std::fs::read_dir(directory.path().join("read-models/stock")).unwrap();
    let of_old = |name: &String| name.starts_with("gen-1.") || name.starts_with("gen-2.");
    let left: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).filter(of_old).collect();
    assert_eq!(left, [""; 0]);
}
