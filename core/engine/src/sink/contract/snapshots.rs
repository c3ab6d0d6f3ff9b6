//! Snapshots: one moment, however long it is looked at.

use super::history::{Batch, Batches};
use super::{consume_all, first, folded, open, stock, stored};
use crate::generations::Generations;
use crate::limits::SNAPSHOT_CHUNK_ROWS_MAX;

pub(super) async fn a_snapshot_does_not_see_later_commits(store: Generations) {
    let model = stock::stock_v1();
    let live = first(&store, &model).await;
    let mut shop = Batches::new(10, 0, 1, 12);
    let batches: Vec<Batch> = (0..4).map(|_| shop.next(30)).collect();
    let mut sink = open(&store, &live).await;
    consume_all(&mut *sink, &model, &batches[..2]).await;
    let before = folded(&model, &batches[..2]);
    let mut snapshot = sink.snapshot().await.unwrap_or_else(|error| panic!("{error}"));
    consume_all(&mut *sink, &model, &batches[2..]).await;
    assert_eq!(*snapshot.checkpoints(), before.checkpoints);
    for (table, wanted) in before.tables.iter().enumerate() {
        let mut rows = Vec::new();
        snapshot.rows(table, None, &mut rows).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(rows, *wanted, "the snapshot moved on with the commits");
    }
    drop(snapshot);
    assert_eq!(stored(&mut *sink, &model).await, folded(&model, &batches));
}

pub(super) async fn a_snapshot_delivers_every_row_once_in_key_order(store: Generations) {
    let model = stock::stock_v1();
    let live = first(&store, &model).await;
    let items = 2 * SNAPSHOT_CHUNK_ROWS_MAX;
    let batches = [Batches::new(11, 0, 1, items).next(2 * items)];
    let mut sink = open(&store, &live).await;
    consume_all(&mut *sink, &model, &batches).await;
    let found = stored(&mut *sink, &model).await;
    assert!(found.tables[0].len() > SNAPSHOT_CHUNK_ROWS_MAX, "more rows than one page");
    assert!(found.tables[0].is_sorted_by(|one, next| one.key < next.key));
    assert_eq!(found, folded(&model, &batches));
}
