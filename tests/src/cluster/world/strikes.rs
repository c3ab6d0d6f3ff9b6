//! Faults, as they strike the parts of a world and pass.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::World;
use crate::cluster::faults::{Fault, Kind, Part, Schedule};
use crate::cluster::process::Process;
use crate::limits;

/// Exit code of a program that panicked.
const PANICKED: i32 = 101;

impl World {
    /// Lets a schedule happen; returns when its time is over and its last fault has passed, and when that was.
    pub fn suffer(&mut self, schedule: &Schedule) -> anyhow::Result<Instant> {
        let mut steps: Vec<(u64, bool, &Fault)> = Vec::new();
        for fault in &schedule.faults {
            steps.extend([(fault.from_ms, true, fault), (fault.until_ms, false, fault)]);
        }
        steps.sort_by_key(|(at, ..)| *at);
        self.restarts_left = limits::RESTARTS_MAX;
        let began = Instant::now();
        for (at_ms, begins, fault) in steps {
            self.watch_until(began + Duration::from_millis(at_ms))?;
            let struck = if begins { self.strike(fault) } else { self.pass(fault) };
            struck.with_context(|| format!("{} {fault}", if begins { "beginning" } else { "ending" }))?;
        }
        let passed = Instant::now();
        self.watch_until(began + Duration::from_millis(schedule.work_ms))?;
        Ok(passed)
    }

    /// Ends every fault, and waits until everything is up again.
    pub fn heal(&mut self) -> anyhow::Result<()> {
        for broker in std::mem::take(&mut self.brokers_down) {
            self.kafka.restart(broker)?;
        }
        if std::mem::take(&mut self.postgres_down) {
            self.postgres.restart()?;
        }
        self.wait_until_ready()
    }

    /// Begins a fault.
    pub fn strike(&mut self, fault: &Fault) -> anyhow::Result<()> {
        match (fault.part, fault.kind) {
            (Part::Broker(number), Kind::Kill) => {
                self.kafka.kill(number)?;
                self.brokers_down.push(number);
                Ok(())
            }
            (Part::Broker(number), _) => self.kafka.pause(number),
            (Part::Postgres, Kind::Kill) => {
                self.postgres.kill()?;
                self.postgres_down = true;
                Ok(())
            }
            (Part::Postgres, _) => self.postgres.pause(),
            (Part::Node(number), kind) => {
                let struck = strike(&mut self.nodes[number], kind);
                self.look();
                struck
            }
            (Part::Projector(number), kind) => strike(&mut self.projectors[number], kind),
        }
    }

    /// Ends a fault. Processes that were killed are started, and are ready some time later.
    pub fn pass(&mut self, fault: &Fault) -> anyhow::Result<()> {
        match (fault.part, fault.kind) {
            (Part::Broker(number), Kind::Kill) => {
                self.brokers_down.retain(|down| *down != number);
                self.kafka.restart(number)
            }
            (Part::Broker(number), _) => self.kafka.resume(number),
            (Part::Postgres, Kind::Kill) => {
                self.postgres_down = false;
                self.postgres.restart()
            }
            (Part::Postgres, _) => self.postgres.resume(),
            (Part::Node(number), kind) => pass(&mut self.nodes[number], kind),
            (Part::Projector(number), kind) => pass(&mut self.projectors[number], kind),
        }
    }

    /// Waits, tells clients where nodes listen meanwhile, and starts again what has ended.
    fn watch_until(&mut self, until: Instant) -> anyhow::Result<()> {
        loop {
            self.restart_ended()?;
            self.look();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(limits::POLL_MS * 4)));
        }
    }

    /// As whoever supervises processes does. One that ended because it was told to is no news.
    pub(super) fn restart_ended(&mut self) -> anyhow::Result<()> {
        for process in self.nodes.iter_mut().chain(&mut self.projectors).filter(|process| !process.is_leaving()) {
            let Some(status) = process.ended()? else { continue };
            self.restarts_left =
                self.restarts_left.checked_sub(1).filter(|_| status.code() != Some(PANICKED)).with_context(|| {
                    format!("{} ended with {status}, once too often:\n{}", process.name(), process.last_lines())
                })?;
            self.restarts += 1;
            process.start()?;
        }
        Ok(())
    }
}

fn strike(process: &mut Process, kind: Kind) -> anyhow::Result<()> {
    match kind {
        Kind::Kill => process.kill(),
        Kind::Pause | Kind::LongPause => process.pause(),
        Kind::Leave => process.terminate(),
    }
}

fn pass(process: &mut Process, kind: Kind) -> anyhow::Result<()> {
    match kind {
        Kind::Pause | Kind::LongPause => process.resume(),
        Kind::Kill => process.start(),
        Kind::Leave => {
            process.wait_until_ended()?;
            process.start()
        }
    }
}
