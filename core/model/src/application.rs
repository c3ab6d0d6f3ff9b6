//! One application is one value: all that the engine, its processes and its tools get of a domain.

use serde_json::Value;

use crate::context::BoundedContext;
use crate::event::SchemaCatalogue;
use crate::ids::ContextId;
use crate::read_model::Definition;

/// A domain, whole. Pure: what may happen, what it is written as, and what is read from it.
#[derive(Clone, Debug)]
pub struct Application {
    /// What its tool is called on the command line.
    pub name: &'static str,
    /// Its bounded contexts with their aggregates, by number.
    pub contexts: Vec<BoundedContext>,
    /// Every released schema of their events.
    pub schemas: SchemaCatalogue,
    /// Every version of every read model that this build carries; versions of one read model ascend. The newest one is
    /// what a new deployment begins with; afterwards the promoted generation decides what is served.
    pub read_models: Vec<Definition>,
    /// Which workspaces may be worked in; any unless given.
    pub admission: Option<Admission>,
}

/// Which workspaces may be worked in: what an aggregate says of itself, one in the tenant's scope with the workspace's
/// own id. It is asked before a command is decided, whoever sends the command.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// The context that owns these aggregates.
    pub context: ContextId,
    /// Wire name of their type.
    pub aggregate_type: &'static str,
    /// Whether a workspace is open, by the aggregate's state as clients see it. A workspace without its aggregate is not
    /// there.
    pub standing: fn(&Value) -> Standing,
}

/// Whether a workspace may be worked in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Commands are decided.
    Open,
    /// For good: its things can be read, and nothing changes.
    Closed,
}

impl Application {
    /// The ids of its contexts, by number: whose events the log holds.
    pub fn context_ids(&self) -> Vec<ContextId> {
        self.contexts.iter().map(BoundedContext::id).collect()
    }

    /// The names of its read models, in the order in which they are defined.
    pub fn read_model_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.read_models.iter().map(|definition| definition.model.name()).collect();
        names.dedup();
        names
    }
}
