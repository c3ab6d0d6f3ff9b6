//! Moments at which processes are held, so that a fault falls between two steps.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use annals_engine::seeded::Point;
use annals_model::position::ContextPartition;
use anyhow::ensure;
use tokio::time::Instant;

use super::World;
use crate::limits;

impl World {
    fn point(&self, point: Point, what: &str) -> PathBuf {
        self.points().join(format!("{}.{what}", point.name()))
    }

    /// From now on whoever comes to this point waits there.
    pub fn hold(&self, point: Point) -> anyhow::Result<()> {
        self.hold_whom(point, String::new())
    }

    /// From now on this node waits when it comes to this point.
    pub fn hold_node(&self, point: Point, node: usize) -> anyhow::Result<()> {
        let pid = self.nodes[node].pid()?;
        self.hold_whom(point, pid.to_string())
    }

    /// From now on whoever is about this partition waits when it comes to this point.
    pub fn hold_in(&self, point: Point, at: ContextPartition) -> anyhow::Result<()> {
        self.hold_whom(point, at.to_string())
    }

    fn hold_whom(&self, point: Point, whom: String) -> anyhow::Result<()> {
        let reached = self.point(point, "reached");
        if reached.exists() {
            fs::remove_file(reached)?;
        }
        // Whole or not at all: half a process id would be another's.
        let written = self.point(point, "next");
        fs::write(&written, whom)?;
        Ok(fs::rename(written, self.point(point, "hold"))?)
    }

    /// Whoever waits there goes on.
    pub fn release(&self, point: Point) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.point(point, "hold"))?)
    }

    /// Waits until somebody waits there; its process id.
    pub async fn wait_until_reached(&self, point: Point) -> anyhow::Result<u32> {
        let deadline = Instant::now() + Duration::from_millis(limits::SETTLE_MS_MAX);
        loop {
            let written = fs::read_to_string(self.point(point, "reached")).unwrap_or_default();
            if let Ok(pid) = written.parse() {
                return Ok(pid);
            }
            ensure!(Instant::now() < deadline, "nobody comes to {}:\n{}", point.name(), self.last_lines());
            tokio::time::sleep(Duration::from_millis(limits::POLL_MS)).await;
        }
    }

    /// Waits until somebody waits there; false if something else comes first, and still nobody is there a moment later.
    pub async fn is_reached_before(&self, point: Point, other: impl Fn() -> bool) -> anyhow::Result<bool> {
        let reached = self.point(point, "reached");
        let mut left = Duration::from_millis(limits::GRACE_MS);
        let deadline = Instant::now() + Duration::from_millis(limits::SETTLE_MS_MAX);
        let poll = Duration::from_millis(limits::POLL_MS);
        while !reached.exists() {
            ensure!(Instant::now() < deadline, "nobody comes to {}:\n{}", point.name(), self.last_lines());
            tokio::time::sleep(poll).await;
            if other() {
                left = left.saturating_sub(poll);
                if left.is_zero() {
                    return Ok(reached.exists());
                }
            }
        }
        Ok(true)
    }

    /// The next outcome at this point gets lost.
    pub fn lose(&self, point: Point) -> anyhow::Result<()> {
        Ok(fs::write(self.point(point, "lose"), [])?)
    }

    /// True once one was lost.
    pub fn is_lost(&self, point: Point) -> bool {
        !self.point(point, "lose").exists()
    }
}
