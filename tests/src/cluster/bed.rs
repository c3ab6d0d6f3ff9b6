//! One log of a world, the clients that work on it, and the judgement over both.

mod judge;

use annals_platform::application;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use annals_api::consistency::ConsistencyTokens;
use annals_dev::postgres::SessionProbe;
use annals_engine::log::{EventLog, Owner};
use annals_engine::seeded::SeededBug;
use annals_model::ids::{Actor, AggregateId, Partition, Scope, TenantId, WorkspaceId};
use annals_model::position::ContextPartition;
use annals_model::query::CursorKey;
use annals_projectors::deployment::Access;
use annals_schemas::contexts::PORTFOLIO;
use annals_stores::sinks::Store;
use anyhow::ensure;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::check::{Rule, Violation};
use super::clients::{Client, Phase, Seen, Surroundings};
use super::faults::{Schedule, Shape};
use super::history::{History, Outcome};
use super::made::{self, Made};
use super::sessions::{Count, sessions_max};
use super::workload::{Command, Place, Workload};
use super::world::{CURSOR_SECRET, PARTITIONS, World};
use crate::limits;

const TENANTS: u128 = 2;
const WORKSPACES: u16 = 6;
/// How long the clients' tokens live.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3_600);

/// A log that is empty at first, and everything that was ever told about it.
#[derive(Debug)]
pub struct Bed {
    log: Arc<dyn EventLog>,
    store: Store,
    places: Arc<[Place]>,
    around: Surroundings,
    phase: watch::Sender<Phase>,
    history: History,
    runs: u64,
    brokers: String,
    prefix: String,
    /// What was there before.
    made: Made,
    sessions: SessionProbe,
    shape: Shape,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Commands acknowledged in it, repetitions included.
    pub acknowledged: u64,
    /// Promises broken.
    pub violations: Vec<Violation>,
    /// How long each answered command took, microseconds, retries included.
    pub latencies_us: Vec<u64>,
    /// How often a partition changed hands on this log so far.
    pub claims: u64,
    /// Time to make everything well again, and to judge, milliseconds.
    pub healing_ms: u64,
    /// See above.
    pub judging_ms: u64,
    /// From the last fault until every read model was current and no session was left behind, milliseconds.
    pub current_ms: u64,
    /// Most sessions of the database at once.
    pub sessions: usize,
}

impl Bed {
    /// Begins a log and a database in which so many rows are there before anybody works, and starts all processes.
    pub async fn begin_with(world: &mut World, bug: Option<SeededBug>, rows: u64) -> anyhow::Result<Self> {
        tokio::task::block_in_place(|| world.renew(bug))?;
        let made = match rows {
            0 => Made::default(),
            rows => made::make(world, TenantId(Uuid::from_u128(1)), rows).await?,
        };
        tokio::task::block_in_place(|| world.start_all())?;
        let mut bed = Self::new(world).await?;
        bed.made = made;
        Ok(bed)
    }

    /// Everything on the world's newest log: call it behind [`World::begin_anew`].
    pub async fn new(world: &World) -> anyhow::Result<Self> {
        let deployment = world.deployment()?;
        let log = deployment.open_log(&application(), Access::Read).await?.shared();
        let store = deployment.open_store(&application(), log.id()).await?;
        let key = world.signing_key()?;
        let tenants: Vec<_> = (1..=TENANTS).map(|number| TenantId(Uuid::from_u128(number))).collect();
        let actor = Actor::Service("cluster-client".into());
        let mut tokens = HashMap::new();
        for tenant in &tenants {
            tokens.insert(*tenant, key.mint(*tenant, &actor, &[], TOKEN_LIFE)?);
        }
        let (phase, phases) = watch::channel(Phase::Work);
        let around = Surroundings {
            nodes: world.addresses(),
            tokens: Arc::new(tokens),
            consistency: ConsistencyTokens::new(&CursorKey::new(CURSOR_SECRET), log.id()),
            origin: Instant::now(),
            phase: phases,
            acknowledged: Arc::default(),
        };
        let places = places(&tenants);
        let mut bed = Self {
            log,
            store,
            places,
            around,
            phase,
            history: History::default(),
            runs: 0,
            brokers: world.brokers(),
            prefix: world.prefix(),
            made: Made::default(),
            sessions: world.session_probe(),
            shape: world.shape(),
        };
        bed.open_workspaces().await?;
        Ok(bed)
    }

    async fn open_workspaces(&mut self) -> anyhow::Result<()> {
        let mut client = Client::new(0, self.around.clone());
        for (number, place) in self.places.iter().enumerate() {
            let create = self.command("access.workspace.create", place, AggregateId(place.workspace.0), number);
            let payload = json!({ "name": format!("Workspace {number}"), "slug": format!("w{number}") });
            let answered = client.send(Command { workspace: None, payload, ..create }, None).await;
            ensure!(matches!(answered, Some(Outcome::Acknowledged(_))), "workspace {number}: {answered:?}");
        }
        self.take(client.into_seen());
        Ok(())
    }

    /// A command of nobody's workload.
    pub fn command(&self, name: &'static str, place: &Place, aggregate: AggregateId, number: usize) -> Command {
        Command {
            request: format!("{name}-{number}").into(),
            name,
            tenant: place.tenant,
            workspace: Some(place.workspace),
            aggregate,
            expects_last_seen: false,
            payload: json!({}),
        }
    }

    /// Where clients work.
    pub fn places(&self) -> &Arc<[Place]> {
        &self.places
    }

    /// The log.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    /// Addresses of the brokers that have the log.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// First part of its topics' names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Claims the partition of a place, as an heir would, and does nothing with it.
    pub async fn claim(&self, place: &Place) -> anyhow::Result<()> {
        self.log.claim(Self::at(place), Owner { id: "drill".into(), address: String::new() }).await?;
        Ok(())
    }

    /// Where a place's applications lie.
    pub fn at(place: &Place) -> ContextPartition {
        ContextPartition { context: PORTFOLIO, partition: Partition(Self::partition(place)) }
    }

    /// A client that waits for one answer as long as any server works on it.
    pub fn patient_client(&self, seed: u64) -> Client {
        Client::with_patience(seed, self.around.clone(), limits::PATIENT_ATTEMPT_MS)
    }

    /// A client of its own, whose history is handed to [`Self::take`].
    pub fn client(&self, seed: u64) -> Client {
        Client::new(seed, self.around.clone())
    }

    /// Adds what a client was told.
    pub fn take(&mut self, seen: Seen) -> Vec<u64> {
        self.history.extend(seen.history);
        seen.latencies_us
    }

    /// Lets clients work while a schedule happens to the world, then waits until all is well and judges.
    pub async fn run(
        &mut self,
        world: &mut World,
        seed: u64,
        schedule: &Schedule,
        clients: u64,
    ) -> anyhow::Result<Report> {
        // What they write is the backlog behind an outage; without one it would only make the history long.
        let writers = if schedule.has_outage() { limits::WRITERS } else { 0 };
        self.during_with(seed, clients, writers, || world_suffers(world, schedule)).await
    }

    /// Sessions of the database that go on for clients that have gone.
    pub fn sessions_left_behind(&self) -> usize {
        tokio::task::block_in_place(|| self.sessions.look()).left_behind
    }

    /// Rows of the live read model that were there before anybody worked.
    pub fn rows_before(&self) -> u64 {
        self.made.rows
    }

    /// Lets clients work while `happens` happens; it returns when everything is up again, and when the last fault passed.
    pub async fn during(
        &mut self,
        seed: u64,
        clients: u64,
        happens: impl FnOnce() -> anyhow::Result<Instant>,
    ) -> anyhow::Result<Report> {
        self.during_with(seed, clients, 0, happens).await
    }

    /// The same with clients beside the others that send commands in bulk, and ask no read model.
    async fn during_with(
        &mut self,
        seed: u64,
        clients: u64,
        writers: u64,
        happens: impl FnOnce() -> anyhow::Result<Instant>,
    ) -> anyhow::Result<Report> {
        self.runs += 1;
        let sessions = Count::start(self.sessions.clone());
        self.phase.send_replace(Phase::Work);
        let before = self.around.acknowledged.load(Ordering::Relaxed);
        let mut working = JoinSet::new();
        for number in 0..clients {
            let label = format!("r{}", self.runs);
            let workload = Workload::new(seed, number, &label, Arc::clone(&self.places));
            working.spawn(self.client(seed ^ number).work(workload));
        }
        for number in clients..clients + writers {
            // A request is of one tenant.
            let tenant = self.places[number as usize % self.places.len()].tenant;
            let places = self.places.iter().filter(|place| place.tenant == tenant).cloned().collect();
            let workload = Workload::registering(seed, number, &format!("r{}", self.runs), places);
            working.spawn(self.client(seed ^ number).work_in_bulk(workload));
        }
        // The faults have this thread; the clients have the others.
        let happened = tokio::task::block_in_place(happens);
        let began = Instant::now();
        self.phase.send_replace(Phase::Settle { since: began });
        let by = happened.as_ref().map_or(began, |passed| *passed) + Duration::from_millis(limits::CATCH_UP_MS_MAX);
        // What clients finish meanwhile comes on top: read models are to reach what was there when the faults were over.
        let (seen, late) = tokio::join!(working.join_all(), self.late_at(by));
        let mut report = Report::default();
        for seen in seen {
            report.latencies_us.extend(self.take(seen));
        }
        let passed = happened?;
        report.acknowledged = self.around.acknowledged.load(Ordering::Relaxed) - before;
        report.healing_ms = millis(began);
        let (current_at, late) = late?;
        report.current_ms = u64::try_from((current_at - passed).as_millis()).unwrap_or(u64::MAX);
        let began = Instant::now();
        // Who is late already is not waited for once more.
        let catch_up_ms = if late.is_empty() { limits::CATCH_UP_MS_MAX } else { 0 };
        (report.violations, report.claims) = self.judge_within(catch_up_ms).await?;
        report.violations.extend(late);
        report.judging_ms = millis(began);
        report.sessions = sessions.most();
        let most = sessions_max(self.shape);
        if report.sessions > most {
            let what = format!("{} sessions at once, the pools allow {most}", report.sessions);
            report.violations.push(Violation { rule: Rule::SessionsAreFew, what });
        }
        Ok(report)
    }

    /// Which partition of `portfolio` a place lies in.
    pub fn partition(place: &Place) -> u16 {
        Scope { tenant: place.tenant, workspace: place.workspace }.slot().partition(PARTITIONS).0
    }

    /// Generations that are live, by read model.
    async fn live(&self) -> anyhow::Result<BTreeMap<&'static str, annals_engine::sink::Generation>> {
        let mut found = BTreeMap::new();
        for name in super::world::read_models() {
            if let Some(live) = self.store.live(name).await? {
                found.insert(name, live);
            }
        }
        Ok(found)
    }
}

fn world_suffers(world: &mut World, schedule: &Schedule) -> anyhow::Result<Instant> {
    let passed = world.suffer(schedule)?;
    world.heal()?;
    Ok(passed)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Workspaces of all tenants in all partitions, the same at every start.
fn places(tenants: &[TenantId]) -> Arc<[Place]> {
    let mut found = Vec::new();
    for (number, candidate) in (1u128..).enumerate() {
        let wanted = found.len() as u16;
        if wanted == WORKSPACES {
            break;
        }
        let tenant = tenants[number % tenants.len()];
        let place = Place { tenant, workspace: WorkspaceId(Uuid::from_u128(candidate << 32 | 0xa)) };
        if Bed::partition(&place) == wanted % PARTITIONS {
            found.push(place);
        }
    }
    found.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn clients_work_in_every_partition_and_for_every_tenant() {
        let tenants: Vec<_> = (1..=TENANTS).map(|number| TenantId(Uuid::from_u128(number))).collect();
        let places = places(&tenants);
        assert_eq!(places.len(), usize::from(WORKSPACES));
        assert_eq!(places.iter().map(Bed::partition).collect::<BTreeSet<_>>().len(), usize::from(PARTITIONS));
        assert_eq!(places.iter().map(|place| place.tenant).collect::<BTreeSet<_>>().len(), tenants.len());
    }
}
