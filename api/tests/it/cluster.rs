//! Several nodes on one log: a client may talk to any of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_api::auth::SigningKey;
use annals_engine::log::EventLog;
use annals_engine::log::memory::MemoryLog;
use annals_engine::owners::{Assigned, PartitionState};
use annals_model::ids::{ContextId, Partition};
use annals_model::position::ContextPartition;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::server::{Answer, Server, contexts, header, new_id, new_key, rename, send};

/// Nodes, and what each should own.
pub(crate) struct Cluster {
    pub(crate) log: Arc<dyn EventLog>,
    key: SigningKey,
    pub(crate) nodes: Vec<Server>,
    pub(crate) assigned: Vec<watch::Sender<Assigned>>,
    _directory: tempfile::TempDir,
}

impl Cluster {
    /// So many nodes; the first owns everything.
    pub(crate) async fn start(nodes: usize) -> Self {
        Self::on(MemoryLog::new(&contexts()), nodes).await
    }

    /// The same on this log.
    pub(crate) async fn on(log: Arc<dyn EventLog>, nodes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = new_key(directory.path());
        let mut cluster = Self { log, key, nodes: Vec::new(), assigned: Vec::new(), _directory: directory };
        for _ in 0..nodes {
            let (sender, assigned) = watch::channel(Assigned::default());
            let node = Server::start_node(Arc::clone(&cluster.log), assigned, &cluster.key).await;
            cluster.nodes.push(node);
            cluster.assigned.push(sender);
        }
        cluster.give_all_to(0).await;
        cluster
    }

    pub(crate) fn partitions(&self) -> BTreeSet<ContextPartition> {
        let of = |context| {
            (0..self.log.partitions(context))
                .map(move |number| ContextPartition { context, partition: Partition(number) })
        };
        contexts().into_iter().flat_map(of).collect()
    }

    /// Those of one context.
    pub(crate) fn partitions_of(&self, context: ContextId) -> BTreeSet<ContextPartition> {
        self.partitions().into_iter().filter(|at| at.context == context).collect()
    }

    /// Takes everything from whoever has it and gives it to one node; returns when that one serves it.
    async fn give_all_to(&self, node: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.take_all_from(other).await;
        }
        self.give_to(node, self.partitions()).await;
    }

    async fn take_all_from(&self, node: usize) {
        self.assigned[node].send_replace(Assigned::default());
        let all: Vec<_> = self.partitions().into_iter().collect();
        self.nodes[node].engine().released(&all).await;
    }

    /// Gives these to a node, and nothing else; returns when it serves them.
    pub(crate) async fn give_to(&self, node: usize, partitions: BTreeSet<ContextPartition>) {
        self.assigned[node].send_replace(Arc::new(partitions.clone()));
        let engine = self.nodes[node].engine();
        let serves = |at: &ContextPartition| matches!(engine.state(*at), Some(PartitionState::Serving { .. }));
        until(|| partitions.iter().all(serves)).await;
    }
}

async fn until(condition: impl Fn() -> bool) {
    let looked = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looked).await.unwrap();
}

/// What two answers must have in common.
fn essence(answer: &Answer) -> (u16, Option<String>, Value) {
    let etag = answer.headers.get("etag").map(|etag| etag.to_str().unwrap().to_owned());
    let body = if answer.text.is_empty() { Value::Null } else { answer.json() };
    (answer.status.as_u16(), etag, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_answers_as_the_owner_does() {
    let cluster = Cluster::start(2).await;
    let [owner, other] = &cluster.nodes[..] else { panic!("two nodes") };
    let workspace = other.workspace().await;
    let project = other.project(workspace, "a").await;
    let body = rename(workspace, project, "b");
    let renamed = other.command("portfolio.project.rename", &body).await.expect(200);
    assert_eq!(renamed.json()["replayed"], false);
    let again = owner.command("portfolio.project.rename", &body).await.expect(200).json();
    assert_eq!(again["replayed"], true);
    assert_eq!(again["events"], renamed.json()["events"]);

    let paths = [
        format!("/v1/aggregates/portfolio.project/{project}?workspace_id={workspace}"),
        format!("/v1/aggregates/portfolio.project/{project}/events?workspace_id={workspace}&limit=1"),
        format!("/v1/aggregates/portfolio.project/{}?workspace_id={workspace}", Uuid::new_v4()),
        format!("/v1/aggregates/access.workspace/{workspace}"),
        format!("/v1/operations/{}", again["operation_id"].as_str().unwrap()),
        format!("/v1/events/{}", again["events"][0]["event_id"].as_str().unwrap()),
        "/v1/operations/nonsense".to_owned(),
        format!("/v1/aggregates/portfolio.project/{project}?workspace_id={}", Uuid::new_v4()),
    ];
    for path in paths {
        assert_eq!(essence(&other.get(&path).await), essence(&owner.get(&path).await), "{path}");
        let strangers = send(other.stranger(Method::GET, &path)).await;
        assert!(strangers.status.is_client_error(), "{path}: {}", strangers.text);
    }
    let etag = header("if-none-match", "\"2\"");
    let path = format!("/v1/aggregates/portfolio.project/{project}?workspace_id={workspace}");
    send(other.request(Method::GET, &path).headers(etag)).await.expect(304);

    // Headers go along, and so do refusals.
    let stale = other.request(Method::POST, "/v1/commands/portfolio.project.rename").header("if-match", "\"1\"");
    let conflict = send(stale.json(&rename(workspace, project, "c"))).await.expect(409);
    assert_eq!((conflict.problem().as_str(), &conflict.json()["actual_version"]), ("version-conflict", &json!(2)));
    let taken = other.project(workspace, "taken").await;
    let refused = other.command("portfolio.project.rename", &rename(workspace, taken, "b")).await.expect(409);
    assert_eq!(refused.problem(), "unique-key-taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_through_another_node_keeps_its_order() {
    let cluster = Cluster::start(2).await;
    let other = &cluster.nodes[1];
    let workspace = other.workspace().await;
    let mut lines = String::new();
    for n in 0..150 {
        let id = Uuid::new_v4();
        let mut line = |name: &str, payload: Value| {
            let line = json!({
                "type": format!("portfolio.application.{name}"), "client_request_id": new_id(),
                "workspace_id": workspace, "aggregate_id": id, "payload": payload,
            });
            lines += &format!("{line}\n");
        };
        line("register", json!({ "name": format!("app {n}") }));
        line("release_version", json!({ "number": "1.0" }));
        line("retire", json!({ "force": false }));
    }
    let answers = other.batch(lines.clone()).await.expect(200).lines();
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer["line"], index as u64 + 1);
        assert_eq!(answer["aggregate"]["version"], index as u64 % 3 + 1, "{answer}");
    }
    assert_eq!(answers.len(), 450);
    let again = other.batch(lines).await.expect(200).lines();
    assert!(again.iter().all(|answer| answer["replayed"] == true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_that_is_archived_through_one_node_is_closed_on_all() {
    let cluster = Cluster::start(3).await;
    let workspace = cluster.nodes[1].workspace().await;
    for node in &cluster.nodes {
        node.project(workspace, &new_id()).await;
    }
    let archive = json!({ "client_request_id": new_id(), "aggregate_id": workspace, "payload": {} });
    cluster.nodes[1].command("access.workspace.archive", &archive).await.expect(200);
    for node in [1, 0, 2] {
        let body = json!({ "client_request_id": new_id(), "workspace_id": workspace, "payload": { "name": "late" } });
        // The third hears of it when the event passes by.
        let mut refused = cluster.nodes[node].command("portfolio.project.create", &body).await;
        let until = Instant::now() + Duration::from_secs(10);
        while node == 2 && refused.status.is_success() && Instant::now() < until {
            let body =
                json!({ "client_request_id": new_id(), "workspace_id": workspace, "payload": { "name": new_id() } });
            refused = cluster.nodes[node].command("portfolio.project.create", &body).await;
        }
        assert_eq!(refused.expect(409).problem(), "workspace-archived");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_handed_on_is_not_handed_on_again() {
    let cluster = Cluster::start(2).await;
    let workspace = cluster.nodes[0].workspace().await;
    let body = json!({ "client_request_id": new_id(), "workspace_id": workspace, "payload": { "name": "p" } });
    let request = cluster.nodes[1].request(Method::POST, "/v1/commands/portfolio.project.create");
    let refused = send(request.header("annals-forwarded-by", "somebody").json(&body)).await.expect(503);
    assert_eq!(refused.problem(), "not-owner");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_owner_the_deadline_is_kept_and_the_answer_says_what_to_do() {
    let cluster = Cluster::start(2).await;
    let workspace = cluster.nodes[0].workspace().await;
    let project = cluster.nodes[0].project(workspace, "p").await;
    cluster.assigned[0].send_replace(Assigned::default());
    let all: Vec<_> = cluster.partitions().into_iter().collect();
    cluster.nodes[0].engine().released(&all).await;
    let started = Instant::now();
    let request = cluster.nodes[1].request(Method::POST, "/v1/commands/portfolio.project.rename");
    let refused =
        send(request.header("x-request-timeout", "700ms").json(&rename(workspace, project, "q"))).await.expect(503);
    assert_eq!(refused.problem(), "not-owner");
    assert!(refused.text.contains("same client_request_id"), "{}", refused.text);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_comes_while_partitions_move_is_answered_by_the_new_owner() {
    let cluster = Cluster::start(3).await;
    let workspace = cluster.nodes[0].workspace().await;
    let project = cluster.nodes[0].project(workspace, "p").await;
    let (mut sent, mut refusals) = (0, Vec::new());
    let moving = async {
        for round in 1..=6 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            cluster.give_all_to(round % 3).await;
        }
    };
    let sending = async {
        loop {
            let node = &cluster.nodes[sent % 3];
            let body = rename(workspace, project, &format!("n{sent}"));
            loop {
                let answer = node.command("portfolio.project.rename", &body).await;
                if answer.status.is_success() {
                    break;
                }
                assert_eq!(answer.status.as_u16(), 503, "{}", answer.text);
                refusals.push(answer.text);
            }
            sent += 1;
        }
    };
    tokio::select! { () = moving => {}, () = sending => {} }
    let path = format!("/v1/aggregates/portfolio.project/{project}?workspace_id={workspace}");
    let version = cluster.nodes[2].get(&path).await.expect(200).json()["aggregate"]["version"].as_u64().unwrap();
    // The last one may have been under way.
    assert!((sent as u64 + 1..=sent as u64 + 2).contains(&version), "{sent} sent, version {version}");
    assert!(sent >= 6, "{sent} sent");
    assert!(refusals.is_empty(), "{refusals:?}");
}
