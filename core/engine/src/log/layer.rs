//! A test log over another one: it says what it does otherwise, and the rest goes through.

use std::fmt;

use annals_model::ids::{ContextId, LogId};
use annals_model::position::{ContextPartition, Offset, Ordinal};

use super::{BoxFuture, ClaimError, Claimed, EventLog, LogReader, MetaEntry, MetaError, Owner, ReadError};

/// A log that does as the one beneath it, but for what it defines itself.
pub trait Layer: Send + Sync + fmt::Debug {
    /// The log beneath.
    fn beneath(&self) -> &dyn EventLog;

    /// As [`EventLog::claim`].
    fn claim(&self, at: ContextPartition, owner: Owner) -> BoxFuture<'_, Result<Claimed, ClaimError>> {
        self.beneath().claim(at, owner)
    }

    /// As [`EventLog::reader`]; every way to read goes through it.
    fn reader(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        self.beneath().reader(at, from)
    }

    /// As [`EventLog::tail`].
    fn tail(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        Layer::reader(self, at, from)
    }

    /// As [`EventLog::meta_list`].
    fn meta_list(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<MetaEntry>, ReadError>> {
        self.beneath().meta_list(prefix)
    }

    /// As [`EventLog::meta_put`].
    fn meta_put(&self, key: &str, value: &[u8]) -> BoxFuture<'_, Result<(), MetaError>> {
        self.beneath().meta_put(key, value)
    }
}

impl<T: Layer> EventLog for T {
    fn id(&self) -> LogId {
        self.beneath().id()
    }
    fn partitions(&self, context: ContextId) -> u16 {
        self.beneath().partitions(context)
    }
    fn claim(&self, at: ContextPartition, owner: Owner) -> BoxFuture<'_, Result<Claimed, ClaimError>> {
        Layer::claim(self, at, owner)
    }
    fn reader(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        Layer::reader(self, at, from)
    }
    fn tail(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        Layer::tail(self, at, from)
    }
    fn end(&self, at: ContextPartition) -> BoxFuture<'_, Result<Offset, ReadError>> {
        self.beneath().end(at)
    }
    fn last_ordinal(&self, at: ContextPartition) -> BoxFuture<'_, Result<Ordinal, ReadError>> {
        self.beneath().last_ordinal(at)
    }
    fn meta_get(&self, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, ReadError>> {
        self.beneath().meta_get(key)
    }
    fn meta_list(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<MetaEntry>, ReadError>> {
        Layer::meta_list(self, prefix)
    }
    fn meta_put(&self, key: &str, value: &[u8]) -> BoxFuture<'_, Result<(), MetaError>> {
        Layer::meta_put(self, key, value)
    }
}
