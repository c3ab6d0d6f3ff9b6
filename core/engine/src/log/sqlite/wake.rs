//! How do readers learn of appends? From the committer of this process at once, and from other processes by a look at
//! `PRAGMA data_version`, which changes when another connection commits. One look serves all readers of the process,
//! and nobody looks while nobody waits.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use annals_model::ids::Partition;
use annals_model::position::{ContextPartition, Offset};
use sqlx::SqliteConnection;
use tokio::sync::{Notify, watch};

use super::connections::{Access, connect};
use super::failure::Failure;
use super::heads::{Head, read_heads};
use crate::limits;

/// Where every partition ends, as far as this process knows.
#[derive(Debug)]
pub(super) struct Wake {
    ends: HashMap<(u8, Partition), watch::Sender<Offset>>,
    waiting: AtomicUsize,
    somebody_waits: Notify,
}

impl Wake {
    pub(super) fn new(heads: impl Iterator<Item = ((u8, Partition), Head)>) -> Self {
        let ends = heads.map(|(at, head)| (at, watch::Sender::new(head.next))).collect();
        Self { ends, waiting: AtomicUsize::new(0), somebody_waits: Notify::new() }
    }

    /// A partition ends at `next` now. True if that is news.
    pub(super) fn moved(&self, at: (u8, Partition), next: Offset) -> bool {
        self.ends.get(&at).is_some_and(|end| {
            end.send_if_modified(|known| {
                let news = next > *known;
                *known = next.max(*known);
                news
            })
        })
    }

    /// Returns when the partition ends behind `position`.
    pub(super) async fn passed(&self, at: ContextPartition, position: Offset) {
        let Some(end) = self.ends.get(&(at.context.number, at.partition)) else { return };
        let _waiting = Waiting::new(self);
        // The sender lives as long as `self`: this ends when the position is passed, not before.
        let _ = end.subscribe().wait_for(|end| *end > position).await;
    }
}

/// Counts one waiting reader, for as long as it waits.
struct Waiting<'a>(&'a Wake);

impl<'a> Waiting<'a> {
    fn new(wake: &'a Wake) -> Self {
        if wake.waiting.fetch_add(1, Ordering::SeqCst) == 0 {
            wake.somebody_waits.notify_one();
        }
        Self(wake)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Follows what other processes write until `closed` is set.
pub(super) async fn follow_other_processes(
    wake: Arc<Wake>,
    path: PathBuf,
    access: Access,
    mut closed: watch::Receiver<bool>,
) {
    tokio::select! {
        _ = closed.wait_for(|closed| *closed) => {}
        () = follow(&wake, path, access) => {}
    }
}

async fn follow(wake: &Wake, path: PathBuf, access: Access) {
    let mut looking: Option<Look> = None;
    let mut pause_ms = limits::LOG_POLL_MIN_MS;
    loop {
        if wake.waiting.load(Ordering::SeqCst) == 0 {
            wake.somebody_waits.notified().await;
            pause_ms = limits::LOG_POLL_MIN_MS;
            continue;
        }
        let news = match look(&mut looking, &path, access, wake).await {
            Ok(news) => news,
            Err(error) => {
                // Readers see the error themselves when they read; they are woken by the next look that succeeds.
                tracing::debug!(%error, "log not readable, looking again");
                looking = None;
                false
            }
        };
        pause_ms = if news { limits::LOG_POLL_MIN_MS } else { (pause_ms * 2).min(limits::LOG_POLL_MAX_MS) };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// A connection that only looks, and what it saw last.
struct Look {
    connection: SqliteConnection,
    version: Option<i64>,
}

async fn look(
    looking: &mut Option<Look>,
    path: &std::path::Path,
    access: Access,
    wake: &Wake,
) -> Result<bool, Failure> {
    let mut look = match looking.take() {
        Some(look) => look,
        None => Look { connection: connect(path, access).await?, version: None },
    };
    let version: i64 = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut look.connection).await?;
    let mut news = false;
    if look.version != Some(version) {
        for (at, head) in read_heads(&mut look.connection).await? {
            news |= wake.moved(at, head.next);
        }
        look.version = Some(version);
    }
    *looking = Some(look);
    Ok(news)
}
