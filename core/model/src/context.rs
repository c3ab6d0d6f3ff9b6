//! A bounded context as the engine sees it: its aggregates with their types erased.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use crate::aggregate::{Aggregate, AnyContext, Context, References, ScopeKind, UniqueKeys};
use crate::avro::DecodeError;
use crate::command_json::{CommandField, FieldError, from_named};
use crate::envelope::SchemaId;
use crate::event::{EventKind, EventSet};
use crate::ids::ContextId;

/// The definition of a bounded context: its id and its aggregate types.
#[derive(Clone, Debug)]
pub struct BoundedContext {
    id: ContextId,
    aggregates: Vec<Arc<dyn ErasedAggregate>>,
}

impl BoundedContext {
    /// A context without aggregates.
    pub fn new(id: ContextId) -> Self {
        Self { id, aggregates: Vec::new() }
    }

    /// Adds an aggregate type. Panics on a repeated type or one of another context: a mistake in the program's text.
    #[must_use]
    pub fn with<A: Aggregate>(mut self) -> Self {
        assert_eq!(<A::Event as EventSet>::CONTEXT, self.id, "aggregate {} belongs to another context", A::TYPE);
        assert!(self.aggregate(A::TYPE).is_none(), "aggregate {} is listed twice", A::TYPE);
        self.aggregates.push(Arc::new(Erased::<A>(PhantomData)));
        self
    }

    /// Its id.
    pub fn id(&self) -> ContextId {
        self.id
    }

    /// The aggregate type with this wire name.
    pub fn aggregate(&self, aggregate_type: &str) -> Option<&dyn ErasedAggregate> {
        self.aggregates.iter().find(|kind| kind.aggregate_type() == aggregate_type).map(|kind| &**kind)
    }

    /// All aggregate types.
    pub fn aggregates(&self) -> impl Iterator<Item = &dyn ErasedAggregate> {
        self.aggregates.iter().map(|kind| &**kind)
    }
}

/// A state with its type erased. Shared: a copy costs nothing, and whoever changes one of several changes a copy of its own.
#[derive(Clone)]
pub struct AnyState(Arc<dyn ErasedState>);

impl AnyState {
    /// Erases the type of a state.
    pub fn new<A: Aggregate>(state: A) -> Self {
        Self(Arc::new(state))
    }
    /// The state as its Rust type, for [`crate::aggregate::StateView`].
    pub fn as_any(&self) -> &dyn Any {
        self.0.as_any()
    }
    /// What clients see of it.
    pub fn to_json(&self) -> Value {
        self.0.to_json()
    }
    fn is<A: Aggregate>(&self) -> Option<&A> {
        self.as_any().downcast_ref()
    }
    /// To be changed: nobody else sees it.
    fn own(&mut self) -> &mut dyn ErasedState {
        if Arc::get_mut(&mut self.0).is_none() {
            self.0 = self.0.another();
        }
        match Arc::get_mut(&mut self.0) {
            Some(state) => state,
            None => unreachable!("a copy of one's own, or made one above"),
        }
    }
}

impl fmt::Debug for AnyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl PartialEq for AnyState {
    /// Equal as clients see them.
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}

trait ErasedState: fmt::Debug + Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
    fn another(&self) -> Arc<dyn ErasedState>;
    fn to_json(&self) -> Value;
}

impl<A: Aggregate> ErasedState for A {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
    fn another(&self) -> Arc<dyn ErasedState> {
        Arc::new(self.clone())
    }
    fn to_json(&self) -> Value {
        // Fails only on maps with keys that are no strings; a state has none, and null then shows it in its test.
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// A parsed command with its type erased; made and read by the same [`ErasedAggregate`].
pub struct AnyCommand {
    name: &'static str,
    command: Box<dyn Any + Send + Sync>,
    clone: fn(&(dyn Any + Send + Sync)) -> Box<dyn Any + Send + Sync>,
}

impl AnyCommand {
    /// The command's name, the last segment of its type.
    pub fn name(&self) -> &'static str {
        self.name
    }
}
impl Clone for AnyCommand {
    fn clone(&self) -> Self {
        Self { name: self.name, command: (self.clone)(&*self.command), clone: self.clone }
    }
}
impl fmt::Debug for AnyCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyCommand({})", self.name)
    }
}

/// Events that a decision made, encoded, and the state behind them.
#[derive(Debug)]
pub struct Decided {
    /// The state after the events.
    pub state: AnyState,
    /// The events in order.
    pub events: Vec<DecidedEvent>,
    /// Their payloads' Avro bytes, one after the other.
    pub payloads: Vec<u8>,
}

/// One event of a [`Decided`].
#[derive(Debug)]
pub struct DecidedEvent {
    /// Wire name.
    pub event_type: &'static str,
    /// Major version.
    pub event_version: i32,
    /// Schema of the payload.
    pub schema: SchemaId,
    /// Where its payload lies in [`Decided::payloads`].
    pub payload: Range<usize>,
    /// The payload as JSON, for the answer.
    pub json: Value,
}

/// A business refusal, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable name, snake case.
    pub code: String,
    /// In words.
    pub message: String,
    /// The rejection's own values, if it has any.
    pub details: Value,
}

/// An aggregate type with its Rust types erased.
pub trait ErasedAggregate: Send + Sync + fmt::Debug {
    /// Wire name.
    fn aggregate_type(&self) -> &'static str;
    /// Whose consistency boundary it lives in.
    fn scope(&self) -> ScopeKind;
    /// Version of its fold, [`Aggregate::FOLD_VERSION`].
    fn fold_version(&self) -> u32;
    /// The commands that create it.
    fn created_by(&self) -> &'static [&'static str];
    /// Its event types.
    fn event_kinds(&self) -> &'static [EventKind];
    /// Names of all its commands.
    fn command_names(&self) -> &'static [&'static str];
    /// What the payload of one of its commands may hold; nothing where it has no such command.
    fn command_fields(&self, name: &str) -> Vec<CommandField>;
    /// Parses a command's payload.
    fn parse(&self, name: &str, payload: Value) -> Result<AnyCommand, ParseError>;
    /// The state before the first event.
    fn initial(&self) -> AnyState;
    /// Decides; the inner error is the business answer.
    fn decide(&self, state: &AnyState, command: AnyCommand, ctx: &AnyContext<'_>) -> Result<Decided, Refusal>;
    /// Applies a recorded payload.
    fn evolve(&self, state: &mut AnyState, schema: SchemaId, payload: &[u8]) -> Result<(), DecodeError>;
    /// Unique keys of a state.
    fn unique_keys(&self, state: &AnyState) -> UniqueKeys;
    /// References of a state.
    fn references(&self, state: &AnyState) -> References;
}

/// Why a command cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The aggregate has no such command; the names it has.
    #[error("no such command; there are {0:?}")]
    UnknownCommand(&'static [&'static str]),
    /// A field of the payload is wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
}

struct Erased<A>(PhantomData<fn() -> A>);

impl<A: Aggregate> fmt::Debug for Erased<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(A::TYPE)
    }
}

impl<A: Aggregate> Erased<A> {
    /// States reach their own kind only: the engine keys them by aggregate type.
    fn own(state: &AnyState) -> &A {
        match state.is::<A>() {
            Some(state) => state,
            None => unreachable!("a state of another type under aggregate type {}", A::TYPE),
        }
    }
}

impl<A: Aggregate> ErasedAggregate for Erased<A> {
    fn aggregate_type(&self) -> &'static str {
        A::TYPE
    }
    fn scope(&self) -> ScopeKind {
        A::SCOPE
    }
    fn fold_version(&self) -> u32 {
        A::FOLD_VERSION
    }
    fn created_by(&self) -> &'static [&'static str] {
        A::CREATED_BY
    }
    fn event_kinds(&self) -> &'static [EventKind] {
        A::Event::TYPES
    }
    fn command_names(&self) -> &'static [&'static str] {
        crate::command_json::variant_names::<A::Command>()
    }
    fn command_fields(&self, name: &str) -> Vec<CommandField> {
        crate::command_json::command_fields::<A::Command>(name)
    }
    fn parse(&self, name: &str, payload: Value) -> Result<AnyCommand, ParseError> {
        let names = self.command_names();
        let name = *names.iter().find(|known| **known == name).ok_or(ParseError::UnknownCommand(names))?;
        let command: A::Command = from_named(name, payload)?;
        Ok(AnyCommand {
            name,
            command: Box::new(command),
            clone: |command| match command.downcast_ref::<A::Command>() {
                Some(command) => Box::new(command.clone()),
                None => unreachable!("made with this very type above"),
            },
        })
    }
    fn initial(&self) -> AnyState {
        AnyState::new(A::default())
    }
    fn decide(&self, state: &AnyState, command: AnyCommand, ctx: &AnyContext<'_>) -> Result<Decided, Refusal> {
        let Ok(command) = command.command.downcast::<A::Command>() else {
            unreachable!("a command of another type under aggregate type {}", A::TYPE)
        };
        let state = Self::own(state);
        let events = state.decide(*command, &Context::of(ctx)).map_err(|rejection| refusal(&rejection))?;
        let mut next = state.clone();
        let mut payloads = Vec::new();
        let mut decided = Vec::with_capacity(events.len());
        for event in &events {
            next.evolve(event);
            let start = payloads.len();
            event.encode(&mut payloads);
            decided.push(DecidedEvent {
                event_type: event.event_type(),
                event_version: event.event_version(),
                schema: event.schema(),
                payload: start..payloads.len(),
                json: event.to_json(),
            });
        }
        Ok(Decided { state: AnyState::new(next), events: decided, payloads })
    }
    fn evolve(&self, state: &mut AnyState, schema: SchemaId, payload: &[u8]) -> Result<(), DecodeError> {
        let event = A::Event::decode_any(schema, payload)?;
        match state.own().as_any_mut().downcast_mut::<A>() {
            Some(state) => state.evolve(&event),
            None => unreachable!("a state of another type under aggregate type {}", A::TYPE),
        }
        Ok(())
    }
    fn unique_keys(&self, state: &AnyState) -> UniqueKeys {
        Self::own(state).unique_keys()
    }
    fn references(&self, state: &AnyState) -> References {
        Self::own(state).references()
    }
}

/// Code, words and values of a rejection; serde's external tagging gives the code: `"is_retired"` or
/// `{"still_needed": 3}`.
fn refusal<R: std::error::Error + serde::Serialize>(rejection: &R) -> Refusal {
    let (code, details) = match serde_json::to_value(rejection) {
        Ok(Value::String(code)) => (code, Value::Null),
        Ok(Value::Object(map)) if map.len() == 1 => map.into_iter().next().unwrap_or_default(),
        _ => ("rejected".to_owned(), Value::Null),
    };
    Refusal { code, message: rejection.to_string(), details }
}

#[cfg(test)]
mod tests;
