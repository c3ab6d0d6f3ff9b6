//! Batches whose lines are under way while the partition that they are about comes or goes, or while its owner is in trouble.

use std::sync::Arc;
use std::time::Duration;

use annals_engine::log::memory::{Fault, Faults, MemoryLog};
use annals_schemas::contexts::{ACCESS, PORTFOLIO};
use bytes::Bytes;
use futures_util::stream;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::peer::{Peer, problem};
use crate::server::{Server, contexts, new_id, send};
use crate::stuck_log::StuckLog;

/// A batch about one application, whose lines a test sends one by one.
struct OpenBatch {
    workspace: Uuid,
    application: Uuid,
    lines: mpsc::Sender<Bytes>,
    response: Response,
}

impl OpenBatch {
    async fn to(node: &Server, workspace: Uuid) -> Self {
        Self::within(node, workspace, "10s").await
    }

    /// The same with this deadline for each line.
    async fn within(node: &Server, workspace: Uuid, deadline: &str) -> Self {
        let (lines, receiver) = mpsc::channel::<Bytes>(1);
        let body = stream::unfold(receiver, |mut receiver| async {
            let line = receiver.recv().await?;
            Some((Ok::<_, std::io::Error>(line), receiver))
        });
        let post = node.request(Method::POST, "/v1/commands").header("content-type", "application/x-ndjson");
        let post = post.header("x-request-timeout", deadline).timeout(Duration::from_secs(60));
        let response = post.body(reqwest::Body::wrap_stream(body)).send().await.unwrap();
        Self { workspace, application: Uuid::new_v4(), lines, response }
    }

    async fn register(&self) -> Bytes {
        self.send("register", json!({ "name": "a" })).await
    }

    async fn release(&self, number: &str) -> Bytes {
        self.send("release_version", json!({ "number": number })).await
    }

    async fn send(&self, name: &str, payload: Value) -> Bytes {
        let line = json!({
            "type": format!("portfolio.application.{name}"), "client_request_id": new_id(),
            "workspace_id": self.workspace, "aggregate_id": self.application, "payload": payload,
        });
        let line = Bytes::from(format!("{line}\n"));
        self.send_again(&line).await;
        line
    }

    async fn send_again(&self, line: &Bytes) {
        self.lines.send(line.clone()).await.unwrap();
    }

    /// Returns once the node has taken all lines so far: one that it decides itself, about the workspace, is behind them.
    async fn are_taken(&self, node: &Server, version: u64) {
        let line = json!({
            "type": "access.workspace.rename", "client_request_id": new_id(), "aggregate_id": self.workspace,
            "payload": { "name": format!("W{version}") },
        });
        self.lines.send(Bytes::from(format!("{line}\n"))).await.unwrap();
        let path = format!("/v1/aggregates/access.workspace/{}", self.workspace);
        let decided = async {
            while node.get(&path).await.expect(200).json()["aggregate"]["version"] != version {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), decided).await.unwrap();
    }

    /// The answer to a line behind which none was sent yet.
    async fn answer(&mut self) -> Value {
        serde_json::from_slice(&self.response.chunk().await.unwrap().unwrap()).unwrap()
    }

    /// The answers to all other lines, behind the last.
    async fn answers(self) -> Vec<Value> {
        drop(self.lines);
        let text = self.response.text().await.unwrap();
        text.lines().map(|answer| serde_json::from_str(answer).unwrap()).collect()
    }
}

/// Which version each line has brought its application to.
fn versions(answers: &[Value]) -> Vec<u64> {
    let own = answers.iter().filter(|answer| answer["aggregate"]["type"] != "access.workspace");
    own.map(|answer| answer["aggregate"]["version"].as_u64().unwrap_or_else(|| panic!("{answers:#?}"))).collect()
}

/// The kind of the problem in an answer.
fn kind(answer: &Value) -> &str {
    answer["type"].as_str().and_then(|kind| kind.strip_prefix("urn:annals:problem:")).unwrap_or("none")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_on_their_way_when_their_partition_comes_here_are_not_overtaken_by_those_behind_them() {
    let peer = Peer::start().await;
    let node = &peer.cluster.nodes[0];
    let batch = OpenBatch::to(node, peer.workspace).await;
    batch.register().await;
    let held = peer.asked().await;
    // These wait for the answer.
    for n in 1..20 {
        batch.release(&format!("1.{n}")).await;
    }
    batch.are_taken(node, 2).await;
    peer.cluster.give_to(0, peer.cluster.partitions()).await;
    // And this one comes where they would be decided.
    batch.release("2.0").await;
    batch.are_taken(node, 3).await;
    held.refuse().await;
    let answers = batch.answers().await;
    assert_eq!(versions(&answers), Vec::from_iter(1..=21));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_are_queued_when_their_partition_leaves_are_decided_elsewhere_before_those_behind_them() {
    let log = StuckLog::new(MemoryLog::new(&contexts()));
    let cluster = Cluster::on(log.clone(), 2).await;
    let node = &cluster.nodes[0];
    let workspace = node.workspace().await;
    node.project(workspace, "p").await;
    log.stuck.send_replace(Some(node.partition_of(workspace)));
    let batch = OpenBatch::to(node, workspace).await;
    batch.register().await;
    log.appends_stuck.subscribe().wait_for(|begun| *begun > 0).await.unwrap();
    // Another node claims the partition while the append is under way: it will be told that it is fenced.
    cluster.assigned[0].send_replace(Arc::new(cluster.partitions_of(ACCESS)));
    cluster.give_to(1, cluster.partitions_of(PORTFOLIO)).await;
    batch.release("1.1").await;
    batch.release("1.2").await;
    batch.are_taken(node, 2).await;
    log.stuck.send_replace(None);
    batch.release("1.3").await;
    let answers = batch.answers().await;
    assert_eq!(versions(&answers), [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_is_not_decided_by_the_next_owner_before_one_that_had_no_owner_in_time() {
    let log = StuckLog::new(MemoryLog::new(&contexts()));
    let cluster = Cluster::on(log.clone(), 2).await;
    let node = &cluster.nodes[0];
    let workspace = node.workspace().await;
    node.project(workspace, "p").await;
    let at = node.partition_of(workspace);
    log.stuck.send_replace(Some(at));
    let mut batch = OpenBatch::within(node, workspace, "1s").await;
    let register = batch.register().await;
    log.appends_stuck.subscribe().wait_for(|begun| *begun > 0).await.unwrap();
    // The partition leaves for nowhere.
    cluster.assigned[0].send_replace(Arc::new(cluster.partitions_of(ACCESS)));
    cluster.give_to(1, [at].into()).await;
    cluster.assigned[1].send_replace(Arc::default());
    cluster.nodes[1].engine().released(&[at]).await;
    log.stuck.send_replace(None);
    let put_off = batch.answer().await;
    assert_eq!(put_off["status"], 503, "{put_off}");
    cluster.give_to(1, [at].into()).await;
    let release = batch.release("1.0").await;
    assert_eq!(kind(&batch.answer().await), "behind-undecided");
    batch.send_again(&register).await;
    batch.send_again(&release).await;
    assert_eq!(versions(&batch.answers().await), [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_behind_one_that_was_not_decided_is_put_off_until_that_one_is_sent_again() {
    let log = MemoryLog::new(&contexts());
    let server = Server::start_on(log.clone()).await;
    let workspace = server.workspace().await;
    server.project(workspace, "p").await;
    log.set_faults(Faults::scripted([Some(Fault::Abort)]));
    let batch = OpenBatch::to(&server, workspace).await;
    let register = batch.register().await;
    let release = batch.release("1.0").await;
    // Its client may have sent these long before it read an answer.
    batch.send("retire", json!({ "force": false })).await;
    batch.send_again(&release).await;
    batch.are_taken(&server, 2).await;
    batch.send_again(&register).await;
    batch.send_again(&release).await;
    let answers = batch.answers().await;
    let kinds: Vec<_> = answers.iter().map(kind).collect();
    let behind = "behind-undecided";
    // The first append may have taken more than one of them.
    assert_eq!(kinds[0], "aborted", "{answers:#?}");
    assert!(kinds[1..4].iter().all(|kind| *kind == behind || *kind == "aborted"), "{answers:#?}");
    assert_eq!(kinds[4..], ["none"; 3], "{answers:#?}");
    assert_eq!(versions(&answers[4..]), [1, 2]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_is_not_handed_on_behind_one_that_its_owner_could_not_decide() {
    let peer = Peer::start().await;
    let node = &peer.cluster.nodes[0];
    let batch = OpenBatch::to(node, peer.workspace).await;
    let register = batch.register().await;
    let asked = peer.asked().await;
    let release = batch.release("1.0").await;
    batch.are_taken(node, 2).await;
    asked.answer_lines(&[problem("aborted")]).await;
    // The client may have sent it long before it read an answer.
    batch.send_again(&release).await;
    batch.are_taken(node, 3).await;
    batch.send_again(&register).await;
    batch.send_again(&release).await;
    batch.are_taken(node, 4).await;
    let mut sent = Vec::new();
    while sent.len() < 2 {
        let asked = peer.asked().await;
        let accepted: Vec<Value> = asked.body.lines().map(|_| json!({ "status": 200, "aggregate": {} })).collect();
        sent.extend(asked.body.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        asked.answer_lines(&accepted).await;
    }
    assert_eq!(sent, [&register, &release].map(|line| serde_json::from_slice::<Value>(line).unwrap()));
    let answers = batch.answers().await;
    let kinds: Vec<_> = answers.iter().map(kind).collect();
    let (none, behind) = ("none", "behind-undecided");
    assert_eq!(kinds, ["aborted", behind, none, behind, none, none, none, none], "{answers:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_goes_silent_in_the_middle_of_an_answer_is_given_up_by_the_deadline() {
    let peer = Peer::start().await;
    let node = &peer.cluster.nodes[0];
    let path = format!("/v1/aggregates/portfolio.project/{}?workspace_id={}", Uuid::new_v4(), peer.workspace);
    let question = node.request(Method::GET, &path).header("x-request-timeout", "700ms");
    let silent = async {
        let mut held = Vec::new();
        loop {
            let mut asked = peer.asked().await;
            asked.begin_to_answer().await;
            held.push(asked);
        }
    };
    let answered = async {
        tokio::select! {
            answer = send(question) => answer,
            () = silent => unreachable!("it listens for ever"),
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(15), answered).await.expect("an answer").expect(503);
    assert_eq!(answer.problem(), "not-owner");
    assert_eq!(node.engine().owner(peer.at()).unwrap().owner, "peer");
}
