//! Aggregates as their owner sees them.

use std::sync::Arc;

use annals_engine::command::AggregateView;
use annals_engine::owners::{AggregateAddress, EngineHandle};
use annals_model::aggregate::ScopeKind;
use annals_model::ids::{AggregateId, Scope, WorkspaceId};
use annals_model::position::ContextPartition;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::parameters::{Parameters, wrong};
use super::path;
use crate::CONTRACT_VERSION;
use crate::auth::Caller;
use crate::command::answer::etag;
use crate::consistency::CONSISTENCY_TOKEN;
use crate::document::Document;
use crate::fields::uuid;
use crate::peers::Handed;
use crate::places::{self, Asker};
use crate::problem::{Code, Problem};
use crate::read_models::refuse_beyond_end;
use crate::shared::Shared;
use crate::trace::Meta;

/// What an aggregate's address names.
pub(super) struct Target {
    pub(super) address: AggregateAddress<'static>,
    /// What the aggregate must be about, if the address says so.
    about: Option<WorkspaceId>,
}

impl Target {
    pub(super) async fn find(
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
                // Closed or not: what is in it can be read.
                shared.engine.standing(caller.tenant, workspace, &caller.actor, meta.deadline()).await?;
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
    pub(super) fn partition(&self, shared: &Shared) -> ContextPartition {
        shared.engine.partition_of(self.address.context, self.address.scope.slot())
    }

    /// The aggregate's state; a problem if it is not there.
    pub(super) async fn view(&self, engine: &EngineHandle, deadline: Instant) -> Result<AggregateView, Problem> {
        let view = engine.aggregate(self.address, deadline).await?;
        if let Some(view) = &view {
            let at = engine.partition_of(self.address.context, self.address.scope.slot());
            let wanted = engine.must_cover(at);
            if wanted > view.position.get(at) {
                refuse_beyond_end(at, wanted, &**engine.log()).await?;
            }
        }
        view.filter(|view| self.about.is_none_or(|about| about == view.workspace)).ok_or_else(|| self.not_found())
    }

    /// Where it is found.
    pub(super) fn path(&self) -> String {
        let AggregateAddress { context, aggregate_type, id, .. } = self.address;
        format!("/v1/aggregates/{context}.{aggregate_type}/{id}")
    }

    /// The aggregate as answers name it.
    pub(super) fn reference(&self, view: &AggregateView) -> Value {
        let AggregateAddress { context, aggregate_type, id, .. } = self.address;
        json!({ "type": format!("{context}.{aggregate_type}"), "id": id, "version": view.version })
    }

    pub(super) fn not_found(&self) -> Problem {
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
    let engine = shared.reader(&request_headers)?;
    let handed = || Handed::get(uri, request_headers.clone());
    let asker = Asker::from(&caller);
    let here = || async {
        let _place = shared.places.reads.take(asker, places::Target::Partition(at), deadline).await?;
        state_here(&shared, &engine, &target, &request_headers, deadline).await
    };
    shared.at_owner(at, &meta, asker, deadline, handed, here).await
}

async fn state_here(
    shared: &Shared,
    engine: &EngineHandle,
    target: &Target,
    request_headers: &HeaderMap,
    deadline: Instant,
) -> Result<Response, Problem> {
    let view = target.view(engine, deadline).await?;
    let token = shared.tokens.issue(&view.position);
    let mut headers = HeaderMap::new();
    headers.insert(ETAG, etag(view.version.0));
    if let Ok(token) = HeaderValue::try_from(&token) {
        headers.insert(CONSISTENCY_TOKEN, token);
    }
    if is_known(request_headers, view.version.0) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let body = json!({
        "contract_version": CONTRACT_VERSION,
        "aggregate": target.reference(&view),
        "workspace_id": Some(view.workspace).filter(|workspace| *workspace != WorkspaceId::NIL),
        "state": view.state,
        "consistency_token": token,
    });
    Ok((headers, Document(body)).into_response())
}

/// Whether `If-None-Match` says that the client has this version already: any, or in a list, compared weakly
/// (RFC 9110, 13.1.2). An opaque tag holds no quotes, so that a comma inside of one cuts it into what equals no version.
fn is_known(headers: &HeaderMap, version: u64) -> bool {
    let current = etag(version);
    let listed =
        headers.get_all(IF_NONE_MATCH).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    listed
        .map(|tag| tag.trim_ascii())
        .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == current.as_bytes())
}
