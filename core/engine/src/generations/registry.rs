//! Where does it stand which generations there are, who builds, and who works on them? In a deployment's one registry.
//!
//! A registry decides nothing. [`super::life`] says what a step makes of its rows; it hands them out and writes them.
//! Every implementation passes `sink::contract`.

use std::any::Any;
use std::fmt;

use tokio::sync::watch;

use super::life::{Change, Life};
use super::{Generation, GenerationId};
use crate::log::BoxFuture;
use crate::sink::{KnownProcess, ProcessReport, StoreError};

/// The rows of all read models' generations, shared by all processes of a deployment.
pub trait Registry: Send + Sync + fmt::Debug {
    /// All generations of a read model, oldest first. What callers MUST NOT rely on: that they are still the same.
    fn list<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Vec<Generation>, StoreError>>;

    /// A turn at changing a read model's generations. Nobody else, in any process, has one before it ends.
    fn turn<'a>(&'a self, read_model: &'a str) -> BoxFuture<'a, Result<Box<dyn Turn>, StoreError>>;

    /// The right to build a generation; nothing if another builder has it. Tried for a moment: a builder's death may be
    /// noticed a little after it, and who asks whether it is held may hold it for as long as that.
    fn lock<'a>(
        &'a self,
        read_model: &'a str,
        id: GenerationId,
    ) -> BoxFuture<'a, Result<Option<BuildLock>, StoreError>>;

    /// Whether a builder has that right.
    fn is_locked<'a>(&'a self, read_model: &'a str, id: GenerationId) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Changes whenever the registry may have changed, here or in another process, within
    /// [`crate::limits::REGISTRY_POLL_MS`].
    fn changes(&self) -> watch::Receiver<u64>;

    /// Makes a process known, or tells that it still lives; forgets those that were not heard of for
    /// [`crate::limits::PROCESS_FORGOTTEN_MS`], and all but the newest [`crate::limits::PROCESSES_KNOWN_MAX`].
    fn tell_of_process<'a>(&'a self, process: &'a ProcessReport) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Forgets a process that ended in good order.
    fn forget_process<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// All processes that are known, the longest known first.
    fn processes(&self) -> BoxFuture<'_, Result<Vec<KnownProcess>, StoreError>>;
}

/// One change of the registry: what is written stands when it is committed, all of it; dropped before, nothing does. A
/// storage whose rows lie in the registry's own database works in its transaction, so that they stand or fall with it.
pub trait Turn: Any + Send + fmt::Debug {
    /// The rows that it found.
    fn life(&self) -> &Life;

    /// Writes what a step makes of these rows, where they are still what it was decided on; refuses it where they are not.
    fn write<'a>(&'a mut self, change: &'a Change) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Makes it stand, and tells of it.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>>;
}

/// A turn at any registry, which a storage may know for its own.
pub type AnyTurn = dyn Turn;

/// Held by a builder; released when dropped, also by the death of the process.
pub struct BuildLock(#[expect(dead_code, reason = "held for its drop")] Box<dyn Any + Send + Sync>);

impl BuildLock {
    /// Of whatever releases the lock when dropped.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self(Box::new(held))
    }
}

impl fmt::Debug for BuildLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BuildLock")
    }
}
