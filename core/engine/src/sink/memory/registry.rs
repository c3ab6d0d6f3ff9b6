//! Which generations the test store has, and who works on them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::Instant;

use super::Bug;
use crate::generations::life::{Change, Life};
use crate::generations::registry::{Registry, Turn};
use crate::limits;
use crate::log::BoxFuture;
use crate::sink::{BuildLock, Generation, GenerationId, KnownProcess, ProcessReport, StoreError};

/// A registry in memory.
#[derive(Debug, Default)]
pub struct MemoryRegistry {
    rows: Arc<Mutex<BTreeMap<String, Life>>>,
    turn: Arc<tokio::sync::Mutex<()>>,
    builders: Mutex<BTreeMap<(String, GenerationId), Weak<()>>>,
    /// In the order in which they were heard of last.
    processes: Mutex<Vec<(ProcessReport, Instant)>>,
    changes: watch::Sender<u64>,
    bug: Option<Bug>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn life(rows: &Mutex<BTreeMap<String, Life>>, read_model: &str) -> Life {
    held(rows).get(read_model).cloned().unwrap_or_else(|| Life::new(read_model, 0, Vec::new()))
}

impl MemoryRegistry {
    pub(super) fn with(bug: Option<Bug>) -> Self {
        Self { bug, ..Self::default() }
    }

    fn builder(&self, read_model: &str, id: GenerationId) -> Option<Arc<()>> {
        held(&self.builders).get(&(read_model.to_owned(), id))?.upgrade()
    }
}

impl Registry for MemoryRegistry {
    fn list<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Vec<Generation>, StoreError>> {
        Box::pin(async move { Ok(life(&self.rows, read_model).generations().to_vec()) })
    }

    fn turn<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Box<dyn Turn>, StoreError>> {
        Box::pin(async move {
            let early = (self.bug == Some(Bug::TurnsOverlap)).then(|| life(&self.rows, read_model));
            let alone = Arc::clone(&self.turn).lock_owned().await;
            let found = early.unwrap_or_else(|| life(&self.rows, read_model));
            let (rows, changes, bug) = (Arc::clone(&self.rows), self.changes.clone(), self.bug);
            let now = found.clone();
            Ok(Box::new(MemoryTurn { found, now, rows, changes, bug, _alone: alone }) as Box<dyn Turn>)
        })
    }

    fn lock<'a>(
        &'a self,
        read_model: &'a str,
        id: GenerationId,
    ) -> BoxFuture<'a, Result<Option<BuildLock>, StoreError>> {
        Box::pin(async move {
            if self.builder(read_model, id).is_some() && self.bug != Some(Bug::BuilderNotAlone) {
                return Ok(None);
            }
            let lock = Arc::new(());
            held(&self.builders).insert((read_model.to_owned(), id), Arc::downgrade(&lock));
            Ok(Some(BuildLock::new(lock)))
        })
    }

    fn is_locked<'a>(&'a self, read_model: &'a str, id: GenerationId) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { Ok(self.builder(read_model, id).is_some()) })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn tell_of_process<'a>(&'a self, process: &'a ProcessReport) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let (now, mut processes) = (Instant::now(), held(&self.processes));
            processes.retain(|(known, seen)| {
                known.id != process.id && now - *seen < Duration::from_millis(limits::PROCESS_FORGOTTEN_MS)
            });
            processes.push((process.clone(), now));
            let over = processes.len().saturating_sub(limits::PROCESSES_KNOWN_MAX as usize);
            processes.drain(..over);
            Ok(())
        })
    }

    fn forget_process<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            held(&self.processes).retain(|(known, _)| known.id != id);
            Ok(())
        })
    }

    fn processes(&self) -> BoxFuture<'_, Result<Vec<KnownProcess>, StoreError>> {
        Box::pin(async move {
            let seen = |at: &Instant| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
            let known = |(report, at): &(ProcessReport, Instant)| KnownProcess {
                report: report.clone(),
                seen_ms_ago: seen(at),
            };
            let mut known: Vec<_> = held(&self.processes).iter().map(known).collect();
            known.sort_by_key(|process| process.report.started_at);
            Ok(known)
        })
    }
}

/// A commit takes its time: so often may others come between.
const COMMIT_PAUSES: u32 = 8;

#[derive(Debug)]
struct MemoryTurn {
    found: Life,
    /// With what was written in this turn.
    now: Life,
    rows: Arc<Mutex<BTreeMap<String, Life>>>,
    changes: watch::Sender<u64>,
    bug: Option<Bug>,
    _alone: OwnedMutexGuard<()>,
}

impl MemoryTurn {
    fn stands(&self, change: &Change) -> bool {
        match change {
            Change::Added(generation) => self.now.get(generation.id).is_err(),
            Change::Changed { before, .. } | Change::Removed(before) => self.now.get(before.id) == Ok(before),
        }
    }

    /// The change as a registry with a bug writes it.
    fn spoilt(&self, change: &Change) -> Change {
        let mut change = change.clone();
        if let Change::Changed { before, after } = &mut change {
            if self.bug == Some(Bug::RetiredAtKept) {
                after.retired_at = before.retired_at.or(after.retired_at);
            }
            if self.bug == Some(Bug::BegunAnewUnseen) {
                after.started_at = before.started_at;
            }
        }
        change
    }

    fn publish(&self) {
        held(&self.rows).insert(self.now.read_model().to_owned(), self.now.clone());
        self.changes.send_modify(|version| *version += 1);
    }
}

impl Turn for MemoryTurn {
    fn life(&self) -> &Life {
        &self.found
    }

    fn write<'a>(&'a mut self, change: &'a Change) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            if !self.stands(change) && self.bug != Some(Bug::WritesOverWhatChanged) {
                return Err(self.now.changed(change.generation().id).into());
            }
            let change = self.spoilt(change);
            self.now.apply(&change);
            if self.bug == Some(Bug::WritesAtOnce) {
                self.publish();
            }
            Ok(())
        })
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            for _ in 0..COMMIT_PAUSES {
                tokio::task::yield_now().await;
            }
            self.publish();
            Ok(())
        })
    }
}
