//! Aggregates: pure state machines that decide commands into events and evolve by events.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::event::EventSet;
use crate::ids::{Actor, AggregateId, OperationId, Scope, WorkspaceId};
use crate::position::Sequence;
use crate::time::Timestamp;

/// Whose consistency boundary an aggregate type lives in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScopeKind {
    /// One workspace: the command must name it, and it must be active.
    Workspace,
    /// The tenant as a whole: the command names no workspace.
    Tenant,
    /// The tenant as a whole, about one workspace: the command names it; rows carry it.
    TenantAboutWorkspace,
}

/// What [`Aggregate::decide`] returns: events in order (possibly none: "nothing to do" is an answer too), or the
/// business reason why not.
pub type Events<A> = Result<Vec<<A as Aggregate>::Event>, <A as Aggregate>::Rejection>;

/// Values that at most one live aggregate of the scope may hold, as (name, value): `("application.name", "billing")`.
pub type UniqueKeys = Vec<(&'static str, String)>;

/// Aggregates of the same context and scope that this one points at: what [`Context::referrers`] counts from the other end.
pub type References = Vec<Reference>;

/// A kind of pointing at aggregates of type `Target`. It is declared once, at the target, for those who point as for those
/// who count, because a name that is spelled twice is counted never:
///
/// ```compile_fail,E0308
/// # use annals_model::aggregate::{Aggregate, Context};
/// fn may_retire<A: Aggregate>(ctx: &Context<'_, A>) -> bool {
///     ctx.referrers("dependancy") == 0
/// }
/// ```
pub struct ReferenceLabel<Target> {
    name: &'static str,
    target: PhantomData<fn() -> Target>,
}

impl<Target: Aggregate> ReferenceLabel<Target> {
    /// The label of this name. No two of one target may have the same.
    pub const fn new(name: &'static str) -> Self {
        Self { name, target: PhantomData }
    }
    /// A reference to the aggregate with this id.
    pub const fn to(self, target: AggregateId) -> Reference {
        Reference { label: self.erased(), target }
    }
    /// The label with its type erased.
    pub const fn erased(self) -> AnyLabel {
        AnyLabel { target_type: Target::TYPE, name: self.name }
    }
}
impl<Target> Clone for ReferenceLabel<Target> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<Target> Copy for ReferenceLabel<Target> {}
impl<Target> fmt::Debug for ReferenceLabel<Target> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A [`ReferenceLabel`] with its type erased; made by one only. Of two target types, the same name is two labels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AnyLabel {
    target_type: &'static str,
    name: &'static str,
}

impl AnyLabel {
    /// Wire name of the type that is pointed at.
    pub const fn target_type(self) -> &'static str {
        self.target_type
    }
    /// Its name.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

/// One aggregate points at another; made by [`ReferenceLabel::to`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reference {
    /// As what.
    pub label: AnyLabel,
    /// At which.
    pub target: AggregateId,
}

/// A state machine with an id. `Default` is the state before its first event; `Serialize` is what clients see of it.
pub trait Aggregate: Default + Clone + Send + Sync + std::fmt::Debug + Serialize + 'static {
    /// Wire name; never renamed once it has events.
    const TYPE: &'static str = <Self::Event as EventSet>::AGGREGATE_TYPE;
    /// Whose consistency boundary it lives in.
    const SCOPE: ScopeKind;
    /// Moves whenever [`Aggregate::evolve`] gives another result for a recorded history: states kept from an older fold
    /// are then thrown away and folded again. The golden histories' test fails when it was forgotten.
    const FOLD_VERSION: u32 = 1;
    /// Names of the commands that create it: the engine answers 409 to these if it exists, and 404 to all others if it
    /// does not. No existence checks in aggregates.
    const CREATED_BY: &'static [&'static str];
    /// An enum with one *struct* variant per command (`Archive {}` for a payload without fields), deserialized from
    /// `{"<variant>": <payload>}`; derive with `rename_all = "snake_case", deny_unknown_fields`.
    type Command: DeserializeOwned + Clone + Send + Sync + std::fmt::Debug + 'static;
    /// Its events, generated from `schemas/<context>/<aggregate>/`.
    type Event: EventSet;
    /// Business answers; `Serialize` with `rename_all = "snake_case"` gives the code that clients see.
    type Rejection: std::error::Error + Serialize;

    /// Pure: the same state, command and context answer the same for ever.
    fn decide(&self, command: Self::Command, ctx: &Context<'_, Self>) -> Events<Self>;
    /// Total: any recorded event applies.
    fn evolve(&mut self, event: &Self::Event);
    /// Values that nobody else of the scope may hold while this state lasts.
    fn unique_keys(&self) -> UniqueKeys {
        UniqueKeys::new()
    }
    /// Live references to others while this state lasts.
    fn references(&self) -> References {
        References::new()
    }
}

/// What a decision of an aggregate of type `A` may look at besides its own state: an [`AnyContext`] that knows who decides.
#[derive(Debug)]
pub struct Context<'a, A> {
    any: &'a AnyContext<'a>,
    decides: PhantomData<fn() -> A>,
}

impl<'a, A: Aggregate> Context<'a, A> {
    /// For a decision of this type.
    pub const fn of(any: &'a AnyContext<'a>) -> Self {
        Self { any, decides: PhantomData }
    }

    /// Number of live aggregates that point at this one under `label`: one of its own type's, since nobody points at it
    /// under another type's.
    ///
    /// ```
    /// # use annals_model::aggregate::{Aggregate, Context, ReferenceLabel};
    /// fn counted<A: Aggregate>(ctx: &Context<'_, A>, label: ReferenceLabel<A>) -> usize {
    ///     ctx.referrers(label)
    /// }
    /// ```
    /// ```compile_fail,E0308
    /// # use annals_model::aggregate::{Aggregate, Context, ReferenceLabel};
    /// fn counted<A: Aggregate, Other: Aggregate>(ctx: &Context<'_, A>, label: ReferenceLabel<Other>) -> usize {
    ///     ctx.referrers(label)
    /// }
    /// ```
    pub fn referrers(&self, label: ReferenceLabel<A>) -> usize {
        self.referrers_of(self.aggregate_id, label)
    }
}

impl<'a, A> Deref for Context<'a, A> {
    type Target = AnyContext<'a>;

    fn deref(&self) -> &AnyContext<'a> {
        self.any
    }
}

/// What any decision may look at besides its own state. No I/O, no clock, no randomness.
#[derive(Debug)]
pub struct AnyContext<'a> {
    /// Decision time: max(wall clock, newest `emitted_at` of the partition).
    pub now: Timestamp,
    /// Who acts.
    pub actor: &'a Actor,
    /// The consistency boundary of the aggregate.
    pub scope: Scope,
    /// The workspace that the command is about; nil where none applies.
    pub workspace: WorkspaceId,
    /// The aggregate that the command is for.
    pub aggregate_id: AggregateId,
    /// Its version before the command; 0 when it is being created.
    pub version: Sequence,
    /// This command's operation: ids derive from it.
    pub operation: OperationId,
    /// Why, in the caller's words.
    pub reason: Option<&'a str>,
    /// Reference of the decision that allowed the command.
    pub policy_decision: &'a str,
    /// The engine's view of the scope's other aggregates.
    pub view: &'a dyn StateView,
}

impl<'a> AnyContext<'a> {
    /// The state of another aggregate of the same context and scope; nothing if it does not exist.
    ///
    /// A state that is not in memory answers nothing too; the engine then discards the whole outcome, loads it and
    /// decides again, so no decision ever rests on that.
    pub fn get<A: Aggregate>(&self, id: AggregateId) -> Option<&'a A> {
        self.view.state(A::TYPE, id)?.downcast_ref()
    }

    /// Number of live aggregates that point at `id`, which is one of the label's type, under `label`.
    pub fn referrers_of<Target: Aggregate>(&self, id: AggregateId, label: ReferenceLabel<Target>) -> usize {
        self.view.referrers(id, label.erased())
    }

    /// An id for something the command creates: the same command makes the same ids.
    pub fn new_id(&self, name: &str, n: u32) -> AggregateId {
        AggregateId(Uuid::new_v5(&self.operation.0, format!("{name}/{n}").as_bytes()))
    }
}

/// The engine's side of [`AnyContext`]: states and reference counts of one scope.
pub trait StateView: std::fmt::Debug {
    /// The state of a living aggregate, as its Rust type.
    fn state(&self, aggregate_type: &'static str, id: AggregateId) -> Option<&dyn Any>;
    /// Number of live references to `id` under `label`.
    fn referrers(&self, id: AggregateId, label: AnyLabel) -> usize;
}
