//! What goes over HTTP, and what the answers mean to a client.

use annals_api::consistency::ConsistencyTokens;
use annals_model::command_json::fingerprint;
use annals_model::envelope::Fingerprint;
use annals_model::ids::{AggregateId, EventId, OperationId};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::cluster::history::{Acknowledged, Outcome};
use crate::cluster::workload::Command;

const COMMANDS: &str = "/v1/commands/";
/// Answers that say that nothing was written and that the command may be sent again.
const NOT_WRITTEN: [&str; 5] = ["overloaded", "aborted", "behind-undecided", "not-owner", "partition-stopped"];
/// Answers that say that it was refused for good, and why the command itself is the cause.
const REFUSED: [&str; 6] =
    ["rejected", "version-conflict", "already-exists", "unique-key-taken", "request-id-reused", "not-found"];

/// A command as it goes over the wire, the same at every try.
#[derive(Clone, Debug)]
pub struct Asked {
    path: String,
    body: Value,
    /// As servers take it.
    pub fingerprint: Fingerprint,
}

impl Asked {
    /// A command that names the version `expected`, if any.
    pub fn new(command: &Command, expected: Option<u64>) -> Self {
        let Command { request, name, workspace, aggregate, payload, .. } = command;
        let mut body = json!({ "client_request_id": **request, "aggregate_id": aggregate, "payload": payload });
        if let Some(workspace) = workspace {
            body["workspace_id"] = json!(workspace);
        }
        if let Some(expected) = expected {
            body["expected_version"] = json!(expected);
        }
        let fingerprint = fingerprint(&json!({
            "type": name,
            "aggregate_id": aggregate,
            "expected_version": expected,
            "workspace_id": workspace,
            "reason": null,
            "adr_id": null,
            "payload": payload,
        }));
        Self { path: format!("{COMMANDS}{name}"), body, fingerprint }
    }

    /// As a line among others.
    fn line(&self) -> String {
        let mut line = self.body.clone();
        line["type"] = json!(self.path.trim_start_matches(COMMANDS));
        format!("{line}\n")
    }
}

/// What a try came to.
#[derive(Debug)]
pub enum Told {
    /// Nobody was reached: there was no try.
    Nothing,
    /// An answer, or the lack of one after the command was sent.
    Outcome(Outcome),
    /// An answer that no client should ever get.
    Odd(String),
}

/// What a question came to.
pub(super) enum Got {
    /// 200.
    Found(Value),
    /// There is no such thing.
    Missing,
    /// Nobody answered, or said to ask again.
    Later,
    /// An answer that no client should ever get.
    Odd(String),
}

/// A way to the nodes.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) http: Client,
    /// How long a server may work on one try.
    pub(super) attempt_ms: u64,
}

impl Wire {
    /// Sends a command once.
    pub(super) async fn send(&self, node: &str, token: &str, asked: &Asked, tokens: &ConsistencyTokens) -> Told {
        let sent = self
            .http
            .post(format!("{node}{}", asked.path))
            .bearer_auth(token)
            .header("x-request-timeout", format!("{}ms", self.attempt_ms))
            .json(&asked.body)
            .send();
        let response = match sent.await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Told::Nothing,
            Err(_) => return Told::Outcome(Outcome::Open),
        };
        let (status, body) = match read(response).await {
            Some(answer) => answer,
            None => return Told::Outcome(Outcome::Open),
        };
        told(status, &body, tokens)
    }

    /// Sends many commands in one request; what each came to, in their order. Nothing where nobody was reached.
    pub(super) async fn send_lines(
        &self,
        node: &str,
        token: &str,
        all: &[Asked],
        tokens: &ConsistencyTokens,
    ) -> Option<Vec<Told>> {
        let sent = self
            .http
            .post(format!("{node}/v1/commands"))
            .bearer_auth(token)
            .header("content-type", "application/x-ndjson")
            .header("x-request-timeout", format!("{}ms", self.attempt_ms))
            .body(all.iter().map(Asked::line).collect::<String>())
            .send();
        let text = match sent.await {
            Ok(response) => response.text().await.unwrap_or_default(),
            Err(error) if error.is_connect() => return None,
            Err(_) => String::new(),
        };
        // What was not answered may have been written, or not.
        let mut found: Vec<Told> = all.iter().map(|_| Told::Outcome(Outcome::Open)).collect();
        for answer in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let status =
                answer["status"].as_u64().and_then(|status| StatusCode::from_u16(status.try_into().ok()?).ok());
            let place = answer["line"].as_u64().and_then(|line| usize::try_from(line).ok()?.checked_sub(1));
            if let (Some(status), Some(told_of)) = (status, place.and_then(|place| found.get_mut(place))) {
                *told_of = told(status, &answer, tokens);
            }
        }
        Some(found)
    }

    /// Asks once.
    pub(super) async fn get(&self, node: &str, bearer: &str, path: &str, token: Option<&str>) -> Got {
        let mut request = self
            .http
            .get(format!("{node}{path}"))
            .bearer_auth(bearer)
            .header("x-request-timeout", format!("{}ms", self.attempt_ms));
        if let Some(token) = token {
            request = request.header("consistency-token", token);
        }
        let Ok(response) = request.send().await else { return Got::Later };
        let Some((status, body)) = read(response).await else { return Got::Later };
        match (status, code(&body)) {
            (status, _) if status.is_success() => Got::Found(body),
            (StatusCode::SERVICE_UNAVAILABLE, Some(_)) => Got::Later,
            (_, Some("not-found")) => Got::Missing,
            _ => Got::Odd(format!("{status}: {body}")),
        }
    }
}

/// What an answer to a command means.
fn told(status: StatusCode, body: &Value, tokens: &ConsistencyTokens) -> Told {
    if status.is_success() {
        return match acknowledged(body, tokens) {
            Some(answer) => Told::Outcome(Outcome::Acknowledged(answer)),
            None => Told::Odd(format!("{status}, which cannot be understood: {body}")),
        };
    }
    match code(body) {
        Some(code) if status == StatusCode::SERVICE_UNAVAILABLE => match NOT_WRITTEN.contains(&code) {
            true => Told::Outcome(Outcome::NotWritten { code: code.to_owned() }),
            false => Told::Outcome(Outcome::Open),
        },
        Some(code) if REFUSED.contains(&code) => {
            Told::Outcome(Outcome::Refused { code: code.to_owned(), seen: body["actual_version"].as_u64() })
        }
        _ => Told::Odd(format!("{status}: {body}")),
    }
}

async fn read(response: Response) -> Option<(StatusCode, Value)> {
    let status = response.status();
    response.json().await.ok().map(|body| (status, body))
}

/// The last part of a problem's type.
fn code(body: &Value) -> Option<&str> {
    body["type"].as_str()?.strip_prefix("urn:annals:problem:")
}

fn acknowledged(body: &Value, tokens: &ConsistencyTokens) -> Option<Acknowledged> {
    let event = |event: &Value| {
        let position = &event["position"];
        let id: EventId = event["event_id"].as_str()?.parse().ok()?;
        Some((id, u16::try_from(position["partition"].as_u64()?).ok()?, position["offset"].as_u64()?))
    };
    let operation: OperationId = body["operation_id"].as_str()?.parse().ok()?;
    let aggregate: AggregateId = body["aggregate"]["id"].as_str()?.parse().ok()?;
    Some(Acknowledged {
        replayed: body["replayed"].as_bool()?,
        operation,
        aggregate,
        version: body["aggregate"]["version"].as_u64()?,
        events: body["events"].as_array()?.iter().map(event).collect::<Option<_>>()?,
        position: tokens.read(body["consistency_token"].as_str()?).ok()?,
    })
}
