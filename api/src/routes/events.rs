//! Events, read back from the log: an aggregate's history, and one by its id.

use std::sync::Arc;

use annals_engine::command::HistoryEvent;
use annals_engine::owners::EngineHandle;
use annals_model::ids::{EventId, WorkspaceId};
use annals_model::position::Sequence;
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT, LINK, VARY};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::aggregate::Target;
use super::parameters::{Parameters, wrong};
use super::path;
use crate::auth::Caller;
use crate::document::Document;
use crate::event::{CLOUD_EVENT, CLOUD_EVENTS, EventDocument, cloud_event};
use crate::fields::uuid;
use crate::media::negotiate;
use crate::peers::Handed;
use crate::places::{self, Asker};
use crate::problem::{Code, Problem};
use crate::shared::Shared;
use crate::text_response::respond;
use crate::trace::Meta;
use crate::{CONTRACT_VERSION, limits};

const JSON: &str = "application/json";

/// These addresses. Whatever they answer depends on `Accept`.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/aggregates/{type}/{id}/events", get(history))
        .route("/v1/events/{event_id}", get(one))
        .layer(map_response(|mut response: Response| async {
            response.headers_mut().append(VARY, ACCEPT.into());
            response
        }))
}

/// A page of a history, in the order of its sequence.
#[derive(Serialize)]
struct Page<'a> {
    contract_version: &'static str,
    aggregate: Value,
    events: Vec<EventDocument<'a>>,
    next_after: Option<Sequence>,
}

/// One event.
#[derive(Serialize)]
struct One<'a> {
    contract_version: &'static str,
    event: EventDocument<'a>,
}

/// What a page is asked for.
struct Asked {
    workspace: Option<WorkspaceId>,
    after: Sequence,
    limit: usize,
    form: &'static str,
}

/// `GET /v1/aggregates/{type}/{id}/events`
async fn history(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    meta: Meta,
    parts: Result<Path<(String, String)>, PathRejection>,
    mut parameters: Parameters,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parts = path(parts)?;
    let workspace = parameters.workspace_id()?;
    let after = Sequence(parameters.number("after")?.unwrap_or(0));
    let limit = match parameters.number("limit")? {
        None => limits::HISTORY_PAGE_DEFAULT,
        Some(limit) => usize::try_from(limit)
            .ok()
            .filter(|limit| (1..=limits::HISTORY_PAGE_MAX).contains(limit))
            .ok_or_else(|| wrong("limit", format!("must be 1 to {}", limits::HISTORY_PAGE_MAX)))?,
    };
    parameters.finish()?;
    let asked = Asked { workspace, after, limit, form: negotiate(&headers, &[JSON, CLOUD_EVENTS])? };
    let target = Target::find(&shared, &caller, &meta, parts, workspace).await?;
    let (deadline, at) = (meta.deadline(), target.partition(&shared));
    let (engine, asker) = (shared.reader(&headers)?, Asker::from(&caller));
    let here = || async {
        let _place = shared.places.reads.take(asker, places::Target::Partition(at), deadline).await?;
        history_here(&engine, &target, &asked, deadline).await
    };
    shared.at_owner(at, &meta, asker, deadline, || Handed::get(uri, headers), here).await
}

async fn history_here(
    engine: &EngineHandle,
    target: &Target,
    asked: &Asked,
    deadline: Instant,
) -> Result<Response, Problem> {
    let view = target.view(engine, deadline).await?;
    let events = engine.history(target.address, asked.after, asked.limit, deadline).await?;
    let events = events.ok_or_else(|| target.not_found())?;
    // What came after the view was taken is found behind `next_after` or by asking again.
    let next_after = events.last().map(|event| event.sequence).filter(|last| *last < view.version);
    let mut response = match asked.form {
        CLOUD_EVENTS => as_cloud_events(CLOUD_EVENTS, &events.iter().map(cloud_event).collect()),
        _ => Document(Page {
            contract_version: CONTRACT_VERSION,
            aggregate: target.reference(&view),
            events: events.iter().map(EventDocument::from).collect(),
            next_after,
        })
        .into_response(),
    };
    // A batch of CloudEvents has room for nothing else.
    if let Some(next) = next_after.and_then(|after| HeaderValue::try_from(asked.next(target, after)).ok()) {
        response.headers_mut().insert(LINK, next);
    }
    Ok(response)
}

impl Asked {
    /// Where the next page is, as a link.
    fn next(&self, target: &Target, after: Sequence) -> String {
        let workspace = self.workspace.map_or_else(String::new, |id| format!("workspace_id={id}&"));
        format!("<{}/events?{workspace}after={after}&limit={}>; rel=\"next\"", target.path(), self.limit)
    }
}

/// `GET /v1/events/{event_id}`
async fn one(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    meta: Meta,
    id: Result<Path<String>, PathRejection>,
    parameters: Parameters,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = path(id)?;
    parameters.finish()?;
    let id = EventId(uuid(&id).map_err(|message| wrong("event_id", message))?);
    let form = negotiate(&headers, &[JSON, CLOUD_EVENT])?;
    let (deadline, asker) = (meta.deadline(), Asker::from(&caller));
    let Some(at) = shared.engine.operation_partition(id.operation()) else { return Err(no_event(id)) };
    let engine = shared.reader(&headers)?;
    let here = || async {
        let _place = shared.places.reads.take(asker, places::Target::Partition(at), deadline).await?;
        let event = engine.event(caller.tenant, id, deadline).await?.ok_or_else(|| no_event(id))?;
        Ok(shown(form, &event))
    };
    shared.at_owner(at, &meta, asker, deadline, || Handed::get(uri, headers), here).await
}

fn no_event(id: EventId) -> Problem {
    Problem::at(Code::NotFound, "event_id", format!("there is no event {id}, or it is not your tenant's"))
}

fn shown(form: &str, event: &HistoryEvent) -> Response {
    match form {
        CLOUD_EVENT => as_cloud_events(CLOUD_EVENT, &cloud_event(event)),
        _ => Document(One { contract_version: CONTRACT_VERSION, event: event.into() }).into_response(),
    }
}

fn as_cloud_events(form: &'static str, document: &Value) -> Response {
    respond(form, document.to_string().into_bytes())
}
