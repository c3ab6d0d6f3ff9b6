//! Commits: all or nothing, and only from the checkpoint that is there.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use annals_model::position::{Checkpoint, ClaimEpoch, Offset, Ordinal};
use annals_model::projection::{ReadModel, RowLife, Tables};

use super::history::{Batch, Batches};
use super::{consume, consume_all, first, folded, open, stock, stored};
use crate::generations::Generations;
use crate::sink::{CommitError, Sink};

pub(super) async fn rows_are_what_the_fold_of_the_history_says(store: Generations) {
    let model = stock::stock_v1();
    let live = first(&store, &model).await;
    let mut shops = [Batches::new(1, 0, 2, 12), Batches::new(2, 1, 2, 12)];
    let mut batches = Vec::new();
    for round in 0..30 {
        let batch = shops[round % 2].next(1 + round * 3);
        // Another writer now and then, as after a restart.
        let mut sink = open(&store, &live).await;
        consume_all(&mut *sink, &model, std::slice::from_ref(&batch)).await;
        batches.push(batch);
        assert_eq!(stored(&mut *sink, &model).await, folded(&model, &batches), "after {} batches", batches.len());
    }
}

pub(super) async fn a_commit_from_another_checkpoint_is_stale_and_changes_nothing(store: Generations) {
    let model = stock::stock_v1();
    let live = first(&store, &model).await;
    let mut shop = Batches::new(3, 0, 1, 12);
    let batches: Vec<Batch> = (0..4).map(|_| shop.next(10)).collect();
    let mut sink = open(&store, &live).await;
    consume_all(&mut *sink, &model, &batches[..2]).await;
    let before = folded(&model, &batches[..2]);
    let at = batches[0].at;
    let stands = batches[1].to;
    let like = |change: fn(&mut Checkpoint)| {
        let mut checkpoint = stands;
        change(&mut checkpoint);
        checkpoint
    };
    let wrong = [
        ("older", batches[1].from),
        ("newer", batches[3].from),
        ("the start", Checkpoint::default()),
        ("another offset", like(|checkpoint| checkpoint.offset = Offset(checkpoint.offset.0 + 1))),
        ("another ordinal", like(|checkpoint| checkpoint.ordinal = Ordinal(checkpoint.ordinal.0 + 1))),
        ("another claim", like(|checkpoint| checkpoint.claim_epoch = ClaimEpoch(checkpoint.claim_epoch.0 + 1))),
    ];
    for (what, from) in wrong {
        let changes = changes(&model, &batches);
        let answer = sink.commit(&changes, at, from, batches[3].to).await;
        assert_eq!(answer, Err(CommitError::Stale { at, from, found: stands }), "from {what}");
        assert_eq!(stored(&mut *sink, &model).await, before, "a stale commit from {what} changed something");
    }
    // The same batch twice, as after a lost answer.
    let again = sink.commit(&changes(&model, &batches[..2]), at, batches[1].from, batches[1].to).await;
    assert_eq!(again, Err(CommitError::Stale { at, from: batches[1].from, found: batches[1].to }));
    consume_all(&mut *sink, &model, &batches[2..]).await;
    assert_eq!(stored(&mut *sink, &model).await, folded(&model, &batches));
}

/// Rows that nobody should ever see.
fn changes(model: &ReadModel, batches: &[Batch]) -> Tables {
    let mut tables = stock::new_tables(model);
    batches.iter().for_each(|batch| super::apply(model, batch, &mut tables));
    tables
}

pub(super) async fn rows_rollups_and_checkpoint_move_together_wherever_a_commit_is_dropped(store: Generations) {
    let model = stock::stock_v1();
    let live = first(&store, &model).await;
    let mut shop = Batches::new(4, 0, 1, 12);
    let mut batches = vec![shop.next(40)];
    consume_all(&mut *open(&store, &live).await, &model, &batches).await;
    for polls in 1..1_000 {
        batches.push(shop.next(15));
        let last = &batches[batches.len() - 1];
        let mut sink = open(&store, &live).await;
        let ended = poll_at_most(consume(&mut *sink, &model, last), polls).await;
        drop(sink);
        let mut sink = open(&store, &live).await;
        // What was dropped may still be on its way in: a look at any moment must show all of it or nothing.
        let found = stored(&mut *sink, &model).await;
        let wanted =
            folded(&model, &batches[..batches.len() - usize::from(found.checkpoints.get(last.at) == last.from)]);
        assert_eq!(found, wanted, "rows and checkpoint differ after a commit was dropped at step {polls}");
        if settled(&mut *sink, &model, last).await == last.from {
            consume_all(&mut *sink, &model, &batches[batches.len() - 1..]).await;
        }
        assert_eq!(stored(&mut *sink, &model).await, folded(&model, &batches));
        if ended.is_some() {
            return;
        }
    }
    panic!("a commit never ended");
}

/// Looks at a generation that should not move, while a commit is on its way.
const LOOKS: u32 = 50;

/// The stored checkpoint, when nothing is on its way in any more: a commit that cannot be in waits for those that are.
async fn settled(sink: &mut dyn Sink, model: &ReadModel, batch: &Batch) -> Checkpoint {
    let nowhere = Checkpoint { offset: Offset(u64::MAX >> 1), ..batch.to };
    match sink.commit(&stock::new_tables(model), batch.at, nowhere, nowhere).await {
        Err(CommitError::Stale { found, .. }) => found,
        other => panic!("a commit from nowhere: {other:?}"),
    }
}

/// Polls a future so often, then drops it.
async fn poll_at_most<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

pub(super) async fn a_deleted_row_is_loaded_as_a_tombstone_and_may_come_again(store: Generations) {
    let model = stock::stock_v1();
    let live = first(&store, &model).await;
    // One item: it comes, goes and comes again all the time, each event in a batch of its own.
    let mut shop = Batches::new(5, 0, 1, 1);
    let mut sink = open(&store, &live).await;
    let (mut batches, mut tombstones) = (Vec::new(), 0);
    for _ in 0..80 {
        batches.push(shop.next(1));
        consume_all(&mut *sink, &model, &batches[batches.len() - 1..]).await;
        let found = stored(&mut *sink, &model).await;
        assert_eq!(found, folded(&model, &batches));
        tombstones += found.tables[0].iter().filter(|row| row.life == RowLife::Deleted).count();
        let mut keys = model.new_key_sets();
        found.tables[0].iter().for_each(|row| keys.add(0, row.key));
        let mut tables = stock::new_tables(&model);
        sink.load(&keys, &mut tables).await.unwrap_or_else(|error| panic!("{error}"));
        let lives: Vec<Option<RowLife>> =
            found.tables[0].iter().map(|row| tables.values(0, &row.key, &mut Vec::new())).collect();
        assert_eq!(lives, found.tables[0].iter().map(|row| Some(row.life)).collect::<Vec<_>>());
    }
    assert!(tombstones > 2, "the history deletes");
}

pub(super) async fn partitions_commit_independently(store: Generations) {
    let model = stock::stock_v1();
    let live = first(&store, &model).await;
    let mut shops = [Batches::new(6, 0, 2, 12), Batches::new(7, 1, 2, 12)];
    let mut sinks = [open(&store, &live).await, open(&store, &live).await];
    let mut batches = Vec::new();
    for round in 0..20 {
        for (sink, shop) in sinks.iter_mut().zip(&mut shops) {
            batches.push(shop.next(1 + round));
            consume_all(&mut **sink, &model, &batches[batches.len() - 1..]).await;
        }
    }
    assert_eq!(stored(&mut *sinks[0], &model).await, folded(&model, &batches));
}

pub(super) async fn nothing_is_committed_to_a_generation_that_is_held_still(store: Generations) {
    let model = stock::stock_v1();
    let live = first(&store, &model).await;
    let batch = Batches::new(8, 0, 1, 12).next(10);
    let mut sink = open(&store, &live).await;
    let storage = store.of(&live).unwrap_or_else(|error| panic!("{error}"));
    let mut turn = store.registry().turn(stock::STOCK).await.unwrap_or_else(|error| panic!("{error}"));
    let still = storage.hold(&mut *turn, &live, &model.contexts()).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(still.as_ref().map(|still| still.shown.get(batch.at)), Some(batch.from));
    let (committed, ()) = tokio::join!(consume(&mut *sink, &model, &batch), async {
        for _ in 0..LOOKS {
            let found = storage.checkpoints(&live).await.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(found.get(batch.at), batch.from, "a commit came through");
            tokio::task::yield_now().await;
        }
        drop((still, turn));
    });
    assert_eq!(committed, Ok(()));
}
