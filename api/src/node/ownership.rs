//! Alone, or one of several? A log in a file has one server, which owns all of it; the partitions of a log on Kafka are
//! shared out among all nodes that are there.

use std::sync::{Arc, OnceLock};

use annals_engine::log::kafka::membership::Membership;
use annals_engine::owners::{Assignment, EngineHandle};
use annals_projectors::deployment::OpenLog;
use annals_projectors::process::exit::Failure;

/// How this node comes by its partitions.
#[derive(Debug)]
pub(super) enum Ownership {
    /// It is the only one.
    Alone,
    /// By its place in the group of nodes.
    Shared {
        membership: Membership,
        /// Whose partitions are to be released: known once the owners run.
        engine: Arc<OnceLock<EngineHandle>>,
    },
}

impl Ownership {
    /// Joins the group, where the log has one.
    pub(super) fn of(log: &OpenLog) -> Result<Self, Failure> {
        let OpenLog::Kafka(kafka) = log else { return Ok(Self::Alone) };
        let engine = Arc::new(OnceLock::<EngineHandle>::new());
        let released_by = Arc::clone(&engine);
        let membership = Membership::join(kafka, move |partitions| {
            let engine = released_by.get().cloned();
            Box::pin(async move {
                // Without owners nothing is owned.
                if let Some(engine) = engine {
                    engine.released(&partitions).await;
                }
            })
        });
        let membership = membership.map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Self::Shared { membership, engine })
    }

    pub(super) const fn is_shared(&self) -> bool {
        matches!(self, Self::Shared { .. })
    }

    /// What its owners follow.
    pub(super) fn assignment(&self) -> Assignment {
        match self {
            Self::Alone => Assignment::everything(),
            Self::Shared { membership, .. } => Assignment::shared(membership.assigned()),
        }
    }

    /// Tells whose owners have to let go of what is revoked.
    pub(super) fn is_kept_by(&self, handle: EngineHandle) {
        if let Self::Shared { engine, .. } = self {
            // A node starts its owners once.
            let _ = engine.set(handle);
        }
    }

    /// Hands the partitions over to the other nodes; one that is alone keeps them to its end.
    pub(super) async fn give_up(self) {
        if let Self::Shared { membership, .. } = self {
            membership.leave().await;
        }
    }
}
