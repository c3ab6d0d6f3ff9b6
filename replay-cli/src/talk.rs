//! The commands that speak HTTP to a server and nothing else.

use serde_json::{Value, json};

use crate::cli::{Global, HistoryArgs, SendArgs};
use crate::client::naming::{aggregate_id, workspace_id};
use crate::client::{CallError, Client, with_workspace};
use crate::exit::{Exit, Failure};
use crate::output::cell::count;
use crate::output::{Output, columns, render_pairs};
use crate::{input, limits};

pub mod commands;
pub mod import;
pub mod query;

/// `command send`.
pub async fn send(global: &Global, output: Output, args: &SendArgs) -> anyhow::Result<Exit> {
    let payload = payload(&args.payload)?;
    let client = Client::find(global)?;
    let request_id = args.request_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let mut body = json!({"client_request_id": request_id, "payload": payload});
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[name] = value;
        }
    };
    let workspace = match &args.workspace {
        Some(workspace) => Some(workspace_id(global, &client, workspace).await?),
        None => None,
    };
    if let Some(text) = &args.id {
        let aggregate_type = args.command_type.rsplit_once('.').map_or("", |(aggregate_type, _)| aggregate_type);
        set("aggregate_id", Some(json!(aggregate_id(global, &client, aggregate_type, workspace, text).await?)));
    }
    set("workspace_id", workspace.map(|id| json!(id)));
    set("expected_version", args.expected_version.map(|version| json!(version)));
    set("correlation_id", args.correlation.map(|id| json!(id)));
    set("reason", args.reason.as_deref().map(|reason| json!(reason)));
    set("adr_id", args.adr.as_deref().map(|adr| json!(adr)));
    let answer = client.command(&args.command_type, &body).await.map_err(|error| match error {
        error if error.is_passing() && args.request_id.is_none() => Failure::from(error)
            .remedy(format!("it may have been written; send it again with --request-id {request_id}")),
        error => with_workspace(error),
    })?;
    output.document(&answer.document, || {
        let happened = if answer.replayed {
            "answered again: it had been accepted before, nothing was repeated"
        } else {
            "accepted"
        };
        let events: Vec<&str> = answer.events.iter().map(|event| event.event_type.as_str()).collect();
        render_pairs(&[
            ("answer", happened.to_owned()),
            ("aggregate", answer.aggregate.id.to_string()),
            ("version", count(answer.aggregate.version)),
            ("events", if events.is_empty() { "none: there was nothing to do".to_owned() } else { events.join(", ") }),
            ("operation", answer.operation_id.to_string()),
            ("token", answer.consistency_token.clone()),
        ])
    })?;
    Ok(Exit::Ok)
}

/// A payload from the command line, a file or stdin. Sent as it parses; what it may hold is the server's to say.
fn payload(text: &str) -> anyhow::Result<Value> {
    let most = limits::PAYLOAD_BYTES_MAX;
    let text = match (text, text.strip_prefix('@')) {
        ("-", _) => input::read("stdin", std::io::stdin().lock(), most)?,
        (_, Some(path)) => input::read_file(path.as_ref(), most)?,
        (text, None) => text.to_owned(),
    };
    annals_model::command_json::parse_strict(text.as_bytes()).map_err(|error| {
        // What could not be parsed at all has no path.
        let at = if matches!(error.path.as_str(), "." | "?") { String::new() } else { format!("{}: ", error.path) };
        Failure::usage(format!("the payload is no acceptable JSON: {at}{}", error.message)).into()
    })
}

/// `history`.
pub async fn history(global: &Global, output: Output, args: &HistoryArgs) -> anyhow::Result<Exit> {
    let client = Client::find(global)?;
    let workspace = match &args.workspace {
        Some(workspace) => Some(workspace_id(global, &client, workspace).await?),
        None => None,
    };
    let id = aggregate_id(global, &client, &args.aggregate_type, workspace, &args.id).await?;
    let events = events_of(&client, &args.aggregate_type, id, workspace).await.map_err(with_workspace)?;
    output.records(&events, &history_columns())?;
    Ok(Exit::Ok)
}

/// All events of an aggregate, page by page.
pub async fn events_of(
    client: &Client,
    aggregate_type: &str,
    id: uuid::Uuid,
    workspace: Option<uuid::Uuid>,
) -> Result<Vec<Value>, CallError> {
    let path = format!("/v1/aggregates/{aggregate_type}/{id}/events");
    let mut events = Vec::new();
    let mut after = 0;
    loop {
        let mut parameters = vec![("after", after.to_string()), ("limit", limits::PAGE_ROWS.to_string())];
        parameters.extend(workspace.map(|workspace| ("workspace_id", workspace.to_string())));
        let page = client.get(&path, &parameters).await?;
        let found = page["events"].as_array().cloned().unwrap_or_default();
        let last = found.last().and_then(|event| event["sequence"].as_u64());
        events.extend(found);
        match last {
            Some(last) if page["next_after"].is_u64() => after = last,
            _ => return Ok(events),
        }
    }
}

/// A history as a table.
pub fn history_columns() -> Vec<crate::output::Column> {
    columns(&[
        ("version", "/sequence"),
        ("when", "/occurred_at"),
        ("event", "/event_type"),
        ("who", "/actor_id"),
        ("what", "/payload"),
        ("why", "/reason"),
    ])
}
