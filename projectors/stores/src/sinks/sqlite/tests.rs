use annals_engine::sink::contract::{CHECKS, LOG_ID, stock};
use annals_engine::sink::{SinkError, StoreError};
use annals_model::ids::{LogId, Partition};
use annals_model::position::{Checkpoint, ContextPartition, Offset, Ordinal};
use annals_model::projection::KeyRange;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

mod damage;
mod plans;

fn definitions() -> Vec<Definition> {
    stock::read_models().map(|model| Definition::new(model, &[])).into()
}

async fn store(directory: &TempDir) -> SqliteStore {
    SqliteStore::open(directory.path(), definitions(), LOG_ID).await.unwrap()
}

/// The first generation's file, beside its writer.
async fn by_hand(directory: &TempDir) -> SqliteConnection {
    let options = connect::writer(&directory.path().join("read-models/stock/gen-1.db"));
    sqlx::ConnectOptions::connect(&options).await.unwrap()
}

macro_rules! contract {
    ($($check:ident),+ $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            let directory = TempDir::new().unwrap();
            let (_, check) = CHECKS.iter().find(|(name, _)| *name == stringify!($check)).unwrap();
            check(store(&directory).await.handle()).await;
        })+

        #[test]
        fn every_promise_of_the_contract_is_checked_here() {
            let named = [$(stringify!($check)),+];
            let missing: Vec<_> = CHECKS.iter().map(|(name, _)| *name).filter(|name| !named.contains(name)).collect();
            assert_eq!(missing, [""; 0]);
        }
    };
}

contract! {
    rows_are_what_the_fold_of_the_history_says,
    a_commit_from_another_checkpoint_is_stale_and_changes_nothing,
    rows_rollups_and_checkpoint_move_together_wherever_a_commit_is_dropped,
    a_deleted_row_is_loaded_as_a_tombstone_and_may_come_again,
    partitions_commit_independently,
    a_bulk_load_makes_what_commits_make,
    commits_go_on_behind_a_bulk_load,
    a_snapshot_does_not_see_later_commits,
    a_snapshot_delivers_every_row_once_in_key_order,
    the_first_start_makes_one_live_generation,
    only_one_builder_is_at_work,
    a_dead_builders_generation_is_begun_anew,
    nothing_is_committed_to_a_generation_that_is_held_still,
    what_is_written_stands_when_the_turn_is_committed_and_never_if_it_is_dropped,
    a_turn_sees_what_the_one_before_it_wrote,
    what_is_not_as_it_was_decided_on_is_not_written,
    a_dead_builders_generation_is_told_from_one_that_is_being_built,
    what_a_verification_found_is_remembered_until_one_succeeds,
    processes_are_known_while_they_tell_of_themselves,
    a_failed_build_says_why_and_is_never_promoted,
    a_generation_that_is_behind_is_not_promoted,
    a_promotion_waits_for_the_targets_runner,
    what_the_live_one_shows_before_a_promotion_the_promoted_one_shows_as_well,
    promotion_and_rollback_change_which_is_live,
    only_retired_and_failed_generations_are_removed,
    what_was_live_since_it_was_seen_is_not_removed,
    a_builder_whose_build_was_begun_anew_ends_nothing,
    behind_a_promotion_only_so_many_retired_generations_stay,
    changes_are_told,
}

#[tokio::test]
async fn another_process_sees_the_same_generations_and_is_told_of_changes() {
    let directory = TempDir::new().unwrap();
    let (here, there) = (store(&directory).await, store(&directory).await);
    let mut changes = there.changes();
    // The first look tells; only what comes behind it counts.
    changes.changed().await.unwrap();
    let live = here.ensure_live(&stock::stock_v1()).await.unwrap();
    changes.changed().await.unwrap();
    assert_eq!(there.live(stock::STOCK).await, Ok(live.clone()));
    assert_eq!(there.ensure_live(&stock::stock_v1()).await, Ok(live));
    let (_, _lock) = here.create(&stock::stock_v2(), "here").await.unwrap();
    assert!(there.create(&stock::stock_v2(), "there").await.is_err());
}

#[tokio::test]
async fn tables_that_differ_from_the_definition_are_refused_by_name() {
    let ddl = ddl::tables(&stock::stock_v2());
    let cases = [
        (ddl.replace("moves bigint", "moved bigint"), "table `items`: column `moves` is missing"),
        (
            ddl.replace("moves bigint NOT NULL", "moves bigint"),
            "table `items`: column `moves` is bigint, the definition needs bigint NOT NULL",
        ),
        (
            ddl.replace("moves bigint", "moves text"),
            "table `items`: column `moves` is text NOT NULL, the definition needs bigint NOT NULL",
        ),
        (
            ddl.replace("moves bigint", "colour text NOT NULL, moves bigint"),
            "table `items`: column `colour` is not in the definition",
        ),
        (ddl.replace("deleted boolean NOT NULL,", ""), "table `items`: column `deleted` is missing"),
        (
            ddl.replace("PRIMARY KEY (tenant_id, workspace_id, id)", "PRIMARY KEY (id, tenant_id, workspace_id)"),
            "table `items`: column `id` is uuid NOT NULL (place 1 in the primary key), the definition needs \
             uuid NOT NULL (place 3 in the primary key)",
        ),
        (ddl.replace("TABLE items", "TABLE things"), "table `items` is missing"),
        (format!("{ddl} CREATE TABLE more (id uuid);"), "table `more` is in no projection and no rollup"),
    ];
    for (other, wanted) in cases {
        assert_ne!(other, ddl);
        let directory = TempDir::new().unwrap();
        let made = store(&directory).await;
        let live = made.ensure_live(&stock::stock_v2()).await.unwrap().unwrap();
        made.open(&live).await.unwrap();
        ddl::run(&mut by_hand(&directory).await, format!("DROP TABLE items; {other}")).await.unwrap();
        match store(&directory).await.open(&live).await {
            Err(StoreError::Sink(SinkError::Shape { difference, .. })) => assert_eq!(difference, wanted),
            opened => panic!("{wanted}: {opened:?}"),
        }
    }
}

#[tokio::test]
async fn a_generation_of_another_log_is_refused_and_gives_way() {
    let directory = TempDir::new().unwrap();
    let model = stock::stock_v1();
    let live = store(&directory).await.ensure_live(&model).await.unwrap().unwrap();
    let other = LogId(Uuid::from_u128(7));
    let restored = SqliteStore::open(directory.path(), definitions(), other).await.unwrap();
    match restored.open(&live).await {
        Err(StoreError::Sink(SinkError::OtherLog { found, log, .. })) => assert_eq!((found, log), (LOG_ID, other)),
        opened => panic!("{opened:?}"),
    }
    let (built, _lock) = restored.create(&model, "restored").await.unwrap();
    let mut sink = restored.open(&built).await.unwrap();
    sink.bulk_finish(&model.new_rollup_totals(), &annals_engine::sink::Checkpoints::start(other)).await.unwrap();
    restored.finish(&built, Ok(())).await.unwrap();
    assert_eq!(restored.promote(stock::STOCK, built.id).await.unwrap().live.id, built.id);
}

#[tokio::test]
async fn indexes_are_there_from_the_first_start_and_after_a_bulk_load() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let model = stock::stock_v1();
    let live = store.ensure_live(&model).await.unwrap().unwrap();
    let (built, _lock) = store.create(&model, "a test").await.unwrap();
    let mut sink = store.open(&built).await.unwrap();
    let nothing = annals_engine::sink::Checkpoints::start(LOG_ID);
    sink.bulk_finish(&model.new_rollup_totals(), &nothing).await.unwrap();
    for generation in [live, built] {
        let readers = store.readers(&generation).await.unwrap();
        let text = "SELECT name FROM sqlite_schema WHERE type = 'index' AND name NOT LIKE 'sqlite%'";
        let indexes: Vec<String> = sqlx::query_scalar(text).fetch_all(&readers).await.unwrap();
        assert_eq!(indexes, ["items_by_name"]);
    }
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let live = store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    let readers = store.readers(&live).await.unwrap();
    let written = sqlx::query("DELETE FROM items").execute(&readers).await.unwrap_err();
    assert!(written.to_string().contains("readonly"), "{written}");
}

#[tokio::test]
async fn a_value_of_another_type_is_damage_and_not_a_row() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let model = stock::stock_v2();
    let live = store.ensure_live(&model).await.unwrap().unwrap();
    let mut by_hand = by_hand(&directory).await;
    let text = "INSERT INTO items VALUES (zeroblob(16), zeroblob(16), zeroblob(16), 'nail', 'many', 0)";
    sqlx::query(text).execute(&mut by_hand).await.unwrap();
    let mut snapshot = store.open(&live).await.unwrap().snapshot().await.unwrap();
    match snapshot.rows(0, None, &mut Vec::new()).await {
        Err(SinkError::Damaged { table, cause, .. }) => {
            assert_eq!(table, "items");
            assert!(cause.contains("column moves") && cause.contains("TEXT where INTEGER belongs"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_number_that_is_none_is_damage_and_not_a_row() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let live = store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    let text = "INSERT INTO items VALUES (zeroblob(16), zeroblob(16), zeroblob(16), 'nail', 'front', NULL, false,
                    zeroblob(16), 0, 9e999, '{}', 1, false)";
    sqlx::query(text).execute(&mut by_hand(&directory).await).await.unwrap();
    let mut snapshot = store.open(&live).await.unwrap().snapshot().await.unwrap();
    match snapshot.rows(0, None, &mut Vec::new()).await {
        Err(SinkError::Damaged { table, cause, .. }) => {
            assert_eq!(table, "items");
            assert!(cause.contains("column weight") && cause.contains("not a finite number"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_commit_that_sqlite_rolled_back_by_itself_can_be_tried_again() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let model = stock::stock_v1();
    let live = store.ensure_live(&model).await.unwrap().unwrap();
    let mut sink = store.open(&live).await.unwrap();
    let mut by_hand = by_hand(&directory).await;
    // As a full disk does it: the statement fails, and the whole transaction is gone.
    let full = "CREATE TRIGGER full BEFORE INSERT ON annals_checkpoints BEGIN SELECT RAISE(ROLLBACK, 'no room'); END";
    sqlx::query(full).execute(&mut by_hand).await.unwrap();
    let at = ContextPartition { context: stock::SHOP, partition: Partition(0) };
    let (from, nothing) = (Checkpoint::default(), model.new_tables(KeyRange::ALL));
    let to = Checkpoint { offset: Offset(5), ordinal: Ordinal(5), ..from };
    for _ in 0..2 {
        let failed = sink.commit(&nothing, at, from, to).await.unwrap_err();
        assert!(failed.to_string().contains("no room"), "{failed}");
        assert_eq!(sink.checkpoints().await.unwrap().get(at), from);
    }
    sqlx::query("DROP TRIGGER full").execute(&mut by_hand).await.unwrap();
    sink.commit(&nothing, at, from, to).await.unwrap();
    assert_eq!(sink.checkpoints().await.unwrap().get(at), to);
}

#[tokio::test]
async fn a_file_that_is_missing_is_damage_and_no_outage() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let live = store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    std::fs::remove_file(directory.path().join("read-models/stock/gen-1.db")).unwrap();
    match store.open(&live).await {
        Err(StoreError::Sink(error @ SinkError::Damaged { .. })) => {
            assert!(error.to_string().contains("is missing; rebuild the read model"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}
