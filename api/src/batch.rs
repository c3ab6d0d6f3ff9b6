//! Many commands on one connection: lines in, answer lines out, in order, while the input still arrives.
//!
//! Commands are handed to the engine in input order and many at a time, so that one append takes many of them and a
//! later line may build on an earlier one of the same scope. A line that is wrong is that line's problem; what ends the
//! input early is the problem of the first line that was not read.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use annals_engine::command::CommandAnswer;
use annals_model::command_json::parse_strict;
use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::stream::{self, FuturesOrdered, Stream};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;

use self::lines::{LineError, Lines};
use crate::auth::Caller;
use crate::command::{CommandHeaders, CommandKind, answer, prepare};
use crate::fields::{Fields, wrong};
use crate::limits;
use crate::problem::{Code, Problem};
use crate::shared::Shared;
use crate::trace::Meta;

mod lines;

type Outcome = Result<CommandAnswer, Problem>;
type Pending = Pin<Box<dyn Future<Output = (u64, Outcome)> + Send>>;

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
    /// Nothing more is read.
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

/// The answer lines to a batch.
pub(crate) fn answer_lines(
    shared: Arc<Shared>,
    caller: Caller,
    meta: Meta,
    body: Body,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let batch = Batch {
        shared,
        caller,
        meta,
        lines: Lines::new(body.into_data_stream()),
        line: 0,
        pending: FuturesOrdered::new(),
        ended: false,
        _permit: permit,
    };
    stream::unfold(batch, |mut batch| async move {
        let mut text = String::new();
        batch.next_answer(&mut text).await?;
        // What one append answered goes out in one piece.
        while let Some(Some((line, outcome))) = batch.pending.next().now_or_never() {
            batch.write(line, outcome, &mut text);
        }
        Some((Ok(Bytes::from(text)), batch))
    })
}

impl Batch {
    /// Writes the answer to the next line; nothing at the end.
    async fn next_answer(&mut self, text: &mut String) -> Option<()> {
        loop {
            let room = self.pending.len() < limits::BATCH_COMMANDS_MAX;
            tokio::select! {
                biased;
                Some((line, outcome)) = self.pending.next(), if !self.pending.is_empty() => {
                    self.write(line, outcome, text);
                    return Some(());
                }
                read = read_line(&mut self.lines, &self.shared), if room && !self.ended => match read {
                    Ok(Some(line)) => {
                        self.line += 1;
                        if !line.trim_ascii().is_empty() {
                            self.take(&line).await;
                        }
                    }
                    Ok(None) => self.ended = true,
                    Err(Refused { problem, goes_on }) => {
                        self.line += 1;
                        self.ended = !goes_on;
                        self.push(Err(problem));
                    }
                },
                else => return None,
            }
        }
    }

    /// Hands a line's command to the engine, or keeps the line's problem in its place.
    async fn take(&mut self, line: &[u8]) {
        let shared = Arc::clone(&self.shared);
        let deadline = self.meta.deadline();
        let request = match self.parse(line) {
            Ok(request) => request,
            Err(problem) => return self.push(Err(problem)),
        };
        if let Err(problem) = self.shared.admit(&request, deadline).await {
            return self.push(Err(problem));
        }
        let number = self.line;
        let mut pending: Pending = Box::pin(async move { (number, shared.execute(request, deadline).await) });
        // The first poll puts the command into its partition's queue: before any later line's.
        match futures_util::poll!(&mut pending) {
            std::task::Poll::Ready((_, outcome)) => self.push(outcome),
            std::task::Poll::Pending => self.pending.push_back(pending),
        }
    }

    fn parse(&self, line: &[u8]) -> Result<annals_engine::command::CommandRequest, Problem> {
        let mut fields = Fields::of(parse_strict(line)?)?;
        let command_type = fields
            .text("type", limits::COMMAND_TYPE_BYTES_MAX)?
            .ok_or_else(|| wrong("type", "is missing; send context.aggregate.command"))?;
        let kind = CommandKind::find(&self.shared.engine, &command_type)?;
        prepare(kind, fields, CommandHeaders::default(), &self.caller, self.meta.correlation_id)
    }

    fn push(&mut self, outcome: Outcome) {
        self.pending.push_back(std::future::ready((self.line, outcome)).boxed());
    }

    fn write(&self, line: u64, outcome: Outcome, text: &mut String) {
        let mut json = Map::new();
        match outcome {
            Ok(command) => {
                json.insert("status".to_owned(), answer::status(&command).as_u16().into());
                json.extend(answer::to_json(&command, &**self.shared.engine.log()));
            }
            Err(problem) => json = problem.to_json(),
        }
        json.insert("line".to_owned(), line.into());
        text.push_str(&Value::Object(json).to_string());
        text.push('\n');
    }
}

/// A line that could not be read.
struct Refused {
    problem: Problem,
    /// What comes behind it can be read.
    goes_on: bool,
}

/// The next line. May be dropped and called again.
async fn read_line(lines: &mut Lines<BodyDataStream>, shared: &Shared) -> Result<Option<Vec<u8>>, Refused> {
    let idle = Duration::from_millis(limits::BATCH_IDLE_MS);
    let read = tokio::select! {
        biased;
        () = shared.stopping.cancelled() => {
            let detail = "the server shuts down: this line and those behind it were not read; send them again";
            return Err(Refused { problem: Problem::new(Code::Overloaded, detail), goes_on: false });
        }
        read = tokio::time::timeout(idle, lines.next()) => read,
    };
    match read {
        Ok(Ok(line)) => Ok(line),
        Ok(Err(LineError::TooLong)) => {
            let detail = format!("a line holds one command of at most {} bytes", limits::BATCH_LINE_BYTES_MAX);
            Err(Refused { problem: Problem::new(Code::TooLarge, detail), goes_on: true })
        }
        Ok(Err(LineError::Broken(cause))) => {
            let detail =
                format!("the body broke off ({cause}): this line was not read; send it again, and those behind it");
            Err(Refused { problem: Problem::new(Code::MalformedJson, detail), goes_on: false })
        }
        Err(_) => {
            let detail = "no more bytes came: this line was not read; send it again, and those behind it";
            Err(Refused { problem: Problem::new(Code::BodyTimeout, detail), goes_on: false })
        }
    }
}
