//! One command, from the JSON that a client sent to the request that the engine takes.

use annals_engine::command::CommandRequest;
use annals_engine::owners::EngineHandle;
use annals_model::aggregate::ScopeKind;
use annals_model::command_json::fingerprint;
use annals_model::context::ErasedAggregate;
use annals_model::ids::{AggregateId, ClientRequestId, ContextId, CorrelationId, Scope, WorkspaceId};
use annals_model::limits::{CLIENT_REQUEST_ID_BYTES_MAX, REASON_BYTES_MAX};
use annals_model::position::Sequence;
use axum::http::HeaderMap;
use axum::http::header::IF_MATCH;
use serde_json::{Value, json};

use crate::auth::{Caller, POLICY_DECISION};
use crate::fields::{Fields, client_request_id, wrong};
use crate::limits;
use crate::problem::{Code, Problem};

pub(crate) mod answer;
pub(crate) mod catalogue;

/// `Idempotency-Key`, which may carry the client request id.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What a command's type names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommandKind<'a> {
    text: &'a str,
    context: ContextId,
    aggregate: &'a dyn ErasedAggregate,
    name: &'a str,
}

impl<'a> CommandKind<'a> {
    /// `context.aggregate.command`.
    pub(crate) fn find(engine: &'a EngineHandle, text: &'a str) -> Result<Self, Problem> {
        let unknown = |detail: String| Problem::at(Code::UnknownCommand, "type", detail);
        let mut parts = text.splitn(3, '.');
        let (Some(context), Some(aggregate), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            let known = engine.contexts().flat_map(|context| {
                let of_context = context.aggregates().map(|kind| format!("{}.{}", context.id(), kind.aggregate_type()));
                of_context.collect::<Vec<_>>()
            });
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(unknown(format!(
                "a command's type is context.aggregate.command; there are commands of {known}"
            )));
        };
        let Some(context) = engine.context(context) else {
            let known: Vec<_> = engine.contexts().map(|context| context.id().name).collect();
            return Err(unknown(format!("no such context; there are {}", known.join(", "))));
        };
        let Some(aggregate) = context.aggregate(aggregate) else {
            let known: Vec<_> = context.aggregates().map(|kind| kind.aggregate_type()).collect();
            return Err(unknown(format!("{} has no such aggregate; it has {}", context.id(), known.join(", "))));
        };
        if !aggregate.command_names().contains(&name) {
            let (kind, known) = (aggregate.aggregate_type(), aggregate.command_names().join(", "));
            return Err(unknown(format!("{kind} has no such command; it has {known}")));
        }
        Ok(Self { text, context: context.id(), aggregate, name })
    }
}

/// What the headers of a single command may say.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandHeaders {
    client_request_id: Option<ClientRequestId>,
    expected_version: Option<Sequence>,
}

impl CommandHeaders {
    /// Reads `Idempotency-Key` and `If-Match`.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let client_request_id = single(headers, IDEMPOTENCY_KEY)?
            .map(|text| {
                // Its specification writes it as a quoted string; most clients send it bare.
                let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
                ClientRequestId::new(bare)
            })
            .transpose()
            .map_err(|error| Problem::at(Code::InvalidHeader, "Idempotency-Key", error.to_string()))?;
        let expected_version = single(headers, IF_MATCH.as_str())?
            .map(|text| {
                let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
                let digits = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
                bare.parse().ok().filter(|_| digits).map(Sequence)
            })
            .map(|version| {
                version.ok_or_else(|| {
                    let detail = "send one ETag as an answer carried it: the version in quotes, like \"3\"";
                    Problem::at(Code::InvalidHeader, "If-Match", detail)
                })
            })
            .transpose()?;
        Ok(Self { client_request_id, expected_version })
    }

    /// Refuses these headers on a batch: they could mean no one of its commands.
    pub(crate) fn refuse(headers: &HeaderMap) -> Result<(), Problem> {
        for (name, shown) in [(IDEMPOTENCY_KEY, "Idempotency-Key"), (IF_MATCH.as_str(), "If-Match")] {
            if headers.contains_key(name) {
                let detail = "a batch has many commands; put client_request_id and expected_version into each line";
                return Err(Problem::at(Code::InvalidHeader, shown, detail));
            }
        }
        Ok(())
    }
}

/// The one value of a header, as text.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::at(Code::InvalidHeader, name, format!("{name} is there more than once; send it once")));
    }
    let text = value
        .to_str()
        .map_err(|_| Problem::at(Code::InvalidHeader, name, format!("{name} must be printable ASCII")))?;
    Ok(Some(text.trim()))
}

/// Reads a command's body. Nothing was asked of the engine yet.
pub(crate) fn prepare(
    kind: CommandKind<'_>,
    mut fields: Fields,
    headers: CommandHeaders,
    caller: &Caller,
    traced: Option<CorrelationId>,
) -> Result<CommandRequest, Problem> {
    let request_id = fields.text("client_request_id", CLIENT_REQUEST_ID_BYTES_MAX)?;
    let workspace_id = fields.uuid("workspace_id")?.map(WorkspaceId);
    let aggregate_id = fields.uuid("aggregate_id")?.map(AggregateId);
    let expected_version = fields.count("expected_version")?.map(Sequence);
    let correlation_id = fields.uuid("correlation_id")?.map(CorrelationId);
    let reason = fields.text("reason", REASON_BYTES_MAX)?;
    let adr_id = fields.text("adr_id", limits::ADR_ID_BYTES_MAX)?;
    let payload = Value::Object(fields.object("payload")?);
    fields.finish()?;

    let client_request_id = client_request_id(request_id, headers.client_request_id)?;
    let expected_version = match (expected_version, headers.expected_version) {
        (Some(field), Some(header)) if field != header => {
            let detail = "If-Match and expected_version differ; send one of them, or the same in both";
            return Err(Problem::at(Code::InvalidHeader, "If-Match", detail));
        }
        (field, header) => field.or(header),
    };
    let (scope, workspace) = scope(kind, caller, workspace_id)?;
    let mut asked = json!({
        "type": kind.text,
        "aggregate_id": aggregate_id,
        "expected_version": expected_version,
        "workspace_id": workspace_id,
        "reason": reason,
        "adr_id": adr_id,
        "payload": null,
    });
    // Moved in and out again: it may be large.
    asked["payload"] = payload;
    let fingerprint = fingerprint(&asked);
    let payload = asked["payload"].take();
    Ok(CommandRequest {
        context: kind.context,
        aggregate_type: kind.aggregate.aggregate_type(),
        command: kind.aggregate.parse(kind.name, payload)?,
        scope,
        workspace,
        aggregate_id,
        expected_version,
        client_request_id,
        fingerprint,
        actor: caller.actor.clone(),
        correlation_id: correlation_id.or(traced),
        causation_id: None,
        reason,
        adr_id,
        policy_decision: POLICY_DECISION.to_owned(),
    })
}

fn scope(
    kind: CommandKind<'_>,
    caller: &Caller,
    workspace_id: Option<WorkspaceId>,
) -> Result<(Scope, WorkspaceId), Problem> {
    let of_tenant = Scope::of_tenant(caller.tenant);
    match (kind.aggregate.scope(), workspace_id) {
        (ScopeKind::Workspace, Some(workspace)) => Ok((Scope { tenant: caller.tenant, workspace }, workspace)),
        (ScopeKind::TenantAboutWorkspace, Some(workspace)) => Ok((of_tenant, workspace)),
        (ScopeKind::Tenant, None) => Ok((of_tenant, WorkspaceId::NIL)),
        (ScopeKind::Workspace | ScopeKind::TenantAboutWorkspace, None) => {
            Err(wrong("workspace_id", format!("is missing; {} is about a workspace, name it", kind.text)))
        }
        (ScopeKind::Tenant, Some(_)) => Err(wrong(
            "workspace_id",
            format!("means nothing here: {} is about the whole tenant; leave it out", kind.text),
        )),
    }
}
