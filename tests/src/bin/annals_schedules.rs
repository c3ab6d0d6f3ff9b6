//! Faults by seed, as many as there is time for: `annals-schedules --schedules 200 --seed 1`.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program for the people who start it by hand")]

use std::collections::BTreeMap;
use std::time::Instant;

use annals_engine::seeded::SeededBug;
use annals_tests::cluster::bed::Bed;
use annals_tests::cluster::bugs;
use annals_tests::cluster::check::Violation;
use annals_tests::cluster::drills;
use annals_tests::cluster::faults::{Schedule, Shape};
use annals_tests::cluster::isolation::Isolation;
use annals_tests::cluster::programs;
use annals_tests::cluster::sessions::sessions_max;
use annals_tests::cluster::world::World;
use annals_tests::limits;
use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Strikes a cluster of real processes with faults by seed while clients work on it, and checks after each schedule that
/// every promise was kept.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many schedules; the first has this seed, each later one the next
    #[arg(long, default_value_t = 20)]
    schedules: u64,
    /// Seed of the first schedule; random unless given
    #[arg(long)]
    seed: Option<u64>,
    /// Schedules on one log before an empty one is begun
    /// [default: 20, and all of them where --rows are there before]
    #[arg(long)]
    per_log: Option<u64>,
    /// Begins with so many rows in the live read model of the database, which then stands still for up to a minute in
    /// every fourth schedule
    #[arg(long, default_value_t = 0)]
    rows: u64,
    /// Clients that work at the same time
    #[arg(long, default_value_t = 8)]
    clients: u64,
    /// API nodes
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Projectors
    #[arg(long, default_value_t = 2)]
    projectors: usize,
    /// Brokers
    #[arg(long, default_value_t = 3)]
    brokers: usize,
    /// A mistake on purpose that all processes make
    #[arg(long)]
    bug: Option<String>,
    /// Measures instead how long partitions go unserved when their owner is killed, and when it is stopped
    #[arg(long)]
    failover: bool,
    /// Pauses owners instead until others have taken over, and resumes them, so many times
    #[arg(long, value_name = "ROUNDS")]
    zombies: Option<u64>,
    /// Restarts all nodes instead, one after another, under load, so many times
    #[arg(long, value_name = "ROUNDS")]
    rolling: Option<u64>,
    /// Runs instead the drill of every mistake on purpose (or of --bug alone), without the mistake and with it
    #[arg(long)]
    drills: bool,
    /// Stops the database, an owner and a broker instead, one after the other, and compares what goes on without them with
    /// before
    #[arg(long)]
    isolation: bool,
    /// Takes the programs under test from here instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<std::path::PathBuf>,
    /// Keep what the processes wrote
    #[arg(long)]
    keep: bool,
}

/// Schedules on one log, unless told otherwise.
const PER_LOG_DEFAULT: u64 = 20;

/// What all schedules came to.
#[derive(Debug, Default)]
struct Totals {
    schedules: u64,
    faults: BTreeMap<String, u64>,
    acknowledged: u64,
    violations: u64,
    claims: u64,
    claims_of_log: u64,
    /// The longest that read models took to become current, milliseconds.
    current_ms: u64,
    /// Most sessions of the database.
    sessions: usize,
    broken_seeds: Vec<u64>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 3)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let bug = match &arguments.bug {
        None => None,
        Some(name) => {
            let found = SeededBug::ALL.into_iter().find(|bug| bug.name() == name);
            let known: Vec<_> = SeededBug::ALL.iter().map(|bug| bug.name()).collect();
            Some(found.with_context(|| format!("{name}: no such bug; there are {}", known.join(", ")))?)
        }
    };
    let shape = match arguments.drills {
        true => bugs::SHAPE,
        false => Shape { nodes: arguments.nodes, projectors: arguments.projectors, brokers: arguments.brokers },
    };
    ensure!(shape.nodes > 0 && shape.projectors > 0 && shape.brokers > 0, "at least one of each part is needed");
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let started = Instant::now();
    let programs = match &arguments.programs {
        Some(directory) => programs::in_directory(directory)?,
        None => programs::built()?,
    };
    let mut world = tokio::task::block_in_place(|| World::of(programs, shape))?;
    println!("{} nodes, {} projectors, {} brokers, seed {seed}", shape.nodes, shape.projectors, shape.brokers);
    // Whoever interrupts leaves no process behind: the world ends when it is dropped.
    let outcome = tokio::select! {
        outcome = work(&mut world, seed, &arguments, bug) => outcome,
        interrupted = interrupted() => interrupted,
    };
    for line in world.errors().iter().take(limits::VIOLATIONS_SHOWN) {
        println!("a process asked for a person: {line}");
    }
    if outcome.is_err() || arguments.keep {
        eprint!("{}", world.last_lines());
        println!("what the processes wrote is in {}", world.keep()?.display());
    }
    println!("{:.0} s in all", started.elapsed().as_secs_f64());
    outcome
}

async fn work(world: &mut World, seed: u64, arguments: &Arguments, bug: Option<SeededBug>) -> anyhow::Result<()> {
    match (arguments.failover, arguments.zombies, arguments.rolling) {
        (true, ..) => drills::failover(world, seed).await,
        (false, Some(rounds), _) => drills::zombies(world, seed, rounds).await,
        (false, None, Some(rounds)) => drills::rolling(world, seed, rounds, arguments.clients).await,
        (false, None, None) if arguments.drills => rehearse(world, bug).await,
        (false, None, None) if arguments.isolation => isolation(world).await,
        (false, None, None) => schedules(world, seed, arguments, bug).await,
    }
}

async fn interrupted() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! { _ = terminate.recv() => {}, interrupt = tokio::signal::ctrl_c() => interrupt? }
    bail!("interrupted")
}

async fn isolation(world: &mut World) -> anyhow::Result<()> {
    let mut isolation = Isolation::begin(world).await?;
    isolation.the_database_stands_still().await?;
    isolation.an_owner_is_dead().await?;
    isolation.a_broker_is_dead().await?;
    isolation.end().await
}

async fn rehearse(world: &mut World, only: Option<SeededBug>) -> anyhow::Result<()> {
    for bug in SeededBug::ALL.into_iter().filter(|bug| only.is_none_or(|only| only == *bug)) {
        bugs::require_found(bug, world).await?;
    }
    Ok(())
}

async fn schedules(world: &mut World, seed: u64, arguments: &Arguments, bug: Option<SeededBug>) -> anyhow::Result<()> {
    let mut totals = Totals::default();
    let mut bed: Option<Bed> = None;
    let per_log = arguments.per_log.unwrap_or(if arguments.rows > 0 { u64::MAX } else { PER_LOG_DEFAULT });
    for number in 0..arguments.schedules {
        if number % per_log.max(1) == 0 {
            drop(bed.take());
            totals.claims_of_log = 0;
        }
        let bed = match &mut bed {
            Some(bed) => bed,
            None => bed.insert(begin(world, bug, arguments.rows).await?),
        };
        let seed = seed.wrapping_add(number);
        one(world, bed, seed, arguments, &mut totals).await.with_context(|| format!("schedule {seed}"))?;
    }
    println!("{} schedules, {} commands acknowledged, {} claims", totals.schedules, totals.acknowledged, totals.claims);
    for (kind, count) in &totals.faults {
        println!("  {count:>5} × {kind}");
    }
    println!(
        "read models current at most {} ms after the last fault; at most {} sessions of the database, the pools allow {}",
        totals.current_ms,
        totals.sessions,
        sessions_max(world.shape())
    );
    println!("{} violations", totals.violations);
    if totals.violations > 0 {
        bail!(
            "promises were broken by the schedules {:?}; run one again with --schedules 1 --seed N",
            totals.broken_seeds
        );
    }
    Ok(())
}

async fn begin(world: &mut World, bug: Option<SeededBug>, rows: u64) -> anyhow::Result<Bed> {
    let started = Instant::now();
    let bed = Bed::begin_with(world, bug, rows).await?;
    if rows > 0 {
        println!(
            "{} rows were there before anybody worked ({:.1} s)",
            bed.rows_before(),
            started.elapsed().as_secs_f64()
        );
    }
    Ok(bed)
}

async fn one(
    world: &mut World,
    bed: &mut Bed,
    seed: u64,
    arguments: &Arguments,
    totals: &mut Totals,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let schedule = match arguments.rows {
        0 => Schedule::new(seed, world.shape()),
        _ => Schedule::with_outages(seed, world.shape()),
    };
    let report = bed.run(world, seed, &schedule, arguments.clients).await?;
    let faults: Vec<_> = schedule.faults.iter().map(ToString::to_string).collect();
    println!(
        "{:>4}  seed {seed}  {:>5} acknowledged  {:>2} claims  {} violations  {:.1} s (healing {} ms, current after {} ms, judging {} ms)  \
         {:>3} sessions  {}",
        totals.schedules + 1,
        report.acknowledged,
        report.claims - totals.claims_of_log,
        report.violations.len(),
        started.elapsed().as_secs_f64(),
        report.healing_ms,
        report.current_ms,
        report.judging_ms,
        report.sessions,
        faults.join("; ")
    );
    show(&report.violations);
    schedule.count(&mut totals.faults);
    totals.schedules += 1;
    totals.current_ms = totals.current_ms.max(report.current_ms);
    totals.sessions = totals.sessions.max(report.sessions);
    totals.acknowledged += report.acknowledged;
    totals.claims += report.claims - totals.claims_of_log;
    totals.claims_of_log = report.claims;
    if !report.violations.is_empty() {
        totals.violations += report.violations.len() as u64;
        totals.broken_seeds.push(seed);
    }
    Ok(())
}

fn show(violations: &[Violation]) {
    for violation in violations.iter().take(limits::VIOLATIONS_SHOWN) {
        println!("      {violation}");
    }
    if let Some(more) = violations.len().checked_sub(limits::VIOLATIONS_SHOWN).filter(|more| *more > 0) {
        println!("      … and {more} more");
    }
}
