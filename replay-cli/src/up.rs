//! `up`: everything in one process on a data directory: log, engine, read models, HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use annals_api::auth::{ROLE_AUDITOR, ROLE_OPERATOR};
use annals_api::endpoint::{self, Endpoint};
use annals_api::{Api, ApiOptions};
use annals_engine::engine::{Engine, EngineOptions, PartitionState};
use annals_engine::log::Owner;
use annals_engine::runner::ReadModels;
use annals_engine::sink::GenerationStore as _;
use annals_engine::telemetry::Sampler;
use annals_projectors::deployment::{Access, Deployment, FILE, LogSettings, ReadModelsSettings};
use annals_projectors::process::{file, metrics, stop};
use annals_projectors::queries::Queries;
use annals_projectors::sinks::Store;
use anyhow::Context as _;
use tokio::net::TcpListener;

use crate::cli::{Global, UpArgs};
use crate::data_dir::{DataDir, deployment, log_failure, open_store_failure};
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::operate::store_failure;
use crate::output::render_pairs;

/// `up`.
pub(crate) async fn run(global: &Global, args: &UpArgs) -> anyhow::Result<Exit> {
    let deployment = deployment(global, [args.deployment.given(), args.api.given()].concat())?;
    let address = loopback(deployment.api.listen.as_deref().unwrap_or("127.0.0.1:0"))?;
    let first_versions = first_versions(&args.first_version)?;
    let dir = DataDir::create(&deployment.data)?;
    // Held until the process ends.
    let _lock = dir.lock()?;
    // Of a server that is gone: nobody must be sent to it while this one starts.
    remove_endpoint(&dir)?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::usage(format!("{address} cannot be listened on: {error}")))?;
    let stop = stop::on_signal(
        "stopping: open requests may end; once more to end at once",
        "ended at once; whatever was acknowledged is in the log",
    )
    .context("signals cannot be caught")?;
    let measured = match deployment.metrics_listen {
        Some(address) => Some(metrics::serve(address).map_err(|error| Failure::usage(error.to_string()))?),
        None => None,
    };

    let opened = deployment.await_log(Access::Serve, &stop).await.map_err(|error| log_failure(&error))?;
    let Some(log) = opened else { return Ok(Exit::Ok) };
    let options = EngineOptions::new(Owner { id: uuid::Uuid::new_v4().to_string(), address: String::new() });
    let engine = Engine::start(log.shared(), annals_aggregates::contexts(), annals_schemas::CATALOGUE, &options)
        .await
        .map_err(|error| Failure::usage(error.to_string()))?;
    let opened = deployment.await_store(log.id(), &stop).await.map_err(|error| open_store_failure(&error))?;
    let Some(store) = opened else { return Ok(Exit::Ok) };
    begin_with(&store, &first_versions).await?;
    let read_models =
        ReadModels::start(log.shared(), Arc::new(store.clone())).await.map_err(|error| store_failure(&error))?;
    let read_models = Arc::new(read_models);
    keep(global, &deployment)?;
    let sampler = Sampler::new(log.shared(), Arc::new(store.clone()), read_models.clone(), Some(engine.handle()));
    let sampling = measured.map(|_| tokio::spawn(sampler.run()));
    let queries = Queries::new(annals_projectors::definitions(), dir.cursor_key(deployment.api.cursor_key.as_deref())?);
    let signing_key = deployment.api.signing_key.as_deref();
    let key = dir.signing_key(signing_key)?.only_for(deployment.tenant_only);
    let url = format!("http://{}", listener.local_addr().context("the listener has no address")?);
    let mut identity = dir.identity(signing_key)?;
    identity.tenant = deployment.tenant_only.unwrap_or(identity.tenant);
    let life = Duration::from_secs(limits::TOKEN_LIFE_SECS);
    let token = key
        .mint(identity.tenant, &identity.actor(), &[ROLE_OPERATOR, ROLE_AUDITOR], life)
        .context("the token for endpoint.json")?;
    let api = Api::new(ApiOptions {
        engine: engine.handle(),
        key,
        queries,
        store,
        read_models: read_models.clone(),
        trusted_network: false,
    });
    let stopping = stop.clone();
    let serving = tokio::spawn(annals_api::serve(listener, api, async move { stopping.cancelled().await }));

    engine.handle().settled().await;
    Endpoint { url: url.clone(), token, pid: std::process::id() }
        .write(dir.root())
        .context("endpoint.json cannot be written")?;
    banner(&deployment, &url, measured);
    for partition in engine.handle().partitions() {
        if let PartitionState::Stopped { cause } = partition.state {
            eprintln!("warning: partition {} takes no commands: {cause}", partition.at);
        }
    }

    let served = serving.await;
    remove_endpoint(&dir)?;
    engine.shutdown().await;
    if let Some(sampling) = sampling {
        sampling.abort();
        // Its share of the read models goes with it; that it was aborted is no news.
        let _ = sampling.await;
    }
    // The server's share of them ended with it.
    if let Some(read_models) = Arc::into_inner(read_models) {
        read_models.stop().await;
    }
    log.close().await;
    served.context("the HTTP server ended by a panic")??;
    eprintln!("stopped; nothing is lost");
    Ok(Exit::Ok)
}

/// Writes down what the other commands need to find the same log and read models, unless somebody has.
fn keep(global: &Global, deployment: &Deployment) -> anyhow::Result<()> {
    let path = deployment.data.join(FILE);
    match deployment.to_file() {
        Some(text) if global.place.config.is_none() && !path.exists() => {
            file::write_private(&path, text.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))
        }
        Some(_) | None => Ok(()),
    }
}

/// Gives read models that have no generation yet their first one in another version than the newest.
async fn begin_with(store: &Store, versions: &[(String, u32)]) -> anyhow::Result<()> {
    for (name, version) in versions {
        let model = store.read_model(name, *version).ok_or_else(|| {
            let carried: Vec<String> =
                store.read_models().iter().map(|model| format!("{}={}", model.name(), model.version())).collect();
            Failure::usage(format!("--first-version {name}={version}: this build does not carry it"))
                .remedy(format!("it carries {}", carried.join(", ")))
        })?;
        store.ensure_live(&model).await.map_err(|error| store_failure(&error))?;
    }
    Ok(())
}

/// The address to listen on. Anything but loopback is refused: tokens travel in clear text.
fn loopback(text: &str) -> Result<SocketAddr, Failure> {
    let address = match text.parse::<u16>() {
        Ok(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
        Err(_) => text
            .replace("localhost", "127.0.0.1")
            .parse()
            .map_err(|_| Failure::usage(format!("--listen {text}: write it as 127.0.0.1:PORT, or a port alone")))?,
    };
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(Failure::usage(format!("--listen {text} is no loopback address"))
        .remedy("this server has no transport security; listen on 127.0.0.1 and put a proxy in front"))
}

/// `NAME=VERSION` pairs.
fn first_versions(pairs: &[String]) -> Result<Vec<(String, u32)>, Failure> {
    let parse = |pair: &String| {
        let (name, version) = pair.split_once('=')?;
        Some((name.to_owned(), version.parse().ok()?))
    };
    pairs
        .iter()
        .map(|pair| {
            parse(pair).ok_or_else(|| Failure::usage(format!("--first-version {pair}: write it as NAME=VERSION")))
        })
        .collect()
}

fn remove_endpoint(dir: &DataDir) -> anyhow::Result<()> {
    let path = endpoint::path(dir.root());
    file::remove(&path).map_err(|error| Failure::usage(format!("{} cannot be removed: {error}", path.display())).into())
}

fn banner(deployment: &Deployment, url: &str, measured: Option<SocketAddr>) {
    let data = deployment.data.display().to_string();
    let of = |name: &str| deployment.show().into_iter().find(|shown| shown.name == name).map(|shown| shown.value);
    let log = match &deployment.log {
        LogSettings::Sqlite { .. } => None,
        LogSettings::Kafka(options) => Some(format!("kafka at {}, prefix {}", options.brokers, options.prefix)),
    };
    let read_models = match &deployment.read_models {
        ReadModelsSettings::Sqlite => None,
        // Without its password.
        ReadModelsSettings::Postgres { .. } => of("read_models.url"),
    };
    let metrics = measured.map(|at| format!("http://{at}/metrics"));
    let at = if data == "./annals-data" { String::new() } else { format!(" --data {data}") };
    let mut pairs = vec![("listens on", url.to_owned()), ("data", data)];
    pairs.extend(log.map(|log| ("log", log)));
    pairs.extend(read_models.map(|url| ("read models", url)));
    pairs.extend(metrics.map(|url| ("metrics", url)));
    pairs.extend([
        ("token", format!("in {}", endpoint::path(&deployment.data).display())),
        ("try", format!("annals{at} import cargo-lock Cargo.lock")),
        ("", format!("annals{at} query portfolio.applications --workspace inventory")),
        ("", format!("annals{at} status")),
        ("stop", "Ctrl-C".to_owned()),
    ]);
    eprintln!("annals {} is ready", env!("CARGO_PKG_VERSION"));
    eprintln!("{}", render_pairs(&pairs));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_listened_on() {
        assert_eq!(loopback("8080").unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!(loopback("[::1]:0").unwrap().to_string(), "[::1]:0");
        assert_eq!(loopback("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        for refused in ["0.0.0.0:80", "192.168.0.1:80", "[::]:80", "example.org:80", "", "70000"] {
            assert_eq!(loopback(refused).unwrap_err().exit, Exit::Usage, "{refused}");
        }
    }

    #[test]
    fn first_versions_are_pairs() {
        let pairs = |text: &str| first_versions(&[text.to_owned()]).ok();
        assert_eq!(pairs("portfolio=1"), Some(vec![("portfolio".to_owned(), 1)]));
        assert_eq!(pairs("portfolio"), None);
        assert_eq!(pairs("portfolio=x"), None);
    }
}
