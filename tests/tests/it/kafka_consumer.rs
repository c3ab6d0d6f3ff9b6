//! What a stock Avro consumer of another language makes of the log's topics, with nothing of ours but addresses.

use annals_platform::application;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use annals_api::auth::SigningKey;
use annals_api::{Api, ApiOptions};
use annals_engine::log::checked::CheckedReader;
use annals_engine::log::kafka::{KafkaLog, KafkaOptions};
use annals_engine::log::{EventLog, Owner};
use annals_engine::owners::{Engine, EngineOptions};
use annals_engine::runner::ReadModels;
use annals_model::ids::{Actor, Partition, TenantId, UserId};
use annals_model::position::{Checkpoint, ContextPartition};
use annals_model::query::CursorKey;
use annals_schemas::CATALOGUE;
use annals_stores::queries::Queries;
use annals_stores::sinks::{SqliteStore, Store};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::kafka_cluster::{options, shared};

const PREFIX: &str = "stock";
/// The client that is shown to work.
const LIBRARIES: [&str; 1] = ["confluent-kafka[avro,schemaregistry]==2.12.1"];

/// The API of one node, without a token for schemas.
struct Node {
    url: String,
    token: String,
    log: Arc<KafkaLog>,
    _engine: Engine,
    _directory: tempfile::TempDir,
}

impl Node {
    async fn start(options: KafkaOptions) -> Self {
        let log = KafkaLog::connect(options, &application().context_ids()).await.unwrap();
        let shared: Arc<dyn EventLog> = Arc::clone(&log) as _;
        let directory = tempfile::tempdir().unwrap();
        let owner = Owner { id: Uuid::new_v4().to_string(), address: String::new() };
        let engine = Engine::start(Arc::clone(&shared), &application(), &EngineOptions::new(owner)).await.unwrap();
        engine.handle().settled().await;
        let definitions = application().read_models;
        let store = Store::from(SqliteStore::open(directory.path(), definitions.clone(), log.id()).await.unwrap());
        let read_models = Arc::new(ReadModels::start(Arc::clone(&shared), store.handle()).await.unwrap());
        let queries = Queries::new(definitions, CursorKey::new([7; 32]));
        let key = SigningKey::open_or_create(&directory.path().join("signing.key")).unwrap();
        let actor = Actor::User(UserId(Uuid::from_u128(5)));
        let token = key.mint(TenantId(Uuid::from_u128(7)), &actor, &[], Duration::from_secs(600)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let engine_handle = engine.handle();
        let api =
            Api::new(ApiOptions { engine: engine_handle, key, queries, store, read_models, trusted_network: false });
        tokio::spawn(annals_api::serve(listener, api, std::future::pending()));
        Self { url, token, log, _engine: engine, _directory: directory }
    }

    async fn command(&self, command: &str, workspace: Option<Uuid>, id: Uuid, payload: Value) {
        let mut body = json!({ "client_request_id": Uuid::new_v4(), "aggregate_id": id, "payload": payload });
        if let Some(workspace) = workspace {
            body["workspace_id"] = json!(workspace);
        }
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("{}/v1/commands/{command}", self.url)).bearer_auth(&self.token).json(&body);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{command}: {}", answer.text().await.unwrap());
    }

    /// What the log holds, as the consumer prints it: claims apart.
    async fn events(&self) -> Vec<Value> {
        let mut events = Vec::new();
        for context in application().context_ids() {
            for partition in (0..self.log.partitions(context)).map(Partition) {
                let at = ContextPartition { context, partition };
                let mut reader = CheckedReader::open(&*self.log, at, Checkpoint::default()).await.unwrap();
                while let Some(batch) = reader.next().await.unwrap() {
                    for record in batch.records {
                        let envelope = &record.envelope;
                        let schema = CATALOGUE.get(record.schema).unwrap();
                        events.push(json!({
                            "topic": format!("{PREFIX}.{}.events", context.name),
                            "partition": partition.0,
                            "offset": record.offset.0,
                            "event_type": envelope.event_type,
                            "emitted_at": envelope.emitted_at.0,
                            "tenant_id": envelope.tenant_id.0,
                            "workspace_id": envelope.workspace_id.0,
                            "aggregate_id": envelope.aggregate_id.0,
                            "sequence": envelope.sequence.0,
                            "ordinal": envelope.ordinal.0,
                            "payload": (schema.payload_json)(record.payload).unwrap(),
                        }));
                    }
                }
            }
        }
        events
    }
}

/// The consumer's line of an event in the same form; nothing of a claim.
fn event(line: &Value) -> Option<Value> {
    let record = line["record"].as_object().unwrap();
    if record.contains_key("owner_id") {
        return None;
    }
    let mut event = json!({});
    for place in ["topic", "partition", "offset"] {
        event[place] = line[place].clone();
    }
    let parts =
        ["event_type", "emitted_at", "tenant_id", "workspace_id", "aggregate_id", "sequence", "ordinal", "payload"];
    for part in parts {
        event[part] = record.get(part).cloned().unwrap_or_else(|| panic!("no {part} in {line}"));
    }
    Some(event)
}

fn consume(brokers: &str, registry: &str) -> Vec<Value> {
    let python = annals_dev::python::with("confluent-kafka", &LIBRARIES).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/kafka_consumer/consume.py");
    let contexts = application().context_ids();
    let topics = contexts.iter().map(|context| format!("{PREFIX}.{}.events", context.name));
    let output = Command::new(python).arg(script).args([brokers, registry]).args(topics).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_avro_consumer_in_python_reads_what_the_log_says() {
    let cluster = shared();
    let node = Node::start(options(&cluster, PREFIX)).await;
    let workspace = Uuid::new_v4();
    let slug = format!("w-{}", workspace.simple());
    node.command("access.workspace.create", None, workspace, json!({ "name": "W", "slug": slug })).await;
    for number in 0..20 {
        let project = Uuid::new_v4();
        let named = json!({ "name": format!("Projekt {number} äöü") });
        node.command("portfolio.project.create", Some(workspace), project, named).await;
        let named = json!({ "name": format!("renamed {number}") });
        node.command("portfolio.project.rename", Some(workspace), project, named).await;
        let application = json!({ "name": format!("A{number}"), "project_id": project, "criticality": "high" });
        node.command("portfolio.application.register", Some(workspace), Uuid::new_v4(), application).await;
    }
    let expected = node.events().await;
    assert!(expected.len() > 60, "{} events", expected.len());
    let (brokers, url) = (cluster.addresses(), node.url.clone());
    let lines = tokio::task::spawn_blocking(move || consume(&brokers, &url)).await.unwrap();
    let claims = lines.iter().filter(|line| line["record"].get("owner_id").is_some()).count();
    assert_eq!(claims, 8, "each partition was claimed once");
    let mut found: Vec<_> = lines.iter().filter_map(event).collect();
    let place = |event: &Value| (event["topic"].to_string(), event["partition"].as_u64(), event["offset"].as_u64());
    found.sort_by_key(place);
    let mut expected = expected;
    expected.sort_by_key(place);
    assert_eq!(found, expected);
}
