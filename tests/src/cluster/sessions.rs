//! How many sessions of PostgreSQL do a cluster's processes hold, and does any go on for a client that has gone?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use annals_dev::postgres::SessionProbe;
use annals_stores::limits::{POSTGRES_READERS_MAX, REGISTRY_CONNECTIONS_MAX};

use super::faults::Shape;
use super::world::read_models;
use crate::limits;

/// Per process that opens the store: what serves queries, the registry's, and the look at what others change in it.
const PER_PROCESS: usize = POSTGRES_READERS_MAX as usize + REGISTRY_CONNECTIONS_MAX as usize + 1;
/// Per generation that a process keeps current: its writer, and the session that it lost, until that has ended.
const PER_GENERATION: usize = 2;

/// Most sessions that the processes of a cluster of this shape, and whoever judges it, may hold at the same time.
pub fn sessions_max(shape: Shape) -> usize {
    let judge = 1;
    let processes = shape.nodes + shape.projectors + judge;
    processes * PER_PROCESS + shape.projectors * read_models().len() * PER_GENERATION
}

/// Counts sessions until it is dropped.
#[derive(Debug)]
pub(super) struct Count {
    most: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Count {
    /// Begins to look, in a thread of its own: what runs meanwhile may keep every task busy.
    pub(super) fn start(probe: SessionProbe) -> Self {
        let count = Self { most: Arc::default(), over: Arc::default() };
        let (most, over) = (Arc::clone(&count.most), Arc::clone(&count.over));
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(probe.look().open, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(limits::SESSIONS_LOOK_MS));
            }
        });
        count
    }

    /// The most that were seen at once so far.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
