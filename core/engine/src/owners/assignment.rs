//! Which partitions should this process try to own? A hint and never a fact: who owns a partition is decided by claims in
//! the log alone, so a wrong hint costs time and no truth.

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_model::position::ContextPartition;
use tokio::sync::watch;

/// Partitions that somebody shares out among processes.
pub type Assigned = Arc<BTreeSet<ContextPartition>>;

/// What a process should try to own.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Nothing = everything, always.
    shared: Option<watch::Receiver<Assigned>>,
}

impl Assignment {
    /// Every partition: the process is alone. Whoever fences it has taken over for good, so it never claims again what it
    /// lost.
    pub const fn everything() -> Self {
        Self { shared: None }
    }

    /// What is in the set now. When its sender goes, the last set stays.
    pub const fn shared(assigned: watch::Receiver<Assigned>) -> Self {
        Self { shared: Some(assigned) }
    }

    /// True if this process is alone.
    pub(super) const fn is_everything(&self) -> bool {
        self.shared.is_none()
    }

    /// True if the partition should be owned here now.
    pub(super) fn includes(&self, at: ContextPartition) -> bool {
        self.shared.as_ref().is_none_or(|assigned| assigned.borrow().contains(&at))
    }

    /// Returns when the partition should be owned here, or should not.
    pub(super) async fn becomes(&mut self, at: ContextPartition, wanted: bool) {
        let reached = match &mut self.shared {
            Some(assigned) => assigned.wait_for(|set| set.contains(&at) == wanted).await.is_ok(),
            None => wanted,
        };
        if !reached {
            // Everything stays as it is, and for ever.
            std::future::pending::<()>().await;
        }
    }
}
