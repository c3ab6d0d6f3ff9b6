//! The log on Apache Kafka (4.0 or newer). Behind the cargo feature `kafka`, which is off by default: whoever embeds the
//! engine with SQLite alone need not compile librdkafka.
//!
//! A topic per context holds its partitions (`topics`), one compacted topic what a starting process must know (`meta`,
//! `registry`). A partition's owner is a thread with two transactional producers (`writer`, `producer`): the brokers'
//! fencing of transactional ids is what makes it the only one. Readers see committed records alone (`reader`); where a
//! partition ends is asked of another client (`positions`). `native` is the one module with `unsafe` code, `settings`
//! has every setting and why.

mod budget;
mod client;
mod guard;
mod lookups;
pub mod membership;
mod meta;
#[cfg(feature = "seeded-bugs")]
mod mistakes;
mod native;
mod positions;
mod producer;
mod reader;
mod reader_clients;
mod registry;
mod settings;
mod tail;
mod topics;
mod witness;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use annals_model::ids::{ContextId, LogId};
use annals_model::position::{ContextPartition, Offset, Ordinal, RecordOffset};
use tokio::sync::watch;

use self::guard::{Guard, Trouble};
use self::lookups::{Lookups, Run};
use self::meta::Meta;
use self::positions::Positions;
use self::producer::Destination;
use self::reader::PartitionReader;
use self::reader_clients::ReaderClients;
pub use self::reader_clients::ReaderUse;
use self::registry::{Registered, events_topic};
use self::settings::{Clients, META_TOPIC};
use self::tail::Certainty;
use self::topics::Topics;
use self::witness::Witness;
use self::writer::{ClaimTurn, Claiming};
use super::{BoxFuture, ClaimError, Claimed, EventLog, LogReader, MetaEntry, MetaError, Owner, RawBatch, ReadError};
use crate::limits;

/// How the log is reached.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// Addresses to begin with: `host:port`, comma-separated.
    pub brokers: String,
    /// First part of all topic names and transactional ids; another prefix is another log.
    pub prefix: String,
    /// Partitions per context. Of a new context: 4 if not given. Of one that exists: refused if it has another number.
    pub partitions: Option<u16>,
    /// Settings of librdkafka that are passed through: `security.protocol`, `ssl.*`, `sasl.*`.
    pub client: BTreeMap<String, String>,
}

impl KafkaOptions {
    /// Without TLS, with the prefix `annals`.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), prefix: "annals".into(), partitions: None, client: BTreeMap::new() }
    }
}

/// Why the log cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Choose a number in the range.
    #[error("{0} partitions; 1 to {max} are possible", max = limits::LOG_PARTITIONS_MAX)]
    InvalidPartitionCount(u16),
    /// Choose a prefix that topics can be named with.
    #[error("prefix {0:?}; letters, digits, `-`, `_` and `.` are possible, 1 to {max}", max = limits::KAFKA_PREFIX_BYTES_MAX)]
    InvalidPrefix(String),
    /// Leave the setting out: the log depends on its own value of it.
    #[error("setting {0} is not free to choose")]
    FixedSetting(String),
    /// Correct the settings that are passed through.
    #[error("a client of kafka cannot be made: {0}")]
    Client(String),
    /// Some broker answers, but not the one that is needed; try again with backoff, and see whether all of them run.
    #[error(
        "kafka answers, but not to everything: {0}; a broker may be down, or only just be back: look whether all run"
    )]
    Unsettled(String),
    /// Check the addresses and that the brokers run; try again with backoff.
    #[error("kafka cannot be reached: {0}; check the addresses, that the brokers run and that they let us in")]
    Unreachable(String),
    /// Grant the user what the message names.
    #[error(
        "the brokers refuse {0} to this user; on topics that begin with the prefix it needs DESCRIBE, DESCRIBE_CONFIGS, \
         READ and WRITE (and CREATE unless they are made by hand), on such transactional ids DESCRIBE and WRITE, on such \
         groups READ"
    )]
    Unauthorized(String),
    /// Use a build that has TLS, or connect without.
    #[error("TLS is asked for, and this build has none; build it with the cargo feature `kafka-tls`")]
    WithoutTls,
    /// Check brokers and prefix; where they are right, nobody has served this log yet. Who only reads may wait for that.
    // Advises nobody to start a server: with a misspelt prefix it would make another log.
    #[error(
        "there is no log with the prefix {0:?} on these brokers; check `log.prefix` and `log.brokers`: if they are right, \
         no server has served this log yet"
    )]
    NotThere(String),
    /// The log is of an older build: the first server of this build adds the context. Who only reads may wait for that.
    #[error("the log has no topic {0} yet; the first server of this build makes it")]
    ContextNotThere(String),
    /// Make the topic by hand, or let this user make topics.
    #[error("topic {topic} cannot be made: {cause}; make it by hand, or let this user make topics")]
    NotCreated {
        /// The topic.
        topic: String,
        /// What the brokers said.
        cause: String,
    },
    /// Change the topic before history is lost.
    #[error("topic {topic} has {setting} = {found:?}, needed is {wanted}: {reason}")]
    TopicRefused {
        /// The topic.
        topic: String,
        /// Which setting.
        setting: String,
        /// Its value.
        found: String,
        /// The value that it needs.
        wanted: String,
        /// What would happen otherwise.
        reason: &'static str,
    },
    /// The topic's number of partitions is fixed at its creation: go back to it, or export into another log.
    #[error("topic {topic} has {found} partitions, not {wanted}; the number is fixed when a context is created")]
    PartitionCount {
        /// The topic.
        topic: String,
        /// What it has.
        found: u16,
        /// What was recorded or asked for.
        wanted: u16,
    },
    /// Partitions were added to the topic, which Kafka cannot undo: ask for the number that was recorded.
    #[error(
        "topic {topic} has {found} partitions, {recorded} when it was created; ask for `partitions = {recorded}` to go \
         on with those: kafka cannot take the others away, and they stay empty"
    )]
    PartitionsAdded {
        /// The topic.
        topic: String,
        /// What it has.
        found: u16,
        /// What it had.
        recorded: u16,
    },
    /// Restore the topic: history was deleted, or what tells whose history the others hold.
    #[error(
        "topic {0} was here before, and it or what was in it is gone; restore it, or use another prefix for a new log"
    )]
    TopicLost(String),
    /// Restore the topic of `meta`.
    #[error("meta entry {key} cannot be read; restore it")]
    MetaDamaged {
        /// Which.
        key: String,
    },
}

/// The log on Kafka.
#[derive(Debug)]
pub struct KafkaLog {
    id: LogId,
    /// Makes what is missing.
    serves: bool,
    options: KafkaOptions,
    partitions: HashMap<ContextId, u16>,
    clients: Clients,
    positions: Arc<Positions>,
    readers: Arc<ReaderClients>,
    tails: Arc<ReaderClients>,
    lookups: Arc<ReaderClients>,
    answers: Arc<Lookups>,
    meta: Meta,
    /// Claims of one partition in this process come one after another: they would only fence each other.
    claims: HashMap<ContextPartition, ClaimTurn>,
    trouble: watch::Sender<Trouble>,
    _guard: Guard,
}

impl KafkaLog {
    /// Opens the log of this prefix, or creates it; contexts that it does not have yet are added. Needs a tokio runtime.
    pub async fn connect(options: KafkaOptions, contexts: &[ContextId]) -> Result<Arc<Self>, OpenError> {
        let parts = Parts::connect(&options)?;
        let topics = Topics::connect(&parts.clients, &parts.positions)?;
        let meta_topic = meta_topic(&options);
        let mut seen = topics.look(&meta_topic).await?;
        if seen.partitions == 0 {
            registry::refuse_if_lost(&options, contexts, &topics, &meta_topic).await?;
            seen = topics.create(&meta_topic, 1, META_TOPIC).await?;
        }
        topics.check(&meta_topic, seen, META_TOPIC).await?;
        topics.settle_proofs(&proofs_topic(&options)).await?;
        let meta = parts.meta(meta_topic)?;
        let registered = registry::register(&options, contexts, &parts.clients, &topics, &meta).await?;
        drop(topics);
        Ok(Self::of(options, parts, meta, registered, true))
    }

    /// Opens a log that is there already, for everybody who only reads. Makes nothing, and refuses what is not there.
    pub async fn open_existing(options: KafkaOptions, contexts: &[ContextId]) -> Result<Arc<Self>, OpenError> {
        let parts = Parts::connect(&options)?;
        let topics = Topics::connect(&parts.clients, &parts.positions)?;
        let meta_topic = meta_topic(&options);
        let seen = topics.look(&meta_topic).await?;
        if seen.partitions == 0 {
            registry::refuse_if_lost(&options, contexts, &topics, &meta_topic).await?;
            return Err(OpenError::NotThere(options.prefix));
        }
        topics.check(&meta_topic, seen, META_TOPIC).await?;
        let meta = parts.meta(meta_topic)?;
        let registered = registry::registered(&options, contexts, &topics, &meta).await?;
        drop(topics);
        Ok(Self::of(options, parts, meta, registered, false))
    }

    fn of(options: KafkaOptions, parts: Parts, meta: Meta, registered: Registered, serves: bool) -> Arc<Self> {
        let partitions: HashMap<_, _> = registered.partitions.into_iter().collect();
        let all = partitions.iter().flat_map(|(context, count)| (0..*count).map(|number| (*context, number)));
        let claims = all.map(|(context, number)| {
            let partition = annals_model::ids::Partition(number);
            (ContextPartition { context, partition }, ClaimTurn::default())
        });
        let claims = claims.collect();
        let Parts { clients, positions, readers, tails, lookups, answers } = parts;
        let trouble = watch::Sender::default();
        Arc::new_cyclic(|log| Self {
            id: registered.id,
            serves,
            options,
            partitions,
            clients,
            readers,
            tails,
            lookups,
            answers: Lookups::new(answers, Arc::clone(&positions)),
            positions,
            meta,
            claims,
            _guard: Guard::start(log.clone(), trouble.subscribe()),
            trouble,
        })
    }

    /// The topic of a partition that exists.
    fn topic(&self, at: ContextPartition) -> Result<String, ReadError> {
        if !self.claims.contains_key(&at) {
            return Err(ReadError::Unavailable(format!("the log has no partition {at}")));
        }
        Ok(events_topic(&self.options.prefix, at.context))
    }

    fn witness(&self, at: ContextPartition, topic: String) -> Witness {
        let (lookups, positions) = (Arc::clone(&self.lookups), Arc::clone(&self.positions));
        Witness { lookups, positions, at, topic }
    }

    /// Where the partition's owner proves that it is the owner.
    fn proofs(&self, at: ContextPartition) -> Destination {
        let partition = at.partition.0 % limits::KAFKA_PROOFS_PARTITIONS;
        Destination { topic: proofs_topic(&self.options), partition }
    }

    /// How much was used to look up single records, for answers and by owners.
    pub fn lookup_use(&self) -> ReaderUse {
        let (answers, owners) = (self.answers.clients().used(), self.lookups.used());
        ReaderUse {
            clients: answers.clients + owners.clients,
            fetches: answers.fetches + owners.fetches,
            bytes_left: answers.bytes_left + owners.bytes_left,
        }
    }

    /// How much is used by those who follow partitions.
    pub fn tail_use(&self) -> ReaderUse {
        self.tails.used()
    }

    async fn open(
        &self,
        clients: &Arc<ReaderClients>,
        at: ContextPartition,
        from: Offset,
    ) -> Result<PartitionReader, ReadError> {
        let (topic, positions) = (self.topic(at)?, Arc::clone(&self.positions));
        PartitionReader::open(clients, positions, at, topic, from).await
    }
}

/// What talks to the brokers.
struct Parts {
    clients: Clients,
    positions: Arc<Positions>,
    readers: Arc<ReaderClients>,
    tails: Arc<ReaderClients>,
    lookups: Arc<ReaderClients>,
    answers: Arc<ReaderClients>,
}

impl Parts {
    /// Refuses options that cannot be; reaches for nobody yet.
    fn connect(options: &KafkaOptions) -> Result<Self, OpenError> {
        if let Some(count) = options.partitions.filter(|count| !(1..=limits::LOG_PARTITIONS_MAX).contains(count)) {
            return Err(OpenError::InvalidPartitionCount(count));
        }
        let nameable = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let length = options.prefix.len();
        if length == 0 || length > limits::KAFKA_PREFIX_BYTES_MAX || !options.prefix.bytes().all(nameable) {
            return Err(OpenError::InvalidPrefix(options.prefix.clone()));
        }
        let clients = Clients::new(&options.brokers, &options.client)?;
        let positions = Arc::new(Positions::connect(&clients).map_err(unmade)?);
        let unstarted = |error: std::io::Error| OpenError::Client(error.to_string());
        let readers = Arc::new(ReaderClients::folds(&clients).map_err(unstarted)?);
        let tails = Arc::new(ReaderClients::tails(&clients).map_err(unstarted)?);
        let lookups = Arc::new(ReaderClients::lookups(&clients).map_err(unstarted)?);
        let answers = Arc::new(ReaderClients::bounded_lookups(&clients).map_err(unstarted)?);
        Ok(Self { clients, positions, readers, tails, lookups, answers })
    }

    fn meta(&self, topic: String) -> Result<Meta, OpenError> {
        Meta::connect(&self.clients, topic, Arc::clone(&self.readers), Arc::clone(&self.positions)).map_err(unmade)
    }
}

fn proofs_topic(options: &KafkaOptions) -> String {
    format!("{}.proofs", options.prefix)
}

fn meta_topic(options: &KafkaOptions) -> String {
    format!("{}.meta", options.prefix)
}

fn unmade(error: rdkafka::error::KafkaError) -> OpenError {
    OpenError::Client(error.to_string())
}

impl EventLog for KafkaLog {
    fn trouble(&self) -> Option<String> {
        self.trouble.borrow().as_ref().map(|trouble| trouble.to_string())
    }

    fn id(&self) -> LogId {
        self.id
    }

    fn partitions(&self, context: ContextId) -> u16 {
        self.partitions.get(&context).copied().unwrap_or_default()
    }

    fn claim(&self, at: ContextPartition, owner: Owner) -> BoxFuture<'_, Result<Claimed, ClaimError>> {
        Box::pin(async move {
            let turn = self.claims.get(&at).ok_or(ClaimError::NoSuchPartition(at))?;
            let _turn = turn.lock().await;
            if let Some(trouble) = self.trouble() {
                return Err(ClaimError::Unavailable(trouble));
            }
            let topic = events_topic(&self.options.prefix, at.context);
            let to = Destination { topic: topic.clone(), partition: at.partition.0 };
            let id = format!("{}.{}.{}", self.options.prefix, at.context.name, at.partition.0);
            let proofs = self.proofs(at);
            let witness = self.witness(at, topic);
            #[cfg(feature = "seeded-bugs")]
            let seeming = mistakes::seeming_barrier(&self.positions, &to).await?;
            let (clients, trouble) = (self.clients.clone(), self.trouble.subscribe());
            let claimed =
                writer::claim(Claiming { clients, at, to, proofs, id, owner, witness: witness.clone(), trouble }).await;
            let writer = match claimed {
                Ok(writer) => writer,
                Err(error) => {
                    // A topic that is gone is a better answer than a producer that hears nothing of it.
                    let _ = self.check_topics().await;
                    return Err(self.trouble().map_or(error, ClaimError::Unavailable));
                }
            };
            let barrier = writer.barrier();
            #[cfg(feature = "seeded-bugs")]
            let barrier = seeming.unwrap_or(barrier);
            let tail =
                tail::last_ordinal_before(&witness, barrier, Certainty::Likely).await.map_err(|error| match error {
                    ReadError::Unavailable(cause) => ClaimError::Unavailable(cause),
                    damaged => ClaimError::Read(damaged),
                })?;
            let writer = writer.behind(tail);
            Ok(Claimed { writer: Box::new(writer), barrier })
        })
    }

    fn reader(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        Box::pin(async move { Ok(Box::new(self.open(&self.readers, at, from).await?) as Box<dyn LogReader>) })
    }

    fn tail(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        Box::pin(async move {
            let reader = self.open(&self.tails, at, from).await?.following();
            Ok(Box::new(reader) as Box<dyn LogReader>)
        })
    }

    fn read_run(
        &self,
        at: ContextPartition,
        first: RecordOffset,
        count: usize,
    ) -> BoxFuture<'_, Result<RawBatch, ReadError>> {
        Box::pin(async move { self.answers.find(at, self.topic(at)?, vec![Run { first, count }]).await })
    }

    fn read_each<'a>(
        &'a self,
        at: ContextPartition,
        offsets: &'a [RecordOffset],
    ) -> BoxFuture<'a, Result<RawBatch, ReadError>> {
        let runs = offsets.iter().map(|first| Run { first: *first, count: 1 }).collect();
        Box::pin(async move { self.answers.find(at, self.topic(at)?, runs).await })
    }

    fn lookup(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        Box::pin(async move { Ok(Box::new(self.open(&self.lookups, at, from).await?) as Box<dyn LogReader>) })
    }

    fn end(&self, at: ContextPartition) -> BoxFuture<'_, Result<Offset, ReadError>> {
        Box::pin(async move { self.positions.settled_end(&self.topic(at)?, at.partition.0).await })
    }

    fn last_ordinal(&self, at: ContextPartition) -> BoxFuture<'_, Result<Ordinal, ReadError>> {
        Box::pin(async move { tail::last_ordinal(&self.witness(at, self.topic(at)?)).await })
    }

    fn meta_get(&self, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, ReadError>> {
        let key = key.to_owned();
        Box::pin(async move { self.meta.look(|entries| entries.get(&key).cloned()).await })
    }

    fn meta_list(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<MetaEntry>, ReadError>> {
        let prefix = prefix.to_owned();
        Box::pin(async move {
            self.meta
                .look(|entries| {
                    let found = entries.iter().filter(|(key, _)| key.starts_with(&prefix));
                    found.map(|(key, value)| (key.clone(), value.clone())).collect()
                })
                .await
        })
    }

    fn meta_put(&self, key: &str, value: &[u8]) -> BoxFuture<'_, Result<(), MetaError>> {
        let (key, value) = (key.to_owned(), value.to_owned());
        Box::pin(async move {
            super::admission::admit_meta(&key, &value).map_err(MetaError)?;
            self.meta.put(&key, &value).await.map_err(MetaError)
        })
    }
}
