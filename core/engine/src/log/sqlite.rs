//! The embedded log: one SQLite file holds all partitions of all contexts.
//!
//! One task writes (`committer`), one copies the write-ahead log into the file (`checkpointer`), readers use their own
//! connections, and one task watches for what other processes wrote (`wake`). An append is one row (`block`); where
//! each partition ends lies beside it (`heads`), moved by the same transaction.

mod backup;
mod block;
mod checkpointer;
mod committer;
mod connections;
mod failure;
mod file;
mod heads;
mod reader;
mod tail;
mod wake;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_model::ids::{ContextId, LogId};
use annals_model::position::{ContextPartition, Offset, Ordinal, RecordOffset};
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};

pub use self::backup::{BackupError, backup};
use self::committer::{Claim, Committer, Outages, PutMeta, Request, WrittenBytes};
use self::connections::{Access, ReadConnections, connect};
use self::failure::Failure;
pub use self::file::OpenError;
use self::heads::{Head, read_head, read_heads};
use self::reader::SqliteReader;
use self::wake::Wake;
use self::writer::SqliteWriter;
use super::holes::Holes;
use super::{BoxFuture, ClaimError, Claimed, EventLog, LogReader, MetaEntry, MetaError, Owner, ReadError};
use crate::limits;

/// How a log is opened.
#[derive(Clone, Debug, Default)]
pub struct SqliteOptions {
    /// Partitions per context. Of a new context: 4 if not given. Of one that exists: refused if it has another number.
    pub partitions: Option<u16>,
    /// Test hook: injects holes in offsets, in places that the seed decides.
    pub holes_seed: Option<u64>,
    /// Test hook: a disk that is full after so many pages of 4096 bytes.
    pub max_page_count: Option<u32>,
}

/// The embedded log. Dropping it stops its tasks when the last writer is gone too; [`SqliteLog::close`] does it in
/// good order.
#[derive(Debug)]
pub struct SqliteLog {
    shared: Arc<Shared>,
    /// Nothing where the log was opened to be read only.
    requests: Option<mpsc::Sender<Request>>,
}

#[derive(Debug)]
struct Shared {
    id: LogId,
    path: PathBuf,
    partitions: HashMap<ContextId, u16>,
    readers: ReadConnections,
    wake: Arc<Wake>,
    closed: watch::Sender<bool>,
}

impl SqliteLog {
    /// Opens the log at `path`, or creates it; contexts that it does not have yet are added. Needs a tokio runtime,
    /// whose end is the log's end.
    pub async fn open(path: &Path, contexts: &[ContextId], options: SqliteOptions) -> Result<Arc<Self>, OpenError> {
        if let Some(count) = options.partitions.filter(|count| !(1..=limits::LOG_PARTITIONS_MAX).contains(count)) {
            return Err(OpenError::InvalidPartitionCount(count));
        }
        let path = file::absolute(path)?;
        file::create_if_missing(&path).await?;
        let (shared, mut connection) = Shared::open(&path, contexts, &options, Access::ReadWrite).await?;
        let failed = |failure| OpenError::of(&path, failure);
        let partitions: Vec<_> = shared.partitions.iter().map(|(context, count)| (*context, *count)).collect();
        tail::check_tails(&mut connection, &partitions).await.map_err(failed)?;
        // Another process that reads just now may be in the way; then the next open does it.
        let truncate = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
        truncate.map_err(|error| failed(error.into()))?;
        connection.close().await.map_err(|error| failed(error.into()))?;
        let requests = shared.start_writing(&options);
        Ok(Arc::new(Self { shared, requests: Some(requests) }))
    }

    /// Opens the log at `path` to read it, also while another process writes. It is not checked (`verify` does that)
    /// and nothing is changed in it; claims and writes are refused.
    pub async fn open_read_only(path: &Path, contexts: &[ContextId]) -> Result<Arc<Self>, OpenError> {
        let path = file::absolute(path)?;
        let options = SqliteOptions::default();
        let (shared, connection) = Shared::open(&path, contexts, &options, Access::ReadOnly).await?;
        connection.close().await.map_err(|error| OpenError::of(&path, error.into()))?;
        Ok(Arc::new(Self { shared, requests: None }))
    }

    /// Finishes what is queued, copies the write-ahead log into the file, and closes it. Whoever appends later is told
    /// `Aborted`.
    pub async fn close(&self) {
        if let Some(requests) = &self.requests {
            let (reply, done) = oneshot::channel();
            if requests.send(Request::Close(reply)).await.is_ok() {
                // Without an answer the committer is gone, which is what was wanted.
                let _ = done.await;
            }
        }
        self.shared.closed.send_replace(true);
        self.shared.readers.close().await;
    }

    /// The log's file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Request) -> Result<T, String> {
        let requests = self.requests.as_ref().ok_or("the log was opened to be read only")?;
        let (reply, answer) = oneshot::channel();
        requests.send(request(reply)).await.map_err(|_| "the log is closed")?;
        answer.await.map_err(|_| "the log stopped before it answered")?
    }
}

impl Shared {
    async fn open(
        path: &Path,
        contexts: &[ContextId],
        options: &SqliteOptions,
        access: Access,
    ) -> Result<(Arc<Self>, SqliteConnection), OpenError> {
        let failed = |failure| OpenError::of(path, failure);
        file::check_bytes(path)?;
        let mut connection = connect(path, access).await.map_err(failed)?;
        let id = file::check_identity(path, &mut connection).await?;
        let partitions = file::settle_contexts(path, &mut connection, contexts, options, access).await?;
        let heads = read_heads(&mut connection).await.map_err(failed)?;
        let shared = Arc::new(Self {
            id,
            path: path.into(),
            partitions: partitions.into_iter().collect(),
            readers: ReadConnections::new(path, access),
            wake: Arc::new(Wake::new(heads.into_iter())),
            closed: watch::Sender::new(false),
        });
        let (wake, closed) = (Arc::clone(&shared.wake), shared.closed.subscribe());
        tokio::spawn(wake::follow_other_processes(wake, path.into(), access, closed));
        Ok((shared, connection))
    }

    fn start_writing(&self, options: &SqliteOptions) -> mpsc::Sender<Request> {
        let (sender, requests) = mpsc::channel(limits::LOG_QUEUE_REQUESTS_MAX);
        let written = Arc::new(WrittenBytes::default());
        let committer = Committer {
            path: self.path.clone(),
            max_page_count: options.max_page_count,
            requests,
            holes: Holes::new(options.holes_seed),
            wake: Arc::clone(&self.wake),
            written: Arc::clone(&written),
            closed: self.closed.clone(),
            outages: Outages::default(),
        };
        tokio::spawn(checkpointer::checkpoint(self.path.clone(), written, self.closed.subscribe()));
        tokio::spawn(committer.run());
        sender
    }

    fn has(&self, at: ContextPartition) -> bool {
        self.partitions.get(&at.context).is_some_and(|count| at.partition.0 < *count)
    }

    /// One read on a shared connection.
    async fn read<T>(
        &self,
        at: Option<ContextPartition>,
        query: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Some(at) = at.filter(|at| !self.has(*at)) {
            return Err(Failure::Broken(format!("the log has no partition {at}")));
        }
        let mut lent = self.readers.lend().await?;
        let answer = query(&mut lent.connection).await?;
        lent.give_back();
        Ok(answer)
    }

    async fn head(&self, at: ContextPartition) -> Result<Head, ReadError> {
        let head = self.read(Some(at), async |connection| read_head(connection, at).await).await;
        head.map_err(|failure| failure.into_read_error(at, RecordOffset(0)))
    }

    async fn end(&self, at: ContextPartition) -> Result<Offset, ReadError> {
        self.head(at).await.map(|head| head.next)
    }
}

fn meta_unread(failure: Failure) -> ReadError {
    match failure {
        Failure::Damaged(cause) => ReadError::CorruptMeta(cause),
        Failure::Transient(cause) | Failure::Broken(cause) => ReadError::Unavailable(cause),
    }
}

impl EventLog for SqliteLog {
    fn id(&self) -> LogId {
        self.shared.id
    }

    fn partitions(&self, context: ContextId) -> u16 {
        self.shared.partitions.get(&context).copied().unwrap_or_default()
    }

    fn claim(&self, at: ContextPartition, owner: Owner) -> BoxFuture<'_, Result<Claimed, ClaimError>> {
        Box::pin(async move {
            if !self.shared.has(at) {
                return Err(ClaimError::NoSuchPartition(at));
            }
            let claim = self.ask(|reply| Request::Claim(Claim { at, owner, reply })).await;
            let (claim_epoch, barrier) = claim.map_err(ClaimError::Unavailable)??;
            let requests = self.requests.clone().ok_or_else(|| ClaimError::Unavailable("read only".into()))?;
            let writer = SqliteWriter { shared: Arc::clone(&self.shared), requests, at, claim_epoch };
            Ok(Claimed { writer: Box::new(writer), barrier })
        })
    }

    fn reader(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let reader = SqliteReader::open(shared, at, from).await?;
            Ok(Box::new(reader) as Box<dyn LogReader>)
        })
    }

    fn end(&self, at: ContextPartition) -> BoxFuture<'_, Result<Offset, ReadError>> {
        Box::pin(self.shared.end(at))
    }

    fn last_ordinal(&self, at: ContextPartition) -> BoxFuture<'_, Result<Ordinal, ReadError>> {
        Box::pin(async move { self.shared.head(at).await.map(|head| head.ordinal) })
    }

    fn meta_get(&self, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, ReadError>> {
        let key = key.to_owned();
        Box::pin(async move {
            let read = self.shared.read(None, async |connection| file::get_meta(connection, &key).await).await;
            read.map_err(meta_unread)
        })
    }

    fn meta_list(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<MetaEntry>, ReadError>> {
        let prefix = prefix.to_owned();
        Box::pin(async move {
            let read = self.shared.read(None, async |connection| file::list_meta(connection, &prefix).await).await;
            read.map_err(meta_unread)
        })
    }

    fn meta_put(&self, key: &str, value: &[u8]) -> BoxFuture<'_, Result<(), MetaError>> {
        let (key, value) = (key.to_owned(), value.to_owned());
        Box::pin(async move {
            super::admission::admit_meta(&key, &value).map_err(MetaError)?;
            self.ask(|reply| Request::PutMeta(PutMeta { key, value, reply })).await.map_err(MetaError)
        })
    }
}

#[cfg(test)]
mod tests;
