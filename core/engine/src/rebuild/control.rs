//! Watch, slow down and stop what takes long.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// What a long operation is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Stage {
    /// Looks at what there is.
    #[default]
    Preparing,
    /// Copies the rows and the checkpoint of a generation aside.
    Snapshot,
    /// Folds the log.
    Folding,
    /// Writes rows.
    Loading,
    /// Compares rows.
    Comparing,
    /// Writes rollups and builds indexes.
    Indexing,
    /// Applies what was appended meanwhile.
    CatchingUp,
    /// Looks for the events of diverging rows.
    Tracing,
}

/// How far a long operation is.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// Which pass over the log this is, from 1. More than one where the rows do not fit into memory at once.
    pub pass: u32,
    /// Events read in this pass.
    pub events_done: u64,
    /// Events to read in this pass, by ordinals.
    pub events_total: u64,
    /// Bytes of an average event, of those last written.
    pub bytes_per_event: u64,
    /// Time since the pass began.
    pub elapsed: Duration,
    /// Rows finished so far, over all passes.
    pub rows: u64,
}

impl Progress {
    /// Events read per second in this pass.
    pub fn events_per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.events_done as f64 / seconds } else { 0.0 }
    }
    /// Bytes read in this pass, about.
    pub const fn bytes_done(&self) -> u64 {
        self.events_done.saturating_mul(self.bytes_per_event)
    }
    /// Time that this pass will still take, by its rate so far; nothing before the first events.
    pub fn remaining(&self) -> Option<Duration> {
        let rate = self.events_per_second();
        let left = self.events_total.saturating_sub(self.events_done) as f64;
        (rate > 0.0).then(|| Duration::from_secs_f64(left / rate))
    }
}

/// The caller's hold on a long operation: shared by cloning.
#[derive(Clone, Debug, Default)]
pub struct Control {
    cancelled: Arc<watch::Sender<bool>>,
    progress: Arc<watch::Sender<Progress>>,
}

impl Control {
    /// Asks the operation to stop; it does within one batch of events.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
    }
    /// True once it was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }
    /// Returns once it was asked to stop.
    pub(crate) async fn cancelled(&self) {
        // The sender lives in `self`: there is no other end to this.
        let _ = self.cancelled.subscribe().wait_for(|cancelled| *cancelled).await;
    }
    /// Tells of progress from now on.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
    pub(crate) fn update(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }
    pub(crate) fn enter(&self, stage: Stage) {
        self.update(|progress| progress.stage = stage);
    }
}
