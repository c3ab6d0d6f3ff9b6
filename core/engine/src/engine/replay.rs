//! Folds the log into an owner's memory: at a claim, and after an append whose outcome was unknown.

use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::time::Duration;

use annals_model::aggregate::{ScopeKind, UniqueKeys};
use annals_model::context::{BoundedContext, ErasedAggregate};
use annals_model::engine_record::ACCEPTED_TYPE;
use annals_model::envelope::{Record, RequestRef};
use annals_model::ids::{Scope, WorkspaceId};
use annals_model::position::{Checkpoint, ContextPartition, Offset, RecordOffset, Sequence};

use super::state::{AggregateEntry, AggregateKey, Changes, LedgerEntry, Peek, ReferenceKey, StateStore, UniqueKey};
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
            fold_batch(at, context, store, &batch)?;
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
            Some(batch) => fold_batch(at, context, store, &batch)?,
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
            fold_batch(at, context, store, &batch)?;
            continue;
        }
        store.apply(Changes::default(), reader.checkpoint());
        reader.wait().await?;
    }
}

fn fold_batch(
    at: ContextPartition,
    context: &BoundedContext,
    store: &mut dyn StateStore,
    batch: &CheckedBatch<'_>,
) -> Result<(), ReplayError> {
    let mut changes = Changes::default();
    for record in &batch.records {
        fold_record(context, store, &mut changes, record).map_err(|cause| ReplayError::Record {
            at,
            offset: record.offset,
            event: format!("{} of {}", record.envelope.event_type, record.envelope.aggregate_id),
            cause,
        })?;
    }
    settle_keys(context, store, &mut changes);
    let position: Checkpoint = batch.checkpoint;
    store.apply(changes, position);
    Ok(())
}

fn fold_record(
    context: &BoundedContext,
    store: &dyn StateStore,
    changes: &mut Changes,
    record: &Record<'_>,
) -> Result<(), String> {
    let envelope = &record.envelope;
    let kind = context
        .aggregate(envelope.aggregate_type)
        .ok_or_else(|| "this build does not know the aggregate type; upgrade it".to_owned())?;
    let key = AggregateKey {
        scope: scope_of(kind, envelope.subject()),
        aggregate_type: kind.aggregate_type(),
        id: envelope.aggregate_id,
    };
    let is_event = !record.is_engine_record();
    if is_event {
        evolve(kind, store, changes, key, record)?;
    } else if envelope.event_type != ACCEPTED_TYPE {
        return Err("this build does not know the engine record; upgrade it".to_owned());
    }
    let operation = envelope.event_id.operation();
    if let Some(RequestRef { client_request_id, fingerprint }) = envelope.request {
        changes.ledger.insert(
            operation,
            LedgerEntry {
                client_request_id: client_request_id.into(),
                fingerprint,
                aggregate: key,
                version: envelope.sequence,
                events: if is_event { envelope.commit_size } else { 0 },
                first: record.offset,
                end: record.offset.after(),
            },
        );
    } else if let Some(entry) = changes.ledger.get_mut(&operation) {
        // Whole commits lie in one batch, so the commit's first record is in these changes.
        entry.version = envelope.sequence;
        entry.end = record.offset.after();
    } else {
        return Err("the first record of its command is missing".to_owned());
    }
    Ok(())
}

/// The consistency boundary of an aggregate, from the workspace that its events name.
fn scope_of(kind: &dyn ErasedAggregate, subject: Scope) -> Scope {
    match kind.scope() {
        ScopeKind::Workspace => subject,
        ScopeKind::Tenant | ScopeKind::TenantAboutWorkspace => Scope { workspace: WorkspaceId::NIL, ..subject },
    }
}

fn evolve(
    kind: &dyn ErasedAggregate,
    store: &dyn StateStore,
    changes: &mut Changes,
    key: AggregateKey,
    record: &Record<'_>,
) -> Result<(), String> {
    let envelope = &record.envelope;
    let entry = match changes.aggregates.entry(key) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(vacant) => vacant.insert(match store.peek(&key) {
            Peek::Loaded(entry) => entry.clone(),
            Peek::Absent => {
                AggregateEntry { state: kind.initial(), version: Sequence::ZERO, workspace: envelope.workspace_id }
            }
            Peek::NotLoaded => return Err("its state was not loaded before the fold".to_owned()),
        }),
    };
    if envelope.sequence != entry.version.next() {
        return Err(format!("sequence {} follows {}", envelope.sequence, entry.version));
    }
    kind.evolve(&mut entry.state, record.schema, record.payload).map_err(|error| error.to_string())?;
    entry.version = envelope.sequence;
    changes.index.push((key, record.offset));
    Ok(())
}

/// Brings unique keys and references up to the batch's final states. All old ones are set free before any new one is
/// taken: a value may have moved from one aggregate to another within the batch.
fn settle_keys(context: &BoundedContext, store: &dyn StateStore, changes: &mut Changes) {
    let mut taken = Vec::new();
    for (key, entry) in &changes.aggregates {
        let Some(kind) = context.aggregate(key.aggregate_type) else { continue };
        let scope = key.scope;
        let (old_keys, new_keys) = match store.peek(key) {
            Peek::Loaded(old) => {
                for (label, target) in kind.references(&old.state) {
                    *changes.references.entry(ReferenceKey { scope, target, label }).or_default() -= 1;
                }
                (kind.unique_keys(&old.state), kind.unique_keys(&entry.state))
            }
            Peek::Absent | Peek::NotLoaded => (UniqueKeys::new(), kind.unique_keys(&entry.state)),
        };
        for (name, value) in old_keys.iter().filter(|old| !new_keys.contains(old)).cloned() {
            let given_up = UniqueKey { scope, name, value };
            if store.holder(&given_up) == Some(*key) {
                changes.unique.insert(given_up, None);
            }
        }
        for (label, target) in kind.references(&entry.state) {
            *changes.references.entry(ReferenceKey { scope, target, label }).or_default() += 1;
        }
        let newly = new_keys.into_iter().filter(|new| !old_keys.contains(new));
        taken.extend(newly.map(|(name, value)| (UniqueKey { scope, name, value }, *key)));
    }
    for (value, holder) in taken {
        // Two of an old log may have a value that became one when values got a normal form: always the same one holds it.
        let held = changes.unique.entry(value).or_default();
        *held = Some(held.map_or(holder, |other| other.min(holder)));
    }
}
