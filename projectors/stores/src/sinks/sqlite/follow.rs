//! The look at what other processes did to the registry.

use std::sync::Arc;
use std::time::Duration;

use annals_engine::generations::GenerationId;
use annals_engine::limits::REGISTRY_POLL_MS;
use annals_engine::sink::StoreError;
use annals_model::time::Timestamp;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::watch;

use super::connect::failed;
use super::readers::{Identity, Readers};

/// Tells `changes` whenever another connection, of any process, changed the registry. Ends when it is aborted.
pub(super) async fn follow_registry(options: SqliteConnectOptions, changes: watch::Sender<u64>, readers: Arc<Readers>) {
    let mut connection = None;
    let mut seen = None;
    let mut is_down = false;
    loop {
        tokio::time::sleep(Duration::from_millis(REGISTRY_POLL_MS)).await;
        match look(&mut connection, &options).await {
            Ok(version) => {
                if std::mem::take(&mut is_down) {
                    tracing::info!("registry of read models can be followed again");
                }
                if seen.replace(version) == Some(version) {
                    continue;
                }
                if let Some(open) = &mut connection
                    && let Ok(existing) = all(open).await
                {
                    readers.keep_only(&existing);
                }
                changes.send_modify(|version| *version += 1);
            }
            Err(error) => {
                connection = None;
                if !std::mem::replace(&mut is_down, true) {
                    tracing::warn!(%error, "registry of read models cannot be followed, trying again");
                }
            }
        }
    }
}

/// A number that changes when another connection commits: comparable on one connection only, so it is kept.
async fn look(connection: &mut Option<SqliteConnection>, options: &SqliteConnectOptions) -> Result<i64, sqlx::Error> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(options.connect().await?),
    };
    sqlx::query_scalar("PRAGMA data_version").fetch_one(open).await
}

/// All generations that exist, for letting go of what belongs to others.
async fn all(connection: &mut SqliteConnection) -> Result<Vec<Identity>, StoreError> {
    let rows: Vec<(String, u32, i64)> = sqlx::query_as("SELECT read_model, id, started_at FROM generations")
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    Ok(rows.into_iter().map(|(read_model, id, at)| (read_model, GenerationId(id), Timestamp(at))).collect())
}
