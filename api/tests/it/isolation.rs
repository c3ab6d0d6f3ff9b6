//! While one part is dead or slow, whatever does not need it goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annals_engine::log::memory::MemoryLog;
use annals_engine::log::{EventLog, Owner};
use annals_engine::owners::Assigned;
use annals_model::ids::{Actor, Partition};
use annals_model::position::ContextPartition;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::server::{Server, Shape, contexts, new_id, new_key, send, tenant};
use crate::stuck_log::StuckLog;

/// More than what was let in at a time when everybody shared.
const FLOOD: usize = 700;

/// Requests that hang, and how many were told that there is no room for them.
struct Pile {
    hanging: JoinSet<StatusCode>,
}

impl Pile {
    /// Sends requests until one is told that there is no room: the others are under way then, as many as may be.
    async fn of(request: impl Fn() -> RequestBuilder) -> Self {
        let mut hanging = JoinSet::new();
        for _ in 0..FLOOD {
            let request = request().timeout(Duration::from_secs(60)).header("x-request-timeout", "30s");
            hanging.spawn(async move { request.send().await.unwrap().status() });
        }
        let told = tokio::time::timeout(Duration::from_secs(30), hanging.join_next()).await;
        assert_eq!(told.unwrap().unwrap().unwrap(), 503, "nobody was told");
        Self { hanging }
    }

    /// True while most of what was let in hangs.
    fn is_there(&self) -> bool {
        self.hanging.len() > FLOOD / 10
    }
}

fn project_in(workspace: Uuid) -> Value {
    json!({ "client_request_id": new_id(), "workspace_id": workspace, "payload": { "name": new_id() } })
}

fn create(server: &Server, workspace: Uuid) -> RequestBuilder {
    server.request(Method::POST, "/v1/commands/portfolio.project.create").json(&project_in(workspace))
}

fn projects(server: &Server, workspace: Uuid) -> RequestBuilder {
    server.request(Method::GET, &format!("/v1/queries/portfolio.projects?workspace_id={workspace}"))
}

/// Many at a time, all answered well, the same tenant's.
async fn all_well(request: impl Fn() -> RequestBuilder, status: u16) {
    let mut sent: FuturesUnordered<_> = (0..40).map(|_| send(request())).collect();
    while let Some(answer) = sent.next().await {
        answer.expect(status);
    }
}

/// What does not need the part that is slow or dead.
struct Bystanders {
    workspace: Uuid,
    project: Uuid,
    /// Another tenant's.
    strangers: Uuid,
}

impl Bystanders {
    /// In a workspace, and in one of another tenant whose things lie outside of a partition.
    async fn of(server: &Server, workspace: Uuid, outside: Option<ContextPartition>) -> Self {
        let project = server.project(workspace, &new_id()).await;
        loop {
            let strangers = Uuid::new_v4();
            if Some(server.partition_of_strangers(strangers)) == outside {
                continue;
            }
            let slug = format!("w-{}", strangers.simple());
            let payload = json!({ "name": "W", "slug": slug });
            let body = json!({ "client_request_id": new_id(), "aggregate_id": strangers, "payload": payload });
            let path = "/v1/commands/access.workspace.create";
            send(server.stranger(Method::POST, path).json(&body)).await.expect(201);
            return Self { workspace, project, strangers };
        }
    }

    /// What needs neither the partition nor the store.
    async fn commands_and_health_go_on(&self, server: &Server) {
        all_well(|| create(server, self.workspace), 201).await;
        let path = format!("/v1/aggregates/portfolio.project/{}?workspace_id={}", self.project, self.workspace);
        all_well(|| server.request(Method::GET, &path), 200).await;
        all_well(|| server.anonymous(Method::GET, "/subjects"), 200).await;
        all_well(|| server.anonymous(Method::GET, "/livez"), 200).await;
        let path = "/v1/commands/portfolio.project.create";
        all_well(|| server.stranger(Method::POST, path).json(&project_in(self.strangers)), 201).await;
    }

    async fn queries_go_on(&self, server: &Server) {
        all_well(|| projects(server, self.workspace), 200).await;
        self.a_few_queries_go_on(server).await;
    }

    /// No more at a time than read a generation for one tenant.
    async fn a_few_queries_go_on(&self, server: &Server) {
        let path = format!("/v1/queries/portfolio.projects?workspace_id={}", self.strangers);
        for _ in 0..3 {
            send(projects(server, self.workspace)).await.expect(200);
            send(server.stranger(Method::GET, &path)).await.expect(200);
        }
    }

    /// Each waits for what it has just done itself.
    async fn waits_go_on(&self, server: &Server) {
        let wait = async || {
            let created = send(create(server, self.workspace)).await.expect(201);
            let token = created.header("consistency-token").to_owned();
            let asked = projects(server, self.workspace).header("x-request-timeout", "20s");
            send(asked.header("consistency-token", token)).await.expect(200);
        };
        let mut waiting: FuturesUnordered<_> = (0..4).map(|_| wait()).collect();
        while waiting.next().await.is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_a_dead_owner_take_nothing_from_other_partitions_and_queries() {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn EventLog> = MemoryLog::new(&contexts());
    let all = || {
        let of = |context| {
            let numbers = 0..MemoryLog::new(&contexts()).partitions(context);
            numbers.map(move |number| ContextPartition { context, partition: Partition(number) })
        };
        contexts().into_iter().flat_map(of)
    };
    let (assigned, receiver) = watch::channel(Assigned::new(all().collect()));
    let node = Server::start_node(Arc::clone(&log), receiver, &new_key(directory.path())).await;
    node.engine().settled().await;
    let [dead, alive] = node.workspaces_apart().await;
    let at = node.partition_of(dead);
    let bystanders = Bystanders::of(&node, alive, Some(at)).await;
    // It takes connections, and answers nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assigned.send_replace(Assigned::new(all().filter(|other| *other != at).collect()));
    node.engine().released(&[at]).await;
    let owner = Owner { id: "dead".to_owned(), address: silent.local_addr().unwrap().to_string() };
    let _claimed = log.claim(at, owner).await.unwrap();
    let pile = Pile::of(|| create(&node, dead)).await;
    bystanders.commands_and_health_go_on(&node).await;
    bystanders.queries_go_on(&node).await;
    bystanders.waits_go_on(&node).await;
    assert!(pile.is_there());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_whose_log_hangs_takes_nothing_from_other_partitions_and_queries() {
    let log = StuckLog::new(MemoryLog::new(&contexts()));
    let server = Server::start_on(log.clone()).await;
    let [dead, alive] = server.workspaces_apart().await;
    let at = server.partition_of(dead);
    let bystanders = Bystanders::of(&server, alive, Some(at)).await;
    log.stuck.send_replace(Some(at));
    let pile = Pile::of(|| create(&server, dead)).await;
    bystanders.commands_and_health_go_on(&server).await;
    bystanders.queries_go_on(&server).await;
    bystanders.waits_go_on(&server).await;
    assert!(pile.is_there());
    log.stuck.send_replace(None);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_that_wait_for_their_token_take_nothing_from_commands_and_other_queries() {
    let server = Server::start().await;
    let workspace = server.workspace().await;
    let bystanders = Bystanders::of(&server, workspace, None).await;
    server.held.flowing.send_replace(false);
    let created = send(create(&server, workspace)).await.expect(201);
    let token = created.header("consistency-token").to_owned();
    let pile = Pile::of(|| projects(&server, workspace).header("consistency-token", &token)).await;
    bystanders.commands_and_health_go_on(&server).await;
    bystanders.queries_go_on(&server).await;
    assert!(pile.is_there());
    server.held.flowing.send_replace(true);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_that_postgresql_does_not_answer_take_nothing_from_commands() {
    let postgres = annals_dev::postgres::Server::start().unwrap();
    let database = postgres.fresh_database().unwrap();
    let shape = Shape { postgres: Some(database.url.clone()), ..Shape::default() };
    let server = Server::start_as(MemoryLog::new(&contexts()), shape).await;
    let workspace = server.workspace().await;
    let bystanders = Bystanders::of(&server, workspace, None).await;
    all_well(|| projects(&server, workspace), 200).await;
    postgres.pause().unwrap();
    let pile = Pile::of(|| projects(&server, workspace)).await;
    bystanders.commands_and_health_go_on(&server).await;
    postgres.resume().unwrap();
    drop(pile);
    server.abandon();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_to_the_registry_ask_the_log_once_in_a_moment_and_wait_for_nobody_else() {
    let log = StuckLog::new(MemoryLog::new(&contexts()));
    let server = Server::start_on(log.clone()).await;
    let workspace = server.workspace().await;
    let bystanders = Bystanders::of(&server, workspace, None).await;
    let before = log.meta_reads.load(Ordering::Relaxed);
    all_well(|| server.anonymous(Method::GET, "/subjects"), 200).await;
    let asked = log.meta_reads.load(Ordering::Relaxed) - before;
    assert!((1..10).contains(&asked), "{asked}");
    // The log answers nothing any more: what it said is good, and nobody waits but who asks it anew.
    log.meta_stuck.send_replace(true);
    let anew = tokio::spawn(send(server.anonymous(Method::GET, "/subjects")));
    bystanders.commands_and_health_go_on(&server).await;
    bystanders.queries_go_on(&server).await;
    bystanders.waits_go_on(&server).await;
    log.meta_stuck.send_replace(false);
    anew.await.unwrap().expect(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_few_requests_is_answered_while_another_floods() {
    let server = Arc::new(Server::start().await);
    let [workspace, elsewhere] = server.workspaces_apart().await;
    let bystanders = Bystanders::of(&server, elsewhere, Some(server.partition_of(workspace))).await;
    let greedy = server.key.mint(tenant(), &Actor::Service("greedy".into()), &[], Duration::from_secs(600)).unwrap();
    let mut flood = JoinSet::new();
    for _ in 0..FLOOD {
        let (server, greedy) = (Arc::clone(&server), greedy.clone());
        flood.spawn(async move {
            loop {
                let post = server.anonymous(Method::POST, "/v1/commands/portfolio.project.create");
                let _ = post.bearer_auth(&greedy).json(&project_in(workspace)).send().await;
            }
        });
    }
    for _ in 0..5 {
        send(create(&server, workspace)).await.expect(201);
    }
    bystanders.commands_and_health_go_on(&server).await;
    bystanders.a_few_queries_go_on(&server).await;
    bystanders.waits_go_on(&server).await;
    flood.shutdown().await;
}
