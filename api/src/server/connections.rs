//! Which connections there are, what each is doing, and which of them makes room for another.
//!
//! A connection costs a client nothing, so there may be any number of silent ones. Those that do nothing, or whose client
//! takes nothing, go first; one whose request is under way never goes for another's sake. Whoever comes when there is no
//! room stands in the reserve, for health alone, and nobody gets out of it: those in it are busy for as long as it takes to
//! answer health or to say no, so that however many come, the next one finds room there.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use crate::limits;

/// All connections of one server.
#[derive(Debug)]
pub(super) struct Connections {
    started: Instant,
    all: Mutex<HashMap<u64, Arc<State>>>,
    last: AtomicU64,
    /// Those that are not in the reserve.
    full: AtomicUsize,
    /// Those whose client takes nothing just now.
    stalled: AtomicUsize,
}

/// One of them, from its acceptance to its end.
#[derive(Debug)]
pub(super) struct Connection {
    of: Arc<Connections>,
    number: u64,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// There was no room for it: it is there for health alone.
    is_reserved: bool,
    /// Milliseconds since the start of the server, or one of the three below.
    idle_since: AtomicU64,
    /// Milliseconds since the start of the server, or [`NEVER`].
    stalled_since: AtomicU64,
    /// A request has come, and not all has been written that is its answer.
    is_asked: AtomicBool,
    ends: Notify,
}

/// A request is under way.
const BUSY: u64 = u64::MAX;
/// It has to make room.
const ENDED: u64 = u64::MAX - 1;
/// Its client takes what it is sent.
const NEVER: u64 = u64::MAX;

impl Connections {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            all: Mutex::default(),
            last: AtomicU64::new(0),
            full: AtomicUsize::new(0),
            stalled: AtomicUsize::new(0),
        })
    }

    /// One more, in the place of one that does nothing where there are as many as there may be, or else in the reserve.
    pub(super) fn enter(self: &Arc<Self>, max: usize) -> Arc<Connection> {
        // Room made in the reserve is room in the reserve.
        let is_reserved = self.full.load(Ordering::Acquire) >= max && !self.make_room(|state| !state.is_reserved);
        if !is_reserved {
            self.full.fetch_add(1, Ordering::AcqRel);
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(State {
            is_reserved,
            idle_since: AtomicU64::new(self.now_ms()),
            stalled_since: AtomicU64::new(NEVER),
            is_asked: AtomicBool::new(false),
            ends: Notify::new(),
        });
        self.all().insert(number, Arc::clone(&state));
        Arc::new(Connection { of: Arc::clone(self), number, state })
    }

    /// Ends one, whichever it is, so that the next one can be accepted.
    pub(super) fn make_any_room(&self) -> bool {
        self.make_room(|_| true)
    }

    /// Ends the connection of these that has been idle for the longest, or else the one whose client has taken nothing for
    /// the longest. False if there is neither.
    fn make_room(&self, of: impl Fn(&State) -> bool) -> bool {
        loop {
            let idle = self.longest(|state| {
                Some(state.idle_since.load(Ordering::Acquire)).filter(|since| *since < ENDED && of(state))
            });
            let Some((since, state)) = idle else { return self.cut_stalled(of) };
            // Its next request may have come meanwhile.
            if state.idle_since.compare_exchange(since, ENDED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                state.ends.notify_one();
                return true;
            }
        }
    }

    /// Ends the connection of these whose client has taken nothing for the longest; false if all clients read.
    fn cut_stalled(&self, of: impl Fn(&State) -> bool) -> bool {
        let longest = self.longest(|state| {
            Some(state.stalled_since.load(Ordering::Acquire)).filter(|since| *since < NEVER && of(state))
        });
        if let Some((_, state)) = &longest {
            self.takes_again(state);
            state.ends.notify_one();
        }
        longest.is_some()
    }

    /// Of those for which there is one: the one with the earliest moment.
    fn longest(&self, since: impl Fn(&State) -> Option<u64>) -> Option<(u64, Arc<State>)> {
        let all = self.all();
        let earliest = all.values().filter_map(|state| Some((since(state)?, state))).min_by_key(|(since, _)| *since);
        earliest.map(|(since, state)| (since, Arc::clone(state)))
    }

    fn takes_again(&self, state: &State) {
        if state.stalled_since.swap(NEVER, Ordering::AcqRel) != NEVER {
            self.stalled.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(ENDED - 1)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<u64, Arc<State>>> {
        // Nothing between lock and unlock leaves the map half changed.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// It is there for health alone.
    pub(super) fn is_reserved(&self) -> bool {
        self.state.is_reserved
    }

    /// Returns when it has to end before its client ends it.
    pub(super) async fn ends(&self) {
        self.state.ends.notified().await;
    }

    /// A request has come; nothing if the connection is about to end, and it must not be begun.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Busy> {
        let begin = |since: u64| (since != ENDED).then_some(BUSY);
        // One task reads, answers and writes: it is in order with itself.
        self.state.is_asked.store(true, Ordering::Relaxed);
        let begun = self.state.idle_since.fetch_update(Ordering::AcqRel, Ordering::Acquire, begin);
        begun.is_ok().then(|| Busy(Arc::clone(self)))
    }

    /// What is written now is of an answer to a request.
    pub(super) fn was_asked(&self) -> bool {
        self.state.is_asked.load(Ordering::Relaxed)
    }

    /// All has been written that there was to write; of an answer too if it is at its end.
    pub(super) fn has_written(&self) {
        if self.state.idle_since.load(Ordering::Relaxed) != BUSY {
            self.state.is_asked.store(false, Ordering::Relaxed);
        }
    }

    /// Its client takes nothing just now. There is room for so many of them: what they do not take lies in memory.
    pub(super) fn is_stalled(&self) {
        if self.state.stalled_since.swap(self.of.now_ms(), Ordering::AcqRel) == NEVER {
            let stalled = self.of.stalled.fetch_add(1, Ordering::AcqRel) + 1;
            if stalled > limits::STALLED_CONNECTIONS_MAX {
                self.of.cut_stalled(|_| true);
            }
        }
    }

    /// Its client takes what it is sent.
    pub(super) fn takes_again(&self) {
        self.of.takes_again(&self.state);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.takes_again();
        self.of.all().remove(&self.number);
        if !self.state.is_reserved {
            self.of.full.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// A request is under way, until its answer has been written or given up.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

impl Busy {
    /// From now on it may be ended for others' sake, as if it were idle.
    pub(super) fn rest(&self) {
        self.0.state.idle_since.store(self.0.of.now_ms(), Ordering::Release);
    }

    /// It may not be ended any more; false if it is about to be.
    pub(super) fn go_on(&self) -> bool {
        let go_on = |since: u64| (since != ENDED).then_some(BUSY);
        self.0.state.idle_since.fetch_update(Ordering::AcqRel, Ordering::Acquire, go_on).is_ok()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let idle = |since: u64| (since != ENDED).then(|| self.0.of.now_ms());
        // One that is about to end has nothing to be idle with.
        let _ = self.0.state.idle_since.fetch_update(Ordering::AcqRel, Ordering::Acquire, idle);
    }
}

/// A body whose request is under way until it is at its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: axum::body::Body,
    pub(super) _busy: Busy,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
