//! Is the process alive, has it started, can it work?

use std::sync::Arc;

use annals_engine::engine::{PartitionState, PartitionStatus};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::CONTRACT_VERSION;
use crate::document::Document;
use crate::shared::Shared;

/// `GET /livez`: the process answers.
pub(super) async fn live() -> Response {
    respond(true, &[])
}

/// `GET /startupz`: no partition is being claimed for the first time.
pub(super) async fn started(State(shared): State<Arc<Shared>>) -> Response {
    let claimed = |status: &PartitionStatus| status.state == PartitionState::Claiming;
    let waiting: Vec<_> = shared.engine.partitions().into_iter().filter(claimed).map(waits_for).collect();
    respond(waiting.is_empty(), &waiting)
}

/// `GET /readyz`: commands can be sent to every partition, here or through here, and what queries are answered from is
/// there. A read model that is stopped is no reason to take the node away: the others are answered.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let mut waiting: Vec<_> = shared.engine.unreachable().into_iter().map(waits_for).collect();
    waiting.extend(shared.engine.log_trouble().map(|cause| format!("the log does not answer: {cause}")));
    waiting.extend(shared.read_models.troubles());
    waiting.extend(shared.engine.log().trouble());
    if shared.stopping.is_cancelled() {
        waiting.push("shutting down".to_owned());
    }
    respond(waiting.is_empty(), &waiting)
}

fn waits_for(PartitionStatus { at, state }: PartitionStatus) -> String {
    match state {
        PartitionState::Claiming => format!("{at} is being claimed"),
        PartitionState::Serving { .. } => format!("{at} is served"),
        PartitionState::NotOwner => format!("{at} is not served here, and its owner is not known"),
        PartitionState::Stopped { cause } => format!("{at} is stopped: {cause}"),
    }
}

fn respond(ok: bool, waiting: &[String]) -> Response {
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if ok { "ok" } else { "not ready" };
    let body: Value = json!({ "contract_version": CONTRACT_VERSION, "status": word, "waiting_for": waiting });
    (status, Document(body)).into_response()
}
