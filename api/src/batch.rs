//! Many commands on one connection: lines in, answer lines out, in order, while the input still arrives.
//!
//! Commands are handed to the engine in input order and many at a time, so that one append takes many of them and a
//! later line may build on an earlier one of the same scope. A line that is wrong is that line's problem; what ends the
//! input early is the problem of the first line that was not read.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use annals_engine::command::{CommandError, CommandRequest};
use annals_engine::owners::Link;
use annals_model::command_json::parse_strict;
use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use bytes::Bytes;
use futures_util::stream::{self, FuturesOrdered, Stream};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::lines::{LineError, Lines};
use self::order::{Answered, Orders, Sent};
use self::turn::Turn;
use crate::auth::Caller;
use crate::command::{CommandHeaders, CommandKind, answer, prepare};
use crate::fields::{Fields, wrong};
use crate::limits;
use crate::peers::{Accepted, Lanes, Line};
use crate::problem::{Code, Problem};
use crate::shared::Shared;
use crate::trace::Meta;

mod lines;
mod order;
pub(crate) mod turn;
mod unread;

type Outcome = Result<Accepted, Problem>;

type Pending = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// One batch being answered.
struct Batch {
    shared: Arc<Shared>,
    caller: Caller,
    meta: Meta,
    lines: Lines<BodyDataStream>,
    /// Number of the line that was read last, from 1.
    line: u64,
    /// Commands that were handed to the engine, in order.
    pending: FuturesOrdered<Pending>,
    /// Commands of partitions that other nodes own.
    lanes: Lanes,
    /// What keeps lines of one partition in their order.
    orders: Orders,
    /// Nothing more is read.
    ended: bool,
    /// What comes all the same.
    rest: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    turn: Turn,
}

/// The answer lines to a batch.
pub(crate) fn answer_lines(
    shared: Arc<Shared>,
    caller: Caller,
    meta: Meta,
    headers: &HeaderMap,
    body: Body,
    turn: Turn,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<> {
    let batch = Batch {
        lanes: Lanes::new(Arc::clone(&shared), headers),
        shared,
        caller,
        meta,
        lines: Lines::new(body.into_data_stream()),
        line: 0,
        pending: FuturesOrdered::new(),
        orders: Orders::default(),
        ended: false,
        rest: None,
        turn,
    };
    let (unread, ends) = (batch.turn.unread(), batch.turn.unread_ends());
    let answers = stream::unfold(batch, |mut batch| async move {
        let mut text = String::new();
        batch.next_answer(&mut text).await?;
        // What one append answered goes out in one piece.
        while let Some(Some(answered)) = batch.pending.next().now_or_never() {
            if batch.orders.has_left(&answered) {
                // It is handed on behind what is here to be told.
                batch.pending.push_front(std::future::ready(answered).boxed());
                break;
            }
            batch.write(answered, &mut text);
        }
        Some((Ok(Bytes::from(text)), batch))
    });
    unread::ahead(answers, unread, ends)
}

impl Batch {
    /// Writes the answer to the next line; nothing at the end.
    async fn next_answer(&mut self, text: &mut String) -> Option<()> {
        loop {
            let room = self.pending.len() < self.turn.commands_max();
            tokio::select! {
                biased;
                Some(answered) = self.pending.next(), if !self.pending.is_empty() => {
                    if self.orders.has_left(&answered) {
                        self.hand_on(answered).await;
                        continue;
                    }
                    self.write(answered, text);
                    return Some(());
                }
                read = read_line(&mut self.lines, &self.turn, &self.shared), if room && !self.ended => match read {
                    Ok(Some(line)) => {
                        self.line += 1;
                        if !line.trim_ascii().is_empty() {
                            self.turn.is_busy();
                            self.take(line).await;
                        }
                    }
                    Ok(None) => self.ended = true,
                    Err(Refused { problem, goes_on }) => {
                        self.line += 1;
                        self.ended = !goes_on;
                        self.push(Err(problem));
                        if self.ended {
                            self.rest = self.lines.take_body().map(|body| Box::pin(take_rest(body)) as _);
                        }
                    }
                },
                // Behind the last answer: the client may take none before it has sent everything.
                () = async { if let Some(rest) = &mut self.rest { rest.await } }, if self.rest.is_some() => {
                    self.rest = None;
                }
                else => return None,
            }
        }
    }

    /// Hands a line's command to the engine or to the node that owns its partition, or keeps the line's problem in its
    /// place.
    async fn take(&mut self, line: Vec<u8>) {
        let (number, deadline) = (self.line, self.meta.deadline());
        let request = match self.parse(&line) {
            Ok(request) => request,
            Err(problem) => return self.push(Err(problem)),
        };
        let (at, operation) = (self.shared.partition_of(&request), request.operation_id());
        let text = (!self.meta.forwarded && self.shared.peers.are_there()).then(|| line.into());
        let sent = Sent { at, operation, deadline, text };
        let refused = |problem: Problem, sent| {
            let outcome = Err(problem.of_operation(operation));
            std::future::ready(Answered { line: number, outcome, sent: Some(sent) }).boxed()
        };
        let Some((link, is_under_way)) = self.orders.link(at, number, operation) else {
            return self.pending.push_back(refused(CommandError::BehindUndecided.into(), sent));
        };
        // It goes the way of those before it: where they are told that the partition has left, so is this one.
        if sent.text.is_some() && (self.lanes.is_busy(at) || !(is_under_way || self.shared.peers.is_here(at))) {
            return self.take_there(number, link, request, sent);
        }
        let admitted = match self.shared.engine.admit(request, deadline).await.map_err(Problem::from) {
            Ok(admitted) => admitted,
            Err(problem) => {
                if problem.is_passing() {
                    link.leave_undecided();
                }
                return self.pending.push_back(refused(problem, sent));
            }
        };
        let shared = Arc::clone(&self.shared);
        let mut pending: Pending = Box::pin(async move {
            let answer = shared.engine.execute_in(Some(link), admitted, deadline).await;
            let answer = answer.map_err(|error| Problem::from(error).of_operation(operation));
            let outcome = answer.map(|answer| Accepted::Here(Box::new(answer)));
            Answered { line: number, outcome, sent: Some(sent) }
        });
        // The first poll puts the command into its partition's queue: before any later line's.
        match futures_util::poll!(&mut pending) {
            Poll::Ready(answered) => self.pending.push_back(std::future::ready(answered).boxed()),
            Poll::Pending => self.pending.push_back(pending),
        }
    }

    /// Sends a line to the owner of its partition, behind those of the same partition before it.
    fn take_there(&mut self, line: u64, link: Link, request: CommandRequest, sent: Sent) {
        let (reply, answer) = oneshot::channel();
        let text = sent.text.clone().unwrap_or_default();
        self.lanes.send(sent.at, Line { text, link, request, deadline: sent.deadline, reply });
        let answered = async move {
            let answer = answer.await.unwrap_or_else(|_| Err(CommandError::Unanswered.into()));
            let outcome = answer.map_err(|problem: Problem| problem.of_operation(sent.operation));
            Answered { line, outcome, sent: Some(sent) }
        };
        self.pending.push_back(Box::pin(answered));
    }

    /// Hands on what was not decided here because its partition has left, in its order and before anything that comes behind
    /// it is read.
    async fn hand_on(&mut self, first: Answered) {
        let mut answers = vec![first];
        // Those behind it were refused with it, or are answered soon: nothing of the partition is under way then.
        while let Some(answered) = self.pending.next().await {
            answers.push(answered);
        }
        let is_handed_on = self.orders.hand_on(&answers);
        for (answered, is_handed_on) in answers.into_iter().zip(is_handed_on) {
            let again = is_handed_on.then(|| self.again(&answered)).flatten();
            match (again, answered) {
                (Some((link, request)), Answered { line, sent: Some(sent), .. }) => {
                    self.take_there(line, link, request, sent);
                }
                (_, answered) => self.pending.push_back(std::future::ready(answered).boxed()),
            }
        }
    }

    /// The command of a line that was parsed before.
    fn again(&mut self, answered: &Answered) -> Option<(Link, CommandRequest)> {
        let sent = answered.sent.as_ref()?;
        let request = self.parse(sent.text.as_ref()?).ok()?;
        let (link, _) = self.orders.link(sent.at, answered.line, sent.operation)?;
        Some((link, request))
    }

    fn parse(&self, line: &[u8]) -> Result<CommandRequest, Problem> {
        let mut fields = Fields::of(parse_strict(line)?)?;
        let command_type = fields
            .text("type", limits::COMMAND_TYPE_BYTES_MAX)?
            .ok_or_else(|| wrong("type", "is missing; send context.aggregate.command"))?;
        let kind = CommandKind::find(&self.shared.engine, &command_type)?;
        prepare(kind, fields, CommandHeaders::default(), &self.caller, self.meta.correlation_id)
    }

    fn push(&mut self, outcome: Outcome) {
        self.pending.push_back(std::future::ready(Answered { line: self.line, outcome, sent: None }).boxed());
    }

    fn write(&mut self, answered: Answered, text: &mut String) {
        self.orders.is_told(&answered);
        let Answered { line, outcome, .. } = answered;
        if self.pending.is_empty() {
            self.turn.is_idle();
        }
        let mut json = match outcome {
            Ok(Accepted::Here(command)) => {
                let log = &**self.shared.engine.log();
                let token = self.shared.tokens.issue(&command.position);
                let answered = answer::Line::new(&command, log, &token, line);
                // Nothing in it cannot be written as JSON.
                text.push_str(&serde_json::to_string(&answered).unwrap_or_default());
                text.push('\n');
                return;
            }
            Ok(Accepted::There(answer)) => answer,
            Err(problem) => problem.to_json(),
        };
        json.insert("line".to_owned(), line.into());
        text.push_str(&Value::Object(json).to_string());
        text.push('\n');
    }
}

/// Takes and throws away what comes behind the last line that was read, up to a bound.
async fn take_rest(mut body: BodyDataStream) {
    let rest = async {
        let mut bytes = 0;
        while let Some(Ok(piece)) = body.next().await
            && bytes < limits::BATCH_REST_BYTES_MAX
        {
            bytes += piece.len() as u64;
        }
    };
    // In time or not: nobody is told anything by it.
    let _ = tokio::time::timeout(Duration::from_millis(limits::BATCH_REST_MS), rest).await;
}

/// A line that could not be read.
struct Refused {
    problem: Problem,
    /// What comes behind it can be read.
    goes_on: bool,
}

/// The next line. May be dropped and called again.
async fn read_line(
    lines: &mut Lines<BodyDataStream>,
    turn: &Turn,
    shared: &Shared,
) -> Result<Option<Vec<u8>>, Refused> {
    let ends = |code: Code, detail: &str| Err(Refused { problem: Problem::new(code, detail), goes_on: false });
    let idle_until = turn.idle_until();
    let read = tokio::select! {
        biased;
        () = shared.stopping.cancelled() => {
            return ends(
                Code::Overloaded,
                "the server shuts down: this line and those behind it were not read; send them again",
            );
        }
        () = turn.gives_way() => {
            return ends(
                Code::Overloaded,
                "no command came for a while, and another batch needed the room: this line was not read; send it again, and \
                 those behind it",
            );
        }
        () = turn.is_unread() => {
            return ends(
                Code::Overloaded,
                "too many answers were not taken: this line was not read; send it again, and those behind it, and read \
                 answers while you send",
            );
        }
        read = lines.next() => read,
        // Newlines alone keep no batch open.
        () = async { tokio::time::sleep_until(idle_until.unwrap_or_else(Instant::now)).await }, if idle_until.is_some() => {
            return ends(
                Code::BodyTimeout,
                "no more commands came: this line was not read; send it again, and those behind it",
            );
        }
    };
    match read {
        Ok(line) => Ok(line),
        Err(LineError::TooLong) => {
            let detail = format!("a line holds one command of at most {} bytes", limits::BATCH_LINE_BYTES_MAX);
            Err(Refused { problem: Problem::new(Code::TooLarge, detail), goes_on: true })
        }
        Err(LineError::Broken(cause)) => {
            let detail =
                format!("the body broke off ({cause}): this line was not read; send it again, and those behind it");
            ends(Code::MalformedJson, &detail)
        }
    }
}
