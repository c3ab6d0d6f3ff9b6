//! A log that breaks its contract on purpose, around the test log.

use std::sync::Arc;
use std::time::Duration;

use annals_engine::log::checked::CheckedReader;
use annals_engine::log::layer::Layer;
use annals_engine::log::memory::MemoryLog;
use annals_engine::log::{
    AppendBatch, AppendOutcome, BoxFuture, ClaimError, Claimed, EventLog, LogWriter, MetaError, Owner, ProofOutcome,
};
use annals_model::envelope::{Envelope, Record, put_frame};
use annals_model::position::{Checkpoint, ClaimEpoch, ContextPartition, RecordOffset};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogBug {
    /// Says `Durable` whatever became of the append.
    AnswersBeforeCommit,
    /// After `Unknown` it claims again and appends again, without a look at what is there.
    RetriesUnknownBlindly,
    /// After `Unknown` it says that nothing was written.
    CallsUnknownAborted,
    /// Whoever was fenced goes on writing, and is told that it still owns the partition.
    ForgetsFencing,
    /// No mistake, only slow: a claim returns two seconds late, and a rival has claimed meanwhile.
    ClaimsLate,
    /// No mistake, only down: a claim never returns.
    ClaimsNever,
    /// The same of an append.
    AppendsNever,
    /// Nobody can make himself known.
    OwnersAreNotWritten,
}

#[derive(Debug)]
pub(crate) struct BuggyLog {
    inner: Arc<MemoryLog>,
    bug: LogBug,
}

impl BuggyLog {
    pub(crate) fn around(inner: Arc<MemoryLog>, bug: LogBug) -> Arc<dyn EventLog> {
        Arc::new(Self { inner, bug })
    }
}

#[derive(Debug)]
struct BuggyWriter {
    log: Arc<MemoryLog>,
    bug: LogBug,
    at: ContextPartition,
    claim_epoch: ClaimEpoch,
    /// Nothing for a zombie.
    writer: Option<Box<dyn LogWriter>>,
}

impl BuggyWriter {
    fn with(self, writer: Box<dyn LogWriter>) -> Box<Self> {
        Box::new(Self { claim_epoch: writer.claim_epoch(), writer: Some(writer), ..self })
    }

    async fn append_anyhow(mut self, batch: AppendBatch) -> AppendOutcome {
        let Some(writer) = self.writer.take() else { return self.append_as_zombie(&batch) };
        if self.bug == LogBug::AppendsNever {
            std::future::pending::<()>().await;
        }
        let unknown = || AppendOutcome::Unknown { cause: "injected fault".into() };
        match (writer.append(batch.clone()).await, self.bug) {
            (AppendOutcome::Durable { writer, positions }, _) => {
                AppendOutcome::Durable { writer: self.with(writer), positions }
            }
            (AppendOutcome::Aborted { writer, .. }, LogBug::AnswersBeforeCommit) => self.lie(writer, batch.len()).await,
            (AppendOutcome::Aborted { writer, cause }, _) => {
                AppendOutcome::Aborted { writer: self.with(writer), cause }
            }
            (AppendOutcome::Unknown { cause }, bug) => {
                let Some(writer) = claim_again(&self.log, self.at).await else { return unknown() };
                match bug {
                    LogBug::AnswersBeforeCommit => self.lie(writer, batch.len()).await,
                    LogBug::CallsUnknownAborted => AppendOutcome::Aborted { writer: self.with(writer), cause },
                    LogBug::RetriesUnknownBlindly => {
                        let last = last(&self.log, self.at).await;
                        let again = renumbered(&batch, last, writer.claim_epoch());
                        match writer.append(again).await {
                            AppendOutcome::Durable { writer, positions } => {
                                AppendOutcome::Durable { writer: self.with(writer), positions }
                            }
                            _ => unknown(),
                        }
                    }
                    LogBug::ForgetsFencing
                    | LogBug::ClaimsLate
                    | LogBug::ClaimsNever
                    | LogBug::AppendsNever
                    | LogBug::OwnersAreNotWritten => unknown(),
                }
            }
            (AppendOutcome::Fenced, LogBug::ForgetsFencing) => self.append_as_zombie(&batch),
            (AppendOutcome::Fenced, _) => AppendOutcome::Fenced,
        }
    }

    async fn lie(self, writer: Box<dyn LogWriter>, records: usize) -> AppendOutcome {
        let end = self.log.end(self.at).await.unwrap_or_default();
        let positions = (0..records as u64).map(|n| RecordOffset(end.0 + n)).collect();
        AppendOutcome::Durable { writer: self.with(writer), positions }
    }

    fn append_as_zombie(self, batch: &AppendBatch) -> AppendOutcome {
        let positions = batch.iter().map(|bytes| self.log.push_unchecked(self.at, bytes)).collect();
        AppendOutcome::Durable { writer: Box::new(self), positions }
    }
}

async fn claim_again(log: &MemoryLog, at: ContextPartition) -> Option<Box<dyn LogWriter>> {
    let owner = Owner { id: "again".into(), address: String::new() };
    log.claim(at, owner).await.ok().map(|claimed| claimed.writer)
}

async fn last(log: &MemoryLog, at: ContextPartition) -> Checkpoint {
    let mut reader = CheckedReader::open(log, at, Checkpoint::default()).await.unwrap();
    while reader.next().await.unwrap().is_some() {}
    reader.checkpoint()
}

/// The same records behind `last`, no earlier than that, under another claim.
fn renumbered(batch: &AppendBatch, last: Checkpoint, claim_epoch: ClaimEpoch) -> AppendBatch {
    let mut renumbered = AppendBatch::default();
    let mut ordinal = last.ordinal;
    for bytes in batch.iter() {
        let record = Record::decode(RecordOffset(0), bytes).unwrap();
        ordinal = ordinal.next();
        renumbered.push(|out| {
            put_frame(out, record.schema);
            let emitted_at = record.envelope.emitted_at.max(last.emitted_at);
            Envelope { ordinal, claim_epoch, emitted_at, ..record.envelope }.encode(out);
            out.extend_from_slice(record.payload);
        });
    }
    renumbered
}

impl LogWriter for BuggyWriter {
    fn claim_epoch(&self) -> ClaimEpoch {
        self.claim_epoch
    }
    fn append(self: Box<Self>, batch: AppendBatch) -> BoxFuture<'static, AppendOutcome> {
        Box::pin(self.append_anyhow(batch))
    }
    fn prove(mut self: Box<Self>) -> BoxFuture<'static, ProofOutcome> {
        Box::pin(async move {
            if self.bug == LogBug::ForgetsFencing {
                return ProofOutcome::Owner { writer: self };
            }
            let Some(writer) = self.writer.take() else { return ProofOutcome::Fenced };
            match writer.prove().await {
                ProofOutcome::Owner { writer } => ProofOutcome::Owner { writer: self.with(writer) },
                other => other,
            }
        })
    }
}

impl Layer for BuggyLog {
    fn beneath(&self) -> &dyn EventLog {
        &*self.inner
    }
    fn claim(&self, at: ContextPartition, owner: Owner) -> BoxFuture<'_, Result<Claimed, ClaimError>> {
        Box::pin(async move {
            if self.bug == LogBug::ClaimsNever {
                std::future::pending::<()>().await;
            }
            let Claimed { writer, barrier } = self.inner.claim(at, owner).await?;
            if self.bug == LogBug::ClaimsLate {
                tokio::time::sleep(Duration::from_secs(2)).await;
                self.inner.claim_by_rival(at);
            }
            let (log, claim_epoch) = (Arc::clone(&self.inner), writer.claim_epoch());
            let writer = BuggyWriter { log, bug: self.bug, at, claim_epoch, writer: Some(writer) };
            Ok(Claimed { writer: Box::new(writer), barrier })
        })
    }
    fn meta_put(&self, key: &str, value: &[u8]) -> BoxFuture<'_, Result<(), MetaError>> {
        if self.bug == LogBug::OwnersAreNotWritten && key.starts_with("owner/") {
            return Box::pin(async { Err(MetaError("injected fault".into())) });
        }
        self.inner.meta_put(key, value)
    }
}
