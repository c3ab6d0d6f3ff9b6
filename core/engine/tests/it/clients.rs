//! Clients that retry, and the checker of what they were promised.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use annals_engine::command::{CommandAnswer, CommandError};
use annals_engine::log::EventLog;
use annals_engine::log::checked::CheckedReader;
use annals_engine::log::memory::{Faults, MemoryLog, MemoryOptions};
use annals_engine::owners::{Engine, EngineHandle, EngineOptions};
use annals_model::ids::{OperationId, Partition};
use annals_model::position::{Checkpoint, ContextPartition, Offset, RecordOffset, Sequence};
use serde_json::{Value, json};

use crate::accounts::{BANK, application, request};
use crate::engine::send;

/// Lives that an engine gets until all clients must have been answered.
const LIVES_MAX: usize = 60;

/// Runs clients over a log that fails by `seed`, as an engine sees it through `wrap`, and checks every promise: what
/// was acknowledged is in the log, once, where the answer says; what was refused is not; what is in the log is there
/// once; nothing that a fenced writer wrote is there; and every client is answered in the end.
pub(crate) fn check(
    seed: u64,
    per_mille: u64,
    wrap: impl FnOnce(Arc<MemoryLog>) -> Arc<dyn EventLog>,
    options: &EngineOptions,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let faults = Faults::seeded(seed, per_mille);
        let log = MemoryLog::with_options(
            &[BANK],
            MemoryOptions { faults, holes_seed: Some(seed), ..MemoryOptions::default() },
        );
        let seen = run_clients(&wrap(Arc::clone(&log)), options).await;
        log.set_faults(Faults::none());
        let recorded = recorded(&*log).await?;
        seen.compare(&recorded)
    })
}

/// An accepted command, as the log has it.
#[derive(Debug)]
struct Commit {
    operation: OperationId,
    version: Sequence,
    events: Vec<RecordOffset>,
    end: Offset,
}

impl Commit {
    fn is_in(&self, answer: &CommandAnswer) -> bool {
        self.operation == answer.operation_id
            && self.version == answer.version
            && self.events.iter().eq(answer.events.iter().map(|event| &event.offset))
            && answer.position.iter().map(|(_, _, offset)| offset).eq([self.end])
    }
}

/// What the log holds, by request.
async fn recorded(log: &dyn EventLog) -> Result<BTreeMap<String, Vec<Commit>>, String> {
    let mut found: BTreeMap<String, Vec<Commit>> = BTreeMap::new();
    for partition in 0..log.partitions(BANK) {
        let at = ContextPartition { context: BANK, partition: Partition(partition) };
        let end = log.end(at).await.map_err(|error| error.to_string())?;
        let opened = CheckedReader::open(log, at, Checkpoint::default()).await;
        let mut reader = opened.map_err(|error| error.to_string())?;
        let mut request = String::new();
        while reader.checkpoint().offset < end {
            let Some(batch) = reader.next().await.map_err(|error| error.to_string())? else { break };
            for record in &batch.records {
                let envelope = &record.envelope;
                let (operation, version, end) =
                    (envelope.event_id.operation(), envelope.sequence, record.offset.after());
                if let Some(asked) = envelope.request {
                    request = asked.client_request_id.to_owned();
                    let commit = Commit { operation, version, events: Vec::new(), end };
                    found.entry(request.clone()).or_default().push(commit);
                }
                let commit = found.get_mut(&request).and_then(|commits| commits.last_mut());
                let commit = commit.ok_or("a record without its request")?;
                (commit.version, commit.end) = (version, end);
                if !record.is_engine_record() {
                    commit.events.push(record.offset);
                }
            }
        }
        if reader.voided() > 0 {
            return Err(format!("{at}: {} records of a fenced writer", reader.voided()));
        }
    }
    Ok(found)
}

/// One client: commands in their order, each sent again under its id until it is answered.
struct Client {
    number: u128,
    waiting: VecDeque<(String, &'static str, Value)>,
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    acknowledged: BTreeMap<String, CommandAnswer>,
    /// Sent once, and told that nothing was written.
    refused: BTreeSet<String>,
    waiting: Vec<String>,
}

impl Seen {
    fn compare(&self, recorded: &BTreeMap<String, Vec<Commit>>) -> Result<(), String> {
        if let Some(lost) = self.acknowledged.keys().find(|id| !recorded.contains_key(*id)) {
            return Err(format!("{lost} was acknowledged and is lost"));
        }
        if let Some(written) = self.refused.iter().find(|id| recorded.contains_key(*id)) {
            return Err(format!("{written} was refused and is written"));
        }
        if let Some((request, found)) = recorded.iter().find(|(_, found)| found.len() > 1) {
            return Err(format!("{request} was applied {} times", found.len()));
        }
        for (request, answer) in &self.acknowledged {
            let found = recorded.get(request);
            if !found.is_some_and(|found| found.iter().any(|commit| commit.is_in(answer))) {
                return Err(format!("{request} was answered {answer:?}, the log has {found:?}"));
            }
        }
        if self.waiting.is_empty() { Ok(()) } else { Err(format!("never answered: {:?}", self.waiting)) }
    }
}

/// Ten clients open accounts and deposit; each retries under the same id. A fenced engine is replaced.
async fn run_clients(log: &Arc<dyn EventLog>, options: &EngineOptions) -> Seen {
    let mut clients: Vec<_> = (0..10).map(Client::new).collect();
    let mut seen = Seen::default();
    for life in 0..LIVES_MAX {
        let engine = Engine::start(Arc::clone(log), &application(), options).await.unwrap();
        let handle = engine.handle();
        let lives = clients.iter_mut().map(|client| client.live(&handle, life));
        for (acknowledged, refused) in futures_util::future::join_all(lives).await {
            seen.acknowledged.extend(acknowledged);
            seen.refused.extend(refused);
        }
        engine.shutdown().await;
        if clients.iter().all(|client| client.waiting.is_empty()) {
            break;
        }
    }
    seen.waiting = clients.into_iter().flat_map(|client| client.waiting).map(|(id, ..)| id).collect();
    seen
}

impl Client {
    fn new(number: u128) -> Self {
        let command = |name: &str, command, payload| (format!("{name}-{number}"), command, payload);
        let waiting = VecDeque::from([
            command("open", "open", json!({"name": format!("n{number}")})),
            command("deposit", "deposit", json!({"amount": 1})),
            command("nothing", "deposit", json!({"amount": 0})),
            command("split", "split", json!({"parts": 3})),
            command("deposit-more", "deposit", json!({"amount": 2})),
        ]);
        Self { number, waiting }
    }

    /// Sends what waits, each command three times at most, and one that is not sent again.
    async fn live(&mut self, engine: &EngineHandle, life: usize) -> (BTreeMap<String, CommandAnswer>, Option<String>) {
        // Out of step, so that there are many appends.
        for _ in 0..self.number {
            tokio::task::yield_now().await;
        }
        let mut acknowledged = BTreeMap::new();
        let mut tries = 0;
        while let Some((id, name, payload)) = self.waiting.front()
            && tries < 3
        {
            match send(engine, id, self.number, name, payload.clone()).await {
                Ok(answer) => {
                    assert_eq!(answer.operation_id, request(id, self.number, name, payload.clone()).operation_id());
                    acknowledged.insert(id.clone(), answer);
                    self.waiting.pop_front();
                    tries = 0;
                }
                Err(_) => tries += 1,
            }
        }
        let once = format!("once-{}-{life}", self.number);
        let refused = match send(engine, &once, self.number, "deposit", json!({"amount": 3})).await {
            Ok(answer) => {
                acknowledged.insert(once, answer);
                None
            }
            // It may be written or not.
            Err(CommandError::Unanswered) => None,
            Err(_) => Some(once),
        };
        (acknowledged, refused)
    }
}
