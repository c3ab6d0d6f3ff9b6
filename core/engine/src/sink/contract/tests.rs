use std::panic::AssertUnwindSafe;

use annals_model::ids::{ContextId, Partition};
use annals_model::position::{Checkpoint, ContextPartition, Offset};
use futures_util::FutureExt as _;

use super::*;
use crate::sink::memory::{Bug, MemoryStore};

fn store(bug: Option<Bug>) -> Generations {
    MemoryStore::with(stock::read_models(), LOG_ID, bug).handle()
}

#[tokio::test]
async fn the_test_store_keeps_the_contract() {
    sink_contract(async || store(None)).await;
}

macro_rules! finds {
    ($(fn $test:ident($bug:ident) => $check:literal;)+) => {$(
        #[tokio::test]
        async fn $test() {
            let (_, check) = CHECKS.iter().find(|(name, _)| *name == $check).unwrap();
            let checked = AssertUnwindSafe(check(store(Some(Bug::$bug)))).catch_unwind().await;
            assert!(checked.is_err(), "the store with the bug passes");
        }
    )+};
}

finds! {
    fn the_contract_finds_a_checkpoint_outside_of_the_transaction(CheckpointApart) =>
        "rows_rollups_and_checkpoint_move_together_wherever_a_commit_is_dropped";
    fn the_contract_finds_a_stale_commit_that_is_accepted(StaleAccepted) =>
        "a_commit_from_another_checkpoint_is_stale_and_changes_nothing";
    fn the_contract_finds_a_rollup_outside_of_the_transaction(RollupApart) =>
        "rows_rollups_and_checkpoint_move_together_wherever_a_commit_is_dropped";
    fn the_contract_finds_a_lost_tombstone(TombstoneLost) =>
        "a_deleted_row_is_loaded_as_a_tombstone_and_may_come_again";
    fn the_contract_finds_a_promotion_that_goes_back(PromotesBehind) =>
        "a_generation_that_is_behind_is_not_promoted";
    fn the_contract_finds_a_snapshot_that_moves(SnapshotMoves) =>
        "a_snapshot_does_not_see_later_commits";
    fn the_contract_finds_two_builders(BuilderNotAlone) =>
        "only_one_builder_is_at_work";
    fn the_contract_finds_a_removal_of_what_was_live_in_between(RetiredAtKept) =>
        "what_was_live_since_it_was_seen_is_not_removed";
    fn the_contract_finds_a_builder_that_ends_anothers_build(BegunAnewUnseen) =>
        "a_builder_whose_build_was_begun_anew_ends_nothing";
    fn the_contract_finds_a_turn_that_writes_over_what_changed(WritesOverWhatChanged) =>
        "what_is_not_as_it_was_decided_on_is_not_written";
    fn the_contract_finds_a_live_generation_that_moves_on(NotHeldStill) =>
        "nothing_is_committed_to_a_generation_that_is_held_still";
    fn the_contract_finds_turns_that_overlap(TurnsOverlap) =>
        "a_turn_sees_what_the_one_before_it_wrote";
    fn the_contract_finds_what_stands_before_it_is_committed(WritesAtOnce) =>
        "what_is_written_stands_when_the_turn_is_committed_and_never_if_it_is_dropped";
}

#[test]
fn only_contexts_that_are_read_are_compared() {
    let other = ContextId { number: 204, name: "other" };
    let at = ContextPartition { context: other, partition: Partition(0) };
    let mut ahead = Checkpoints::start(LOG_ID);
    ahead.set(at, Checkpoint { offset: Offset(9), ..Checkpoint::default() });
    let here = Checkpoints::start(LOG_ID);
    assert_eq!(here.behind(&ahead, |number| number != other.number), []);
    assert_eq!(here.behind(&ahead, |_| true).len(), 1);
}
