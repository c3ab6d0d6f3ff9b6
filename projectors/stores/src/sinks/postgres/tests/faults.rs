//! A server that dies, stops, is full or forgets: nothing half done, and work goes on by itself.

use std::time::{Duration, Instant};

use annals_dev::postgres::Server;
use annals_engine::sink::{CreateError, SinkError};

use super::*;

/// Longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

fn is_outage(error: &CommitError) -> bool {
    matches!(error, CommitError::Sink(SinkError::Unavailable { .. }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_down_is_an_outage_and_one_that_comes_back_is_used_again() {
    let mut server = Server::start().unwrap();
    let database = server.fresh_database().unwrap();
    let (store, model) = (store(&database).await, stock::stock_v1());
    let live = store.ensure_live(&model).await.unwrap().unwrap();
    let mut changes = store.changes();
    let mut sink = store.open(&live).await.unwrap();
    let mut shop = Batches::new(21, 0, 1, 12);
    for round in 0..3 {
        let batch = shop.next(20);
        consume(&mut *sink, &model, &batch).await.unwrap();
        store.checkpoints(&live).await.unwrap();
        server.kill().unwrap();
        let lost = shop.next(20);
        for _ in 0..2 {
            let failed = consume(&mut *sink, &model, &lost).await.unwrap_err();
            assert!(is_outage(&failed), "{failed}");
        }
        assert!(matches!(store.list(stock::STOCK).await, Err(StoreError::Unavailable(_))));
        assert!(store.checkpoints(&live).await.is_err());
        let opened = PostgresStore::open(&database.url, definitions(), LOG_ID).await.unwrap_err();
        assert!(opened.is_transient(), "{opened}");
        server.restart().unwrap();
        // What was answered is there, and of the rest nothing.
        assert_eq!(sink.checkpoints().await.unwrap().get(batch.at), batch.to, "round {round}");
        consume(&mut *sink, &model, &lost).await.unwrap();
        assert_eq!(store.checkpoints(&live).await.unwrap().get(batch.at), lost.to);
    }
    changes.mark_unchanged();
    let ready = built(&store, &model).await;
    tokio::time::timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
    assert_eq!(store.list(stock::STOCK).await.unwrap().len(), 2);
    drop(ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_stopped_is_not_waited_for_without_end() {
    let server = Server::start().unwrap();
    let database = server.fresh_database().unwrap();
    let (store, model) = (store(&database).await, stock::stock_v1());
    let live = store.ensure_live(&model).await.unwrap().unwrap();
    let mut sink = store.open(&live).await.unwrap();
    let batch = Batches::new(22, 0, 1, 12).next(20);
    store.checkpoints(&live).await.unwrap();
    server.pause().unwrap();
    let began = Instant::now();
    let (committed, listed, looked) =
        tokio::join!(consume(&mut *sink, &model, &batch), store.list(stock::STOCK), store.checkpoints(&live),);
    let took = began.elapsed();
    server.resume().unwrap();
    assert!(is_outage(&committed.unwrap_err()));
    assert!(matches!(listed, Err(StoreError::Unavailable(_))), "{listed:?}");
    assert!(looked.is_err());
    assert!(took < Duration::from_millis(2 * limits::STORE_ANSWER_MS_MAX), "{took:?}");
    // What was given up did not happen, or did: the checkpoint tells. Here nothing had been sent.
    let stands = sink.checkpoints().await.unwrap().get(batch.at);
    assert_eq!(stands, batch.from);
    consume(&mut *sink, &model, &batch).await.unwrap();
    assert_eq!(store.checkpoints(&live).await.unwrap().get(batch.at), batch.to);
}

#[tokio::test]
async fn a_writer_that_was_stopped_inside_its_transaction_does_not_keep_the_others_for_long() {
    let database = database();
    let (store, model) = (store(&database).await, stock::stock_v1());
    let live = store.ensure_live(&model).await.unwrap().unwrap();
    let mut sink = store.open(&live).await.unwrap();
    let mut shop = Batches::new(23, 0, 1, 12);
    consume(&mut *sink, &model, &shop.next(5)).await.unwrap();
    // As a writer's connection is set up, with the row of the partition's checkpoint locked, and then nothing more.
    let mut stopped = connect::connect(&store.storage.address.writer()).await.unwrap();
    run(&mut stopped, "BEGIN; SELECT FROM stock_g1.annals_checkpoints FOR UPDATE").await.unwrap();
    consume(&mut *sink, &model, &shop.next(5)).await.unwrap();
    run(&mut stopped, "COMMIT").await.unwrap_err();
}

#[tokio::test]
async fn connections_that_died_are_replaced_by_others() {
    let (server, database) = (shared().unwrap(), database());
    let (store, model) = (store(&database).await, stock::stock_v1());
    let live = store.ensure_live(&model).await.unwrap().unwrap();
    let mut sink = store.open(&live).await.unwrap();
    let mut shop = Batches::new(24, 0, 1, 12);
    consume(&mut *sink, &model, &shop.next(5)).await.unwrap();
    store.checkpoints(&live).await.unwrap();
    let all = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", database.name);
    server.sql("postgres", &all).unwrap();
    let batch = shop.next(5);
    assert!(is_outage(&consume(&mut *sink, &model, &batch).await.unwrap_err()));
    consume(&mut *sink, &model, &batch).await.unwrap();
    assert_eq!(store.checkpoints(&live).await.unwrap().get(batch.at), batch.to);
    assert_eq!(store.list(stock::STOCK).await.unwrap(), [live]);
}

/// A full disk is PostgreSQL's error of class 53, wherever it comes up; a trigger raises it here, the disk does not.
#[tokio::test]
async fn a_commit_that_found_no_room_changes_nothing_and_can_be_tried_again() {
    let database = database();
    let (store, model) = (store(&database).await, stock::stock_v1());
    let live = store.ensure_live(&model).await.unwrap().unwrap();
    let mut sink = store.open(&live).await.unwrap();
    let mut owner = by_hand(&database.url).await;
    let full = "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
                CREATE TRIGGER no_room BEFORE UPDATE ON stock_g1.annals_checkpoints EXECUTE FUNCTION no_room()";
    run(&mut owner, full).await.unwrap();
    let batch = Batches::new(25, 0, 1, 12).next(20);
    for _ in 0..2 {
        let failed = consume(&mut *sink, &model, &batch).await.unwrap_err();
        assert!(is_outage(&failed) && failed.to_string().contains("SQLSTATE 53100"), "{failed}");
    }
    let whole = stored(&mut *sink, &model).await;
    assert!(whole.tables.iter().all(Vec::is_empty) && whole.checkpoints.get(batch.at) == batch.from);
    run(&mut owner, "DROP TRIGGER no_room ON stock_g1.annals_checkpoints").await.unwrap();
    consume(&mut *sink, &model, &batch).await.unwrap();
}

#[tokio::test]
async fn a_builder_that_lost_its_lock_cannot_spoil_what_the_next_one_builds() {
    let (server, database) = (shared().unwrap(), database());
    let (store, model) = (store(&database).await, stock::stock_v1());
    let (first, _lock) = store.create(&model, "one").await.unwrap();
    let mut sink = store.open(&first).await.unwrap();
    assert!(matches!(store.create(&model, "two").await, Err(CreateError::AlreadyRunning { .. })));
    let holders = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    server.sql(&database.name, holders).unwrap();
    let (second, _lock) = store.create(&model, "two").await.unwrap();
    assert_eq!(second.id, first.id);
    for _ in 0..2 {
        // The first time it may find its tables gone under its feet.
        let loaded = sink.bulk_load(&[]).await.unwrap_err();
        assert!(loaded.to_string().contains("another builder has begun it anew"), "{loaded}");
    }
    sink.bulk_finish(&model.new_rollup_totals(), &Checkpoints::start(LOG_ID)).await.unwrap_err();
    store.finish(&first, Ok(())).await.unwrap_err();
    let mut sink = store.open(&second).await.unwrap();
    sink.bulk_finish(&model.new_rollup_totals(), &Checkpoints::start(LOG_ID)).await.unwrap();
    store.finish(&second, Ok(())).await.unwrap();
}

#[tokio::test]
async fn rows_that_postgresql_cannot_hold_are_refused_and_lost_tables_are_damage() {
    let database = database();
    let (store, model) = (store(&database).await, stock::stock_v1());
    let live = store.ensure_live(&model).await.unwrap().unwrap();
    let mut owner = by_hand(&database.url).await;
    let mut sink = store.open(&live).await.unwrap();
    let mut shop = Batches::new(26, 0, 1, 12);
    run(&mut owner, "ALTER TABLE stock_g1.items ADD CHECK (name = '')").await.unwrap();
    match consume(&mut *sink, &model, &shop.next(20)).await {
        Err(CommitError::Sink(SinkError::Refused { table, cause, .. })) => {
            assert!(table == "items" && cause.contains("SQLSTATE 23514"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
    run(&mut owner, "DROP SCHEMA stock_g1 CASCADE").await.unwrap();
    let lost = sink.checkpoints().await.unwrap_err();
    assert!(matches!(lost, SinkError::Damaged { .. }), "{lost}");
    let opened = store.open(&live).await.unwrap_err();
    assert!(matches!(opened, StoreError::Sink(SinkError::Damaged { .. })), "{opened}");
}
