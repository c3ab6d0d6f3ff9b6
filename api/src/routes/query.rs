//! Named queries.

use std::sync::Arc;

use annals_model::query::{QueryDescription, QueryRequest};
use annals_stores::queries::AnswerRow;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tokio::time::Instant;

use super::parameters::{Parameters, wrong};
use super::path;
use crate::CONTRACT_VERSION;
use crate::auth::Caller;
use crate::command::single;
use crate::consistency::CONSISTENCY_TOKEN;
use crate::document::Document;
use crate::places::Asker;
use crate::problem::Problem;
use crate::read_models::{Turn, Wanted};
use crate::shared::Shared;
use crate::trace::Meta;

#[derive(Serialize)]
struct Catalogue {
    contract_version: &'static str,
    queries: Vec<QueryDescription>,
}

/// A page. The members of a row keep the order of the query's columns.
#[derive(Serialize)]
struct Page {
    contract_version: &'static str,
    query: &'static str,
    read_model: &'static str,
    version: u32,
    generation: u32,
    consistency_token: String,
    rows: Vec<AnswerRow>,
    next_cursor: Option<String>,
    /// With no rows: events that are not in the answer yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind_events: Option<u64>,
}

/// `GET /v1/queries`
pub(super) async fn catalogue(
    State(shared): State<Arc<Shared>>,
    _: Caller,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish()?;
    let queries = shared.read_models.queries.catalogue(|name| shared.read_models.served_version(name));
    Ok(Document(Catalogue { contract_version: CONTRACT_VERSION, queries }).into_response())
}

/// `GET /v1/queries/{name}`
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    meta: Meta,
    name: Result<Path<String>, PathRejection>,
    mut parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = path(name)?;
    // Before anything else: a mistyped name is no matter of its parameters.
    shared.read_models.queries.read_model(&name)?;
    let workspace = parameters.workspace_id()?;
    let limit = parameters
        .number("limit")?
        .map(|limit| u32::try_from(limit).map_err(|_| wrong("limit", "is too large")))
        .transpose()?;
    let cursor = parameters.take("cursor");
    let log = &**shared.engine.log();
    let wanted = match single(&headers, CONSISTENCY_TOKEN)? {
        Some(text) => {
            Some(Wanted { position: shared.tokens.read(text)?, until: Instant::now() + meta.consistency_wait() })
        }
        None => None,
    };
    let asker = Asker::from(&caller);
    // What is waited for first counts: the client waits for all of it. The wait for its token is bounded by itself.
    let deadline = meta.deadline();
    if let Some(workspace) = workspace {
        // Closed or not: what is in it can be read.
        shared.engine.standing(caller.tenant, workspace, &caller.actor, deadline).await?;
    }
    let request =
        QueryRequest { name, tenant: caller.tenant, workspace, parameters: parameters.into_rest(), limit, cursor };
    let turn = Turn { places: &shared.places, asker, deadline };
    let answer = shared.read_models.answer(&request, wanted, log, &turn).await?;
    let behind_events = match answer.page.rows.is_empty() {
        true => shared.read_models.behind(&answer, log).await,
        false => None,
    };
    let token = shared.tokens.issue(&answer.position.positions());
    let mut response_headers = HeaderMap::new();
    if let Ok(token) = HeaderValue::try_from(&token) {
        response_headers.insert(CONSISTENCY_TOKEN, token);
    }
    let page = Page {
        contract_version: CONTRACT_VERSION,
        query: answer.query,
        read_model: answer.read_model,
        version: answer.version,
        generation: answer.generation.0,
        consistency_token: token,
        rows: answer.page.rows,
        next_cursor: answer.page.next_cursor,
        behind_events,
    };
    Ok((response_headers, Document(page)).into_response())
}
