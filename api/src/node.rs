//! A node: what it is made of, in the order in which it starts and stops.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use annals_engine::engine::{Assignment, Engine, EngineHandle, EngineOptions};
use annals_engine::log::Owner;
use annals_engine::log::kafka::membership::Membership;
use annals_engine::published::SchemaError;
use annals_engine::runner::ReadModels;
use annals_engine::telemetry::Sampler;
use annals_projectors::deployment::{Access, Deployment, OpenLog};
use annals_projectors::process::exit::{Exit, Failure};
use annals_projectors::process::{metrics, stop};
use annals_projectors::queries::Queries;
use annals_projectors::sinks::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::{ROLE_AUDITOR, ROLE_OPERATOR};
use crate::data_dir::DataDir;
use crate::endpoint::Endpoint;
use crate::{Api, ApiOptions, limits, serve};

/// Serves until SIGINT or SIGTERM. Waits for what is down at the start, and says so.
pub async fn run(deployment: &Deployment) -> Result<(), Failure> {
    let dir = DataDir::create(&deployment.data)?;
    // Held until the process ends.
    let _lock = dir.lock()?;
    // Of a node that is gone: nobody must be sent to it while this one starts.
    remove_endpoint(&dir)?;
    let stop = stop::on_signal(
        "stopping: partitions are handed over, open requests may end; once more to end at once",
        "ended at once; whatever was acknowledged is in the log",
    )
    .map_err(|error| Failure::usage(format!("signals cannot be caught: {error}")))?;
    if let Some(address) = deployment.metrics_listen {
        let bound = metrics::serve(address).map_err(|error| Failure::usage(error.to_string()))?;
        eprintln!("metrics at http://{bound}/metrics");
    }
    tokio::select! {
        // Nothing was begun that would have to be ended.
        () = stop.cancelled() => Ok(()),
        parts = Parts::open(deployment) => parts?.serve(deployment, &dir, stop.clone()).await,
    }
}

/// What a node needs from outside.
struct Parts {
    log: OpenLog,
    store: Store,
    read_models: ReadModels,
}

impl Parts {
    /// Opens everything, however long it takes.
    async fn open(deployment: &Deployment) -> Result<Self, Failure> {
        let log = loop {
            match deployment.open_log(Access::Serve).await {
                Ok(log) => break log,
                Err(error) if error.may_pass() => pause("the log", &error).await,
                Err(error) if error.is_damage() => return Err(Failure::new(Exit::Mismatch, error.to_string())),
                Err(error) => return Err(Failure::usage(error.to_string())),
            }
        };
        let store = loop {
            match deployment.open_store(log.id()).await {
                Ok(store) => break store,
                Err(error) if error.may_pass() => pause("the database of the read models", &error).await,
                Err(error) => return Err(Failure::usage(error.to_string())),
            }
        };
        let read_models = loop {
            match ReadModels::observe(Arc::new(store.clone())).await {
                Ok(read_models) => break read_models,
                Err(error) => pause("the registry of the read models", &error).await,
            }
        };
        Ok(Self { log, store, read_models })
    }

    async fn serve(self, deployment: &Deployment, dir: &DataDir, stop: CancellationToken) -> Result<(), Failure> {
        let Self { log, store, read_models } = self;
        let OpenLog::Kafka(kafka) = &log else {
            return Err(Failure::usage("annals-api is one node of several, which share a log on Kafka")
                .remedy("give --log kafka and --brokers; `annals up` serves a log in a file"));
        };
        let settings = &deployment.api;
        let address = listen_address(settings.listen.as_deref())?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| Failure::usage(format!("{address} cannot be listened on: {error}")))?;
        let bound = listener.local_addr().map_err(|error| Failure::usage(error.to_string()))?;
        let owner = Owner {
            id: Uuid::new_v4().to_string(),
            address: settings.advertise.clone().unwrap_or_else(|| bound.to_string()),
        };
        let owners = Arc::new(OnceLock::<EngineHandle>::new());
        let released_by = Arc::clone(&owners);
        let membership = Membership::join(kafka, move |partitions| {
            let engine = released_by.get().cloned();
            Box::pin(async move {
                if let Some(engine) = engine {
                    engine.released(&partitions).await;
                }
            })
        })
        .map_err(|error| Failure::usage(error.to_string()))?;
        let options = EngineOptions {
            assignment: Assignment::shared(membership.assigned()),
            ..EngineOptions::new(owner.clone())
        };
        let engine = start_engine(&log, &options).await?;
        // Set once, here.
        let _ = owners.set(engine.handle());
        let handle = engine.handle();

        let signing_key = settings.signing_key.as_deref();
        let key = dir.signing_key(signing_key)?.only_for(deployment.tenant_only);
        let queries = Queries::new(annals_projectors::definitions(), dir.cursor_key(settings.cursor_key.as_deref())?);
        let read_models = Arc::new(read_models);
        let sampler =
            Sampler::new(log.shared(), Arc::new(store.clone()), Arc::clone(&read_models), Some(engine.handle()));
        let sampling = tokio::spawn(sampler.run());
        let api = Api::new(ApiOptions {
            engine: engine.handle(),
            key: key.clone(),
            queries,
            store,
            read_models: Arc::clone(&read_models),
            trusted_network: settings.trusted_network,
        });
        // Requests are taken until the partitions have moved: until then they are handed on to whoever owns them.
        let closing = CancellationToken::new();
        let closed = closing.clone();
        let mut serving = tokio::spawn(serve(listener, api, async move { closed.cancelled().await }));
        let url = format!("http://{bound}");
        tokio::select! {
            () = reachable(&handle) => {
                let mut identity = dir.identity(signing_key)?;
                identity.tenant = deployment.tenant_only.unwrap_or(identity.tenant);
                let life = Duration::from_secs(limits::ENDPOINT_TOKEN_S);
                let token = key
                    .mint(identity.tenant, &identity.actor(), &[ROLE_OPERATOR, ROLE_AUDITOR], life)
                    .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
                Endpoint { url: url.clone(), token, pid: std::process::id() }
                    .write(dir.root())
                    .map_err(|error| Failure::usage(format!("endpoint.json cannot be written: {error}")))?;
                eprintln!("annals-api {} is ready on {url}, known to other nodes as {}", env!("CARGO_PKG_VERSION"), owner.address);
            }
            () = stop.cancelled() => {}
            ended = &mut serving => return Err(broken(ended)),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            ended = &mut serving => return Err(broken(ended)),
        }
        remove_endpoint(dir)?;
        membership.leave().await;
        closing.cancel();
        let served = serving.await;
        engine.shutdown().await;
        sampling.abort();
        // Its share of the read models goes with it; that it was aborted is no news.
        let _ = sampling.await;
        if let Some(read_models) = Arc::into_inner(read_models) {
            read_models.stop().await;
        }
        log.close().await;
        match served {
            Ok(Ok(())) => {
                eprintln!("stopped; nothing is lost");
                Ok(())
            }
            ended => Err(broken(ended)),
        }
    }
}

/// Starts the owners, once the log takes this build's schemas.
async fn start_engine(log: &OpenLog, options: &EngineOptions) -> Result<Engine, Failure> {
    loop {
        let (contexts, catalogue) = (annals_aggregates::contexts(), annals_schemas::CATALOGUE);
        match Engine::start(log.shared(), contexts, catalogue, options).await {
            Ok(engine) => return Ok(engine),
            Err(error @ (SchemaError::Read(annals_engine::log::ReadError::Unavailable(_)) | SchemaError::Write(_))) => {
                pause("the log", &error).await;
            }
            Err(error) => return Err(Failure::usage(error.to_string())),
        }
    }
}

/// Says what is waited for, and waits.
async fn pause(what: &str, error: &dyn std::error::Error) {
    eprintln!("waiting for {what}: {error}");
    tokio::time::sleep(Duration::from_millis(limits::START_RETRY_MS)).await;
}

/// Returns when commands can be sent to every partition through this node.
async fn reachable(engine: &EngineHandle) {
    while !engine.unreachable().is_empty() {
        tokio::time::sleep(Duration::from_millis(limits::READY_POLL_MS)).await;
    }
}

fn broken(ended: Result<Result<(), crate::ServeError>, tokio::task::JoinError>) -> Failure {
    match ended {
        Ok(Ok(())) => Failure::new(Exit::Failed, "the HTTP server ended by itself"),
        Ok(Err(error)) => Failure::usage(error.to_string()).remedy("or say --trusted-network, if its network is"),
        Err(error) => Failure::new(Exit::Failed, format!("the HTTP server ended by a panic: {error}")),
    }
}

/// `ADDRESS:PORT`, or a port of this machine; a free one where nothing is said.
fn listen_address(text: Option<&str>) -> Result<SocketAddr, Failure> {
    let text = text.unwrap_or("0");
    match text.parse::<u16>() {
        Ok(port) => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        Err(_) => text
            .replace("localhost", "127.0.0.1")
            .parse()
            .map_err(|_| Failure::usage(format!("--listen {text}: write it as 127.0.0.1:PORT, or a port alone"))),
    }
}

fn remove_endpoint(dir: &DataDir) -> Result<(), Failure> {
    let path = crate::endpoint::path(dir.root());
    annals_projectors::process::file::remove(&path)
        .map_err(|error| Failure::usage(format!("{} cannot be removed: {error}", path.display())))
}
