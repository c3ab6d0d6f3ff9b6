//! Where partitions end, and what the cluster looks like: questions that block for about a millisecond.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_model::position::{ContextPartition, Offset};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::OpenError;
use super::client::Quiet;
use super::settings::Clients;
use crate::limits;
use crate::log::ReadError;

const PATIENCE: Duration = Duration::from_millis(limits::KAFKA_QUESTION_MS_MAX);

/// A client that asks.
pub(super) struct Positions {
    client: Arc<BaseConsumer<Quiet>>,
    /// Sees only what no open transaction lies before.
    committed: Arc<BaseConsumer<Quiet>>,
}

impl std::fmt::Debug for Positions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Positions")
    }
}

/// A topic as the cluster knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) brokers: usize,
    /// 0 if the topic does not exist.
    pub(super) partitions: usize,
    /// Of its least replicated partition.
    pub(super) replicas: usize,
    /// Every partition can be written.
    pub(super) led: bool,
}

impl Seen {
    /// How many partitions it has.
    pub(super) fn count(self) -> u16 {
        u16::try_from(self.partitions).unwrap_or(u16::MAX)
    }
}

impl Positions {
    pub(super) fn connect(clients: &Clients) -> Result<Self, KafkaError> {
        let client = BaseConsumer::from_config_and_context(&clients.positions(), Quiet::default())?;
        let committed = BaseConsumer::from_config_and_context(&clients.committed_positions(), Quiet::default())?;
        Ok(Self { client: Arc::new(client), committed: Arc::new(committed) })
    }

    /// Behind everything that is on the brokers, committed or not: what was acknowledged lies before it.
    pub(super) async fn end(&self, topic: &str, partition: u16) -> Result<Offset, ReadError> {
        end(&self.client, topic, partition).await
    }

    /// The same for somebody who stands at `position`. An end that lies before it would mean that history is gone: that is
    /// believed only of brokers that say it for a while, each time to somebody who has just asked who leads the
    /// partition. One that led it until a moment ago, and does not know, is behind its successor.
    pub(super) async fn end_behind(
        &self,
        at: ContextPartition,
        topic: &str,
        position: Offset,
    ) -> Result<Offset, ReadError> {
        let patience = tokio::time::Instant::now() + Duration::from_millis(limits::KAFKA_CONFIRM_MS);
        loop {
            let end = self.end(topic, at.partition.0).await?;
            if end >= position {
                return Ok(end);
            }
            if tokio::time::Instant::now() > patience {
                return Err(ReadError::BeyondEnd { at, position, end });
            }
            // What it says is looked at by the client alone.
            let _ = self.topic(topic).await;
            tokio::time::sleep(Duration::from_millis(limits::KAFKA_TOPIC_POLL_MS)).await;
        }
    }

    /// The same where no transaction is open or waits for its marker; then it moves only when something is appended.
    /// A transaction that an owner left open when it died is not waited for.
    pub(super) async fn settled_end(&self, topic: &str, partition: u16) -> Result<Offset, ReadError> {
        let (found, committed) = self.settled(topic, partition, limits::KAFKA_SETTLE_MS_MAX).await?;
        Ok(if committed >= found { committed } else { found })
    }

    /// Behind everything that readers can be given now. What was acknowledged lies before it, unless its marker is late;
    /// what an owner left open when it died lies behind it.
    pub(super) async fn readable_end(&self, topic: &str, partition: u16) -> Result<Offset, ReadError> {
        let (found, committed) = self.settled(topic, partition, limits::KAFKA_MARKER_MS_MAX).await?;
        Ok(found.min(committed))
    }

    /// Where a partition ended when this was asked, and up to where it is decided then, or after so many milliseconds.
    async fn settled(&self, topic: &str, partition: u16, patience_ms: u64) -> Result<(Offset, Offset), ReadError> {
        let found = self.end(topic, partition).await?;
        let patience = tokio::time::Instant::now() + Duration::from_millis(patience_ms);
        loop {
            let committed = self.stable_end(topic, partition).await?;
            if committed >= found || tokio::time::Instant::now() > patience {
                return Ok((found, committed));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Behind what is committed and has nothing open before it. Never an end to read up to: an owner that is about to
    /// commit may have acknowledged more by the time that this is looked at.
    pub(super) async fn stable_end(&self, topic: &str, partition: u16) -> Result<Offset, ReadError> {
        end(&self.committed, topic, partition).await
    }

    pub(super) async fn topic(&self, topic: &str) -> Result<Seen, OpenError> {
        let (client, topic) = (Arc::clone(&self.client), topic.to_owned());
        let asked = ask(&self.client, move || {
            let metadata = again(|patience| match client.fetch_metadata(Some(&topic), patience) {
                Err(error) if may_pass(&error) => Err(error),
                answer => Ok(answer),
            })?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let refused = found.and_then(|found| found.error()).map(RDKafkaErrorCode::from);
            if refused.is_some_and(is_refusal) {
                return Ok(Err(OpenError::Unauthorized(format!("topic {topic}"))));
            }
            let partitions = found.map(|found| found.partitions()).unwrap_or_default();
            Ok(Ok(Seen {
                brokers: metadata.brokers().len(),
                partitions: partitions.len(),
                replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or_default(),
                led: partitions.iter().all(|partition| partition.leader() >= 0),
            }))
        });
        asked.await.map_err(OpenError::Unreachable)?
    }
}

/// The brokers know who we are, and do not let us.
pub(super) const fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
    )
}

async fn end(client: &Arc<BaseConsumer<Quiet>>, topic: &str, partition: u16) -> Result<Offset, ReadError> {
    let (asking, topic) = (Arc::clone(client), topic.to_owned());
    let asked = ask(client, move || {
        again(|patience| match asking.fetch_watermarks(&topic, i32::from(partition), patience) {
            Err(error) if may_pass(&error) => {
                // Who leads the partition may have changed, and this client hears of it when it asks.
                let _ = asking.fetch_metadata(Some(&topic), patience);
                Err(error)
            }
            answer => Ok(answer),
        })
    });
    let (_, end) = asked.await.map_err(ReadError::Unavailable)?;
    u64::try_from(end).map(Offset).map_err(|_| ReadError::Unavailable(format!("the end is said to be {end}")))
}

/// Asks until there is an answer, or the time for a question is over: the last error then. `question` is given the time
/// for one try, and answers an error where it is worth another.
fn again<T>(mut question: impl FnMut(Duration) -> Result<Result<T, KafkaError>, KafkaError>) -> Result<T, KafkaError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match question(left.clamp(SHORTEST_TRY, Duration::from_millis(limits::KAFKA_TRY_MS_MAX))) {
            Ok(answer) => return answer,
            Err(error) if left <= SHORTEST_TRY => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(limits::KAFKA_TOPIC_POLL_MS)),
        }
    }
}

/// A try that is worth beginning.
const SHORTEST_TRY: Duration = Duration::from_millis(100);

/// A broker that does not know yet that it leads a new partition, or that it no longer leads one; or one that is gone,
/// while others know who took its place.
fn may_pass(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::ReplicaNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::FencedLeaderEpoch
                | RDKafkaErrorCode::UnknownLeaderEpoch
                | RDKafkaErrorCode::OffsetNotAvailable
                | RDKafkaErrorCode::BrokerNotAvailable
                | RDKafkaErrorCode::NetworkException
                | RDKafkaErrorCode::RequestTimedOut
                // librdkafka's own: it knows no leader, has no connection, or heard nothing.
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::WaitingForCoordinator
        )
    )
}

async fn ask<T: Send + 'static>(
    client: &Arc<BaseConsumer<Quiet>>,
    question: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, String> {
    let client = Arc::clone(client);
    let asked = tokio::task::spawn_blocking(move || {
        let answer = question();
        // Reasons wait in the client's own queue.
        while client.poll(Duration::ZERO).is_some() {}
        answer.map_err(|error| client.context().explain(&error))
    });
    asked.await.map_err(|error| error.to_string())?
}
