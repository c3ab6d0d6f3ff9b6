//! Clients for readers: one each at a time, kept for the next one, because connecting takes milliseconds.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use annals_model::position::Offset;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::{Budget, Share};
use super::client::Quiet;
use super::native::{Fetch, Reading};
use super::settings::{Clients, LOOKUP_BUSY_MS, READER_BUSY_MS};
use crate::limits;

/// Clients of one purpose.
#[derive(Debug)]
pub(super) struct ReaderClients {
    clients: Clients,
    purpose: Purpose,
    idle: Arc<Idle>,
    /// To the thread that waits until librdkafka has let go of a partition.
    done: mpsc::Sender<Fetching>,
    made: AtomicU64,
    fetches: AtomicU64,
}

/// What they are for, and what bounds them.
#[derive(Debug)]
enum Purpose {
    /// Much, as fast as it comes: folds. Or what comes, as it comes. Their memory is shared.
    Reading(Arc<Budget>),
    /// The few records behind an offset.
    Lookup,
    /// The same, so many at a time.
    BoundedLookup(Arc<Semaphore>),
}

/// The longest idle one first.
type Idle = Mutex<VecDeque<IdleClient>>;

struct IdleClient {
    reading: Reading,
    /// Of the share that it is set for; 0 where there are no shares.
    bytes: usize,
    since: Instant,
}

impl std::fmt::Debug for IdleClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdleClient")
    }
}

/// A fetch, and what was lent for it.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) fetch: Fetch,
    share: Option<Share>,
    _place: Option<OwnedSemaphorePermit>,
}

/// How much its clients were used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderUse {
    /// Clients ever made.
    pub clients: u64,
    /// Fetches ever begun: each is at least one request to the brokers.
    pub fetches: u64,
    /// Of the memory for readers, what nobody has, bytes.
    pub bytes_left: usize,
}

impl ReaderClients {
    /// For whoever reads a partition through: a fold, a claim.
    pub(super) fn folds(clients: &Clients) -> Result<Self, std::io::Error> {
        let budget = Budget::new(limits::KAFKA_READERS_BYTES_MAX / 2, limits::KAFKA_FOLD_BYTES_MAX);
        Self::start(clients, Purpose::Reading(budget))
    }

    /// For whoever follows a partition.
    pub(super) fn tails(clients: &Clients) -> Result<Self, std::io::Error> {
        let budget = Budget::new(limits::KAFKA_READERS_BYTES_MAX / 2, limits::KAFKA_TAIL_BYTES_MAX);
        Self::start(clients, Purpose::Reading(budget))
    }

    /// For owners, who look at a few records at a time, once.
    pub(super) fn lookups(clients: &Clients) -> Result<Self, std::io::Error> {
        Self::start(clients, Purpose::Lookup)
    }

    /// For answers and histories, of which any number may be asked for at the same time.
    pub(super) fn bounded_lookups(clients: &Clients) -> Result<Self, std::io::Error> {
        Self::start(clients, Purpose::BoundedLookup(Arc::new(Semaphore::new(limits::KAFKA_LOOKUP_CLIENTS_MAX))))
    }

    fn start(clients: &Clients, purpose: Purpose) -> Result<Self, std::io::Error> {
        let idle = Arc::new(Idle::default());
        let (done, stopping) = mpsc::channel::<Fetching>();
        let kept = Arc::clone(&idle);
        std::thread::Builder::new().name("kafka readers".into()).spawn(move || keep(&kept, &stopping))?;
        let (made, fetches) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { clients: clients.clone(), purpose, idle, done, made, fetches })
    }

    pub(super) fn used(&self) -> ReaderUse {
        let bytes_left = match &self.purpose {
            Purpose::Reading(budget) => budget.left(),
            Purpose::Lookup | Purpose::BoundedLookup(_) => 0,
        };
        let (clients, fetches) = (self.made.load(Ordering::Relaxed), self.fetches.load(Ordering::Relaxed));
        ReaderUse { clients, fetches, bytes_left }
    }

    /// Begins to fetch a partition; may wait until another fetch is over.
    pub(super) async fn fetch(&self, topic: &str, partition: u16, from: Offset) -> Result<Fetching, String> {
        let (share, place) = match &self.purpose {
            Purpose::Reading(budget) => (Some(budget.share()), None),
            Purpose::Lookup => (None, None),
            Purpose::BoundedLookup(places) => {
                let place = Arc::clone(places).acquire_owned().await.map_err(|error| error.to_string())?;
                (None, Some(place))
            }
        };
        let reading = self.lend(share.as_ref().map_or(0, |share| share.bytes)).await?;
        self.fetches.fetch_add(1, Ordering::Relaxed);
        Ok(Fetching { fetch: Fetch::start(reading, topic, partition, from.0)?, share, _place: place })
    }

    /// Takes a fetch that is of no use any more. Without the thread that waits for it the log is gone; then it ends here.
    pub(super) fn end(&self, fetching: Fetching) {
        let _ = self.done.send(fetching);
    }

    /// One whose last fetch is over, or is over sooner than a new one is connected.
    async fn lend(&self, bytes: usize) -> Result<Reading, String> {
        let busy = Duration::from_millis(if bytes == 0 { LOOKUP_BUSY_MS } else { READER_BUSY_MS });
        let left = |idle: &IdleClient| busy.saturating_sub(idle.since.elapsed());
        let fits =
            |idle: &IdleClient| idle.bytes == bytes && left(idle) < Duration::from_millis(limits::KAFKA_CONNECT_MS);
        let kept = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.iter().position(fits).and_then(|index| idle.remove(index))
        };
        if let Some(idle) = kept {
            tokio::time::sleep(left(&idle)).await;
            return Ok(idle.reading);
        }
        let config = if bytes == 0 { self.clients.lookup() } else { self.clients.reader(bytes) };
        let client = BaseConsumer::from_config_and_context(&config, Quiet::default());
        self.made.fetch_add(1, Ordering::Relaxed);
        client.map(Reading::new).map_err(|error| error.to_string())
    }
}

/// Ends fetches, and keeps their clients for a while.
fn keep(idle: &Idle, stopping: &mpsc::Receiver<Fetching>) {
    let patience = Duration::from_millis(limits::KAFKA_IDLE_READER_MS);
    loop {
        match stopping.recv_timeout(patience) {
            Ok(Fetching { fetch, share, _place: place }) => {
                let bytes = share.as_ref().map_or(0, |share| share.bytes);
                if let Some(reading) = fetch.stop() {
                    let client = IdleClient { reading, bytes, since: Instant::now() };
                    let mut kept = idle.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push_back(client);
                    let surplus = if kept.len() > limits::KAFKA_IDLE_READERS_MAX { kept.pop_front() } else { None };
                    // Closing one takes a while.
                    drop(kept);
                    drop(surplus);
                }
                // Behind it: who waits for a place finds the client.
                drop((share, place));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
        loop {
            let mut kept = idle.lock().unwrap_or_else(PoisonError::into_inner);
            let old =
                if kept.front().is_some_and(|idle| idle.since.elapsed() > patience) { kept.pop_front() } else { None };
            drop(kept);
            if old.is_none() {
                break;
            }
        }
    }
}
