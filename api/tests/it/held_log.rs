//! A view of the log for the read models, which stands still when a test wants them to be behind.

use std::sync::Arc;

use annals_engine::log::{BoxFuture, ClaimError, Claimed, EventLog, LogReader, MetaError, Owner, RawBatch, ReadError};
use annals_model::ids::{ContextId, LogId};
use annals_model::position::{ContextPartition, Offset, Ordinal};
use tokio::sync::watch;

/// The log, whose readers deliver nothing while it is held.
#[derive(Debug)]
pub(crate) struct HeldLog {
    log: Arc<dyn EventLog>,
    pub(crate) flowing: watch::Sender<bool>,
}

impl HeldLog {
    pub(crate) fn new(log: Arc<dyn EventLog>) -> Arc<Self> {
        Arc::new(Self { log, flowing: watch::Sender::new(true) })
    }
}

impl EventLog for HeldLog {
    fn id(&self) -> LogId {
        self.log.id()
    }
    fn partitions(&self, context: ContextId) -> u16 {
        self.log.partitions(context)
    }
    fn claim(&self, at: ContextPartition, owner: Owner) -> BoxFuture<'_, Result<Claimed, ClaimError>> {
        self.log.claim(at, owner)
    }
    fn reader(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        Box::pin(async move {
            let reader = self.log.reader(at, from).await?;
            Ok(Box::new(HeldReader { reader, flowing: self.flowing.subscribe() }) as Box<dyn LogReader>)
        })
    }
    fn end(&self, at: ContextPartition) -> BoxFuture<'_, Result<Offset, ReadError>> {
        self.log.end(at)
    }
    fn last_ordinal(&self, at: ContextPartition) -> BoxFuture<'_, Result<Ordinal, ReadError>> {
        self.log.last_ordinal(at)
    }
    fn meta_get(&self, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, ReadError>> {
        self.log.meta_get(key)
    }
    fn meta_list(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<(String, Vec<u8>)>, ReadError>> {
        self.log.meta_list(prefix)
    }
    fn meta_put(&self, key: &str, value: &[u8]) -> BoxFuture<'_, Result<(), MetaError>> {
        self.log.meta_put(key, value)
    }
}

#[derive(Debug)]
struct HeldReader {
    reader: Box<dyn LogReader>,
    flowing: watch::Receiver<bool>,
}

impl LogReader for HeldReader {
    fn position(&self) -> Offset {
        self.reader.position()
    }
    fn next<'a>(&'a mut self, batch: &'a mut RawBatch) -> BoxFuture<'a, Result<(), ReadError>> {
        Box::pin(async move {
            // Whoever drops the log does not need it to flow.
            let _ = self.flowing.wait_for(|flowing| *flowing).await;
            self.reader.next(batch).await
        })
    }
    fn wait(&mut self) -> BoxFuture<'_, Result<(), ReadError>> {
        self.reader.wait()
    }
}
