//! Bulk loads: the fast way makes the same rows.

use annals_model::projection::{ReadModel, TableKind, Tables};

use super::history::{Batch, Batches};
use super::{apply, consume_all, folded, open, stock, stored};
use crate::generations::Generations;
use crate::sink::{Checkpoints, Sink};

/// Rows of one fold, dealt to shards so that their keys interleave.
fn dealt(model: &ReadModel, whole: &Tables, shards: usize) -> Vec<Tables> {
    let mut dealt: Vec<Tables> = (0..shards).map(|_| stock::new_tables(model)).collect();
    for shape in model.tables() {
        let TableKind::Rows(index) = shape.kind else { continue };
        for (place, key) in whole.sorted_keys(index).into_iter().enumerate() {
            let mut values = Vec::new();
            if let Some(life) = whole.values(index, &key, &mut values) {
                let loaded = dealt[place % shards].load(index, key, life, &values);
                loaded.unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
    dealt
}

pub(super) async fn load(sink: &mut dyn Sink, model: &ReadModel, batches: &[Batch], shards: usize) {
    let mut whole = stock::new_tables(model);
    batches.iter().for_each(|batch| apply(model, batch, &mut whole));
    let mut totals = model.new_rollup_totals();
    totals.add(&whole);
    let mut checkpoints = Checkpoints::start(super::LOG_ID);
    batches.iter().for_each(|batch| checkpoints.set(batch.at, batch.to));
    let shards = dealt(model, &whole, shards);
    sink.bulk_load(&shards).await.unwrap_or_else(|error| panic!("{error}"));
    sink.bulk_finish(&totals, &checkpoints).await.unwrap_or_else(|error| panic!("{error}"));
}

fn history(seed: u64, items: usize) -> Vec<Batch> {
    let mut shops = [Batches::new(seed, 0, 2, items), Batches::new(seed, 1, 2, items)];
    (0..10).flat_map(|_| shops.each_mut().map(|shop| shop.next(3 * items))).collect()
}

pub(super) async fn a_bulk_load_makes_what_commits_make(store: Generations) {
    let model = stock::stock_v1();
    for (shards, items) in [(1, 12), (2, 40), (3, 200)] {
        let batches = history(shards as u64, items);
        let built = store.create(&model, "a test").await;
        let (generation, lock) = built.unwrap_or_else(|error| panic!("{error}"));
        let mut sink = open(&store, &generation).await;
        load(&mut *sink, &model, &batches, shards).await;
        assert_eq!(stored(&mut *sink, &model).await, folded(&model, &batches), "{shards} shards");
        store.finish(&generation, Ok(())).await.unwrap_or_else(|error| panic!("{error}"));
        drop(lock);
    }
}

pub(super) async fn commits_go_on_behind_a_bulk_load(store: Generations) {
    let model = stock::stock_v1();
    let batches = history(9, 20);
    let (generation, _lock) = store.create(&model, "a test").await.unwrap_or_else(|error| panic!("{error}"));
    let mut sink = open(&store, &generation).await;
    load(&mut *sink, &model, &batches[..12], 2).await;
    consume_all(&mut *sink, &model, &batches[12..16]).await;
    // A builder that lets go of the writer and takes another one.
    drop(sink);
    let mut sink = open(&store, &generation).await;
    consume_all(&mut *sink, &model, &batches[16..]).await;
    assert_eq!(stored(&mut *sink, &model).await, folded(&model, &batches));
}
