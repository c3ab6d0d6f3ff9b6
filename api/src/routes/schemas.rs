//! The schemas of the log's records, as a stock Avro consumer asks for them: the reading half of the interface of
//! Confluent's Schema Registry, answers and errors in its form.
//!
//! No token is asked for. Such a consumer cannot send one, and there is nothing to protect: a schema describes what any
//! tenant's records look like, and holds nothing of any tenant.
//!
//! A subject is the full name of a record (in their words, the record name strategy), because one topic holds events of
//! many types; from the second major version on `.v<major>` follows, because a subject's versions must be compatible.

use std::sync::Arc;
use std::time::Duration;

use annals_model::envelope::SchemaId;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::limits;
use crate::places::{Asker, Target};
use crate::registry::{Registered, Subjects};
use crate::shared::Shared;

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// All of these addresses.
pub(super) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    Router::new()
        .route("/schemas/types", get(types))
        .route("/schemas/ids/{id}", get(by_id))
        .route("/schemas/ids/{id}/schema", get(text_by_id))
        .route("/schemas/ids/{id}/subjects", get(subjects_of))
        .route("/schemas/ids/{id}/versions", get(versions_of))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", axum::routing::any(read_only))
        .route("/subjects/{subject}/versions", get(versions).post(read_only))
        .route("/subjects/{subject}/versions/{version}", get(by_version).delete(read_only))
        .route("/subjects/{subject}/versions/{version}/schema", get(text_by_version))
        .route("/config", get(config).put(read_only))
        .route("/config/{subject}", get(config).put(read_only).delete(read_only))
        .route("/mode", get(mode).put(read_only))
        .route("/mode/{subject}", get(mode).put(read_only))
        .route_layer(middleware::from_fn_with_state(Arc::clone(shared), in_its_place))
}

/// Refusals, with the registry's own numbers.
#[derive(Debug)]
enum Refusal {
    SubjectNotFound(String),
    VersionNotFound(String),
    SchemaNotFound(String),
    InvalidVersion(String),
    ReadOnly,
    /// The log does not answer now.
    Unavailable(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::SubjectNotFound(subject) => {
                (StatusCode::NOT_FOUND, 40401, format!("Subject '{subject}' not found; GET /subjects lists them"))
            }
            Self::VersionNotFound(version) => (StatusCode::NOT_FOUND, 40402, format!("Version {version} not found")),
            Self::SchemaNotFound(id) => (StatusCode::NOT_FOUND, 40403, format!("Schema {id} not found")),
            Self::InvalidVersion(version) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                42202,
                format!("The specified version '{version}' is not valid: a number from 1 on, or \"latest\""),
            ),
            Self::ReadOnly => (
                StatusCode::UNPROCESSABLE_ENTITY,
                42205,
                "The registry is read-only: schemas come with a release of Annals".to_owned(),
            ),
            Self::Unavailable(cause) => (StatusCode::SERVICE_UNAVAILABLE, 50003, cause),
        };
        answer(status, json!({ "error_code": code, "message": message }))
    }
}

type Answered = Result<Response, Refusal>;

fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(CONTENT_TYPE, MEDIA_TYPE)], format!("{body}\n")).into_response()
}

fn ok(body: Value) -> Answered {
    Ok(answer(StatusCode::OK, body))
}

/// What the log says; only waits for it if nobody asked before.
async fn ask(shared: &Shared) -> Result<Arc<Subjects>, Refusal> {
    shared.registry.subjects(&**shared.engine.log()).await.map_err(Refusal::Unavailable)
}

/// Everybody's questions have places of their own: they need no token.
async fn in_its_place(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let deadline = Instant::now() + Duration::from_millis(limits::REGISTRY_READ_MS);
    match shared.places.registry.take(Asker::ANYBODY, Target::Any, deadline).await {
        Ok(_place) => next.run(request).await,
        Err(_) => Refusal::Unavailable("too many questions at a time; ask again".to_owned()).into_response(),
    }
}

impl Subjects {
    fn subject(&self, name: &str) -> Result<&[Registered], Refusal> {
        self.subjects.get(name).map(Vec::as_slice).ok_or_else(|| Refusal::SubjectNotFound(name.to_owned()))
    }

    /// A version's number and the schema.
    fn version(&self, subject: &str, version: &str) -> Result<(usize, &Registered), Refusal> {
        let all = self.subject(subject)?;
        let number = match version {
            "latest" | "-1" => all.len(),
            number => number
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| Refusal::InvalidVersion(version.to_owned()))?,
        };
        let found = all.get(number - 1).ok_or_else(|| Refusal::VersionNotFound(version.to_owned()))?;
        Ok((number, found))
    }

    /// Subject and version of an id.
    fn id(&self, id: &str) -> Result<(&str, usize, &Registered), Refusal> {
        let not_found = || Refusal::SchemaNotFound(id.to_owned());
        let wanted: u32 = id.parse().map_err(|_| not_found())?;
        let mut all = self.subjects.iter().flat_map(|(subject, versions)| {
            versions.iter().enumerate().map(move |(index, registered)| (subject.as_str(), index + 1, registered))
        });
        all.find(|(.., registered)| registered.id == wanted).ok_or_else(not_found)
    }
}

async fn types() -> Answered {
    ok(json!(["AVRO"]))
}

/// What a consumer asks for each id that it meets: answered from the build where it can be.
async fn by_id(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Answered {
    let known = id.parse().ok().and_then(|id| shared.registry.built_in.get(SchemaId(id)));
    if let Some(known) = known {
        return ok(json!({ "schema": known.writer_schema }));
    }
    ok(json!({ "schema": ask(&shared).await?.id(&id)?.2.schema }))
}

async fn text_by_id(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Answered {
    Ok(text(&ask(&shared).await?.id(&id)?.2.schema))
}

async fn subjects_of(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Answered {
    ok(json!([ask(&shared).await?.id(&id)?.0]))
}

async fn versions_of(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Answered {
    let known = ask(&shared).await?;
    let (subject, version, _) = known.id(&id)?;
    ok(json!([{ "subject": subject, "version": version }]))
}

async fn subjects(State(shared): State<Arc<Shared>>) -> Answered {
    ok(json!(ask(&shared).await?.subjects.keys().collect::<Vec<_>>()))
}

async fn versions(State(shared): State<Arc<Shared>>, Path(subject): Path<String>) -> Answered {
    let known = ask(&shared).await?;
    ok(json!((1..=known.subject(&subject)?.len()).collect::<Vec<_>>()))
}

async fn by_version(State(shared): State<Arc<Shared>>, Path((subject, version)): Path<(String, String)>) -> Answered {
    let known = ask(&shared).await?;
    let (number, found) = known.version(&subject, &version)?;
    ok(json!({ "subject": subject, "version": number, "id": found.id, "schema": found.schema }))
}

async fn text_by_version(
    State(shared): State<Arc<Shared>>,
    Path((subject, version)): Path<(String, String)>,
) -> Answered {
    Ok(text(&ask(&shared).await?.version(&subject, &version)?.1.schema))
}

fn text(schema: &str) -> Response {
    ([(CONTENT_TYPE, MEDIA_TYPE)], schema.to_owned()).into_response()
}

/// What the lints of the schemas insist on.
async fn config() -> Answered {
    ok(json!({ "compatibilityLevel": "BACKWARD_TRANSITIVE" }))
}

async fn mode() -> Answered {
    ok(json!({ "mode": "READONLY" }))
}

async fn read_only() -> Refusal {
    Refusal::ReadOnly
}
