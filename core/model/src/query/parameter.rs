//! From a request's parameters, all text, to values: an allow-list, checked completely before anything is read.

use uuid::Uuid;

use super::error::QuestionError;
use super::{Parameter, ParameterType, Query};
use crate::limits;
use crate::projection::OwnedValue;
use crate::text::normal_form;

/// A parameter and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// Which.
    pub parameter: &'static Parameter,
    /// Of its type.
    pub value: OwnedValue,
    /// A text as it was sent, where that is not its normal form: what was recorded before names had one form may be in it.
    pub as_sent: Option<OwnedValue>,
}

impl PartialEq for Parameter {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// The request's parameters as values, in the order of the query's definition: equal requests look equal.
pub(super) fn parse(query: &'static Query, parameters: &[(String, String)]) -> Result<Vec<Given>, QuestionError> {
    let mut given: Vec<Given> = Vec::with_capacity(parameters.len().min(query.parameters.len()));
    for (name, text) in parameters {
        let parameter = query.parameter(name).ok_or_else(|| QuestionError::UnknownParameter {
            query: query.name,
            parameter: name.chars().take(limits::QUERY_ECHO_CHARS_MAX).collect(),
            known: query.parameters.iter().map(|parameter| parameter.name).collect(),
        })?;
        if given.iter().any(|earlier| earlier.parameter == parameter) {
            return Err(QuestionError::RepeatedParameter { parameter: parameter.name });
        }
        given.push(Given { parameter, value: value(parameter, text)?, as_sent: as_sent(parameter, text) });
    }
    let is_given = |name: &str| given.iter().any(|given| given.parameter.name == name);
    if let Some(missing) = query.parameters.iter().find(|parameter| parameter.required && !is_given(parameter.name)) {
        return Err(QuestionError::MissingParameter { query: query.name, parameter: missing.name });
    }
    if !query.any_of.is_empty() && !query.any_of.iter().any(|name| is_given(name)) {
        return Err(QuestionError::MissingOneOf { query: query.name, parameters: query.any_of });
    }
    given.sort_by_key(|given| query.parameters.iter().position(|parameter| parameter == given.parameter));
    Ok(given)
}

fn value(parameter: &'static Parameter, text: &str) -> Result<OwnedValue, QuestionError> {
    if text.len() > limits::QUERY_PARAMETER_BYTES_MAX {
        return Err(QuestionError::ParameterTooLong { parameter: parameter.name, bytes: text.len() });
    }
    let parsed = match parameter.parameter_type {
        ParameterType::Uuid => Uuid::try_parse(text).ok().map(OwnedValue::Uuid),
        // Names are recorded in this form: whoever asks for one means it, however its letters are composed there.
        ParameterType::Text => (!text.contains('\0')).then(|| OwnedValue::Text(normal_form(text).into())),
        ParameterType::Int => text.parse().ok().map(OwnedValue::Int),
        ParameterType::Bool => text.parse().ok().map(OwnedValue::Bool),
        ParameterType::OneOf(words) => words.contains(&text).then(|| OwnedValue::Text(text.into())),
    };
    parsed.ok_or(QuestionError::InvalidParameter { parameter: parameter.name, expected: parameter.parameter_type })
}

fn as_sent(parameter: &Parameter, text: &str) -> Option<OwnedValue> {
    let differs = parameter.parameter_type == ParameterType::Text && normal_form(text) != text;
    differs.then(|| OwnedValue::Text(text.into()))
}
