//! A view of the log for the read models, which stands still when a test wants them to be behind.

use std::sync::Arc;

use annals_engine::log::layer::Layer;
use annals_engine::log::{BoxFuture, EventLog, LogReader, RawBatch, ReadError};
use annals_model::position::{ContextPartition, Offset};
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

impl Layer for HeldLog {
    fn beneath(&self) -> &dyn EventLog {
        &*self.log
    }
    fn reader(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        Box::pin(async move {
            let reader = self.log.reader(at, from).await?;
            Ok(Box::new(HeldReader { reader, flowing: self.flowing.subscribe() }) as Box<dyn LogReader>)
        })
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
