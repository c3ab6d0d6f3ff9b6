//! The schemas of the log's records, as a stock Avro consumer asks for them: the reading half of the interface of
//! Confluent's Schema Registry, answers and errors in its form.
//!
//! No token is asked for. Such a consumer cannot send one, and there is nothing to protect: a schema describes what any
//! tenant's records look like, and holds nothing of any tenant.
//!
//! A subject is the full name of a record (in their words, the record name strategy), because one topic holds events of
//! many types; from the second major version on `.v<major>` follows, because a subject's versions must be compatible.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_engine::published::{PublishedSchema, published};
use annals_model::envelope::SchemaId;
use annals_schemas::CATALOGUE;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::shared::Shared;

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// All of these addresses.
pub(super) fn routes() -> Router<Arc<Shared>> {
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

/// Every schema that this build or the log knows, the versions of a subject in order.
struct Registry {
    subjects: BTreeMap<String, Vec<Registered>>,
}

struct Registered {
    id: u32,
    schema: String,
}

impl Registry {
    /// The log knows more than this build where a newer one works beside it.
    async fn of(shared: &Shared) -> Result<Self, Refusal> {
        let described = published(&**shared.engine.log()).await;
        let described = described.map_err(|error| Refusal::Unavailable(error.to_string()))?;
        let mut all: BTreeMap<u32, PublishedSchema> = described.into_iter().map(|(id, it)| (id.0, it)).collect();
        for known in CATALOGUE.iter() {
            all.entry(known.id.0).or_insert_with(|| PublishedSchema {
                event_type: known.event_type.to_owned(),
                version: known.version,
                revision: known.revision,
                schema: known.writer_schema.to_owned(),
            });
        }
        let mut ordered: Vec<_> = all.into_iter().collect();
        ordered.sort_by_key(|(_, schema)| (schema.version, schema.revision));
        let mut subjects: BTreeMap<String, Vec<Registered>> = BTreeMap::new();
        for (id, schema) in ordered {
            let subject = subject_of(&schema);
            subjects.entry(subject).or_default().push(Registered { id, schema: schema.schema });
        }
        Ok(Self { subjects })
    }

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

fn subject_of(schema: &PublishedSchema) -> String {
    let parsed: Value = serde_json::from_str(&schema.schema).unwrap_or_default();
    let name = match (parsed["namespace"].as_str(), parsed["name"].as_str()) {
        (Some(namespace), Some(name)) => format!("{namespace}.{name}"),
        // The log's own entries are checked at the start; a newer build's may be of any form.
        _ => schema.event_type.clone(),
    };
    if schema.version > 1 { format!("{name}.v{}", schema.version) } else { name }
}

async fn types() -> Answered {
    ok(json!(["AVRO"]))
}

/// What a consumer asks for each id that it meets: answered from the build where it can be.
async fn by_id(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Answered {
    let known = id.parse().ok().and_then(|id| CATALOGUE.get(SchemaId(id)));
    if let Some(known) = known {
        return ok(json!({ "schema": known.writer_schema }));
    }
    ok(json!({ "schema": Registry::of(&shared).await?.id(&id)?.2.schema }))
}

async fn text_by_id(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Answered {
    Ok(text(&Registry::of(&shared).await?.id(&id)?.2.schema))
}

async fn subjects_of(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Answered {
    ok(json!([Registry::of(&shared).await?.id(&id)?.0]))
}

async fn versions_of(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Answered {
    let registry = Registry::of(&shared).await?;
    let (subject, version, _) = registry.id(&id)?;
    ok(json!([{ "subject": subject, "version": version }]))
}

async fn subjects(State(shared): State<Arc<Shared>>) -> Answered {
    ok(json!(Registry::of(&shared).await?.subjects.keys().collect::<Vec<_>>()))
}

async fn versions(State(shared): State<Arc<Shared>>, Path(subject): Path<String>) -> Answered {
    let registry = Registry::of(&shared).await?;
    ok(json!((1..=registry.subject(&subject)?.len()).collect::<Vec<_>>()))
}

async fn by_version(State(shared): State<Arc<Shared>>, Path((subject, version)): Path<(String, String)>) -> Answered {
    let registry = Registry::of(&shared).await?;
    let (number, found) = registry.version(&subject, &version)?;
    ok(json!({ "subject": subject, "version": number, "id": found.id, "schema": found.schema }))
}

async fn text_by_version(
    State(shared): State<Arc<Shared>>,
    Path((subject, version)): Path<(String, String)>,
) -> Answered {
    Ok(text(&Registry::of(&shared).await?.version(&subject, &version)?.1.schema))
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
