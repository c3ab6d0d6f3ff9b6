//! The runner's loop: read, route, load, apply, commit.

use std::panic::AssertUnwindSafe;

use annals_model::envelope::Record;
use annals_model::position::{Checkpoint, ContextPartition, PositionVector};
use annals_model::projection::{KeySets, ReadModel, Tables};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{Semaphore, watch};

use super::progress::{RunnerFailure, RunnerProgress, RunnerState};
use super::source::{Source, Woken};
use super::tries::{Outages, Telling, Tries};
use super::{ALL_KEYS, partitions};
use crate::limits;
use crate::log::checked::CheckedReader;
use crate::log::{EventLog, ReadError};
use crate::panics::panic_text;
use crate::sink::{Checkpoints, CommitError, Sink, SinkError, false_checkpoint};
use crate::telemetry::RunnerMeters;

/// One runner's means.
pub(super) struct Work<'a> {
    log: &'a dyn EventLog,
    read_model: &'a ReadModel,
    sink: &'a mut dyn Sink,
    progress: &'a watch::Sender<RunnerProgress>,
    /// A turn needs its permit; whoever holds it holds the runner still.
    turns: &'a Semaphore,
    meters: &'a RunnerMeters,
    outages: &'a Outages,
    keys: KeySets,
    tables: Tables,
}

/// What became of a turn.
enum Turn {
    /// The partition has nothing more now, or another partition may have its turn.
    Over,
    /// Another instance was faster.
    Stale,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        log: &'a dyn EventLog,
        read_model: &'a ReadModel,
        sink: &'a mut dyn Sink,
        progress: &'a watch::Sender<RunnerProgress>,
        turns: &'a Semaphore,
        meters: &'a RunnerMeters,
        outages: &'a Outages,
    ) -> Self {
        let (keys, tables) = (read_model.new_key_sets(), read_model.new_tables(ALL_KEYS));
        Self { log, read_model, sink, progress, turns, meters, outages, keys, tables }
    }

    /// Works until `until` is reached, or for ever.
    pub(super) async fn run(self, until: Option<&PositionVector>) -> Result<(), RunnerFailure> {
        // A rollup's code runs inside the sink's commit, which is whole or not at all.
        AssertUnwindSafe(self.work(until)).catch_unwind().await.unwrap_or_else(|panic| {
            let text = panic_text(panic.as_ref()).unwrap_or("unknown").to_owned();
            Err(RunnerFailure::Crashed { text })
        })
    }

    async fn work(mut self, until: Option<&PositionVector>) -> Result<(), RunnerFailure> {
        let stored = self.read_checkpoints().await?;
        let mut sources = FuturesUnordered::new();
        for at in partitions(self.log, self.read_model) {
            let source = self.source(at, stored.get(at)).await?;
            sources.push(source.wait());
        }
        while !self.has_reached(until) {
            // Without partitions there is nothing to wait for, for ever.
            let Some(woken) = sources.next().await else { return std::future::pending().await };
            // Nobody closes it; were it closed, there would be nobody to hold still for.
            let _turn = self.turns.acquire().await.ok();
            let next = match woken {
                Woken::Ready(mut source) => match self.turn(&mut source).await? {
                    Turn::Over => source.wait(),
                    Turn::Stale => source.stand_back(),
                },
                Woken::StoodBack(source) => self.look_again(source).await?.wait(),
                Woken::Failed(source, error) => self.reopen(source, error).await?.wait(),
            };
            sources.push(next);
        }
        Ok(())
    }

    fn has_reached(&self, until: Option<&PositionVector>) -> bool {
        let subscribed = |number: u8| self.read_model.contexts().iter().any(|context| context.number == number);
        until.is_some_and(|until| self.progress.borrow().positions.covers(until, subscribed))
    }

    /// Reads what is stored and publishes it.
    async fn read_checkpoints(&mut self) -> Result<Checkpoints, RunnerFailure> {
        let stored = self.stored_checkpoints().await?;
        if stored.log_id() != self.log.id() {
            let (found, log) = (stored.log_id(), self.log.id());
            return Err(SinkError::OtherLog { generation: format!("{:?}", self.read_model), found, log }.into());
        }
        self.progress.send_modify(|progress| {
            stored.iter().for_each(|(at, checkpoint)| progress.committed(at, checkpoint));
            progress.state = RunnerState::Running;
        });
        Ok(stored)
    }

    async fn stored_checkpoints(&mut self) -> Result<Checkpoints, RunnerFailure> {
        let mut tries = Tries::default();
        loop {
            match self.sink.checkpoints().await {
                Ok(stored) => {
                    self.outages.end(&self.outages.checkpoints);
                    return Ok(stored);
                }
                Err(error) => tries.again(self.telling(), &self.outages.checkpoints, error).await?,
            }
        }
    }

    /// A partition from a checkpoint on.
    async fn source(&mut self, at: ContextPartition, committed: Checkpoint) -> Result<Source, RunnerFailure> {
        let mut tries = Tries::default();
        loop {
            match opened(self.log, self.read_model, at, committed).await? {
                Ok(reader) => {
                    self.outages.end(&self.outages.follow);
                    self.running();
                    return Ok(Source::new(at, reader, committed));
                }
                Err(error) => tries.again(self.telling(), &self.outages.follow, error).await?,
            }
        }
    }

    /// After another instance was faster: goes on where it is. Or where the store went back to: it was restored, or
    /// another copy of it took over that had not got everything. Rows and checkpoint went back together, and the log has
    /// the rest.
    async fn look_again(&mut self, source: Source) -> Result<Source, RunnerFailure> {
        let Source { at, committed, stand_back, .. } = source;
        let found = self.read_checkpoints().await?.get(at);
        if found.offset < committed.offset {
            tracing::warn!(%at, from = %committed.offset, to = %found.offset, "the store went back, its rows are folded on from there");
        }
        let mut source = self.source(at, found).await?;
        source.stand_back = stand_back;
        Ok(source)
    }

    /// After the log failed: goes on with a new reader, from the checkpoint.
    async fn reopen(&mut self, source: Source, error: ReadError) -> Result<Source, RunnerFailure> {
        Tries::default().again(self.telling(), &self.outages.read, error).await?;
        self.source(source.at, source.committed).await
    }

    /// Commits at most one batch with rows, so that no partition waits long for its turn.
    async fn turn(&mut self, source: &mut Source) -> Result<Turn, RunnerFailure> {
        let mut tries = Tries::default();
        let mut skipped = 0;
        loop {
            let Source { at, reader, committed, .. } = source;
            let (at, from) = (*at, *committed);
            let batch = match reader.next().await {
                Ok(batch) => batch,
                Err(error) => {
                    tries.again(self.telling(), &self.outages.read, error).await?;
                    continue;
                }
            };
            self.outages.end(&self.outages.read);
            let Some(batch) = batch else {
                let to = reader.checkpoint();
                self.is_behind(at, false);
                return if to == from { Ok(Turn::Over) } else { self.pass(source, to).await };
            };
            let to = batch.checkpoint;
            // A batch that is not full took all that the log has.
            let more = batch.records.len() >= limits::CHECKED_BATCH_RECORDS_MAX;
            self.is_behind(at, true);
            if self.route(at, &batch.records)? {
                let committed = self.apply_and_commit(at, &batch.records, from, to).await?;
                if committed.is_some() {
                    self.meters.applied.increment(batch.records.len() as u64);
                }
                self.is_behind(at, more || committed.is_none());
                return Ok(self.went_on(source, committed));
            }
            skipped += 1;
            if skipped >= limits::RUNNER_SKIPPED_BATCHES_MAX {
                return self.pass(source, to).await;
            }
        }
    }

    /// Commits a checkpoint without rows.
    async fn pass(&mut self, source: &mut Source, to: Checkpoint) -> Result<Turn, RunnerFailure> {
        self.tables.clear();
        let committed = self.commit(source.at, source.committed, to).await?;
        Ok(self.went_on(source, committed))
    }

    fn went_on(&self, source: &mut Source, committed: Option<Checkpoint>) -> Turn {
        match committed {
            None => Turn::Stale,
            Some(to) => {
                source.went_on(to);
                Turn::Over
            }
        }
    }

    /// Finds the keys that the records touch. True if there are any.
    fn route(&mut self, at: ContextPartition, records: &[Record<'_>]) -> Result<bool, RunnerFailure> {
        self.keys.clear();
        for record in records {
            // What cannot be routed stops the runner where it would be applied, behind everything before it.
            let (read_model, keys) = (self.read_model, &mut self.keys);
            let routed = std::panic::catch_unwind(AssertUnwindSafe(|| read_model.route(record, keys)));
            if !matches!(routed, Ok(Ok(()))) {
                tracing::debug!(%at, offset = %record.offset, "an event cannot be routed");
                return Ok(true);
            }
        }
        Ok(!self.keys.is_empty())
    }

    /// The checkpoint committed; nothing if another instance was faster.
    async fn apply_and_commit(
        &mut self,
        at: ContextPartition,
        records: &[Record<'_>],
        from: Checkpoint,
        to: Checkpoint,
    ) -> Result<Option<Checkpoint>, RunnerFailure> {
        self.load().await?;
        let Err((index, failure)) = self.apply(at, records) else { return self.commit(at, from, to).await };
        // Another instance may have committed these events before their rows were loaded: then they were applied to
        // rows that had seen them already. Where the checkpoint still stands, the rows were the right ones.
        if self.stored_checkpoints().await?.get(at) != from {
            return Ok(None);
        }
        // What lies before the event that cannot be applied is sound, and acknowledged to somebody: it goes in.
        let sound = records[..index].iter().rposition(Record::ends_commit).map_or(&[][..], |last| &records[..=last]);
        if let Some(last) = sound.last() {
            self.load().await?;
            self.apply(at, sound).map_err(|(_, failure)| failure)?;
            if self.commit(at, from, behind(last)).await?.is_none() {
                return Ok(None);
            }
        }
        Err(failure)
    }

    /// Loads the rows of the keys that were routed.
    async fn load(&mut self) -> Result<(), RunnerFailure> {
        let mut tries = Tries::default();
        loop {
            self.tables.clear();
            match self.sink.load(&self.keys, &mut self.tables).await {
                Ok(()) => {
                    self.outages.end(&self.outages.load);
                    self.running();
                    return Ok(());
                }
                Err(error) => tries.again(self.telling(), &self.outages.load, error).await?,
            }
        }
    }

    /// Applies records; the first that cannot be, by its index.
    fn apply(&mut self, at: ContextPartition, records: &[Record<'_>]) -> Result<(), (usize, RunnerFailure)> {
        let mut index = 0;
        let applied = std::panic::catch_unwind(AssertUnwindSafe(|| {
            for record in records {
                self.read_model.apply(record, &mut self.tables)?;
                index += 1;
            }
            Ok(())
        }));
        match applied {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err((index, RunnerFailure::Apply { at, failure })),
            Err(panic) => {
                let text = panic_text(panic.as_ref()).unwrap_or("unknown").to_owned();
                Err((index, RunnerFailure::Panicked { at, offset: records[index].offset, text }))
            }
        }
    }

    /// The checkpoint committed; nothing if another instance was faster.
    async fn commit(
        &mut self,
        at: ContextPartition,
        from: Checkpoint,
        to: Checkpoint,
    ) -> Result<Option<Checkpoint>, RunnerFailure> {
        let mut tries = Tries::default();
        let committed = loop {
            match self.sink.commit(&self.tables, at, from, to).await {
                Ok(()) => break Some(to),
                // The answer of an earlier try was lost, or another instance committed the very same events.
                Err(CommitError::Stale { found, .. }) if found == to => break Some(to),
                Err(CommitError::Stale { found, .. }) => {
                    tracing::debug!(%at, from = %from.offset, found = %found.offset, "another runner was faster");
                    break None;
                }
                Err(CommitError::Sink(error)) => tries.again(self.telling(), &self.outages.commit, error).await?,
            }
        };
        self.outages.end(&self.outages.commit);
        self.tables.clear();
        let meter = if committed.is_some() { &self.meters.commits } else { &self.meters.stale };
        meter.increment(1);
        if committed.is_some() {
            self.progress.send_modify(|progress| {
                progress.committed(at, to);
                progress.state = RunnerState::Running;
            });
        }
        Ok(committed)
    }

    fn telling(&self) -> Telling<'a> {
        Telling { progress: self.progress, meters: self.meters, outages: self.outages }
    }

    /// Without waking who waits for progress.
    fn is_behind(&self, at: ContextPartition, behind: bool) {
        self.progress.send_if_modified(|progress| {
            progress.is_behind(at, behind);
            false
        });
    }

    /// Nothing is down any more.
    fn running(&self) {
        self.progress.send_if_modified(|progress| {
            let was_not = !matches!(progress.state, RunnerState::Running);
            progress.state = RunnerState::Running;
            was_not
        });
    }
}

/// A reader from a checkpoint on, if the log has that: else whoever goes on from there would skip events or apply them again
/// without noticing, or blame the log.
async fn opened(
    log: &dyn EventLog,
    read_model: &ReadModel,
    at: ContextPartition,
    from: Checkpoint,
) -> Result<Result<CheckedReader, ReadError>, RunnerFailure> {
    match false_checkpoint(log, at, from).await {
        Ok(None) => Ok(CheckedReader::follow(log, at, from).await),
        Err(error) => Ok(Err(error)),
        Ok(Some(cause)) => {
            let generation = format!("{} v{}", read_model.name(), read_model.version());
            Err(SinkError::Damaged { generation, table: "annals_checkpoints".to_owned(), cause }.into())
        }
    }
}

/// Where a consumer of everything up to this record stands; it must end its commit.
fn behind(record: &Record<'_>) -> Checkpoint {
    Checkpoint {
        offset: record.offset.after(),
        ordinal: record.envelope.ordinal,
        // The newest claim passed: were there a newer one, this record would be void.
        claim_epoch: record.envelope.claim_epoch,
        emitted_at: record.envelope.emitted_at,
    }
}
