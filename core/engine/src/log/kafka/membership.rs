//! Which partitions should this node try to own? The brokers share them out among the members of one consumer group,
//! `{prefix}.nodes`. Nothing is read through it, and nothing rests on it: two nodes that both believe that they own a
//! partition are told apart by the fence of its writers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use annals_model::ids::{ContextId, Partition};
use annals_model::position::ContextPartition;
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::client::log;
use super::registry::events_topic;
use super::{KafkaLog, OpenError};
use crate::limits;
use crate::log::BoxFuture;
use crate::owners::Assigned;

type Release = dyn Fn(Vec<ContextPartition>) -> BoxFuture<'static, ()> + Send + Sync;

/// One node's place in the group, until it leaves or is dropped.
#[derive(Debug)]
pub struct Membership {
    assigned: watch::Receiver<Assigned>,
    leaving: Leaving,
    left: oneshot::Receiver<()>,
}

/// Told to the member's thread when its handle goes.
#[derive(Debug)]
struct Leaving(Arc<AtomicBool>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Membership {
    /// Joins the group of the log's nodes; needs a tokio runtime. What the node is given shows in [`Self::assigned`]
    /// soon after, once the brokers can be reached.
    ///
    /// Before partitions are given up they vanish from [`Self::assigned`]; then `release` is awaited, at most
    /// [`limits::KAFKA_RELEASE_MS_MAX`]: it should return when their owners have let go of them.
    pub fn join(
        log: &KafkaLog,
        release: impl Fn(Vec<ContextPartition>) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        let topics: BTreeMap<_, _> =
            log.partitions.keys().map(|context| (events_topic(&log.options.prefix, *context), *context)).collect();
        let names: Vec<_> = topics.keys().cloned().collect();
        let (publish, assigned) = watch::channel(Assigned::default());
        let (counts, runtime) = (log.partitions.clone(), Handle::current());
        let share = Share { topics, counts, publish, release: Box::new(release), runtime };
        let config = log.clients.member(&format!("{}.nodes", log.options.prefix));
        let unmade = |error: KafkaError| OpenError::Client(error.to_string());
        let consumer = BaseConsumer::from_config_and_context(&config, share).map_err(unmade)?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(unmade)?;
        let leaving = Arc::new(AtomicBool::new(false));
        let (told, left) = oneshot::channel();
        let ends = Arc::clone(&leaving);
        std::thread::Builder::new()
            .name("kafka member".into())
            .spawn(move || {
                serve(&consumer, &ends);
                // Gives up what it has, and says goodbye to the group.
                drop(consumer);
                // Nobody waits, maybe.
                let _ = told.send(());
            })
            .map_err(|error| OpenError::Client(format!("no thread for the group of nodes: {error}")))?;
        Ok(Self { assigned, leaving: Leaving(leaving), left })
    }

    /// What this node should try to own; empty until the group has given it something, and again when its membership
    /// is lost. Its sender goes when the node has left.
    pub fn assigned(&self) -> watch::Receiver<Assigned> {
        self.assigned.clone()
    }

    /// Gives everything up as any other partition, and leaves the group, so that the others need not wait until it is
    /// missed. Returns within [`limits::KAFKA_LEAVE_MS_MAX`]; what is not done by then ends in the background.
    pub async fn leave(self) {
        let Self { leaving, left, .. } = self;
        drop(leaving);
        if tokio::time::timeout(Duration::from_millis(limits::KAFKA_LEAVE_MS_MAX), left).await.is_err() {
            tracing::warn!("the group of nodes was not left in time; the others notice within seconds");
        }
    }
}

/// Serves the group's events until it is told to end.
fn serve(consumer: &BaseConsumer<Share>, ends: &AtomicBool) {
    let mut told: Option<Instant> = None;
    let quiet = Duration::from_millis(limits::KAFKA_MEMBER_WARN_MS);
    while !ends.load(Ordering::Acquire) {
        match consumer.poll(Duration::from_millis(limits::KAFKA_MEMBER_POLL_MS)) {
            // Everything assigned is paused: a record that came all the same is nothing to us.
            None | Some(Ok(_)) => {}
            Some(Err(error)) if told.is_none_or(|at| at.elapsed() > quiet) => {
                told = Some(Instant::now());
                tracing::warn!(%error, "the group of nodes cannot be served now; it is tried again");
            }
            Some(Err(_)) => {}
        }
    }
}

/// This node's share, as the group's events change it.
struct Share {
    topics: BTreeMap<String, ContextId>,
    counts: HashMap<ContextId, u16>,
    publish: watch::Sender<Assigned>,
    release: Box<Release>,
    runtime: Handle,
}

impl Share {
    /// Partitions of contexts that this build does not know are nothing to it, nor are those that somebody added.
    fn partitions(&self, list: &TopicPartitionList) -> Vec<ContextPartition> {
        let elements = list.elements();
        let known = elements.iter().filter_map(|element| {
            let context = *self.topics.get(element.topic())?;
            let number = u16::try_from(element.partition()).ok()?;
            (number < *self.counts.get(&context)?).then_some(ContextPartition { context, partition: Partition(number) })
        });
        known.collect()
    }

    /// Wakes nobody for nothing: most rebalances move nothing of this node's.
    fn change(&self, change: impl FnOnce(&mut BTreeSet<ContextPartition>)) {
        self.publish.send_if_modified(|assigned| {
            let before = assigned.len();
            change(Arc::make_mut(assigned));
            assigned.len() != before
        });
    }

    fn take(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) -> KafkaResult<()> {
        // Were something fetched before the pause arrives, it would be next to nothing.
        list.set_all_offsets(Offset::End)?;
        consumer.incremental_assign(list)?;
        consumer.pause(list)?;
        let taken = self.partitions(list);
        tracing::info!(partitions = taken.len(), "the group of nodes gave partitions to this one");
        self.change(|assigned| assigned.extend(taken));
        Ok(())
    }

    fn give_up(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<()> {
        let given = self.partitions(list);
        self.change(|assigned| assigned.retain(|at| !given.contains(at)));
        if !given.is_empty() {
            let lost = consumer.assignment_lost();
            tracing::info!(partitions = given.len(), lost, "the group of nodes takes partitions from this one");
            let patience = Duration::from_millis(limits::KAFKA_RELEASE_MS_MAX);
            let released = (self.release)(given);
            // This thread is none of the runtime's, so it may wait for it.
            if self.runtime.block_on(async { tokio::time::timeout(patience, released).await }).is_err() {
                tracing::warn!("partitions were not released in time; whoever claims them fences this node");
            }
        }
        consumer.incremental_unassign(list)
    }
}

impl ClientContext for Share {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka member");
    }
}

impl ConsumerContext for Share {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let changed = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.take(consumer, list),
            _ => self.give_up(consumer, list),
        };
        if let Err(error) = changed {
            tracing::warn!(%error, "the group of nodes could not be followed; the next change of it is");
        }
    }
}
