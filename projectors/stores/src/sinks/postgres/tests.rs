use annals_dev::postgres::{Database, shared};
use annals_engine::sink::contract::history::{Batch, Batches};
use annals_engine::sink::contract::{CHECKS, LOG_ID, stock, stored};
use annals_engine::sink::{Checkpoints, CommitError, Sink};
use annals_model::projection::ReadModel;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use super::*;

mod access;
mod damage;
mod faults;
mod plans;
mod sessions;

fn definitions() -> Vec<Definition> {
    stock::read_models().map(|model| Definition::new(model, &[])).into()
}

fn database() -> Database {
    shared().unwrap().fresh_database().unwrap()
}

async fn store(database: &Database) -> PostgresStore {
    PostgresStore::open(&database.url, definitions(), LOG_ID).await.unwrap()
}

/// A connection of the database's owner, or of another role, beside everything that Annals does.
async fn by_hand(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn run(connection: &mut PgConnection, statements: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(connection).await.map(|_| ())
}

async fn count(connection: &mut PgConnection, from: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {from}"))).fetch_one(connection).await
}

/// What a runner does with a batch.
async fn consume(sink: &mut dyn Sink, model: &ReadModel, batch: &Batch) -> Result<(), CommitError> {
    let mut keys = model.new_key_sets();
    let mut tables = stock::new_tables(model);
    batch.records().for_each(|record| model.route(&record, &mut keys).unwrap());
    sink.load(&keys, &mut tables).await?;
    batch.records().for_each(|record| model.apply(&record, &mut tables).unwrap());
    sink.commit(&tables, batch.at, batch.from, batch.to).await
}

/// A ready generation, without rows.
async fn built(store: &PostgresStore, model: &ReadModel) -> Generation {
    let (generation, _lock) = store.create(model, "a test").await.unwrap();
    let mut sink = store.open(&generation).await.unwrap();
    sink.bulk_finish(&model.new_rollup_totals(), &Checkpoints::start(LOG_ID)).await.unwrap();
    store.finish(&generation, Ok(())).await.unwrap()
}

macro_rules! contract {
    ($($check:ident),+ $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            let database = database();
            let (_, check) = CHECKS.iter().find(|(name, _)| *name == stringify!($check)).unwrap();
            check(store(&database).await.handle()).await;
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
