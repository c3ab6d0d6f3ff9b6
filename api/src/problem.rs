//! What is wrong, and what to do about it: problem documents (RFC 9457), one closed list of codes.

use std::time::Duration;

use annals_engine::command::{CommandError, NotAdmitted, NotNow, ReadFailure};
use annals_model::command_json::FieldError;
use annals_model::context::ParseError;
use annals_model::ids::OperationId;
use annals_model::query::QuestionError;
use annals_stores::queries::QueryError;
use axum::body::Body;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Map, Value};

use crate::auth::TokenError;
use crate::text_response::respond;
use crate::{CONTRACT_VERSION, limits};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal $slug:literal $title:literal),+ $(,)?) => {
        /// Every kind of problem that this server answers with; the slug is the last part of `type`, and stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $($(#[$doc])* $name),+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            const fn parts(self) -> (u16, &'static str, &'static str) {
                match self { $(Self::$name => ($status, $slug, $title)),+ }
            }
        }
    };
}

codes! {
    /// The body is no JSON, or no JSON that every reader understands alike.
    MalformedJson = 400 "malformed-json" "The body is not acceptable JSON",
    /// A field of the body is missing, unknown, repeated, of the wrong type or out of range.
    InvalidField = 400 "invalid-field" "A field is wrong",
    /// The head of the request cannot be read.
    MalformedHead = 400 "malformed-head" "The head cannot be read",
    /// A header says what it may not, or contradicts the body.
    InvalidHeader = 400 "invalid-header" "A header is wrong",
    /// A query parameter or a part of the path is wrong.
    InvalidParameter = 400 "invalid-parameter" "A parameter is wrong",
    /// A page's cursor is not one that this query gave this tenant.
    InvalidCursor = 400 "invalid-cursor" "The cursor is wrong",
    /// The consistency token is not one that an answer carried.
    InvalidConsistencyToken = 400 "invalid-consistency-token" "The consistency token is wrong",
    /// The consistency token names positions that this log does not have.
    ForeignConsistencyToken = 409 "foreign-consistency-token" "The consistency token is of another log",
    /// The command needs to know which aggregate it is for.
    AggregateIdMissing = 400 "aggregate-id-missing" "The command names no aggregate",
    /// There is no token, or it is not accepted.
    Unauthenticated = 401 "unauthenticated" "Not authenticated",
    /// The token's holder may not do this.
    Forbidden = 403 "forbidden" "Not allowed",
    /// No such address.
    UnknownRoute = 404 "unknown-route" "No such address",
    /// No such command.
    UnknownCommand = 404 "unknown-command" "No such command",
    /// No such aggregate type.
    UnknownAggregateType = 404 "unknown-aggregate-type" "No such aggregate type",
    /// No such query.
    UnknownQuery = 404 "unknown-query" "No such query",
    /// It does not exist, or belongs to another tenant.
    NotFound = 404 "not-found" "Not found",
    /// The workspace does not exist, or belongs to another tenant.
    WorkspaceNotFound = 404 "workspace-not-found" "No such workspace",
    /// The address does not take this method.
    MethodNotAllowed = 405 "method-not-allowed" "The address does not take this method",
    /// The client takes none of the forms that the answer has.
    NotAcceptable = 406 "not-acceptable" "The answer has no such form",
    /// The body did not arrive in time.
    BodyTimeout = 408 "body-timeout" "The body did not arrive in time",
    /// The aggregate has another version than expected.
    VersionConflict = 409 "version-conflict" "The aggregate has moved on",
    /// The aggregate exists already.
    AlreadyExists = 409 "already-exists" "It exists already",
    /// Another aggregate holds a value that only one may hold.
    UniqueKeyTaken = 409 "unique-key-taken" "The value is taken",
    /// The workspace is closed for good.
    WorkspaceArchived = 409 "workspace-archived" "The workspace is archived",
    /// The body or line is too large.
    TooLarge = 413 "too-large" "Too large",
    /// The head of the request is larger than the bound.
    HeadTooLarge = 431 "head-too-large" "The head is too large",
    /// The body's content type is not one that the address takes.
    UnsupportedMediaType = 415 "unsupported-media-type" "The content type is not taken here",
    /// A business rule says no.
    Rejected = 422 "rejected" "Rejected by a rule",
    /// The client request id was used before for another command.
    RequestIdReused = 422 "request-id-reused" "The client request id was used for another command",
    /// One append cannot hold what the command would write.
    CommandTooLarge = 422 "command-too-large" "The command would write too much at once",
    /// The query stopped at the bound of its work.
    TooMuchWork = 422 "too-much-work" "The query would take too long",
    /// A mistake of this server.
    Internal = 500 "internal" "The server made a mistake",
    /// The body is coded for its transfer in a way that is not known here.
    UnknownTransferCoding = 501 "unknown-transfer-coding" "The transfer coding is not known",
    /// Too much at once, or shutting down: nothing was done.
    Overloaded = 503 "overloaded" "Too busy",
    /// The log cannot be read or written just now: nothing was done.
    LogUnavailable = 503 "log-unavailable" "The log cannot be used now",
    /// The log did not take the append: nothing was written.
    Aborted = 503 "aborted" "The log did not take it",
    /// A line before it, of the same partition, was not decided: nothing was done.
    BehindUndecided = 503 "behind-undecided" "A line before it was not decided",
    /// No answer in time: it may or may not be written.
    Unanswered = 503 "unanswered" "No answer in time",
    /// Another process owns the partition.
    NotOwner = 503 "not-owner" "Owned by another process",
    /// The partition is stopped because its log is damaged.
    PartitionStopped = 503 "partition-stopped" "The partition is stopped",
    /// The read model has not come as far as the consistency token.
    ReadModelBehind = 503 "read-model-behind" "The read model is behind",
    /// The read model's runner stopped.
    ReadModelStopped = 503 "read-model-stopped" "The read model is stopped",
    /// The read model cannot be read.
    ReadModelUnavailable = 503 "read-model-unavailable" "The read model cannot be read",
}

impl Code {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.parts().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
    const fn of(reason: NotNow) -> Self {
        match reason {
            NotNow::QueueFull => Self::Overloaded,
            NotNow::LogSilent | NotNow::LogUnsettled => Self::LogUnavailable,
        }
    }
    /// The `type` member.
    pub fn urn(self) -> String {
        format!("urn:annals:problem:{}", self.parts().1)
    }
}

/// One problem document.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    code: Code,
    detail: String,
    field: Option<String>,
    members: Map<String, Value>,
    retry_after: Option<Duration>,
}

impl Problem {
    /// Of a kind, with what exactly is wrong and what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        // Whatever is answered 503 may be sent again: say when.
        let retry_after =
            (code.status() == StatusCode::SERVICE_UNAVAILABLE).then(|| Duration::from_millis(limits::RETRY_AFTER_MS));
        let detail = cut(detail.into(), limits::PROBLEM_DETAIL_BYTES_MAX);
        Self { code, detail, field: None, members: Map::new(), retry_after }
    }

    /// Of a field, header or parameter, by name.
    pub fn at(code: Code, field: impl Into<String>, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(code, detail);
        problem.field = Some(cut(field.into(), limits::PROBLEM_FIELD_BYTES_MAX));
        problem
    }

    /// With one member more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Of a command: what it is found under if it was accepted all the same, or is when it is sent again.
    #[must_use]
    pub fn of_operation(self, id: OperationId) -> Self {
        self.with("operation_id", id.to_string())
    }

    /// With the time to try again.
    #[must_use]
    pub fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    /// Its kind.
    pub fn code(&self) -> Code {
        self.code
    }

    /// True where the same may have another answer when it is asked again: nothing was decided.
    pub fn is_passing(&self) -> bool {
        self.code.status() == StatusCode::SERVICE_UNAVAILABLE
    }

    /// As JSON, the line of a batch.
    pub fn to_json(&self) -> Map<String, Value> {
        let (status, _, title) = self.code.parts();
        let mut json = Map::new();
        json.insert("type".to_owned(), self.code.urn().into());
        json.insert("title".to_owned(), title.into());
        json.insert("status".to_owned(), status.into());
        json.insert("detail".to_owned(), self.detail.as_str().into());
        if let Some(field) = &self.field {
            json.insert("field".to_owned(), field.as_str().into());
        }
        json.insert("contract_version".to_owned(), CONTRACT_VERSION.into());
        if let Some(time) = self.retry_after {
            json.insert("retry_after_ms".to_owned(), u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into());
        }
        json.extend(self.members.clone());
        json
    }
}

/// A text of at most `bytes_max` bytes: what is too long loses its middle. Its beginning says what is wrong, and its end
/// what to do; in between stands what the client sent itself, and it may have sent anything.
fn cut(mut text: String, bytes_max: usize) -> String {
    const GAP: &str = " … ";
    if text.len() > bytes_max {
        let half = (bytes_max - GAP.len()) / 2;
        let (head, tail) = (text.floor_char_boundary(half), text.ceil_char_boundary(text.len() - half));
        text.replace_range(head..tail, GAP);
    }
    text
}

/// On an answer that says that there is too much to do: whoever comes back at once waits for a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToldOff;

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let text = Value::Object(self.to_json()).to_string().into_bytes();
        let mut response = respond("application/problem+json", text);
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        if let Some(time) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(time.as_millis().div_ceil(1_000).max(1) as u64));
        }
        if self.code == Code::Overloaded {
            response.extensions_mut().insert(ToldOff);
        } else if self.code == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"annals\""));
        }
        response
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let code = if error == TokenError::OtherTenant { Code::Forbidden } else { Code::Unauthenticated };
        Self::at(code, "Authorization", error.to_string())
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        let field = named_field(&error);
        match field.as_str() {
            "" => Self::new(Code::MalformedJson, format!("{}; send one JSON object", error.message)),
            _ => {
                let detail = format!("{field}: {}", error.message);
                Self::at(Code::InvalidField, field, detail)
            }
        }
    }
}

/// The field that an error is about. serde puts the names of unknown, missing and repeated fields into its message,
/// and their parent into the path.
fn named_field(error: &FieldError) -> String {
    let parent = error.path.trim_matches('.');
    let parent = if parent == "?" { "" } else { parent };
    let name = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|prefix| error.message.strip_prefix(prefix))
        .and_then(|rest| rest.split_once('`'))
        .map(|(name, _)| name);
    match name {
        Some(name) if parent.is_empty() => name.to_owned(),
        Some(name) if parent == name || parent.ends_with(&format!(".{name}")) => parent.to_owned(),
        Some(name) => format!("{parent}.{name}"),
        None => parent.to_owned(),
    }
}

impl From<ParseError> for Problem {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::UnknownCommand(names) => {
                Self::new(Code::UnknownCommand, format!("no such command; the aggregate has {}", names.join(", ")))
            }
            ParseError::Field(error) => error.into(),
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let detail = error.to_string();
        match error {
            CommandError::Rejected(refusal) => {
                let problem = Self::new(Code::Rejected, detail).with("rejection", refusal.code);
                if refusal.details.is_null() { problem } else { problem.with("rejection_details", refusal.details) }
            }
            CommandError::NotAdmitted(refused) => refused.into(),
            CommandError::NotFound { .. } => Self::at(
                Code::NotFound,
                "aggregate_id",
                format!("{detail}; check the id and the workspace, or create it first"),
            ),
            CommandError::AggregateIdMissing { .. } => Self::at(Code::AggregateIdMissing, "aggregate_id", detail),
            CommandError::AlreadyExists { version, .. } => {
                let detail = format!("{detail}; choose another aggregate_id, or leave it out");
                let problem = Self::at(Code::AlreadyExists, "aggregate_id", detail);
                match version {
                    Some(version) => problem.with("actual_version", version.0),
                    None => problem,
                }
            }
            CommandError::VersionConflict { expected, actual } => {
                Self::at(Code::VersionConflict, "expected_version", detail)
                    .with("expected_version", expected.0)
                    .with("actual_version", actual.0)
            }
            CommandError::UniqueKeyTaken { key, holder } => {
                Self::new(Code::UniqueKeyTaken, format!("{detail}; choose another value, or use that one"))
                    .with("key", key)
                    .with("holder", holder.to_string())
            }
            CommandError::FingerprintMismatch { operation } => {
                Self::at(Code::RequestIdReused, "client_request_id", detail).with("operation_id", operation.to_string())
            }
            CommandError::TooLarge { .. } => Self::new(Code::CommandTooLarge, detail),
            // The cause is for the server's own log.
            CommandError::Defect { aggregate_type, .. } => Self::new(
                Code::Internal,
                format!(
                    "{aggregate_type} cannot decide this command because of a mistake in its code; nothing was written, report it"
                ),
            ),
            CommandError::Busy { reason, retry_after } => Self::new(Code::of(reason), detail).retry_after(retry_after),
            CommandError::Aborted { .. } => Self::new(Code::Aborted, detail),
            CommandError::BehindUndecided => Self::new(Code::BehindUndecided, detail),
            CommandError::Unanswered => Self::new(Code::Unanswered, detail),
            CommandError::NotOwner(_) => Self::new(Code::NotOwner, detail),
            CommandError::Stopped { .. } => Self::new(Code::PartitionStopped, detail),
        }
    }
}

impl From<NotAdmitted> for Problem {
    fn from(error: NotAdmitted) -> Self {
        let detail = error.to_string();
        match error {
            NotAdmitted::NoWorkspace(_) => Self::at(Code::WorkspaceNotFound, "workspace_id", detail),
            NotAdmitted::Closed(_) => Self::at(Code::WorkspaceArchived, "workspace_id", detail),
            // Whoever was asked has said why: another node by a problem, an owner here by a failed read.
            NotAdmitted::Unasked(cause) => match (cause.downcast_ref::<Self>(), cause.downcast_ref::<ReadFailure>()) {
                (Some(problem), _) => problem.clone(),
                (None, Some(failure)) => failure.clone().into(),
                (None, None) => Self::new(Code::Overloaded, detail),
            },
        }
    }
}

impl From<ReadFailure> for Problem {
    fn from(error: ReadFailure) -> Self {
        let detail = error.to_string();
        match error {
            ReadFailure::Busy { reason, retry_after } => Self::new(Code::of(reason), detail).retry_after(retry_after),
            ReadFailure::Deadline => Self::new(Code::Unanswered, format!("{detail}; ask again")),
            ReadFailure::NotOwner(_) => Self::new(Code::NotOwner, detail),
            ReadFailure::Stopped { .. } => Self::new(Code::PartitionStopped, detail),
        }
    }
}

impl From<QuestionError> for Problem {
    fn from(error: QuestionError) -> Self {
        let detail = error.to_string();
        match error {
            QuestionError::UnknownParameter { parameter, .. } => Self::at(Code::InvalidParameter, parameter, detail),
            QuestionError::RepeatedParameter { parameter }
            | QuestionError::MissingParameter { parameter, .. }
            | QuestionError::InvalidParameter { parameter, .. }
            | QuestionError::ParameterTooLong { parameter, .. } => Self::at(Code::InvalidParameter, parameter, detail),
            QuestionError::MissingOneOf { parameters, .. } => {
                Self::at(Code::InvalidParameter, parameters.join(", "), detail)
            }
            QuestionError::WorkspaceMissing { .. } | QuestionError::WorkspaceNotWanted { .. } => {
                Self::at(Code::InvalidParameter, "workspace_id", detail)
            }
            QuestionError::LimitOutOfRange { .. } => Self::at(Code::InvalidParameter, "limit", detail),
            QuestionError::InvalidCursor => Self::at(Code::InvalidCursor, "cursor", detail),
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let detail = error.to_string();
        match error {
            QueryError::UnknownQuery { .. } | QueryError::NotInVersion { .. } => Self::new(Code::UnknownQuery, detail),
            QueryError::Question(error) => error.into(),
            QueryError::TooMuchWork { .. } => Self::new(Code::TooMuchWork, detail),
            QueryError::Busy { .. } => Self::new(Code::Overloaded, detail),
            // What the store said names its inside: it is in this server's log.
            QueryError::Unavailable { read_model, .. } => {
                Self::new(Code::ReadModelUnavailable, format!("read model {read_model} cannot be read now; ask again"))
            }
            QueryError::Damaged { read_model, .. } => Self::new(
                Code::ReadModelUnavailable,
                format!("read model {read_model} cannot be read before an operator has looked after it"),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
