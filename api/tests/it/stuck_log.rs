//! A log of which parts stand still when a test wants them to: the appends of one partition, or its `meta`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_engine::log::layer::Layer;
use annals_engine::log::{
    AppendBatch, AppendOutcome, BoxFuture, ClaimError, Claimed, EventLog, LogWriter, Owner, ProofOutcome, ReadError,
};
use annals_model::position::{ClaimEpoch, ContextPartition};
use tokio::sync::watch;

/// The log.
#[derive(Debug)]
pub(crate) struct StuckLog {
    log: Arc<dyn EventLog>,
    /// The partition whose appends do not end.
    pub(crate) stuck: watch::Sender<Option<ContextPartition>>,
    /// How many of them have begun.
    pub(crate) appends_stuck: watch::Sender<usize>,
    /// Its `meta` answers nothing.
    pub(crate) meta_stuck: watch::Sender<bool>,
    /// How often all of `meta` was read.
    pub(crate) meta_reads: AtomicUsize,
}

impl StuckLog {
    pub(crate) fn new(log: Arc<dyn EventLog>) -> Arc<Self> {
        let (stuck, meta_stuck) = (watch::Sender::new(None), watch::Sender::new(false));
        Arc::new(Self { log, stuck, appends_stuck: watch::Sender::new(0), meta_stuck, meta_reads: AtomicUsize::new(0) })
    }
}

impl Layer for StuckLog {
    fn beneath(&self) -> &dyn EventLog {
        &*self.log
    }
    fn claim(&self, at: ContextPartition, owner: Owner) -> BoxFuture<'_, Result<Claimed, ClaimError>> {
        Box::pin(async move {
            let Claimed { writer, barrier } = self.log.claim(at, owner).await?;
            let (stuck, begun) = (self.stuck.subscribe(), self.appends_stuck.clone());
            Ok(Claimed { writer: Box::new(StuckWriter { writer, at, stuck, begun }), barrier })
        })
    }
    fn meta_list(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<(String, Vec<u8>)>, ReadError>> {
        self.meta_reads.fetch_add(1, Ordering::Relaxed);
        let prefix = prefix.to_owned();
        Box::pin(async move {
            // Whoever drops the log does not need it any more.
            let _ = self.meta_stuck.subscribe().wait_for(|stuck| !*stuck).await;
            self.log.meta_list(&prefix).await
        })
    }
}

#[derive(Debug)]
struct StuckWriter {
    writer: Box<dyn LogWriter>,
    at: ContextPartition,
    stuck: watch::Receiver<Option<ContextPartition>>,
    begun: watch::Sender<usize>,
}

impl LogWriter for StuckWriter {
    fn claim_epoch(&self) -> ClaimEpoch {
        self.writer.claim_epoch()
    }
    fn append(self: Box<Self>, batch: AppendBatch) -> BoxFuture<'static, AppendOutcome> {
        let Self { writer, at, mut stuck, begun } = *self;
        Box::pin(async move {
            if *stuck.borrow() == Some(at) {
                begun.send_modify(|begun| *begun += 1);
            }
            let _ = stuck.wait_for(|stuck| *stuck != Some(at)).await;
            let again = |writer| Box::new(Self { writer, at, stuck, begun }) as Box<dyn LogWriter>;
            match writer.append(batch).await {
                AppendOutcome::Durable { writer, positions } => {
                    AppendOutcome::Durable { writer: again(writer), positions }
                }
                AppendOutcome::Aborted { writer, cause } => AppendOutcome::Aborted { writer: again(writer), cause },
                ended @ (AppendOutcome::Fenced | AppendOutcome::Unknown { .. }) => ended,
            }
        })
    }
    fn prove(self: Box<Self>) -> BoxFuture<'static, ProofOutcome> {
        self.writer.prove()
    }
}
