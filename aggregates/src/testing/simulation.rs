//! One scope of a context with the engine's rules around the aggregates, and nothing else of the engine: a command
//! creates or finds its aggregate, unique keys are kept, the events' bytes are what remains.

use std::collections::{BTreeMap, BTreeSet};

use annals_model::aggregate::ScopeKind;
use annals_model::context::{AnyState, BoundedContext, Decided, ErasedAggregate, Refusal};
use annals_model::envelope::SchemaId;
use annals_model::ids::{AggregateId, WorkspaceId};
use annals_model::position::Sequence;
use annals_model::testing::{Asked, World};

use super::Step;

/// One event as it lies in the log.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its type.
    pub event_type: &'static str,
    /// What its payload is written under.
    pub schema: SchemaId,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// One event among those of the whole scope.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Whose it is.
    pub id: AggregateId,
    /// What it is about; nil for the tenant as a whole.
    pub workspace: WorkspaceId,
    /// The event.
    pub event: Written,
}

impl Logged {
    /// True for an event of this aggregate type.
    pub fn is_of(&self, aggregate_type: &str) -> bool {
        self.event.event_type.split('.').next() == Some(aggregate_type)
    }
}

/// The scope, and all that has happened in it.
#[derive(Debug)]
pub struct Simulation<'a> {
    context: &'a BoundedContext,
    /// The states.
    pub world: World,
    /// What remains of each aggregate.
    pub histories: BTreeMap<(&'static str, AggregateId), Vec<Written>>,
    /// All of it, in the order in which it happened.
    pub log: Vec<Logged>,
    /// Codes of all refusals so far.
    pub refusals: BTreeSet<String>,
}

impl<'a> Simulation<'a> {
    /// Nothing has happened yet.
    pub fn new(context: &'a BoundedContext) -> Self {
        let (histories, log, refusals) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self { context, world: World::default(), histories, log, refusals }
    }

    /// Asks, and fails if the decision, the fold or the bytes are not what they must be.
    pub fn ask(&mut self, step: &Step) -> Result<(), String> {
        let (aggregate, name) = step.ask.of();
        let kind = self.context.aggregate(aggregate).ok_or("no such aggregate type")?;
        let key = (kind.aggregate_type(), step.id);
        let mut history = self.histories.get(&key).cloned().unwrap_or_default();
        let exists = self.world.get(key.0, key.1).is_some();
        if exists == kind.created_by().contains(&name) {
            return Ok(());
        }

        let command = kind.parse(name, step.ask.payload.clone()).map_err(|error| error.to_string())?;
        let live = self.world.get(key.0, key.1).cloned().unwrap_or_else(|| kind.initial());
        let replayed = replay(kind, &history)?;
        same(kind, &live, &replayed)?;

        let mut asked = Asked { reason: step.reason.clone(), aggregate_id: step.id, ..Asked::default() };
        if kind.scope() == ScopeKind::TenantAboutWorkspace {
            asked.workspace = step.workspace;
        }
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
                    let event = Written { event_type: event.event_type, schema: event.schema, payload };
                    self.log.push(Logged { id: step.id, workspace: ctx.workspace, event: event.clone() });
                    history.push(event);
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
