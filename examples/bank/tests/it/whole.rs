//! The whole bank: the real process, on a directory of its own, over HTTP.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest wait for anything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// `bank …` on a data directory, whatever the environment of the tests says.
fn bank(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bank"));
    command.arg("--data").arg(data).args(arguments).stdin(Stdio::null());
    for name in ["ANNALS_DATA", "ANNALS_URL", "ANNALS_TOKEN", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// Runs a command that must succeed; gives what it printed.
#[track_caller]
fn run(data: &Path, arguments: &[&str]) -> String {
    let output = bank(data, arguments).output().unwrap();
    assert!(output.status.success(), "bank {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// A running bank; killed when dropped.
struct Bank {
    child: Child,
    data: TempDir,
    url: String,
    token: String,
    http: Client,
}

impl Bank {
    /// Starts it, and waits until it says where it listens.
    fn up(data: TempDir, more: &[&str]) -> Self {
        let arguments = [&["up", "--listen", "127.0.0.1:0"], more].concat();
        let mut child = bank(data.path(), &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        let (url, token) = loop {
            let endpoint = std::fs::read(data.path().join("endpoint.json")).unwrap_or_default();
            // What an earlier process left behind has another pid.
            match serde_json::from_slice::<Value>(&endpoint) {
                Ok(endpoint) if endpoint["pid"] == child.id() => {
                    break (text(&endpoint["url"]), text(&endpoint["token"]));
                }
                _ => assert!(started.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "it does not start"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Self { child, data, url, token, http: Client::new() }
    }

    /// kill -9: nothing is said, nothing is finished.
    fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.data, tempfile::tempdir().unwrap())
    }

    /// Sends a command.
    async fn send(&self, name: &str, account: &str, request: &str, payload: Value) -> (StatusCode, Value) {
        let body = json!({"client_request_id": request, "aggregate_id": account, "payload": payload});
        let url = format!("{}/v1/commands/bank.account.{name}", self.url);
        let answer = self.http.post(url).bearer_auth(&self.token).json(&body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// Sends a command that must be accepted; gives the token with which its effect is seen.
    async fn accepted(&self, name: &str, account: &str, request: &str, payload: Value) -> String {
        let (status, answer) = self.send(name, account, request, payload).await;
        assert!(status.is_success(), "{name}: {answer}");
        text(&answer["consistency_token"])
    }

    /// Sends a command that must be refused; gives the refusal's code.
    async fn refused(&self, name: &str, account: &str, request: &str, payload: Value) -> String {
        let (status, answer) = self.send(name, account, request, payload).await;
        assert!(status.is_client_error(), "{name}: {answer}");
        // A rule has its own code; what the engine refuses has one of its list.
        let code = answer.get("rejection").unwrap_or_else(|| &answer["type"]);
        text(code).rsplit(':').next().unwrap().to_owned()
    }

    /// Asks a query; sees at least what `seen` stands for.
    async fn ask(&self, query: &str, seen: &str) -> Value {
        let url = format!("{}/v1/queries/{query}", self.url);
        let request = self.http.get(url).bearer_auth(&self.token).header("Consistency-Token", seen);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{query}");
        answer.json().await.unwrap()
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        // One that has ended already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const ADA: &str = "6b0f5c0e-9c43-4a5e-a1d0-5d0f0c7b9a11";
const BEN: &str = "6b0f5c0e-9c43-4a5e-a1d0-5d0f0c7b9a12";

/// Ada has 70.50 in 1001 after a deposit and a withdrawal, Ben has closed 1002; gives the token of the last command.
async fn business(bank: &Bank) -> String {
    bank.accepted("open", ADA, "1", json!({"number": "1001", "holder": "Ada"})).await;
    bank.accepted("open", BEN, "2", json!({"number": "1002", "holder": "Ben"})).await;
    bank.accepted("deposit", ADA, "3", json!({"amount_cents": 10_000})).await;
    bank.accepted("withdraw", ADA, "4", json!({"amount_cents": 2_950})).await;
    bank.accepted("close", BEN, "5", json!({})).await
}

fn rows(page: &Value, columns: &[&str]) -> Vec<Value> {
    let row = |row: &Value| columns.iter().map(|column| row[*column].clone()).collect();
    page["rows"].as_array().unwrap().iter().map(row).collect()
}

/// What the business above left, in every table.
async fn check_business(bank: &Bank, seen: &str) {
    let accounts = bank.ask("bank.accounts", seen).await;
    let expected = [json!(["1001", "Ada", 7_050, false]), json!(["1002", "Ben", 0, true])];
    assert_eq!(rows(&accounts, &["number", "holder", "balance_cents", "closed"]), expected);
    let movements = bank.ask(&format!("bank.movements?account_id={ADA}"), seen).await;
    assert_eq!(rows(&movements, &["amount_cents"]), [json!([10_000]), json!([-2_950])]);
    let holders = bank.ask("bank.holders", seen).await;
    let expected = [json!(["Ada", 1, 7_050]), json!(["Ben", 1, 0])];
    assert_eq!(rows(&holders, &["holder", "accounts", "balance_cents"]), expected);
}

#[tokio::test]
async fn rules_hold_writes_are_read_back_and_all_of_it_survives_kill_9() {
    let bank = Bank::up(tempfile::tempdir().unwrap(), &[]);
    let seen = business(&bank).await;
    check_business(&bank, &seen).await;
    assert_eq!(bank.refused("withdraw", ADA, "6", json!({"amount_cents": 7_051})).await, "overdraft");
    assert_eq!(bank.refused("close", ADA, "7", json!({})).await, "not_empty");
    assert_eq!(bank.refused("deposit", BEN, "8", json!({"amount_cents": 1})).await, "closed");
    assert_eq!(bank.refused("deposit", ADA, "9", json!({"amount_cents": 0})).await, "invalid-field");
    let third = "6b0f5c0e-9c43-4a5e-a1d0-5d0f0c7b9a13";
    assert_eq!(bank.refused("deposit", third, "10", json!({"amount_cents": 1})).await, "not-found");
    let taken = bank.refused("open", third, "11", json!({"number": "1002", "holder": "Eve"})).await;
    assert_eq!(taken, "unique-key-taken", "a closed account keeps its number");

    let bank = Bank::up(bank.kill(), &[]);
    check_business(&bank, &seen).await;
    // Sent again, as by a client that lost the answer: not done again.
    bank.accepted("deposit", ADA, "3", json!({"amount_cents": 10_000})).await;
    let seen = bank.accepted("deposit", ADA, "12", json!({"amount_cents": 50})).await;
    let page = bank.ask("bank.accounts?number=1001", &seen).await;
    assert_eq!(rows(&page, &["balance_cents"]), [json!([7_100])]);
    run(bank.data.path(), &["verify"]);
    run(bank.data.path(), &["log", "verify"]);
    let shown = run(bank.data.path(), &["command", "show", "bank.account.open"]);
    assert!(shown.contains("bank command send bank.account.open"), "{shown}");
    let history = run(bank.data.path(), &["history", "bank.account", "1001"]);
    assert_eq!(history.matches("account.deposited").count(), 2, "{history}");
}

#[tokio::test]
async fn a_second_version_of_the_read_model_is_built_beside_the_first_verified_and_promoted() {
    let bank = Bank::up(tempfile::tempdir().unwrap(), &["--first-version", "bank=1"]);
    let seen = business(&bank).await;
    check_business(&bank, &seen).await;
    let before = bank.ask("bank.accounts", &seen).await;
    assert_eq!((&before["version"], before["rows"][0].get("movements")), (&json!(1), None));

    let data = bank.data.path();
    assert!(run(data, &["status"]).contains("→ bank rebuild bank"));
    let built: Value = serde_json::from_str(&run(data, &["rebuild", "bank", "--yes", "-o", "json"])).unwrap();
    assert_eq!((&built["version"], &built["state"]), (&json!(2), &json!("ready")));
    run(data, &["verify", "bank", "--generation", &built["generation"].to_string()]);
    assert_eq!(bank.ask("bank.accounts", &seen).await["version"], 1, "nobody has promoted it");
    run(data, &["promote", "bank"]);

    let started = Instant::now();
    let after = loop {
        let page = bank.ask("bank.accounts", &seen).await;
        if page["version"] == 2 {
            break page;
        }
        assert!(started.elapsed() < PATIENCE, "still served from version {}", page["version"]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(rows(&after, &["number", "movements"]), [json!(["1001", 2]), json!(["1002", 0])]);
    check_business(&bank, &seen).await;
    run(data, &["verify"]);
}
