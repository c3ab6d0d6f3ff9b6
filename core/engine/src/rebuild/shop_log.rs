//! Logs of shops, for the tests of fold, rebuild and verify.

use std::sync::Arc;

use crate::log::memory::{MemoryLog, MemoryOptions};
use crate::log::{AppendBatch, AppendOutcome, EventLog, Owner};
use crate::sink::contract::history::Shop;
use crate::sink::contract::stock::SHOP;

/// Items of each shop.
pub(crate) const ITEMS: usize = 12;

/// A claim, then appends of so many events each.
pub(crate) async fn append(log: &MemoryLog, shop: &mut Shop, batches: &[usize]) {
    let owner = Owner { id: "shop".into(), address: String::new() };
    let mut writer = log.claim(shop.at(), owner).await.expect("a partition of the log").writer;
    shop.claim_epoch = writer.claim_epoch();
    for events in batches {
        let mut batch = AppendBatch::default();
        (0..*events).for_each(|_| batch.push(|out| shop.event(out)));
        writer = match writer.append(batch).await {
            AppendOutcome::Durable { writer, .. } => writer,
            other => panic!("append: {other:?}"),
        };
    }
}

/// A log of which every partition has a shop with such appends.
pub(crate) async fn log_of(seed: u64, partitions: u16, batches: &[usize], read_records_max: usize) -> Arc<MemoryLog> {
    let holes_seed = seed.is_multiple_of(2).then_some(seed);
    let options = MemoryOptions { partitions, holes_seed, read_records_max, ..MemoryOptions::default() };
    let log = MemoryLog::with_options(&[SHOP], options);
    for partition in 0..partitions {
        append(&log, &mut Shop::new(seed, partition, partitions, ITEMS), batches).await;
    }
    log
}
