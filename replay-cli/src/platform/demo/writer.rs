//! Somebody who goes on writing, and reads back what they wrote, while read models change under them.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::body;
use crate::limits;
use annals_cli::client::{CallError, Client};

/// A background writer.
#[derive(Debug)]
pub(crate) struct Writer {
    stop: CancellationToken,
    task: JoinHandle<Result<Written, CallError>>,
}

/// What it did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    /// Commands accepted.
    pub(crate) commands: u64,
    /// Of those, how many it asked the read model for, by the command's consistency token.
    pub(crate) read_back: u64,
    /// Of those, how many the read model did not show.
    pub(crate) missing: u64,
    /// Longest time from sending a command to its answer.
    pub(crate) slowest: Duration,
}

impl Writer {
    /// Starts to release versions of an application, one after the other.
    pub(crate) fn start(client: Client, workspace: Uuid, application: Uuid) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(write(client, workspace, application, stop.clone()));
        Self { stop, task }
    }

    /// Stops it and says what it did.
    pub(crate) async fn stop(self) -> anyhow::Result<Written> {
        self.stop.cancel();
        self.task.await?.map_err(|error| anyhow::Error::from(error).context("a write failed while read models changed"))
    }
}

async fn write(
    client: Client,
    workspace: Uuid,
    application: Uuid,
    stop: CancellationToken,
) -> Result<Written, CallError> {
    let mut written = Written::default();
    while !stop.is_cancelled() {
        let number = format!("1.0.0-during.{}", written.commands);
        let request = format!("demo writer {workspace} {number}");
        let started = Instant::now();
        let command = body(&request, workspace, application, &json!({"number": number}));
        let answer = client.command("portfolio.application.release_version", &command).await?;
        written.slowest = written.slowest.max(started.elapsed());
        written.commands += 1;
        if written.commands.is_multiple_of(READ_EVERY) {
            let parameters = [
                ("workspace_id", workspace.to_string()),
                ("application_id", application.to_string()),
                ("number", number),
            ];
            let page = client
                .get_at("/v1/queries/portfolio.application_versions", &parameters, &answer.consistency_token)
                .await?;
            written.read_back += 1;
            written.missing += u64::from(page["rows"].as_array().is_none_or(|rows| rows.len() != 1));
        }
        tokio::time::sleep(Duration::from_millis(limits::WRITER_PAUSE_MS)).await;
    }
    Ok(written)
}

/// Every so many commands one is read back.
const READ_EVERY: u64 = 5;
