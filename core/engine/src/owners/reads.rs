//! Reads that only the owner can answer, from its memory.

use annals_model::position::{ContextPartition, PositionVector};
use tokio::sync::oneshot;

use super::mailbox::{ReadAnswer, ReadQuery, SeenAggregate};
use super::state::{AggregateKey, Peek, StateStore};
use crate::command::ReadFailure;

/// A read and who waits for it.
pub(super) type Read = (ReadQuery, oneshot::Sender<Result<ReadAnswer, ReadFailure>>);

/// Answers reads. Those about states that are not in memory come last, when these are loaded.
pub(super) async fn answer_reads(store: &mut dyn StateStore, at: ContextPartition, reads: Vec<Read>) {
    let mut waiting = Vec::new();
    let mut cold = Vec::new();
    for (query, sender) in reads {
        match answer_read(store, at, &query) {
            // Whoever no longer listens has gone.
            Ok(answer) => drop(sender.send(Ok(answer))),
            Err(NotLoaded(key)) => {
                cold.push(key);
                waiting.push((query, sender));
            }
        }
    }
    if cold.is_empty() {
        return;
    }
    store.load(&cold).await;
    for (query, sender) in waiting {
        drop(sender.send(answer_read(store, at, &query).map_err(|NotLoaded(key)| ReadFailure::Stopped {
            at,
            cause: format!("the state store does not load {} {}", key.aggregate_type, key.id),
        })));
    }
}

/// This state must be loaded first.
struct NotLoaded(AggregateKey);

fn answer_read(store: &dyn StateStore, at: ContextPartition, query: &ReadQuery) -> Result<ReadAnswer, NotLoaded> {
    Ok(match query {
        ReadQuery::Aggregate(key) => ReadAnswer::Aggregate(match store.peek(key) {
            Peek::Loaded(entry) => Some(SeenAggregate::new(entry, PositionVector::of(at, store.position().offset))),
            Peek::Absent => None,
            Peek::NotLoaded => return Err(NotLoaded(*key)),
        }),
        ReadQuery::History { key, after, limit } => ReadAnswer::History(match store.peek(key) {
            Peek::Loaded(_) => Some(store.history(key, *after, *limit)),
            Peek::Absent => None,
            Peek::NotLoaded => return Err(NotLoaded(*key)),
        }),
        ReadQuery::Operation { tenant, id } => {
            ReadAnswer::Operation(store.ledger(*id).filter(|entry| entry.aggregate.scope.tenant == *tenant))
        }
    })
}
