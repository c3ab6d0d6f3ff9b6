//! Whose question has a connection? There are few, and the machine has few cores: no tenant gets all of them, however
//! much it asks, and questions that walk far never hold more than a part of them, whoever asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use annals_model::ids::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;
use annals_model::query::Query;

/// What each tenant holds of the connections.
#[derive(Debug)]
pub(super) struct Shares {
    walks: Arc<Semaphore>,
    tenants: Mutex<HashMap<TenantId, Weak<Share>>>,
}

/// One tenant's part.
#[derive(Debug)]
struct Share {
    questions: Arc<Semaphore>,
    walks: Arc<Semaphore>,
}

/// The right to ask, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permits: Vec<OwnedSemaphorePermit>,
    /// Kept for as long as somebody holds a part of it.
    _share: Arc<Share>,
}

impl Default for Shares {
    fn default() -> Self {
        let walks = Arc::new(Semaphore::new(limits::QUERY_WALKS_MAX));
        Self { walks, tenants: Mutex::default() }
    }
}

impl Shares {
    /// Waits for the tenant's turn at one of so many connections; nothing if it does not come in time.
    pub(super) async fn turn(&self, tenant: TenantId, query: &Query, connections: u32) -> Option<Turn> {
        let share = self.share(tenant, connections);
        let (own, walks, all_walks) = (share.questions.clone(), share.walks.clone(), self.walks.clone());
        // What others wait for last, so that whoever holds it is at work; and a walk that waits for other walks keeps the
        // tenant's plain questions from little.
        let wanted = if query.is_walk() { vec![walks, own, all_walks] } else { vec![own] };
        let taking = async {
            let mut permits = Vec::with_capacity(wanted.len());
            for semaphore in wanted {
                permits.push(semaphore.acquire_owned().await.ok()?);
            }
            Some(permits)
        };
        let limit = Duration::from_millis(limits::READER_WAIT_MS_MAX);
        let permits = tokio::time::timeout(limit, taking).await.ok().flatten()?;
        Some(Turn { _permits: permits, _share: share })
    }

    fn share(&self, tenant: TenantId, connections: u32) -> Arc<Share> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = tenants.get(&tenant).and_then(Weak::upgrade) {
            return share;
        }
        // As many as there are requests under way, at most.
        tenants.retain(|_, share| share.strong_count() > 0);
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let share = Arc::new(Share {
            questions: semaphore(connections as usize / limits::QUERY_TENANT_PART),
            walks: semaphore(limits::QUERY_WALKS_PER_TENANT_MAX),
        });
        tenants.insert(tenant, Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests;
