//! Drills with one purpose each: owners that are killed, stopped, paused and restarted, and how long it takes.

use annals_platform::application;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use annals_model::ids::AggregateId;
use annals_schemas::contexts::PORTFOLIO;
use anyhow::{Context as _, ensure};
use serde_json::json;
use uuid::Uuid;

use super::bed::{Bed, Report};
use super::check::Violation;
use super::history::Outcome;
use super::recorded::LogContent;
use super::workload::{Command, Place};
use super::world::{PARTITIONS, World};
use crate::limits;

/// Rounds of each measurement of [`failover`].
const FAILOVER_ROUNDS: usize = 5;

/// Fails with the first of what is wrong.
pub fn require_none(violations: &[Violation]) -> anyhow::Result<()> {
    let first: Vec<_> = violations.iter().take(limits::VIOLATIONS_SHOWN).map(ToString::to_string).collect();
    ensure!(violations.is_empty(), "{} violations:\n  {}", violations.len(), first.join("\n  "));
    Ok(())
}

/// Which nodes own which partitions of `portfolio`, by their newest claims.
pub async fn owners(bed: &Bed, world: &World) -> anyhow::Result<BTreeMap<u16, usize>> {
    let addresses = world.addresses().borrow().clone();
    let content = LogContent::read(&**bed.log(), &[PORTFOLIO]).await?;
    let node = |owner: &str| {
        let listens = |url: &Option<String>| url.as_ref().is_some_and(|url| !owner.is_empty() && url.ends_with(owner));
        addresses.iter().position(listens)
    };
    Ok(content.partitions.iter().filter_map(|found| Some((found.partition, node(&found.owner)?))).collect())
}

/// Waits until the nodes have shared out all partitions among them, and none has changed hands for a while.
pub async fn shared_out(bed: &Bed, world: &World) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_millis(limits::SETTLE_MS_MAX);
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let claims = LogContent::read(&**bed.log(), &application().context_ids()).await?.claims();
        if claims != last {
            (last, since) = (claims, Instant::now());
        }
        let owned = owners(bed, world).await?;
        if owned.len() == usize::from(PARTITIONS) && since.elapsed() > Duration::from_millis(limits::SHARED_OUT_MS) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "partitions are not shared out: {owned:?}, {claims} claims");
        tokio::time::sleep(Duration::from_millis(limits::POLL_MS * 4)).await;
    }
}

/// The owner of one of the partitions, by this choice, and a place in each partition that it owns.
async fn an_owner(bed: &Bed, world: &World, choice: u64) -> anyhow::Result<(usize, Vec<Place>)> {
    let deadline = Instant::now() + Duration::from_millis(limits::SETTLE_MS_MAX);
    loop {
        let owned = owners(bed, world).await?;
        // Nodes that own nothing here own partitions of another context.
        if owned.len() == usize::from(PARTITIONS)
            && let Some(node) = owned.get(&((choice % u64::from(PARTITIONS)) as u16))
        {
            let here = bed.places().iter().filter(|place| owned.get(&Bed::partition(place)) == Some(node));
            return Ok((*node, here.cloned().collect()));
        }
        ensure!(Instant::now() < deadline, "partitions without an owner: {owned:?}");
        tokio::time::sleep(Duration::from_millis(limits::POLL_MS)).await;
    }
}

/// Registers a new application, through any node but the one that is left out.
pub fn registration(place: &Place, label: &str) -> Command {
    Command {
        request: label.into(),
        name: "portfolio.application.register",
        tenant: place.tenant,
        workspace: Some(place.workspace),
        aggregate: AggregateId(Uuid::new_v4()),
        expects_last_seen: false,
        payload: json!({ "name": label }),
    }
}

/// Sends a command to each place at once, and how long the slowest took to be acknowledged.
async fn acknowledged_everywhere(bed: &mut Bed, places: &[Place], label: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let sent = places.iter().enumerate().map(|(number, place)| {
        let mut client = bed.client(number as u64);
        let command = registration(place, &format!("{label}-{number}"));
        async move {
            let outcome = client.send(command, None).await;
            (outcome, began.elapsed(), client.into_seen())
        }
    });
    let mut slowest = Duration::ZERO;
    for (outcome, took, seen) in futures_util::future::join_all(sent).await {
        ensure!(matches!(outcome, Some(Outcome::Acknowledged(_))), "{label} was answered {outcome:?}");
        slowest = slowest.max(took);
        bed.take(seen);
    }
    Ok(slowest)
}

/// Kills owners, and stops owners, and measures until the first command is accepted on all that they owned.
pub async fn failover(world: &mut World, seed: u64) -> anyhow::Result<()> {
    tokio::task::block_in_place(|| world.begin_anew(None))?;
    let mut bed = Bed::new(world).await?;
    let mut measured: Vec<[Duration; 3]> = Vec::new();
    for round in 0..FAILOVER_ROUNDS {
        let (node, places) = an_owner(&bed, world, seed.wrapping_add(round as u64)).await?;
        acknowledged_everywhere(&mut bed, &places, &format!("before-{round}")).await?;
        tokio::task::block_in_place(|| world.node(node).kill())?;
        world.look();
        let killed = acknowledged_everywhere(&mut bed, &places, &format!("killed-{round}")).await?;
        tokio::task::block_in_place(|| world.node(node).start().and_then(|()| world.wait_until_ready()))?;

        let (node, places) = an_owner(&bed, world, seed.wrapping_add(round as u64)).await?;
        acknowledged_everywhere(&mut bed, &places, &format!("again-{round}")).await?;
        let began = Instant::now();
        world.node(node).terminate()?;
        let ending = tokio::task::block_in_place(|| world.node(node).wait_until_ended());
        let stopped = began.elapsed();
        ending?;
        world.look();
        let served = acknowledged_everywhere(&mut bed, &places, &format!("stopped-{round}")).await?;
        tokio::task::block_in_place(|| world.node(node).start().and_then(|()| world.wait_until_ready()))?;
        measured.push([killed, stopped, stopped + served]);
    }
    println!(
        "{:>5}  {:>28}  {:>16}  {:>30}",
        "round", "SIGKILL → accepted elsewhere", "SIGTERM → ended", "SIGTERM → accepted elsewhere"
    );
    for (round, [killed, stopped, served]) in measured.iter().enumerate() {
        let [killed, stopped, served] = [killed, stopped, served].map(|took| format!("{:.2} s", took.as_secs_f64()));
        println!("{:>5}  {killed:>28}  {stopped:>16}  {served:>30}", round + 1);
    }
    require_none(&bed.judge().await?.0)
}

/// Pauses an owner until another node has claimed its partitions and accepted commands, lets the zombie go on with the
/// commands that it was sent meanwhile, and counts what became visible of them.
pub async fn zombies(world: &mut World, seed: u64, rounds: u64) -> anyhow::Result<()> {
    tokio::task::block_in_place(|| world.begin_anew(None))?;
    let mut bed = Bed::new(world).await?;
    let mut taken_over = Vec::new();
    for round in 0..rounds {
        let (node, places) = an_owner(&bed, world, seed.wrapping_add(round)).await?;
        acknowledged_everywhere(&mut bed, &places, &format!("owner-{round}")).await?;
        let zombie_url = world.addresses().borrow()[node].clone().context("the node is ready")?;
        world.node(node).pause()?;
        // In its socket when it wakes up: the first thing that it does is to write.
        let late = places.iter().enumerate().map(|(number, place)| {
            let mut client = bed.client(number as u64);
            let (command, url) = (registration(place, &format!("zombie-{round}-{number}")), zombie_url.clone());
            tokio::spawn(async move {
                client.send_once_to(&url, &command).await;
                client.into_seen()
            })
        });
        let late: Vec<_> = late.collect();
        world.hide(node);
        let took = acknowledged_everywhere(&mut bed, &places, &format!("heir-{round}")).await?;
        taken_over.push(took);
        world.node(node).resume()?;
        for seen in late {
            bed.take(seen.await?);
        }
        world.look();
        println!("round {:>3}: node {node} stood still, taken over after {:.2} s", round + 1, took.as_secs_f64());
    }
    let (violations, claims) = bed.judge().await?;
    let slowest = taken_over.iter().max().copied().unwrap_or_default();
    println!(
        "{rounds} rounds, {claims} claims, slowest takeover {:.2} s, {} violations",
        slowest.as_secs_f64(),
        violations.len()
    );
    require_none(&violations)
}

/// Restarts every node, one after another, while clients work.
pub async fn rolling(world: &mut World, seed: u64, rounds: u64, clients: u64) -> anyhow::Result<()> {
    tokio::task::block_in_place(|| world.begin_anew(None))?;
    let mut bed = Bed::new(world).await?;
    for round in 0..rounds {
        let report = roll(&mut bed, world, seed.wrapping_add(round), clients).await?;
        let (p50, p99, slowest) = percentiles(&report);
        println!(
            "round {}: {} acknowledged, {} violations, p50 {p50} ms, p99 {p99} ms, slowest {slowest} ms (retries included)",
            round + 1,
            report.acknowledged,
            report.violations.len()
        );
        require_none(&report.violations)?;
    }
    Ok(())
}

/// One round of [`rolling`].
pub async fn roll(bed: &mut Bed, world: &mut World, seed: u64, clients: u64) -> anyhow::Result<Report> {
    let restart_all = || {
        for node in 0..world.shape().nodes {
            world.node(node).terminate()?;
            world.hide(node);
            let status = world.node(node).wait_until_ended()?;
            ensure!(status.success(), "node {node} ended with {status}");
            world.node(node).start()?;
            world.wait_until_ready()?;
        }
        Ok(Instant::now())
    };
    bed.during(seed, clients, restart_all).await
}

/// Milliseconds: p50, p99, slowest.
pub fn percentiles(report: &Report) -> (u64, u64, u64) {
    let mut sorted = report.latencies_us.clone();
    sorted.sort_unstable();
    let at = |share: f64| sorted.get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1)));
    let millis = |latency: Option<&u64>| latency.copied().unwrap_or_default() / 1_000;
    (millis(at(0.5)), millis(at(0.99)), millis(sorted.last()))
}
