//! What an owner holds, and how its times of claiming, serving and standing by end.

use std::sync::Arc;
use std::time::Duration;

use annals_model::context::BoundedContext;
use annals_model::position::ContextPartition;
use tokio::sync::{mpsc, watch};

use crate::log::{EventLog, LogWriter, Owner};
use crate::outage::Outage;
use crate::owners::PartitionState;
use crate::owners::assignment::Assignment;
use crate::owners::clock::{Moment, OwnersClock};
use crate::owners::mailbox::Input;
use crate::owners::state::StateStore;
use crate::telemetry::OwnerMeters;

/// What an owner needs to live.
pub(in crate::owners) struct Owning {
    pub(in crate::owners) at: ContextPartition,
    pub(in crate::owners) meters: OwnerMeters,
    pub(in crate::owners) log: Arc<dyn EventLog>,
    pub(in crate::owners) context: BoundedContext,
    pub(in crate::owners) owner: Owner,
    pub(in crate::owners) clock: Arc<OwnersClock>,
    pub(in crate::owners) store: Box<dyn StateStore>,
    pub(in crate::owners) inputs: mpsc::Receiver<Input>,
    pub(in crate::owners) state: watch::Sender<PartitionState>,
    pub(in crate::owners) assignment: Assignment,
    /// True once the process shuts down: no further inputs are taken, those queued are answered.
    pub(in crate::owners) stopping: watch::Receiver<bool>,
    /// Of appends and proofs; a claim is told by itself.
    pub(in crate::owners) outage: Outage,
}

/// Why an owner stands by no longer.
pub(super) enum Woken {
    /// The partition should be owned here.
    Assigned,
    /// It should be owned elsewhere.
    Revoked,
    /// The process shuts down.
    ShuttingDown,
}

/// Why a partition could not be claimed.
pub(super) enum Unclaimed {
    /// It should be owned elsewhere now.
    Revoked,
    /// The process shuts down.
    ShuttingDown,
    /// It is damaged, or this build cannot fold it.
    Stopped,
}

/// A writer, and when the log last proved that it is the newest claim.
pub(super) struct Proven {
    pub(super) writer: Box<dyn LogWriter>,
    pub(super) at: Moment,
}

/// Why a partition is served no longer.
pub(super) enum Ended {
    /// It should be owned elsewhere; what was queued is answered.
    Revoked,
    /// A newer claim exists.
    Fenced {
        /// How long it was served.
        served: Duration,
    },
    /// It is damaged.
    Stopped,
    /// The process shuts down; what was queued is answered.
    ShutDown,
}

impl From<Unclaimed> for Ended {
    fn from(unclaimed: Unclaimed) -> Self {
        match unclaimed {
            Unclaimed::Revoked => Self::Revoked,
            Unclaimed::ShuttingDown => Self::ShutDown,
            Unclaimed::Stopped => Self::Stopped,
        }
    }
}

/// Returns when the process shuts down.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An engine that was dropped without a shutdown stops as well.
    drop(stopping.wait_for(|stopping| *stopping).await);
}
