//! Connections that serve queries.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use annals_engine::generations::GenerationId;
use annals_engine::sink::Generation;
use annals_model::time::Timestamp;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

use super::connect;
use crate::limits;

/// What tells a generation from all others: one that was begun anew has the number of the one before it.
pub(super) type Identity = (String, GenerationId, Timestamp);

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
