//! The rows of several shards in one order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use annals_model::projection::{RowKey, Tables};

/// All keys of one table with the shard that holds each, ascending.
pub(super) fn merged(shards: &[Tables], index: usize) -> Vec<(RowKey, usize)> {
    let sorted: Vec<Vec<RowKey>> = shards.iter().map(|shard| shard.sorted_keys(index)).collect();
    let mut all = Vec::with_capacity(sorted.iter().map(Vec::len).sum());
    let mut heads: BinaryHeap<Reverse<(RowKey, usize, usize)>> = sorted
        .iter()
        .enumerate()
        .filter_map(|(shard, keys)| keys.first().map(|key| Reverse((*key, shard, 0))))
        .collect();
    while let Some(Reverse((key, shard, place))) = heads.pop() {
        all.push((key, shard));
        if let Some(next) = sorted[shard].get(place + 1) {
            heads.push(Reverse((*next, shard, place + 1)));
        }
    }
    all
}
