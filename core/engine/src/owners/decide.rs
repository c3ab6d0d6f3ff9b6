//! The decision of one command: pure but for loading states that are not in memory.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use annals_model::aggregate::{AnyContext, AnyLabel, StateView};
use annals_model::context::{AnyState, BoundedContext, Decided, ErasedAggregate};
use annals_model::ids::{AggregateId, OperationId, Scope};
use annals_model::position::Sequence;
use annals_model::time::Timestamp;
use uuid::Uuid;

use super::state::{AggregateEntry, AggregateKey, Changes, LedgerEntry, Peek, ReferenceKey, StateStore, UniqueKey};
use crate::command::{CommandError, CommandRequest};
use crate::limits;
use crate::panics::panic_text;

/// What deciding a command came to.
#[derive(Debug)]
pub(super) enum Decision {
    /// It was accepted before, or earlier in this batch: answer from the ledger.
    Recorded,
    /// It is accepted; nothing is applied yet.
    Accepted(Box<Accepted>),
    /// It is refused.
    Refused(CommandError),
}

/// An accepted command and its effects.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) operation: OperationId,
    pub(super) key: AggregateKey,
    pub(super) version_before: Sequence,
    pub(super) decided: Decided,
}

/// The owner's states as a decision sees them; remembers what was missing.
#[derive(Debug)]
struct View<'a> {
    store: &'a dyn StateStore,
    changes: &'a Changes,
    scope: Scope,
    missing: &'a RefCell<Vec<AggregateKey>>,
}

impl StateView for View<'_> {
    fn state(&self, aggregate_type: &'static str, id: AggregateId) -> Option<&dyn Any> {
        let key = AggregateKey { scope: self.scope, aggregate_type, id };
        match self.changes.peek(self.store, &key) {
            Peek::Loaded(entry) => Some(entry.state.as_any()),
            Peek::Absent => None,
            Peek::NotLoaded => {
                self.missing.borrow_mut().push(key);
                None
            }
        }
    }
    fn referrers(&self, target: AggregateId, label: AnyLabel) -> usize {
        let key = ReferenceKey { scope: self.scope, target, label };
        usize::try_from(self.changes.references(self.store, &key)).unwrap_or_default()
    }
}

/// One round's outcome.
enum Round {
    Done(Decision),
    /// The aggregate itself is not in memory.
    Cold,
}

/// Decides a command against the states and the batch's pending effects. States that are not in memory are loaded and
/// the pure decision runs again, at most [`limits::DECIDE_ROUNDS_MAX`] times.
pub(super) async fn decide(
    context: &BoundedContext,
    store: &mut dyn StateStore,
    changes: &Changes,
    request: &CommandRequest,
    now: Timestamp,
) -> Decision {
    for _ in 0..limits::DECIDE_ROUNDS_MAX {
        let missing = RefCell::default();
        // Nothing is changed by a decision, so nothing is left half done by one that panics: it costs its own command
        // an answer, not everybody else the partition.
        let round = catch_unwind(AssertUnwindSafe(|| decide_once(context, store, changes, request, now, &missing)));
        let missing = missing.into_inner();
        match round {
            Ok(Round::Done(decision)) if missing.is_empty() => return decision,
            Err(panic) if missing.is_empty() => {
                let cause = panic_text(&*panic).unwrap_or("unknown").to_owned();
                let aggregate_type = request.aggregate_type;
                tracing::error!(aggregate_type, command = request.command.name(), cause, "decision panicked");
                return Decision::Refused(CommandError::Defect { aggregate_type, cause });
            }
            // Whatever it came to without a state that it asked for, a panic too, is no decision.
            Ok(Round::Done(_) | Round::Cold) | Err(_) => {}
        }
        store.load(&missing).await;
    }
    // Each round asks for at least one more state, so this needs a decision that looks at more than that many in turn.
    Decision::Refused(CommandError::Aborted {
        cause: format!("the decision asked for more states in {} rounds", limits::DECIDE_ROUNDS_MAX),
    })
}

fn decide_once(
    context: &BoundedContext,
    store: &dyn StateStore,
    changes: &Changes,
    request: &CommandRequest,
    now: Timestamp,
    missing: &RefCell<Vec<AggregateKey>>,
) -> Round {
    let operation = request.operation_id();
    let accepted = changes.ledger(store, operation);
    #[cfg(feature = "seeded-bugs")]
    let accepted = super::mistakes::remembered(accepted);
    if let Some(entry) = accepted {
        return Round::Done(recorded(operation, &entry, request));
    }
    let refused = |error| Round::Done(Decision::Refused(error));
    let Some(kind) = context.aggregate(request.aggregate_type) else {
        unreachable!("the command was parsed by aggregate type {} of this context", request.aggregate_type)
    };
    let key = match aggregate_key(kind, request, operation) {
        Ok(key) => key,
        Err(error) => return refused(error),
    };
    let entry = match changes.peek(store, &key) {
        Peek::Loaded(entry) => Some(entry),
        Peek::Absent => None,
        Peek::NotLoaded => {
            missing.borrow_mut().push(key);
            return Round::Cold;
        }
    };
    if let Err(error) = check_existence(kind, request, &key, entry) {
        return refused(error);
    }
    let version = entry.map_or(Sequence::ZERO, |entry| entry.version);
    if let Some(expected) = request.expected_version
        && expected != version
    {
        return refused(CommandError::VersionConflict { expected, actual: version });
    }
    let view = View { store, changes, scope: request.scope, missing };
    let initial;
    let state = match entry {
        Some(entry) => &entry.state,
        None => {
            initial = kind.initial();
            &initial
        }
    };
    let outcome = kind.decide(
        state,
        request.command.clone(),
        &AnyContext {
            now,
            actor: &request.actor,
            scope: request.scope,
            workspace: request.workspace,
            aggregate_id: key.id,
            version,
            operation,
            reason: request.reason.as_deref(),
            policy_decision: &request.policy_decision,
            view: &view,
        },
    );
    let decided = match outcome {
        Ok(decided) => decided,
        Err(refusal) => return refused(CommandError::Rejected(refusal)),
    };
    if decided.events.len() > limits::COMMAND_EVENTS_MAX || decided.payloads.len() > limits::COMMAND_BYTES_MAX {
        return refused(CommandError::TooLarge { events: decided.events.len(), bytes: decided.payloads.len() });
    }
    if let Some((name, holder)) = taken_key(kind, store, changes, &key, state, &decided) {
        return refused(CommandError::UniqueKeyTaken { key: name, holder });
    }
    Round::Done(Decision::Accepted(Box::new(Accepted { operation, key, version_before: version, decided })))
}

/// The ledger's answer: the same request, or another one under its id.
fn recorded(operation: OperationId, entry: &LedgerEntry, request: &CommandRequest) -> Decision {
    if entry.fingerprint == request.fingerprint && *entry.client_request_id == *request.client_request_id.as_str() {
        Decision::Recorded
    } else {
        Decision::Refused(CommandError::FingerprintMismatch { operation })
    }
}

fn aggregate_key(
    kind: &dyn ErasedAggregate,
    request: &CommandRequest,
    operation: OperationId,
) -> Result<AggregateKey, CommandError> {
    let id = match request.aggregate_id {
        Some(id) => id,
        None if kind.created_by().contains(&request.command.name()) => {
            AggregateId(Uuid::new_v5(&operation.0, kind.aggregate_type().as_bytes()))
        }
        None => return Err(CommandError::AggregateIdMissing { created_by: kind.created_by() }),
    };
    Ok(AggregateKey { scope: request.scope, aggregate_type: kind.aggregate_type(), id })
}

fn check_existence(
    kind: &dyn ErasedAggregate,
    request: &CommandRequest,
    key: &AggregateKey,
    entry: Option<&AggregateEntry>,
) -> Result<(), CommandError> {
    let creates = kind.created_by().contains(&request.command.name());
    match entry {
        // An aggregate of another workspace is not there for this one.
        Some(entry) if entry.workspace != request.workspace && !creates => {
            Err(CommandError::NotFound { aggregate_type: key.aggregate_type, id: key.id })
        }
        Some(entry) if creates => Err(CommandError::AlreadyExists {
            aggregate_type: key.aggregate_type,
            id: key.id,
            // That the id is taken must be said; what became of it in another workspace is not this caller's to know.
            version: (entry.workspace == request.workspace).then_some(entry.version),
        }),
        None if !creates => Err(CommandError::NotFound { aggregate_type: key.aggregate_type, id: key.id }),
        Some(_) | None => Ok(()),
    }
}

fn taken_key(
    kind: &dyn ErasedAggregate,
    store: &dyn StateStore,
    changes: &Changes,
    key: &AggregateKey,
    before: &AnyState,
    decided: &Decided,
) -> Option<(&'static str, AggregateId)> {
    kind.unique_keys(&decided.state).into_iter().find_map(|(name, value)| {
        let wanted = UniqueKey { scope: key.scope, name, value };
        let holder = changes.holder(store, &wanted).filter(|holder| holder != key)?;
        // Two of an old log may have a value that became one when values got a normal form: neither is stopped by it.
        let has_it =
            kind.unique_keys(before).into_iter().any(|(name, value)| (name, &value) == (wanted.name, &wanted.value));
        (!has_it).then_some((name, holder.id))
    })
}
