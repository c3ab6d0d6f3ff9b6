//! Opens what a deployment names.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use annals_engine::log::EventLog;
#[cfg(feature = "kafka")]
use annals_engine::log::kafka::KafkaLog;
use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_model::application::Application;
use annals_model::ids::LogId;
use tokio_util::sync::CancellationToken;

use super::error::{OpenLogError, OpenStoreError};
use super::{Deployment, LogSettings, ReadModelsSettings};
use crate::limits;
#[cfg(feature = "postgres")]
use annals_stores::sinks::PostgresStore;
use annals_stores::sinks::{SqliteStore, Store};

/// What the log is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To append: made if it is not there.
    Serve,
    /// To read, whoever writes it: what is not there is not made.
    Read,
}

/// The log of a deployment. Cheap to clone.
#[derive(Clone, Debug)]
pub enum OpenLog {
    /// A file.
    Sqlite(Arc<SqliteLog>),
    /// The brokers' topics.
    #[cfg(feature = "kafka")]
    Kafka(Arc<KafkaLog>),
}

impl OpenLog {
    /// As the engine, the runners and all else take it.
    pub fn shared(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Sqlite(log) => log.clone(),
            #[cfg(feature = "kafka")]
            Self::Kafka(log) => log.clone(),
        }
    }

    /// The log's identity.
    pub fn id(&self) -> LogId {
        match self {
            Self::Sqlite(log) => log.id(),
            #[cfg(feature = "kafka")]
            Self::Kafka(log) => log.id(),
        }
    }

    /// Ends it in good order, where that is more than dropping it.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(log) => log.close().await,
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => {}
        }
    }
}

impl Deployment {
    /// Opens the log of an application's events. Needs a Tokio runtime.
    pub async fn open_log(&self, application: &Application, access: Access) -> Result<OpenLog, OpenLogError> {
        let contexts = application.context_ids();
        match &self.log {
            LogSettings::Sqlite { partitions } => {
                let path = self.log_path();
                let opened = match access {
                    Access::Serve => {
                        let options = SqliteOptions { partitions: *partitions, ..SqliteOptions::default() };
                        SqliteLog::open(&path, &contexts, options).await?
                    }
                    Access::Read => SqliteLog::open_read_only(&path, &contexts).await?,
                };
                Ok(OpenLog::Sqlite(opened))
            }
            #[cfg(feature = "kafka")]
            LogSettings::Kafka(options) => {
                let opened = match access {
                    Access::Serve => KafkaLog::connect(options.clone(), &contexts).await?,
                    Access::Read => KafkaLog::open_existing(options.clone(), &contexts).await?,
                };
                Ok(OpenLog::Kafka(opened))
            }
        }
    }

    /// Opens the read models that are built from this log, in the versions that this build carries; refuses those of
    /// another log, whose rows are good there. Needs a Tokio runtime.
    pub async fn open_store(&self, application: &Application, log: LogId) -> Result<Store, OpenStoreError> {
        let definitions = application.read_models.clone();
        let store: Store = match &self.read_models {
            ReadModelsSettings::Sqlite => SqliteStore::open(&self.data, definitions, log).await?.into(),
            #[cfg(feature = "postgres")]
            ReadModelsSettings::Postgres { url } => PostgresStore::open(url, definitions, log).await?.into(),
        };
        match store.other_log().await? {
            None => Ok(store),
            Some(found) => Err(OpenStoreError::OtherLog { place: store.place(), found, log }),
        }
    }

    /// [`Self::open_log`], tried until it is there or `stop` is cancelled; nothing then. Says once per cause what it
    /// waits for; what does not pass by itself is an error at once.
    pub async fn await_log(
        &self,
        application: &Application,
        access: Access,
        stop: &CancellationToken,
    ) -> Result<Option<OpenLog>, OpenLogError> {
        until_there(stop, OpenLogError::may_pass, || self.open_log(application, access)).await
    }

    /// [`Self::open_store`] likewise.
    pub async fn await_store(
        &self,
        application: &Application,
        log: LogId,
        stop: &CancellationToken,
    ) -> Result<Option<Store>, OpenStoreError> {
        until_there(stop, OpenStoreError::may_pass, || self.open_store(application, log)).await
    }
}

/// Tries until it succeeds, fails for good, or is stopped: nothing then.
pub async fn until_there<T, E: Display, F: Future<Output = Result<T, E>>>(
    stop: &CancellationToken,
    may_pass: impl Fn(&E) -> bool,
    attempt: impl Fn() -> F,
) -> Result<Option<T>, E> {
    let mut said = String::new();
    let mut pause = Duration::from_millis(limits::OPEN_PAUSE_MS_MIN);
    loop {
        let tried = tokio::select! {
            tried = attempt() => tried,
            () = stop.cancelled() => return Ok(None),
        };
        let cause = match tried {
            Ok(there) => return Ok(Some(there)),
            Err(error) if may_pass(&error) => error.to_string(),
            Err(error) => return Err(error),
        };
        if cause != said {
            crate::say!("waiting: {cause}");
            said = cause;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Ok(None),
        }
        pause = (pause * 2).min(Duration::from_millis(limits::OPEN_PAUSE_MS_MAX));
    }
}
