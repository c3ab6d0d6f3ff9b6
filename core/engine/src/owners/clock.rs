//! What time is it? Owners take the wall clock for it as long as it moves as time passes. One that jumps ahead is held
//! back: a record with a time of next year would keep all later ones at next year, because times never decrease within a
//! partition, and nothing could ever take it out again.
//!
//! A process knows how much time has passed since it started, so a jump while it runs is seen. It cannot know whether the
//! clock was right when it started: a log may have been idle for a year. A process that held its clock back therefore
//! leaves a note in the log's `meta`, and the next one starts with the same doubt, until the clock was corrected or
//! somebody has said that it is right.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use annals_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::limits;
use crate::log::{EventLog, MetaError};
use crate::published::SchemaError;
use crate::telemetry;

const PREFIX: &str = "clock/";
const AHEAD_MICROS_MAX: i64 = limits::CLOCK_AHEAD_MS_MAX as i64 * 1_000;

/// Difference from which on the belief follows the wall clock, microseconds.
const DRIFT_MICROS: i64 = 1_000;

/// Where decision time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How much time has passed since some moment before the process started, the time in which the machine slept included.
pub type Passed = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The system's wall clock.
pub fn system_now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// The time since the machine was started.
pub fn system_passed() -> Duration {
    // `Instant` stands still while a machine sleeps: its owner opens the lid, and the clock is right.
    #[cfg(target_os = "linux")]
    let clock = nix::time::ClockId::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    let clock = nix::time::ClockId::CLOCK_MONOTONIC;
    // Every system that this is built for has this clock.
    nix::time::clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

/// A clock that was held back, as the log remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    /// What was taken for the time.
    taken: Timestamp,
    /// What the wall clock said.
    wall: Timestamp,
}

/// A moment as every clock shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    instant: Instant,
    passed: Duration,
    wall: Timestamp,
}

impl Moment {
    /// True if at most so much time lies between this moment and an earlier one, whichever clock is asked: while a machine
    /// sleeps or is not scheduled, some of them stand still.
    pub(super) fn is_within(&self, earlier: &Self, longest: Duration) -> bool {
        let by_wall = self.wall.0.saturating_sub(earlier.wall.0);
        self.instant.duration_since(earlier.instant) <= longest
            && self.passed.saturating_sub(earlier.passed) <= longest
            && u64::try_from(by_wall).is_ok_and(|micros| Duration::from_micros(micros) <= longest)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.instant.elapsed()
    }
}

/// The clock of all owners of a process.
pub(super) struct OwnersClock {
    wall: Clock,
    passed: Passed,
    /// Wall clock less the time that has passed, as it was last believed, microseconds.
    believed: AtomicI64,
    /// Newest time of a record that an owner of this process has seen or written.
    newest: AtomicI64,
}

impl fmt::Debug for OwnersClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnersClock").field("believed", &self.believed).finish_non_exhaustive()
    }
}

/// How wall clock, passed time and log go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreement {
    /// Within the limit.
    Agree,
    /// The wall clock is ahead of the time that has passed, and held back.
    WallIsAhead,
    /// The log's newest record is ahead of the clock: times stand still until the clock has come there.
    LogIsAhead,
}

impl OwnersClock {
    /// Believes the wall clock, unless the log remembers that it was held back and it has not been corrected since.
    pub(super) async fn start(
        log: &dyn EventLog,
        address: &str,
        wall: Clock,
        passed: Passed,
        accept: bool,
    ) -> Result<Self, SchemaError> {
        let note = log.meta_get(&key(address)).await?;
        // What a newer build writes otherwise is no doubt of ours.
        let held = note.and_then(|note| serde_json::from_slice::<Option<Held>>(&note).ok()).flatten();
        let shown = wall();
        let doubted = held.filter(|held| !accept && shown >= held.wall);
        if held.is_some() && doubted.is_none() {
            forget(log, address).await?;
        }
        let taken = doubted.map_or(shown, |held| held.taken);
        let believed = AtomicI64::new(taken.0.saturating_sub(micros(passed())));
        Ok(Self { wall, passed, believed, newest: AtomicI64::new(i64::MIN) })
    }

    /// The time for a decision: the wall clock's, or, where that has jumped ahead, what it was plus what has passed since.
    pub(super) fn now(&self) -> Timestamp {
        let (wall, passed) = ((self.wall)(), micros((self.passed)()));
        let believed = self.believed.load(Ordering::Relaxed);
        let shown = wall.0.saturating_sub(passed);
        let ahead = shown.saturating_sub(believed);
        if ahead > AHEAD_MICROS_MAX && wall.0.saturating_sub(self.newest()) > AHEAD_MICROS_MAX {
            return Timestamp(believed.saturating_add(passed));
        }
        // A clock that goes far back moves no belief: when it comes back it was right before.
        // Written seldom, because all owners read it.
        if ahead.abs() > DRIFT_MICROS && ahead >= -AHEAD_MICROS_MAX {
            self.believed.store(shown, Ordering::Relaxed);
        }
        wall
    }

    /// Every clock's reading.
    pub(super) fn moment(&self) -> Moment {
        Moment { instant: Instant::now(), passed: (self.passed)(), wall: (self.wall)() }
    }

    /// A record has this time.
    pub(super) fn saw(&self, emitted_at: Timestamp) {
        self.newest.fetch_max(emitted_at.0, Ordering::Relaxed);
    }

    fn newest(&self) -> i64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// Looks at the clocks again and again: says once what is wrong, shows it, and leaves a note while the clock is held.
    pub(super) async fn watch(
        self: Arc<Self>,
        log: Arc<dyn EventLog>,
        address: String,
        stopping: watch::Receiver<bool>,
    ) {
        let mut watching = Watching { log, address, before: Agreement::Agree, noted: None };
        let mut stopping = stopping;
        loop {
            watching.look(&self).await;
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(Duration::from_millis(limits::CLOCK_LOOK_MS)) => {}
            }
        }
    }
}

/// What a watch remembers.
struct Watching {
    log: Arc<dyn EventLog>,
    address: String,
    before: Agreement,
    /// When the log's note was last written, if there is one.
    noted: Option<Instant>,
}

impl Watching {
    async fn look(&mut self, clock: &OwnersClock) {
        let taken = clock.now();
        let wall = (clock.wall)();
        let held_micros = wall.0.saturating_sub(taken.0).max(0);
        let log_ahead_micros = clock.newest().saturating_sub(wall.0).max(0);
        let now = match (held_micros > AHEAD_MICROS_MAX, log_ahead_micros > AHEAD_MICROS_MAX) {
            (true, _) => Agreement::WallIsAhead,
            (false, true) => Agreement::LogIsAhead,
            (false, false) => Agreement::Agree,
        };
        let is_held = now == Agreement::WallIsAhead;
        telemetry::clock(if is_held { held_micros } else { 0 }, log_ahead_micros);
        if now != std::mem::replace(&mut self.before, now) {
            say(now, taken, wall, Timestamp(clock.newest()));
        }
        let due = Duration::from_millis(limits::CLOCK_NOTE_MS);
        let noted = match (is_held, self.noted) {
            (true, None) => note(&*self.log, &self.address, Held { taken, wall }).await,
            (true, Some(at)) if at.elapsed() >= due => note(&*self.log, &self.address, Held { taken, wall }).await,
            (false, Some(_)) => match forget(&*self.log, &self.address).await {
                Ok(()) => return self.noted = None,
                Err(error) => Err(error),
            },
            (true, Some(_)) | (false, None) => return,
        };
        match noted {
            Ok(()) => self.noted = Some(Instant::now()),
            // At the next look again.
            Err(error) => tracing::debug!(%error, "the clock's state cannot be kept in the log, trying again"),
        }
    }
}

fn say(now: Agreement, taken: Timestamp, wall: Timestamp, newest: Timestamp) {
    match now {
        Agreement::Agree => tracing::info!(%wall, "the clock is believed again"),
        Agreement::WallIsAhead => tracing::warn!(
            %wall, %taken,
            "the wall clock is ahead of the time that has passed and is held back; correct it, or start once with \
             --accept-clock if it is right"
        ),
        Agreement::LogIsAhead => tracing::warn!(
            %wall, %newest,
            "the newest record is ahead of the wall clock; times stand still until the clock has come there"
        ),
    }
}

async fn note(log: &dyn EventLog, address: &str, held: Held) -> Result<(), MetaError> {
    put(log, address, Some(held)).await
}

async fn forget(log: &dyn EventLog, address: &str) -> Result<(), MetaError> {
    put(log, address, None).await
}

async fn put(log: &dyn EventLog, address: &str, held: Option<Held>) -> Result<(), MetaError> {
    let value = serde_json::to_vec(&held).map_err(|error| MetaError(error.to_string()))?;
    log.meta_put(&key(address), &value).await
}

/// Each node has a clock of its own.
fn key(address: &str) -> String {
    format!("{PREFIX}{address}")
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
