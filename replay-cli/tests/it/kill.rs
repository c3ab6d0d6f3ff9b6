//! The server is killed with SIGKILL again and again while many clients write, and nothing that was acknowledged is
//! lost, nothing is applied twice, and the read models equal the log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Server, run};

const ROUNDS: usize = 20;
const CLIENTS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a server listens, and the token that it takes.
#[derive(Clone)]
struct Address {
    url: String,
    token: String,
}

fn address(data: &Path) -> Address {
    let endpoint: Value = serde_json::from_slice(&std::fs::read(data.join("endpoint.json")).unwrap()).unwrap();
    let text = |name: &str| endpoint[name].as_str().unwrap().to_owned();
    Address { url: text("url"), token: text("token") }
}

/// A command, and what it was answered when it was acknowledged.
#[derive(Clone)]
struct Sent {
    command: Value,
    answer: Option<Value>,
}

/// The commands of one client: registers applications, releases versions, sets up edges.
fn commands(client: usize, workspace: String) -> impl Iterator<Item = Value> {
    let id = move |n: usize| Uuid::from_u128(((client as u128) << 64) | n as u128 | (0xa << 124));
    (0..).map(move |n: usize| {
        let (application, step) = (n / 4, n % 4);
        let (command_type, aggregate, payload) = match step {
            0 => (
                "portfolio.application.register",
                id(application),
                json!({"name": format!("app-{client}-{application}")}),
            ),
            1 | 2 => ("portfolio.application.release_version", id(application), json!({"number": format!("1.{step}")})),
            _ => (
                "portfolio.dependency.declare",
                id(application | 1 << 40),
                json!({
                    "from_application_id": id(application),
                    // Mostly on the one before: chains, and within one scope cycles are allowed as well.
                    "to_application_id": id(application.saturating_sub(1)),
                    "kind": "runtime",
                }),
            ),
        };
        json!({
            "type": command_type,
            "client_request_id": format!("c{client}-{n}"),
            "workspace_id": workspace,
            "aggregate_id": aggregate,
            "payload": payload,
        })
    })
}

/// One request; nothing if there was no answer, or one that says to try again.
async fn send(http: &reqwest::Client, server: &Address, command: &Value) -> Option<(u16, Value)> {
    let mut body = command.clone();
    let command_type = body.as_object_mut().unwrap().remove("type").unwrap();
    let url = format!("{}/v1/commands/{}", server.url, command_type.as_str().unwrap());
    let response = http.post(url).bearer_auth(&server.token).json(&body).send().await.ok()?;
    let status = response.status().as_u16();
    if status == 503 {
        return None;
    }
    Some((status, response.json().await.ok()?))
}

/// Refusals are operations too, but have no events.
fn is_accepted(answer: &Value) -> bool {
    answer["events"].is_array()
}

/// What must be equal between an answer and its repetition.
fn essence(answer: &Value) -> Value {
    json!([answer["operation_id"], answer["aggregate"], answer["events"], answer["data"]])
}

/// A client over all lives of the server.
struct Client {
    sent: Vec<Sent>,
    fresh: Box<dyn Iterator<Item = Value> + Send>,
}

impl Client {
    fn new(number: usize, workspace: &str) -> Self {
        Self { sent: Vec::new(), fresh: Box::new(commands(number, workspace.to_owned())) }
    }

    /// Sends until the server is gone: first what was left unanswered, then new commands.
    async fn live(mut self, server: Address, acknowledged: Arc<AtomicUsize>) -> Self {
        let http = reqwest::Client::new();
        loop {
            if self.sent.iter().all(|sent| sent.answer.is_some()) {
                let command = self.fresh.next().unwrap();
                self.sent.push(Sent { command, answer: None });
            }
            for one in self.sent.iter_mut().filter(|one| one.answer.is_none()) {
                let Some((status, answer)) = send(&http, &server, &one.command).await else { return self };
                // The first application of a client depends on itself: a refusal, and an answer too.
                assert!(matches!(status, 200 | 201 | 422), "{status}: {answer} for {}", one.command);
                one.answer = Some(answer);
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_commands_survive_kill_9_and_are_never_repeated() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let http = reqwest::Client::new();

    let server = Server::start();
    let workspace = Uuid::from_u128(0xb << 124).to_string();
    let create = json!({
        "type": "access.workspace.create", "client_request_id": "workspace", "aggregate_id": workspace,
        "payload": {"name": "Kill", "slug": "kill"},
    });
    let (status, answer) = send(&http, &address(&server.data()), &create).await.unwrap();
    assert_eq!(status, 201, "{answer}");
    let mut directory = server.kill();

    let mut clients: Vec<_> = (0..CLIENTS).map(|client| Client::new(client, &workspace)).collect();
    for round in 0..ROUNDS {
        let server = Server::on(directory, &[]);
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let enough = random.random_range(1..150);
        let live = |client: Client| tokio::spawn(client.live(address(&server.data()), Arc::clone(&acknowledged)));
        let lives: Vec<_> = clients.drain(..).map(live).collect();
        let started = Instant::now();
        while acknowledged.load(Ordering::Relaxed) < enough {
            assert!(started.elapsed() < PATIENCE, "round {round}: no {enough} answers");
            assert!(!lives.iter().all(tokio::task::JoinHandle::is_finished), "round {round}: every client gave up");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Anywhere within the next few commits: the moment is the point, nothing is waited for.
        tokio::time::sleep(Duration::from_micros(random.random_range(0..5_000))).await;
        directory = server.kill();
        for life in lives {
            clients.push(life.await.unwrap());
        }
    }

    let server = Server::on(directory, &[]);
    let (accepted, found) = send_all_again(&http, &address(&server.data()), &clients).await;
    println!("{} commands accepted, {found} of them before a kill took the answer", accepted.len());
    let (code, directory) = server.stop();
    assert_eq!(code, Some(0));
    for arguments in [&["log", "verify"][..], &["verify"]] {
        run(directory.path(), arguments).exits(0);
    }
    // The log holds the accepted commands' events and nothing else.
    let stats = run(directory.path(), &["log", "stats", "-o", "json"]).exits(0).json();
    let events: u64 = stats["partitions"].as_array().unwrap().iter().map(|p| p["events"].as_u64().unwrap()).sum();
    assert_eq!(events, accepted.values().sum::<u64>() + 1);
}

/// Every command that was ever sent, once more: what was acknowledged is answered as it was then, not repeated.
/// Returns the events of each accepted command, and how many had lost their answer to a kill.
async fn send_all_again(
    http: &reqwest::Client,
    server: &Address,
    clients: &[Client],
) -> (BTreeMap<String, u64>, usize) {
    let (mut accepted, mut found) = (BTreeMap::new(), 0);
    for one in clients.iter().flat_map(|client| &client.sent) {
        let (status, again) = send(http, server, &one.command).await.unwrap();
        match &one.answer {
            Some(before) if is_accepted(before) => {
                assert_eq!((status, &again["replayed"]), (200, &json!(true)), "applied again: {}", one.command);
                assert_eq!(essence(&again), essence(before));
            }
            Some(_) => assert_eq!(status, 422, "{again}"),
            None => found += usize::from(again["replayed"] == true),
        }
        if is_accepted(&again) {
            let events = again["events"].as_array().unwrap().len() as u64;
            accepted.insert(one.command["client_request_id"].as_str().unwrap().to_owned(), events);
        }
    }
    (accepted, found)
}
