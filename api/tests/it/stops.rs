//! A node is asked to stop while its brokers do not answer.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use annals_dev::kafka::relay::{Fault, INIT_PRODUCER_ID};
use annals_dev::kafka::{Cluster, Setup};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What is promised, twice: the machine may be busy. Brokers that are paused answer nobody, however long that takes.
const LONGEST: Duration = Duration::from_millis(2 * annals_projectors::limits::STOP_MS_MAX);
/// How long a node may take to come into the state that a test wants.
const PATIENCE: Duration = Duration::from_secs(90);

/// `annals-api` as a process, killed when dropped.
struct Node {
    process: Child,
    said: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Node {
    fn start(data: &Path, brokers: &str, prefix: &str, port: u16) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_annals-api"));
        command.arg("--data").arg(data).args(["--log", "kafka", "--prefix", prefix, "--partitions", "2"]);
        command.args(["--brokers", brokers, "--listen", &format!("127.0.0.1:{port}")]);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stderr.take().unwrap()).lines();
        Self { process, said }
    }

    /// Reads what it says up to a line that holds these words; that line.
    fn says(&mut self, words: &str) -> String {
        let mut before = Vec::new();
        for line in self.said.by_ref().map_while(Result::ok) {
            if line.contains(words) {
                return line;
            }
            before.push(line);
        }
        panic!("it ended without {words:?}: {before:#?}")
    }

    /// Asks it to stop; how long it took, how it ended, and what it said last.
    fn stop(mut self) -> (Duration, Option<i32>, Option<String>) {
        let asked = Instant::now();
        kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), Signal::SIGTERM).unwrap();
        // To the end: a node whose words are not read may wait for its reader.
        let last = self.said.by_ref().map_while(Result::ok).last();
        let code = self.process.wait().unwrap().code();
        (asked.elapsed(), code, last)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It has ended already, where the test went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until the node that listens there says that it claims a partition.
async fn claims(port: u16) {
    let mut last = String::new();
    let claims = async {
        loop {
            let asked = reqwest::get(format!("http://127.0.0.1:{port}/startupz")).await;
            last = match asked {
                Ok(answer) => answer.text().await.unwrap(),
                Err(error) => error.to_string(),
            };
            if last.contains("is being claimed") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, claims).await.is_ok();
    assert!(in_time, "no claim: {last}");
}

/// Asks it to stop, and checks that it does so in time and in good order.
fn stops(node: Node, what: &str) {
    let (took, code, last) = node.stop();
    assert_eq!(code, Some(0), "{what}: {last:?}");
    assert!(took < LONGEST, "{what}: {took:?}, {last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_in_time_while_its_brokers_do_not_answer() {
    let mut broker = Cluster::start_as(Setup { relayed: true, ..Setup::default() }).unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::start(data.path(), &broker.addresses(), "stops", 0);
    node.says("is ready on");
    broker.pause(0).unwrap();
    stops(node, "it serves");
    broker.resume(0).unwrap();

    // The same log: all that a start writes there before it claims is written. Its claim has no answer.
    let port = free_port();
    broker.relay().unwrap().arm(&[(INIT_PRODUCER_ID, Fault::Hold)]);
    let node = Node::start(data.path(), &broker.relayed_address().unwrap(), "stops", port);
    tokio::task::block_in_place(|| broker.relay().unwrap().wait_until_held()).unwrap();
    claims(port).await;
    broker.pause(0).unwrap();
    stops(node, "it claims");
    broker.resume(0).unwrap();
    broker.relay().unwrap().let_go();

    broker.kill(0).unwrap();
    let mut node = Node::start(data.path(), &broker.addresses(), "stops", 0);
    node.says("waiting");
    stops(node, "it has found no broker");
}
