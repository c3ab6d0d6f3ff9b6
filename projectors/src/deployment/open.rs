//! Opens what a deployment names.

use std::sync::Arc;

use annals_engine::log::EventLog;
use annals_engine::log::kafka::KafkaLog;
use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_model::ids::LogId;
use annals_schemas::contexts;

use super::error::{OpenLogError, OpenStoreError};
use super::{Deployment, LogSettings, ReadModelsSettings};
use crate::sinks::SqliteStore;

/// What the log is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To append: made if it is not there.
    Serve,
    /// To read, whoever writes it.
    Read,
}

/// The log of a deployment. Cheap to clone.
#[derive(Clone, Debug)]
pub enum OpenLog {
    /// A file.
    Sqlite(Arc<SqliteLog>),
    /// The brokers' topics.
    Kafka(Arc<KafkaLog>),
}

impl OpenLog {
    /// As the engine, the runners and all else take it.
    pub fn shared(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Sqlite(log) => log.clone(),
            Self::Kafka(log) => log.clone(),
        }
    }

    /// The log's identity.
    pub fn id(&self) -> LogId {
        match self {
            Self::Sqlite(log) => log.id(),
            Self::Kafka(log) => log.id(),
        }
    }

    /// Ends it in good order, where that is more than dropping it.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(log) => log.close().await,
            Self::Kafka(_) => {}
        }
    }
}

impl Deployment {
    /// Opens the log. Needs a Tokio runtime.
    pub async fn open_log(&self, access: Access) -> Result<OpenLog, OpenLogError> {
        match &self.log {
            LogSettings::Sqlite { partitions } => {
                let path = self.log_path();
                let opened = match access {
                    Access::Serve => {
                        let options = SqliteOptions { partitions: *partitions, ..SqliteOptions::default() };
                        SqliteLog::open(&path, contexts::ALL, options).await?
                    }
                    Access::Read => SqliteLog::open_read_only(&path, contexts::ALL).await?,
                };
                Ok(OpenLog::Sqlite(opened))
            }
            LogSettings::Kafka(options) => Ok(OpenLog::Kafka(KafkaLog::connect(options.clone(), contexts::ALL).await?)),
        }
    }

    /// Opens the read models that are built from this log, in the versions that this build carries. Needs a Tokio
    /// runtime.
    pub async fn open_store(&self, log: LogId) -> Result<SqliteStore, OpenStoreError> {
        let definitions = crate::definitions().iter().map(crate::Definition::stored).collect();
        match &self.read_models {
            ReadModelsSettings::Sqlite => Ok(SqliteStore::open(&self.data, definitions, log).await?),
        }
    }
}
