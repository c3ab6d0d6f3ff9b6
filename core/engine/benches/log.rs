//! The SQLite log on this machine's disk: durable appends, and a sequential checked read, with events of 250 bytes.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_engine::log::checked::CheckedReader;
use annals_engine::log::contract::records::TestRecords;
use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_engine::log::{AppendBatch, AppendOutcome, EventLog, LogWriter, Owner, RawBatch};
use annals_model::ids::{ContextId, Partition};
use annals_model::position::{Checkpoint, ContextPartition, Offset};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

const CONTEXT: ContextId = ContextId { number: 9, name: "bench" };

struct Partitioned {
    writer: Box<dyn LogWriter>,
    records: TestRecords,
}

async fn open(directory: &std::path::Path) -> Arc<SqliteLog> {
    SqliteLog::open(&directory.join("log.sqlite"), &[CONTEXT], SqliteOptions::default()).await.unwrap()
}

async fn claim(log: &SqliteLog, partition: u16) -> Partitioned {
    let at = ContextPartition { context: CONTEXT, partition: Partition(partition) };
    let writer = log.claim(at, Owner { id: "bench".into(), address: String::new() }).await.unwrap().writer;
    let records = TestRecords::new(at, 4).claimed(writer.claim_epoch());
    Partitioned { writer, records }
}

/// Appends `appends` times commands of one event each, and answers how long the log took.
async fn append(mut owner: Partitioned, appends: u64, events: u64) -> (Partitioned, Duration) {
    let mut took = Duration::ZERO;
    for _ in 0..appends {
        let mut batch = AppendBatch::default();
        (0..events).for_each(|_| owner.records.commit(&mut batch, 1, 70));
        let began = Instant::now();
        owner.writer = match owner.writer.append(batch).await {
            AppendOutcome::Durable { writer, .. } => writer,
            other => panic!("{other:?}"),
        };
        took += began.elapsed();
    }
    (owner, took)
}

fn appends(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("sqlite append");
    for events in [1, 64, 512] {
        group.throughput(Throughput::Elements(events));
        group.bench_function(format!("{events} per commit"), |bencher| {
            bencher.iter_custom(|appends| {
                runtime.block_on(async {
                    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
                    let log = open(directory.path()).await;
                    let owner = claim(&log, 0).await;
                    append(owner, appends, events).await.1
                })
            });
        });
    }
    group.throughput(Throughput::Elements(4));
    group.bench_function("1 per commit, 4 partitions at once", |bencher| {
        bencher.iter_custom(|appends| {
            runtime.block_on(async {
                let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
                let log = open(directory.path()).await;
                let owners = futures_util::future::join_all((0..4).map(|partition| claim(&log, partition))).await;
                let began = Instant::now();
                let tasks = owners.into_iter().map(|owner| tokio::spawn(append(owner, appends, 1)));
                futures_util::future::join_all(tasks).await;
                began.elapsed()
            })
        });
    });
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("sqlite read");
    for events in [1, 64, 512] {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let total = if events == 1 { 50_000 } else { 512_000 };
        let at = ContextPartition { context: CONTEXT, partition: Partition(0) };
        let (log, bytes) = runtime.block_on(async {
            let log = open(directory.path()).await;
            append(claim(&log, 0).await, total / events, events).await;
            let mut reader = log.reader(at, Offset::START).await.unwrap();
            let (mut batch, mut bytes) = (RawBatch::default(), 0);
            while reader.position() < log.end(at).await.unwrap() {
                reader.next(&mut batch).await.unwrap();
                bytes += batch.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
            }
            (log, bytes)
        });
        println!("{} bytes per event", bytes / total);
        group.throughput(Throughput::Elements(total));
        group.sample_size(10);
        group.bench_function(format!("checked, {events} per commit"), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let mut reader = CheckedReader::open(&*log, at, Checkpoint::default()).await.unwrap();
                    let mut seen = 0;
                    while let Some(batch) = reader.next().await.unwrap() {
                        seen += batch.records.len() as u64;
                    }
                    assert_eq!(seen, total);
                });
            });
        });
        runtime.block_on(log.close());
    }
    group.finish();
}

criterion_group!(benches, appends, reads);
criterion_main!(benches);
