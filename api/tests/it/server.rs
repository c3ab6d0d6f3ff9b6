//! A server for one test, and the requests that tests send.

use annals_platform::application;
use std::sync::Arc;
use std::time::Duration;

use annals_api::auth::SigningKey;
use annals_api::consistency::ConsistencyTokens;
use annals_api::{Api, ApiOptions, ServeError};
use annals_engine::log::memory::MemoryLog;
use annals_engine::log::{EventLog, Owner};
use annals_engine::owners::{Assigned, Assignment, Engine, EngineHandle, EngineOptions};
use annals_engine::runner::ReadModels;
use annals_model::ids::{Actor, ContextId, Partition, Scope, TenantId, UserId, WorkspaceId};
use annals_model::position::{ContextPartition, Offset};
use annals_model::query::CursorKey;
use annals_schemas::contexts::PORTFOLIO;
use annals_stores::queries::Queries;
use annals_stores::sinks::{PostgresStore, SqliteStore, Store};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::held_log::HeldLog;

/// All contexts.
pub(crate) fn contexts() -> Vec<ContextId> {
    application().contexts.iter().map(|context| context.id()).collect()
}

const SECRET: [u8; 32] = [7; 32];

/// What is not as it usually is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// Connections that it takes.
    pub(crate) connections: Option<usize>,
    /// Where its read models are, if not in files.
    pub(crate) postgres: Option<String>,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) key: SigningKey,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) store: Store,
    /// The log as the read models see it.
    pub(crate) held: Arc<HeldLog>,
    pub(crate) options: ApiOptions,
    http: reqwest::Client,
    token: String,
    shutdown: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
    engine: Engine,
    _dir: tempfile::TempDir,
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).to_str().unwrap()
    }
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
    /// The last part of the problem's type.
    pub(crate) fn problem(&self) -> String {
        let kind = self.json()["type"].as_str().unwrap_or_default().to_owned();
        kind.strip_prefix("urn:annals:problem:").unwrap_or_else(|| panic!("no problem: {}", self.text)).to_owned()
    }
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_on(MemoryLog::new(&contexts())).await
    }

    pub(crate) async fn start_on(log: Arc<dyn EventLog>) -> Self {
        Self::start_as(log, Shape::default()).await
    }

    pub(crate) async fn start_as(log: Arc<dyn EventLog>, shape: Shape) -> Self {
        let server = Self::start_with(log, Assignment::everything(), None, shape).await;
        server.engine().settled().await;
        server
    }

    /// One of several nodes, which tries to own what is assigned to it. All have the same key.
    pub(crate) async fn start_node(
        log: Arc<dyn EventLog>,
        assigned: watch::Receiver<Assigned>,
        key: &SigningKey,
    ) -> Self {
        Self::start_with(log, Assignment::shared(assigned), Some(key.clone()), Shape::default()).await
    }

    async fn start_with(
        log: Arc<dyn EventLog>,
        assignment: Assignment,
        cluster: Option<SigningKey>,
        shape: Shape,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}");
        // A server that is alone tells nobody where it is.
        let advertised = cluster.as_ref().map_or_else(String::new, |_| address.to_string());
        let owner = Owner { id: Uuid::new_v4().to_string(), address: advertised };
        let options = EngineOptions { assignment, ..EngineOptions::new(owner) };
        let engine = Engine::start(Arc::clone(&log), &application(), &options).await.unwrap();
        let key = cluster.unwrap_or_else(|| new_key(dir.path()));
        let definitions = application().read_models;
        let store = match &shape.postgres {
            None => Store::from(SqliteStore::open(dir.path(), definitions.clone(), log.id()).await.unwrap()),
            Some(url) => Store::from(PostgresStore::open(url, definitions.clone(), log.id()).await.unwrap()),
        };
        let held = HeldLog::new(Arc::clone(&log));
        let read_models = Arc::new(ReadModels::start(held.clone(), store.handle()).await.unwrap());
        let queries = Queries::new(definitions, CursorKey::new(SECRET));
        let options = ApiOptions {
            engine: engine.handle(),
            key: key.clone(),
            queries,
            store: store.clone(),
            read_models,
            trusted_network: false,
        };
        let api = match shape.connections {
            None => Api::new(options.clone()),
            Some(connections) => Api::for_connections(options.clone(), connections),
        };
        let (shutdown, asked) = oneshot::channel::<()>();
        let served = tokio::spawn(annals_api::serve(listener, api, async {
            let _ = asked.await;
        }));
        let token = mint(&key, tenant());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url, key, log, store, held, options, http, token, shutdown, served, engine, _dir: dir }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn engine(&self) -> EngineHandle {
        self.engine.handle()
    }

    /// What makes and reads the server's consistency tokens.
    pub(crate) fn tokens(&self) -> ConsistencyTokens {
        ConsistencyTokens::new(&CursorKey::new(SECRET), self.log.id())
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Ends without a word, whatever is under way.
    pub(crate) fn abandon(self) {
        self.served.abort();
    }

    /// The partition of a workspace's things.
    pub(crate) fn partition_of(&self, workspace: Uuid) -> ContextPartition {
        let scope = Scope { tenant: tenant(), workspace: WorkspaceId(workspace) };
        self.engine().partition_of(PORTFOLIO, scope.slot())
    }

    /// The same for one of the other tenant.
    pub(crate) fn partition_of_strangers(&self, workspace: Uuid) -> ContextPartition {
        let scope = Scope { tenant: strangers(), workspace: WorkspaceId(workspace) };
        self.engine().partition_of(PORTFOLIO, scope.slot())
    }

    /// Two new workspaces whose things lie in different partitions.
    pub(crate) async fn workspaces_apart(&self) -> [Uuid; 2] {
        let first = self.workspace().await;
        loop {
            let second = self.workspace().await;
            if self.partition_of(second) != self.partition_of(first) {
                return [first, second];
            }
        }
    }

    /// Stops in the order in which a process does.
    pub(crate) async fn stop(self) {
        let Self { shutdown, served, engine, .. } = self;
        let _ = shutdown.send(());
        served.await.unwrap().unwrap();
        engine.shutdown().await;
    }

    /// A request with a good token.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.token)
    }

    /// A request without a token.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).timeout(Duration::from_secs(20))
    }

    /// A request of this tenant with these roles.
    pub(crate) fn with_roles(&self, method: Method, path: &str, roles: &[&str]) -> RequestBuilder {
        let token = self.key.mint(tenant(), &Actor::User(user()), roles, Duration::from_secs(600)).unwrap();
        self.anonymous(method, path).bearer_auth(token)
    }

    /// A request of another tenant.
    pub(crate) fn stranger(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(mint(&self.key, strangers()))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    /// A query that must cover a token.
    pub(crate) async fn query_at(&self, path: &str, token: &str) -> Answer {
        send(self.request(Method::GET, path).header("consistency-token", token)).await
    }

    pub(crate) async fn command(&self, command_type: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, &format!("/v1/commands/{command_type}")).json(body)).await
    }

    pub(crate) async fn batch(&self, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.request(Method::POST, "/v1/commands").header("content-type", "application/x-ndjson");
        send(request.body(body)).await
    }

    /// A new workspace's id.
    pub(crate) async fn workspace(&self) -> Uuid {
        let id = Uuid::new_v4();
        let slug = format!("w-{}", id.simple());
        let body =
            json!({ "client_request_id": new_id(), "aggregate_id": id, "payload": { "name": "W", "slug": slug } });
        self.command("access.workspace.create", &body).await.expect(201);
        id
    }

    /// A new project's id.
    pub(crate) async fn project(&self, workspace: Uuid, name: &str) -> Uuid {
        let body = json!({ "client_request_id": new_id(), "workspace_id": workspace, "payload": { "name": name } });
        let answer = self.command("portfolio.project.create", &body).await.expect(201).json();
        answer["aggregate"]["id"].as_str().unwrap().parse().unwrap()
    }

    /// Where every partition ends: equal before and after means that nothing was written.
    pub(crate) async fn ends(&self) -> Vec<Offset> {
        let mut ends = Vec::new();
        for context in contexts() {
            for partition in (0..self.log.partitions(context)).map(Partition) {
                ends.push(self.log.end(ContextPartition { context, partition }).await.unwrap());
            }
        }
        ends
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    assert_eq!(headers.get("contract-version"), Some(&HeaderValue::from_static("1.0")));
    Answer { status, headers, text: response.text().await.unwrap() }
}

pub(crate) fn header(name: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
}

pub(crate) fn tenant() -> TenantId {
    TenantId(Uuid::from_u128(0x7e4a47))
}

/// Another tenant.
fn strangers() -> TenantId {
    TenantId(Uuid::from_u128(0x5712))
}

pub(crate) fn user() -> UserId {
    UserId(Uuid::from_u128(0x05e4))
}

/// A key in a directory.
pub(crate) fn new_key(directory: &std::path::Path) -> SigningKey {
    SigningKey::open_or_create(&directory.join("signing-key.pk8")).unwrap()
}

fn mint(key: &SigningKey, tenant: TenantId) -> String {
    key.mint(tenant, &Actor::User(user()), &["operator"], Duration::from_secs(600)).unwrap()
}

pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// A command that renames a project.
pub(crate) fn rename(workspace: Uuid, project: Uuid, name: &str) -> Value {
    json!({
        "client_request_id": new_id(), "workspace_id": workspace, "aggregate_id": project, "payload": { "name": name },
    })
}
