//! Which copy of a read model, and how is it spoken with?

use std::sync::Arc;

use annals_engine::sink::{Generation, SinkError};
use annals_model::projection::ReadModel;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::answer::sink_error;
use super::connect::{self, Address};

/// One generation's schema and how to speak with it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) generation: Generation,
    /// For messages.
    pub(super) label: String,
    pub(super) schema: String,
    pub(super) model: Arc<ReadModel>,
    pub(super) address: Address,
}

impl Target {
    pub(super) fn error(&self, table: &str, error: &sqlx::Error) -> SinkError {
        sink_error(&self.label, table, error)
    }

    pub(super) async fn connect(&self, options: &PgConnectOptions) -> Result<PgConnection, SinkError> {
        connect::connect(options).await.map_err(|error| self.error("", &error))
    }
}
