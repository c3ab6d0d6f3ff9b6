//! Aggregates as their owner sees them: state and history.

use std::sync::Arc;

use annals_engine::command::{AggregateView, HistoryEvent};
use annals_engine::engine::AggregateAddress;
use annals_model::aggregate::ScopeKind;
use annals_model::ids::{AggregateId, Scope, WorkspaceId};
use annals_model::position::{ContextPartition, Sequence};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::parameters::{Parameters, wrong};
use super::path;
use crate::auth::Caller;
use crate::command::answer::{CONSISTENCY_TOKEN, etag};
use crate::fields::uuid;
use crate::peers::Handed;
use crate::problem::{Code, Problem};
use crate::shared::Shared;
use crate::trace::Meta;
use crate::{CONTRACT_VERSION, limits};

/// What an aggregate's address names.
struct Target {
    address: AggregateAddress<'static>,
    /// What the aggregate must be about, if the address says so.
    about: Option<WorkspaceId>,
}

impl Target {
    async fn find(
        shared: &Shared,
        caller: &Caller,
        meta: &Meta,
        (aggregate_type, id): (String, String),
        workspace: Option<WorkspaceId>,
    ) -> Result<Self, Problem> {
        let kind = aggregate_type
            .split_once('.')
            .and_then(|(context, name)| Some((shared.engine.context(context)?, name)))
            .and_then(|(context, name)| Some((context.id(), context.aggregate(name)?)));
        let Some((context, kind)) = kind else {
            let contexts = shared.engine.contexts();
            let known = contexts.flat_map(|context| context.aggregates().map(move |kind| (context.id(), kind)));
            let known: Vec<_> = known.map(|(context, kind)| format!("{context}.{}", kind.aggregate_type())).collect();
            let detail = format!("no such aggregate type; there are {}", known.join(", "));
            return Err(Problem::at(Code::UnknownAggregateType, "type", detail));
        };
        let id = AggregateId(uuid(&id).map_err(|message| wrong("id", message))?);
        let of_tenant = Scope::of_tenant(caller.tenant);
        let (scope, about) = match (kind.scope(), workspace) {
            (ScopeKind::Workspace, Some(workspace)) => {
                // Archived or not: what is in it can be read.
                shared.gate.state(caller.tenant, workspace, meta.deadline()).await?;
                (Scope { tenant: caller.tenant, workspace }, None)
            }
            (ScopeKind::Workspace, None) => return Err(wrong("workspace_id", "is missing; name the workspace")),
            (ScopeKind::TenantAboutWorkspace, about) => (of_tenant, about),
            (ScopeKind::Tenant, None) => (of_tenant, None),
            (ScopeKind::Tenant, Some(_)) => {
                return Err(wrong("workspace_id", "means nothing here: this is the tenant's as a whole; leave it out"));
            }
        };
        Ok(Self { address: AggregateAddress { context, aggregate_type: kind.aggregate_type(), scope, id }, about })
    }

    /// The partition that it is in.
    fn partition(&self, shared: &Shared) -> ContextPartition {
        shared.engine.partition_of(self.address.context, self.address.scope.slot())
    }

    /// The aggregate's state; a problem if it is not there.
    async fn view(&self, shared: &Shared, deadline: Instant) -> Result<AggregateView, Problem> {
        let view = shared.engine.aggregate(self.address, deadline).await?;
        view.filter(|view| self.about.is_none_or(|about| about == view.workspace)).ok_or_else(|| self.not_found())
    }

    /// The aggregate as answers name it.
    fn reference(&self, view: &AggregateView) -> Value {
        let AggregateAddress { context, aggregate_type, id, .. } = self.address;
        json!({ "type": format!("{context}.{aggregate_type}"), "id": id, "version": view.version })
    }

    fn not_found(&self) -> Problem {
        let detail = format!(
            "there is no {} {} here; check the id and the workspace",
            self.address.aggregate_type, self.address.id
        );
        Problem::at(Code::NotFound, "id", detail)
    }
}

/// `GET /v1/aggregates/{type}/{id}`
pub(super) async fn state(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    meta: Meta,
    parts: Result<Path<(String, String)>, PathRejection>,
    mut parameters: Parameters,
    uri: Uri,
    request_headers: HeaderMap,
) -> Result<Response, Problem> {
    let parts = path(parts)?;
    let workspace = parameters.workspace_id()?;
    parameters.finish()?;
    let target = Target::find(&shared, &caller, &meta, parts, workspace).await?;
    let (deadline, at) = (meta.deadline(), target.partition(&shared));
    let handed = || Handed::get(uri, request_headers.clone());
    let here = || state_here(&shared, &target, &request_headers, deadline);
    shared.at_owner(at, &meta, deadline, handed, here).await
}

async fn state_here(
    shared: &Shared,
    target: &Target,
    request_headers: &HeaderMap,
    deadline: Instant,
) -> Result<Response, Problem> {
    let view = target.view(shared, deadline).await?;
    let token = view.position.to_token(shared.engine.log().id());
    let mut headers = HeaderMap::new();
    headers.insert(ETAG, etag(view.version.0));
    if let Ok(token) = HeaderValue::try_from(&token) {
        headers.insert(CONSISTENCY_TOKEN, token);
    }
    if request_headers.get(IF_NONE_MATCH) == headers.get(ETAG) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let body = json!({
        "contract_version": CONTRACT_VERSION,
        "aggregate": target.reference(&view),
        "workspace_id": Some(view.workspace).filter(|workspace| *workspace != WorkspaceId::NIL),
        "state": view.state,
        "consistency_token": token,
    });
    Ok((headers, Json(body)).into_response())
}

/// `GET /v1/aggregates/{type}/{id}/events`
pub(super) async fn history(
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
    let target = Target::find(&shared, &caller, &meta, parts, workspace).await?;
    let (deadline, at) = (meta.deadline(), target.partition(&shared));
    let here = || history_here(&shared, &target, after, limit, deadline);
    shared.at_owner(at, &meta, deadline, || Handed::get(uri, headers), here).await
}

async fn history_here(
    shared: &Shared,
    target: &Target,
    after: Sequence,
    limit: usize,
    deadline: Instant,
) -> Result<Response, Problem> {
    let view = target.view(shared, deadline).await?;
    let events = shared.engine.history(target.address, after, limit, deadline).await?;
    let events = events.ok_or_else(|| target.not_found())?;
    // What came after the view was taken is found behind `next_after` or by asking again.
    let next_after = events.last().map(|event| event.sequence).filter(|last| *last < view.version);
    let items: Vec<Value> = events.iter().map(|event| cloud_event(event, shared, target)).collect();
    let body = json!({
        "contract_version": CONTRACT_VERSION,
        "aggregate": target.reference(&view),
        "events": items,
        "next_after": next_after,
    });
    Ok(Json(body).into_response())
}

/// An event as CloudEvents 1.0 has it; what only this log knows are extension attributes.
fn cloud_event(event: &HistoryEvent, shared: &Shared, target: &Target) -> Value {
    let AggregateAddress { context, aggregate_type, scope, id } = target.address;
    let partition = scope.slot().partition(shared.engine.log().partitions(context));
    json!({
        "specversion": "1.0",
        "id": event.event_id,
        "type": event.event_type,
        "source": format!("/v1/aggregates/{context}.{aggregate_type}"),
        "subject": id,
        "time": event.occurred_at,
        "datacontenttype": "application/json",
        "event_version": event.event_version,
        "sequence": event.sequence,
        "operation_id": event.event_id.operation(),
        "position": { "context": context.name, "partition": partition, "offset": event.offset },
        "emitted_at": event.emitted_at,
        "actor": event.actor.to_string(),
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "client_request_id": event.client_request_id,
        "policy_decision": event.policy_decision,
        "reason": event.reason,
        "adr_id": event.adr_id,
        "data": event.data,
    })
}
