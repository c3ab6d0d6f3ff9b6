use super::*;
use crate::sink::Checkpoints;
use crate::sink::contract::{LOG_ID, stock};

#[tokio::test]
async fn a_store_that_is_down_fails_every_operation_of_a_sink() {
    let store = MemoryStore::new([stock::stock_v1()], LOG_ID);
    let live = store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    let mut sink = store.open(&live).await.unwrap();
    store.set_faults(SinkFaults::seeded(1, 100, 0));
    assert!(sink.checkpoints().await.unwrap_err().is_transient());
    store.set_faults(SinkFaults::none());
    assert_eq!(sink.checkpoints().await, Ok(Checkpoints::start(LOG_ID)));
}
