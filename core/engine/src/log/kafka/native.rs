//! The two things that rdkafka has no safe form of: a commit that flushes at once, and reading in batches from a queue.
//! Nowhere else in this crate is `unsafe` code allowed.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CStr, CString, c_void};
use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::bindings;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{Producer, ProducerContext, ThreadedProducer};
use tokio::sync::Notify;

use super::client::Quiet;
use crate::limits;

/// Commits the producer's transaction, and returns when its outcome is known or the transaction's time is over.
///
/// rdkafka's own `commit_transaction` waits in steps of 100 ms for what is not delivered yet; this call flushes at
/// once. It needs another thread that polls the producer meanwhile, which `ThreadedProducer` has.
pub(super) fn commit<C: ProducerContext + 'static>(
    producer: &ThreadedProducer<C>,
) -> Result<(), (RDKafkaErrorCode, String)> {
    // SAFETY: the pointer is the producer's, which is borrowed for the whole call; the function may be called from any
    // thread.
    let error = unsafe { bindings::rd_kafka_commit_transaction(producer.client().native_ptr(), -1) };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error is not null and ours until it is destroyed below; its text lives as long as it does.
    let (code, text) = unsafe {
        let text = CStr::from_ptr(bindings::rd_kafka_error_string(error));
        (bindings::rd_kafka_error_code(error), text.to_string_lossy().into_owned())
    };
    // SAFETY: the error is ours and used no more.
    unsafe { bindings::rd_kafka_error_destroy(error) };
    Err((code.into(), text))
}

/// What a partition's queue holds.
#[derive(Debug)]
pub(super) enum Delivered<'a> {
    /// A record; no value is a tombstone.
    Record { offset: u64, key: &'a [u8], value: Option<&'a [u8]> },
    /// Only markers are left up to this offset, and nothing behind it.
    End { offset: u64 },
    /// The partition cannot be read.
    Failed { code: RDKafkaErrorCode, text: String },
}

/// A client that reads one partition at a time, with its handles of the topics that it read: where a topic's partitions
/// are led is asked once per handle, not once per read.
pub(super) struct Reading {
    client: BaseConsumer<Quiet>,
    topics: BTreeMap<String, *mut bindings::rd_kafka_topic_t>,
}

// SAFETY: librdkafka's handles may be used from any thread.
unsafe impl Send for Reading {}

impl Reading {
    pub(super) const fn new(client: BaseConsumer<Quiet>) -> Self {
        Self { client, topics: BTreeMap::new() }
    }

    /// A log has as many topics as the build has contexts, and one more.
    fn topic(&mut self, name: &str) -> Result<*mut bindings::rd_kafka_topic_t, String> {
        if let Some(topic) = self.topics.get(name) {
            return Ok(*topic);
        }
        let topic_name = CString::new(name).map_err(|error| error.to_string())?;
        let rk = self.client.client().native_ptr();
        // SAFETY: the client lives as long as the handle, which `drop` destroys first; without a configuration the topic
        // has the client's.
        let topic = unsafe { bindings::rd_kafka_topic_new(rk, topic_name.as_ptr(), std::ptr::null_mut()) };
        if topic.is_null() {
            return Err(format!("topic {name} cannot be opened"));
        }
        self.topics.insert(name.to_owned(), topic);
        Ok(topic)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        for topic in std::mem::take(&mut self.topics).into_values() {
            // SAFETY: ours, and used no more: a fetch that used it has stopped.
            unsafe { bindings::rd_kafka_topic_destroy(topic) };
        }
    }
}

/// One partition being fetched into a queue of its own.
pub(super) struct Fetch {
    /// Always there, until it is stopped.
    reading: Option<Reading>,
    rk: *mut bindings::rd_kafka_t,
    topic: *mut bindings::rd_kafka_topic_t,
    queue: *mut bindings::rd_kafka_queue_t,
    partition: i32,
    name: String,
    /// Taken from the queue and not looked at yet.
    taken: VecDeque<*mut bindings::rd_kafka_message_t>,
    /// Of the last `End` taken.
    ended: Option<u64>,
    /// Told when the queue is no longer empty. The queue's callback points to it.
    filled: Arc<Notify>,
}

// SAFETY: librdkafka's handles may be used from any thread; messages belong to whoever took them from the queue.
unsafe impl Send for Fetch {}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetch({}/{})", self.name, self.partition)
    }
}

/// Called by librdkafka's threads when a queue is no longer empty.
unsafe extern "C" fn on_filled(_: *mut bindings::rd_kafka_t, filled: *mut c_void) {
    // SAFETY: `Fetch` holds the `Notify` until it has switched this callback off.
    unsafe { (*filled.cast::<Notify>().cast_const()).notify_one() };
}

impl Fetch {
    /// Begins to fetch at `offset`.
    pub(super) fn start(mut reading: Reading, name: &str, partition: u16, offset: u64) -> Result<Self, String> {
        let rk = reading.client.client().native_ptr();
        let topic = reading.topic(name)?;
        // SAFETY: the client lives as long as the value made here.
        let queue = unsafe { bindings::rd_kafka_queue_new(rk) };
        let partition = i32::from(partition);
        let fetch = Self {
            reading: Some(reading),
            rk,
            topic,
            queue,
            partition,
            name: name.into(),
            taken: VecDeque::new(),
            ended: None,
            filled: Arc::new(Notify::new()),
        };
        let filled = Arc::as_ptr(&fetch.filled).cast_mut().cast();
        // SAFETY: queue and `Notify` live in `fetch`, whose drop switches the callback off first.
        unsafe { bindings::rd_kafka_queue_cb_event_enable(queue, Some(on_filled), filled) };
        // SAFETY: topic and queue are of this client, and live in `fetch`.
        let failed =
            unsafe { bindings::rd_kafka_consume_start_queue(topic, partition, offset.cast_signed(), queue) } != 0;
        if failed {
            // SAFETY: tells what went wrong in this thread's last call.
            let code = RDKafkaErrorCode::from(unsafe { bindings::rd_kafka_last_error() });
            return Err(format!("{name}/{partition} cannot be fetched: {code}"));
        }
        Ok(fetch)
    }

    /// The next of the queue, if there is any now; the same again until [`Self::advance`].
    pub(super) fn peek(&mut self) -> Option<Delivered<'_>> {
        if self.taken.is_empty() {
            self.take();
        }
        // SAFETY: the message is ours until `advance` destroys it, which the borrow of `self` prevents for now. Key and
        // value lie in the message; their lengths are 0 where they are null.
        unsafe {
            let message = &**self.taken.front()?;
            let offset = u64::try_from(message.offset).unwrap_or_default();
            let code = RDKafkaErrorCode::from(message.err);
            Some(match code {
                RDKafkaErrorCode::NoError => Delivered::Record {
                    offset,
                    key: bytes(message.key, message.key_len).unwrap_or_default(),
                    value: bytes(message.payload, message.len),
                },
                RDKafkaErrorCode::PartitionEOF => Delivered::End { offset },
                _ => {
                    let text = bytes(message.payload, message.len).unwrap_or_default();
                    Delivered::Failed { code, text: String::from_utf8_lossy(text).into_owned() }
                }
            })
        }
    }

    /// Goes behind what `peek` shows.
    pub(super) fn advance(&mut self) {
        if let Some(message) = self.taken.pop_front() {
            // SAFETY: taken from the queue, never given away, and destroyed once.
            unsafe { bindings::rd_kafka_message_destroy(message) };
        }
    }

    /// Behind everything that was taken from the queue, markers included. Means something only where `peek` shows
    /// nothing.
    pub(super) fn position(&self) -> Option<u64> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.name, self.partition);
        // SAFETY: client and list live through the call, which fills in the offset.
        unsafe { bindings::rd_kafka_position(self.rk, list.ptr()) };
        let found = list.find_partition(&self.name, self.partition)?;
        let position = found.offset().to_raw().and_then(|offset| u64::try_from(offset).ok())?;
        // librdkafka takes an `End` for a record and counts one too many; the next `End` tells the truth.
        self.ended.is_none_or(|ended| position != ended + 1).then_some(position)
    }

    /// Told when the queue got something since it was last found empty, or before.
    pub(super) fn filled(&self) -> Arc<Notify> {
        Arc::clone(&self.filled)
    }

    /// Serves the client's own events: log lines, errors.
    pub(super) fn serve(&self) {
        let Some(reading) = &self.reading else { return };
        while reading.client.poll(std::time::Duration::ZERO).is_some() {}
    }

    /// Ends fetching; blocks until librdkafka has let go of the partition.
    pub(super) fn stop(mut self) -> Option<Reading> {
        self.end();
        self.reading.take()
    }

    fn end(&mut self) {
        while !self.taken.is_empty() {
            self.advance();
        }
        if self.queue.is_null() {
            return;
        }
        // SAFETY: all handles are ours. The callback goes first, under the queue's lock, so that none runs when `filled`
        // goes; the partition is stopped before the queue that it feeds is destroyed, which is used no more.
        unsafe {
            bindings::rd_kafka_queue_cb_event_enable(self.queue, None, std::ptr::null_mut());
            bindings::rd_kafka_consume_stop(self.topic, self.partition);
            bindings::rd_kafka_queue_destroy(self.queue);
        }
        self.queue = std::ptr::null_mut();
    }

    fn take(&mut self) {
        let mut messages = [std::ptr::null_mut(); limits::KAFKA_TAKE_MESSAGES_MAX];
        // SAFETY: the array is as long as said; what is put into it is ours.
        let taken =
            unsafe { bindings::rd_kafka_consume_batch_queue(self.queue, 0, messages.as_mut_ptr(), messages.len()) };
        let taken = &messages[..usize::try_from(taken).unwrap_or_default()];
        for message in taken {
            // SAFETY: just taken, so it is there and ours.
            let message = unsafe { &**message };
            if RDKafkaErrorCode::from(message.err) == RDKafkaErrorCode::PartitionEOF {
                self.ended = u64::try_from(message.offset).ok();
            }
        }
        self.taken.extend(taken);
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.end();
    }
}

/// # Safety
/// `at` is null or points to `length` bytes that live as long as the caller uses the answer.
unsafe fn bytes<'a>(at: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: promised by the caller.
    (!at.is_null()).then(|| unsafe { std::slice::from_raw_parts(at.cast(), length) })
}
