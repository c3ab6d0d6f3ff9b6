//! The one task that writes: it gathers everything that was queued while the last commit ran into one transaction, so
//! that one fsync serves the appends of all partitions.

mod group;

use std::path::PathBuf;
use std::sync::Arc;

use annals_model::position::{ClaimEpoch, ContextPartition, Offset, RecordOffset};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::group::{Answers, prepare};
use super::block::Unplaced;
use super::connections::{Access, settings};
use super::failure::Failure;
use super::wake::Wake;
use crate::limits;
use crate::log::admission::Admitted;
use crate::log::holes::Holes;
use crate::log::{Owner, ReadError};
use crate::outage::Outage;

/// What the committer is asked to write.
#[derive(Debug)]
pub(super) enum Request {
    Append(Append),
    Claim(Claim),
    PutMeta(PutMeta),
    /// Drain, checkpoint, stop.
    Close(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(super) struct Append {
    pub(super) at: ContextPartition,
    pub(super) claim_epoch: ClaimEpoch,
    pub(super) block: Unplaced,
    pub(super) admitted: Admitted,
    pub(super) reply: oneshot::Sender<Appended>,
}

/// How an append ended; without an answer, its outcome is unknown.
#[derive(Debug)]
pub(super) enum Appended {
    Durable(Vec<RecordOffset>),
    Aborted(String),
    Fenced,
    Unknown(String),
}

#[derive(Debug)]
pub(super) struct Claim {
    pub(super) at: ContextPartition,
    pub(super) owner: Owner,
    pub(super) reply: oneshot::Sender<Result<ClaimedAt, String>>,
}

/// Epoch and barrier of a claim; or why its partition cannot be claimed before somebody has looked at the log.
pub(super) type ClaimedAt = Result<(ClaimEpoch, Offset), ReadError>;

#[derive(Debug)]
pub(super) struct PutMeta {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    pub(super) reply: oneshot::Sender<Result<(), String>>,
}

impl Request {
    /// Bytes that this adds to a transaction.
    fn bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.block.len(),
            Self::PutMeta(put) => put.value.len(),
            Self::Claim(_) | Self::Close(_) => 0,
        }
    }
}

/// Writes until it is closed or nobody can ask any more.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) path: PathBuf,
    pub(super) max_page_count: Option<u32>,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) holes: Holes,
    pub(super) wake: Arc<Wake>,
    pub(super) written: Arc<WrittenBytes>,
    pub(super) closed: watch::Sender<bool>,
    pub(super) outages: Outages,
}

/// What was said of writing.
#[derive(Debug, Default)]
pub(super) struct Outages {
    /// Before a commit.
    writing: Outage,
    /// At one, or for good: somebody has to look.
    committing: Outage,
}

/// Bytes appended since the write-ahead log was copied last.
#[derive(Debug, Default)]
pub(super) struct WrittenBytes {
    bytes: std::sync::atomic::AtomicU64,
    pub(super) enough: Notify,
}

impl WrittenBytes {
    fn add(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        if before + bytes >= limits::LOG_CHECKPOINT_BYTES {
            self.bytes.store(0, std::sync::atomic::Ordering::Relaxed);
            self.enough.notify_one();
        }
    }
}

/// Which connection the next transaction runs on.
enum Line {
    Open(SqliteConnection),
    /// None yet, or closed in good order.
    Closed,
    /// Given up after an error at a commit: what is there must be made durable before anything is acknowledged.
    Broken,
}

impl Committer {
    pub(super) async fn run(mut self) {
        let mut line = Line::Closed;
        let mut closing = None;
        while let Some(first) = self.requests.recv().await {
            let requests = self.gather(first, &mut closing);
            if !requests.is_empty() {
                line = self.commit(line, requests).await;
            }
            if closing.is_some() {
                // Nobody can ask any more; what is queued already is still done.
                self.requests.close();
            }
        }
        self.close(line).await;
        self.closed.send_replace(true);
        if let Some(closing) = closing {
            // Who asked may have gone.
            let _ = closing.send(());
        }
    }

    /// Everything that was queued meanwhile, within the bounds of one transaction.
    fn gather(&mut self, first: Request, closing: &mut Option<oneshot::Sender<()>>) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(request) = next {
            bytes += request.bytes();
            match request {
                Request::Close(reply) => *closing = Some(reply),
                request => requests.push(request),
            }
            let full = requests.len() >= limits::LOG_GROUP_REQUESTS_MAX || bytes >= limits::LOG_GROUP_BYTES_MAX;
            next = if full { None } else { self.requests.try_recv().ok() };
        }
        requests
    }

    async fn commit(&mut self, line: Line, requests: Vec<Request>) -> Line {
        let mut connection = match self.connect(line).await {
            Ok(connection) => connection,
            Err((line, failure)) => {
                let cause = failure.to_string();
                self.outages.not_now(&cause);
                Answers::of(requests).abort(&cause);
                return line;
            }
        };
        let prepared = match prepare(&mut connection, requests, &mut self.holes).await {
            Ok(prepared) => prepared,
            Err((answers, failure)) => return self.discard(connection, answers, failure).await,
        };
        // Only fenced or refused appends, maybe: nothing to make durable.
        let conclusion = if prepared.writes { "COMMIT" } else { "ROLLBACK" };
        match sqlx::query(conclusion).execute(&mut connection).await {
            Ok(_) => {
                // One without writes says nothing of what becomes of them.
                if prepared.writes {
                    self.outages.end();
                }
                prepared.answers.succeed();
                for (at, head) in prepared.moved {
                    self.wake.moved(at, head.next);
                }
                self.written.add(prepared.bytes);
                Line::Open(connection)
            }
            Err(error) => {
                let cause = Failure::from(error).to_string();
                if self.outages.committing.begins() {
                    tracing::error!(cause, "commit of the log failed, its outcome is unknown; opening the file again");
                }
                // Closed before anybody is told, so that whoever claims next meets no half-open transaction.
                let _ = connection.close_hard().await;
                prepared.answers.leave_unknown(&cause);
                Line::Broken
            }
        }
    }

    async fn connect(&self, line: Line) -> Result<SqliteConnection, (Line, Failure)> {
        let broken = match line {
            Line::Open(connection) => return Ok(connection),
            Line::Closed => false,
            Line::Broken => true,
        };
        let failed = |error: sqlx::Error| (if broken { Line::Broken } else { Line::Closed }, Failure::from(error));
        let mut settings = settings(&self.path, Access::ReadWrite);
        if let Some(pages) = self.max_page_count {
            settings = settings.pragma("max_page_count", pages.to_string());
        }
        let mut connection = settings.connect().await.map_err(failed)?;
        if broken {
            // An fsync that failed once may succeed without having written: only pages that are written again are
            // known to be durable, and copying the write-ahead log into the file writes them again. All of it: what is
            // appended behind pages that never reached the disk is lost with them.
            let checkpoint = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)");
            let busy: i64 = checkpoint.fetch_one(&mut connection).await.map_err(failed)?;
            if busy != 0 {
                let cause = "a reader keeps the write-ahead log of a failed commit from being copied".into();
                return Err((Line::Broken, Failure::Transient(cause)));
            }
        }
        Ok(connection)
    }

    async fn close(&mut self, line: Line) {
        let Line::Open(mut connection) = line else { return };
        let checkpointed = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
        let closed = connection.close().await;
        if let Err(error) = checkpointed.and(closed) {
            // Everything acknowledged is in the write-ahead log; the next open copies it.
            tracing::warn!(%error, "log closed without a checkpoint");
        }
    }

    /// Gives up a connection inside a transaction (closing rolls it back), then answers.
    async fn discard(&self, connection: SqliteConnection, answers: Answers, failure: Failure) -> Line {
        // Nothing was committed on it; if it does not close well, opening the file again shows what is there.
        let _ = connection.close_hard().await;
        match failure {
            Failure::Transient(cause) => {
                self.outages.not_now(&cause);
                answers.abort(&cause);
                Line::Closed
            }
            Failure::Broken(cause) | Failure::Damaged(cause) => {
                if self.outages.committing.begins() {
                    tracing::error!(cause, "writing the log failed; opening the file again");
                }
                answers.leave_unknown(&cause);
                Line::Broken
            }
        }
    }
}

impl Outages {
    fn not_now(&self, cause: &str) {
        if self.writing.begins() {
            tracing::warn!(cause, "log cannot be written now");
        }
    }

    fn end(&self) {
        // Both, whichever it was.
        if self.writing.ends() | self.committing.ends() {
            tracing::info!("log can be written again");
        }
    }
}

#[cfg(test)]
mod tests;
