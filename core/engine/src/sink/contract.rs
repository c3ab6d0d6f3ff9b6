//! What does every registry, and every storage of generations promise? One suite, run on every implementation; a new one is
//! accepted when it passes. A registry keeps what stands in `registry`; a storage what stands in `commits`, `bulk` and
//! `snapshots`; both together, under the one life of generations, what stands in `generations`. A new storage is checked
//! with the test store's registry.
//!
//! A check panics where the promise is broken, as tests do. Nothing here is used in production.

mod bulk;
mod commits;
mod generations;
pub mod history;
mod registry;
mod snapshots;
pub mod stock;

use std::future::Future;
use std::time::Duration;

use annals_model::ids::LogId;
use annals_model::projection::{OwnedValue, ReadModel, RowLife, TableKind, Tables};
use uuid::Uuid;

use self::history::Batch;
use super::{Checkpoints, CommitError, Generation, Sink, StoredRow};
use crate::generations::Generations;
use crate::log::BoxFuture;

/// The log whose positions the store under test stands for.
pub const LOG_ID: LogId = LogId(Uuid::from_u128(0x0106_0000_0000_4000_8000_0000_0000_0001));

/// Longest that a check waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// One promise: its name, and the check that panics if a new, empty store does not keep it.
pub type Check = (&'static str, fn(Generations) -> BoxFuture<'static, ()>);

macro_rules! checks {
    ($($module:ident::$name:ident),+ $(,)?) => {
        /// Every promise.
        pub const CHECKS: &[Check] = &[$((stringify!($name), |store| Box::pin($module::$name(store)))),+];
    };
}

checks! {
    registry::what_is_written_stands_when_the_turn_is_committed_and_never_if_it_is_dropped,
    registry::a_turn_sees_what_the_one_before_it_wrote,
    registry::what_is_not_as_it_was_decided_on_is_not_written,
    registry::processes_are_known_while_they_tell_of_themselves,
    registry::changes_are_told,
    commits::rows_are_what_the_fold_of_the_history_says,
    commits::a_commit_from_another_checkpoint_is_stale_and_changes_nothing,
    commits::rows_rollups_and_checkpoint_move_together_wherever_a_commit_is_dropped,
    commits::a_deleted_row_is_loaded_as_a_tombstone_and_may_come_again,
    commits::partitions_commit_independently,
    commits::nothing_is_committed_to_a_generation_that_is_held_still,
    bulk::a_bulk_load_makes_what_commits_make,
    bulk::commits_go_on_behind_a_bulk_load,
    snapshots::a_snapshot_does_not_see_later_commits,
    snapshots::a_snapshot_delivers_every_row_once_in_key_order,
    generations::the_first_start_makes_one_live_generation,
    generations::only_one_builder_is_at_work,
    generations::a_dead_builders_generation_is_begun_anew,
    generations::a_dead_builders_generation_is_told_from_one_that_is_being_built,
    generations::what_a_verification_found_is_remembered_until_one_succeeds,
    generations::a_failed_build_says_why_and_is_never_promoted,
    generations::a_generation_that_is_behind_is_not_promoted,
    generations::a_promotion_waits_for_the_targets_runner,
    generations::what_the_live_one_shows_before_a_promotion_the_promoted_one_shows_as_well,
    generations::promotion_and_rollback_change_which_is_live,
    generations::only_retired_and_failed_generations_are_removed,
    generations::what_was_live_since_it_was_seen_is_not_removed,
    generations::a_builder_whose_build_was_begun_anew_ends_nothing,
    generations::behind_a_promotion_only_so_many_retired_generations_stay,
}

/// Runs every check on a store of its own, made by `make` for [`LOG_ID`] with [`stock::read_models`].
pub async fn sink_contract<F: Future<Output = Generations>>(make: impl Fn() -> F) {
    for (name, check) in CHECKS {
        tracing::info!(name, "checking");
        let checked = tokio::time::timeout(PATIENCE, check(make().await)).await;
        assert!(checked.is_ok(), "{name}: did not end within {PATIENCE:?}");
    }
}

/// The live generation of a new store.
async fn first(store: &Generations, model: &ReadModel) -> Generation {
    let live = store.ensure_live(model).await.unwrap_or_else(|error| panic!("{error}"));
    live.unwrap_or_else(|| panic!("no live generation"))
}

async fn open(store: &Generations, generation: &Generation) -> Box<dyn Sink> {
    store.open(generation).await.unwrap_or_else(|error| panic!("{error}"))
}

/// What a runner does with a batch.
async fn consume(sink: &mut dyn Sink, model: &ReadModel, batch: &Batch) -> Result<(), CommitError> {
    let mut keys = model.new_key_sets();
    let mut tables = stock::new_tables(model);
    for record in batch.records() {
        model.route(&record, &mut keys).unwrap_or_else(|failure| panic!("{failure}"));
    }
    sink.load(&keys, &mut tables).await?;
    apply(model, batch, &mut tables);
    sink.commit(&tables, batch.at, batch.from, batch.to).await
}

async fn consume_all(sink: &mut dyn Sink, model: &ReadModel, batches: &[Batch]) {
    for batch in batches {
        consume(sink, model, batch).await.unwrap_or_else(|error| panic!("{error}"));
    }
}

fn apply(model: &ReadModel, batch: &Batch, tables: &mut Tables) {
    for record in batch.records() {
        model.apply(&record, tables).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// All of a generation, or what it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// What the rows stand for.
    pub checkpoints: Checkpoints,
    /// Of each table of the read model.
    pub tables: Vec<Vec<StoredRow>>,
}

/// The oracle: what batches make of nothing, by one fold in memory.
fn folded(model: &ReadModel, batches: &[Batch]) -> Whole {
    let mut tables = stock::new_tables(model);
    let mut checkpoints = Checkpoints::start(LOG_ID);
    for batch in batches {
        apply(model, batch, &mut tables);
        checkpoints.set(batch.at, batch.to);
    }
    Whole { checkpoints, tables: rows_of(model, &tables) }
}

/// The rows of tables in memory, rollups from all of them.
pub fn rows_of(model: &ReadModel, tables: &Tables) -> Vec<Vec<StoredRow>> {
    let rows = |index: usize| {
        let keys = tables.sorted_keys(index);
        keys.into_iter().map(move |key| {
            let mut values = Vec::new();
            let life = tables.values(index, &key, &mut values).unwrap_or(RowLife::Deleted);
            StoredRow { key, life, values: values.into_iter().map(|value| value.into_owned()).collect() }
        })
    };
    let groups = |index: usize| {
        tables.rollup_totals(index).into_iter().map(|group| StoredRow {
            key: group.key,
            life: RowLife::Live,
            values: group.group.into_iter().chain(group.measures.into_iter().map(OwnedValue::Int)).collect(),
        })
    };
    let shapes = model.tables().iter();
    shapes
        .map(|shape| match shape.kind {
            TableKind::Rows(index) => rows(index).collect(),
            TableKind::Rollup(index) => groups(index).collect(),
        })
        .collect()
}

/// Everything that a generation holds, in one snapshot.
pub async fn stored(sink: &mut dyn Sink, model: &ReadModel) -> Whole {
    let mut snapshot = sink.snapshot().await.unwrap_or_else(|error| panic!("{error}"));
    let mut tables = Vec::new();
    for table in 0..model.tables().len() {
        let (mut all, mut page) = (Vec::new(), Vec::new());
        loop {
            let after = all.last().map(|row: &StoredRow| row.key);
            snapshot.rows(table, after, &mut page).await.unwrap_or_else(|error| panic!("{error}"));
            if page.is_empty() {
                break;
            }
            all.append(&mut page);
        }
        tables.push(all);
    }
    Whole { checkpoints: snapshot.checkpoints().clone(), tables }
}

#[cfg(test)]
mod tests;
