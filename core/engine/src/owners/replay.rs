//! Folds the log into an owner's memory: at a claim, and after an append whose outcome was unknown.

use std::convert::Infallible;
use std::time::Duration;

use annals_model::aggregate::ScopeKind;
use annals_model::context::{BoundedContext, ErasedAggregate};
use annals_model::engine_record::ACCEPTED_TYPE;
use annals_model::envelope::{Record, RequestRef};
use annals_model::ids::{Scope, WorkspaceId};
use annals_model::position::{ContextPartition, Offset, RecordOffset, Sequence};

use super::state::{Advanced, AggregateEntry, AggregateKey, Changes, LedgerEntry, Peek, StateStore};
use crate::limits;
use crate::log::checked::{CheckedBatch, CheckedReader};
use crate::log::{EventLog, ReadError};

/// Why the partition cannot be folded: it stops, and an operator must look.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplayError {
    /// The log cannot be read, or is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record that cannot be what this build's owner wrote.
    #[error("{at}: {event} at offset {offset}: {cause}")]
    Record { at: ContextPartition, offset: RecordOffset, event: String, cause: String },
}

impl ReplayError {
    /// True if trying again can help.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Read(ReadError::Unavailable(_)))
    }
}

/// Folds everything from the store's position up to the barrier.
pub(super) async fn replay(
    log: &dyn EventLog,
    at: ContextPartition,
    context: &BoundedContext,
    store: &mut dyn StateStore,
    barrier: Offset,
) -> Result<(), ReplayError> {
    let mut reader = CheckedReader::open(log, at, store.position()).await?;
    while reader.checkpoint().offset < barrier {
        if let Some(batch) = reader.next().await? {
            fold_batch(at, context, store, &batch).await?;
            continue;
        }
        if reader.checkpoint().offset < barrier {
            reader.wait().await?;
        }
    }
    if reader.voided() > 0 {
        tracing::error!(%at, records = reader.voided(), "dropped records of a fenced writer: fencing below this log fails");
    }
    // Claims alone move the position too.
    store.apply(Changes::default(), reader.checkpoint());
    Ok(())
}

/// Folds what there is now.
pub(super) async fn catch_up(
    log: &dyn EventLog,
    at: ContextPartition,
    context: &BoundedContext,
    store: &mut dyn StateStore,
) -> Result<(), ReplayError> {
    let patience = Duration::from_millis(limits::CATCH_UP_MS);
    let mut reader = CheckedReader::open(log, at, store.position()).await?;
    // What does not come belongs to an owner that died in the middle: the claim settles it.
    while let Ok(next) = tokio::time::timeout(patience, reader.next()).await {
        match next? {
            Some(batch) => fold_batch(at, context, store, &batch).await?,
            None => break,
        }
    }
    store.apply(Changes::default(), reader.checkpoint());
    Ok(())
}

/// Folds what there is and what comes, while somebody else owns the partition. May be dropped at any time.
pub(super) async fn follow(
    log: &dyn EventLog,
    at: ContextPartition,
    context: &BoundedContext,
    store: &mut dyn StateStore,
) -> Result<Infallible, ReplayError> {
    let mut reader = CheckedReader::follow(log, at, store.position()).await?;
    loop {
        if let Some(batch) = reader.next().await? {
            fold_batch(at, context, store, &batch).await?;
            continue;
        }
        store.apply(Changes::default(), reader.checkpoint());
        reader.wait().await?;
    }
}

async fn fold_batch(
    at: ContextPartition,
    context: &BoundedContext,
    store: &mut dyn StateStore,
    batch: &CheckedBatch<'_>,
) -> Result<(), ReplayError> {
    let unfit = |Unfit { record, cause }: Unfit<'_>| ReplayError::Record {
        at,
        offset: record.offset,
        event: format!("{} of {}", record.envelope.event_type, record.envelope.aggregate_id),
        cause,
    };
    let mut changes = Changes::default();
    // A batch holds whole commits only.
    for commit in batch.records.chunk_by(|a, b| a.envelope.event_id.operation() == b.envelope.event_id.operation()) {
        let mut advanced = fold_commit(context, store, &mut changes, commit).map_err(unfit)?;
        if advanced == Advanced::NotLoaded {
            let cold = cold(context, store, &batch.records);
            store.load(&cold).await;
            advanced = fold_commit(context, store, &mut changes, commit).map_err(unfit)?;
        }
        if advanced == Advanced::NotLoaded {
            let cause = "the state store does not load its aggregate".to_owned();
            return Err(unfit(Unfit { record: &commit[0], cause }));
        }
    }
    store.apply(changes, batch.checkpoint);
    Ok(())
}

/// A record that this build's owner cannot have written, and why.
struct Unfit<'a> {
    record: &'a Record<'a>,
    cause: String,
}

impl<'a> Unfit<'a> {
    fn because(record: &'a Record<'a>, cause: impl Into<String>) -> Self {
        Self { record, cause: cause.into() }
    }
}

/// The states that these records move and that are not in memory.
fn cold(context: &BoundedContext, store: &dyn StateStore, records: &[Record<'_>]) -> Vec<AggregateKey> {
    let events = records.iter().filter(|record| !record.is_engine_record());
    let mut keys: Vec<_> = events.filter_map(|record| moved_by(context, record).map(|(_, key)| key)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| matches!(store.peek(key), Peek::NotLoaded));
    keys
}

/// The aggregate that a record is about; nothing if this build does not know its type.
fn moved_by<'c>(context: &'c BoundedContext, record: &Record<'_>) -> Option<(&'c dyn ErasedAggregate, AggregateKey)> {
    let kind = context.aggregate(record.envelope.aggregate_type)?;
    let subject = record.envelope.subject();
    let scope = match kind.scope() {
        ScopeKind::Workspace => subject,
        ScopeKind::Tenant | ScopeKind::TenantAboutWorkspace => Scope { workspace: WorkspaceId::NIL, ..subject },
    };
    Some((kind, AggregateKey { scope, aggregate_type: kind.aggregate_type(), id: record.envelope.aggregate_id }))
}

/// Folds the records of one command. Nothing is changed where the aggregate must be loaded first.
fn fold_commit<'a>(
    context: &BoundedContext,
    store: &dyn StateStore,
    changes: &mut Changes,
    commit: &'a [Record<'a>],
) -> Result<Advanced, Unfit<'a>> {
    let (Some(first), Some(last)) = (commit.first(), commit.last()) else { return Ok(Advanced::Moved) };
    let unknown = "this build does not know the aggregate type; upgrade it";
    let (kind, key) = moved_by(context, first).ok_or_else(|| Unfit::because(first, unknown))?;
    let is_event = !first.is_engine_record();
    if is_event {
        let advanced = changes.advance(store, kind, key, |before| evolve(kind, before, commit))?;
        if advanced == Advanced::NotLoaded {
            return Ok(advanced);
        }
        changes.index.extend(commit.iter().map(|record| (key, record.offset)));
    } else if first.envelope.event_type != ACCEPTED_TYPE {
        return Err(Unfit::because(first, "this build does not know the engine record; upgrade it"));
    }
    let Some(RequestRef { client_request_id, fingerprint }) = first.envelope.request else {
        return Err(Unfit::because(first, "the first record of its command is missing"));
    };
    changes.ledger.insert(
        first.envelope.event_id.operation(),
        LedgerEntry {
            client_request_id: client_request_id.into(),
            fingerprint,
            aggregate: key,
            version: last.envelope.sequence,
            events: if is_event { first.envelope.commit_size } else { 0 },
            first: first.offset,
            end: last.offset.after(),
        },
    );
    Ok(Advanced::Moved)
}

/// The state behind a command's events.
fn evolve<'a>(
    kind: &dyn ErasedAggregate,
    before: Option<AggregateEntry>,
    commit: &'a [Record<'a>],
) -> Result<AggregateEntry, Unfit<'a>> {
    let about = &commit[0].envelope;
    let mut entry = before.unwrap_or_else(|| AggregateEntry {
        state: kind.initial(),
        version: Sequence::ZERO,
        workspace: about.workspace_id,
    });
    for record in commit {
        let envelope = &record.envelope;
        if (envelope.aggregate_id, envelope.aggregate_type) != (about.aggregate_id, about.aggregate_type) {
            return Err(Unfit::because(record, "another aggregate than that of its command's first event"));
        }
        if envelope.sequence != entry.version.next() {
            return Err(Unfit::because(record, format!("sequence {} follows {}", envelope.sequence, entry.version)));
        }
        kind.evolve(&mut entry.state, record.schema, record.payload)
            .map_err(|error| Unfit::because(record, error.to_string()))?;
        entry.version = envelope.sequence;
    }
    Ok(entry)
}
