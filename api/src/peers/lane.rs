//! Lines of a batch that belong to partitions elsewhere: a lane per partition keeps their order, and sends what has come
//! together while the lines before were under way. Where the partition has come here meanwhile, the lane hands them to the
//! engine itself, one behind the other: whoever waits for the answers does not get them there in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Poll;

use annals_engine::command::{CommandAnswer, CommandError, CommandRequest};
use annals_engine::owners::Link;
use annals_model::position::ContextPartition;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Handed, Relayed, ndjson, no_owner, read_answer};
use crate::limits;
use crate::problem::{Code, Problem};
use crate::shared::Shared;

/// An accepted command.
#[derive(Debug)]
pub(crate) enum Accepted {
    Here(Box<CommandAnswer>),
    /// At its owner, or refused there: the owner's line.
    There(Map<String, Value>),
}

/// One line, and who waits for its answer.
#[derive(Debug)]
pub(crate) struct Line {
    /// As it came, without its line end.
    pub(crate) text: Bytes,
    /// Its place among the lines of its partition.
    pub(crate) link: Link,
    /// What it asks.
    pub(crate) request: CommandRequest,
    /// When its answer is no use any more.
    pub(crate) deadline: Instant,
    /// Its answer.
    pub(crate) reply: oneshot::Sender<Result<Accepted, Problem>>,
}

/// The lanes of one batch. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Lanes {
    shared: Arc<Shared>,
    headers: HeaderMap,
    lanes: HashMap<ContextPartition, Lane>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Lane {
    lines: mpsc::Sender<(Line, OnItsWay)>,
    /// Held once more by every line that is neither answered nor queued at the owner.
    on_its_way: OnItsWay,
}

type OnItsWay = Arc<()>;

impl Lanes {
    /// For a batch that came with these headers.
    pub(crate) fn new(shared: Arc<Shared>, headers: &HeaderMap) -> Self {
        Self { shared, headers: ndjson(headers), lanes: HashMap::new(), tasks: JoinSet::new() }
    }

    /// True while lines of the partition are on their way: what comes behind them must not overtake them.
    pub(crate) fn is_busy(&self, at: ContextPartition) -> bool {
        self.lanes.get(&at).is_some_and(|lane| Arc::strong_count(&lane.on_its_way) > 1)
    }

    /// Sends a line behind those before it. There is room: a batch has fewer lines under way than a lane holds.
    pub(crate) fn send(&mut self, at: ContextPartition, line: Line) {
        let Self { shared, headers, lanes, tasks } = self;
        let lane = lanes.entry(at).or_insert_with(|| {
            let (lines, queued) = mpsc::channel(limits::BATCH_COMMANDS_MAX);
            tasks.spawn(run(Arc::clone(shared), headers.clone(), at, queued));
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

async fn run(
    shared: Arc<Shared>,
    headers: HeaderMap,
    at: ContextPartition,
    mut queued: mpsc::Receiver<(Line, OnItsWay)>,
) {
    let mut lines = Vec::new();
    // Lines whose commands are queued here. They end with the lane, which ends with the batch.
    let mut decided = JoinSet::new();
    while queued.recv_many(&mut lines, limits::BATCH_COMMANDS_MAX).await > 0 {
        while !lines.is_empty() {
            while decided.try_join_next().is_some() {}
            let answers = match decided.is_empty() {
                true => relay(&shared, &headers, at, &mut lines).await,
                // Those that are queued here may be told that the partition has left: so must be those behind them. Its
                // next owner must not decide these before it has seen those.
                false => Answers::Here,
            };
            match answers {
                Answers::Each(answers) => {
                    for ((line, on_its_way), answer) in lines.drain(..answers.len()).zip(answers) {
                        answered(&shared, line, on_its_way, answer);
                    }
                }
                Answers::None(problem) => {
                    for (line, on_its_way) in lines.drain(..) {
                        left_undecided(line.link, line.reply, on_its_way, problem.clone());
                    }
                }
                Answers::Here => {
                    for (line, on_its_way) in lines.drain(..) {
                        queue_here(&shared, line, on_its_way, &mut decided).await;
                    }
                }
            }
        }
    }
    // No more lines come; those that are here are still to be answered.
    while decided.join_next().await.is_some() {}
}

/// Hands back what the owner answered.
fn answered(shared: &Shared, line: Line, on_its_way: OnItsWay, answer: Map<String, Value>) {
    let Line { link, request, reply, .. } = line;
    if let Some(id) = request.aggregate_id {
        shared.engine.changed(request.scope.tenant, request.context, request.aggregate_type, id);
    }
    if answer.get("status") == Some(&StatusCode::SERVICE_UNAVAILABLE.as_u16().into()) {
        link.leave_undecided();
    }
    // Not under way any more before it is not on its way: what comes behind it goes the same way.
    drop(link);
    let _ = reply.send(Ok(Accepted::There(answer)));
    drop(on_its_way);
}

/// Hands back that nobody has decided it.
fn left_undecided(
    link: Link,
    reply: oneshot::Sender<Result<Accepted, Problem>>,
    on_its_way: OnItsWay,
    problem: Problem,
) {
    link.leave_undecided();
    drop(link);
    let _ = reply.send(Err(problem));
    drop(on_its_way);
}

/// Hands a line's command to the engine, and returns once it is in its partition's queue.
async fn queue_here(shared: &Arc<Shared>, line: Line, on_its_way: OnItsWay, decided: &mut JoinSet<()>) {
    let Line { link, request, deadline, reply, .. } = line;
    let admitted = match shared.engine.admit(request, deadline).await.map_err(Problem::from) {
        Ok(admitted) => admitted,
        Err(problem) if problem.is_passing() => return left_undecided(link, reply, on_its_way, problem),
        Err(problem) => return drop(reply.send(Err(problem))),
    };
    let shared = Arc::clone(shared);
    let mut answer =
        Box::pin(async move { shared.engine.execute_in(Some(link), admitted, deadline).await.map_err(Problem::from) });
    let accepted = |answer: Result<CommandAnswer, Problem>| answer.map(|answer| Accepted::Here(Box::new(answer)));
    // The first poll puts the command into the queue: behind those before it, before those behind it.
    match futures_util::poll!(&mut answer) {
        Poll::Ready(answer) => drop(reply.send(accepted(answer))),
        Poll::Pending => _ = decided.spawn(async move { drop(reply.send(accepted(answer.await))) }),
    }
    drop(on_its_way);
}

/// What lines that were sent together were answered.
enum Answers {
    /// Those at the front, one each; the others are sent again.
    Each(Vec<Map<String, Value>>),
    /// None of them; all the same.
    None(Problem),
    /// The partition is served here by now.
    Here,
}

/// Sends all lines to the partition's owner, but for those that must not be decided any more: they are told so.
async fn relay(
    shared: &Shared,
    headers: &HeaderMap,
    at: ContextPartition,
    lines: &mut Vec<(Line, OnItsWay)>,
) -> Answers {
    for (line, on_its_way) in lines.extract_if(.., |(line, _)| line.link.is_behind_undecided()) {
        left_undecided(line.link, line.reply, on_its_way, CommandError::BehindUndecided.into());
    }
    if lines.is_empty() {
        return Answers::Each(Vec::new());
    }
    let deadline = lines.iter().map(|(line, _)| line.deadline).min().unwrap_or_else(Instant::now);
    let mut body = Vec::with_capacity(lines.iter().map(|(line, _)| line.text.len() + 1).sum());
    for (line, _) in &*lines {
        body.extend_from_slice(&line.text);
        body.push(b'\n');
    }
    let uri = Uri::from_static("/v1/commands");
    let request = Handed { method: Method::POST, uri, headers: headers.clone(), body: body.into() };
    let answer = match shared.peers.relay(at, &request, deadline).await {
        Ok(Relayed::Answered(answer)) => answer,
        Ok(Relayed::IsHere) => return Answers::Here,
        Err(problem) => return Answers::None(problem),
    };
    let is_batch = answer.status() == StatusCode::OK;
    // What broke off is as good as not answered: those lines are sent again.
    let text = read_answer(answer, deadline).await.unwrap_or_default();
    let answers = text.split(|byte| *byte == b'\n').filter(|answer| !answer.is_empty());
    let answers = answers.map_while(|answer| match serde_json::from_slice(answer) {
        Ok(Value::Object(answer)) if answer.get("type") != Some(&Code::NotOwner.urn().into()) => Some(answer),
        _ => None,
    });
    let mut answers: Vec<_> = answers.take(lines.len()).collect();
    match answers.pop() {
        // A refusal of the whole batch is every line's.
        Some(refusal) if !is_batch => return Answers::Each(vec![refusal; lines.len()]),
        Some(last) => answers.push(last),
        None if Instant::now() >= deadline => return Answers::None(no_owner(at)),
        // The owner lost the partition meanwhile, or broke off: whoever owns it now is asked.
        None => shared.engine.owners_heard().await,
    }
    Answers::Each(answers)
}
