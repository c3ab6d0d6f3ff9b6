//! A node: what it is made of, in the order in which it starts and stops. One that is alone on a log in a file (`annals
//! up`), or one of several that share the partitions of a log on Kafka (`annals-api`, and `annals up` as well).

mod ownership;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use annals_engine::log::{Owner, ReadError};
use annals_engine::owners::{Engine, EngineHandle, EngineOptions, PartitionState};
use annals_engine::presence::Presence;
use annals_engine::published::SchemaError;
use annals_engine::runner::ReadModels;
use annals_engine::sink::{ProcessKind, StoreError};
use annals_engine::telemetry::Sampler;
use annals_model::application::Application;
use annals_projectors::deployment::{Access, Deployment, OpenLog, OpenStoreError, until_there};
use annals_projectors::process::exit::{Exit, Failure};
use annals_projectors::process::{self, file, metrics, say, stop};
use annals_stores::queries::Queries;
use annals_stores::sinks::Store;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::ownership::Ownership;
use crate::auth::{ROLE_AUDITOR, ROLE_OPERATOR};
use crate::data_dir::{self, DataDir};
use crate::endpoint::{self, Endpoint};
use crate::{Api, ApiOptions, ServeError, descriptors, limits, serve};

/// What a node does besides owning partitions and answering requests.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// What it serves.
    pub application: Application,
    /// Its surroundings.
    pub deployment: Deployment,
    /// It keeps the read models current itself; otherwise `annals-projector` does.
    pub projects: bool,
    /// Versions that read models without a generation begin with, by name; the newest unless named.
    pub first_versions: Vec<(String, u32)>,
    /// The wall clock is right, although an earlier life of this node held it back.
    pub accept_clock: bool,
}

/// A node that takes commands for every partition.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Where it listens.
    pub url: String,
    /// What other nodes are told; nothing for one that is alone.
    pub advertised: Option<String>,
    /// Where its metrics are served.
    pub metrics: Option<SocketAddr>,
}

/// Serves until SIGINT or SIGTERM. Waits for what is down at the start, and says so; `ready` is called once it is.
pub async fn run(options: NodeOptions, ready: impl FnOnce(&Ready) -> Result<(), Failure>) -> Result<(), Failure> {
    let deployment = &options.deployment;
    // Before anything is opened.
    descriptors::raise();
    let address = listen_address(deployment.api.listen.as_deref(), deployment.api.trusted_network)?;
    let dir = DataDir::create(&deployment.data)?;
    // Held until the process ends.
    let _lock = dir.lock()?;
    // Of a node that is gone: nobody must be sent to it while this one starts.
    remove_endpoint(&dir)?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::usage(format!("{address} cannot be listened on: {error}")))?;
    let stop = stop::on_signal_in_time(
        "stopping: open requests may end; once more to end at once",
        "ended at once; whatever was acknowledged is in the log",
    )
    .map_err(|error| Failure::usage(format!("signals cannot be caught: {error}")))?;
    let metrics = deployment.metrics_listen.map(metrics::serve).transpose();
    let metrics = metrics.map_err(|error| Failure::usage(error.to_string()))?;
    // Stopped before everything was there: nothing was begun that would have to be ended.
    let Some(opened) = Opened::wait(&options, &stop).await? else { return Ok(()) };
    let bound = listener.local_addr().map_err(|error| Failure::usage(error.to_string()))?;
    let Some(node) = Node::start(&options, &dir, opened, bound, &stop).await? else { return Ok(()) };
    node.serve(&dir, listener, metrics, stop, ready).await
}

/// What a node needs from outside.
struct Opened {
    log: OpenLog,
    store: Store,
    read_models: ReadModels,
}

impl Opened {
    /// Opens everything, however long it takes; nothing if the process is stopped meanwhile.
    async fn wait(options: &NodeOptions, stop: &CancellationToken) -> Result<Option<Self>, Failure> {
        let deployment = &options.deployment;
        let log = deployment.await_log(&options.application, Access::Serve, stop).await.map_err(|error| {
            Failure::new(if error.is_damage() { Exit::Mismatch } else { Exit::Usage }, error.to_string())
        });
        let Some(log) = log? else { return Ok(None) };
        let store = deployment.await_store(&options.application, log.id(), stop).await;
        let Some(store) = store.map_err(|error| store_failure(&error))? else { return Ok(None) };
        begin_with(&store, &options.first_versions).await?;
        let read_models = until_there(stop, StoreError::is_transient, || async {
            match options.projects {
                true => ReadModels::start(log.shared(), store.handle()).await,
                false => ReadModels::observe(log.shared(), store.handle()).await,
            }
        });
        let read_models = read_models.await.map_err(|error| Failure::usage(error.to_string()))?;
        Ok(read_models.map(|read_models| Self { log, store, read_models }))
    }
}

fn store_failure(error: &OpenStoreError) -> Failure {
    let failure = Failure::new(if error.is_damage() { Exit::Mismatch } else { Exit::Usage }, error.to_string());
    match error.is_damage() {
        true => failure.remedy("stop every process, remove the folder `read-models`, and start: they are built anew"),
        false => failure,
    }
}

/// Gives read models that have no generation yet their first one in another version than the newest.
async fn begin_with(store: &Store, versions: &[(String, u32)]) -> Result<(), Failure> {
    for (name, version) in versions {
        let model = store.read_model(name, *version).ok_or_else(|| {
            let carried: Vec<String> =
                store.read_models().iter().map(|model| format!("{}={}", model.name(), model.version())).collect();
            Failure::usage(format!("--first-version {name}={version}: this build does not carry it"))
                .remedy(format!("it carries {}", carried.join(", ")))
        })?;
        store.ensure_live(&model).await.map_err(|error| Failure::usage(error.to_string()))?;
    }
    Ok(())
}

/// A node at work.
struct Node {
    log: OpenLog,
    engine: Engine,
    ownership: Ownership,
    read_models: Arc<ReadModels>,
    sampling: JoinHandle<()>,
    presence: Presence,
    api: Api,
    /// Of `endpoint.json`.
    token: String,
    advertised: Option<String>,
}

impl Node {
    /// Starts everything but HTTP; nothing if the process is stopped before the log takes this build's schemas.
    async fn start(
        options: &NodeOptions,
        dir: &DataDir,
        opened: Opened,
        bound: SocketAddr,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, Failure> {
        let Opened { log, store, read_models } = opened;
        let settings = &options.deployment.api;
        let ownership = Ownership::of(&log)?;
        let advertised = ownership.is_shared().then(|| settings.advertise.clone().unwrap_or_else(|| bound.to_string()));
        let owner = Owner { id: Uuid::new_v4().to_string(), address: advertised.clone().unwrap_or_default() };
        let id = owner.id.clone();
        let engine_options = EngineOptions {
            assignment: ownership.assignment(),
            accept_clock: options.accept_clock,
            ..EngineOptions::new(owner)
        };
        let application = &options.application;
        let started = until_there(stop, may_pass, || Engine::start(log.shared(), application, &engine_options));
        let Some(engine) = started.await.map_err(|error| Failure::usage(error.to_string()))? else { return Ok(None) };
        ownership.is_kept_by(engine.handle());
        let read_models = Arc::new(read_models);
        let (handle, kept) = (engine.handle(), store.handle());
        let sampling =
            tokio::spawn(Sampler::new(log.shared(), kept, Arc::clone(&read_models), Some(handle.clone())).run());
        let runs = if options.projects { read_models.names() } else { Vec::new() };
        let address = advertised.clone().unwrap_or_else(|| bound.to_string());
        let who = process::of_this_process(ProcessKind::Node, id, Some(address), runs);
        let presence = Presence::start(store.handle(), who, Some(engine.handle()), Arc::clone(&read_models));
        let signing_key = settings.signing_key.as_deref();
        let key = dir.signing_key(signing_key)?.only_for(options.deployment.tenant_only);
        let queries = Queries::new(application.read_models.clone(), dir.cursor_key(settings.cursor_key.as_deref())?);
        let mut identity = dir.identity(signing_key)?;
        identity.tenant = options.deployment.tenant_only.unwrap_or(identity.tenant);
        let life = Duration::from_secs(limits::ENDPOINT_TOKEN_S);
        let token = key
            .mint(identity.tenant, &identity.actor(), &[ROLE_OPERATOR, ROLE_AUDITOR], life)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        let api = Api::new(ApiOptions {
            engine: handle,
            key,
            queries,
            store,
            read_models: Arc::clone(&read_models),
            trusted_network: settings.trusted_network,
        });
        Ok(Some(Self { log, engine, ownership, read_models, sampling, presence, api, token, advertised }))
    }

    /// Serves until it is stopped, and ends in good order: partitions first, so that their next owners are at work while
    /// requests are still handed on to them.
    async fn serve(
        self,
        dir: &DataDir,
        listener: TcpListener,
        metrics: Option<SocketAddr>,
        stop: CancellationToken,
        ready: impl FnOnce(&Ready) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Self { log, engine, ownership, read_models, sampling, presence, api, token, advertised } = self;
        let bound = listener.local_addr().map_err(|error| Failure::usage(error.to_string()))?;
        let (closing, handle) = (CancellationToken::new(), engine.handle());
        let closed = closing.clone();
        let mut serving = tokio::spawn(serve(listener, api, async move { closed.cancelled().await }));
        tokio::select! {
            () = settled(&handle) => {
                dir.mark_served(log.id())
                    .map_err(|error| Failure::usage(format!("{} cannot be written: {error}", data_dir::SERVED)))?;
                let node = Ready { url: format!("http://{bound}"), advertised, metrics };
                Endpoint { url: node.url.clone(), token, pid: std::process::id() }
                    .write(dir.root())
                    .map_err(|error| Failure::usage(format!("endpoint.json cannot be written: {error}")))?;
                ready(&node)?;
                for (at, cause) in stopped(&handle) {
                    say!("warning: partition {at} takes no commands: {cause}");
                }
            }
            () = stop.cancelled() => {}
            ended = &mut serving => return Err(broken(ended)),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            ended = &mut serving => return Err(broken(ended)),
        }
        remove_endpoint(dir)?;
        ownership.give_up().await;
        closing.cancel();
        let served = serving.await;
        engine.shutdown().await;
        presence.end().await;
        sampling.abort();
        // Its share of the read models goes with it; that it was aborted is no news.
        let _ = sampling.await;
        // The server's share of them ended with it.
        if let Some(read_models) = Arc::into_inner(read_models) {
            read_models.stop().await;
        }
        log.close().await;
        match served {
            Ok(Ok(())) => {
                say!("stopped; nothing is lost");
                Ok(())
            }
            ended => Err(broken(ended)),
        }
    }
}

/// True where the log is down.
fn may_pass(error: &SchemaError) -> bool {
    matches!(error, SchemaError::Read(ReadError::Unavailable(_)) | SchemaError::Write(_))
}

/// Returns when commands can be sent to every partition through this node, but for those that are stopped.
async fn settled(engine: &EngineHandle) {
    let is_stopped = |state: &PartitionState| matches!(state, PartitionState::Stopped { .. });
    while !engine.unreachable().iter().all(|status| is_stopped(&status.state)) {
        tokio::time::sleep(Duration::from_millis(limits::READY_POLL_MS)).await;
    }
}

/// The partitions that are stopped, and why.
fn stopped(engine: &EngineHandle) -> impl Iterator<Item = (annals_model::position::ContextPartition, String)> {
    engine.partitions().into_iter().filter_map(|status| match status.state {
        PartitionState::Stopped { cause } => Some((status.at, cause)),
        PartitionState::Claiming | PartitionState::Serving { .. } | PartitionState::NotOwner => None,
    })
}

fn broken(ended: Result<Result<(), ServeError>, tokio::task::JoinError>) -> Failure {
    match ended {
        Ok(Ok(())) => Failure::new(Exit::Failed, "the HTTP server ended by itself"),
        Ok(Err(error)) => Failure::usage(error.to_string()),
        Err(error) => Failure::new(Exit::Failed, format!("the HTTP server ended by a panic: {error}")),
    }
}

/// `ADDRESS:PORT`, or a port of this machine; a free one where nothing is said. Anything but loopback is refused unless the
/// network is trusted: tokens travel in clear text.
fn listen_address(text: Option<&str>, trusted_network: bool) -> Result<SocketAddr, Failure> {
    let text = text.unwrap_or("0");
    let address = match text.parse::<u16>() {
        Ok(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
        Err(_) => text
            .replace("localhost", "127.0.0.1")
            .parse()
            .map_err(|_| Failure::usage(format!("--listen {text}: write it as 127.0.0.1:PORT, or a port alone")))?,
    };
    if address.ip().is_loopback() || trusted_network {
        return Ok(address);
    }
    Err(Failure::usage(format!("--listen {text} is no loopback address")).remedy(
        "this server has no transport security; listen on 127.0.0.1 and put a proxy in front, or say --trusted-network \
         where nobody else is on the network",
    ))
}

fn remove_endpoint(dir: &DataDir) -> Result<(), Failure> {
    let path = endpoint::path(dir.root());
    file::remove(&path).map_err(|error| Failure::usage(format!("{} cannot be removed: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_listened_on_unless_the_network_is_trusted() {
        let address = |text: &str| listen_address(Some(text), false).unwrap().to_string();
        assert_eq!(address("8080"), "127.0.0.1:8080");
        assert_eq!(address("[::1]:0"), "[::1]:0");
        assert_eq!(address("localhost:1"), "127.0.0.1:1");
        for refused in ["0.0.0.0:80", "192.168.0.1:80", "[::]:80", "example.org:80", "", "70000"] {
            assert_eq!(listen_address(Some(refused), false).unwrap_err().exit, Exit::Usage, "{refused}");
        }
        assert_eq!(listen_address(Some("0.0.0.0:80"), true).unwrap().to_string(), "0.0.0.0:80");
    }
}
