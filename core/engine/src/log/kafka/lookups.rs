//! Single records, by their offsets: for the answers to commands that were accepted before, and for pages of histories.
//!
//! Any number may be asked for at the same time, and nearly always they lie together: an import that is sent again asks
//! for every record of a partition, one after the other. So what is asked for while a partition is being looked at waits
//! for the next look, which takes all of it, and what was fetched last is kept for a moment.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use annals_model::position::{ContextPartition, Offset, RecordOffset};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::{Notify, Semaphore, oneshot};

use super::positions::Positions;
use super::reader::PartitionReader;
use super::reader_clients::ReaderClients;
use crate::limits;
use crate::log::{RawBatch, ReadError, is_claim, missing};

/// Records that follow each other, `$claim`s left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) first: RecordOffset,
    pub(super) count: usize,
}

type Found = Result<RawBatch, ReadError>;

struct Question {
    runs: Vec<Run>,
    reply: oneshot::Sender<Found>,
}

/// What waits for a partition's next look. There while a task looks at the partition.
#[derive(Default)]
struct Waiting {
    questions: Vec<Question>,
    more: Arc<Notify>,
}

/// Looks records up.
pub(super) struct Lookups {
    clients: Arc<ReaderClients>,
    positions: Arc<Positions>,
    partitions: Mutex<HashMap<ContextPartition, Waiting>>,
    /// Bounds what is kept.
    kept: Semaphore,
}

impl std::fmt::Debug for Lookups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lookups")
    }
}

impl Lookups {
    pub(super) fn new(clients: Arc<ReaderClients>, positions: Arc<Positions>) -> Arc<Self> {
        let kept = Semaphore::new(limits::KAFKA_LOOKUPS_KEPT_MAX);
        Arc::new(Self { clients, positions, partitions: Mutex::default(), kept })
    }

    pub(super) fn clients(&self) -> &ReaderClients {
        &self.clients
    }

    /// The records of these runs, in the order given.
    pub(super) async fn find(self: &Arc<Self>, at: ContextPartition, topic: String, runs: Vec<Run>) -> Found {
        let (reply, found) = oneshot::channel();
        let question = Question { runs, reply };
        {
            let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
            match partitions.entry(at) {
                Entry::Occupied(mut looked_at) => {
                    let waiting = looked_at.get_mut();
                    waiting.questions.push(question);
                    waiting.more.notify_one();
                }
                Entry::Vacant(nobody) => {
                    let waiting = nobody.insert(Waiting::default());
                    waiting.questions.push(question);
                    let look = Look { lookups: Arc::clone(self), at, topic, more: Arc::clone(&waiting.more) };
                    tokio::spawn(look.run());
                }
            }
        }
        found.await.map_err(|_| ReadError::Unavailable(format!("{at} is not looked at any more")))?
    }
}

/// The task that looks at a partition, until nobody asks any more.
struct Look {
    lookups: Arc<Lookups>,
    at: ContextPartition,
    topic: String,
    more: Arc<Notify>,
}

impl Drop for Look {
    /// Also where the task ends before its time: whoever asks next starts another, and who waits is told.
    fn drop(&mut self) {
        let mut partitions = self.lookups.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        if partitions.get(&self.at).is_some_and(|waiting| Arc::ptr_eq(&waiting.more, &self.more)) {
            partitions.remove(&self.at);
        }
    }
}

impl Look {
    async fn run(self) {
        let mut near = Near::default();
        loop {
            let questions = {
                let mut partitions = self.lookups.partitions.lock().unwrap_or_else(PoisonError::into_inner);
                partitions.get_mut(&self.at).map(|waiting| std::mem::take(&mut waiting.questions)).unwrap_or_default()
            };
            if questions.is_empty() && !self.keeps().await {
                let mut partitions = self.lookups.partitions.lock().unwrap_or_else(PoisonError::into_inner);
                if partitions.get(&self.at).is_none_or(|waiting| waiting.questions.is_empty()) {
                    partitions.remove(&self.at);
                    return;
                }
            }
            self.answer(questions, &mut near).await;
        }
    }

    /// Waits for more questions, and keeps what was fetched meanwhile. False if none came.
    async fn keeps(&self) -> bool {
        let Ok(_kept) = self.lookups.kept.try_acquire() else { return false };
        let patience = Duration::from_millis(limits::KAFKA_LOOKUP_KEPT_MS);
        tokio::time::timeout(patience, self.more.notified()).await.is_ok()
    }

    /// Answers all of them, with as few fetches as there are places far from each other.
    async fn answer(&self, mut questions: Vec<Question>, near: &mut Near) {
        questions.retain(|question| !question.reply.is_closed());
        let mut runs: Vec<_> = questions.iter().flat_map(|question| question.runs.iter().copied()).collect();
        runs.sort_unstable();
        runs.dedup();
        let is_near = |before: &Run, run: &Run| run.first.0 - before.first.0 <= limits::KAFKA_LOOKUP_STEP_OFFSETS;
        let mut last = std::mem::take(near);
        let mut found: Vec<Found> = Vec::with_capacity(runs.len());
        // What was fetched for the last look has the first of these, often all.
        while let Some(records) = runs.get(found.len()).and_then(|run| last.run(*run)) {
            found.push(Ok(records));
        }
        let far: Vec<_> = runs[found.len()..].chunk_by(is_near).map(<[Run]>::to_vec).collect();
        let mut fetching = stream::iter(far).map(|runs| self.fetch(runs)).buffered(limits::KAFKA_LOOKUPS_AT_ONCE_MAX);
        while let Some((records, chunk)) = fetching.next().await {
            found.extend(records);
            last = chunk;
        }
        drop(fetching);
        *near = last;
        for Question { runs: wanted, reply } in questions {
            // Who does not wait any more has what it needs.
            let _ = reply.send(assemble(&wanted, &runs, &found));
        }
    }

    /// Runs that lie near each other, in order; and what was fetched last.
    async fn fetch(&self, runs: Vec<Run>) -> (Vec<Found>, Near) {
        let mut found = Vec::with_capacity(runs.len());
        let mut near = Near::default();
        let mut reader = None;
        for run in runs {
            found.push(self.fetch_run(run, &mut near, &mut reader).await);
        }
        (found, near)
    }

    async fn fetch_run(&self, run: Run, near: &mut Near, reader: &mut Option<PartitionReader>) -> Found {
        loop {
            if let Some(records) = near.run(run) {
                return Ok(records);
            }
            let reads_on =
                reader.as_ref().is_some_and(|reader| reader.position() <= run.first.at() || near.begins(run));
            if !reads_on {
                let (positions, topic) = (Arc::clone(&self.lookups.positions), self.topic.clone());
                let opened = PartitionReader::open(&self.lookups.clients, positions, self.at, topic, run.first.at());
                *near = Near::default();
                *reader = Some(opened.await?);
            }
            let Some(reading) = reader else { unreachable!("opened above") };
            near.forget_before(run);
            let read = reading.read(&mut near.records).await;
            near.end = reading.position();
            match read {
                Ok(true) if near.end <= run.first.at() || near.begins(run) => {}
                // The end, or the record that was asked for is not among those around it.
                Ok(_) => return Err(missing(self.at, run.first)),
                Err(error) => {
                    // What it was reading when it failed is not to be trusted.
                    *reader = None;
                    return Err(error);
                }
            }
        }
    }
}

/// The records of the wanted runs, out of all that were found.
fn assemble(wanted: &[Run], runs: &[Run], found: &[Found]) -> Found {
    let mut records = RawBatch::default();
    for run in wanted {
        let Ok(index) = runs.binary_search(run) else { unreachable!("every run of every question was looked up") };
        let found = found[index].as_ref().map_err(Clone::clone)?;
        found.iter().for_each(|(offset, bytes)| records.push(offset, bytes));
    }
    Ok(records)
}

/// Records that were fetched and may be asked for.
#[derive(Default)]
struct Near {
    records: RawBatch,
    /// Behind the last of them.
    end: Offset,
}

impl Near {
    /// The run, if all of it is here.
    fn run(&self, run: Run) -> Option<RawBatch> {
        let first = self.records.index(run.first)?;
        let mut found = RawBatch::default();
        let events = self.records.iter().skip(first).filter(|(_, bytes)| !is_claim(bytes));
        events.take(run.count).for_each(|(offset, bytes)| found.push(offset, bytes));
        (found.len() == run.count).then_some(found)
    }

    /// True if the run's first record is here.
    fn begins(&self, run: Run) -> bool {
        self.records.index(run.first).is_some()
    }

    /// Keeps only what the run may need.
    fn forget_before(&mut self, run: Run) {
        match self.records.index(run.first) {
            Some(first) => self.records.remove_first(first),
            None => self.records.clear(),
        }
    }
}
