mod seeded_bugs;

use std::sync::Arc;

use super::{CONTEXTS, log_contract};
use crate::log::EventLog;
use crate::log::memory::{MemoryLog, MemoryOptions};
use crate::log::sqlite::{SqliteLog, SqliteOptions};

async fn memory(options: MemoryOptions) -> Arc<dyn EventLog> {
    MemoryLog::with_options(&CONTEXTS, options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_log_keeps_the_contract() {
    log_contract(|| memory(MemoryOptions::default())).await;
}

#[tokio::test]
async fn the_memory_log_keeps_the_contract_with_holes_and_reads_of_one_record() {
    for seed in 0..10 {
        let options = MemoryOptions { holes_seed: Some(seed), read_records_max: 1, ..MemoryOptions::default() };
        log_contract(|| memory(options.clone())).await;
    }
}

async fn sqlite_contract(options: SqliteOptions) {
    let directory = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    log_contract(async || {
        number.set(number.get() + 1);
        let path = directory.path().join(format!("log-{}.sqlite", number.get()));
        SqliteLog::open(&path, &CONTEXTS, options.clone()).await.unwrap() as Arc<dyn EventLog>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sqlite_log_keeps_the_contract() {
    sqlite_contract(SqliteOptions::default()).await;
}

#[tokio::test]
async fn the_sqlite_log_keeps_the_contract_with_holes_in_offsets() {
    for seed in 1..4 {
        sqlite_contract(SqliteOptions { holes_seed: Some(seed), ..SqliteOptions::default() }).await;
    }
}
