//! What is counted and measured, by name: the metrics of a process, written once, for whoever collects them. Nothing is
//! measured per event: counters move once per batch, gauges when they are sampled.
//!
//! A recorder must be installed before owners and runners start; without one all of this costs next to nothing.

mod sampler;

use std::time::Duration;

use annals_model::position::ContextPartition;
use metrics::{Counter, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

pub use self::sampler::Sampler;
use crate::sink::Generation;

/// Commands answered, by `outcome`: `accepted`, `replayed`, `refused`, `failed`.
pub const COMMANDS: &str = "annals_commands_total";
/// Batches that owners made durable.
pub const BATCHES: &str = "annals_batches_total";
/// Time from the hand-over of an append to the log until it was durable, seconds.
pub const APPEND_SECONDS: &str = "annals_append_seconds";
/// Appends and proofs that found a newer claim.
pub const FENCED: &str = "annals_fenced_total";
/// Appends and proofs whose outcome was not known.
pub const UNKNOWN: &str = "annals_unknown_outcomes_total";
/// Records that a reader dropped because a newer claim made them void. Must stay 0: anything else is a fencing failure.
pub const VOIDED: &str = "annals_voided_records_total";
/// 1 where this process serves a partition, else 0.
pub const PARTITION_SERVING: &str = "annals_partition_serving";
/// 1 where a partition is stopped until an operator has looked, else 0.
pub const PARTITION_STOPPED: &str = "annals_partition_stopped";
/// Records that a generation has not taken in yet.
pub const LAG_EVENTS: &str = "annals_read_model_lag_events";
/// Age of the oldest record that a generation has not taken in yet, seconds.
pub const LAG_SECONDS: &str = "annals_read_model_lag_seconds";
/// How far the wall clock is ahead of what is taken for the time, seconds, where it is held back; else 0.
pub const CLOCK_HELD: &str = "annals_clock_held_back_seconds";
/// How far the newest record that an owner of this process knows is ahead of the wall clock, seconds; 0 where it is not.
pub const LOG_AHEAD: &str = "annals_log_ahead_of_clock_seconds";
/// When lag was last measured, as a Unix time, seconds: where that is long ago, the two gauges above say nothing.
pub const LAG_MEASURED: &str = "annals_read_model_lag_measured_timestamp_seconds";
/// 1 where a runner of this process stopped, else 0.
pub const RUNNER_STOPPED: &str = "annals_read_model_stopped";
/// 1 where the live generation of a read model cannot be read, or does not come with the log, as this process sees it.
pub const READ_MODEL_TROUBLE: &str = "annals_read_model_trouble";
/// Records whose rows this process committed.
pub const APPLIED: &str = "annals_read_model_events_total";
/// Commits by this process.
pub const COMMITS: &str = "annals_read_model_commits_total";
/// Commits that another process had made already.
pub const STALE: &str = "annals_read_model_stale_commits_total";
/// Tries again after a failure of log or sink.
pub const RETRIES: &str = "annals_read_model_retries_total";
/// Stops of runners, also those that are started again.
pub const STOPS: &str = "annals_read_model_stops_total";

/// All names with their kind, unit and meaning.
const DESCRIBED: &[(&str, Kind, Unit, &str)] = &[
    (COMMANDS, Kind::Counter, Unit::Count, "commands answered"),
    (BATCHES, Kind::Counter, Unit::Count, "batches that owners made durable"),
    (APPEND_SECONDS, Kind::Histogram, Unit::Seconds, "time until an append was durable"),
    (FENCED, Kind::Counter, Unit::Count, "appends and proofs that found a newer claim"),
    (UNKNOWN, Kind::Counter, Unit::Count, "appends and proofs whose outcome was not known"),
    (VOIDED, Kind::Counter, Unit::Count, "records that a newer claim made void; must stay 0"),
    (PARTITION_SERVING, Kind::Gauge, Unit::Count, "1 where this process serves the partition"),
    (PARTITION_STOPPED, Kind::Gauge, Unit::Count, "1 where the partition is stopped"),
    (LAG_EVENTS, Kind::Gauge, Unit::Count, "records that the generation has not taken in yet"),
    (LAG_SECONDS, Kind::Gauge, Unit::Seconds, "age of the oldest of them"),
    (CLOCK_HELD, Kind::Gauge, Unit::Seconds, "how far the wall clock is held back"),
    (LOG_AHEAD, Kind::Gauge, Unit::Seconds, "how far the newest record is ahead of the wall clock"),
    (LAG_MEASURED, Kind::Gauge, Unit::Seconds, "when lag was last measured, Unix time"),
    (RUNNER_STOPPED, Kind::Gauge, Unit::Count, "1 where a runner of this process stopped"),
    (READ_MODEL_TROUBLE, Kind::Gauge, Unit::Count, "1 where the read model cannot be read, or does not move"),
    (APPLIED, Kind::Counter, Unit::Count, "records whose rows this process committed"),
    (COMMITS, Kind::Counter, Unit::Count, "commits by this process"),
    (STALE, Kind::Counter, Unit::Count, "commits that another process had made already"),
    (RETRIES, Kind::Counter, Unit::Count, "tries again after a failure of log or sink"),
    (STOPS, Kind::Counter, Unit::Count, "stops of runners"),
];

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Bounds of the buckets of [`APPEND_SECONDS`], seconds.
pub const APPEND_SECONDS_BUCKETS: &[f64] = &[0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.25, 1.0, 5.0];

/// All names: what alert rules may speak of.
pub fn names() -> impl Iterator<Item = &'static str> {
    DESCRIBED.iter().map(|(name, ..)| *name)
}

/// Tells the recorder what each name means. Once, after it was installed.
pub fn describe() {
    for &(name, kind, unit, meaning) in DESCRIBED {
        match kind {
            Kind::Counter => describe_counter!(name, unit, meaning),
            Kind::Gauge => describe_gauge!(name, unit, meaning),
            Kind::Histogram => describe_histogram!(name, unit, meaning),
        }
    }
    // A counter that must stay 0 is there from the beginning: an alert sees its first step.
    counter!(VOIDED).absolute(0);
}

/// How a command was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// Its events are durable.
    Accepted,
    /// It was accepted before.
    Replayed,
    /// By a rule, a conflict, or for what it says.
    Refused,
    /// It may be sent again.
    Failed,
}

/// A command was answered.
pub fn answered(outcome: CommandOutcome) {
    let outcome = match outcome {
        CommandOutcome::Accepted => "accepted",
        CommandOutcome::Replayed => "replayed",
        CommandOutcome::Refused => "refused",
        CommandOutcome::Failed => "failed",
    };
    counter!(COMMANDS, "outcome" => outcome).increment(1);
}

/// The clocks were compared.
pub(crate) fn clock(held_micros: i64, log_ahead_micros: i64) {
    gauge!(CLOCK_HELD).set(held_micros as f64 / 1e6);
    gauge!(LOG_AHEAD).set(log_ahead_micros as f64 / 1e6);
}

/// A reader dropped records that a newer claim made void.
pub(crate) fn voided(records: u64) {
    counter!(VOIDED).increment(records);
}

/// What a partition's owner counts.
#[derive(Debug)]
pub struct OwnerMeters {
    batches: Counter,
    append: metrics::Histogram,
    fenced: Counter,
    unknown: Counter,
}

impl OwnerMeters {
    /// Of a partition.
    pub fn of(at: ContextPartition) -> Self {
        let labels = [("context", at.context.name.to_owned()), ("partition", at.partition.to_string())];
        Self {
            batches: counter!(BATCHES, &labels),
            append: histogram!(APPEND_SECONDS, "context" => at.context.name),
            fenced: counter!(FENCED, &labels),
            unknown: counter!(UNKNOWN, &labels),
        }
    }

    /// A batch is durable.
    pub fn durable(&self, took: Duration) {
        self.batches.increment(1);
        self.append.record(took.as_secs_f64());
    }

    /// A newer claim was found.
    pub fn fenced(&self) {
        self.fenced.increment(1);
    }

    /// The log did not say how it ended.
    pub fn unknown(&self) {
        self.unknown.increment(1);
    }
}

/// What a runner counts.
#[derive(Debug)]
pub(crate) struct RunnerMeters {
    pub(crate) applied: Counter,
    pub(crate) commits: Counter,
    pub(crate) stale: Counter,
    pub(crate) retries: Counter,
    pub(crate) stops: Counter,
}

impl RunnerMeters {
    pub(crate) fn of(generation: &Generation) -> Self {
        let labels = generation_labels(generation);
        Self {
            applied: counter!(APPLIED, &labels),
            commits: counter!(COMMITS, &labels),
            stale: counter!(STALE, &labels),
            retries: counter!(RETRIES, &labels),
            stops: counter!(STOPS, &labels),
        }
    }

    /// Of a builder that catches up: nobody runs it.
    pub(crate) fn none() -> Self {
        let none = Counter::noop;
        Self { applied: none(), commits: none(), stale: none(), retries: none(), stops: none() }
    }
}

fn generation_labels(generation: &Generation) -> [(&'static str, String); 2] {
    [("read_model", generation.read_model.clone()), ("generation", generation.id.to_string())]
}
