//! A live schema that somebody dropped or emptied, and registries of other builds.

use annals_engine::generations::keep::Keep;
use annals_engine::generations::retention::drop_old;
use annals_engine::sink::SinkError;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_generation_that_cannot_be_read_is_damage_and_gives_way_to_any_other() {
    for harm in [
        "DROP SCHEMA stock_g1 CASCADE",
        "DROP TABLE stock_g1.annals_checkpoints",
        "DROP TABLE stock_g1.annals_meta",
        "DELETE FROM stock_g1.annals_meta",
        "DROP TABLE stock_g1.items CASCADE",
    ] {
        let database = database();
        let (store, model) = (store(&database).await, stock::stock_v1());
        let live = store.ensure_live(&model).await.unwrap().unwrap();
        store.probe(&live).await.unwrap();
        run(&mut by_hand(&database.url).await, harm).await.unwrap();
        let found = store.probe(&live).await;
        let damaged = matches!(found, Err(StoreError::Sink(SinkError::Damaged { .. } | SinkError::Shape { .. })));
        assert!(damaged, "{harm}: {found:?}");
        let ready = built(&store, &model).await;
        let promoted = store.promote(stock::STOCK, ready.id).await.unwrap_or_else(|error| panic!("{harm}: {error}"));
        assert_eq!((promoted.live.id, promoted.retired.map(|retired| retired.id)), (ready.id, Some(live.id)));
        store.probe(&ready).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_of_an_older_build_is_opened_and_an_older_build_still_writes_it() {
    let database = database();
    let live = store(&database).await.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    let mut older = by_hand(&database.url).await;
    run(&mut older, "DROP TABLE annals.mismatches; DROP TABLE annals.processes").await.unwrap();
    let store = store(&database).await;
    store.record_mismatch(&live, "1 row").await.unwrap();
    let puts = "INSERT INTO annals.generations
                    (read_model, id, version, state, started_at, finished_at, retired_at, verified_digest, reason, failure)
                SELECT * FROM annals.generations
                ON CONFLICT (read_model, id) DO UPDATE SET
                    (read_model, id, version, state, started_at, finished_at, retired_at, verified_digest, reason, failure)
                    = ROW (excluded.*)";
    run(&mut older, puts).await.unwrap();
    assert_eq!(store.live(stock::STOCK).await.unwrap().unwrap().mismatch.as_deref(), Some("1 row"));
    assert_eq!(store.registry().processes().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generation_that_somebody_reads_stays_known_and_goes_another_time() {
    let database = database();
    let (store, model) = (store(&database).await, stock::stock_v1());
    store.ensure_live(&model).await.unwrap().unwrap();
    for _ in 0..2 {
        let next = built(&store, &model).await;
        store.promote(stock::STOCK, next.id).await.unwrap();
    }
    let (mut reader, mut looking) = (by_hand(&database.url).await, by_hand(&database.url).await);
    let mut reading = reader.begin().await.unwrap();
    run(&mut reading, "LOCK TABLE stock_g1.items IN ACCESS SHARE MODE").await.unwrap();
    let numbers = |all: &[Generation]| all.iter().map(|generation| generation.id.0).collect::<Vec<_>>();
    let dropped = drop_old(&store, stock::STOCK, Keep::default()).await.unwrap();
    let left: Vec<_> = dropped.left.iter().map(|(generation, error)| (generation.id.0, error)).collect();
    assert_eq!((numbers(&dropped.gone), left.len(), left[0].0), (Vec::new(), 1, 1));
    assert!(left[0].1.is_transient() && left[0].1.to_string().contains("stock_g1 cannot be dropped"), "{left:?}");
    assert_eq!(numbers(&store.list(stock::STOCK).await.unwrap()), [1, 2, 3]);
    assert!(count(&mut looking, "pg_namespace WHERE nspname = 'stock_g1'").await.unwrap() == 1);
    reading.rollback().await.unwrap();
    let dropped = drop_old(&store, stock::STOCK, Keep::default()).await.unwrap();
    assert_eq!((numbers(&dropped.gone), dropped.left.len()), (vec![1], 0));
    assert_eq!(numbers(&store.list(stock::STOCK).await.unwrap()), [2, 3]);
    assert!(count(&mut looking, "pg_namespace WHERE nspname = 'stock_g1'").await.unwrap() == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_is_none_is_damage_and_not_a_row() {
    for number in ["NaN", "Infinity"] {
        let database = database();
        let store = store(&database).await;
        let live = store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
        let id = "'00000000-0000-0000-0000-000000000001'";
        let text = format!(
            "SET annals.writer = 'on';
             INSERT INTO stock_g1.items VALUES
                 ({id}, {id}, {id}, 'nail', 'front', NULL, false, {id}, now(), '{number}', '{{}}', 1, false)"
        );
        run(&mut by_hand(&database.url).await, &text).await.unwrap();
        let mut snapshot = store.open(&live).await.unwrap().snapshot().await.unwrap();
        match snapshot.rows(0, None, &mut Vec::new()).await {
            Err(SinkError::Damaged { table, cause, .. }) => {
                assert_eq!(table, "items");
                assert!(cause.contains("weight") && cause.contains("not a finite number"), "{cause}");
            }
            other => panic!("{other:?}"),
        }
    }
}
