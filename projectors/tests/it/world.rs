//! A log that this program writes, and the projectors that follow it.

use annals_platform::application;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_engine::command::CommandRequest;
use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_engine::log::{EventLog, Owner};
use annals_engine::owners::{Engine, EngineOptions};
use annals_engine::rebuild::control::Control;
use annals_engine::rebuild::fold::FoldOptions;
use annals_engine::runner::ends;
use annals_engine::sink::Generation;
use annals_engine::verify::{VerifyOutcome, verify};
use annals_model::application::Application;
use annals_model::envelope::Fingerprint;
use annals_model::ids::{Actor, ClientRequestId, Scope, TenantId, UserId, WorkspaceId};
use annals_stores::sinks::{SqliteStore, Store};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// Longest wait for anything, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const NAME: &str = "portfolio";

/// A directory with a log, and its owner.
pub(crate) struct World {
    pub(crate) log: Arc<SqliteLog>,
    pub(crate) store: Store,
    engine: Engine,
    sent: u32,
    pub(crate) directory: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap()).await
    }

    pub(crate) async fn on(directory: TempDir) -> Self {
        let path = directory.path().join("log.db");
        let log = SqliteLog::open(&path, &application().context_ids(), SqliteOptions::default()).await.unwrap();
        let options = EngineOptions::new(Owner { id: "a test".into(), address: String::new() });
        // Nobody makes the workspaces that it registers in.
        let anywhere = Application { admission: None, ..application() };
        let engine = Engine::start(log.clone(), &anywhere, &options).await.unwrap();
        let definitions = application().read_models;
        let store = SqliteStore::open(directory.path(), definitions, log.id()).await.unwrap().into();
        Self { log, store, engine, sent: 0, directory }
    }

    /// Registers applications, in several workspaces.
    pub(crate) async fn register(&mut self, applications: u32) {
        let handle = self.engine.handle();
        let context = handle.context(NAME).unwrap();
        let aggregate = context.aggregate("application").unwrap();
        for _ in 0..applications {
            self.sent += 1;
            let workspace = WorkspaceId(Uuid::from_u128(u128::from(self.sent % 7) + 1));
            let command = aggregate.parse("register", json!({"name": format!("app-{}", self.sent)})).unwrap();
            let request = CommandRequest {
                context: context.id(),
                aggregate_type: aggregate.aggregate_type(),
                command,
                scope: Scope { tenant: TenantId(Uuid::from_u128(1)), workspace },
                workspace,
                aggregate_id: None,
                expected_version: None,
                client_request_id: ClientRequestId::new(&format!("r-{}", self.sent)).unwrap(),
                fingerprint: Fingerprint([0; 16]),
                actor: Actor::User(UserId(Uuid::from_u128(2))),
                correlation_id: None,
                causation_id: None,
                reason: None,
                adr_id: None,
                policy_decision: String::new(),
            };
            handle.execute(request, tokio::time::Instant::now() + PATIENCE).await.unwrap();
        }
    }

    pub(crate) async fn live(&self) -> Option<Generation> {
        self.store.live(NAME).await.unwrap()
    }

    /// Waits until the rows stand for all that is in the log; how long it took.
    pub(crate) async fn rows_are_there(&self) -> Duration {
        let started = Instant::now();
        loop {
            if let Some(live) = self.live().await {
                let model = self.store.read_model(NAME, live.version).unwrap();
                let wanted = ends(&*self.log, &model).await.unwrap();
                // A generation that is only just made has no checkpoints yet.
                let stored = self.store.checkpoints(&live).await.map(|stored| stored.positions());
                if stored.is_ok_and(|stored| stored.covers(&wanted, |_| true)) {
                    return started.elapsed();
                }
            }
            assert!(started.elapsed() < PATIENCE, "the rows did not get there");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Every row against an independent fold.
    pub(crate) async fn rows_are_the_fold_of_the_log(&self) {
        let live = self.live().await.unwrap();
        let model = self.store.read_model(NAME, live.version).unwrap();
        let (options, control) = (FoldOptions::default(), Control::default());
        let shared: Arc<dyn EventLog> = self.log.clone();
        let verified = verify(shared, &self.store, model, &live, options, &control).await.unwrap();
        assert!(matches!(verified, VerifyOutcome::Equal { .. }), "{verified:?}");
    }
}

/// A projector process; killed when dropped.
pub(crate) struct Projector {
    child: Child,
}

pub(crate) fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals-projector"));
    command.arg("--data").arg(data).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

impl Projector {
    /// Starts one on a directory, and waits until it is ready.
    pub(crate) fn start(data: &Path) -> Self {
        let mut projector = Self::begin(data, Stdio::null());
        projector.is_ready(data);
        projector
    }

    pub(crate) fn begin(data: &Path, stderr: Stdio) -> Self {
        let arguments = ["--read-model", NAME, "--metrics", "127.0.0.1:0"];
        Self { child: command(data, &arguments).stderr(stderr).spawn().unwrap() }
    }

    /// Waits for its ready.json; what it says.
    pub(crate) fn is_ready(&mut self, data: &Path) -> Value {
        let mut found = Value::Null;
        wait_until("the projector is ready", || {
            if let Some(ended) = self.child.try_wait().unwrap() {
                let mut said = String::new();
                self.child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
                panic!("it ended before it was ready: {ended}: {said}");
            }
            let ready = std::fs::read(data.join("ready.json")).ok();
            found = ready.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
            found["pid"] == self.child.id()
        });
        found
    }

    pub(crate) fn stderr(&mut self) -> std::process::ChildStderr {
        self.child.stderr.take().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// True once it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end; its exit code.
    pub(crate) fn ends(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Projector {
    fn drop(&mut self) {
        // One that has ended already is as good. SIGKILL ends a paused one as well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits for a condition, with a bound.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "after {PATIENCE:?}: not yet: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What is measured at `http://…/metrics`.
pub(crate) fn metrics(url: &str) -> String {
    get(url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics")).unwrap(), "/metrics")
}

/// What is answered there.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The largest value of a metric of the read model.
pub(crate) fn largest(metrics: &str, name: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    let of_model = lines.filter(|line| line.contains(&format!("read_model=\"{NAME}\"")));
    of_model.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).fold(-1.0, f64::max)
}
