//! Floors and peers, side by side in one run: what the engine does on this machine, beside the least that could do the
//! same work there. Both take turns in the same minute, and what is judged is the ratio of their medians: the machine
//! cancels out.
//!
//! `cargo run --release -p annals-bench`, on a machine with nothing else to do; another load makes the numbers worth
//! nothing, so it is looked for and said.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program for the people who start it by hand")]

mod bare_kafka;
mod bare_server;
mod catch_up;
mod client;
mod commands;
mod embedded;
mod history;
mod kafka;
mod limits;
mod lines;
mod live;
mod machine;
mod node;
mod overload;
mod rebuild;
mod replay;
mod report;
mod rounds;
mod upserts;
mod visible;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use crate::report::{Report, Verdict};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Commands over HTTP on the SQLite log, beside axum, serde_json and one thread that appends and syncs.
    EmbeddedHttp,
    /// Commands over HTTP of more clients than a node takes at a time, beside those of few.
    Overload,
    /// Fold, rebuild and verify on SQLite, beside a loop of batched upserts.
    RebuildSqlite,
    /// Rebuild into PostgreSQL, beside a loop of batched upserts.
    RebuildPostgres,
    /// Commands over HTTP on Kafka, beside a program that commits the same transactions without an engine.
    KafkaHttp,
    /// Kafka into a fold, beside reading the same records without looking at them.
    KafkaFold,
    /// From a command's answer until a query shows it, beside the same query alone.
    Visible,
    /// Lines of commands at full speed with read models in the process: how far behind are they at the end?
    Live,
    /// A backlog behind a store that was stopped, over tables of different sizes.
    CatchUp,
    /// An import on Kafka that is repeated, beside new lines.
    Replay,
}

/// Measures the engine beside its floors. Ends with 0 if every goal is met, 1 if something could not be
/// measured, 3 if a goal is missed, 5 if another load on the machine keeps it from judging.
#[derive(Debug, Parser)]
#[command(name = "annals-bench", version)]
struct Args {
    /// What to measure; all of it unless named.
    subjects: Vec<Subject>,
    /// Writes what was measured as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Judges although another load was there.
    #[arg(long)]
    anyway: bool,
    /// Of ids and names: the same seed, the same work.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Turns of each side.
    #[arg(long, default_value_t = limits::ROUNDS, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Length of a turn of commands, seconds.
    #[arg(long, default_value_t = limits::TURN_S)]
    seconds: f64,
    /// Only so many commands in flight, of what is measured with several.
    #[arg(long, value_name = "N")]
    in_flight: Option<usize>,
    /// Events of a log that is folded or rebuilt from.
    #[arg(long, default_value_t = limits::EVENTS, value_parser = clap::value_parser!(u64).range(10_000..))]
    events: u64,
    /// Only tables of so many rows, of what is measured with several.
    #[arg(long, value_name = "N")]
    rows: Option<u64>,
    /// Where logs and read models are written while it runs: a directory of the disk that is meant.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// How to measure.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    rounds: u8,
    turn: Duration,
    in_flight: Option<usize>,
    events: u64,
    rows: Option<u64>,
    directory: PathBuf,
}

impl Plan {
    /// Of these numbers of commands in flight, those that are wanted.
    fn in_flight(&self, all: &[usize]) -> Vec<usize> {
        all.iter().copied().filter(|number| self.in_flight.is_none_or(|wanted| wanted == *number)).collect()
    }

    /// A directory that is gone when dropped.
    fn scratch(&self) -> anyhow::Result<tempfile::TempDir> {
        tempfile::tempdir_in(&self.directory).with_context(|| format!("{} cannot be written", self.directory.display()))
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let plan = Plan {
        seed: args.seed,
        rounds: args.rounds,
        turn: Duration::try_from_secs_f64(args.seconds).context("--seconds")?,
        in_flight: args.in_flight,
        events: args.events,
        rows: args.rows,
        directory: args.directory.map_or_else(beside_the_binary, Ok)?,
    };
    let mut failed = Vec::new();
    let mut report = Report::new(plan.seed, args.anyway);
    let before = machine::look(Duration::from_millis(limits::LOOK_MS))?;
    if before > limits::OTHERS_SHARE_MAX {
        eprintln!("another load takes {:.0} % of this machine; what is measured now is not judged", before * 100.0);
    }
    let chosen = |subject: &&Subject| args.subjects.is_empty() || args.subjects.contains(subject);
    for subject in Subject::value_variants().iter().filter(chosen) {
        let rows = match subject {
            Subject::EmbeddedHttp => embedded::measure(&plan),
            Subject::Overload => overload::measure(&plan),
            Subject::RebuildSqlite => rebuild::measure(&plan),
            Subject::RebuildPostgres => rebuild::measure_postgres(&plan),
            Subject::KafkaHttp => kafka::measure_commands(&plan),
            Subject::KafkaFold => kafka::measure_fold(&plan),
            Subject::Visible => visible::measure(&plan),
            Subject::Live => live::measure(&plan),
            Subject::CatchUp => catch_up::measure(&plan),
            Subject::Replay => replay::measure(&plan),
        };
        match rows {
            Ok(rows) => rows.into_iter().for_each(|row| report.add(row)),
            // What else is measured is worth having all the same.
            Err(error) => failed.push(error.context(format!("{subject:?} could not be measured"))),
        }
    }
    report.print();
    if let Some(path) = args.json {
        std::fs::write(&path, report.to_json()?).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    for error in &failed {
        eprintln!("{error:#}");
    }
    Ok(match report.verdict() {
        _ if !failed.is_empty() => ExitCode::FAILURE,
        Verdict::Met => ExitCode::SUCCESS,
        Verdict::Missed => ExitCode::from(3),
        Verdict::Disturbed => ExitCode::from(5),
    })
}

/// The directory that Cargo builds into lies on a disk; the system's temporary directory may be memory, where syncing
/// costs nothing.
fn beside_the_binary() -> anyhow::Result<PathBuf> {
    let binary = std::env::current_exe()?;
    Ok(binary.parent().context("the binary lies in no directory")?.to_owned())
}
