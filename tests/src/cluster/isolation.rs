//! What one part's trouble costs those who do not need that part: load before and during it, side by side on the same
//! cluster. Compared are shares and medians of the same run, so that a slow machine is slow for both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_model::ids::TenantId;
use anyhow::{Context as _, ensure};
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;

use super::bed::Bed;
use super::clients::{Client, Seen};
use super::drills::{owners, registration, shared_out};
use super::faults::{Fault, Kind, Part};
use super::history::Outcome;
use super::workload::Place;
use super::world::{PARTITIONS, World};
use crate::limits;

/// How many times slower the half of all may be than before.
const MEDIAN_TIMES_MAX: u64 = 2;
/// The same for nine of ten: a few of them show whatever else the machine does.
const P90_TIMES_MAX: u64 = 4;
/// What takes less than this, microseconds, shows when the machine's scheduler came to it, and not what it waited for.
const NOISE_US: u64 = 20_000;

/// What a load came to.
#[derive(Debug, Default)]
struct Measured {
    /// Of those that were answered as they should be, microseconds, ascending.
    latencies_us: Vec<u64>,
    /// All others, and the first of them.
    refused: usize,
    first_refused: String,
}

impl Measured {
    fn add(&mut self, took: Duration, refused: Option<String>) {
        match refused {
            None => self.latencies_us.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            Some(what) => {
                self.refused += 1;
                self.first_refused = what;
            }
        }
    }

    fn join(&mut self, other: Self) {
        self.latencies_us.extend(other.latencies_us);
        self.refused += other.refused;
        if !other.first_refused.is_empty() {
            self.first_refused = other.first_refused;
        }
        self.latencies_us.sort_unstable();
    }

    fn at(&self, tenths: usize) -> u64 {
        self.latencies_us.get(self.latencies_us.len() * tenths / 10).copied().unwrap_or_default()
    }
}

/// Commands, queries, queries that wait for what was just done, and looks at health: of each as many as are answered one
/// behind the other.
#[derive(Debug, Default)]
struct Load {
    commands: Measured,
    queries: Measured,
    waits: Measured,
    health: Measured,
}

/// What a load is about.
#[derive(Clone, Copy, Debug, Default)]
struct Of<'a> {
    commanded: &'a [Place],
    asked: &'a [Place],
    /// Commanded as well: each wait is for a command of its own.
    waited: &'a [Place],
}

/// Fails unless `during` went on as `before` did.
fn goes_on(what: &str, before: &Measured, during: &Measured) -> anyhow::Result<()> {
    let medians = (before.at(5), during.at(5));
    let tails = (before.at(9), during.at(9));
    let count = during.latencies_us.len();
    println!(
        "{what}: median {medians:?} µs, nine of ten within {tails:?} µs, {count} answered, {} not",
        during.refused
    );
    ensure!(count > 0 && during.refused == 0, "{what}: {} were not answered: {}", during.refused, during.first_refused);
    ensure!(
        medians.1 <= (medians.0 * MEDIAN_TIMES_MAX).max(NOISE_US),
        "{what}: the median went from {} to {} µs",
        medians.0,
        medians.1
    );
    let tail_us_max = (tails.0 * P90_TIMES_MAX).max(NOISE_US);
    ensure!(tails.1 <= tail_us_max, "{what}: nine of ten went from {} to {} µs", tails.0, tails.1);
    Ok(())
}

/// A cluster whose parts fall out one after the other.
#[derive(Debug)]
pub struct Isolation<'a> {
    world: &'a mut World,
    bed: Bed,
}

impl<'a> Isolation<'a> {
    /// On a log that holds nothing yet.
    pub async fn begin(world: &'a mut World) -> anyhow::Result<Self> {
        tokio::task::block_in_place(|| world.begin_anew(None))?;
        let bed = Bed::new(world).await?;
        shared_out(&bed, world).await?;
        Ok(Self { world, bed })
    }

    /// With a database that stands still and more questions waiting for it than a node serves, commands go on.
    pub async fn the_database_stands_still(&mut self) -> anyhow::Result<()> {
        let (node, places) = (self.url(0)?, self.bed.places().to_vec());
        let of = Of { commanded: &places, ..Of::default() };
        let before = self.load(&node, of).await?;
        let fault = fault(Part::Postgres, Kind::LongPause);
        tokio::task::block_in_place(|| self.world.strike(&fault))?;
        let waiting = self.questions(&node, &places[0]);
        let during = self.load(&node, of).await;
        tokio::task::block_in_place(|| self.world.pass(&fault))?;
        self.bring_home(waiting).await?;
        let during = during?;
        goes_on("commands, the database stands still", &before.commands, &during.commands)?;
        goes_on("health, the database stands still", &before.health, &during.health)
    }

    /// With an owner dead and more commands waiting for its partition than a node serves, all others go on.
    pub async fn an_owner_is_dead(&mut self) -> anyhow::Result<()> {
        let (victim, node, lost, kept) = self.a_victim().await?;
        let of = Of { commanded: &kept, asked: &kept, waited: &kept };
        let before = self.load(&node, of).await?;
        tokio::task::block_in_place(|| self.world.node(victim).kill())?;
        self.world.look();
        let waiting = self.commands_to(&node, &lost);
        let during = self.load(&node, of).await?;
        let owned = owners(&self.bed, self.world).await?;
        ensure!(!owned.contains_key(&Bed::partition(&lost)), "its partition was not without an owner for long enough");
        tokio::task::block_in_place(|| self.world.start_killed().and_then(|()| self.world.wait_until_ready()))?;
        self.bring_home(waiting).await?;
        goes_on("commands to other partitions, an owner is dead", &before.commands, &during.commands)?;
        goes_on("queries, an owner is dead", &before.queries, &during.queries)?;
        goes_on("waits, an owner is dead", &before.waits, &during.waits)?;
        goes_on("health, an owner is dead", &before.health, &during.health)
    }

    /// With one of three brokers dead, queries and health go on at once, commands and waits for them as soon as the brokers
    /// have noticed.
    pub async fn a_broker_is_dead(&mut self) -> anyhow::Result<()> {
        shared_out(&self.bed, self.world).await?;
        let (node, places) = (self.url(0)?, self.bed.places().to_vec());
        let of = Of { commanded: &places, asked: &places, waited: &places };
        let before = self.load(&node, of).await?;
        let fault = fault(Part::Broker(self.world.shape().brokers - 1), Kind::Kill);
        tokio::task::block_in_place(|| self.world.strike(&fault))?;
        let at_once = self.load(&node, Of { asked: &places, ..Of::default() }).await?;
        for (number, place) in places.iter().enumerate() {
            let mut client = self.bed.client(number as u64).trying_for(limits::DRILL_ANSWER_MS_MAX);
            let outcome = client.send(registration(place, &format!("noticed-{number}")), None).await;
            self.bed.take(client.into_seen());
            ensure!(matches!(outcome, Some(Outcome::Acknowledged(_))), "with a broker dead: {outcome:?}");
        }
        let noticed = self.load(&node, of).await?;
        tokio::task::block_in_place(|| self.world.pass(&fault))?;
        goes_on("queries, a broker is dead", &before.queries, &at_once.queries)?;
        goes_on("commands, the brokers have noticed", &before.commands, &noticed.commands)?;
        goes_on("queries, the brokers have noticed", &before.queries, &noticed.queries)?;
        goes_on("waits, the brokers have noticed", &before.waits, &noticed.waits)?;
        goes_on("health, a broker is dead", &before.health, &at_once.health)?;
        goes_on("health, the brokers have noticed", &before.health, &noticed.health)
    }

    /// Nothing of it was lost or doubled.
    pub async fn end(self) -> anyhow::Result<()> {
        let (violations, _) = self.bed.judge().await?;
        super::drills::require_none(&violations)
    }

    /// An owner, another node, a place of a partition that the first owns, and all places of partitions that it does not.
    async fn a_victim(&self) -> anyhow::Result<(usize, String, Place, Vec<Place>)> {
        shared_out(&self.bed, self.world).await?;
        let owned = owners(&self.bed, self.world).await?;
        ensure!(owned.len() == usize::from(PARTITIONS), "partitions without an owner: {owned:?}");
        let of = |place: &Place| owned.get(&Bed::partition(place)).copied();
        let lost = self.bed.places()[0].clone();
        let victim = of(&lost).context("it has an owner")?;
        let kept: Vec<Place> = self.bed.places().iter().filter(|place| of(place) != Some(victim)).cloned().collect();
        let node = of(kept.first().context("one node owns everything")?).context("it has an owner")?;
        Ok((victim, self.url(node)?, lost, kept))
    }

    fn url(&self, node: usize) -> anyhow::Result<String> {
        self.world.addresses().borrow()[node].clone().context("the node is ready")
    }

    /// Through one node, for a while.
    async fn load(&mut self, node: &str, Of { commanded, asked, waited }: Of<'_>) -> anyhow::Result<Load> {
        let until = Instant::now() + Duration::from_millis(limits::ISOLATION_LOAD_MS);
        let (mut commands, mut queries, mut waits) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        let node: Arc<str> = node.into();
        let tenant = self.bed.places()[0].tenant;
        let health = tokio::spawn(ask_until(self.bed.client(0), node.clone(), tenant, "/livez".to_owned(), until));
        for number in 0..limits::ISOLATION_CLIENTS {
            if let Some(place) = commanded.get(number % commanded.len().max(1)) {
                commands.spawn(command_until(self.bed.client(number as u64), node.clone(), place.clone(), until));
            }
            if let Some(place) = asked.get(number % asked.len().max(1)) {
                let client = self.bed.client(number as u64);
                queries.spawn(ask_until(client, node.clone(), place.tenant, question(place), until));
            }
            if let Some(place) = waited.get(number % waited.len().max(1)) {
                waits.spawn(wait_until(self.bed.client(number as u64), node.clone(), place.clone(), until));
            }
        }
        let mut load = Load::default();
        for (measured, seen) in commands.join_all().await {
            load.commands.join(measured);
            self.bed.take(seen);
        }
        for measured in queries.join_all().await {
            load.queries.join(measured);
        }
        for (measured, seen) in waits.join_all().await {
            load.waits.join(measured);
            self.bed.take(seen);
        }
        load.health.join(health.await?);
        Ok(load)
    }

    /// More questions than a node serves at the same time.
    fn questions(&self, node: &str, place: &Place) -> Vec<JoinHandle<Seen>> {
        let client = self.bed.patient_client(0);
        let ask = |_| {
            let (client, node, place) = (client.clone(), node.to_owned(), place.clone());
            tokio::spawn(async move {
                // Whatever comes of it.
                let _ = client.ask_once(&node, place.tenant, &question(&place)).await;
                Seen::default()
            })
        };
        (0..limits::ISOLATION_WAITING).map(ask).collect()
    }

    /// More commands than a node serves at the same time.
    fn commands_to(&self, node: &str, place: &Place) -> Vec<JoinHandle<Seen>> {
        let client = self.bed.patient_client(0);
        let send = |number| {
            let (mut client, node, place) = (client.clone(), node.to_owned(), place.clone());
            tokio::spawn(async move {
                client.send_once_to(&node, &registration(&place, &format!("waits-{number}"))).await;
                client.into_seen()
            })
        };
        (0..limits::ISOLATION_WAITING).map(send).collect()
    }

    async fn bring_home(&mut self, sent: Vec<JoinHandle<Seen>>) -> anyhow::Result<()> {
        for sent in sent {
            self.bed.take(sent.await?);
        }
        Ok(())
    }
}

fn fault(part: Part, kind: Kind) -> Fault {
    Fault { part, kind, from_ms: 0, until_ms: 0 }
}

fn question(place: &Place) -> String {
    format!("/v1/queries/portfolio.applications?workspace_id={}&limit=1", place.workspace)
}

async fn command_until(mut client: Client, node: Arc<str>, place: Place, until: Instant) -> (Measured, Seen) {
    let mut measured = Measured::default();
    while Instant::now() < until {
        let command = registration(&place, &Uuid::new_v4().to_string());
        let began = Instant::now();
        let outcome = client.send_once_to(&node, &command).await;
        let accepted = matches!(outcome, Some(Outcome::Acknowledged(_)));
        measured.add(began.elapsed(), (!accepted).then(|| format!("{outcome:?}")));
    }
    (measured, client.into_seen())
}

async fn ask_until(client: Client, node: Arc<str>, tenant: TenantId, path: String, until: Instant) -> Measured {
    let mut measured = Measured::default();
    while Instant::now() < until {
        let began = Instant::now();
        let answered = client.ask_once(&node, tenant, &path).await;
        measured.add(began.elapsed(), answered.err());
    }
    measured
}

/// Of each command and the query under its token, how long the query takes.
async fn wait_until(mut client: Client, node: Arc<str>, place: Place, until: Instant) -> (Measured, Seen) {
    let mut measured = Measured::default();
    while Instant::now() < until {
        let command = registration(&place, &Uuid::new_v4().to_string());
        let Some(Outcome::Acknowledged(done)) = client.send_once_to(&node, &command).await else {
            measured.add(Duration::ZERO, Some("the command before it was not acknowledged".to_owned()));
            continue;
        };
        let began = Instant::now();
        let answered = client.ask_once_at(&node, place.tenant, &question(&place), &done.position).await;
        measured.add(began.elapsed(), answered.err());
    }
    (measured, client.into_seen())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(latencies_us: &[u64], refused: usize) -> Measured {
        Measured { latencies_us: latencies_us.to_vec(), refused, first_refused: String::new() }
    }

    #[test]
    fn a_load_goes_on_only_if_it_is_neither_slower_nor_refused() {
        let before = measured(&[NOISE_US; 20], 0);
        assert!(goes_on("the same", &before, &measured(&[2 * NOISE_US; 5], 0)).is_ok());
        assert!(goes_on("slower", &before, &measured(&[2 * NOISE_US + 1; 20], 0)).is_err());
        assert!(goes_on("refused", &before, &measured(&[NOISE_US; 20], 1)).is_err());
        assert!(goes_on("nothing at all", &before, &measured(&[], 0)).is_err());
        let mut tail = [NOISE_US; 20];
        tail[17..].fill(4 * NOISE_US + 1);
        assert!(goes_on("with a tail", &before, &measured(&tail, 0)).is_err());
        let at_once = measured(&[1; 20], 0);
        assert!(goes_on("at once still", &at_once, &measured(&[NOISE_US; 20], 0)).is_ok());
        assert!(goes_on("at once no more", &at_once, &measured(&[NOISE_US + 1; 20], 0)).is_err());
    }
}
