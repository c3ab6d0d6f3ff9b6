//! The HTTP interface as the command line uses it.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::Value;

use crate::cli::Global;
use crate::endpoint::running;
use crate::exit::{Exit, Failure};
use crate::{input, limits};

pub mod answer;
pub mod lines;
pub mod naming;
pub mod problem;

use answer::Answer;
use problem::Problem;

/// A server and the token to speak to it with.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens, or the connection broke: whether a command was written is open; send it again under its id.
    #[error("no connection to {base}: {cause}")]
    Unreachable {
        /// The server asked.
        base: String,
        /// What the connection said.
        cause: String,
    },
    /// No answer in time: whether a command was written is open; send it again under its id.
    #[error("no answer from {base} within {} s", limits::ANSWER_TIMEOUT_SECS)]
    Timeout {
        /// The server asked.
        base: String,
    },
    /// The server refuses; its words.
    #[error(transparent)]
    Refused(#[from] Box<Problem>),
    /// Not the answer of such a server.
    #[error("{base} does not answer as annals does: {cause}")]
    Foreign {
        /// The server asked.
        base: String,
        /// What is wrong with the answer.
        cause: String,
    },
}

impl CallError {
    /// True if asking again, under the same id, may help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Refused(problem) => problem.is_passing(),
            Self::Foreign { .. } => false,
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Unreachable { cause, .. } if cause.contains("certificate") => Self::usage(message)
                .remedy("if it is the right server, name its authority's certificate with --ca FILE"),
            CallError::Unreachable { .. } => {
                Self::usage(message).remedy("is it running? start it with `annals up --data DIR`")
            }
            CallError::Timeout { .. } => Self::new(Exit::Timeout, message),
            CallError::Refused(problem) => Self::new(problem.exit(), message),
            CallError::Foreign { .. } => Self::usage(message).remedy("check --url"),
        }
    }
}

/// A failure of a command that knows `--workspace`: the server names the field that it is sent as.
pub fn with_workspace(error: CallError) -> Failure {
    let remedy = match &error {
        CallError::Refused(problem) if problem.field != "workspace_id" => None,
        CallError::Refused(problem) if problem.detail.contains("leave ") => Some("leave --workspace (-w) out"),
        CallError::Refused(_) => Some("name it with --workspace (-w), by id or slug"),
        _ => None,
    };
    let failure = Failure::from(error);
    match remedy {
        Some(remedy) => failure.remedy(remedy),
        None => failure,
    }
}

impl Client {
    /// The server that `--url` names, else the one of the data directory.
    pub fn find(global: &Global) -> anyhow::Result<Self> {
        let (base, token) = match (&global.url, &global.token) {
            (Some(url), Some(token)) => (url.clone(), token.clone()),
            (url, token) => {
                let known = running(global).map_err(|failure| {
                    let remedy = format!("{}, or a server with --url and --token", failure.remedy);
                    if failure.remedy.is_empty() { failure } else { failure.remedy(remedy) }
                })?;
                (url.clone().unwrap_or(known.url), token.clone().unwrap_or(known.token))
            }
        };
        let roots = match &global.ca {
            Some(path) => Roots::Only(certificates(path)?),
            // Reading the system's takes a while, and there may be none.
            None if base.starts_with("http://") => Roots::Only(Vec::new()),
            None => Roots::OfSystem,
        };
        Self::with_roots(&base, &token, roots)
    }

    /// A server at `base`, over plain HTTP.
    pub fn new(base: &str, token: &str) -> anyhow::Result<Self> {
        Self::with_roots(base, token, Roots::Only(Vec::new()))
    }

    fn with_roots(base: &str, token: &str, roots: Roots) -> anyhow::Result<Self> {
        let client =
            reqwest::Client::builder().connect_timeout(Duration::from_secs(limits::CONNECT_TIMEOUT_SECS)).no_proxy();
        let client = match roots {
            Roots::OfSystem => client,
            Roots::Only(roots) => client.tls_certs_only(roots),
        };
        let http = client.build().map_err(|error| {
            Failure::usage(format!("certificates to know {base} by cannot be read: {}", innermost(&error)))
                .remedy("name a file of them with --ca")
        })?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), token: token.to_owned() })
    }

    /// GET, answered as JSON.
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, CallError> {
        self.json(|| self.request(Method::GET, path).query(query)).await
    }

    /// GET under a consistency token: the answer covers what the token stands for.
    pub async fn get_at(&self, path: &str, query: &[(&str, String)], token: &str) -> Result<Value, CallError> {
        self.json(|| self.request(Method::GET, path).query(query).header("Consistency-Token", token)).await
    }

    /// One command. Safe to repeat: it carries its request id.
    pub async fn command(&self, command_type: &str, body: &Value) -> Result<Answer, CallError> {
        let path = format!("/v1/commands/{command_type}");
        let document = self.json(|| self.request(Method::POST, &path).json(body)).await?;
        Answer::read(document).map_err(|cause| self.foreign(cause))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// Sends, and sends again where the server asks for patience.
    async fn json(&self, request: impl Fn() -> RequestBuilder) -> Result<Value, CallError> {
        let (began, mut attempt) = (Instant::now(), 0);
        loop {
            attempt += 1;
            let timeout = Duration::from_secs(limits::ANSWER_TIMEOUT_SECS);
            let outcome = match request().timeout(timeout).send().await {
                Ok(response) => self.read(response).await,
                Err(error) => Err(self.broken(&error)),
            };
            match outcome {
                Err(CallError::Refused(problem))
                    if problem.is_passing() && is_asked_again(attempt, began.elapsed()) =>
                {
                    tokio::time::sleep(pause(attempt, problem.retry_after)).await;
                }
                other => return other,
            }
        }
    }

    async fn read(&self, response: Response) -> Result<Value, CallError> {
        let status = response.status();
        let retry_after = retry_after(&response);
        let bytes = response.bytes().await.map_err(|error| self.broken(&error))?;
        let document = serde_json::from_slice(&bytes);
        if status.is_success() {
            return document.map_err(|error| self.foreign(error.to_string()));
        }
        Err(Box::new(Problem::read(status.as_u16(), retry_after, document.unwrap_or_default())).into())
    }

    fn broken(&self, error: &reqwest::Error) -> CallError {
        let base = self.base.clone();
        if error.is_timeout() && !error.is_connect() {
            return CallError::Timeout { base };
        }
        CallError::Unreachable { base, cause: innermost(error) }
    }

    /// The answers ended before the lines did: the server stopped, or died.
    pub fn cut_short(&self, answered: usize, lines: usize) -> CallError {
        let cause = format!("the connection ended after {answered} of {lines} answers");
        CallError::Unreachable { base: self.base.clone(), cause }
    }

    fn foreign(&self, cause: String) -> CallError {
        CallError::Foreign { base: self.base.clone(), cause }
    }
}

/// Whom a server's certificate must lead to.
#[derive(Debug)]
enum Roots {
    OfSystem,
    Only(Vec<reqwest::Certificate>),
}

/// The certificates of a file.
fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, Failure> {
    let text = input::read_file(path, limits::CERTIFICATES_BYTES_MAX)
        .map_err(|failure| Failure { message: format!("--ca: {}", failure.message), ..failure })?;
    match reqwest::Certificate::from_pem_bundle(text.as_bytes()) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Failure::usage(format!("--ca: {} has no certificate in PEM", path.display()))),
        Err(error) => Err(Failure::usage(format!("--ca: {}: {}", path.display(), innermost(&error)))),
    }
}

/// What lies at the bottom of an error: what the system or the other side said.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        cause = inner.to_string();
        source = inner.source();
    }
    cause
}

fn retry_after(response: &Response) -> Option<Duration> {
    if !matches!(response.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        return None;
    }
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether what was put off is asked for once more: refusals that come at once many times, slow ones not for minutes.
fn is_asked_again(attempts: u32, took: Duration) -> bool {
    attempts < limits::ATTEMPTS_MAX && took < Duration::from_millis(limits::ATTEMPTS_MS_MAX)
}

/// How long to wait before the attempt after this one: what the server asked for, else doubling, never above the bound.
pub fn pause(attempt: u32, asked: Option<Duration>) -> Duration {
    let doubled = limits::RETRY_PAUSE_FIRST_MS.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    asked.unwrap_or_else(|| Duration::from_millis(doubled)).min(Duration::from_millis(limits::RETRY_PAUSE_MAX_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_refusals_are_not_asked_for_again_for_minutes() {
        let seconds = Duration::from_secs;
        assert!(is_asked_again(1, seconds(0)) && is_asked_again(7, seconds(5)));
        assert!(!is_asked_again(8, seconds(5)));
        // Each attempt took five: the third is the last.
        assert!(is_asked_again(1, seconds(5)) && !is_asked_again(3, seconds(15)));
    }
}
