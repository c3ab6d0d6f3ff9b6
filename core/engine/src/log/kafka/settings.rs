//! Every setting that a client of Kafka is given here, with its reason. A caller's own settings (addresses, TLS, SASL)
//! come on top and may not replace these: the protocol of this log was thought out and measured with them.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::OpenError;

/// Key of records that only prove that a producer is not fenced. They have no value, and go to a topic of their own that
/// nobody reads. Older builds wrote them among the events: no reader delivers them.
pub(super) const FENCE_CHECK_KEY: &[u8] = b"$claiming";

/// Name, value, reason.
pub(super) type Setting = (&'static str, &'static str, &'static str);

/// Of every client.
const COMMON: &[Setting] = &[
    ("client.id", "annals", "names us in the brokers' logs and quotas"),
    ("socket.timeout.ms", "6000", "a commit slower than half of it ends a producer's life"),
    ("socket.nagle.disable", "true", "a commit is a chain of small requests, each waited for"),
    ("reconnect.backoff.ms", "50", "a broker that is back is found again soon"),
    ("reconnect.backoff.max.ms", "1000", "the same after a longer absence"),
    ("allow.auto.create.topics", "false", "a topic made by accident would have finite retention"),
];

/// Of every producer.
const PRODUCER: &[Setting] = &[
    ("acks", "all", "what is acknowledged is on every replica in sync"),
    ("enable.idempotence", "true", "a retried request is not written twice"),
    ("message.timeout.ms", "8000", "below the transaction's: delivery fails before the transaction does"),
    ("linger.ms", "1000", "nothing is sent before the commit flushes, so that an append is one request"),
    ("batch.size", "4000000", "the largest append fits in one record batch"),
    ("batch.num.messages", "100000", "the same, by number"),
    ("message.max.bytes", "8388608", "the largest append fits in one request"),
    ("queue.buffering.max.messages", "200000", "more than one append ever holds"),
    ("compression.type", "lz4", "halves the bytes at next to no time"),
    ("retry.backoff.ms", "20", "the first partition of a transaction is often answered `retry` once"),
];

/// Of a partition's two producers.
const TRANSACTIONAL: &[Setting] = &[
    ("transaction.timeout.ms", "10000", "how long an owner that died in a commit can hold readers back"),
    ("debug", "broker", "tells of each lost connection, after which a commit may be on its way twice"),
];

/// Of the producer of `meta` entries.
const META: &[Setting] = &[("linger.ms", "0", "one entry at a time, each waited for")];

/// Of every reader.
const READER: &[Setting] = &[
    ("isolation.level", "read_committed", "an aborted append never happened"),
    ("auto.offset.reset", "error", "a silent jump is lost history"),
    ("enable.auto.commit", "false", "checkpoints live with the rows they are about"),
    ("enable.auto.offset.store", "false", "the same"),
    ("enable.partition.eof", "true", "tells a reader that only markers are left up to the end"),
    ("check.crcs", "true", "damage is found where it is read"),
    (
        "queued.min.messages",
        "1000000",
        "a rebuild is never kept waiting by the network; its share of memory is the bound",
    ),
    ("fetch.queue.backoff.ms", "10", "a full queue is filled again soon"),
    ("fetch.wait.max.ms", "50", "longest that a new reader waits for an idle connection to be free"),
    ("fetch.error.backoff.ms", "50", "a partition whose leader moved is read again soon"),
];

/// Of a reader of few records, instead of what every reader has.
const LOOKUP: &[Setting] = &[
    ("queued.min.messages", "1", "what lies behind the records asked for is not wanted"),
    ("queued.max.messages.kbytes", "1024", "the same"),
    ("fetch.message.max.bytes", "262144", "the same; a larger append comes whole all the same"),
    ("fetch.wait.max.ms", "2", "the next lookup on this connection waits for the answer to the last question"),
];

/// Of the client that asks where partitions end.
const POSITIONS: &[Setting] = &[(
    "isolation.level",
    "read_uncommitted",
    "the last stable offset can lie below what was acknowledged, while its marker is written",
)];

/// Of the client that asks whether everything up to there is decided.
const COMMITTED_POSITIONS: &[Setting] =
    &[("isolation.level", "read_committed", "the last stable offset passes a transaction when its marker is written")];

/// Of a member of the group that shares the partitions out.
const MEMBER: &[Setting] = &[
    ("group.protocol", "classic", "the one that every broker from 4.0 on and librdkafka both have complete"),
    ("partition.assignment.strategy", "cooperative-sticky", "only what moves is given up, the rest is served on"),
    ("session.timeout.ms", "6000", "a node that died is missed after so long; the least that brokers allow"),
    ("heartbeat.interval.ms", "500", "how late a member hears that another one joined or left"),
    ("max.poll.interval.ms", "10000", "longer than any release; a member that hangs loses its share"),
    ("auto.offset.reset", "latest", "nothing is read"),
    ("enable.auto.commit", "false", "the same"),
    ("enable.auto.offset.store", "false", "the same"),
    ("queued.max.messages.kbytes", "64", "the same"),
];

/// What a topic of events must be like, as it is created.
pub(super) const EVENTS_TOPIC: &[Setting] = &[
    ("cleanup.policy", "delete", "compaction would eat history"),
    ("retention.ms", "-1", "a finite time would eat history"),
    ("retention.bytes", "-1", "a finite size would eat history"),
    ("message.timestamp.type", "CreateTime", "an event's time is its owner's, not the broker's"),
    ("max.message.bytes", "8388608", "the largest append is one record batch"),
];

/// What the topic of `meta` must be like.
pub(super) const META_TOPIC: &[Setting] = &[
    ("cleanup.policy", "compact", "the newest value of each key stays for ever"),
    ("max.message.bytes", "8388608", "as the topics of events"),
];

/// What the topic of proofs of ownership must be like. Nobody ever reads it.
pub(super) const PROOFS_TOPIC: &[Setting] = &[
    ("cleanup.policy", "delete", "a proof has no value, and compaction would refuse it without a key"),
    (
        "retention.ms",
        "3600000",
        "a proof means something only while it is made; an owner that is asked makes one a second",
    ),
    ("segment.ms", "600000", "what is old can only be deleted when its segment is closed"),
];

/// The same value as a number, milliseconds: `socket.timeout.ms`.
pub(super) const SOCKET_TIMEOUT_MS: u64 = 6_000;

/// Most that is asked for at once, bytes: the largest append.
const FETCH_BYTES_MAX: usize = 8 << 20;

/// How long a connection stays busy after its reader has gone, milliseconds: `fetch.wait.max.ms` of [`READER`].
pub(super) const READER_BUSY_MS: u64 = 50;
/// The same of [`LOOKUP`].
pub(super) const LOOKUP_BUSY_MS: u64 = 2;

/// How this log's clients reach the brokers.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    brokers: String,
    /// The caller's own: TLS, SASL.
    own: BTreeMap<String, String>,
}

impl Clients {
    /// Refuses what is not the caller's to choose, and TLS where this build has none.
    pub(super) fn new(brokers: &str, own: &BTreeMap<String, String>) -> Result<Self, OpenError> {
        let fixed = [COMMON, PRODUCER, TRANSACTIONAL, READER, LOOKUP, POSITIONS, MEMBER].concat();
        let named = ["bootstrap.servers", "transactional.id", "group.id", "group.instance.id"];
        let ours = |name: &str| named.contains(&name) || fixed.iter().any(|(ours, ..)| *ours == name);
        if let Some(name) = own.keys().find(|name| ours(name)) {
            return Err(OpenError::FixedSetting(name.clone()));
        }
        let asks_for_tls = |(name, value): (&String, &String)| {
            name.starts_with("ssl.") || name == "security.protocol" && value.to_ascii_lowercase().contains("ssl")
        };
        if !cfg!(feature = "kafka-tls") && own.iter().any(asks_for_tls) {
            return Err(OpenError::WithoutTls);
        }
        Ok(Self { brokers: brokers.into(), own: own.clone() })
    }

    pub(super) fn transactional(&self, id: &str) -> ClientConfig {
        let mut config = self.config(&[COMMON, PRODUCER, TRANSACTIONAL]);
        config.set("transactional.id", id).set_log_level(RDKafkaLogLevel::Debug);
        config
    }

    pub(super) fn meta(&self) -> ClientConfig {
        self.config(&[COMMON, PRODUCER, META])
    }

    /// Of a reader with so much memory: librdkafka asks for more while less than the one part is queued, and what it asked
    /// for comes on top.
    pub(super) fn reader(&self, bytes: usize) -> ClientConfig {
        let fetched = (bytes / 2).min(FETCH_BYTES_MAX);
        let mut config = self.config(&[COMMON, READER]);
        config.set("queued.max.messages.kbytes", ((bytes - fetched) / 1_024).to_string());
        config.set("fetch.message.max.bytes", fetched.to_string());
        config
    }

    pub(super) fn lookup(&self) -> ClientConfig {
        self.config(&[COMMON, READER, LOOKUP])
    }

    pub(super) fn positions(&self) -> ClientConfig {
        self.config(&[COMMON, POSITIONS])
    }

    pub(super) fn committed_positions(&self) -> ClientConfig {
        self.config(&[COMMON, COMMITTED_POSITIONS])
    }

    pub(super) fn member(&self, group: &str) -> ClientConfig {
        let mut config = self.config(&[COMMON, MEMBER]);
        config.set("group.id", group);
        config
    }

    pub(super) fn admin(&self) -> ClientConfig {
        self.config(&[COMMON])
    }

    fn config(&self, tables: &[&[Setting]]) -> ClientConfig {
        let mut config = ClientConfig::new();
        // What librdkafka logs heals itself or comes back as an error.
        config.set_log_level(RDKafkaLogLevel::Warning).set("bootstrap.servers", &self.brokers);
        for (name, value, _) in tables.iter().copied().flatten() {
            config.set(*name, *value);
        }
        for (name, value) in &self.own {
            config.set(name, value);
        }
        config
    }
}
