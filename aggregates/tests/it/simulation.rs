//! One scope of a context with the engine's rules around the aggregates, and nothing else of the engine: a command
//! creates or finds its aggregate, unique keys are kept, the events' bytes are what remains.

use std::collections::{BTreeMap, BTreeSet};

use annals_model::context::{AnyState, BoundedContext, Decided, ErasedAggregate, Refusal};
use annals_model::envelope::SchemaId;
use annals_model::ids::{AggregateId, WorkspaceId};
use annals_model::position::Sequence;
use annals_model::testing::{Asked, World};
use serde_json::Value;

/// One command.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) aggregate: &'static str,
    pub(crate) id: AggregateId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) reason: Option<String>,
    pub(crate) command: &'static str,
    pub(crate) payload: Value,
}

/// One event as it lies in the log.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) event_type: &'static str,
    pub(crate) schema: SchemaId,
    pub(crate) payload: Vec<u8>,
}

pub(crate) struct Simulation<'a> {
    context: &'a BoundedContext,
    pub(crate) world: World,
    /// What remains of each aggregate.
    pub(crate) histories: BTreeMap<(&'static str, AggregateId), Vec<Written>>,
    /// Codes of all refusals so far.
    pub(crate) refusals: BTreeSet<String>,
}

impl<'a> Simulation<'a> {
    pub(crate) fn new(context: &'a BoundedContext) -> Self {
        Self { context, world: World::default(), histories: BTreeMap::new(), refusals: BTreeSet::new() }
    }

    /// Asks, and fails if the decision, the fold or the bytes are not what they must be.
    pub(crate) fn ask(&mut self, step: &Step) -> Result<(), String> {
        let kind = self.context.aggregate(step.aggregate).ok_or("no such aggregate type")?;
        let key = (kind.aggregate_type(), step.id);
        let mut history = self.histories.get(&key).cloned().unwrap_or_default();
        let exists = self.world.get(key.0, key.1).is_some();
        if exists == kind.created_by().contains(&step.command) {
            return Ok(());
        }

        let command = kind.parse(step.command, step.payload.clone()).map_err(|error| error.to_string())?;
        let live = self.world.get(key.0, key.1).cloned().unwrap_or_else(|| kind.initial());
        let replayed = replay(kind, &history)?;
        same(kind, &live, &replayed)?;

        let (reason, workspace, aggregate_id) = (step.reason.clone(), step.workspace, step.id);
        let asked = Asked { reason, workspace, aggregate_id, ..Asked::default() };
        let ctx = asked.context(kind.scope(), Sequence(history.len() as u64), &self.world);
        let decided = kind.decide(&live, command.clone(), &ctx);
        for state in [&live, &replayed] {
            let again = kind.decide(state, command.clone(), &ctx);
            if seen(&again) != seen(&decided) {
                return Err(format!("decided {decided:?} first and {again:?} then"));
            }
        }

        match decided {
            Err(refusal) => {
                self.refusals.insert(refusal.code);
            }
            Ok(decided) if self.is_taken(kind, key, &decided.state) => {}
            Ok(decided) if decided.events.is_empty() => {}
            Ok(decided) => {
                for event in &decided.events {
                    let payload = decided.payloads[event.payload.clone()].to_vec();
                    history.push(Written { event_type: event.event_type, schema: event.schema, payload });
                }
                self.world.put(key.0, key.1, decided.state.clone(), kind.references(&decided.state));
                same(kind, &decided.state, &replay(kind, &history)?)?;
                self.histories.insert(key, history);
            }
        }
        Ok(())
    }

    fn is_taken(&self, kind: &dyn ErasedAggregate, own: (&str, AggregateId), next: &AnyState) -> bool {
        let wanted = kind.unique_keys(next);
        let others = self.world.iter().filter(|(aggregate_type, id, _)| (*aggregate_type, *id) != own);
        others
            .filter_map(|(other, _, state)| Some(self.context.aggregate(other)?.unique_keys(state)))
            .flatten()
            .any(|held| wanted.contains(&held))
    }
}

fn replay(kind: &dyn ErasedAggregate, history: &[Written]) -> Result<AnyState, String> {
    let mut state = kind.initial();
    for event in history {
        let evolved = kind.evolve(&mut state, event.schema, &event.payload);
        evolved.map_err(|error| format!("{} cannot be read: {error}", event.event_type))?;
    }
    Ok(state)
}

/// Equal in everything that clients, other aggregates and the engine see of a state.
fn same(kind: &dyn ErasedAggregate, live: &AnyState, replayed: &AnyState) -> Result<(), String> {
    let keys_and_references = |state: &AnyState| (kind.unique_keys(state), kind.references(state));
    if live == replayed && keys_and_references(live) == keys_and_references(replayed) {
        Ok(())
    } else {
        Err(format!("{live:?} replays to {replayed:?}"))
    }
}

fn seen(outcome: &Result<Decided, Refusal>) -> String {
    format!("{outcome:?}")
}
