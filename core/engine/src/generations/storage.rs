//! Where do a generation's rows lie? In a storage: one per kind of store, each read model's generations in one of them.
//!
//! A storage decides nothing about the life of what it holds. Every implementation passes `sink::contract`.

use std::any::Any;
use std::fmt;

use annals_model::ids::ContextId;

use super::registry::AnyTurn;
use super::{Checkpoints, Generation};
use crate::log::BoxFuture;
use crate::sink::{Sink, StoreError};

/// The rows of generations. Where they cannot lie in the registry's database, their changes come before the commit of the
/// turn that they are a part of: rows without a row of the registry are cleared by the next attempt.
///
/// How rows are asked for is each kind's own: what reads them stands beside this.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Makes room for a generation, empty and with nothing of an earlier attempt: one that is being built awaits a bulk
    /// load, any other is whole.
    fn make<'a>(&'a self, turn: &'a mut AnyTurn, generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The writer of a generation. Refuses tables that differ from the read model's definition, and another log's.
    fn open<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Box<dyn Sink>, StoreError>>;

    /// How far a generation has come, as it is stored: asked often, beside whoever writes it. A storage that can tell
    /// without opening the generation's sink should.
    fn checkpoints<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Checkpoints, StoreError>> {
        Box::pin(async move { Ok(self.open(generation).await?.checkpoints().await?) })
    }

    /// Asks anew whether a generation's rows can be read, not a connection that was opened while they could; how far they
    /// have come.
    fn probe<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Checkpoints, StoreError>> {
        self.checkpoints(generation)
    }

    /// Prepares that a generation is live when the turn is committed: whatever shows the live one to others than Annals
    /// shows this. Refuses one of another log, and one whose tables are not the definition's.
    fn show<'a>(&'a self, turn: &'a mut AnyTurn, generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Holds the live generation still: nothing is committed to it until the turn has ended and what is returned is
    /// dropped. Nothing where it has no positions of this log that anybody could have been shown: it cannot be read, or is
    /// another log's.
    fn hold<'a>(
        &'a self,
        turn: &'a mut AnyTurn,
        live: &'a Generation,
        contexts: &'a [ContextId],
    ) -> BoxFuture<'a, Result<Option<Still>, StoreError>>;

    /// Removes everything of a generation. What cannot be removed is as it was, and can be removed again.
    fn remove<'a>(&'a self, turn: &'a mut AnyTurn, generation: &'a Generation)
    -> BoxFuture<'a, Result<(), StoreError>>;
}

/// A generation that is held still, until this is dropped.
pub struct Still {
    /// How far it has come, in the contexts that were asked for.
    pub shown: Checkpoints,
    _until_dropped: Box<dyn Any + Send>,
}

impl Still {
    /// By whatever lets go of it when dropped.
    pub fn new(shown: Checkpoints, held: impl Any + Send) -> Self {
        Self { shown, _until_dropped: Box::new(held) }
    }
}

impl fmt::Debug for Still {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Still").field("shown", &self.shown).finish_non_exhaustive()
    }
}
