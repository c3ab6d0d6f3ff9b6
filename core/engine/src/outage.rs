//! What lasts is said when it begins and when it ends, and not each time that somebody meets it in between.

use std::sync::atomic::{AtomicBool, Ordering};

/// Something that works or does not, as far as that was said.
#[derive(Debug, Default)]
pub struct Outage(AtomicBool);

impl Outage {
    /// It does not work; true where that is news.
    pub fn begins(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// It works; true where that is news.
    pub fn ends(&self) -> bool {
        // Nearly always it worked before: reading costs the others nothing.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}
