//! The flags that name parts of a deployment, shared by all binaries.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::key::Key;

/// One setting from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The key, as in the file.
    pub name: String,
    /// The flag that gave it.
    pub flag: &'static str,
    /// Its value.
    pub text: String,
}

/// Where a node keeps its files, and where its configuration is.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// Data directory, of this node alone
    #[arg(long, global = true, value_name = "DIR", default_value = "./annals-data", env = "ANNALS_DATA",
          value_hint = ValueHint::DirPath, help_heading = "Global options")]
    pub data: PathBuf,
    /// Configuration file; annals.toml in the data directory unless given
    #[arg(long, global = true, value_name = "FILE", env = "ANNALS_CONFIG", value_hint = ValueHint::FilePath,
          help_heading = "Global options")]
    pub config: Option<PathBuf>,
}

/// Which log, and where the read models are.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Deployment")]
pub struct DeploymentFlags {
    /// Where the event log is: sqlite or kafka
    #[arg(long, value_name = "KIND")]
    pub log: Option<String>,
    /// Addresses of Kafka brokers, host:port, comma-separated
    #[arg(long, value_name = "ADDRS")]
    pub brokers: Option<String>,
    /// First part of the log's topic names
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Partitions per context of a new log
    #[arg(long, value_name = "N")]
    pub partitions: Option<u16>,
    /// A setting of the Kafka client, such as security.protocol=SSL; repeat for more
    #[arg(long, value_name = "KEY=VALUE")]
    pub log_client: Vec<String>,
    /// Database of the read models, postgres://USER@HOST:PORT/DATABASE
    #[arg(long, value_name = "URL", hide_env_values = true)]
    pub read_models: Option<String>,
    /// Address to serve metrics on
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<String>,
    /// Serve this tenant alone
    #[arg(long, value_name = "ID")]
    pub tenant_only: Option<String>,
}

/// How a node serves HTTP.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "HTTP")]
pub struct ApiFlags {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Address that other nodes are told
    #[arg(long, value_name = "ADDR")]
    pub advertise: Option<String>,
    /// Let others than this machine connect, over a network that nobody else listens on: there is no transport security
    #[arg(long)]
    pub trusted_network: bool,
    /// File of the key that signs and verifies tokens, the same for all nodes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub signing_key: Option<PathBuf>,
    /// File of the secret that signs cursors, the same for all nodes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub cursor_key: Option<PathBuf>,
    /// Say that this machine's clock is right, although it was held back because it had jumped ahead
    #[arg(long)]
    pub accept_clock: bool,
}

impl DeploymentFlags {
    /// What was given.
    pub fn given(&self) -> Vec<Given> {
        let partitions = self.partitions.map(|count| count.to_string());
        let mut given: Vec<Given> = [
            of(Key::LogKind, "--log", self.log.as_ref()),
            of(Key::LogBrokers, "--brokers", self.brokers.as_ref()),
            of(Key::LogPrefix, "--prefix", self.prefix.as_ref()),
            of(Key::LogPartitions, "--partitions", partitions.as_ref()),
            of(Key::ReadModelsUrl, "--read-models", self.read_models.as_ref()),
            of(Key::MetricsListen, "--metrics", self.metrics.as_ref()),
            of(Key::TenantOnly, "--tenant-only", self.tenant_only.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect();
        given.extend(self.log_client.iter().map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Given { name: format!("log.client.{name}"), flag: "--log-client", text: value.to_owned() }
        }));
        given
    }
}

impl ApiFlags {
    /// What was given.
    pub fn given(&self) -> Vec<Given> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        [
            of(Key::ApiListen, "--listen", self.listen.as_ref()),
            of(Key::ApiAdvertise, "--advertise", self.advertise.as_ref()),
            of(Key::ApiTrustedNetwork, "--trusted-network", self.trusted_network.then(|| "true".to_owned()).as_ref()),
            of(Key::ApiSigningKey, "--signing-key", path(&self.signing_key).as_ref()),
            of(Key::ApiCursorKey, "--cursor-key", path(&self.cursor_key).as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn of(key: Key, flag: &'static str, text: Option<&String>) -> Option<Given> {
    text.map(|text| Given { name: key.name().to_owned(), flag, text: text.clone() })
}
