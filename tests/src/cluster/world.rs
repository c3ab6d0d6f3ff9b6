//! A whole cluster on this machine: brokers, a database, nodes and projectors as processes of their own. All of it ends
//! when it is dropped.

mod points;
mod strikes;

use annals_platform::application;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_dev::kafka::Cluster;
use annals_dev::postgres::{Server, SessionProbe};
use annals_engine::seeded::{BUG_VARIABLE, POINTS_VARIABLE, SeededBug};
use annals_model::read_model::newest;
use annals_projectors::deployment::{Deployment, Place};
use anyhow::{Context as _, ensure};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;
use tokio::sync::watch;

use super::faults::Shape;
use super::process::Process;
use super::programs::{self, Programs};
use crate::limits;

/// Partitions of each context.
pub const PARTITIONS: u16 = 4;
/// The secret of all nodes' cursors and consistency tokens.
pub(super) const CURSOR_SECRET: [u8; 32] = [7; 32];
/// All read models.
pub fn read_models() -> Vec<&'static str> {
    newest(&application().read_models).map(|one| one.model.name()).collect()
}

/// Where nodes listen; nothing for one that is not ready.
pub type Addresses = Arc<[Option<String>]>;

/// The cluster.
#[derive(Debug)]
pub struct World {
    programs: Programs,
    nodes: Vec<Process>,
    projectors: Vec<Process>,
    addresses: watch::Sender<Addresses>,
    kafka: Cluster,
    postgres: Server,
    /// Brokers that were killed.
    brokers_down: Vec<usize>,
    postgres_down: bool,
    /// Holds a table that is locked.
    lock: Option<PgConnection>,
    /// The role of all processes, and their database.
    role: String,
    bug: Option<SeededBug>,
    shape: Shape,
    logs: u32,
    restarts: u32,
    /// Until the world is given up.
    restarts_left: u32,
    // Behind everything that has files in it: deleted when all have ended.
    directory: TempDir,
}

impl World {
    /// Builds the programs, starts brokers and database, and prepares as many nodes and projectors; none is started.
    pub fn start(shape: Shape) -> anyhow::Result<Self> {
        Self::of(programs::built()?, shape)
    }

    /// The same, of programs that were built before.
    pub fn of(programs: Programs, shape: Shape) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("annals-cluster-").tempdir()?;
        let mut cursor_key = fs::File::options();
        let cursor_key = cursor_key.create(true).write(true).truncate(true).mode(0o600);
        cursor_key.open(directory.path().join("cursor.key"))?.write_all(&CURSOR_SECRET)?;
        annals_api::auth::SigningKey::open_or_create(&directory.path().join("signing.key"))?;
        let (kafka, postgres) = std::thread::scope(|scope| {
            let postgres = scope.spawn(Server::start);
            (Cluster::start(shape.brokers), postgres.join())
        });
        let postgres = postgres.map_err(|_| anyhow::anyhow!("starting the database panicked"))??;
        let mut world = Self {
            programs,
            nodes: Vec::new(),
            projectors: Vec::new(),
            addresses: watch::Sender::new(vec![None; shape.nodes].into()),
            kafka: kafka?,
            postgres,
            brokers_down: Vec::new(),
            postgres_down: false,
            lock: None,
            role: String::new(),
            bug: None,
            shape,
            logs: 0,
            restarts: 0,
            restarts_left: 0,
            directory,
        };
        world.prepare(shape)?;
        Ok(world)
    }

    fn prepare(&mut self, shape: Shape) -> anyhow::Result<()> {
        let config = self.config_path().display().to_string();
        let place = |data: &Path| {
            fs::create_dir_all(data)?;
            anyhow::Ok(vec!["--config".to_owned(), config.clone(), "--data".to_owned(), data.display().to_string()])
        };
        for number in 0..shape.nodes {
            let (name, data) = (format!("node {number}"), self.directory.path().join(format!("node-{number}")));
            self.nodes.push(Process::new(&name, &self.programs.node, place(&data)?, &data, "endpoint.json"));
        }
        for number in 0..shape.projectors {
            let (name, data) =
                (format!("projector {number}"), self.directory.path().join(format!("projector-{number}")));
            let mut arguments = place(&data)?;
            arguments.extend(read_models().into_iter().flat_map(|name| ["--read-model".to_owned(), name.to_owned()]));
            self.projectors.push(Process::new(&name, &self.programs.projector, arguments, &data, "ready.json"));
        }
        Ok(())
    }

    /// Stops whatever runs, and starts all nodes and projectors on a log and a database that hold nothing.
    pub fn begin_anew(&mut self, bug: Option<SeededBug>) -> anyhow::Result<()> {
        self.renew(bug)?;
        self.start_all()
    }

    /// Stops whatever runs, and prepares a log and a database that hold nothing.
    pub fn renew(&mut self, bug: Option<SeededBug>) -> anyhow::Result<()> {
        for process in self.nodes.iter_mut().chain(&mut self.projectors).filter(|process| process.is_started()) {
            process.kill()?;
        }
        self.lock = None;
        self.logs += 1;
        // Nothing is wrong with the world: none may end by itself.
        self.restarts_left = 0;
        self.bug = bug;
        self.open_points()?;
        let database = self.postgres.fresh_database()?;
        let config = format!(
            "[log]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\nprefix = \"{prefix}\"\npartitions = {PARTITIONS}\n\n\
             [read_models]\nurl = \"{url}\"\n\n\
             [api]\nlisten = \"127.0.0.1:0\"\nsigning_key = \"{keys}/signing.key\"\ncursor_key = \"{keys}/cursor.key\"\n",
            brokers = self.kafka.addresses(),
            prefix = self.prefix(),
            url = database.url,
            keys = self.directory.path().display(),
        );
        self.role = database.name;
        fs::write(self.config_path(), config)?;
        Ok(())
    }

    /// Starts all nodes and projectors behind [`Self::renew`].
    pub fn start_all(&mut self) -> anyhow::Result<()> {
        let environment = self.environment();
        for process in self.nodes.iter_mut().chain(&mut self.projectors) {
            process.set_environment(environment.clone());
            process.start()?;
        }
        self.wait_until_ready()
    }

    fn environment(&self) -> Vec<(String, String)> {
        let points = self.points().display().to_string();
        let mut environment = vec![(POINTS_VARIABLE.to_owned(), points)];
        environment.extend(self.bug.map(|bug| (BUG_VARIABLE.to_owned(), bug.name().to_owned())));
        environment
    }

    fn open_points(&self) -> anyhow::Result<()> {
        let points = self.points();
        if points.exists() {
            fs::remove_dir_all(&points)?;
        }
        Ok(fs::create_dir(points)?)
    }

    /// Where processes look whether they are to be held.
    pub fn points(&self) -> PathBuf {
        self.directory.path().join("points")
    }

    /// The configuration of all processes.
    pub fn config_path(&self) -> PathBuf {
        self.directory.path().join("annals.toml")
    }

    /// The deployment, as somebody sees it who is none of its processes.
    pub fn deployment(&self) -> anyhow::Result<Deployment> {
        let place = Place { data: self.directory.path().join("observer"), config: Some(self.config_path()) };
        Ok(Deployment::resolve(&place, std::iter::empty(), Vec::new())?)
    }

    /// Looks at the sessions of all processes in the database.
    pub fn session_probe(&self) -> SessionProbe {
        self.postgres.session_probe(&self.role)
    }

    /// Ends every session of the processes, as an administrator does.
    pub fn end_sessions(&self) -> anyhow::Result<()> {
        let role = &self.role;
        let end = format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{role}'");
        self.postgres.sql(role, &end).map(drop)
    }

    /// Keeps everybody from a table of every generation that has it, as an administrator at work does.
    pub async fn lock_table(&mut self, table: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.postgres.url(&self.role, "postgres")).await?;
        let of = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE tablename = $1";
        let tables: Vec<String> = sqlx::query_scalar(of).bind(table).fetch_all(&mut connection).await?;
        ensure!(!tables.is_empty(), "there is no table {table}");
        let lock = format!("BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables.join(", "));
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut connection).await?;
        self.lock = Some(connection);
        Ok(())
    }

    /// Lets everybody in again.
    pub fn unlock_table(&mut self) {
        // Its transaction ends with its connection.
        self.lock = None;
    }

    /// The key of all nodes' tokens.
    pub fn signing_key(&self) -> anyhow::Result<annals_api::auth::SigningKey> {
        Ok(annals_api::auth::SigningKey::open_or_create(&self.directory.path().join("signing.key"))?)
    }

    /// First part of the topics' names.
    pub fn prefix(&self) -> String {
        format!("log{}", self.logs)
    }

    /// How many of what there is.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Where the brokers are reached.
    pub fn brokers(&self) -> String {
        self.kafka.addresses()
    }

    /// Starts what was killed.
    pub fn start_killed(&mut self) -> anyhow::Result<()> {
        let all = self.nodes.iter_mut().chain(&mut self.projectors);
        all.filter(|process| !process.is_started()).try_for_each(Process::start)
    }

    /// Where nodes listen, as it changes.
    pub fn addresses(&self) -> watch::Receiver<Addresses> {
        self.addresses.subscribe()
    }

    /// Processes that were started again after they had ended by themselves.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// A node.
    pub fn node(&mut self, number: usize) -> &mut Process {
        &mut self.nodes[number]
    }

    /// A projector.
    pub fn projector(&mut self, number: usize) -> &mut Process {
        &mut self.projectors[number]
    }

    /// Waits until all nodes and projectors are ready, and tells clients where.
    pub fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_millis(limits::READY_MS_MAX);
        loop {
            self.restart_ended()?;
            self.look();
            let unready: Vec<_> = self.all().filter(|process| process.look().is_none()).map(Process::name).collect();
            if unready.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not ready in time: {unready:?}\n{}", self.last_lines());
            std::thread::sleep(Duration::from_millis(limits::POLL_MS));
        }
    }

    fn all(&self) -> impl Iterator<Item = &Process> {
        self.nodes.iter().chain(&self.projectors)
    }

    /// Tells clients where nodes listen now.
    pub fn look(&self) {
        let url = |node: &Process| node.look()?["url"].as_str().map(str::to_owned);
        let now: Addresses = self.nodes.iter().map(url).collect();
        self.addresses.send_if_modified(|known| {
            let changed = **known != *now;
            *known = now;
            changed
        });
    }

    /// Tells clients that a node is not to be asked, until the next [`Self::look`].
    pub fn hide(&self, node: usize) {
        self.addresses.send_modify(|known| {
            let without = known.iter().enumerate().map(|(number, url)| url.clone().filter(|_| number != node));
            *known = without.collect();
        });
    }

    /// The end of what every process wrote to its standard error.
    pub fn last_lines(&self) -> String {
        self.all().map(Process::last_lines).collect()
    }

    /// Lines by which processes asked for a person.
    pub fn errors(&self) -> Vec<String> {
        self.all().flat_map(Process::errors).collect()
    }

    /// Keeps the directory with everything that the processes wrote, for a person to look at.
    pub fn keep(&mut self) -> anyhow::Result<PathBuf> {
        self.directory.disable_cleanup(true);
        fs::canonicalize(self.directory.path()).context("the directory is gone")
    }
}
