//! A real Apache Kafka for tests, without containers: its own jar files, fetched once with Maven, run as one or more
//! KRaft processes on free ports in a temporary directory. Needs Java 17 or newer and Maven, and fails with these words
//! where they are missing: nothing is skipped.

mod acls;
mod jars;
pub mod relay;

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
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;

pub use self::acls::Resource;
use self::relay::Relay;
use crate::guardian::Guardian;

/// Longest that a broker may take to start.
const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Tries to find free ports: another program may take one between the look and the start.
const ATTEMPTS: usize = 3;
/// Written by a broker when it serves.
const READY: &str = "Kafka Server started";
/// Any 16 bytes in base64.
const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";

/// What a cluster is like.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// So many brokers.
    pub brokers: usize,
    /// Clients may also come through a [`Relay`] to the first broker.
    pub relayed: bool,
    /// Clients may also come as users with passwords, and may then do only what they are granted.
    pub secured: bool,
}

impl Default for Setup {
    /// One broker, and nothing else.
    fn default() -> Self {
        Self { brokers: 1, relayed: false, secured: false }
    }
}

/// A user of a secured cluster; its password is its name.
pub const USER: &str = "annals";

/// A cluster of its own, gone when dropped.
#[derive(Debug)]
pub struct Cluster {
    brokers: Vec<Broker>,
    relay: Option<Relay>,
    // Behind the brokers: nothing is left for it to end, but their directory.
    #[cfg_attr(not(test), expect(dead_code, reason = "held for its drop"))]
    guardian: Guardian,
}

/// One broker, which is a controller as well.
#[derive(Debug)]
struct Broker {
    libs: PathBuf,
    directory: PathBuf,
    ports: Ports,
    process: Option<Child>,
}

/// Where a broker listens.
#[derive(Clone, Copy, Debug)]
struct Ports {
    plain: u16,
    controller: u16,
    /// For whoever comes through the relay.
    behind_relay: u16,
    /// For users.
    secured: u16,
}

/// Ends brokers that are left.
const END: &str = r#"
    for file in "$0"/broker-*/pid; do
        pid=$(cat "$file" 2> /dev/null)
        if [ -n "$pid" ] && tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null | grep -q ' kafka.Kafka '; then
            kill -KILL "$pid"
            while [ -e "/proc/$pid/cmdline" ] && [ -s "/proc/$pid/cmdline" ]; do sleep 0.05; done
        fi
    done"#;

impl Cluster {
    /// Starts so many brokers, and returns when all of them serve.
    pub fn start(brokers: usize) -> anyhow::Result<Self> {
        Self::start_as(Setup { brokers, ..Setup::default() })
    }

    /// The same with more.
    pub fn start_as(setup: Setup) -> anyhow::Result<Self> {
        let libs = jars::fetch()?;
        let mut attempt = 1;
        loop {
            match Self::try_start(&libs, setup) {
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
                started => return started,
            }
        }
    }

    fn try_start(libs: &Path, setup: Setup) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("annals-kafka-").tempdir()?.keep();
        let guardian = Guardian::start(END, &directory)?;
        let count = setup.brokers;
        let ports: Vec<_> = free_ports(count * 4)?
            .chunks_exact(4)
            .map(|ports| Ports { plain: ports[0], controller: ports[1], behind_relay: ports[2], secured: ports[3] })
            .collect();
        let relay = match setup.relayed {
            true => Some(Relay::start(TcpListener::bind("127.0.0.1:0")?, ports[0].behind_relay)?),
            false => None,
        };
        let voters: Vec<_> =
            (1..).zip(&ports).map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.controller)).collect();
        let mut brokers = Vec::new();
        for (id, ports) in (1..).zip(&ports) {
            let own = directory.join(format!("broker-{id}"));
            std::fs::create_dir(&own)?;
            let mut text = properties(id, count, &voters.join(","), &own);
            text.push_str(&listeners(*ports, setup, relay.as_ref().map(Relay::port)));
            std::fs::write(own.join("server.properties"), text)?;
            let broker = Broker { libs: libs.into(), directory: own, ports: *ports, process: None };
            broker.format()?;
            brokers.push(broker);
        }
        let mut cluster = Self { brokers, relay, guardian };
        cluster.brokers.iter_mut().try_for_each(Broker::spawn)?;
        cluster.brokers.iter_mut().try_for_each(Broker::wait_until_ready)?;
        Ok(cluster)
    }

    /// What clients of [`Self::relayed_address`] come through.
    pub fn relay(&self) -> anyhow::Result<&Relay> {
        self.relay.as_ref().context("the cluster was started without a relay")
    }

    /// The first broker through the relay; it names no other address to who comes this way.
    pub fn relayed_address(&self) -> anyhow::Result<String> {
        Ok(format!("127.0.0.1:{}", self.relay()?.port()))
    }

    /// The first broker for [`USER`], with `SASL_PLAINTEXT` and `PLAIN`. Everybody may do everything at
    /// [`Self::addresses`] all the same.
    pub fn secured_address(&self) -> String {
        format!("127.0.0.1:{}", self.brokers[0].ports.secured)
    }

    /// Lets [`USER`] do everything with what begins with `prefix`.
    pub fn allow(&self, resource: Resource, prefix: &str) -> anyhow::Result<()> {
        acls::allow(self.brokers[0].ports.plain, USER, resource, prefix)
    }

    /// Addresses of all brokers, comma-separated.
    pub fn addresses(&self) -> String {
        let addresses: Vec<_> = self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.ports.plain)).collect();
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

    fn administrator(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        Ok(ClientConfig::new().set("bootstrap.servers", self.addresses()).create()?)
    }

    /// Gives a topic these settings, and no others.
    pub async fn change_topic(&self, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(name));
        for (setting, value) in settings {
            change = change.set(setting, value);
        }
        let changed = self.administrator()?.alter_configs([&change], &within_start()).await?;
        changed.into_iter().try_for_each(|done| match done {
            Ok(_) => Ok(()),
            Err((_, code)) => bail!("topic {name}: {code}"),
        })
    }

    /// Adds partitions to a topic, up to `count`.
    pub async fn add_partitions(&self, name: &str, count: usize) -> anyhow::Result<()> {
        let added =
            self.administrator()?.create_partitions([&NewPartitions::new(name, count)], &within_start()).await?;
        checked(added)
    }

    /// Deletes a topic.
    pub async fn delete_topic(&self, name: &str) -> anyhow::Result<()> {
        checked(self.administrator()?.delete_topics(&[name], &within_start()).await?)
    }

    /// The names of all topics that the brokers have.
    pub fn topics(&self) -> anyhow::Result<Vec<String>> {
        let metadata = self.administrator()?.inner().fetch_metadata(None, START)?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// Makes a topic as an administrator would; `settings` are names and values.
    pub async fn create_topic(&self, name: &str, partitions: u16, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        let admin = self.administrator()?;
        let mut topic = NewTopic::new(name, i32::from(partitions), TopicReplication::Fixed(1));
        topic.config.extend_from_slice(settings);
        checked(admin.create_topics([&topic], &within_start()).await?)
    }
}

fn within_start() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(START))
}

fn checked(results: Vec<TopicResult>) -> anyhow::Result<()> {
    results
        .into_iter()
        .try_for_each(|done| done.map(|_| ()).map_err(|(name, code)| anyhow::anyhow!("topic {name}: {code}")))
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
        let process = command.spawn().context("java does not start")?;
        // For the guardian.
        std::fs::write(self.directory.join("pid"), process.id().to_string())?;
        self.process = Some(process);
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

fn properties(id: usize, count: usize, voters: &str, directory: &Path) -> String {
    let copies = count.min(3);
    let in_sync = if copies > 1 { 2 } else { 1 };
    let logs = directory.join("data");
    format!(
        "process.roles=broker,controller\n\
         node.id={id}\n\
         controller.quorum.voters={voters}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAINTEXT\n\
         log.dirs={logs}\n\
         offsets.topic.replication.factor={copies}\n\
         offsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor={copies}\n\
         transaction.state.log.min.isr={in_sync}\n\
         transaction.state.log.num.partitions=1\n\
         transaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n\
         share.coordinator.state.topic.replication.factor={copies}\n\
         share.coordinator.state.topic.min.isr={in_sync}\n\
         group.initial.rebalance.delay.ms=0\n\
         auto.create.topics.enable=false\n",
        logs = logs.display(),
    )
}

/// Where a broker listens, and for whom.
fn listeners(ports: Ports, setup: Setup, relay: Option<u16>) -> String {
    // Name, protocol, port, the port that clients are told.
    let mut listeners = vec![("PLAINTEXT", "PLAINTEXT", ports.plain, ports.plain)];
    if let Some(relay) = relay.filter(|_| setup.relayed) {
        listeners.push(("RELAYED", "PLAINTEXT", ports.behind_relay, relay));
    }
    let mut text = String::new();
    if setup.secured {
        listeners.push(("USERS", "SASL_PLAINTEXT", ports.secured, ports.secured));
        // Whoever comes without a password is the tests' administrator.
        text = format!(
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS\n\
             listener.name.users.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.users.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{USER}\";\n"
        );
    }
    let (mut bound, mut advertised, mut protocols) = (String::new(), String::new(), String::new());
    for (name, protocol, port, told) in listeners {
        bound += &format!("{name}://127.0.0.1:{port},");
        advertised += &format!("{name}://127.0.0.1:{told},");
        protocols += &format!("{name}:{protocol},");
    }
    text += &format!(
        "listeners={bound}CONTROLLER://127.0.0.1:{}\n\
         advertised.listeners={}\n\
         listener.security.protocol.map={protocols}CONTROLLER:PLAINTEXT\n",
        ports.controller,
        advertised.trim_end_matches(','),
    );
    text
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

#[cfg(test)]
mod tests;
