//! Lines of a batch that belong to partitions elsewhere: a lane per partition keeps their order, and sends what has come
//! together while the lines before were under way.

use std::collections::HashMap;
use std::sync::Arc;

use annals_model::position::ContextPartition;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Handed, Peers, Relayed, ndjson, no_owner, read_answer};
use crate::limits;
use crate::problem::{Code, Problem};

/// One line, and who waits for its answer.
#[derive(Debug)]
pub(crate) struct Line {
    /// As it came, without its line end.
    pub(crate) text: Bytes,
    /// When its answer is no use any more.
    pub(crate) deadline: Instant,
    /// Its answer as the owner gave it; nothing if the partition is served here by now.
    pub(crate) reply: oneshot::Sender<Result<Option<Map<String, Value>>, Problem>>,
}

/// The lanes of one batch. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Lanes {
    peers: Peers,
    headers: HeaderMap,
    lanes: HashMap<ContextPartition, Lane>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Lane {
    lines: mpsc::Sender<(Line, OnItsWay)>,
    /// Held once more by every line that is not answered.
    on_its_way: OnItsWay,
}

type OnItsWay = Arc<()>;

impl Lanes {
    /// For a batch that came with these headers.
    pub(crate) fn new(peers: Peers, headers: &HeaderMap) -> Self {
        Self { peers, headers: ndjson(headers), lanes: HashMap::new(), tasks: JoinSet::new() }
    }

    /// True while lines of the partition are on their way: what comes behind them must not overtake them.
    pub(crate) fn is_busy(&self, at: ContextPartition) -> bool {
        self.lanes.get(&at).is_some_and(|lane| Arc::strong_count(&lane.on_its_way) > 1)
    }

    /// Sends a line behind those before it. There is room: a batch has fewer lines under way than a lane holds.
    pub(crate) fn send(&mut self, at: ContextPartition, line: Line) {
        let Self { peers, headers, lanes, tasks } = self;
        let lane = lanes.entry(at).or_insert_with(|| {
            let (lines, queued) = mpsc::channel(limits::BATCH_COMMANDS_MAX);
            tasks.spawn(run(peers.clone(), headers.clone(), at, queued));
            Lane { lines, on_its_way: OnItsWay::default() }
        });
        if let Err(refused) = lane.lines.try_send((line, Arc::clone(&lane.on_its_way))) {
            let (line, _) = refused.into_inner();
            let detail = "too many lines are on their way; nothing was done, send it again";
            // The batch has gone, maybe; so it is with every answer here.
            let _ = line.reply.send(Err(Problem::new(Code::Overloaded, detail)));
        }
    }
}

async fn run(peers: Peers, headers: HeaderMap, at: ContextPartition, mut queued: mpsc::Receiver<(Line, OnItsWay)>) {
    let mut lines = Vec::new();
    while queued.recv_many(&mut lines, limits::BATCH_COMMANDS_MAX).await > 0 {
        while !lines.is_empty() {
            match relay(&peers, &headers, at, &lines).await {
                Answers::Each(answers) => {
                    for ((line, _on_its_way), answer) in lines.drain(..answers.len()).zip(answers) {
                        let _ = line.reply.send(Ok(Some(answer)));
                    }
                }
                Answers::All(answer) => {
                    for (line, _on_its_way) in lines.drain(..) {
                        let _ = line.reply.send(answer.clone());
                    }
                }
            }
        }
    }
}

/// What lines that were sent together were answered.
enum Answers {
    /// Those at the front, one each; the others are sent again.
    Each(Vec<Map<String, Value>>),
    /// All of them the same.
    All(Result<Option<Map<String, Value>>, Problem>),
}

/// Sends all lines to the partition's owner.
async fn relay(peers: &Peers, headers: &HeaderMap, at: ContextPartition, lines: &[(Line, OnItsWay)]) -> Answers {
    let deadline = lines.iter().map(|(line, _)| line.deadline).min().unwrap_or_else(Instant::now);
    let mut body = Vec::with_capacity(lines.iter().map(|(line, _)| line.text.len() + 1).sum());
    for (line, _) in lines {
        body.extend_from_slice(&line.text);
        body.push(b'\n');
    }
    let uri = Uri::from_static("/v1/commands");
    let request = Handed { method: Method::POST, uri, headers: headers.clone(), body: body.into() };
    let answer = match peers.relay(at, &request, deadline).await {
        Ok(Relayed::Answered(answer)) => answer,
        Ok(Relayed::IsHere) => return Answers::All(Ok(None)),
        Err(problem) => return Answers::All(Err(problem)),
    };
    let is_batch = answer.status() == StatusCode::OK;
    // What broke off is as good as not answered: those lines are sent again.
    let text = read_answer(answer).await.unwrap_or_default();
    let answers = text.split(|byte| *byte == b'\n').filter(|answer| !answer.is_empty());
    let answers = answers.map_while(|answer| match serde_json::from_slice(answer) {
        Ok(Value::Object(answer)) if answer.get("type") != Some(&Code::NotOwner.urn().into()) => Some(answer),
        _ => None,
    });
    let mut answers: Vec<_> = answers.take(lines.len()).collect();
    match answers.pop() {
        Some(refusal) if !is_batch => return Answers::All(Ok(Some(refusal))),
        Some(last) => answers.push(last),
        None if Instant::now() >= deadline => return Answers::All(Err(no_owner(at))),
        // The owner lost the partition meanwhile, or broke off: whoever owns it now is asked.
        None => peers.engine.owners_heard().await,
    }
    Answers::Each(answers)
}
