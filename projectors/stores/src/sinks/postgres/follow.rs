//! The look at what other processes did to the registry.

use std::time::Duration;

use annals_engine::limits::REGISTRY_POLL_MS;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;

use super::answer::{told, within};
use super::connect::{self, Address};
use crate::limits;

/// Tells `changes` whenever anybody changed the registry. Ends when it is aborted.
pub(super) async fn follow_registry(address: Address, changes: watch::Sender<u64>) {
    let mut connection = None;
    let mut seen = None;
    let mut is_down = false;
    loop {
        tokio::time::sleep(Duration::from_millis(REGISTRY_POLL_MS)).await;
        match look(&mut connection, &address).await {
            Ok(version) => {
                if std::mem::take(&mut is_down) {
                    tracing::info!("registry of read models can be followed again");
                }
                if seen.replace(version) != Some(version) {
                    changes.send_modify(|version| *version += 1);
                }
            }
            Err(error) => {
                connection = None;
                if !std::mem::replace(&mut is_down, true) {
                    tracing::warn!(error = %told(&error), "registry of read models cannot be followed, trying again");
                }
            }
        }
    }
}

async fn look(connection: &mut Option<PgConnection>, address: &Address) -> Result<i64, sqlx::Error> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(connect::connect(&address.registry()).await?),
    };
    within(limits::STORE_ANSWER_MS_MAX, version(open)).await
}

/// A number that changes with the registry.
async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT version FROM annals.registry").fetch_one(connection).await
}
