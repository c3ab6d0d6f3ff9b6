//! Many commands in one request: NDJSON there and back, one answer per line, in order.

use std::time::Duration;

use reqwest::{Method, Response, header};
use serde_json::Value;

use super::answer::Answer;
use super::problem::Problem;
use super::{CallError, Client};
use crate::limits;

/// The answer to one line.
#[derive(Clone, Debug, PartialEq)]
pub enum LineAnswer {
    /// Accepted, now or before.
    Accepted(Box<Answer>),
    /// Refused; nothing was written for this line.
    Refused(Box<Problem>),
}

/// The answers of one request as they come.
#[derive(Debug)]
pub struct Lines<'a> {
    client: &'a Client,
    response: Response,
    buffer: Vec<u8>,
}

impl Client {
    /// Sends the lines, each one command with its type, and gives their answers as they come.
    pub async fn commands(&self, body: String) -> Result<Lines<'_>, CallError> {
        let request = self.request(Method::POST, "/v1/commands").header(header::CONTENT_TYPE, "application/x-ndjson");
        let response = request.body(body).send().await.map_err(|error| self.broken(&error))?;
        if !response.status().is_success() {
            // Reading it gives the problem that it holds.
            let answer = self.read(response).await;
            return Err(answer.err().unwrap_or_else(|| self.foreign("a refusal without a problem".to_owned())));
        }
        Ok(Lines { client: self, response, buffer: Vec::new() })
    }
}

impl Lines<'_> {
    /// The next answer; nothing at the end. A line cut short by a broken connection is no answer.
    pub async fn next(&mut self) -> Result<Option<LineAnswer>, CallError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return self.parse(&line).map(Some);
            }
            if self.buffer.len() > limits::LINE_BYTES_MAX {
                return Err(self.client.foreign(format!("a line of more than {} bytes", limits::LINE_BYTES_MAX)));
            }
            let patience = Duration::from_secs(limits::ANSWER_TIMEOUT_SECS);
            match tokio::time::timeout(patience, self.response.chunk()).await {
                Err(_) => return Err(CallError::Timeout { base: self.client.base.clone() }),
                Ok(Err(error)) => return Err(self.client.broken(&error)),
                Ok(Ok(Some(bytes))) => self.buffer.extend_from_slice(&bytes),
                Ok(Ok(None)) if self.buffer.trim_ascii().is_empty() => return Ok(None),
                Ok(Ok(None)) => self.buffer.push(b'\n'),
            }
        }
    }

    fn parse(&self, line: &[u8]) -> Result<LineAnswer, CallError> {
        let document: Value = serde_json::from_slice(line).map_err(|error| self.client.foreign(error.to_string()))?;
        // A problem may name an operation too: the status alone tells the two apart.
        match document.get("status").and_then(Value::as_u64) {
            Some(200..300) => {}
            Some(_) => return Ok(LineAnswer::Refused(Box::new(Problem::read(0, None, document)))),
            None => return Err(self.client.foreign(format!("neither an answer nor a problem: {document}"))),
        }
        let answer = Answer::read(document).map_err(|cause| self.client.foreign(cause))?;
        Ok(LineAnswer::Accepted(Box::new(answer)))
    }
}
