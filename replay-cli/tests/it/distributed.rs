//! The same commands on a log on Kafka and read models in PostgreSQL, and two deployments on the same servers.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use annals_dev::kafka::Cluster;
use annals_dev::postgres::{self, Database};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};
use uuid::Uuid;

use crate::server::{Server, run};

/// One broker for the tests that run at the same time, gone with the last of them: nothing that is static is dropped.
fn broker() -> Arc<Cluster> {
    static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Cluster::start(1).unwrap());
        *shared = Arc::downgrade(&started);
        started
    })
}

fn database() -> Database {
    postgres::shared().unwrap().fresh_database().unwrap()
}

/// A server of a deployment with its own prefix and database.
fn up(broker: &Cluster, prefix: &str, database: &Database, more: &[&str]) -> Server {
    let brokers = broker.addresses();
    let deployment = ["--log", "kafka", "--brokers", &brokers, "--prefix", prefix, "--partitions", "2"];
    let arguments = [&deployment[..], &["--read-models", &database.url], more].concat();
    Server::on(tempfile::tempdir().unwrap(), &arguments)
}

/// Makes a workspace and an application in it; the application's answer.
fn fill(server: &Server, name: &str) -> Value {
    let workspace = r#"{"name": "Home", "slug": "home"}"#;
    server.run(&["command", "send", "access.workspace.create", "--payload", workspace]).exits(0);
    let payload = json!({ "name": name }).to_string();
    let register = ["command", "send", "portfolio.application.register", "--workspace", "home", "--payload", &payload];
    let sent = server.run(&[&register[..], &["-o", "json"]].concat()).exits(0).json();
    let token = sent["consistency_token"].as_str().unwrap();
    let asked = ["query", "portfolio.applications", "--workspace", "home", "--consistency-token", token, "-o", "json"];
    assert!(server.run(&asked).exits(0).stdout().contains(name));
    sent
}

#[test]
fn the_data_directory_alone_leads_every_command_to_kafka_and_postgres() {
    let (broker, database) = (broker(), database());
    let server = up(&broker, "alone", &database, &[]);
    fill(&server, "billing");
    // Beside the server, by what it wrote down.
    let verified = server.run(&["log", "verify", "-o", "json"]).exits(0).json();
    assert_eq!((&verified["ok"], &verified["events"]), (&json!(true), &json!(2)));
    server.run(&["log", "stats"]).exits(0);
    server.run(&["plan", "portfolio"]).exits(0);
    server.run(&["rebuild", "portfolio", "--yes"]).exits(0);
    server.run(&["verify", "portfolio", "--generation", "2"]).exits(0);
    server.run(&["promote", "portfolio"]).exits(0);
    let live = |server: &Server| {
        let status = server.run(&["status", "-o", "json"]).exits(0).json();
        let generations = status["generations"].as_array().unwrap().clone();
        let live = generations.into_iter().find(|one| one["read_model"] == "portfolio" && one["state"] == "live");
        live.unwrap()["generation"].clone()
    };
    assert_eq!(live(&server), 2);
    server.run(&["rollback", "portfolio"]).exits(0);
    assert_eq!(live(&server), 1);
    // Behind the next promotion generation 2 goes, which was retired before 1 is.
    server.run(&["rebuild", "portfolio", "--yes"]).exits(0);
    let promoted = server.run(&["promote", "portfolio", "-o", "json"]).exits(0).json();
    assert_eq!((&promoted["generation"], &promoted["dropped"]), (&json!(3), &json!([2])));
    server.run(&["rollback", "portfolio"]).exits(0);
    assert_eq!(live(&server), 1);
    server.run(&["drop", "portfolio", "--generation", "3", "--yes"]).exits(0);
    server.run(&["rollback", "portfolio"]).exits(1);
    let shown = server.run(&["config", "show", "-o", "json"]).exits(0).stdout();
    assert!(shown.contains("annals.toml") && shown.contains("alone"), "{shown}");
    // And the next server.
    let (code, directory) = server.stop();
    assert_eq!(code, Some(0));
    run(directory.path(), &["verify"]).exits(0);
    let again = Server::on(directory, &[]);
    let asked = again.run(&["query", "portfolio.applications", "--workspace", "home", "-o", "json"]).exits(0);
    assert!(asked.stdout().contains("billing"));
}

#[test]
fn a_prefix_that_nobody_serves_is_named_and_no_topic_is_made() {
    let (broker, directory) = (broker(), tempfile::tempdir().unwrap());
    let file = format!("[log]\nkind = 'kafka'\nbrokers = '{}'\nprefix = 'misspelt'", broker.addresses());
    std::fs::write(directory.path().join("annals.toml"), file).unwrap();
    for reads in [
        &["log", "stats"][..],
        &["log", "verify"],
        &["status"],
        &["plan", "portfolio"],
        &["rebuild", "portfolio", "--yes"],
        &["verify"],
        &["promote", "portfolio"],
        &["rollback", "portfolio"],
    ] {
        let said = run(directory.path(), reads).exits(2).stderr();
        assert!(said.contains("there is no log with the prefix \"misspelt\""), "{reads:?}: {said}");
        assert!(!said.contains("annals up"), "a server would make another log: {said}");
    }
    let made: Vec<_> = broker.topics().unwrap().into_iter().filter(|topic| topic.starts_with("misspelt")).collect();
    assert!(made.is_empty(), "looking made {made:?}");
}

#[test]
fn nothing_of_a_deployment_of_one_tenant_is_reachable_from_another_on_the_same_servers() {
    let tenants = [Uuid::from_u128(1).to_string(), Uuid::from_u128(2).to_string()];
    let broker = broker();
    let databases = [database(), database()];
    let servers: Vec<Server> =
        (0..2).map(|n| up(&broker, ["one", "two"][n], &databases[n], &["--tenant-only", &tenants[n]])).collect();
    let sent: Vec<Value> = (0..2).map(|n| fill(&servers[n], ["secret-of-one", "secret-of-two"][n])).collect();
    for (own, other) in [(0, 1), (1, 0)] {
        let (server, others) = (&servers[own], &servers[other]);
        // Its log has its own two events, and no record of the other's.
        let verified = server.run(&["log", "verify", "-o", "json"]).exits(0).json();
        assert_eq!(verified["events"], 2);
        let rows = server.run(&["query", "portfolio.applications", "--workspace", "home", "-o", "json"]).exits(0);
        assert!(!rows.stdout().contains(["secret-of-one", "secret-of-two"][other]));
        // A token of the other server is no token here; nor is one of the other tenant, signed with this server's own key.
        let foreign = others.run(&["token", "mint"]).exits(0).stdout();
        let refused =
            server.run(&["query", "portfolio.applications", "--workspace", "home", "--token", foreign.trim()]);
        assert!(refused.exits(1).stderr().contains("not a token of this server"));
        let forged =
            server.run(&["token", "mint", "--tenant", &tenants[other], "--role", "operator"]).exits(0).stdout();
        let refused = server.run(&["query", "portfolio.applications", "--workspace", "home", "--token", forged.trim()]);
        assert!(refused.exits(1).stderr().contains("serves one tenant alone"));
        // The other's aggregate, by its id, and its consistency token.
        let id = sent[other]["aggregate"]["id"].as_str().unwrap();
        server.run(&["history", "portfolio.application", id, "--workspace", "home"]).exits(1);
        let token = sent[other]["consistency_token"].as_str().unwrap();
        let asked = ["query", "portfolio.applications", "--workspace", "home", "--consistency-token", token];
        assert!(server.run(&asked).exits(2).stderr().contains("not a consistency token of this deployment"));
        // Its role does not get into the other's database.
        let url: PgConnectOptions = databases[own].url.parse().unwrap();
        let connecting = url.database(&databases[other].name);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let refused = runtime.block_on(connecting.connect()).unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{refused}");
    }
}

#[test]
fn a_server_stops_in_time_whatever_its_brokers_do() {
    let database = database();
    let mut broker = Cluster::start(1).unwrap();
    for is_killed in [false, true] {
        let server = up(&broker, "stops", &database, &[]);
        match is_killed {
            false => broker.pause(0).unwrap(),
            true => broker.kill(0).unwrap(),
        }
        let asked = Instant::now();
        let (code, _directory) = server.stop();
        assert_eq!(code, Some(0), "killed: {is_killed}");
        let longest = Duration::from_millis(annals_projectors::limits::STOP_MS_MAX);
        // Twice: the machine may be busy. Without the limit it takes as long as the clients' timeouts together.
        assert!(asked.elapsed() < 2 * longest, "killed: {is_killed}, {:?}", asked.elapsed());
        if !is_killed {
            broker.resume(0).unwrap();
        }
    }
}
