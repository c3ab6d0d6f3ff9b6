//! Given / when / then for aggregates: what has happened, what is asked, what must come of it.
//!
//! ```text
//! given::<Application>([registered("billing")])
//!     .and::<Dependency>(id(9), [declared(id(2), id(1))])
//!     .when(Command::Retire { force: false })
//!     .then_rejected(Rejection::StillNeeded(1));
//! ```
//! The aggregate under test has [`Given::ID`] unless told otherwise. References are counted from the states of the
//! world, as the engine counts them, so a rule and the references that it rests on are tested together.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;

use uuid::Uuid;

use crate::aggregate::{Aggregate, AnyContext, AnyLabel, Context, Reference, References, ScopeKind, StateView};
use crate::context::AnyState;
use crate::ids::{Actor, AggregateId, OperationId, Scope, TenantId, WorkspaceId};
use crate::position::Sequence;
use crate::time::Timestamp;

/// A small id, to tell things apart in tests.
pub const fn id(number: u128) -> AggregateId {
    AggregateId(Uuid::from_u128(number))
}

/// The state behind these events.
pub fn folded<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> A {
    let mut state = A::default();
    events.into_iter().for_each(|event| state.evolve(&event));
    state
}

/// Living aggregates of one scope, and who points at whom.
#[derive(Clone, Debug, Default)]
pub struct World {
    living: BTreeMap<(&'static str, AggregateId), (AnyState, References)>,
}

impl World {
    /// Puts a state, or replaces it.
    pub fn put(&mut self, aggregate_type: &'static str, id: AggregateId, state: AnyState, references: References) {
        self.living.insert((aggregate_type, id), (state, references));
    }

    /// The state of a living aggregate.
    pub fn get(&self, aggregate_type: &'static str, id: AggregateId) -> Option<&AnyState> {
        self.living.get(&(aggregate_type, id)).map(|(state, _)| state)
    }

    /// Every living aggregate: type, id, state.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, AggregateId, &AnyState)> {
        self.living.iter().map(|((aggregate_type, id), (state, _))| (*aggregate_type, *id, state))
    }

    fn put_typed<A: Aggregate>(&mut self, id: AggregateId, state: A) {
        let references = state.references();
        self.put(A::TYPE, id, AnyState::new(state), references);
    }
}

impl StateView for World {
    fn state(&self, aggregate_type: &'static str, id: AggregateId) -> Option<&dyn Any> {
        self.get(aggregate_type, id).map(AnyState::as_any)
    }
    fn referrers(&self, id: AggregateId, label: AnyLabel) -> usize {
        let counted = Reference { label, target: id };
        self.living.values().map(|(_, references)| references.iter().filter(|own| **own == counted).count()).sum()
    }
}

/// Who asks, when, and about what.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Decision time.
    pub now: Timestamp,
    /// Who asks.
    pub actor: Actor,
    /// The tenant.
    pub tenant: TenantId,
    /// The workspace that the command names.
    pub workspace: WorkspaceId,
    /// The aggregate that the command is for.
    pub aggregate_id: AggregateId,
    /// The operation, from which ids derive.
    pub operation: OperationId,
    /// Why.
    pub reason: Option<String>,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            now: Timestamp(1_768_824_000_000_000),
            actor: Actor::Service("test".into()),
            tenant: TenantId(Uuid::from_u128(0xa)),
            workspace: WorkspaceId(Uuid::from_u128(0xb)),
            aggregate_id: id(1),
            operation: OperationId(Uuid::from_u128(0xc)),
            reason: None,
        }
    }
}

impl Asked {
    /// The context of a decision about an aggregate of this scope kind, as the engine would make it.
    pub fn context<'a>(&'a self, kind: ScopeKind, version: Sequence, view: &'a dyn StateView) -> AnyContext<'a> {
        let of_tenant = Scope::of_tenant(self.tenant);
        let (scope, workspace) = match kind {
            ScopeKind::Workspace => (Scope { workspace: self.workspace, ..of_tenant }, self.workspace),
            ScopeKind::Tenant => (of_tenant, WorkspaceId::NIL),
            ScopeKind::TenantAboutWorkspace => (of_tenant, self.workspace),
        };
        AnyContext {
            now: self.now,
            actor: &self.actor,
            scope,
            workspace,
            aggregate_id: self.aggregate_id,
            version,
            operation: self.operation,
            reason: self.reason.as_deref(),
            policy_decision: "builtin:test",
            view,
        }
    }
}

/// What has happened so far to the aggregate under test.
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut version = 0;
    let state = folded(events.into_iter().inspect(|_| version += 1));
    Given { state, version: Sequence(version), world: World::default(), asked: Asked::default() }
}

/// A state, the world around it, and who asks.
#[derive(Clone, Debug)]
pub struct Given<A> {
    state: A,
    version: Sequence,
    world: World,
    asked: Asked,
}

impl<A: Aggregate> Given<A> {
    /// Id of the aggregate under test.
    pub const ID: AggregateId = id(1);

    /// Another aggregate of the same scope, and what has happened to it.
    #[must_use]
    pub fn and<B: Aggregate>(mut self, id: AggregateId, events: impl IntoIterator<Item = B::Event>) -> Self {
        self.world.put_typed(id, folded::<B>(events));
        self
    }

    /// Changes who asks, when and about what.
    #[must_use]
    pub fn asked(mut self, change: impl FnOnce(&mut Asked)) -> Self {
        change(&mut self.asked);
        self
    }

    /// The reason that the command gives.
    #[must_use]
    pub fn reason(self, reason: &str) -> Self {
        self.asked(|asked| asked.reason = Some(reason.to_owned()))
    }

    /// Decides.
    pub fn when(mut self, command: A::Command) -> Outcome<A> {
        if self.version.0 > 0 {
            self.world.put_typed(self.asked.aggregate_id, self.state.clone());
        }
        let ctx = self.asked.context(A::SCOPE, self.version, &self.world);
        Outcome { decided: self.state.decide(command, &Context::of(&ctx)) }
    }
}

/// What a decision came to.
#[derive(Debug)]
pub struct Outcome<A: Aggregate> {
    decided: Result<Vec<A::Event>, A::Rejection>,
}

impl<A: Aggregate> Outcome<A> {
    /// Accepted, with exactly these events.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = A::Event>) {
        let expected: Vec<_> = events.into_iter().collect();
        match self.decided {
            Ok(decided) => assert_eq!(decided, expected),
            Err(rejection) => panic!("rejected ({rejection}) where {expected:?} was expected"),
        }
    }

    /// Accepted, and there was nothing to do.
    #[track_caller]
    pub fn then_nothing(self) {
        self.then([]);
    }

    /// Rejected, for exactly this reason.
    #[track_caller]
    pub fn then_rejected(self, expected: A::Rejection)
    where
        A::Rejection: PartialEq + Debug,
    {
        match self.decided {
            Err(rejection) => assert_eq!(rejection, expected),
            Ok(events) => panic!("accepted ({events:?}) where a rejection was expected: {expected}"),
        }
    }
}
