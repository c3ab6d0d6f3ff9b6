//! Which copy of a read model, and how is it spoken with?

use std::path::PathBuf;
use std::sync::Arc;

use annals_engine::sink::{Generation, SinkError};
use annals_model::projection::ReadModel;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::connect::sink_error;
use super::statements::Statements;

/// One generation's file and how to speak with it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) generation: Generation,
    /// For messages.
    pub(super) label: String,
    pub(super) path: PathBuf,
    pub(super) model: Arc<ReadModel>,
    pub(super) statements: Arc<Statements>,
}

impl Target {
    pub(super) fn error(&self, table: &str, error: &sqlx::Error) -> SinkError {
        sink_error(&self.label, table, error)
    }

    pub(super) fn missing(&self) -> SinkError {
        let cause = "its file is missing".to_owned();
        SinkError::Damaged { generation: self.label.clone(), table: String::new(), cause }
    }

    pub(super) async fn connect(&self, options: &SqliteConnectOptions) -> Result<SqliteConnection, SinkError> {
        match options.connect().await {
            Ok(connection) => Ok(connection),
            // No outage: it does not come back by itself, and only a rebuild helps.
            Err(_) if !self.path.exists() => Err(self.missing()),
            Err(error) => Err(self.error("", &error)),
        }
    }
}
