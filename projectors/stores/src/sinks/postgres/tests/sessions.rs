//! No statement outlives whoever asked, and a slow one is told as what it is.

use std::time::Duration;

use annals_dev::postgres::Server;
use annals_engine::sink::SinkError;

use super::*;

/// Longest that anything is waited for: far less than the statements here would run.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is at work on a database, besides this very question.
fn at_work(server: &Server, database: &Database) -> Vec<String> {
    let asked = format!(
        "SELECT application_name || ': ' || query FROM pg_stat_activity
         WHERE datname = '{}' AND state = 'active' AND application_name LIKE 'annals%'",
        database.name
    );
    server.sql("postgres", &asked).unwrap().lines().map(ToOwned::to_owned).collect()
}

/// Sessions of writers of the first generation.
fn writers(server: &Server, database: &Database) -> usize {
    let asked = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name LIKE 'annals stock_g1 %'",
        database.name
    );
    server.sql("postgres", &asked).unwrap().parse().unwrap()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Lets the first of all writes to a table take ten minutes.
async fn slow_down(database: &Database) {
    let slow = "CREATE SEQUENCE written; GRANT USAGE ON written TO PUBLIC;
                CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN IF nextval('written') = 1 THEN PERFORM pg_sleep(600); END IF; RETURN NEW; END $$;
                CREATE TRIGGER slow BEFORE INSERT ON stock_g1.items FOR EACH STATEMENT EXECUTE FUNCTION slow()";
    run(&mut by_hand(&database.url).await, slow).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_statement_is_ended_and_told_as_one_and_no_silent_server_is_blamed() {
    let (server, database) = (shared().unwrap(), database());
    let (store, model) = (store(&database).await, stock::stock_v1());
    let live = store.ensure_live(&model).await.unwrap().unwrap();
    let mut sink = store.open(&live).await.unwrap();
    slow_down(&database).await;
    let batch = Batches::new(31, 0, 1, 12).next(20);
    match consume(&mut *sink, &model, &batch).await {
        Err(CommitError::Sink(SinkError::Unavailable { cause, .. })) => {
            assert!(
                cause.starts_with("the statement took longer than 8 s and was ended (PostgreSQL says: "),
                "{cause}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(at_work(server, &database), [""; 0]);
    consume(&mut *sink, &model, &batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_whose_work_was_dropped_goes_on_when_it_has_ended() {
    let (server, database) = (shared().unwrap(), database());
    let (store, model) = (store(&database).await, stock::stock_v1());
    let live = store.ensure_live(&model).await.unwrap().unwrap();
    let mut sink = store.open(&live).await.unwrap();
    slow_down(&database).await;
    let batch = Batches::new(32, 0, 1, 12).next(20);
    tokio::select! {
        consumed = consume(&mut *sink, &model, &batch) => panic!("{consumed:?}"),
        () = until("the slow statement", || at_work(server, &database).iter().any(|one| one.contains("INSERT"))) => {}
    }
    // It holds the row of the checkpoint: nothing could be written before it has ended.
    consume(&mut *sink, &model, &batch).await.unwrap();
    assert_eq!(writers(server, &database), 1);
    assert_eq!(at_work(server, &database), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_ends_with_its_client_also_where_it_may_take_an_hour() {
    let (server, database) = (shared().unwrap(), database());
    let store = store(&database).await;
    for options in [store.storage.address.builder(), store.storage.address.snapshot(), store.storage.address.registry()]
    {
        let mut connection = connect::connect(&options).await.unwrap();
        // As a process that ended leaves it: the future is dropped, and the socket with it.
        run(&mut connection, "SET statement_timeout = 0").await.unwrap();
        tokio::select! {
            slept = run(&mut connection, "SELECT pg_sleep(600)") => panic!("{slept:?}"),
            () = until("at work", || !at_work(server, &database).is_empty()) => {}
        }
        drop(connection);
        until("the end of it", || at_work(server, &database).is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_nobody_waits_for_ends_with_its_session() {
    let (server, database) = (shared().unwrap(), database());
    let store = store(&database).await;
    let live = store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    let readers = store.readers(&live).await.unwrap();
    let mut reader = readers.acquire().await.unwrap();
    run(reader.connection(), "SET statement_timeout = 0").await.unwrap();
    tokio::select! {
        slept = run(reader.connection(), "SELECT pg_sleep(600)") => panic!("{slept:?}"),
        () = until("at work", || !at_work(server, &database).is_empty()) => {}
    }
    drop(reader);
    until("the end of it", || at_work(server, &database).is_empty()).await;
    assert_eq!(readers.pool.num_idle(), 0);
    // One that was answered serves on.
    let mut reader = readers.acquire().await.unwrap();
    let answered = run(reader.connection(), "SELECT 1").await;
    reader.answered(&answered);
    drop(reader);
    until("it is free again", || readers.pool.num_idle() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_bounds_its_statements_and_what_they_wait_for() {
    let database = database();
    let store = store(&database).await;
    let address = &store.storage.address;
    let minute = limits::BULK_FINISH_MS_MAX;
    let client = limits::STORE_ANSWER_MS_MAX;
    for (options, statement_ms_max) in [
        (address.writer(), client),
        (address.snapshot(), client),
        (address.registry(), client),
        (address.reader(), client),
        (address.builder(), minute),
    ] {
        let mut connection = connect::connect(&options).await.unwrap();
        for (name, ms_max) in [
            ("statement_timeout", statement_ms_max),
            ("lock_timeout", client),
            ("idle_in_transaction_session_timeout", limits::SNAPSHOT_IDLE_MS_MAX),
            ("client_connection_check_interval", client),
            ("tcp_user_timeout", 3 * client),
        ] {
            let asked = AssertSqlSafe(format!("SELECT setting::bigint FROM pg_settings WHERE name = '{name}'"));
            let ms: i64 = sqlx::query_scalar(asked).fetch_one(&mut connection).await.unwrap();
            assert!(ms > 0 && ms.cast_unsigned() <= ms_max, "{name} = {ms}");
        }
    }
}

/// The writer is in the middle of a statement when the server stops, gives it up, and tries again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_pause_of_the_server_a_writer_goes_on_with_one_session() {
    let server = Server::start().unwrap();
    let database = server.fresh_database().unwrap();
    let (store, model) = (store(&database).await, stock::stock_v1());
    let live = store.ensure_live(&model).await.unwrap().unwrap();
    let mut sink = store.open(&live).await.unwrap();
    slow_down(&database).await;
    let mut shop = Batches::new(33, 0, 1, 12);
    let batch = shop.next(20);
    let pausing = async {
        until("the slow statement", || at_work(&server, &database).iter().any(|one| one.contains("INSERT"))).await;
        server.pause().unwrap();
    };
    let (given_up, ()) = tokio::join!(consume(&mut *sink, &model, &batch), pausing);
    match given_up {
        Err(CommitError::Sink(SinkError::Unavailable { cause, .. })) => {
            assert_eq!(cause, "no answer from PostgreSQL within 10 s; what it was asked is given up");
        }
        other => panic!("{other:?}"),
    }
    // Each try may leave a connection that the server accepts when it goes on.
    for _ in 0..2 {
        consume(&mut *sink, &model, &batch).await.unwrap_err();
    }
    server.resume().unwrap();
    let mut next = batch;
    for _ in 0..20 {
        while consume(&mut *sink, &model, &next).await.is_err() {}
        assert!(writers(&server, &database) <= 2, "one at work, one that has just been given up");
        next = shop.next(20);
    }
    until("one session", || writers(&server, &database) == 1).await;
    assert_eq!(store.checkpoints(&live).await.unwrap().get(next.at), next.from);
}
