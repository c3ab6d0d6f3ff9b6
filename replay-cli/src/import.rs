//! Inventories as commands: sent in bounded requests, counted by their answers, safe to interrupt and to run again.

use std::collections::BTreeMap;
use std::time::Duration;

use annals_projectors::process::{say, stop};
use anyhow::Context as _;
use serde_json::Value;

use crate::client::lines::LineAnswer;
use crate::client::problem::Problem;
use crate::client::{CallError, Client, pause};
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::output::cell::count;
use crate::output::{Output, columns, render, render_pairs};
use crate::progress::Progress;

pub mod ids;
pub mod ndjson;

/// One command, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandLine {
    /// What people call it in a report: where it stands in the input.
    pub label: String,
    /// The line as it goes over the wire, without its end; carries `type` and `client_request_id`.
    pub line: String,
    /// What it does where it does something, as a report says it; empty where nobody knows.
    pub change: &'static str,
}

/// One line of the input.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// To be sent.
    Command(CommandLine),
    /// Refused here: nothing of it is sent.
    Refused {
        /// Where it stands in the input.
        label: String,
        problem: Box<Problem>,
    },
}

impl From<CommandLine> for Line {
    fn from(command: CommandLine) -> Self {
        Self::Command(command)
    }
}

/// The input, line by line.
pub type Input<'a> = &'a mut (dyn Iterator<Item = anyhow::Result<Line>> + Send);

/// How an import went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Accepted now.
    pub accepted: u64,
    /// Accepted before: answered, not repeated.
    pub replayed: u64,
    /// Refused; nothing was written for them.
    pub refused: u64,
    /// Events appended now.
    pub events: u64,
    /// Commands that did something now, by what they did.
    pub changes: BTreeMap<&'static str, u64>,
    /// The refused lines, the first [`limits::REFUSALS_SHOWN_MAX`].
    pub refusals: Vec<(String, Problem)>,
    /// Covers everything accepted so far.
    pub consistency_token: Option<String>,
}

impl Tally {
    /// Lines that have their final answer.
    pub fn answered(&self) -> u64 {
        self.accepted + self.replayed + self.refused
    }

    fn count(&mut self, line: &CommandLine, answer: &LineAnswer, accepted_before_resend: bool) {
        match answer {
            LineAnswer::Accepted(answer) => {
                // A line that was sent again only because one before it was put off was accepted by this very run.
                if answer.replayed && !accepted_before_resend {
                    self.replayed += 1;
                } else {
                    self.accepted += 1;
                    self.events += answer.events.len() as u64;
                    if !answer.events.is_empty() && !line.change.is_empty() {
                        *self.changes.entry(line.change).or_default() += 1;
                    }
                }
                self.consistency_token = Some(answer.consistency_token.clone());
            }
            LineAnswer::Refused(problem) => {
                self.refused += 1;
                if self.refusals.len() < limits::REFUSALS_SHOWN_MAX {
                    self.refusals.push((line.label.clone(), (**problem).clone()));
                }
            }
        }
    }
}

/// Why an import stopped. Everything answered before stays; running it again repeats nothing.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The server or the connection failed, or put a line off too often.
    #[error("after {answered} answered lines: {cause}")]
    Call {
        /// Lines that had their final answer.
        answered: u64,
        /// What happened.
        cause: CallError,
    },
    /// The input cannot be read.
    #[error("after {answered} answered lines: {cause:#}")]
    Input {
        /// Lines that had their final answer.
        answered: u64,
        /// What happened.
        cause: anyhow::Error,
    },
}

/// Who is told about each final answer, in order.
pub type OnAnswer<'a> = &'a mut (dyn FnMut(&CommandLine, &LineAnswer) + Send);

/// Sends all lines in order, request by request; the tally holds also after an error what was answered before it.
pub async fn send_all(
    client: &Client,
    lines: Input<'_>,
    tally: &mut Tally,
    on_answer: OnAnswer<'_>,
) -> Result<(), ImportError> {
    let mut held = None;
    loop {
        let chunk =
            next_chunk(lines, &mut held).map_err(|cause| ImportError::Input { answered: tally.answered(), cause })?;
        send_chunk(client, &chunk, tally, on_answer)
            .await
            .map_err(|cause| ImportError::Call { answered: tally.answered(), cause })?;
        match held.take() {
            // In its place among the others.
            Some(Line::Refused { label, problem }) => {
                let line = CommandLine { label, line: String::new(), change: "" };
                let answer = LineAnswer::Refused(problem);
                tally.count(&line, &answer, false);
                on_answer(&line, &answer);
            }
            None if chunk.is_empty() => return Ok(()),
            other => held = other,
        }
    }
}

/// The next lines that fit one request; the line that ends it, for it does not fit or is not sent, is held.
fn next_chunk(lines: Input<'_>, held: &mut Option<Line>) -> anyhow::Result<Vec<CommandLine>> {
    let mut chunk = Vec::new();
    let mut bytes = 0;
    while chunk.len() < limits::IMPORT_CHUNK_LINES {
        match held.take().map(Ok).or_else(|| lines.next()).transpose()? {
            Some(Line::Command(line)) if chunk.is_empty() || bytes + line.line.len() < limits::IMPORT_CHUNK_BYTES => {
                bytes += line.line.len() + 1;
                chunk.push(line);
            }
            ends => {
                *held = ends;
                break;
            }
        }
    }
    Ok(chunk)
}

/// Sends one request's lines. Where the server puts a line off, that line and all behind it are sent again, for those
/// behind it may rest on it.
async fn send_chunk(
    client: &Client,
    chunk: &[CommandLine],
    tally: &mut Tally,
    on_answer: OnAnswer<'_>,
) -> Result<(), CallError> {
    let mut done = 0;
    let mut attempt = 0;
    let mut accepted = vec![false; chunk.len()];
    let mut said = String::new();
    let mut tell = |attempt, problem: &Problem| {
        if let Some(words) = refuses(attempt, problem).filter(|words| *words != said) {
            say!("{words}");
            said = words;
        }
    };
    while done < chunk.len() {
        attempt += 1;
        let before = done;
        match send_from(client, chunk, &mut done, &mut accepted, tally, on_answer).await {
            Ok(None) => return Ok(()),
            Ok(Some(problem)) if attempt < limits::ATTEMPTS_MAX => {
                if done > before {
                    attempt = 1;
                }
                tell(attempt, &problem);
                tokio::time::sleep(pause(attempt, problem.retry_after)).await;
            }
            Ok(Some(problem)) => return Err(Box::new(problem).into()),
            Err(CallError::Refused(problem)) if problem.is_passing() && attempt < limits::ATTEMPTS_MAX => {
                tell(attempt, &problem);
                tokio::time::sleep(pause(attempt, problem.retry_after)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What is said of a server that puts lines off again and again: silence for minutes would look like work. The first times
/// are a server's ordinary way of asking for a moment; but one that let its whole deadline pass, as with a full disk, was
/// waited for in silence long enough.
fn refuses(attempt: u32, problem: &Problem) -> Option<String> {
    let waited = problem.document["type"] == "urn:annals:problem:unanswered";
    (waited || attempt >= limits::REFUSALS_IN_SILENCE).then(|| format!("server refuses: {problem}, retrying"))
}

/// One request with the lines from `done` on. Gives the problem of the first line that was put off.
async fn send_from(
    client: &Client,
    chunk: &[CommandLine],
    done: &mut usize,
    accepted: &mut [bool],
    tally: &mut Tally,
    on_answer: OnAnswer<'_>,
) -> Result<Option<Problem>, CallError> {
    let rest = &chunk[*done..];
    let mut body = String::with_capacity(rest.iter().map(|line| line.line.len() + 1).sum());
    for line in rest {
        body.push_str(&line.line);
        body.push('\n');
    }
    let mut answers = client.commands(body).await?;
    let mut put_off: Option<Problem> = None;
    for index in *done..chunk.len() {
        let Some(answer) = answers.next().await? else {
            // A server that shuts down says so in the place of the first line that it did not read, and ends.
            return if put_off.is_some() { Ok(put_off) } else { Err(client.cut_short(index, chunk.len())) };
        };
        match (&answer, &put_off) {
            (LineAnswer::Refused(problem), None) if problem.is_passing() => put_off = Some((**problem).clone()),
            (LineAnswer::Accepted(answer), Some(_)) => accepted[index] |= !answer.replayed,
            (LineAnswer::Refused(_), Some(_)) => {}
            (_, None) => {
                tally.count(&chunk[index], &answer, accepted[index]);
                on_answer(&chunk[index], &answer);
                *done = index + 1;
            }
        }
    }
    Ok(put_off)
}

/// Runs an import with a progress bar until done or interrupted, and reports it.
pub async fn run(
    client: &Client,
    output: Output,
    title: &str,
    total: Option<u64>,
    lines: Input<'_>,
    extra: &[(&'static str, u64)],
) -> anyhow::Result<Exit> {
    let stop = stop::on_signal("stopping; once more to end at once", "ended at once; run the same command again")
        .context("signals cannot be caught")?;
    let progress = Progress::start(title, "commands", total);
    let mut tally = Tally::default();
    let mut answered = 0;
    let mut on_answer = |_: &CommandLine, _: &LineAnswer| {
        answered += 1;
        progress.set(answered);
    };
    let sent = tokio::select! {
        sent = send_all(client, lines, &mut tally, &mut on_answer) => Some(sent),
        () = stop.cancelled() => None,
    };
    let took = progress.finish();
    report(output, &tally, took, extra)?;
    match sent {
        None => Err(Failure::new(
            Exit::Interrupted,
            format!("interrupted after {} answered lines", count(tally.answered())),
        )
        .remedy("run the same command again: what was accepted is answered, not repeated")
        .into()),
        Some(Err(ImportError::Call { cause, .. })) => {
            let failure = Failure::from(cause);
            Err(Failure {
                remedy: "run the same command again: what was accepted is answered, not repeated".into(),
                ..failure
            }
            .into())
        }
        Some(Err(ImportError::Input { cause, .. })) => Err(cause),
        Some(Ok(())) if tally.refused > 0 => Ok(Exit::Partial),
        Some(Ok(())) => Ok(Exit::Ok),
    }
}

/// A refused line under its own number: the server counted within one request.
fn refusal(label: &str, problem: &Problem) -> Value {
    let mut document = problem.document.clone();
    if let Some(fields) = document.as_object_mut() {
        fields.remove("line");
    }
    serde_json::json!({"line": label, "problem": document})
}

fn report(output: Output, tally: &Tally, took: Duration, extra: &[(&'static str, u64)]) -> anyhow::Result<()> {
    if !tally.refusals.is_empty() {
        let refused: Vec<Value> = tally
            .refusals
            .iter()
            .map(|(label, problem)| serde_json::json!({"line": label, "status": problem.status, "why": problem.to_string()}))
            .collect();
        say!("{}", render(&refused, &columns(&[("refused", "/line"), ("why", "/why")])));
        if tally.refused > refused.len() as u64 {
            say!("… and {} more", count(tally.refused - refused.len() as u64));
        }
    }
    let mut document = serde_json::json!({
        "accepted": tally.accepted,
        "replayed": tally.replayed,
        "refused": tally.refused,
        "events": tally.events,
        "seconds": took.as_secs_f64(),
        "consistency_token": tally.consistency_token,
        "refusals": tally.refusals.iter().map(|(label, problem)| refusal(label, problem)).collect::<Vec<_>>(),
    });
    let changes = tally.changes.iter().map(|(name, value)| (*name, *value));
    let extra: Vec<(&str, u64)> = extra.iter().copied().chain(changes).collect();
    for (name, value) in &extra {
        document[*name] = (*value).into();
    }
    let written = output.document(&document, || {
        let mut pairs = vec![
            ("accepted", count(tally.accepted)),
            ("replayed", count(tally.replayed)),
            ("refused", count(tally.refused)),
            ("events", count(tally.events)),
        ];
        pairs.extend(extra.iter().map(|(name, value)| (*name, count(*value))));
        render_pairs(&pairs)
    });
    Ok(written?)
}

#[cfg(test)]
mod tests;
