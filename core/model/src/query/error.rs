//! Why a request is no question.

use super::ParameterType;
use crate::limits;

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// The query has no such parameter: leave it out, or correct its name.
    #[error("query `{query}` has no parameter `{parameter}`; it has {}", or_none(known))]
    UnknownParameter {
        /// The query.
        query: &'static str,
        /// What was given.
        parameter: String,
        /// What may be given.
        known: Vec<&'static str>,
    },
    /// A parameter was given twice: give it once.
    #[error("parameter `{parameter}` is given more than once; give it once")]
    RepeatedParameter {
        /// The parameter.
        parameter: &'static str,
    },
    /// A parameter is missing: give it.
    #[error("query `{query}` needs parameter `{parameter}`; give it")]
    MissingParameter {
        /// The query.
        query: &'static str,
        /// The parameter.
        parameter: &'static str,
    },
    /// None of several parameters was given: give one of them.
    #[error("query `{query}` needs one of the parameters {}; give one", parameters.join(", "))]
    MissingOneOf {
        /// The query.
        query: &'static str,
        /// Any of these will do.
        parameters: &'static [&'static str],
    },
    /// A parameter's value is not of its type: send one that is.
    #[error("parameter `{parameter}` is no {}; send {}", kind(*expected), expectation(*expected))]
    InvalidParameter {
        /// The parameter.
        parameter: &'static str,
        /// What it may hold.
        expected: ParameterType,
    },
    /// A parameter's value is too long: shorten it.
    #[error("parameter `{parameter}` has {bytes} bytes; send at most {max}", max = limits::QUERY_PARAMETER_BYTES_MAX)]
    ParameterTooLong {
        /// The parameter.
        parameter: &'static str,
        /// What was sent, bytes.
        bytes: usize,
    },
    /// The query is about one workspace and none was named: name it.
    #[error("query `{query}` is about one workspace; name it in workspace_id")]
    WorkspaceMissing {
        /// The query.
        query: &'static str,
    },
    /// The query is about the tenant as a whole and a workspace was named: leave it out.
    #[error("query `{query}` is about the tenant as a whole; leave workspace_id out")]
    WorkspaceNotWanted {
        /// The query.
        query: &'static str,
    },
    /// The page size is out of range: send one within.
    #[error("limit is {limit}; send 1 to {max}", max = limits::QUERY_PAGE_ROWS_MAX)]
    LimitOutOfRange {
        /// What was sent.
        limit: u32,
    },
    /// The cursor is no cursor of this query with these parameters, this tenant and workspace, or it was changed: send
    /// one exactly as it came, with the parameters that it came for, or begin again without.
    #[error(
        "the cursor was not issued for this query, tenant, workspace and parameters, or was changed; send it as it \
         came, with the same parameters, or begin again without a cursor"
    )]
    InvalidCursor,
}

fn or_none(known: &[&'static str]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

fn kind(expected: ParameterType) -> &'static str {
    match expected {
        ParameterType::Uuid => "uuid",
        ParameterType::Text => "text",
        ParameterType::Int => "whole number",
        ParameterType::Bool => "truth value",
        ParameterType::OneOf(_) => "word that it knows",
    }
}

fn expectation(expected: ParameterType) -> String {
    match expected {
        ParameterType::Uuid => "one like 01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        ParameterType::Text => "text without the character NUL".to_owned(),
        ParameterType::Int => "one between -2^63 and 2^63 - 1".to_owned(),
        ParameterType::Bool => "true or false".to_owned(),
        ParameterType::OneOf(words) => words.join(", "),
    }
}
