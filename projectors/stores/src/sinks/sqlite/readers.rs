//! Connections that serve queries, and the look at what other processes did to the registry.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use annals_engine::limits::REGISTRY_POLL_MS;
use annals_engine::sink::Generation;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions};
use tokio::sync::watch;

use super::registry::Identity;
use super::{connect, registry};
use crate::limits;

/// One pool per generation that was asked for.
#[derive(Debug, Default)]
pub(super) struct Readers {
    pools: Mutex<HashMap<Identity, SqlitePool>>,
}

impl Readers {
    pub(super) fn pool(&self, generation: &Generation, path: &Path) -> SqlitePool {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (generation.read_model.clone(), generation.id, generation.started_at);
        let open = || {
            SqlitePoolOptions::new()
                .max_connections(limits::READERS_PER_GENERATION_MAX)
                .acquire_timeout(Duration::from_millis(limits::READER_WAIT_MS_MAX))
                .connect_lazy_with(connect::reader(path))
        };
        pools.entry(key).or_insert_with(open).clone()
    }

    /// Lets go of the pools of all other generations: queries under way end, new ones fail.
    pub(super) fn keep_only(&self, existing: &[Identity]) {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| existing.contains(key));
    }
}

/// Tells `changes` whenever another connection, of any process, changed the registry. Ends when it is aborted.
pub(super) async fn follow_registry(
    options: SqliteConnectOptions,
    changes: watch::Sender<u64>,
    readers: std::sync::Arc<Readers>,
) {
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
                    && let Ok(existing) = registry::all(open).await
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
