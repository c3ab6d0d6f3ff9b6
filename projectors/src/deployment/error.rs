//! Why a configuration is refused, and why what it names cannot be opened.

use std::path::PathBuf;

#[cfg(feature = "kafka")]
use annals_engine::log::kafka;
use annals_engine::log::sqlite;
use annals_engine::sink::{SinkError, StoreError};
use annals_model::ids::LogId;

use super::origin::Origin;
#[cfg(feature = "postgres")]
use annals_stores::sinks;

/// Why a configuration is refused. Nothing was opened: correct it where the message says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Name a file that is there, or leave `--config` out.
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// Correct the file.
    #[error("{} is not TOML: {cause}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: String,
    },
    /// Correct the name.
    #[error("{origin} has the unknown key {name:?}; there are {}", known.join(", "))]
    UnknownKey {
        /// Where it was found.
        origin: Origin,
        /// As it was written.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Correct the value.
    #[error("{name} from {origin}: {cause}")]
    Invalid {
        /// The key.
        name: String,
        /// Who says so.
        origin: Origin,
        /// What is wrong with it.
        cause: String,
    },
    /// Give it: in the file, the environment or by its flag.
    #[error("{name} is missing: {cause}")]
    Missing {
        /// The key.
        name: &'static str,
        /// Why it is needed.
        cause: &'static str,
    },
}

/// Why the log cannot be opened: what it says applies.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// The embedded log.
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    /// The log on Kafka.
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Kafka(#[from] kafka::OpenError),
}

impl OpenLogError {
    /// True where something is down, or not there yet: try again with backoff.
    pub const fn may_pass(&self) -> bool {
        match self {
            // A server that is just making it puts the file there first, and its contexts into it then.
            Self::Sqlite(error) => {
                matches!(error, sqlite::OpenError::Missing { .. } | sqlite::OpenError::UnknownContext(_))
            }
            #[cfg(feature = "kafka")]
            Self::Kafka(error) => matches!(
                error,
                kafka::OpenError::Unreachable(_)
                    | kafka::OpenError::Unsettled(_)
                    | kafka::OpenError::NotThere(_)
                    | kafka::OpenError::ContextNotThere(_)
            ),
        }
    }

    /// True where there is no such file: a server makes it. Not so on Kafka, where a misspelt prefix would make another
    /// log beside the right one.
    pub const fn is_missing_file(&self) -> bool {
        matches!(self, Self::Sqlite(sqlite::OpenError::Missing { .. }))
    }

    /// True where the log itself is damaged.
    pub const fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite(error) => matches!(error, sqlite::OpenError::Damaged { .. }),
            #[cfg(feature = "kafka")]
            Self::Kafka(error) => {
                matches!(error, kafka::OpenError::TopicLost(_) | kafka::OpenError::MetaDamaged { .. })
            }
        }
    }
}

/// Why the read models cannot be opened: what it says applies.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] sinks::OpenError),
    /// They are another log's, and good rows there: correct which log is meant, or name other read models.
    #[error(
        "the read models in {place} belong to log {found}, and this is log {log}: correct which log is meant (its \
         directory, or its brokers and prefix), or give this log read models of its own; nothing was changed"
    )]
    OtherLog {
        /// Where they lie.
        place: String,
        /// Their log.
        found: LogId,
        /// The log that was opened.
        log: LogId,
    },
}

impl OpenStoreError {
    /// True where something is down: try again with backoff.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            #[cfg(feature = "postgres")]
            Self::Postgres(error) => matches!(error, sinks::OpenError::Unavailable { .. }),
            Self::OtherLog { .. } => false,
        }
    }

    /// True where what is stored is damaged.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Store(StoreError::Damaged(_) | StoreError::Sink(SinkError::Damaged { .. })))
    }
}
