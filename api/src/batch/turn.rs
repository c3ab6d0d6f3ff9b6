//! How many batches there are at a time, whose, and which of them makes room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use annals_model::ids::TenantId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::problem::{Code, Problem};

/// All batches of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batches {
    open: Arc<Mutex<Open>>,
    count: Arc<AtomicUsize>,
    /// Bytes of answers that were not taken.
    unread: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Open {
    batches: HashMap<u64, Entry>,
    last: u64,
}

#[derive(Debug)]
struct Entry {
    tenant: TenantId,
    clock: Arc<Clock>,
    gives_way: CancellationToken,
}

/// Since when a batch has been without a command.
#[derive(Debug)]
struct Clock {
    entered: Instant,
    /// Milliseconds behind `entered`, or [`BUSY`].
    idle_since: AtomicU64,
}

const BUSY: u64 = u64::MAX;

impl Clock {
    fn idle_since(&self) -> Option<Instant> {
        match self.idle_since.load(Ordering::Relaxed) {
            BUSY => None,
            since => Some(self.entered + Duration::from_millis(since)),
        }
    }
}

/// Room for one batch, until it is dropped or has to give way.
#[derive(Debug)]
pub(crate) struct Turn {
    batches: Batches,
    number: u64,
    clock: Arc<Clock>,
    gives_way: CancellationToken,
    unread_ends: CancellationToken,
}

impl Batches {
    /// Room for a batch of a tenant. A tenant gets as many as it leaves free for others; where there are no more, the one
    /// that has been without a command for the longest makes room: of the tenant's own if it has its share.
    pub(crate) fn enter(&self, tenant: TenantId) -> Result<Turn, Problem> {
        let mut open = self.open();
        let free = limits::BATCHES_MAX.saturating_sub(open.batches.len());
        let held = open.batches.values().filter(|entry| entry.tenant == tenant).count();
        if held >= free {
            let of_the_tenant = held > 0;
            let slowest = open.slowest(|entry| !of_the_tenant || entry.tenant == tenant).ok_or_else(|| {
                Problem::new(Code::Overloaded, "too many batches at a time; nothing was done, send it again")
            })?;
            if let Some(entry) = open.batches.remove(&slowest) {
                entry.gives_way.cancel();
            }
        }
        open.last += 1;
        let (number, gives_way) = (open.last, CancellationToken::new());
        let clock = Arc::new(Clock { entered: Instant::now(), idle_since: AtomicU64::new(0) });
        let entry = Entry { tenant, clock: Arc::clone(&clock), gives_way: gives_way.clone() };
        open.batches.insert(number, entry);
        self.count.store(open.batches.len(), Ordering::Relaxed);
        Ok(Turn { batches: self.clone(), number, clock, gives_way, unread_ends: CancellationToken::new() })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing between lock and unlock leaves the map half changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// The batch that has been without a command for the longest, if that is long.
    fn slowest(&self, of: impl Fn(&Entry) -> bool) -> Option<u64> {
        let latest = Instant::now().checked_sub(Duration::from_millis(limits::BATCH_GIVES_WAY_MS))?;
        let idle = self.batches.iter().filter(|(_, entry)| of(entry));
        let idle = idle.filter_map(|(number, entry)| Some((entry.clock.idle_since()?, *number)));
        idle.filter(|(since, _)| *since <= latest).min().map(|(_, number)| number)
    }
}

impl Turn {
    /// Commands of this batch that may be under way at a time.
    pub(super) fn commands_max(&self) -> usize {
        let batches = self.batches.count.load(Ordering::Relaxed).max(1);
        (limits::BATCHES_COMMANDS_MAX / batches).clamp(limits::BATCH_COMMANDS_MIN, limits::BATCH_COMMANDS_MAX)
    }

    /// It has a command under way.
    pub(super) fn is_busy(&self) {
        self.clock.idle_since.store(BUSY, Ordering::Relaxed);
    }

    /// It has none under way from now on.
    pub(super) fn is_idle(&self) {
        let since = u64::try_from(self.clock.entered.elapsed().as_millis()).unwrap_or(BUSY - 1);
        self.clock.idle_since.store(since, Ordering::Relaxed);
    }

    /// When it must have had a command; never while one is under way.
    pub(super) fn idle_until(&self) -> Option<Instant> {
        self.clock.idle_since().map(|since| since + Duration::from_millis(limits::BATCH_IDLE_MS))
    }

    /// Where answers that its client has not taken are counted with those of all others.
    pub(super) fn unread(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.batches.unread)
    }

    /// To be cancelled when its client takes no answers.
    pub(super) fn unread_ends(&self) -> CancellationToken {
        self.unread_ends.clone()
    }

    /// Returns when its client has not taken answers for too long.
    pub(super) async fn is_unread(&self) {
        self.unread_ends.cancelled().await;
    }

    /// Returns when it has to give way.
    pub(super) async fn gives_way(&self) {
        self.gives_way.cancelled().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut open = self.batches.open();
        open.batches.remove(&self.number);
        self.batches.count.store(open.batches.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
