//! Is the process alive, has it started, can it work?

use std::sync::Arc;

use annals_engine::owners::{PartitionState, PartitionStatus};
use annals_engine::runner::{Health, Trouble};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::parameters::{Parameters, wrong};
use crate::CONTRACT_VERSION;
use crate::document::Document;
use crate::problem::Problem;
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

/// `GET /readyz`: commands can be sent to every partition, here or through here, whatever became of what queries are
/// answered from: who sends commands must not lose all nodes for that. `?read_models` asks for both, and is for those who
/// send queries. Nobody needs a token here, so of a store only that it is in trouble is said, never its own words.
pub(super) async fn ready(State(shared): State<Arc<Shared>>, mut parameters: Parameters) -> Result<Response, Problem> {
    let with_read_models = match parameters.take("read_models").as_deref() {
        None => false,
        Some("") => true,
        Some(_) => return Err(wrong("read_models", "takes no value")),
    };
    parameters.finish()?;
    let mut waiting: Vec<_> = shared.engine.unreachable().into_iter().map(waits_for).collect();
    waiting.extend(shared.engine.log_trouble().map(|cause| format!("the log does not answer: {cause}")));
    waiting.extend(shared.engine.log().trouble());
    if shared.stopping.is_cancelled() {
        waiting.push("shutting down".to_owned());
    }
    if with_read_models {
        waiting.extend(shared.read_models.health().into_iter().filter_map(troubled));
    }
    Ok(respond(waiting.is_empty(), &waiting))
}

/// Its name, and whether it goes on by itself: the cause names files and repeats what a database said.
fn troubled(Health { read_model, trouble }: Health) -> Option<String> {
    let Trouble { passes, .. } = trouble?;
    let state = if passes { "is behind or cannot be read now" } else { "is down until somebody mends it" };
    Some(format!("read model {read_model} {state}"))
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
