//! The engine's own server with everything that it has, in this process, on a runtime of its own.

use annals_platform::application;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use annals_api::auth::SigningKey;
use annals_api::{Api, ApiOptions};
use annals_engine::log::kafka::{KafkaLog, KafkaOptions};
use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_engine::log::{EventLog, Owner};
use annals_engine::owners::{Engine, EngineOptions};
use annals_engine::runner::ReadModels;
use annals_engine::sink::Checkpoints;
use annals_model::ids::{Actor, UserId, WorkspaceId};
use annals_model::query::CursorKey;
use annals_stores::queries::Queries;
use annals_stores::sinks::{PostgresStore, SqliteStore, Store};
use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Connection;
use crate::commands::{self, post, tenant, workspaces};
use crate::limits;

/// Which log it has.
#[derive(Clone, Debug)]
pub(crate) enum Log {
    /// A file in the node's directory.
    Sqlite,
    /// On these brokers, under this prefix.
    Kafka { brokers: String, prefix: String },
}

/// Whether it projects as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Projections {
    /// In this process, as `annals up` does.
    Here,
    /// Nowhere: as `annals-api`, which leaves them to other processes.
    Elsewhere,
}

/// What a node is made of.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) log: Log,
    pub(crate) projections: Projections,
    /// The database of its read models; nothing for files in its directory.
    pub(crate) postgres: Option<String>,
}

impl Shape {
    /// With read models in SQLite.
    pub(crate) fn new(log: Log, projections: Projections) -> Self {
        Self { log, projections, postgres: None }
    }
}

/// A server at work.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) log: Arc<dyn EventLog>,
    /// One per partition, made already.
    pub(crate) workspaces: Vec<WorkspaceId>,
    running: Running,
    runtime: Runtime,
}

/// What is stopped in the end.
struct Running {
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), annals_api::ServeError>>,
    engine: Engine,
    read_models: Arc<ReadModels>,
    closing: Option<Arc<SqliteLog>>,
}

impl Node {
    /// Starts it on an empty directory, and makes the workspaces.
    pub(crate) fn start(shape: &Shape, directory: &Path, seed: u64) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("node").enable_all().build()?;
        let started = runtime.block_on(start(shape.clone(), directory.to_owned(), seed))?;
        let Started { address, token, log, running } = started;
        let workspaces = workspaces(seed, limits::PARTITIONS);
        let node = Self { address, token, log, workspaces, running, runtime };
        node.make_workspaces(&node.workspaces)?;
        Ok(node)
    }

    /// Makes workspaces that are not there yet; one that is stays as it is.
    pub(crate) fn make_workspaces(&self, workspaces: &[WorkspaceId]) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.address)?;
        for workspace in workspaces {
            let body = json!({
                "client_request_id": format!("workspace-{workspace}"),
                "aggregate_id": workspace,
                "payload": { "name": format!("Workspace {workspace}"), "slug": format!("w-{workspace}") },
            });
            let mut request = Vec::new();
            post("/v1/commands/access.workspace.create", &self.token, body.to_string().as_bytes(), &mut request);
            let answer = connection.ask(&request)?;
            ensure!((200..300).contains(&answer.status), "{}", answer.body);
        }
        Ok(())
    }

    /// How far the live generation of a read model has come, if it is kept current here.
    pub(crate) fn checkpoints(&self, read_model: &str) -> Option<Checkpoints> {
        let live = self.running.read_models.live(read_model)?;
        let checkpoints = live.progress.borrow().checkpoints.clone();
        Some(checkpoints)
    }

    /// Where something runs that needs the node's runtime.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Stops as a process does.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        let Self { running, runtime, .. } = self;
        let Running { stop, served, engine, read_models, closing } = running;
        runtime.block_on(async {
            // The server ended by itself, maybe; then its error says why.
            let _ = stop.send(());
            served.await??;
            engine.shutdown().await;
            if let Some(read_models) = Arc::into_inner(read_models) {
                read_models.stop().await;
            }
            if let Some(log) = closing {
                log.close().await;
            }
            Ok(())
        })
    }
}

/// What runs already.
struct Started {
    address: SocketAddr,
    token: String,
    log: Arc<dyn EventLog>,
    running: Running,
}

async fn start(shape: Shape, directory: PathBuf, seed: u64) -> anyhow::Result<Started> {
    let application = application();
    let contexts = application.context_ids();
    let (log, closing): (Arc<dyn EventLog>, _) = match shape.log {
        Log::Sqlite => {
            let options = SqliteOptions { partitions: Some(limits::PARTITIONS), ..SqliteOptions::default() };
            let log = SqliteLog::open(&directory.join("log.db"), &contexts, options).await?;
            (Arc::clone(&log) as _, Some(log))
        }
        Log::Kafka { brokers, prefix } => {
            let options = KafkaOptions { prefix, partitions: Some(limits::PARTITIONS), ..KafkaOptions::new(brokers) };
            (KafkaLog::connect(options, &contexts).await?, None)
        }
    };
    let owner = Owner { id: "bench".into(), address: String::new() };
    let options = EngineOptions::new(owner);
    let engine = Engine::start(Arc::clone(&log), &application, &options).await?;
    engine.handle().settled().await;
    let definitions = application.read_models;
    let store: Store = match &shape.postgres {
        None => SqliteStore::open(&directory, definitions.clone(), log.id()).await?.into(),
        Some(url) => PostgresStore::open(url, definitions.clone(), log.id()).await?.into(),
    };
    let read_models = match shape.projections {
        Projections::Here => ReadModels::start(Arc::clone(&log), store.handle()).await?,
        Projections::Elsewhere => ReadModels::observe(Arc::clone(&log), store.handle()).await?,
    };
    let read_models = Arc::new(read_models);
    let key = SigningKey::open_or_create(&directory.join("signing.key"))?;
    let actor = Actor::User(UserId(commands::id(seed, u64::MAX / 2)));
    let token = key.mint(tenant(seed), &actor, &[], Duration::from_secs(3_600)).context("a token")?;
    let queries = Queries::new(definitions, CursorKey::new([7; 32]));
    let options = ApiOptions {
        engine: engine.handle(),
        key,
        queries,
        store,
        read_models: Arc::clone(&read_models),
        trusted_network: false,
    };
    let api = Api::new(options);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, asked) = oneshot::channel::<()>();
    let served = tokio::spawn(annals_api::serve(listener, api, async {
        // Whoever forgets to ask, asks as well.
        let _ = asked.await;
    }));
    Ok(Started { address, token, log, running: Running { stop, served, engine, read_models, closing } })
}
