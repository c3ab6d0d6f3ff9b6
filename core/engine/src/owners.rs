//! The engine: one owner per (context, partition), and the handle through which commands and reads reach it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_model::application::Application;
use annals_model::ids::Partition;
use annals_model::position::ContextPartition;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::limits;
use crate::log::{EventLog, Owner};
use crate::outage::Outage;
use crate::published::{SchemaError, publish};
use crate::telemetry::OwnerMeters;

mod addresses;
mod admission;
mod assignment;
mod batch;
mod chain;
mod clock;
mod decide;
mod gate;
mod handle;
mod history;
mod mailbox;
#[cfg(feature = "seeded-bugs")]
mod mistakes;
mod owner;
mod reads;
mod replay;
mod state;
mod status;

pub use addresses::PartitionOwner;
pub use assignment::{Assigned, Assignment};
pub use chain::{Chain, Link};
pub use clock::{Clock, Passed, system_now, system_passed};
pub use gate::{Admitted, AskOwners};
pub use handle::EngineHandle;
pub use state::{
    AggregateAddress, AggregateEntry, AggregateKey, Changes, LedgerEntry, MemoryStateStore, Peek, ReferenceKey,
    StateDigests, StateStore, UniqueKey,
};
pub use status::{PartitionState, PartitionStatus};

use addresses::Addresses;
use clock::OwnersClock;
use gate::Gate;
use handle::{Mailbox, Shared};
use owner::Owning;

/// How an owner's memory is made, one per partition.
pub type StateStores = Arc<dyn Fn(ContextPartition) -> Box<dyn StateStore> + Send + Sync>;

/// What an engine needs to know of its surroundings.
#[derive(Clone)]
pub struct EngineOptions {
    /// Named in every claim.
    pub owner: Owner,
    /// The wall clock; tests bring their own.
    pub clock: Clock,
    /// The time that has passed, by which the wall clock is judged; tests bring their own.
    pub passed: Passed,
    /// Somebody says that the wall clock is right, although it was held back before.
    pub accept_clock: bool,
    /// Memory of the owners.
    pub state_stores: StateStores,
    /// Which partitions to try to own.
    pub assignment: Assignment,
}

impl EngineOptions {
    /// The system's clock, states in memory, and every partition.
    pub fn new(owner: Owner) -> Self {
        Self {
            owner,
            clock: Arc::new(system_now),
            passed: Arc::new(system_passed),
            accept_clock: false,
            state_stores: Arc::new(|_| Box::new(MemoryStateStore::default())),
            assignment: Assignment::everything(),
        }
    }
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineOptions").field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// The owners of this process. Dropping it without [`Engine::shutdown`] ends them where they stand, which is safe:
/// nothing is answered that is not durable.
#[derive(Debug)]
pub struct Engine {
    handle: EngineHandle,
    owners: JoinSet<()>,
    stopping: watch::Sender<bool>,
}

impl Engine {
    /// Publishes the build's schemas in the log, then starts an owner for every partition of every context; each claims
    /// its partition on its own ([`EngineHandle::settled`] waits for that).
    pub async fn start(
        log: Arc<dyn EventLog>,
        application: &Application,
        options: &EngineOptions,
    ) -> Result<Self, SchemaError> {
        publish(&*log, &application.schemas).await?;
        let EngineOptions { clock, passed, accept_clock, .. } = options.clone();
        let clock = OwnersClock::start(&*log, &options.owner.address, clock, passed, accept_clock).await?;
        let clock = Arc::new(clock);
        let (stop, stopping) = watch::channel(false);
        let mut owners = JoinSet::new();
        let mut mailboxes = BTreeMap::new();
        let addresses = Addresses::default();
        let gate = application.admission.map(|rule| Gate::new(rule, log.partitions(rule.context)));
        for context in &application.contexts {
            for partition in 0..log.partitions(context.id()) {
                let at = ContextPartition { context: context.id(), partition: Partition(partition) };
                let (sender, inputs) = mpsc::channel(limits::OWNER_QUEUE_INPUTS_MAX);
                let (state_sender, state) = watch::channel(PartitionState::Claiming);
                owners.spawn(
                    Owning {
                        at,
                        meters: OwnerMeters::of(at),
                        log: Arc::clone(&log),
                        context: context.clone(),
                        owner: options.owner.clone(),
                        clock: Arc::clone(&clock),
                        store: (options.state_stores)(at),
                        inputs,
                        state: state_sender,
                        assignment: options.assignment.clone(),
                        stopping: stopping.clone(),
                        outage: Outage::default(),
                    }
                    .run(),
                );
                mailboxes.insert(at, Mailbox { sender, state });
            }
        }
        owners.spawn(clock.watch(Arc::clone(&log), options.owner.address.clone(), stopping.clone()));
        let handle = EngineHandle {
            shared: Arc::new(Shared {
                log,
                contexts: application.contexts.clone(),
                catalogue: application.schemas,
                mailboxes,
                addresses,
                gate,
                owner: options.owner.clone(),
                unread: Outage::default(),
            }),
            at_least: Arc::default(),
        };
        if let Some(gate) = &handle.shared.gate {
            for partition in (0..handle.log().partitions(gate.context())).map(Partition) {
                owners.spawn(admission::follow(handle.clone(), partition, stopping.clone()));
            }
        }
        if !options.owner.address.is_empty() {
            owners.spawn(addresses::publish(handle.clone(), options.owner.clone(), stopping));
        }
        Ok(Self { handle, owners, stopping: stop })
    }

    /// The handle through which it is used.
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Answers what is queued, refuses what comes later, and stops; at the latest after [`limits::ENGINE_STOP_MS_MAX`],
    /// whatever the log does: callers are then told that the outcome is open, and learn it from the next owner.
    pub async fn shutdown(self) {
        let Self { mut owners, stopping, .. } = self;
        stopping.send_replace(true);
        let patience = Instant::now() + Duration::from_millis(limits::ENGINE_STOP_MS_MAX);
        loop {
            match timeout_at(patience, owners.join_next()).await {
                Ok(Some(Ok(()))) => {}
                Ok(Some(Err(failure))) => tracing::error!(%failure, "an owner ended by a panic"),
                Ok(None) => return,
                Err(_) => break,
            }
        }
        tracing::warn!(owners = owners.len(), "owners were not waited for: the log does not answer");
        owners.shutdown().await;
    }
}
