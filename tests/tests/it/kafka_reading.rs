//! How the log on Kafka is read: by whom, with how much, and what one partition's trouble means to the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_dev::kafka::relay::{END_TXN, Fault};
use annals_dev::kafka::{Cluster, Setup};
use annals_engine::limits;
use annals_engine::log::contract::records::TestRecords;
use annals_engine::log::kafka::{KafkaLog, KafkaOptions};
use annals_engine::log::{AppendBatch, AppendOutcome, EventLog, LogWriter, Owner, ProofOutcome, RawBatch};
use annals_engine::runner;
use annals_engine::sink::contract::history::Shop;
use annals_engine::sink::contract::stock;
use annals_engine::sink::memory::MemoryStore;
use annals_model::ids::Partition;
use annals_model::position::{ContextPartition, Offset, Ordinal, RecordOffset};
use annals_tests::{LOG_CONTEXT, LOG_PARTITION};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::kafka_cluster::{options, shared, visible};

/// Only a test that would never end gets there.
const PATIENCE: Duration = Duration::from_secs(60);

async fn claim(log: &KafkaLog, at: ContextPartition) -> Box<dyn LogWriter> {
    log.claim(at, Owner { id: "here".into(), address: String::new() }).await.unwrap().writer
}

fn durable(outcome: AppendOutcome) -> (Box<dyn LogWriter>, Vec<RecordOffset>) {
    match outcome {
        AppendOutcome::Durable { writer, positions } => (writer, positions),
        other => panic!("append ended as {other:?}"),
    }
}

/// A log with so many records in one partition, where they lie, and their bytes.
async fn filled(cluster: &Cluster, prefix: &str, appends: usize) -> (Arc<KafkaLog>, Vec<(RecordOffset, Vec<u8>)>) {
    let log = KafkaLog::connect(options(cluster, prefix), &[LOG_CONTEXT]).await.unwrap();
    let mut writer = claim(&log, LOG_PARTITION).await;
    let mut records = TestRecords::new(LOG_PARTITION, log.partitions(LOG_CONTEXT)).claimed(writer.claim_epoch());
    let mut all = Vec::new();
    for _ in 0..appends {
        let batch = records.batch(&[1; 500]);
        let bytes: Vec<_> = batch.iter().map(<[u8]>::to_vec).collect();
        let positions;
        (writer, positions) = durable(writer.append(batch).await);
        all.extend(positions.into_iter().zip(bytes));
    }
    (log, all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_commands_are_answered_with_few_fetches_and_few_clients() {
    let cluster = shared();
    let (log, all) = filled(&cluster, "repeated", 8).await;
    // As a resumed import asks: line after line, so many at a time.
    let before = log.lookup_use();
    for lines in all.chunks(64) {
        let asked = lines.iter().map(|(offset, _)| log.read_run(LOG_PARTITION, *offset, 1));
        let found = futures_util::future::try_join_all(asked).await.unwrap();
        for ((offset, bytes), found) in lines.iter().zip(found) {
            assert_eq!(found.iter().collect::<Vec<_>>(), [(*offset, &bytes[..])]);
        }
    }
    let fetches = log.lookup_use().fetches - before.fetches;
    assert!((1..=16).contains(&fetches), "{fetches} fetches for {} answers", all.len());
    // All at once, from everywhere.
    let asked = all.iter().rev().map(|(offset, _)| log.read_run(LOG_PARTITION, *offset, 1));
    let found = futures_util::future::try_join_all(asked).await.unwrap();
    assert!(found.iter().zip(all.iter().rev()).all(|(found, (offset, bytes))| found.get(*offset) == Some(&bytes[..])));
    let made = log.lookup_use().clients - before.clients;
    assert!(made <= limits::KAFKA_LOOKUP_CLIENTS_MAX as u64, "{made} clients were made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_history_is_one_look_and_far_places_are_looked_at_together() {
    let cluster = shared();
    let (log, all) = filled(&cluster, "page", 40).await;
    let read = async |wanted: &[&(RecordOffset, Vec<u8>)]| {
        let offsets: Vec<_> = wanted.iter().map(|(offset, _)| *offset).collect();
        let before = log.lookup_use().fetches;
        let found = log.read_each(LOG_PARTITION, &offsets).await.unwrap();
        let expected: Vec<_> = wanted.iter().map(|(offset, bytes)| (*offset, &bytes[..])).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "in the order asked for");
        log.lookup_use().fetches - before
    };
    // Every fortieth of 20,000 records: a page of 500.
    let page: Vec<_> = all.iter().step_by(40).collect();
    assert_eq!(page.len(), limits::HISTORY_EVENTS_MAX);
    assert_eq!(read(&page).await, 1);
    // Further from each other than it is worth to read what lies between.
    let far = [&all[19_990], &all[3], &all[10_000], &all[5], &all[3]];
    let fetches = read(&far).await;
    assert!((1..=3).contains(&fetches), "{fetches} fetches");
    // A record that is not there is the problem of who asked for it.
    let behind = all.last().unwrap().0.after();
    let (missing, there) =
        tokio::join!(log.read_run(LOG_PARTITION, RecordOffset(behind.0), 1), log.read_run(LOG_PARTITION, all[7].0, 3));
    assert!(missing.is_err(), "{missing:?}");
    assert_eq!(there.unwrap().len(), 3);
}

/// Where a partition ends for who sees committed records only.
fn stable_end(cluster: &Cluster, prefix: &str, at: ContextPartition) -> u64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.addresses())
        .set("isolation.level", "read_committed")
        .create()
        .unwrap();
    let topic = format!("{prefix}.{}.events", at.context.name);
    let (_, end) = consumer.fetch_watermarks(&topic, i32::from(at.partition.0), PATIENCE).unwrap();
    u64::try_from(end).unwrap()
}

async fn sell(shop: &mut Shop, writer: Box<dyn LogWriter>) -> (Box<dyn LogWriter>, Offset) {
    shop.claim_epoch = writer.claim_epoch();
    let mut batch = AppendBatch::default();
    batch.push(|out| shop.event(out));
    let (writer, positions) = durable(writer.append(batch).await);
    (writer, positions[0].after())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_left_open_holds_back_its_own_partition_and_no_other() {
    const PREFIX: &str = "open";
    let cluster = Cluster::start_as(Setup { relayed: true, ..Setup::default() }).unwrap();
    let log = KafkaLog::connect(options(&cluster, PREFIX), &[stock::SHOP]).await.unwrap();
    let through = KafkaOptions { prefix: PREFIX.into(), ..KafkaOptions::new(cluster.relayed_address().unwrap()) };
    let through = KafkaLog::connect(through, &[stock::SHOP]).await.unwrap();
    let (mut held, mut free) = (Shop::new(1, 0, 4, 12), Shop::new(2, 1, 4, 12));
    let (holder, mut writer) = (claim(&through, held.at()).await, claim(&log, free.at()).await);
    let (holder, first) = sell(&mut held, holder).await;
    let store = MemoryStore::new(stock::read_models(), log.id());
    let generation = store.ensure_live(&stock::stock_v1()).await.unwrap().unwrap();
    let model = store.read_model(&generation.read_model, generation.version).unwrap();
    let sink = store.open(&generation).await.unwrap();
    let running = runner::start(log.clone(), model, generation, sink);
    let mut progress = running.progress.clone();
    let mut shows = async |at: ContextPartition, position: Offset| {
        let there = progress.wait_for(|progress| progress.checkpoints.get(at).offset >= position);
        tokio::time::timeout(PATIENCE, there).await.unwrap().unwrap();
    };
    shows(held.at(), first).await;
    // Its owner dies in the middle of an append, as far as anybody can tell.
    let relay = cluster.relay().unwrap();
    relay.arm(&[(END_TXN, Fault::Hold)]);
    held.claim_epoch = holder.claim_epoch();
    let mut batch = AppendBatch::default();
    batch.push(|out| held.event(out));
    let open = tokio::spawn(holder.append(batch));
    tokio::task::block_in_place(|| relay.wait_until_held()).unwrap();
    let end = log.end(held.at()).await.unwrap();
    assert!(end > Offset(stable_end(&cluster, PREFIX, held.at())), "nothing is open");
    // How far behind a read model is can be told meanwhile.
    assert_eq!(log.last_ordinal(held.at()).await.unwrap(), Ordinal(1));
    assert!(end > Offset(stable_end(&cluster, PREFIX, held.at())), "told only when the open append had ended");
    // Longer than readers that hear nothing wait until they look.
    let opened = Instant::now();
    let mut shown = 0;
    while opened.elapsed() < Duration::from_millis(2 * limits::KAFKA_STALL_MS) {
        let position;
        (writer, position) = sell(&mut free, writer).await;
        shows(free.at(), position).await;
        shown += 1;
        let stable = stable_end(&cluster, PREFIX, held.at());
        assert!(end > Offset(stable), "event {shown} was shown only when the open append had ended");
    }
    relay.let_go();
    // Committed late, or ended by the brokers: what is there is shown.
    drop(open.await.unwrap());
    let end = log.end(held.at()).await.unwrap();
    shows(held.at(), Offset(end.0 - 1)).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_of_ownership_leave_the_events_topic_as_it_is() {
    let cluster = shared();
    let (log, _) = filled(&cluster, "proofs", 1).await;
    let mut writer = claim(&log, LOG_PARTITION).await;
    // A claim's own proof lies before its record.
    let end = log.end(LOG_PARTITION).await.unwrap();
    for _ in 0..50 {
        writer = match writer.prove().await {
            ProofOutcome::Owner { writer } => writer,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(log.end(LOG_PARTITION).await.unwrap(), end, "proofs are kept for ever");
    // They are as good as ever, and a topic that somebody deleted comes back.
    cluster.delete_topic("proofs.proofs").await.unwrap();
    let heir = tokio::time::timeout(PATIENCE, async {
        loop {
            // A claim that fails looks at the topics.
            if let Ok(claimed) = log.claim(LOG_PARTITION, Owner { id: "heir".into(), address: String::new() }).await {
                break claimed.writer;
            }
        }
    });
    let heir = heir.await.unwrap();
    assert!(matches!(writer.prove().await, ProofOutcome::Fenced), "a newer claim exists");
    assert!(matches!(heir.prove().await, ProofOutcome::Owner { .. }));
    assert_eq!(visible(&log).await.len(), 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_before_what_was_read_is_believed_only_when_it_is_said_again() {
    let cluster = shared();
    let (log, _) = filled(&cluster, "early", 1).await;
    let writer = claim(&log, LOG_PARTITION).await;
    let end = log.end(LOG_PARTITION).await.unwrap();
    // As from a broker that does not know yet what its successor acknowledged: the end is there a moment later.
    let mut records = TestRecords::new(LOG_PARTITION, log.partitions(LOG_CONTEXT)).claimed(writer.claim_epoch());
    records.ordinal = log.last_ordinal(LOG_PARTITION).await.unwrap();
    let batch = records.batch(&[3]);
    let (opened, appended) = tokio::join!(log.reader(LOG_PARTITION, Offset(end.0 + 2)), writer.append(batch));
    durable(appended);
    let mut reader = opened.unwrap();
    let mut found = RawBatch::default();
    reader.next(&mut found).await.unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_of_three_brokers_dead_every_question_is_answered() {
    let mut cluster = Cluster::start(3).unwrap();
    let log = KafkaLog::connect(options(&cluster, "two"), &[LOG_CONTEXT]).await.unwrap();
    let writer = claim(&log, LOG_PARTITION).await;
    let mut records = TestRecords::new(LOG_PARTITION, log.partitions(LOG_CONTEXT)).claimed(writer.claim_epoch());
    let (_, positions) = durable(writer.append(records.batch(&[1; 50])).await);
    cluster.kill(0).unwrap();
    let partitions = || {
        (0..log.partitions(LOG_CONTEXT))
            .map(|number| ContextPartition { context: LOG_CONTEXT, partition: Partition(number) })
    };
    let ask = async || {
        for at in partitions() {
            log.end(at).await?;
        }
        log.last_ordinal(LOG_PARTITION).await?;
        log.read_run(LOG_PARTITION, positions[7], 5).await?;
        log.meta_list("").await.map(|_| ())
    };
    // Until others lead what it led: about 9 seconds.
    let moved = async { while ask().await.is_err() {} };
    tokio::time::timeout(PATIENCE, moved).await.unwrap();
    for round in 0..300 {
        if let Err(error) = ask().await {
            panic!("question {round}: {error}");
        }
        if round % 30 == 0 {
            KafkaLog::open_existing(options(&cluster, "two"), &[LOG_CONTEXT]).await.unwrap();
        }
    }
}
