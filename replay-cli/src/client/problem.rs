//! Problem documents (RFC 9457) as the command line reads them.

use std::time::Duration;

use serde_json::Value;

use crate::exit::Exit;

/// The server's refusal, in its words.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", self.words())]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// The kind of problem, in a few words.
    pub title: String,
    /// What is wrong in this case.
    pub detail: String,
    /// The field that is wrong; may be empty.
    pub field: String,
    /// When the server asks to be asked again.
    pub retry_after: Option<Duration>,
    /// All of it.
    pub document: Value,
}

impl Problem {
    /// Reads a problem document; of anything else only the status is known.
    pub fn read(status: u16, retry_after: Option<Duration>, document: Value) -> Self {
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            status: document
                .get("status")
                .and_then(Value::as_u64)
                .and_then(|s| u16::try_from(s).ok())
                .unwrap_or(status),
            title: text("title"),
            detail: text("detail"),
            field: text("field"),
            retry_after: document
                .get("retry_after_ms")
                .and_then(Value::as_u64)
                .map(Duration::from_millis)
                .or(retry_after),
            document,
        }
    }

    fn words(&self) -> String {
        let mut words = match (self.title.as_str(), self.detail.as_str()) {
            ("", "") => "refused without a reason".to_owned(),
            (title, "") => title.to_owned(),
            ("", detail) => detail.to_owned(),
            (title, detail) => format!("{title}: {detail}"),
        };
        if !self.field.is_empty() && !words.contains(&self.field) {
            words = format!("{words} (field {})", self.field);
        }
        format!("{words} [{}]", self.status)
    }

    /// True if asking again, under the same id, may help.
    pub fn is_passing(&self) -> bool {
        matches!(self.status, 429 | 503)
    }

    /// How a process ends that met it.
    pub fn exit(&self) -> Exit {
        match self.status {
            400 | 405 | 406 | 413 | 414 | 415 | 431 => Exit::Usage,
            408 | 504 => Exit::Timeout,
            409 | 412 => Exit::Conflict,
            _ => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_keeps_the_servers_words_and_knows_its_exit_code() {
        let problem = Problem::read(
            409,
            None,
            json!({"title": "version conflict", "detail": "expected version 1, the aggregate is at 2", "status": 409}),
        );
        assert_eq!(problem.to_string(), "version conflict: expected version 1, the aggregate is at 2 [409]");
        assert_eq!(problem.exit(), Exit::Conflict);
        assert!(!problem.is_passing());
    }

    #[test]
    fn an_answer_that_is_no_problem_document_keeps_its_status() {
        let problem = Problem::read(503, Some(Duration::from_secs(1)), Value::Null);
        assert_eq!(problem.to_string(), "refused without a reason [503]");
        assert!(problem.is_passing());
    }
}
