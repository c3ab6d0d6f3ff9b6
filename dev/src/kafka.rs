//! A real Apache Kafka for tests, without containers: its own jar files, fetched once with Maven, run as one or more
//! KRaft processes on free ports in a temporary directory. Needs Java 17 or newer and Maven, and fails with these words
//! where they are missing: nothing is skipped.

mod jars;

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use tempfile::TempDir;

/// Longest that a broker may take to start.
const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Tries to find free ports: another program may take one between the look and the start.
const ATTEMPTS: usize = 3;
/// Written by a broker when it serves.
const READY: &str = "Kafka Server started";
/// Any 16 bytes in base64.
const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";

/// A cluster of its own, gone when dropped.
#[derive(Debug)]
pub struct Cluster {
    brokers: Vec<Broker>,
    // Behind the brokers: deleted when they have ended.
    _directory: TempDir,
}

/// One broker, which is a controller as well.
#[derive(Debug)]
struct Broker {
    libs: PathBuf,
    directory: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Cluster {
    /// Starts so many brokers, and returns when all of them serve.
    pub fn start(brokers: usize) -> anyhow::Result<Self> {
        let libs = jars::fetch()?;
        let mut attempt = 1;
        loop {
            match Self::try_start(&libs, brokers) {
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
                started => return started,
            }
        }
    }

    fn try_start(libs: &Path, count: usize) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let ports = free_ports(count * 2)?;
        let (client_ports, controller_ports) = ports.split_at(count);
        let voters: Vec<_> = controller_ports
            .iter()
            .enumerate()
            .map(|(index, port)| format!("{}@127.0.0.1:{port}", index + 1))
            .collect();
        let mut brokers = Vec::new();
        for (index, (port, controller_port)) in client_ports.iter().zip(controller_ports).enumerate() {
            let own = directory.path().join(format!("broker-{}", index + 1));
            std::fs::create_dir(&own)?;
            let properties = properties(index + 1, count, *port, *controller_port, &voters.join(","), &own);
            std::fs::write(own.join("server.properties"), properties)?;
            let broker = Broker { libs: libs.into(), directory: own, port: *port, process: None };
            broker.format()?;
            brokers.push(broker);
        }
        let mut cluster = Self { brokers, _directory: directory };
        cluster.brokers.iter_mut().try_for_each(Broker::spawn)?;
        cluster.brokers.iter_mut().try_for_each(Broker::wait_until_ready)?;
        Ok(cluster)
    }

    /// Addresses of all brokers, comma-separated.
    pub fn addresses(&self) -> String {
        let addresses: Vec<_> = self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.port)).collect();
        addresses.join(",")
    }

    /// Stops a broker where it is (SIGSTOP), and returns when it has stopped. Counted from 0, as all of these.
    pub fn pause(&self, broker: usize) -> anyhow::Result<()> {
        let pid = self.brokers[broker].pid()?;
        kill(pid, Signal::SIGSTOP)?;
        let status = waitpid(pid, Some(WaitPidFlag::WUNTRACED))?;
        ensure!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
        Ok(())
    }

    /// Lets a paused broker go on.
    pub fn resume(&self, broker: usize) -> anyhow::Result<()> {
        Ok(kill(self.brokers[broker].pid()?, Signal::SIGCONT)?)
    }

    /// SIGKILL.
    pub fn kill(&mut self, broker: usize) -> anyhow::Result<()> {
        let mut process = self.brokers[broker].process.take().context("the broker is not running")?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Starts a killed broker again on its own files and ports, and returns when it serves.
    pub fn restart(&mut self, broker: usize) -> anyhow::Result<()> {
        self.brokers[broker].spawn()?;
        self.brokers[broker].wait_until_ready()
    }

    /// Makes a topic as an administrator would; `settings` are names and values.
    pub async fn create_topic(&self, name: &str, partitions: u16, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", self.addresses()).create()?;
        let mut topic = NewTopic::new(name, i32::from(partitions), TopicReplication::Fixed(1));
        topic.config.extend_from_slice(settings);
        let created = admin.create_topics([&topic], &AdminOptions::new().operation_timeout(Some(START))).await?;
        created
            .into_iter()
            .try_for_each(|made| made.map(|_| ()).map_err(|(name, code)| anyhow::anyhow!("topic {name}: {code}")))
    }
}

impl Broker {
    fn java(&self, options: &[&str], class: &str) -> Command {
        let mut command = Command::new("java");
        command.args(options).arg("-XX:TieredStopAtLevel=1").arg("-cp").arg(self.libs.join("*")).arg(class);
        command.current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    fn format(&self) -> anyhow::Result<()> {
        let mut command = self.java(&[], "kafka.tools.StorageTool");
        run(command.args(["format", "-t", CLUSTER_ID, "-c", "server.properties"]))
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        let output = File::create(self.output())?;
        let mut command = self.java(&["-Xmx512m", "-XX:+UseSerialGC"], "kafka.Kafka");
        command.arg("server.properties").stdout(output.try_clone()?).stderr(output);
        self.process = Some(command.spawn().context("java does not start")?);
        Ok(())
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let output = std::fs::read_to_string(self.output())?;
            if output.contains(READY) {
                return Ok(());
            }
            let process = self.process.as_mut().context("the broker is not running")?;
            if let Some(status) = process.try_wait()? {
                bail!("the broker ended with {status}:\n{}", last_lines(&output));
            }
            ensure!(Instant::now() < deadline, "the broker did not start within {START:?}:\n{}", last_lines(&output));
            std::thread::sleep(POLL);
        }
    }

    fn output(&self) -> PathBuf {
        self.directory.join("output")
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        let process = self.process.as_ref().context("the broker is not running")?;
        Ok(Pid::from_raw(process.id().cast_signed()))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Gone already, maybe. SIGKILL ends a paused one as well.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn properties(id: usize, count: usize, port: u16, controller_port: u16, voters: &str, directory: &Path) -> String {
    let copies = count.min(3);
    let in_sync = if copies > 1 { 2 } else { 1 };
    let logs = directory.join("data");
    format!(
        "process.roles=broker,controller\n\
         node.id={id}\n\
         controller.quorum.voters={voters}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={logs}\n\
         offsets.topic.replication.factor={copies}\n\
         offsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor={copies}\n\
         transaction.state.log.min.isr={in_sync}\n\
         transaction.state.log.num.partitions=1\n\
         share.coordinator.state.topic.replication.factor={copies}\n\
         share.coordinator.state.topic.min.isr={in_sync}\n\
         group.initial.rebalance.delay.ms=0\n\
         auto.create.topics.enable=false\n",
        logs = logs.display(),
    )
}

/// Ports that nobody uses now.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    // All held at once, so that they differ.
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{} does not start", command.get_program().display()))?;
    let text = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{command:?} ended with {}:\n{}", output.status, String::from_utf8_lossy(&text));
    Ok(())
}

fn last_lines(output: &str) -> String {
    let lines: Vec<_> = output.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
