//! Commands and operations.

use std::sync::Arc;

use annals_model::command_json::parse_strict;
use annals_model::ids::OperationId;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::body::{self, CommandBody};
use super::parameters::Parameters;
use super::path;
use crate::CONTRACT_VERSION;
use crate::auth::Caller;
use crate::batch;
use crate::command::catalogue::{self, CommandDescription};
use crate::command::{CommandHeaders, CommandKind, answer, prepare};
use crate::document::Document;
use crate::fields::{Fields, uuid};
use crate::peers::Handed;
use crate::places::{Asker, Target};
use crate::problem::{Code, Problem};
use crate::shared::Shared;
use crate::trace::{BodyRead, Meta};

/// What a batch's body may say it is.
pub(super) const NDJSON: &[&str] = &["application/x-ndjson", "application/ndjson", "application/jsonl"];

#[derive(Serialize)]
struct Catalogue {
    contract_version: &'static str,
    commands: Vec<CommandDescription>,
}

/// `GET /v1/commands`
pub(super) async fn catalogue(
    State(shared): State<Arc<Shared>>,
    _: Caller,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish()?;
    let commands = catalogue::catalogue(&shared.engine);
    Ok(Document(Catalogue { contract_version: CONTRACT_VERSION, commands }).into_response())
}

/// `POST /v1/commands/{type}`
pub(super) async fn single(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    meta: Meta,
    command_type: Result<Path<String>, PathRejection>,
    parameters: Parameters,
    request: Request,
) -> Result<Response, Problem> {
    let (Parts { uri, headers, .. }, body) = request.into_parts();
    let command_type = path(command_type)?;
    let kind = CommandKind::find(&shared.engine, &command_type)?;
    parameters.finish()?;
    body::require_type(&headers, &["application/json"])?;
    let given = CommandHeaders::read(&headers)?;
    let asker = Asker::from(&caller);
    let body = body::read(&headers, body, &shared.places.bodies, asker, meta.deadline()).await?;
    let sent = Sent { kind, given, uri, headers, body, asker };
    let mut answer = execute(&shared, &caller, &meta, sent).await.into_response();
    if !answer.status().is_success() {
        answer.extensions_mut().insert(BodyRead);
    }
    Ok(answer)
}

/// A single command as it came.
struct Sent<'a> {
    kind: CommandKind<'a>,
    given: CommandHeaders,
    uri: Uri,
    headers: HeaderMap,
    body: CommandBody,
    asker: Asker,
}

async fn execute(shared: &Shared, caller: &Caller, meta: &Meta, sent: Sent<'_>) -> Result<Response, Problem> {
    let Sent { kind, given, uri, headers, body, asker } = sent;
    let fields = Fields::of(parse_strict(&body.bytes)?)?;
    let request = prepare(kind, fields, given, caller, meta.correlation_id)?;
    let (deadline, at) = (meta.deadline(), shared.partition_of(&request));
    let handed = || Handed { method: Method::POST, uri, headers, body: body.bytes.clone() };
    let here = || async {
        let workspace = request.scope.workspace;
        let admitted = shared.engine.admit(request.clone(), deadline).await?;
        let _place = shared.places.commands.take(asker, Target::Partition(at), deadline).await?;
        let answer = shared.engine.execute_in(None, admitted, deadline).await?;
        Ok(answer::respond(&answer, shared, Some(workspace)))
    };
    let answer = shared.at_owner(at, meta, asker, deadline, handed, here).await;
    if let Some(id) = request.aggregate_id {
        shared.engine.changed(caller.tenant, request.context, request.aggregate_type, id);
    }
    answer.map_err(|problem| problem.of_operation(request.operation_id()))
}

/// `POST /v1/commands`
pub(super) async fn batch(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    meta: Meta,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    parameters.finish()?;
    body::require_type(&headers, NDJSON)?;
    CommandHeaders::refuse(&headers)?;
    let turn = shared.batches.enter(caller.tenant)?;
    let lines = batch::answer_lines(shared, caller, meta, &headers, body, turn);
    let mut response = Body::from_stream(lines).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON[0]));
    Ok(response)
}

/// `GET /v1/operations/{operation_id}`
pub(super) async fn operation(
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
    let id = uuid(&id)
        .map_err(|message| Problem::at(Code::InvalidParameter, "operation_id", format!("operation_id {message}")))?;
    let (deadline, asker) = (meta.deadline(), Asker::from(&caller));
    let missing = || {
        let detail =
            format!("there is no operation {id}: the command was not accepted, or the id is not your tenant's");
        Problem::at(Code::NotFound, "operation_id", detail)
    };
    let at = shared.engine.operation_partition(OperationId(id)).ok_or_else(missing)?;
    let engine = shared.reader(&headers)?;
    let here = || async {
        let _place = shared.places.reads.take(asker, Target::Partition(at), deadline).await?;
        let answer = engine.operation(caller.tenant, OperationId(id), deadline).await?.ok_or_else(missing)?;
        Ok(answer::respond(&answer, &shared, None))
    };
    shared.at_owner(at, &meta, asker, deadline, || Handed::get(uri, headers), here).await
}
