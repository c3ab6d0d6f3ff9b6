//! Alone, or one of several? A log in a file has one server, which owns all of it; the partitions of a log on Kafka are
//! shared out among all nodes that are there.

#[cfg(feature = "kafka")]
use std::sync::{Arc, OnceLock};

#[cfg(feature = "kafka")]
use annals_engine::log::kafka::KafkaLog;
#[cfg(feature = "kafka")]
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
    #[cfg(feature = "kafka")]
    Shared {
        membership: Membership,
        /// Whose partitions are to be released: known once the owners run.
        engine: Arc<OnceLock<EngineHandle>>,
    },
}

impl Ownership {
    /// Joins the group, where the log has one.
    pub(super) fn of(log: &OpenLog) -> Result<Self, Failure> {
        match log {
            OpenLog::Sqlite(_) => Ok(Self::Alone),
            #[cfg(feature = "kafka")]
            OpenLog::Kafka(kafka) => Self::join(kafka),
        }
    }

    #[cfg(feature = "kafka")]
    fn join(kafka: &Arc<KafkaLog>) -> Result<Self, Failure> {
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
        !matches!(self, Self::Alone)
    }

    /// What its owners follow.
    pub(super) fn assignment(&self) -> Assignment {
        match self {
            Self::Alone => Assignment::everything(),
            #[cfg(feature = "kafka")]
            Self::Shared { membership, .. } => Assignment::shared(membership.assigned()),
        }
    }

    /// Tells whose owners have to let go of what is revoked.
    pub(super) fn is_kept_by(&self, handle: EngineHandle) {
        match self {
            Self::Alone => drop(handle),
            #[cfg(feature = "kafka")]
            // A node starts its owners once.
            Self::Shared { engine, .. } => _ = engine.set(handle),
        }
    }

    /// Hands the partitions over to the other nodes; one that is alone keeps them to its end.
    pub(super) async fn give_up(self) {
        match self {
            Self::Alone => {}
            #[cfg(feature = "kafka")]
            Self::Shared { membership, .. } => membership.leave().await,
        }
    }
}
