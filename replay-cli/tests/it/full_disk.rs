//! An import while the server's disk is full.

use annals_platform::application;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use annals_api::auth::SigningKey;
use annals_api::{Api, ApiOptions, ServeError};
use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_engine::log::{EventLog, Owner};
use annals_engine::owners::{Engine, EngineOptions};
use annals_engine::runner::ReadModels;
use annals_model::ids::{Actor, TenantId, UserId};
use annals_model::query::CursorKey;
use annals_stores::queries::Queries;
use annals_stores::sinks::{SqliteStore, Store};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::importing::many;
use crate::server::annals;

const COMMANDS: usize = 3_000;
/// Room for what a start writes, and for some of the commands.
const PAGES: u32 = 120;

/// A server whose log can be given a disk of a certain size: a process cannot.
struct Server {
    url: String,
    token: String,
    log: Arc<SqliteLog>,
    engine: Engine,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    async fn start(data: &Path, pages: Option<u32>) -> Self {
        let options = SqliteOptions { max_page_count: pages, ..SqliteOptions::default() };
        let log = SqliteLog::open(&data.join("log.sqlite"), &application().context_ids(), options).await.unwrap();
        let shared: Arc<dyn EventLog> = log.clone();
        let owner = Owner { id: "node".into(), address: String::new() };
        let options = EngineOptions::new(owner);
        let engine = Engine::start(shared.clone(), &application(), &options).await.unwrap();
        let definitions = application().read_models;
        let store = Store::from(SqliteStore::open(data, definitions.clone(), shared.id()).await.unwrap());
        let key = SigningKey::open_or_create(&data.join("signing-key.pk8")).unwrap();
        let actor = Actor::User(UserId(Uuid::from_u128(2)));
        let tenant = TenantId(Uuid::from_u128(1));
        let token = key.mint(tenant, &actor, &["operator"], Duration::from_secs(3_600)).unwrap();
        let api = Api::new(ApiOptions {
            engine: engine.handle(),
            key,
            queries: Queries::new(definitions, CursorKey::new([7; 32])),
            read_models: Arc::new(ReadModels::start(shared, store.handle()).await.unwrap()),
            store,
            trusted_network: false,
        });
        engine.handle().settled().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, asked) = oneshot::channel::<()>();
        let served = tokio::spawn(annals_api::serve(listener, api, async {
            let _ = asked.await;
        }));
        Self { url, token, log, engine, stop, served }
    }

    fn import(&self, data: &Path, file: &Path) -> std::process::Command {
        let mut import = annals(data, &["import", "ndjson", file.to_str().unwrap(), "-o", "json", "--url", &self.url]);
        import.env("ANNALS_TOKEN", &self.token);
        import
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        self.served.await.unwrap().unwrap();
        self.engine.shutdown().await;
        self.log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_onto_a_full_disk_is_told_so_and_is_whole_when_it_runs_again_with_room() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let file = many(data, COMMANDS);
    let server = Server::start(data, Some(PAGES)).await;
    let mut import = server.import(data, &file);
    let mut import = import.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(import.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut before = Vec::new();
    let told = tokio::task::block_in_place(|| {
        said.find(|line| {
            before.push(line.clone());
            line.contains("server refuses")
        })
    });
    assert!(told.is_some_and(|told| told.contains("full")), "{before:#?}");
    import.kill().unwrap();
    import.wait().unwrap();
    server.stop().await;

    let server = Server::start(data, None).await;
    let imported = tokio::task::block_in_place(|| server.import(data, &file).output()).unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let report: Value = serde_json::from_slice(&imported.stdout).unwrap();
    let count = |name: &str| report[name].as_u64().unwrap();
    // The disk was full in the midst of it, and what was accepted before that is not repeated.
    assert!(count("accepted") > 0 && count("replayed") > 0, "{report}");
    assert_eq!((count("accepted") + count("replayed"), count("refused")), (COMMANDS as u64, 0), "{report}");
    let again = tokio::task::block_in_place(|| server.import(data, &file).output()).unwrap();
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&again["accepted"], &again["replayed"]), (&json!(0), &json!(COMMANDS)), "{again}");
    server.stop().await;
}
