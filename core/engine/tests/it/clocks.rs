//! Clocks that jump, stand still and are put right: what is written as the time of a record.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use annals_engine::log::EventLog;
use annals_engine::log::checked::CheckedReader;
use annals_engine::log::memory::MemoryLog;
use annals_engine::owners::{Engine, EngineOptions};
use annals_model::position::{Checkpoint, ContextPartition};
use annals_model::time::Timestamp;
use serde_json::json;

use crate::accounts::{BANK, address, application, scope};
use crate::engine::{deadline, owner, send};

const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
const SECOND: Duration = Duration::from_secs(1);
/// Some day.
const BEGIN: i64 = 1_768_824_000_000_000;

/// A machine with its clocks, and one log.
struct Machine {
    log: Arc<MemoryLog>,
    wall: Arc<AtomicI64>,
    passed: Arc<AtomicI64>,
    sent: AtomicI64,
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap()
}

impl Machine {
    fn new() -> Self {
        let (wall, passed) = (Arc::new(AtomicI64::new(BEGIN)), Arc::new(AtomicI64::new(micros(HOUR))));
        Self { log: MemoryLog::new(&[BANK]), wall, passed, sent: AtomicI64::new(0) }
    }

    fn shared(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    async fn start_with(&self, accept_clock: bool) -> Engine {
        let (wall, passed) = (Arc::clone(&self.wall), Arc::clone(&self.passed));
        let options = EngineOptions {
            clock: Arc::new(move || Timestamp(wall.load(Ordering::Relaxed))),
            passed: Arc::new(move || Duration::from_micros(passed.load(Ordering::Relaxed).unsigned_abs())),
            accept_clock,
            ..EngineOptions::new(owner("one"))
        };
        Engine::start(self.shared(), &application(), &options).await.unwrap()
    }

    async fn start(&self) -> Engine {
        self.start_with(false).await
    }

    /// Time passes, and the wall clock shows it.
    fn pass(&self, time: Duration) {
        self.wall.fetch_add(micros(time), Ordering::Relaxed);
        self.passed.fetch_add(micros(time), Ordering::Relaxed);
    }

    /// Somebody turns the wall clock.
    fn turn(&self, micros: i64) {
        self.wall.fetch_add(micros, Ordering::Relaxed);
    }

    /// Writes an event; its time, as what lies behind the beginning.
    async fn write(&self, engine: &Engine) -> Duration {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let (name, payload) = match number {
            0 => ("open", json!({"name": "a"})),
            _ => ("deposit", json!({"amount": 1})),
        };
        send(&engine.handle(), &format!("r{number}"), 1, name, payload).await.unwrap();
        let at = self.at();
        let mut reader = CheckedReader::open(&*self.log, at, Checkpoint::default()).await.unwrap();
        while reader.next().await.unwrap().is_some() {}
        Duration::from_micros(u64::try_from(reader.checkpoint().emitted_at.0 - BEGIN).unwrap())
    }

    fn at(&self) -> ContextPartition {
        ContextPartition { context: BANK, partition: scope(1).slot().partition(self.log.partitions(BANK)) }
    }

    /// Waits until the log remembers that the clock is held back, or that it is not.
    async fn is_noted(&self, held: bool) {
        let noted = async {
            loop {
                let note = self.log.meta_get("clock/").await.unwrap().unwrap_or_default();
                if (note.starts_with(b"{")) == held {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), noted).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_ahead_is_held_back_also_by_the_next_process_until_somebody_says_that_it_is_right() {
    for jump in [HOUR, YEAR] {
        let machine = Machine::new();
        let engine = machine.start().await;
        assert_eq!(machine.write(&engine).await, Duration::ZERO);
        machine.turn(micros(jump));
        machine.pass(SECOND);
        assert_eq!(machine.write(&engine).await, SECOND, "time goes on as it passes");
        machine.is_noted(true).await;
        engine.shutdown().await;

        machine.pass(SECOND);
        let engine = machine.start().await;
        machine.pass(SECOND);
        let written = machine.write(&engine).await;
        assert!(SECOND < written && written < 10 * SECOND, "{written:?}");
        engine.shutdown().await;

        let engine = machine.start_with(true).await;
        assert_eq!(machine.write(&engine).await, jump + 3 * SECOND);
        machine.is_noted(false).await;
        engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_put_right_is_believed_again_without_a_word_also_by_the_next_process() {
    for restart in [false, true] {
        let machine = Machine::new();
        let mut engine = machine.start().await;
        machine.write(&engine).await;
        machine.turn(micros(YEAR));
        machine.write(&engine).await;
        machine.is_noted(true).await;
        if restart {
            engine.shutdown().await;
            machine.turn(-micros(YEAR));
            engine = machine.start().await;
        } else {
            machine.turn(-micros(YEAR));
        }
        machine.pass(HOUR);
        assert_eq!(machine.write(&engine).await, HOUR);
        machine.is_noted(false).await;
        engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_makes_times_crawl_and_is_believed_when_it_comes_back() {
    let machine = Machine::new();
    let mut engine = machine.start().await;
    machine.write(&engine).await;
    for restart in [false, true] {
        machine.turn(-micros(YEAR));
        machine.pass(SECOND);
        if restart {
            engine.shutdown().await;
            engine = machine.start().await;
        }
        let stood = machine.write(&engine).await;
        let newest = if restart { 2 * SECOND } else { Duration::ZERO };
        assert_eq!(stood, newest + Duration::from_micros(1));
        machine.turn(micros(YEAR));
        // Also where it was wrong when the process started: it shows a time close to the newest record's.
        machine.pass(SECOND);
        assert_eq!(machine.write(&engine).await, if restart { 4 * SECOND } else { 2 * SECOND });
    }
    engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_and_a_log_that_was_idle_are_no_reasons_to_doubt_the_clock() {
    let machine = Machine::new();
    let engine = machine.start().await;
    machine.write(&engine).await;
    machine.pass(YEAR);
    assert_eq!(machine.write(&engine).await, YEAR);
    engine.shutdown().await;
    machine.turn(micros(YEAR));
    let engine = machine.start().await;
    assert_eq!(machine.write(&engine).await, 2 * YEAR);
    engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_proof_of_ownership_is_as_old_as_the_clock_says_that_shows_the_longest_time() {
    // The machine slept, or was not scheduled: some clocks stood still.
    let clocks: [fn(&Machine); 3] = [
        |machine| machine.turn(2_000_000),
        |machine| machine.turn(-1),
        |machine| {
            machine.passed.fetch_add(2_000_000, Ordering::Relaxed);
        },
    ];
    for clock in clocks {
        let machine = Machine::new();
        let engine = machine.start().await;
        machine.write(&engine).await;
        let read = async || engine.handle().aggregate(address(scope(1), 1), deadline()).await;
        assert!(read().await.unwrap().is_some());
        machine.log.claim_by_rival(machine.at());
        assert!(read().await.is_ok(), "within a second of the proof");
        clock(&machine);
        assert!(read().await.is_err(), "an answer that may be stale");
        engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_command_of_a_partition_has_a_later_time_than_those_before_it_also_where_the_clock_stands_still() {
    let machine = Machine::new();
    for life in 0..3u32 {
        let engine = machine.start().await;
        for command in 0..4 {
            assert_eq!(machine.write(&engine).await, Duration::from_micros(u64::from(4 * life + command)));
        }
        engine.shutdown().await;
    }
}
