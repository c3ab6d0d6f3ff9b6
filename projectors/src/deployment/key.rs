//! Every key of a deployment's configuration: its name in the file, in the environment, and what it means.

/// One key. `[log.client]` has keys of its own: those of librdkafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `sqlite` or `kafka`.
    LogKind,
    /// Addresses of brokers.
    LogBrokers,
    /// First part of all topic names and transactional ids.
    LogPrefix,
    /// Partitions per context of a new log.
    LogPartitions,
    /// Where the read models' rows are kept.
    ReadModelsUrl,
    /// How many retired generations of a read model stay.
    ReadModelsKeep,
    /// Address that a node serves HTTP on.
    ApiListen,
    /// Address that other nodes are told.
    ApiAdvertise,
    /// Whether a node may listen beyond loopback.
    ApiTrustedNetwork,
    /// File of the key that signs and verifies tokens.
    ApiSigningKey,
    /// File of the secret that signs cursors.
    ApiCursorKey,
    /// Address that metrics are served on.
    MetricsListen,
    /// The only tenant that a server serves.
    TenantOnly,
}

impl Key {
    /// All keys, in the order of the file.
    pub const ALL: [Self; 13] = [
        Self::LogKind,
        Self::LogBrokers,
        Self::LogPrefix,
        Self::LogPartitions,
        Self::ReadModelsUrl,
        Self::ReadModelsKeep,
        Self::ApiListen,
        Self::ApiAdvertise,
        Self::ApiTrustedNetwork,
        Self::ApiSigningKey,
        Self::ApiCursorKey,
        Self::MetricsListen,
        Self::TenantOnly,
    ];

    /// Section and name, as in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LogKind => "log.kind",
            Self::LogBrokers => "log.brokers",
            Self::LogPrefix => "log.prefix",
            Self::LogPartitions => "log.partitions",
            Self::ReadModelsUrl => "read_models.url",
            Self::ReadModelsKeep => "read_models.keep",
            Self::ApiListen => "api.listen",
            Self::ApiAdvertise => "api.advertise",
            Self::ApiTrustedNetwork => "api.trusted_network",
            Self::ApiSigningKey => "api.signing_key",
            Self::ApiCursorKey => "api.cursor_key",
            Self::MetricsListen => "metrics.listen",
            Self::TenantOnly => "tenant.only",
        }
    }

    /// What it means, and what holds without it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::LogKind => "sqlite: a file in the data directory; kafka: the brokers' topics",
            Self::LogBrokers => "addresses of brokers to begin with, host:port, comma-separated",
            Self::LogPrefix => "first part of all topic names; another prefix is another log; annals unless given",
            Self::LogPartitions => "partitions per context of a new log, 4 unless given; fixed when it is created",
            Self::ReadModelsUrl => "postgres://USER@HOST:PORT/DATABASE; SQLite in the data directory unless given",
            Self::ReadModelsKeep => {
                "retired generations of a read model that stay behind a promotion, 1 to 16; a rollback goes back to them"
            }
            Self::ApiListen => "address of a node's HTTP; a free port of 127.0.0.1 unless given",
            Self::ApiAdvertise => "address that other nodes are told; the one it listens on unless given",
            Self::ApiTrustedNetwork => {
                "true: others than this machine may connect; tokens travel in clear text; false unless given"
            }
            Self::ApiSigningKey => "file of the key of all nodes' tokens; the data directory's own unless given",
            Self::ApiCursorKey => "file of the secret of all nodes' cursors; the data directory's own unless given",
            Self::MetricsListen => "address that metrics are served on; none unless given",
            Self::TenantOnly => "the only tenant that is served; all unless given",
        }
    }

    /// The environment's name for it.
    pub fn variable(self) -> String {
        format!("ANNALS_{}", self.name().replace('.', "_").to_uppercase())
    }

    /// True where the value is a file's path: one in a file is relative to that file.
    pub(super) const fn is_path(self) -> bool {
        matches!(self, Self::ApiSigningKey | Self::ApiCursorKey)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }
}
