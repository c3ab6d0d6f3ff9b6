//! The commands that speak HTTP to a server and nothing else.

use std::fs::File;
use std::io::Read;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::cli::{CargoLockArgs, Global, HistoryArgs, NdjsonArgs, SendArgs};
use crate::client::naming::{aggregate_id, workspace_id};
use crate::client::{CallError, Client};
use crate::exit::{Exit, Failure};
use crate::import::cargo_lock::Inventory;
use crate::import::{self, ndjson, target};
use crate::limits;
use crate::output::cell::count;
use crate::output::{Output, columns, render_pairs};

pub(crate) mod query;

/// `import cargo-lock`.
pub(crate) async fn import_cargo_lock(global: &Global, output: Output, args: &CargoLockArgs) -> anyhow::Result<Exit> {
    let inventory = Inventory::read(&args.file)?;
    let client = Client::find(global)?;
    let workspace = target::resolve(&client, &args.workspace).await?;
    let counts = inventory.counts();
    eprintln!(
        "{}: {} applications, {} releases, {} dependencies ({} edges merged by name, {} between versions of one package left out)",
        args.file.display(),
        count(counts.applications),
        count(counts.releases),
        count(counts.edges),
        count(inventory.edges_merged),
        count(inventory.edges_to_itself),
    );
    let extra = [
        ("applications", counts.applications),
        ("releases", counts.releases),
        ("edges", counts.edges),
        ("edges_merged", inventory.edges_merged),
        ("edges_to_itself", inventory.edges_to_itself),
    ];
    let mut lines = inventory.commands(workspace).map(Ok);
    import::run(&client, output, "import cargo-lock", Some(counts.commands()), &mut lines, &extra).await
}

/// `import ndjson`.
pub(crate) async fn import_ndjson(global: &Global, output: Output, args: &NdjsonArgs) -> anyhow::Result<Exit> {
    let mut commands = ndjson::Commands::open(&args.file)?;
    let client = Client::find(global)?;
    let total = commands.total;
    import::run(&client, output, "import ndjson", Some(total), &mut commands, &[]).await
}

/// `command send`.
pub(crate) async fn send(global: &Global, output: Output, args: &SendArgs) -> anyhow::Result<Exit> {
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
        Some(workspace) => Some(workspace_id(&client, workspace).await?),
        None => None,
    };
    if let Some(text) = &args.id {
        let aggregate_type = args.command_type.rsplit_once('.').map_or("", |(aggregate_type, _)| aggregate_type);
        set("aggregate_id", Some(json!(aggregate_id(&client, aggregate_type, workspace, text).await?)));
    }
    set("workspace_id", workspace.map(|id| json!(id)));
    set("expected_version", args.expected_version.map(|version| json!(version)));
    set("correlation_id", args.correlation.map(|id| json!(id)));
    set("reason", args.reason.as_deref().map(|reason| json!(reason)));
    set("adr_id", args.adr.as_deref().map(|adr| json!(adr)));
    let answer = client.command(&args.command_type, &body).await.map_err(|error| match error {
        error if error.is_passing() && args.request_id.is_none() => Failure::from(error)
            .remedy(format!("it may have been written; send it again with --request-id {request_id}")),
        error => error.into(),
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
    let read = match (text, text.strip_prefix('@')) {
        ("-", _) => bounded(std::io::stdin().lock()).context("stdin cannot be read"),
        (_, Some(path)) => File::open(path)
            .map_err(anyhow::Error::from)
            .and_then(bounded)
            .with_context(|| format!("{path} cannot be read")),
        (text, None) => Ok(text.to_owned()),
    };
    let text = read.map_err(|error| Failure::usage(format!("{error:#}")))?;
    annals_model::command_json::parse_strict(text.as_bytes()).map_err(|error| {
        // What could not be parsed at all has no path.
        let at = if matches!(error.path.as_str(), "." | "?") { String::new() } else { format!("{}: ", error.path) };
        Failure::usage(format!("the payload is no acceptable JSON: {at}{}", error.message)).into()
    })
}

fn bounded(source: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    source.take(limits::PAYLOAD_BYTES_MAX + 1).read_to_string(&mut text)?;
    anyhow::ensure!(text.len() as u64 <= limits::PAYLOAD_BYTES_MAX, "more than {} bytes", limits::PAYLOAD_BYTES_MAX);
    Ok(text)
}

/// `history`.
pub(crate) async fn history(global: &Global, output: Output, args: &HistoryArgs) -> anyhow::Result<Exit> {
    let client = Client::find(global)?;
    let workspace = match &args.workspace {
        Some(workspace) => Some(workspace_id(&client, workspace).await?),
        None => None,
    };
    let id = aggregate_id(&client, &args.aggregate_type, workspace, &args.id).await?;
    let events = events_of(&client, &args.aggregate_type, id, workspace).await.map_err(Failure::from)?;
    output.records(&events, &history_columns())?;
    Ok(Exit::Ok)
}

/// All events of an aggregate, page by page.
pub(crate) async fn events_of(
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
pub(crate) fn history_columns() -> Vec<crate::output::Column> {
    columns(&[
        ("version", "/sequence"),
        ("when", "/occurred_at"),
        ("event", "/event_type"),
        ("who", "/actor_id"),
        ("what", "/payload"),
        ("why", "/reason"),
    ])
}
