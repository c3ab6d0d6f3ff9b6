//! Which log, which read models, which addresses? A deployment is read from one TOML file, `ANNALS_…` variables and
//! flags; the later wins, unknown names are refused, and every value remembers who said so.
//!
//! All binaries read the same file: a node is told apart from another one by its data directory and its flags.

mod error;
mod flags;
mod key;
mod open;
mod origin;
mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use annals_engine::generations::keep::Keep;
#[cfg(feature = "kafka")]
use annals_engine::log::kafka::KafkaOptions;
use annals_model::ids::TenantId;

pub use self::error::{ConfigError, OpenLogError, OpenStoreError};
pub use self::flags::{ApiFlags, DeploymentFlags, Given, Place};
pub use self::key::Key;
pub use self::open::{Access, OpenLog, until_there};
pub use self::origin::Origin;
use self::settings::{Setting, Settings};

/// The configuration file of a data directory.
pub const FILE: &str = "annals.toml";

/// Everything that a process must know of its surroundings.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// A directory of the node's own.
    pub data: PathBuf,
    /// The event log.
    pub log: LogSettings,
    /// The read models.
    pub read_models: ReadModelsSettings,
    /// How many retired generations of each stay behind a promotion.
    pub keep: Keep,
    /// HTTP.
    pub api: ApiSettings,
    /// Where metrics are served; nowhere unless given.
    pub metrics_listen: Option<SocketAddr>,
    /// The only tenant that a server serves; all unless given.
    pub tenant_only: Option<TenantId>,
    settings: Settings,
}

/// Which log.
#[derive(Clone, Debug)]
pub enum LogSettings {
    /// A file in the data directory.
    Sqlite {
        /// Partitions per context of a new log.
        partitions: Option<u16>,
    },
    /// The brokers' topics.
    #[cfg(feature = "kafka")]
    Kafka(KafkaOptions),
}

/// Which read models.
#[derive(Clone, PartialEq, Eq)]
pub enum ReadModelsSettings {
    /// Files in the data directory.
    Sqlite,
    /// A database of PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres {
        /// `postgres://ROLE@HOST:PORT/DATABASE`.
        url: String,
    },
}

impl fmt::Debug for ReadModelsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite => f.write_str("Sqlite"),
            #[cfg(feature = "postgres")]
            Self::Postgres { url } => f.debug_struct("Postgres").field("url", &without_password(url)).finish(),
        }
    }
}

/// How a node serves HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiSettings {
    /// Where it listens.
    pub listen: Option<String>,
    /// What other nodes are told.
    pub advertise: Option<String>,
    /// It may listen beyond loopback: whoever says so keeps strangers away from its network.
    pub trusted_network: bool,
    /// File of the tokens' key.
    pub signing_key: Option<PathBuf>,
    /// File of the cursors' secret.
    pub cursor_key: Option<PathBuf>,
}

/// A value as a person is shown it, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key.
    pub name: String,
    /// Its value; empty where nobody gave one and there is no default.
    pub value: String,
    /// Who says so.
    pub origin: Origin,
    /// What it means; empty for librdkafka's own.
    pub meaning: &'static str,
}

impl Deployment {
    /// Reads the configuration: the file, then this process's environment, then flags.
    pub fn read(place: &Place, flags: Vec<Given>) -> Result<Self, ConfigError> {
        Self::resolve(place, std::env::vars_os().filter_map(both_unicode), flags)
    }

    /// The same with an environment of the caller's choice.
    pub fn resolve(
        place: &Place,
        environment: impl Iterator<Item = (String, String)>,
        flags: Vec<Given>,
    ) -> Result<Self, ConfigError> {
        let mut settings = Settings::default();
        let file = place.config.clone().unwrap_or_else(|| place.data.join(FILE));
        match fs::read_to_string(&file) {
            Ok(text) => settings.add_file(&file, &text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && place.config.is_none() => {}
            Err(error) => return Err(ConfigError::Unreadable { path: file, cause: error.to_string() }),
        }
        settings.add_environment(environment)?;
        settings.add_flags(flags)?;
        Self::of(&place.data, settings)
    }

    fn of(data: &Path, settings: Settings) -> Result<Self, ConfigError> {
        let text = |key: Key| settings.own.get(&key).map(|setting| setting.text.clone());
        is_built(&settings, BACKENDS)?;
        let parse = Parse { settings: &settings };
        Ok(Self {
            data: data.to_owned(),
            log: parse.log()?,
            read_models: parse.read_models()?,
            keep: parse.value(Key::ReadModelsKeep, "a whole number from 1 to 16")?.unwrap_or_default(),
            api: ApiSettings {
                listen: text(Key::ApiListen),
                advertise: text(Key::ApiAdvertise),
                trusted_network: parse.value(Key::ApiTrustedNetwork, "write true or false")?.unwrap_or(false),
                signing_key: text(Key::ApiSigningKey).map(PathBuf::from),
                cursor_key: text(Key::ApiCursorKey).map(PathBuf::from),
            },
            metrics_listen: parse.value(Key::MetricsListen, "write it as 127.0.0.1:9464")?,
            tenant_only: parse.value(Key::TenantOnly, "a tenant is a UUID")?,
            settings,
        })
    }

    /// The embedded log's file.
    pub fn log_path(&self) -> PathBuf {
        self.data.join("log.db")
    }

    /// Every value and who says so; secrets are masked.
    pub fn show(&self) -> Vec<Shown> {
        let mut shown = Vec::new();
        for key in Key::ALL {
            let (value, origin) = match self.settings.own.get(&key) {
                Some(Setting { text, origin }) => (without_password(text), origin.clone()),
                None => (self.default_of(key).to_owned(), Origin::Default),
            };
            shown.push(Shown { name: key.name().to_owned(), value, origin, meaning: key.meaning() });
        }
        shown.extend(self.settings.client.iter().map(|(name, Setting { text, origin })| Shown {
            name: format!("log.client.{name}"),
            value: if is_secret(name) { MASK.to_owned() } else { text.clone() },
            origin: origin.clone(),
            meaning: "",
        }));
        shown
    }

    fn default_of(&self, key: Key) -> &'static str {
        match key {
            Key::LogKind => "sqlite",
            Key::LogPrefix if !matches!(self.log, LogSettings::Sqlite { .. }) => "annals",
            Key::ReadModelsKeep => "1",
            Key::ApiListen => "127.0.0.1:0",
            _ => "",
        }
    }

    /// The file that makes every other command find this deployment by its data directory alone; what environment and
    /// flags said of log, read models and tenant is in it. Nothing where all of that is the default. Secrets of the
    /// client of Kafka stay out: they belong into the environment, or into a file that somebody writes on purpose.
    pub fn to_file(&self) -> Option<String> {
        let kept = [
            Key::LogKind,
            Key::LogBrokers,
            Key::LogPrefix,
            Key::LogPartitions,
            Key::ReadModelsUrl,
            Key::ReadModelsKeep,
            Key::TenantOnly,
        ];
        let mut root = toml::Table::new();
        for (key, setting) in self.settings.own.iter().filter(|(key, _)| kept.contains(key)) {
            let value = match key {
                Key::LogPartitions | Key::ReadModelsKeep => {
                    setting.text.parse().map_or_else(|_| setting.text.clone().into(), toml::Value::Integer)
                }
                _ => setting.text.clone().into(),
            };
            insert(&mut root, key.name(), value);
        }
        let free = self.settings.client.iter().filter(|(name, _)| !is_secret(name));
        let client: toml::Table = free.map(|(name, setting)| (name.clone(), setting.text.clone().into())).collect();
        if !client.is_empty() {
            insert(&mut root, "log.client", client.into());
        }
        (!root.is_empty()).then(|| root.to_string())
    }
}

const MASK: &str = "•••";

/// Puts a value into its section.
fn insert(root: &mut toml::Table, name: &str, value: toml::Value) {
    let Some((section, key)) = name.split_once('.') else { return };
    let section = root.entry(section).or_insert_with(|| toml::Table::new().into());
    if let toml::Value::Table(section) = section {
        section.insert(key.to_owned(), value);
    }
}

fn both_unicode((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

/// True for settings of librdkafka whose value is nobody else's business.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "key.pem", "oauthbearer.config"].iter().any(|part| name.contains(part))
}

/// A URL with its password masked.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let masked_query = match path.split_once("password=") {
        Some((before, after)) => {
            let behind = after.find('&').map_or("", |at| &after[at..]);
            format!("{before}password={MASK}{behind}")
        }
        None => path.to_owned(),
    };
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split_once(':').map_or_else(|| user.to_owned(), |(name, _)| format!("{name}:{MASK}"));
            format!("{scheme}://{user}@{host}{masked_query}")
        }
        None => format!("{scheme}://{authority}{masked_query}"),
    }
}

/// What values begin with that ask for more than files, each with the feature of this package of the same name, and
/// whether this build has it.
const BACKENDS: [(Key, &str, bool); 2] =
    [(Key::LogKind, "kafka", cfg!(feature = "kafka")), (Key::ReadModelsUrl, "postgres", cfg!(feature = "postgres"))];

/// Refuses what this build cannot open.
fn is_built(settings: &Settings, backends: [(Key, &str, bool); 2]) -> Result<(), ConfigError> {
    for (key, feature, _) in backends.into_iter().filter(|(_, _, is_built)| !is_built) {
        if let Some(setting) = settings.own.get(&key).filter(|setting| setting.text.starts_with(feature)) {
            let cause =
                format!("this build lacks the cargo feature `{feature}`; run one that has it, or leave this out");
            return Err(invalid(key, setting, cause));
        }
    }
    Ok(())
}

/// Reads values.
struct Parse<'a> {
    settings: &'a Settings,
}

impl Parse<'_> {
    fn value<T: std::str::FromStr>(&self, key: Key, remedy: &str) -> Result<Option<T>, ConfigError> {
        let Some(setting) = self.settings.own.get(&key) else { return Ok(None) };
        match setting.text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(invalid(key, setting, format!("{:?}: {remedy}", setting.text))),
        }
    }

    fn log(&self) -> Result<LogSettings, ConfigError> {
        let partitions: Option<u16> = self.value(Key::LogPartitions, "a whole number from 1 to 4096")?;
        let kind = self.settings.own.get(&Key::LogKind);
        match kind.map(|setting| setting.text.as_str()) {
            None | Some("sqlite") => {
                let needless = [Key::LogBrokers, Key::LogPrefix].into_iter().find_map(|key| {
                    let setting = self.settings.own.get(&key)?;
                    Some((key.name().to_owned(), setting))
                });
                let of_client = self.settings.client.iter().next();
                let of_client = of_client.map(|(name, setting)| (format!("log.client.{name}"), setting));
                match needless.or(of_client) {
                    None => Ok(LogSettings::Sqlite { partitions }),
                    Some((name, setting)) => Err(ConfigError::Invalid {
                        name,
                        origin: setting.origin.clone(),
                        cause: "the log is a SQLite file; say log.kind = \"kafka\" (--log kafka), or leave this out"
                            .into(),
                    }),
                }
            }
            #[cfg(feature = "kafka")]
            Some("kafka") => self.kafka(partitions),
            Some(other) => {
                let cause = format!("{other:?}: there are sqlite and kafka");
                // It was just read.
                Err(kind.map_or_else(
                    || ConfigError::Missing { name: Key::LogKind.name(), cause: "sqlite or kafka" },
                    |setting| invalid(Key::LogKind, setting, cause),
                ))
            }
        }
    }

    #[cfg(feature = "kafka")]
    fn kafka(&self, partitions: Option<u16>) -> Result<LogSettings, ConfigError> {
        let Some(brokers) = self.settings.own.get(&Key::LogBrokers) else {
            let cause = "a log on Kafka needs the addresses of its brokers (--brokers HOST:PORT)";
            return Err(ConfigError::Missing { name: Key::LogBrokers.name(), cause });
        };
        if let Some(wrong) = brokers.text.split(',').find(|address| !is_address(address)) {
            return Err(invalid(
                Key::LogBrokers,
                brokers,
                format!("{wrong:?}: write each as host:port, comma-separated"),
            ));
        }
        let mut options = KafkaOptions::new(brokers.text.clone());
        options.partitions = partitions;
        if let Some(prefix) = self.settings.own.get(&Key::LogPrefix) {
            options.prefix.clone_from(&prefix.text);
        }
        options.client =
            self.settings.client.iter().map(|(name, setting)| (name.clone(), setting.text.clone())).collect();
        Ok(LogSettings::Kafka(options))
    }

    fn read_models(&self) -> Result<ReadModelsSettings, ConfigError> {
        match self.settings.own.get(&Key::ReadModelsUrl) {
            None => Ok(ReadModelsSettings::Sqlite),
            #[cfg(feature = "postgres")]
            Some(url) if ["postgres://", "postgresql://"].iter().any(|scheme| url.text.starts_with(scheme)) => {
                Ok(ReadModelsSettings::Postgres { url: url.text.clone() })
            }
            Some(url) => {
                let cause = "write it as postgres://ROLE@HOST:PORT/DATABASE, or leave it out for SQLite".to_owned();
                Err(invalid(Key::ReadModelsUrl, url, cause))
            }
        }
    }
}

fn invalid(key: Key, setting: &Setting, cause: String) -> ConfigError {
    ConfigError::Invalid { name: key.name().to_owned(), origin: setting.origin.clone(), cause }
}

#[cfg(feature = "kafka")]
/// `host:port`.
fn is_address(text: &str) -> bool {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests;
