//! What the log says about itself in `meta`: its id, and how many partitions each context has. Written once, by one
//! process at a time, before anything relies on it.

use std::collections::BTreeMap;

use annals_model::ids::{ContextId, LogId};
use uuid::Uuid;

use super::meta::Meta;
use super::positions::Seen;
use super::producer::{Destination, Failure, Outgoing, Producer};
use super::settings::{Clients, EVENTS_TOPIC};
use super::topics::Topics;
use super::{KafkaOptions, OpenError};
use crate::limits;

const ID_KEY: &str = "log.id";

/// What a log is known by.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub(super) id: LogId,
    pub(super) partitions: Vec<(ContextId, u16)>,
}

type Entries = BTreeMap<String, Vec<u8>>;

pub(super) fn events_topic(prefix: &str, context: ContextId) -> String {
    format!("{prefix}.{}.events", context.name)
}

fn count_key(context: ContextId) -> String {
    format!("log.partitions.{}", context.name)
}

/// Reads the registration, and completes it where something is missing.
pub(super) async fn register(
    options: &KafkaOptions,
    contexts: &[ContextId],
    clients: &Clients,
    topics: &Topics<'_>,
    meta: &Meta,
) -> Result<Registered, OpenError> {
    let unread = |error: crate::log::ReadError| OpenError::Unsettled(error.to_string());
    let mut unsettled = "other processes register the same log all the time".to_owned();
    for _ in 0..limits::KAFKA_CLAIM_ATTEMPTS_MAX {
        let entries = meta.look(Clone::clone).await.map_err(unread)?;
        if !entries.contains_key(ID_KEY) {
            refuse_if_lost(options, contexts, topics, meta.topic()).await?;
        }
        let missing = settle(options, contexts, topics, &entries).await?;
        if missing.is_empty() {
            return read(contexts, &entries);
        }
        // Whoever registers this id after us fences us: the entries are read again behind it, so that of two processes
        // that start a new log together one finds what the other wrote.
        let to = Destination { topic: meta.topic().to_owned(), partition: 0 };
        let config = clients.transactional(&format!("{}.meta", options.prefix));
        let connected = blocking(move || Producer::connect(&config, to)).await?;
        let producer = match connected {
            Ok(producer) => producer,
            Err(Failure::Refused) => continue,
            Err(Failure::Unknown(cause)) => return Err(OpenError::Unsettled(cause)),
        };
        let entries = meta.look(Clone::clone).await.map_err(unread)?;
        let missing = settle(options, contexts, topics, &entries).await?;
        let written = blocking(move || {
            let records = missing.iter().map(|(key, value)| Outgoing {
                key: key.as_bytes(),
                value: Some(value),
                timestamp_ms: 0,
            });
            if missing.is_empty() { Ok(Vec::new()) } else { producer.transact(records) }
        });
        match written.await? {
            // Read once more: what is read is what counts.
            Ok(_) | Err(Failure::Refused) => {}
            Err(Failure::Unknown(cause)) => unsettled = cause,
        }
    }
    Err(OpenError::Unsettled(unsettled))
}

/// Reads the registration of a log that is there already: makes nothing, writes nothing.
pub(super) async fn registered(
    options: &KafkaOptions,
    contexts: &[ContextId],
    topics: &Topics<'_>,
    meta: &Meta,
) -> Result<Registered, OpenError> {
    let entries = meta.look(Clone::clone).await.map_err(|error| OpenError::Unsettled(error.to_string()))?;
    if !entries.contains_key(ID_KEY) {
        refuse_if_lost(options, contexts, topics, meta.topic()).await?;
        return Err(OpenError::NotThere(options.prefix.clone()));
    }
    for &context in contexts {
        let topic = events_topic(&options.prefix, context);
        let count = recorded(&entries, context)?.ok_or_else(|| OpenError::ContextNotThere(topic.clone()))?;
        let seen = topics.look_again(&topic).await?;
        if seen.partitions == 0 {
            return Err(OpenError::TopicLost(topic));
        }
        topics.check(&topic, seen, EVENTS_TOPIC).await?;
        check_count(options, topic, seen, count)?;
    }
    read(contexts, &entries)
}

/// Refuses a log whose `meta` does not say what it is although there are events: a new id would make every position that
/// somebody holds one of another log, in silence.
pub(super) async fn refuse_if_lost(
    options: &KafkaOptions,
    contexts: &[ContextId],
    topics: &Topics<'_>,
    meta_topic: &str,
) -> Result<(), OpenError> {
    for &context in contexts {
        if topics.holds_records(&events_topic(&options.prefix, context)).await? {
            return Err(OpenError::TopicLost(meta_topic.to_owned()));
        }
    }
    Ok(())
}

/// Makes and checks the topics of events. Returns the entries that are to be written.
async fn settle(
    options: &KafkaOptions,
    contexts: &[ContextId],
    topics: &Topics<'_>,
    entries: &Entries,
) -> Result<Vec<(String, Vec<u8>)>, OpenError> {
    let mut missing = Vec::new();
    if !entries.contains_key(ID_KEY) {
        missing.push((ID_KEY.to_owned(), Uuid::new_v4().to_string().into_bytes()));
    }
    for &context in contexts {
        let topic = events_topic(&options.prefix, context);
        let recorded = recorded(entries, context)?;
        let mut seen = match recorded {
            Some(_) => topics.look_again(&topic).await?,
            None => topics.look(&topic).await?,
        };
        match recorded {
            Some(_) if seen.partitions == 0 => return Err(OpenError::TopicLost(topic)),
            None if seen.partitions == 0 => {
                let count = options.partitions.unwrap_or(limits::LOG_PARTITIONS_DEFAULT);
                seen = topics.create(&topic, count, EVENTS_TOPIC).await?;
            }
            // Made by hand, maybe; but events are there only after the number of partitions was written.
            None if topics.holds_records(&topic).await? => {
                return Err(OpenError::MetaDamaged { key: count_key(context) });
            }
            _ => {}
        }
        topics.check(&topic, seen, EVENTS_TOPIC).await?;
        match recorded {
            Some(recorded) => check_count(options, topic, seen, recorded)?,
            None => {
                let (found, asked) = (seen.count(), options.partitions.unwrap_or_else(|| seen.count()));
                if found != asked {
                    return Err(OpenError::PartitionCount { topic, found, wanted: asked });
                }
                missing.push((count_key(context), found.to_string().into_bytes()));
            }
        }
    }
    Ok(missing)
}

/// Refuses another number than was recorded. More are borne where the number that was recorded is asked for: Kafka cannot
/// take partitions away, and nothing of ours is ever in the others.
pub(super) fn check_count(options: &KafkaOptions, topic: String, seen: Seen, recorded: u16) -> Result<(), OpenError> {
    let found = seen.count();
    match options.partitions {
        Some(asked) if asked != recorded => Err(OpenError::PartitionCount { topic, found, wanted: asked }),
        Some(_) if found > recorded => {
            tracing::warn!(topic, found, recorded, "partitions were added; they stay empty");
            Ok(())
        }
        _ if found == recorded => Ok(()),
        _ if found > recorded => Err(OpenError::PartitionsAdded { topic, found, recorded }),
        _ => Err(OpenError::PartitionCount { topic, found, wanted: recorded }),
    }
}

fn read(contexts: &[ContextId], entries: &Entries) -> Result<Registered, OpenError> {
    let id = entries.get(ID_KEY).and_then(|value| Uuid::parse_str(std::str::from_utf8(value).ok()?).ok());
    let id = id.ok_or_else(|| OpenError::MetaDamaged { key: ID_KEY.into() })?;
    let mut partitions = Vec::with_capacity(contexts.len());
    for &context in contexts {
        let count = recorded(entries, context)?;
        let count = count.ok_or_else(|| OpenError::MetaDamaged { key: count_key(context) })?;
        partitions.push((context, count));
    }
    Ok(Registered { id: LogId(id), partitions })
}

fn recorded(entries: &Entries, context: ContextId) -> Result<Option<u16>, OpenError> {
    let key = count_key(context);
    let Some(value) = entries.get(&key) else { return Ok(None) };
    let count = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    count.map(Some).ok_or(OpenError::MetaDamaged { key })
}

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T, OpenError> {
    tokio::task::spawn_blocking(call).await.map_err(|error| OpenError::Client(error.to_string()))
}
