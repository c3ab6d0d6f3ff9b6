//! What an event costs once stored in blocks: the envelope is frozen, so it must be cheap from the first day.

use annals_engine::log::sqlite::SqliteLog;
use annals_engine::log::{EventLog, RawBatch};
use annals_model::engine_record::CLAIM_SCHEMA;
use annals_model::envelope::read_frame;
use annals_model::ids::Partition;
use annals_model::position::{ContextPartition, Offset};
use annals_schemas::contexts::PORTFOLIO;

use crate::server::Server;

const BLOCK_EVENTS: usize = 512;
const BYTES_PER_EVENT_MAX: usize = 100;

#[tokio::test]
async fn a_real_inventorys_events_cost_at_most_100_bytes_in_a_compressed_block() {
    let server = Server::start();
    server.run(&["import", "cargo-lock", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")]).exits(0);
    let log = SqliteLog::open_read_only(&server.data().join("log.db"), &[PORTFOLIO]).await.unwrap();
    let (mut events, mut bytes) = (0, 0);
    for partition in (0..log.partitions(PORTFOLIO)).map(Partition) {
        let mut records = Vec::new();
        let mut batch = RawBatch::default();
        let mut reader = log.reader(ContextPartition { context: PORTFOLIO, partition }, Offset::START).await.unwrap();
        loop {
            reader.next(&mut batch).await.unwrap();
            if batch.is_empty() {
                break;
            }
            let stored = batch.iter().map(|(_, record)| record);
            records.extend(stored.filter(|record| read_frame(record).unwrap().0 != CLAIM_SCHEMA).map(<[u8]>::to_vec));
        }
        for block in records.chunks_exact(BLOCK_EVENTS) {
            events += block.len();
            bytes += zstd::bulk::compress(&block.concat(), 3).unwrap().len();
        }
    }
    assert!(events >= 2 * BLOCK_EVENTS, "only {events} events");
    println!("{} bytes per event", bytes / events);
    assert!(bytes <= BYTES_PER_EVENT_MAX * events, "{} bytes per event", bytes / events);
}
