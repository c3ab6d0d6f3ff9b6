//! The handle of a partition's owner.

use std::sync::Arc;

use annals_model::position::{ClaimEpoch, ContextPartition};
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::block::Unplaced;
use super::committer::{Append, Appended, Request};
use super::heads::read_head;
use crate::log::admission::admit;
use crate::log::{AppendBatch, AppendOutcome, BoxFuture, LogWriter, ProofOutcome};

#[derive(Debug)]
pub(super) struct SqliteWriter {
    pub(super) shared: Arc<Shared>,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) at: ContextPartition,
    pub(super) claim_epoch: ClaimEpoch,
}

impl LogWriter for SqliteWriter {
    fn claim_epoch(&self) -> ClaimEpoch {
        self.claim_epoch
    }

    fn append(self: Box<Self>, batch: AppendBatch) -> BoxFuture<'static, AppendOutcome> {
        Box::pin(async move {
            let admitted = match admit(&batch, self.claim_epoch) {
                Ok(admitted) => admitted,
                Err(cause) => {
                    tracing::error!(at = %self.at, cause, "append refused");
                    return AppendOutcome::Aborted { writer: self, cause };
                }
            };
            let (reply, answer) = oneshot::channel();
            let block = Unplaced::new(&batch);
            drop(batch);
            let append = Append { at: self.at, claim_epoch: self.claim_epoch, block, admitted, reply };
            if self.requests.send(Request::Append(append)).await.is_err() {
                return AppendOutcome::Aborted { writer: self, cause: "the log is closed".into() };
            }
            match answer.await {
                Ok(Appended::Durable(positions)) => AppendOutcome::Durable { writer: self, positions },
                Ok(Appended::Aborted(cause)) => AppendOutcome::Aborted { writer: self, cause },
                Ok(Appended::Fenced) => AppendOutcome::Fenced,
                Ok(Appended::Unknown(cause)) => AppendOutcome::Unknown { cause },
                Err(_) => AppendOutcome::Unknown { cause: "the log stopped before it answered".into() },
            }
        })
    }

    fn prove(self: Box<Self>) -> BoxFuture<'static, ProofOutcome> {
        Box::pin(async move {
            let at = self.at;
            let head = self.shared.read(Some(at), async |connection| read_head(connection, at).await).await;
            match head {
                Ok(head) if head.claim_epoch == self.claim_epoch => ProofOutcome::Owner { writer: self },
                Ok(_) => ProofOutcome::Fenced,
                Err(failure) => ProofOutcome::Unknown { cause: failure.to_string() },
            }
        })
    }
}
