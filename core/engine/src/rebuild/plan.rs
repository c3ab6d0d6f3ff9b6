//! What would a rebuild do, and why? Nothing is executed.

use std::time::Duration;

use annals_model::projection::{ReadModel, SubscribedEvent, TableShape};

use super::extent::{Extent, extents};
use crate::generations::Generations;
use crate::limits;
use crate::log::{EventLog, ReadError};
use crate::sink::{Generation, GenerationState, StoreError, false_checkpoint};

/// Whether a rebuild is called for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is no live generation.
    NothingLive,
    /// The live generation is of another version than this build's definition.
    OtherVersion {
        /// The live version.
        live: u32,
    },
    /// The live generation is of this version and cannot be used: its tables or its log are others.
    LiveUnusable {
        /// What is wrong with it.
        cause: String,
    },
    /// A ready generation of this version waits to be promoted: no rebuild is called for.
    ReadyToPromote(Generation),
    /// The live generation is of this version: no rebuild is called for.
    UpToDate,
}

/// What a rebuild would do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The read model.
    pub read_model: &'static str,
    /// The version that would be built.
    pub version: u32,
    /// Whether it is called for.
    pub why: Why,
    /// What is served now, and stays so.
    pub live: Option<Generation>,
    /// A generation that is not complete.
    pub building: Option<Generation>,
    /// That one was left by a builder that died: it would be begun anew. Else somebody is at work on it.
    pub is_abandoned: bool,
    /// What would be read.
    pub partitions: Vec<Extent>,
    /// Records that would be read, if the rows fit into memory at once.
    pub events: u64,
    /// Their bytes, about.
    pub bytes: u64,
    /// The rate that the estimate rests on: an assumption, no measurement.
    pub events_per_second: u64,
    /// How long it would take at that rate.
    pub estimated: Duration,
    /// The tables that would be written, in the new generation.
    pub tables: Vec<TableShape>,
    /// The events that would be applied; all others are passed over.
    pub event_types: Vec<SubscribedEvent>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The log cannot be read: what it says applies.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The registry cannot be read: what it says applies.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks at the log's ends and at the registry; writes nothing. `events_per_second` is what the caller believes in, by
/// default [`limits::PLAN_EVENTS_PER_SECOND`].
pub async fn plan(
    log: &dyn EventLog,
    store: &Generations,
    read_model: &ReadModel,
    events_per_second: Option<u64>,
) -> Result<Plan, PlanError> {
    let partitions = extents(log, &read_model.contexts()).await?;
    let generations = store.list(read_model.name()).await?;
    let newest = |state| generations.iter().rev().find(|generation| generation.state == state).cloned();
    let live = newest(GenerationState::Live);
    let ready = generations
        .iter()
        .rev()
        .find(|generation| generation.state == GenerationState::Ready && generation.version == read_model.version());
    let usable = match &live {
        Some(live) if live.version == read_model.version() => usable(log, store, live, &partitions).await?,
        _ => Ok(()),
    };
    let why = match (&live, ready) {
        (Some(live), _) if live.version == read_model.version() && usable.is_ok() => Why::UpToDate,
        (_, Some(ready)) => Why::ReadyToPromote(ready.clone()),
        (Some(live), None) if live.version != read_model.version() => Why::OtherVersion { live: live.version },
        (Some(_), None) => Why::LiveUnusable { cause: usable.err().unwrap_or_default() },
        (None, None) => Why::NothingLive,
    };
    let building = newest(GenerationState::Building);
    let is_abandoned = match &building {
        Some(building) => store.is_abandoned(building).await?,
        None => false,
    };
    let events = partitions.iter().map(|partition| partition.ordinal.0).sum();
    let rate = events_per_second.unwrap_or(limits::PLAN_EVENTS_PER_SECOND).max(1);
    Ok(Plan {
        read_model: read_model.name(),
        version: read_model.version(),
        why,
        live,
        building,
        is_abandoned,
        events,
        bytes: partitions.iter().map(|partition| partition.ordinal.0 * partition.bytes_per_event).sum(),
        events_per_second: rate,
        estimated: Duration::from_secs_f64(events as f64 / rate as f64),
        tables: read_model.tables().to_vec(),
        event_types: read_model.event_types().collect(),
        partitions,
    })
}

/// Whether a generation can be opened; the inner error says why not, for good.
async fn usable(
    log: &dyn EventLog,
    store: &Generations,
    generation: &Generation,
    partitions: &[Extent],
) -> Result<Result<(), String>, PlanError> {
    let stored = match store.open(generation).await {
        Ok(mut sink) => sink.checkpoints().await.map_err(StoreError::from),
        Err(error) => Err(error),
    };
    let checkpoints = match stored {
        Ok(checkpoints) => checkpoints,
        Err(StoreError::Sink(error)) if !error.is_transient() => return Ok(Err(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    // A generation that has seen more than there is shows events that are lost: the log was restored from an older copy.
    // The ends are asked for behind the checkpoints, which move on with them.
    for Extent { at, .. } in partitions {
        let (offset, end) = (checkpoints.get(*at).offset, log.end(*at).await?);
        if let Some(cause) = false_checkpoint(log, *at, checkpoints.get(*at)).await? {
            return Ok(Err(cause));
        }
        if offset > end {
            let cause = format!(
                "it stands at {at} offset {offset}, beyond the log's end {end}: the log was shortened or replaced"
            );
            return Ok(Err(cause));
        }
    }
    Ok(Ok(()))
}
