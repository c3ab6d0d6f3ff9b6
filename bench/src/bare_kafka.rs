//! The floors on Kafka: programs without an engine that commit the same transactions, and that read the same records.
//!
//! They use librdkafka as the engine does, with the same settings: two producers that take turns per partition, and the
//! same two native calls, of which rdkafka has no safe form. Nowhere else in this crate is `unsafe` code allowed.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::bindings;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::limits;
use crate::machine::own_cpu;
use crate::rounds::{Latencies, Turn};

const COMMON: &[(&str, &str)] = &[("socket.nagle.disable", "true"), ("allow.auto.create.topics", "false")];

const PRODUCER: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("message.timeout.ms", "8000"),
    ("linger.ms", "1000"),
    ("batch.size", "4000000"),
    ("batch.num.messages", "100000"),
    ("message.max.bytes", "8388608"),
    ("queue.buffering.max.messages", "200000"),
    ("compression.type", "lz4"),
    ("retry.backoff.ms", "20"),
    ("transaction.timeout.ms", "10000"),
];

const CONSUMER: &[(&str, &str)] = &[
    ("group.id", "bare"),
    ("isolation.level", "read_committed"),
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("check.crcs", "true"),
    ("queued.min.messages", "1000000"),
    ("queued.max.messages.kbytes", "262144"),
    ("fetch.message.max.bytes", "8388608"),
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.wait.max.ms", "50"),
];

fn config(brokers: &str, settings: &[&[(&str, &str)]]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    for (name, value) in settings.iter().copied().flatten() {
        config.set(*name, *value);
    }
    config
}

/// Two producers per partition of a topic.
pub(crate) struct BareProducers {
    topic: String,
    pairs: Vec<[ThreadedProducer<DefaultProducerContext>; 2]>,
}

impl BareProducers {
    pub(crate) fn connect(brokers: &str, topic: &str, partitions: u16) -> anyhow::Result<Self> {
        let connect = |partition: u16, side: char| {
            let mut config = config(brokers, &[COMMON, PRODUCER]);
            let producer: ThreadedProducer<_> =
                config.set("transactional.id", format!("{topic}.{partition}.{side}")).create()?;
            producer.init_transactions(Duration::from_secs(limits::ANSWER_S_MAX))?;
            anyhow::Ok(producer)
        };
        let pair = |partition| Ok([connect(partition, 'a')?, connect(partition, 'b')?]);
        let pairs = (0..partitions).map(pair).collect::<anyhow::Result<_>>()?;
        Ok(Self { topic: topic.to_owned(), pairs })
    }

    /// All partitions at once commit transactions of so many of these records, one behind the other.
    pub(crate) fn turn(&self, group: f64, records: &[Vec<u8>], turn: Duration) -> anyhow::Result<Turn> {
        let own = own_cpu()?;
        let from = Instant::now() + turn.mul_f64(limits::WARM_UP_SHARE);
        let until = from + turn;
        let committed = std::thread::scope(|scope| {
            let partitions: Vec<_> = (0..)
                .zip(&self.pairs)
                .map(|(partition, pair)| {
                    scope.spawn(move || commit_until(pair, &self.topic, partition, group, records, from, until))
                })
                .collect();
            let join = |partition: std::thread::ScopedJoinHandle<'_, anyhow::Result<(u64, Latencies)>>| {
                partition.join().unwrap_or_else(|_| bail!("a producer's thread panicked"))
            };
            partitions.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()
        })?;
        let (mut count, mut latencies) = (0, Latencies::new());
        for (records, of_partition) in committed {
            count += records;
            latencies.add(&of_partition);
        }
        // The warm-up took its part.
        let own_us = (own_cpu()? - own).as_secs_f64() * 1e6 / (1.0 + limits::WARM_UP_SHARE);
        let processor_us = (count > 0).then(|| own_us / count as f64);
        Ok(Turn { latencies: Some(latencies), processor_us, ..Turn::of(count, until - from) })
    }
}

/// How many records were committed, and how long each transaction took.
fn commit_until(
    pair: &[ThreadedProducer<DefaultProducerContext>; 2],
    topic: &str,
    partition: i32,
    group: f64,
    records: &[Vec<u8>],
    from: Instant,
    until: Instant,
) -> anyhow::Result<(u64, Latencies)> {
    let (mut latencies, mut counted, mut owed) = (Latencies::new(), 0, 0.0);
    let mut records = records.iter().cycle();
    let mut key = 0u128;
    for producer in pair.iter().cycle() {
        let began = Instant::now();
        if began >= until {
            break;
        }
        // The group is a mean: what is left of one transaction goes into the next.
        owed += group;
        let size = owed.max(1.0) as usize;
        owed -= size as f64;
        producer.begin_transaction()?;
        for record in records.by_ref().take(size) {
            key = key.wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            let key = key.to_be_bytes();
            let record = BaseRecord::to(topic).partition(partition).key(&key[..]).payload(&record[..]);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        commit(producer)?;
        let now = Instant::now();
        if began >= from && now < until {
            latencies.record(now - began);
        }
        if (from..until).contains(&now) {
            counted += size as u64;
        }
    }
    Ok((counted, latencies))
}

fn commit(producer: &ThreadedProducer<DefaultProducerContext>) -> anyhow::Result<()> {
    // SAFETY: the pointer is the producer's, which is borrowed for the whole call; the function may be called from any
    // thread.
    let error = unsafe { bindings::rd_kafka_commit_transaction(producer.client().native_ptr(), -1) };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error is not null and ours until it is destroyed below; its text lives as long as it does.
    let text = unsafe { CStr::from_ptr(bindings::rd_kafka_error_string(error)).to_string_lossy().into_owned() };
    // SAFETY: the error is ours and used no more.
    unsafe { bindings::rd_kafka_error_destroy(error) };
    bail!("commit: {text}")
}

/// Reads a topic from its begin to its end, several partitions per thread, and counts records.
pub(crate) fn consume(brokers: &str, topic: &str, partitions: u16) -> anyhow::Result<Turn> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let all: Vec<i32> = (0..i32::from(partitions)).collect();
    let began = Instant::now();
    let count = std::thread::scope(|scope| {
        let shares = all.chunks(all.len().div_ceil(threads));
        let readers: Vec<_> = shares.map(|share| scope.spawn(|| read_to_end(brokers, topic, share))).collect();
        let join = |reader: std::thread::ScopedJoinHandle<'_, anyhow::Result<u64>>| {
            reader.join().unwrap_or_else(|_| bail!("a consumer's thread panicked"))
        };
        readers.into_iter().map(join).sum::<anyhow::Result<u64>>()
    })?;
    Ok(Turn::of(count, began.elapsed()))
}

fn read_to_end(brokers: &str, topic: &str, partitions: &[i32]) -> anyhow::Result<u64> {
    let consumer: BaseConsumer = config(brokers, &[COMMON, CONSUMER]).create()?;
    let queue = Queue::start(&consumer, topic, partitions)?;
    let (mut count, mut ended) = (0, 0);
    let mut messages = [std::ptr::null_mut(); limits::TAKE_MESSAGES_MAX];
    let mut last = Instant::now();
    while ended < partitions.len() {
        // SAFETY: the array is as long as said; what is put into it is ours.
        let taken = unsafe {
            let (messages, room) = (messages.as_mut_ptr(), messages.len());
            bindings::rd_kafka_consume_batch_queue(queue.queue, limits::TAKE_MS_MAX, messages, room)
        };
        if taken > 0 {
            last = Instant::now();
        }
        ensure!(last.elapsed() < Duration::from_secs(limits::ANSWER_S_MAX), "{topic} is not delivered");
        for message in &messages[..usize::try_from(taken)?] {
            // SAFETY: just taken, so it is there and ours, and destroyed once, after it was looked at.
            let code = unsafe {
                let code = RDKafkaErrorCode::from((**message).err);
                bindings::rd_kafka_message_destroy(*message);
                code
            };
            match code {
                RDKafkaErrorCode::NoError => count += 1,
                RDKafkaErrorCode::PartitionEOF => ended += 1,
                other => bail!("{topic}: {other}"),
            }
        }
    }
    Ok(count)
}

/// Partitions that are fetched into one queue, until it is dropped.
struct Queue<'a> {
    _consumer: &'a BaseConsumer,
    topic: *mut bindings::rd_kafka_topic_t,
    queue: *mut bindings::rd_kafka_queue_t,
    partitions: Vec<i32>,
}

impl<'a> Queue<'a> {
    fn start(consumer: &'a BaseConsumer, topic: &str, partitions: &[i32]) -> anyhow::Result<Self> {
        let rk = consumer.client().native_ptr();
        let name = CString::new(topic)?;
        // SAFETY: the consumer outlives what is made here; without a configuration the topic has the consumer's.
        let (topic, queue) = unsafe {
            let topic = bindings::rd_kafka_topic_new(rk, name.as_ptr(), std::ptr::null_mut());
            (topic, bindings::rd_kafka_queue_new(rk))
        };
        ensure!(!topic.is_null(), "a topic cannot be opened");
        let mut started = Self { _consumer: consumer, topic, queue, partitions: Vec::new() };
        for partition in partitions {
            // SAFETY: topic and queue are of this consumer, and live in `started`. 0 is the first offset.
            let failed = unsafe { bindings::rd_kafka_consume_start_queue(topic, *partition, 0, queue) } != 0;
            ensure!(!failed, "partition {partition} cannot be fetched");
            started.partitions.push(*partition);
        }
        Ok(started)
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        // SAFETY: all handles are ours and used no more; the partitions are stopped before their queue is destroyed.
        unsafe {
            for partition in &self.partitions {
                bindings::rd_kafka_consume_stop(self.topic, *partition);
            }
            bindings::rd_kafka_queue_destroy(self.queue);
            bindings::rd_kafka_topic_destroy(self.topic);
        }
    }
}
