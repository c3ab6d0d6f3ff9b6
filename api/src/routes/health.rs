//! Is the process alive, has it started, can it work?

use std::sync::Arc;

use annals_engine::engine::{PartitionState, PartitionStatus};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::CONTRACT_VERSION;
use crate::shared::Shared;

/// `GET /livez`: the process answers.
pub(super) async fn live() -> Response {
    respond(true, &[])
}

/// `GET /startupz`: no partition is being claimed for the first time.
pub(super) async fn started(State(shared): State<Arc<Shared>>) -> Response {
    let waiting = partitions(&shared, |state| matches!(state, PartitionState::Claiming));
    respond(waiting.is_empty(), &waiting)
}

/// `GET /readyz`: commands can be sent to every partition, here or through here.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let mut waiting = partitions(&shared, |state| !matches!(state, PartitionState::Serving { .. }));
    if shared.stopping.is_cancelled() {
        waiting.push("shutting down".to_owned());
    }
    respond(waiting.is_empty(), &waiting)
}

fn partitions(shared: &Shared, wanted: impl Fn(&PartitionState) -> bool) -> Vec<String> {
    let all = shared.engine.partitions().into_iter();
    let elsewhere = |partition: &PartitionStatus| {
        partition.state == PartitionState::NotOwner && shared.engine.owner(partition.at).is_some()
    };
    all.filter(|partition| wanted(&partition.state) && !elsewhere(partition))
        .map(|partition| match partition.state {
            PartitionState::Claiming => format!("{} is being claimed", partition.at),
            PartitionState::Serving { .. } => format!("{} is served", partition.at),
            PartitionState::NotOwner => format!("{} is not served here, and its owner is not known", partition.at),
            PartitionState::Stopped { cause } => format!("{} is stopped: {cause}", partition.at),
        })
        .collect()
}

fn respond(ok: bool, waiting: &[String]) -> Response {
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if ok { "ok" } else { "not ready" };
    let body: Value = json!({ "contract_version": CONTRACT_VERSION, "status": word, "waiting_for": waiting });
    (status, Json(body)).into_response()
}
