//! Which address is answered by what.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures_util::FutureExt as _;

use crate::problem::{Code, Problem};
use crate::shared::Shared;
use crate::trace;

mod aggregate;
mod body;
mod command;
mod encoding;
mod events;
mod health;
mod parameters;
mod query;
mod read_models;
mod schemas;

const LIVE: &str = "/livez";
const READY: &str = "/readyz";
const STARTED: &str = "/startupz";

/// True for what is answered under any load.
pub(crate) fn is_health(path: &str) -> bool {
    [LIVE, READY, STARTED].contains(&path)
}

/// The whole HTTP surface.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let work = Router::new()
        .route("/v1/commands", get(command::catalogue).post(command::batch))
        .route("/v1/commands/{type}", post(command::single))
        .route("/v1/operations/{operation_id}", get(command::operation))
        .route("/v1/aggregates/{type}/{id}", get(aggregate::state))
        .route("/v1/queries", get(query::catalogue))
        .route("/v1/queries/{name}", get(query::answer))
        .route("/v1/read-models", get(read_models::list))
        .merge(events::routes())
        .merge(schemas::routes(&shared));
    // Each route takes a place of its own kind, once it knows who asks and for what. Health is answered under any load:
    // whoever asks decides over the process's life.
    let health = Router::new()
        .route(LIVE, get(health::live))
        .route(READY, get(health::ready))
        .route(STARTED, get(health::started));
    work.merge(health)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(unknown_route)
        .with_state(shared)
        .layer(middleware::from_fn(around))
}

/// What is done around every request, in one layer: each layer is a box and a copy of the request more.
async fn around(request: Request, next: Next) -> Response {
    trace::traced(request, |request| async {
        let answer = AssertUnwindSafe(encoding::encoded(request, next)).catch_unwind();
        answer.await.unwrap_or_else(panicked)
    })
    .await
}

async fn unknown_route() -> Problem {
    Problem::new(
        Code::UnknownRoute,
        "no such address; there are /v1/commands, /v1/operations, /v1/aggregates, /v1/events, /v1/queries and /v1/read-models",
    )
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        "the address exists, but not for this method; the header Allow names those it takes",
    )
}

fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let cause = cause
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| cause.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(cause, "a request panicked");
    Problem::new(Code::Internal, "the server made a mistake; its log has the cause").into_response()
}

/// The parts of the path, decoded.
fn path<T>(parts: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    parts.map(|Path(parts)| parts).map_err(|error| {
        Problem::at(Code::InvalidParameter, "path", format!("the address cannot be decoded: {}", error.body_text()))
    })
}

#[cfg(test)]
mod tests;
