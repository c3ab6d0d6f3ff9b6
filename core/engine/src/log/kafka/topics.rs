//! The topics: made as they must be, or checked and refused.

use std::time::Duration;

use annals_model::position::Offset;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode;

use super::OpenError;
use super::client::Quiet;
use super::positions::{Positions, Seen, is_refusal};
use super::settings::{Clients, PROOFS_TOPIC, Setting};
use crate::limits;

/// What makes and checks topics.
pub(super) struct Topics<'a> {
    admin: AdminClient<Quiet>,
    positions: &'a Positions,
}

impl<'a> Topics<'a> {
    pub(super) fn connect(clients: &Clients, positions: &'a Positions) -> Result<Self, OpenError> {
        let admin = AdminClient::from_config_and_context(&clients.admin(), Quiet::default());
        Ok(Self { admin: admin.map_err(|error| OpenError::Client(error.to_string()))?, positions })
    }

    pub(super) async fn look(&self, topic: &str) -> Result<Seen, OpenError> {
        self.positions.topic(topic).await
    }

    /// The same for one that was made before: a broker that has not heard of it yet does not speak for all.
    pub(super) async fn look_again(&self, topic: &str) -> Result<Seen, OpenError> {
        let patience = tokio::time::Instant::now() + Duration::from_millis(limits::KAFKA_CONFIRM_MS);
        loop {
            let seen = self.look(topic).await?;
            if seen.partitions > 0 || tokio::time::Instant::now() > patience {
                return Ok(seen);
            }
            tokio::time::sleep(Duration::from_millis(limits::KAFKA_TOPIC_POLL_MS)).await;
        }
    }

    /// True if anything was ever written to a topic; one that is not there holds nothing.
    pub(super) async fn holds_records(&self, topic: &str) -> Result<bool, OpenError> {
        for partition in 0..self.look(topic).await?.count() {
            let end = self.positions.end(topic, partition).await;
            if end.map_err(|error| OpenError::Unsettled(error.to_string()))? > Offset::START {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes a topic, unless another process was faster, and returns when it can be used.
    pub(super) async fn create(&self, topic: &str, partitions: u16, settings: &[Setting]) -> Result<Seen, OpenError> {
        let brokers = self.look(topic).await?.brokers;
        let replicas = brokers.clamp(1, limits::KAFKA_REPLICAS);
        if replicas == 1 {
            tracing::warn!(
                topic,
                "made with one replica, because the cluster has one broker: its disk is the only copy"
            );
        }
        let count = i32::try_from(replicas).unwrap_or(1);
        let in_sync = if replicas > 1 { "2" } else { "1" };
        let mut new = NewTopic::new(topic, i32::from(partitions), TopicReplication::Fixed(count))
            .set("min.insync.replicas", in_sync);
        for (name, value, _) in settings {
            new = new.set(name, value);
        }
        let created = self.admin.create_topics([&new], &options()).await.map_err(unsettled)?;
        for result in created {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) if is_refusal(code) => {
                    return Err(OpenError::Unauthorized(format!("making topic {topic}")));
                }
                Err((_, code)) => return Err(OpenError::NotCreated { topic: topic.into(), cause: code.to_string() }),
            }
        }
        let patience = tokio::time::Instant::now() + Duration::from_millis(limits::KAFKA_TOPIC_MS_MAX);
        loop {
            let seen = self.look(topic).await?;
            if seen.partitions > 0 && seen.led {
                return Ok(seen);
            }
            if tokio::time::Instant::now() > patience {
                let cause = format!("no leader within {} ms", limits::KAFKA_TOPIC_MS_MAX);
                return Err(OpenError::NotCreated { topic: topic.into(), cause });
            }
            tokio::time::sleep(Duration::from_millis(limits::KAFKA_TOPIC_POLL_MS)).await;
        }
    }

    /// Makes the topic of proofs, or checks it. It holds nothing that anybody needs: one that was deleted is made anew.
    pub(super) async fn settle_proofs(&self, topic: &str) -> Result<(), OpenError> {
        let mut seen = self.look(topic).await?;
        if seen.partitions == 0 {
            seen = self.create(topic, limits::KAFKA_PROOFS_PARTITIONS, PROOFS_TOPIC).await?;
        }
        self.check(topic, seen, PROOFS_TOPIC).await?;
        match seen.count() {
            found if found < limits::KAFKA_PROOFS_PARTITIONS => {
                let (topic, wanted) = (topic.to_owned(), limits::KAFKA_PROOFS_PARTITIONS);
                Err(OpenError::PartitionCount { topic, found, wanted })
            }
            _ => Ok(()),
        }
    }

    /// A broker that has not heard of a new topic yet answers without settings: asked again.
    async fn describe(&self, topic: &str) -> Result<ConfigResource, OpenError> {
        let patience = tokio::time::Instant::now() + Duration::from_millis(limits::KAFKA_QUESTION_MS_MAX);
        loop {
            let described = self.admin.describe_configs([&ResourceSpecifier::Topic(topic)], &one_try()).await;
            let first = described.map(|described| described.into_iter().next());
            let cause = match first.map_err(|error| self.admin.inner().context().explain(&error)) {
                // Another broker is asked next.
                Err(cause) => cause,
                Ok(Some(Ok(found))) if !found.entries.is_empty() => return Ok(found),
                Ok(Some(Ok(_)) | None) => "no settings".to_owned(),
                Ok(Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition))) => "not known yet".to_owned(),
                Ok(Some(Err(code))) if is_refusal(code) => {
                    return Err(OpenError::Unauthorized(format!("describing the settings of topic {topic}")));
                }
                Ok(Some(Err(code))) => code.to_string(),
            };
            if tokio::time::Instant::now() > patience {
                return Err(OpenError::Unsettled(format!("topic {topic} cannot be described: {cause}")));
            }
            tokio::time::sleep(Duration::from_millis(limits::KAFKA_TOPIC_POLL_MS)).await;
        }
    }

    /// Refuses a topic that would lose records.
    pub(super) async fn check(&self, topic: &str, seen: Seen, settings: &[Setting]) -> Result<(), OpenError> {
        let described = self.describe(topic).await?;
        let found = |name: &str| described.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
        let refused = |setting: &str, found: String, wanted: &str, reason: &'static str| {
            let (setting, wanted) = (setting.to_owned(), wanted.to_owned());
            Err(OpenError::TopicRefused { topic: topic.into(), setting, found, wanted, reason })
        };
        for (name, wanted, reason) in settings {
            let found = found(name);
            if !suffices(name, &found, wanted) {
                return refused(name, found, wanted, reason);
            }
        }
        let replicas = seen.brokers.clamp(1, limits::KAFKA_REPLICAS);
        if seen.replicas < replicas {
            let (found, wanted) = (seen.replicas.to_string(), replicas.to_string());
            return refused("replication factor", found, &wanted, "a lost disk would lose history");
        }
        let in_sync = found("min.insync.replicas");
        if seen.replicas > 1 && !in_sync.parse().is_ok_and(|count: u32| count >= 2) {
            return refused("min.insync.replicas", in_sync, "2", "one disk alone would hold what was acknowledged");
        }
        Ok(())
    }
}

/// Sizes may be larger; everything else must be as it is said.
fn suffices(name: &str, found: &str, wanted: &str) -> bool {
    match (name, found.parse::<u64>(), wanted.parse::<u64>()) {
        ("max.message.bytes", Ok(found), Ok(wanted)) => found >= wanted,
        // Of proofs, the one kind of topic that may forget: soon enough, whoever made it.
        ("retention.ms", Ok(found), Ok(_)) => (1..=limits::KAFKA_PROOFS_MS_MAX).contains(&found),
        ("segment.ms", Ok(found), Ok(_)) => found <= limits::KAFKA_PROOFS_MS_MAX,
        _ => found == wanted,
    }
}

fn options() -> AdminOptions {
    let patience = Duration::from_millis(limits::KAFKA_TOPIC_MS_MAX);
    AdminOptions::new().request_timeout(Some(patience)).operation_timeout(Some(patience))
}

/// Of a question that any broker answers.
fn one_try() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(Duration::from_millis(limits::KAFKA_TRY_MS_MAX)))
}

fn unsettled(error: rdkafka::error::KafkaError) -> OpenError {
    OpenError::Unsettled(error.to_string())
}

#[cfg(test)]
mod tests;
