//! Several processes on one read model: killed, paused, asked to stop, started too early.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_dev::kafka::Cluster;
use annals_dev::postgres::Server;
use annals_engine::log::kafka::{KafkaLog, KafkaOptions};
use annals_engine::runner::ReadModels;
use annals_engine::telemetry::{self, Sampler};
use annals_platform::application;
use nix::sys::signal::Signal;

use crate::world::{PATIENCE, Projector, World, command, get, largest, metrics, wait_until};

/// About two seconds are promised; a busy machine gets some more.
const TAKES_OVER_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_takes_over_from_one_that_is_killed_or_paused_and_nothing_is_applied_twice() {
    let mut world = World::new().await;
    let data = world.directory.path().to_owned();
    world.register(20).await;
    let mut first = Projector::start(&data);
    let second = Projector::start(&data);
    world.register(50).await;
    world.rows_are_there().await;
    first.signal(Signal::SIGKILL);
    assert_eq!(first.ends(), None);
    world.register(20).await;
    let took = world.rows_are_there().await;
    assert!(took < TAKES_OVER_WITHIN, "{took:?} after a kill");
    // One that is paused, and one that is there instead.
    let third = Projector::start(&data);
    second.signal(Signal::SIGSTOP);
    world.register(20).await;
    let took = world.rows_are_there().await;
    assert!(took < TAKES_OVER_WITHIN, "{took:?} after a pause");
    // It goes on from a checkpoint that is long past.
    second.signal(Signal::SIGCONT);
    world.register(50).await;
    world.rows_are_there().await;
    world.rows_are_the_fold_of_the_log().await;
    drop((second, third));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_that_is_paused_is_seen_by_its_lag_from_another_process() {
    let mut world = World::new().await;
    let data = world.directory.path().to_owned();
    world.register(5).await;
    let mut projector = Projector::start(&data);
    let own = projector.is_ready(&data)["metrics"].as_str().unwrap().to_owned();
    world.rows_are_there().await;
    // What every node does: it runs nothing, and measures all the same.
    let seen_from_outside = annals_projectors::process::metrics::serve("127.0.0.1:0".parse().unwrap()).unwrap();
    let node = format!("http://{seen_from_outside}/metrics");
    // Whoever takes this port for another one must not find all well there.
    for path in ["/", "/readyz", "/health", "/metrics/more"] {
        let answer = get(&seen_from_outside.to_string(), path);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    assert!(metrics(&node).starts_with("HTTP/1.1 200 "));
    let store = world.store.handle();
    let observed = Arc::new(ReadModels::observe(world.log.clone(), store.clone()).await.unwrap());
    let mut sampler = Sampler::new(world.log.clone(), store, observed.clone(), None);
    sampler.sample().await;
    assert_eq!(largest(&metrics(&node), telemetry::LAG_SECONDS), 0.0);
    projector.signal(Signal::SIGSTOP);
    world.register(3).await;
    sampler.sample().await;
    let earlier = metrics(&node);
    assert!(largest(&earlier, telemetry::LAG_EVENTS) >= 1.0, "{earlier}");
    let began = largest(&earlier, telemetry::LAG_SECONDS);
    let grows = async {
        while largest(&metrics(&node), telemetry::LAG_SECONDS) < began + 1.0 {
            sampler.sample().await;
        }
    };
    tokio::time::timeout(PATIENCE, grows).await.unwrap();
    projector.signal(Signal::SIGCONT);
    world.rows_are_there().await;
    sampler.sample().await;
    let after = metrics(&node);
    assert_eq!(largest(&after, telemetry::LAG_SECONDS), 0.0, "{after}");
    assert!(after.contains(&format!("{} 0", telemetry::VOIDED)), "{after}");
    // It tells the same of itself, and what it did.
    wait_until("the projector says that it has no lag", || largest(&metrics(&own), telemetry::LAG_SECONDS) == 0.0);
    assert!(largest(&metrics(&own), telemetry::APPLIED) >= 8.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_waits_for_a_log_that_is_not_there_yet_and_stops_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_owned();
    let mut projector = Projector::begin(&data, Stdio::piped());
    let mut said = BufReader::new(projector.stderr()).lines();
    let waiting = said.next().unwrap().unwrap();
    assert!(waiting.starts_with("waiting: there is no log at"), "{waiting}");
    let mut world = World::on(directory).await;
    world.register(3).await;
    projector.is_ready(&data);
    world.rows_are_there().await;
    projector.signal(Signal::SIGTERM);
    assert_eq!(projector.ends(), Some(0));
    assert!(!data.join("ready.json").exists());
    let last = said.map_while(Result::ok).last().unwrap();
    assert_eq!(last, "stopped; rows and checkpoints agree");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_waits_for_a_log_on_kafka_and_makes_nothing_of_it() {
    let cluster = Cluster::start(1).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_owned();
    let file = format!("[log]\nkind = 'kafka'\nbrokers = '{}'\nprefix = 'later'", cluster.addresses());
    std::fs::write(data.join("annals.toml"), file).unwrap();
    let mut projector = Projector::begin(&data, Stdio::piped());
    let mut said = BufReader::new(projector.stderr()).lines();
    let waiting = said.next().unwrap().unwrap();
    assert!(waiting.starts_with("waiting: there is no log with the prefix \"later\""), "{waiting}");
    let made = || cluster.topics().unwrap().into_iter().filter(|topic| topic.starts_with("later")).collect::<Vec<_>>();
    assert_eq!(made(), Vec::<String>::new());
    // Its owner wants another number of partitions than a reader would have made.
    let options =
        KafkaOptions { prefix: "later".into(), partitions: Some(3), ..KafkaOptions::new(cluster.addresses()) };
    KafkaLog::connect(options, &application().context_ids()).await.unwrap();
    projector.is_ready(&data);
    projector.signal(Signal::SIGTERM);
    assert_eq!(projector.ends(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_stops_in_time_while_neither_its_brokers_nor_its_database_answer() {
    let (cluster, server) = (Cluster::start(1).unwrap(), Server::start().unwrap());
    let database = server.fresh_database().unwrap();
    let options = KafkaOptions { prefix: "dumb".into(), ..KafkaOptions::new(cluster.addresses()) };
    KafkaLog::connect(options, &application().context_ids()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let log = format!("[log]\nkind = 'kafka'\nbrokers = '{}'\nprefix = 'dumb'", cluster.addresses());
    std::fs::write(directory.path().join("annals.toml"), format!("{log}\n[read_models]\nurl = '{}'", database.url))
        .unwrap();
    for (brokers, rows) in [(true, false), (false, true), (true, true)] {
        let mut projector = Projector::start(directory.path());
        if brokers {
            cluster.pause(0).unwrap();
        }
        if rows {
            server.pause().unwrap();
        }
        let asked = Instant::now();
        projector.signal(Signal::SIGTERM);
        assert_eq!(projector.ends(), Some(0), "brokers paused: {brokers}, database: {rows}");
        // Twice what is promised: the machine may be busy. A paused server answers nobody, however long that takes.
        let longest = Duration::from_millis(2 * annals_projectors::limits::STOP_MS_MAX);
        assert!(asked.elapsed() < longest, "brokers paused: {brokers}, database: {rows}, {:?}", asked.elapsed());
        if brokers {
            cluster.resume(0).unwrap();
        }
        if rows {
            server.resume().unwrap();
        }
    }
}

#[test]
fn a_wrong_command_line_is_refused_with_what_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let there_are = format!("there are {}", application().read_model_names().join(", "));
    for (arguments, words) in [
        (&["--read-model", "portfolios"][..], there_are.as_str()),
        (&["--log", "kafka"], "--brokers"),
        (&["--read-models", "mysql://x"], "postgres://"),
        (&["--metrics", "here"], "127.0.0.1:9464"),
        (&["--config", "/nowhere/annals.toml"], "/nowhere/annals.toml"),
    ] {
        let ended = command(directory.path(), arguments).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_whose_words_nobody_reads_starts_and_stops_in_good_order() {
    let world = World::new().await;
    let data = world.directory.path().to_owned();
    let gone = || Stdio::from(std::io::pipe().unwrap().1);
    let full = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    for (stderr, asked) in [(gone(), Signal::SIGTERM), (full(), Signal::SIGINT)] {
        let mut projector = Projector::begin(&data, stderr);
        projector.is_ready(&data);
        projector.signal(asked);
        wait_until("the projector has stopped", || projector.has_ended());
        assert_eq!(projector.ends(), Some(0), "{asked}");
    }
}
