//! A test log: in memory, lost with the process. Its fencing is real, its offsets have holes if wanted, and it fails
//! on demand or by seed, so that everything above a log is tested against all four ways an append ends.

mod faults;
mod partition;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_model::ids::{ContextId, LogId};
use annals_model::position::{ClaimEpoch, ContextPartition, Offset, Ordinal, RecordOffset};
use tokio::sync::watch;

pub use self::faults::{Fault, Faults};
use self::partition::Stored;
use super::admission::{admit, admit_meta, follows};
use super::holes::Holes;
use super::{
    AppendBatch, AppendOutcome, BoxFuture, ClaimError, Claimed, EventLog, LogReader, LogWriter, MetaEntry, MetaError,
    Owner, ProofOutcome, RawBatch, ReadError,
};
use crate::limits;

/// How a test log behaves.
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    /// Partitions of every context.
    pub partitions: u16,
    /// Injects holes in offsets, in places that the seed decides.
    pub holes_seed: Option<u64>,
    /// Most records that one read delivers; 1 splits every command's events over reads.
    pub read_records_max: usize,
    /// What fails.
    pub faults: Faults,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            partitions: limits::LOG_PARTITIONS_DEFAULT,
            holes_seed: None,
            read_records_max: usize::MAX,
            faults: Faults::none(),
        }
    }
}

/// The test log. Clones share their content.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: LogId,
    partitions: HashMap<ContextId, u16>,
    read_records_max: usize,
    state: Mutex<State>,
    /// Counts what was written.
    written: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    stored: HashMap<ContextPartition, Stored>,
    meta: BTreeMap<String, Vec<u8>>,
    holes: Holes,
    faults: Faults,
    /// Seeded bug of the contract's own test: zombies are not told apart.
    forgets_fencing: bool,
}

impl MemoryLog {
    /// Without faults and holes, default partitions.
    pub fn new(contexts: &[ContextId]) -> Arc<Self> {
        Self::with_options(contexts, MemoryOptions::default())
    }

    /// As told.
    pub fn with_options(contexts: &[ContextId], options: MemoryOptions) -> Arc<Self> {
        let state = State {
            stored: HashMap::new(),
            meta: BTreeMap::new(),
            holes: Holes::new(options.holes_seed),
            faults: options.faults,
            forgets_fencing: false,
        };
        Arc::new(Self {
            shared: Arc::new(Shared {
                id: LogId(uuid::Uuid::new_v4()),
                partitions: contexts.iter().map(|context| (*context, options.partitions)).collect(),
                read_records_max: options.read_records_max.max(1),
                state: Mutex::new(state),
                written: watch::Sender::new(0),
            }),
        })
    }

    /// Replaces the faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.state().faults = faults;
    }

    /// Another owner claims now; the present writer is fenced.
    pub fn claim_by_rival(&self, at: ContextPartition) -> ClaimEpoch {
        let epoch = self.shared.state().claim_by_rival(at);
        self.shared.tell_readers();
        epoch
    }

    /// Writes a record without asking anybody, as a log with broken fencing or a damaged file would.
    pub fn push_unchecked(&self, at: ContextPartition, bytes: &[u8]) -> RecordOffset {
        let state = &mut *self.shared.state();
        let offset = state.stored.entry(at).or_default().push(bytes, &mut state.holes);
        self.shared.tell_readers();
        offset
    }

    #[cfg(test)]
    pub(crate) fn forget_fencing(&self) {
        self.shared.state().forgets_fencing = true;
    }
}

impl State {
    fn claim_by_rival(&mut self, at: ContextPartition) -> ClaimEpoch {
        let rival = Owner { id: "rival".into(), address: String::new() };
        self.stored.entry(at).or_default().claim(&rival, &mut self.holes)
    }

    fn append(&mut self, writer: MemoryWriter, batch: AppendBatch) -> AppendOutcome {
        let (at, claim_epoch) = (writer.at, writer.claim_epoch);
        let fault = self.faults.append();
        if fault == Some(Fault::Fence) {
            self.claim_by_rival(at);
        }
        let stored = self.stored.entry(at).or_default();
        if stored.claim_epoch != claim_epoch && !self.forgets_fencing {
            return AppendOutcome::Fenced;
        }
        let mut writer = Box::new(writer);
        if writer.is_spent {
            return AppendOutcome::Unknown { cause: "nothing was written, the writer was spent before".into() };
        }
        let admitted = match admit(&batch, claim_epoch).and_then(|it| follows(stored.ordinal, it).map(|()| it)) {
            Ok(admitted) => admitted,
            Err(cause) => return AppendOutcome::Aborted { writer, cause },
        };
        let cause = || "injected fault".to_owned();
        match fault {
            Some(Fault::Abort) => return AppendOutcome::Aborted { writer, cause: cause() },
            Some(Fault::UnknownLost) => return AppendOutcome::Unknown { cause: cause() },
            Some(Fault::UnknownLate) => {
                stored.in_flight = Some((batch, admitted));
                return AppendOutcome::Unknown { cause: cause() };
            }
            None | Some(Fault::UnknownCommitted | Fault::Fence | Fault::FenceAfter | Fault::Spend) => {}
        }
        let positions = stored.append(&batch, admitted, &mut self.holes);
        match fault {
            Some(Fault::UnknownCommitted) => return AppendOutcome::Unknown { cause: cause() },
            Some(Fault::FenceAfter) => {
                self.claim_by_rival(at);
            }
            Some(Fault::Spend) => writer.is_spent = true,
            _ => {}
        }
        AppendOutcome::Durable { writer, positions }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, at: ContextPartition) -> bool {
        self.partitions.get(&at.context).is_some_and(|count| at.partition.0 < *count)
    }

    fn tell_readers(&self) {
        self.written.send_modify(|count| *count += 1);
    }

    fn check_read(&self, at: ContextPartition) -> Result<(), ReadError> {
        if !self.has(at) {
            return Err(ReadError::Unavailable(format!("the log has no partition {at}")));
        }
        match self.state().faults.read_fails() {
            true => Err(ReadError::Unavailable("injected fault".into())),
            false => Ok(()),
        }
    }
}

impl EventLog for MemoryLog {
    fn id(&self) -> LogId {
        self.shared.id
    }

    fn partitions(&self, context: ContextId) -> u16 {
        self.shared.partitions.get(&context).copied().unwrap_or_default()
    }

    fn claim(&self, at: ContextPartition, owner: Owner) -> BoxFuture<'_, Result<Claimed, ClaimError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if !self.shared.has(at) {
                return Err(ClaimError::NoSuchPartition(at));
            }
            let (claim_epoch, barrier) = {
                let state = &mut *self.shared.state();
                if state.faults.claim_fails() {
                    return Err(ClaimError::Unavailable("injected fault".into()));
                }
                let stored = state.stored.entry(at).or_default();
                (stored.claim(&owner, &mut state.holes), stored.next)
            };
            self.shared.tell_readers();
            let writer = MemoryWriter { shared: Arc::clone(&self.shared), at, claim_epoch, is_spent: false };
            Ok(Claimed { writer: Box::new(writer), barrier })
        })
    }

    fn reader(&self, at: ContextPartition, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, ReadError>> {
        Box::pin(async move {
            let end = self.end(at).await?;
            if from > end {
                return Err(ReadError::BeyondEnd { at, position: from, end });
            }
            let written = self.shared.written.subscribe();
            let reader = MemoryReader { shared: Arc::clone(&self.shared), at, position: from, written };
            Ok(Box::new(reader) as Box<dyn LogReader>)
        })
    }

    fn end(&self, at: ContextPartition) -> BoxFuture<'_, Result<Offset, ReadError>> {
        Box::pin(async move {
            self.shared.check_read(at)?;
            Ok(self.shared.state().stored.get(&at).map_or(Offset::START, |stored| stored.next))
        })
    }

    fn last_ordinal(&self, at: ContextPartition) -> BoxFuture<'_, Result<Ordinal, ReadError>> {
        Box::pin(async move {
            self.shared.check_read(at)?;
            Ok(self.shared.state().stored.get(&at).map_or(Ordinal::ZERO, |stored| stored.ordinal))
        })
    }

    fn meta_get(&self, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, ReadError>> {
        let value = self.shared.state().meta.get(key).cloned();
        Box::pin(async move { Ok(value) })
    }

    fn meta_list(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<MetaEntry>, ReadError>> {
        let state = self.shared.state();
        let found = state.meta.iter().filter(|(key, _)| key.starts_with(prefix));
        let found = found.map(|(key, value)| (key.clone(), value.clone())).collect();
        Box::pin(async move { Ok(found) })
    }

    fn meta_put(&self, key: &str, value: &[u8]) -> BoxFuture<'_, Result<(), MetaError>> {
        let admitted = admit_meta(key, value).map_err(MetaError);
        if admitted.is_ok() {
            self.shared.state().meta.insert(key.into(), value.into());
        }
        Box::pin(async move { admitted })
    }
}

#[derive(Debug)]
struct MemoryWriter {
    shared: Arc<Shared>,
    at: ContextPartition,
    claim_epoch: ClaimEpoch,
    is_spent: bool,
}

impl LogWriter for MemoryWriter {
    fn claim_epoch(&self) -> ClaimEpoch {
        self.claim_epoch
    }

    fn is_spent(&self) -> bool {
        self.is_spent
    }

    fn append(self: Box<Self>, batch: AppendBatch) -> BoxFuture<'static, AppendOutcome> {
        Box::pin(async move {
            let shared = Arc::clone(&self.shared);
            // Two pauses, so that a future dropped before or after the write leaves both outcomes behind.
            tokio::task::yield_now().await;
            let outcome = shared.state().append(*self, batch);
            shared.tell_readers();
            tokio::task::yield_now().await;
            outcome
        })
    }

    fn prove(self: Box<Self>) -> BoxFuture<'static, ProofOutcome> {
        Box::pin(async move {
            let newest = {
                let mut state = self.shared.state();
                if state.faults.proof_fails() {
                    return ProofOutcome::Unknown { cause: "injected fault".into() };
                }
                state.stored.get(&self.at).map(|stored| stored.claim_epoch)
            };
            match newest == Some(self.claim_epoch) {
                true => ProofOutcome::Owner { writer: self },
                false => ProofOutcome::Fenced,
            }
        })
    }
}

#[derive(Debug)]
struct MemoryReader {
    shared: Arc<Shared>,
    at: ContextPartition,
    position: Offset,
    written: watch::Receiver<u64>,
}

impl LogReader for MemoryReader {
    fn position(&self) -> Offset {
        self.position
    }

    fn next<'a>(&'a mut self, batch: &'a mut RawBatch) -> BoxFuture<'a, Result<(), ReadError>> {
        Box::pin(async move {
            batch.clear();
            self.shared.check_read(self.at)?;
            if let Some(stored) = self.shared.state().stored.get(&self.at) {
                self.position = stored.read(self.position, self.shared.read_records_max, batch);
            }
            Ok(())
        })
    }

    fn wait(&mut self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move {
            loop {
                self.written.mark_unchanged();
                let end = self.shared.state().stored.get(&self.at).map(|stored| stored.next);
                if end > Some(self.position) {
                    return Ok(());
                }
                // The sender lives in `shared`, which this reader holds: it cannot be gone.
                let _ = self.written.changed().await;
            }
        })
    }
}

#[cfg(test)]
mod tests;
