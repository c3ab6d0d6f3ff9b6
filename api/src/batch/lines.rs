//! A stream of bytes as lines, each of bounded length.

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};

use crate::limits::BATCH_LINE_BYTES_MAX;

/// The lines of a body.
pub(super) struct Lines<S> {
    /// Nothing once somebody else has it.
    body: Option<S>,
    /// Read and not looked at.
    rest: Bytes,
    /// The beginning of a line.
    begun: BytesMut,
    /// The line is too long: what remains of it is skipped.
    skipping: bool,
    ended: bool,
}

/// Why a line cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineError {
    /// It is longer than [`BATCH_LINE_BYTES_MAX`]; the next call goes on behind it.
    TooLong,
    /// The body broke off: there are no more lines.
    Broken(String),
}

impl<S, E> Lines<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    pub(super) fn new(body: S) -> Self {
        Self { body: Some(body), rest: Bytes::new(), begun: BytesMut::new(), skipping: false, ended: false }
    }

    /// The next line without its line end; nothing at the end. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        loop {
            if let Some(line) = self.take_line() {
                return line.map(Some);
            }
            if self.ended {
                return Ok(None);
            }
            let Some(body) = &mut self.body else { return Ok(None) };
            match body.next().await {
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(error)) => {
                    self.ended = true;
                    self.begun.clear();
                    return Err(LineError::Broken(error.to_string()));
                }
                None => {
                    self.ended = true;
                    // A last line may lack its line end.
                    if !self.begun.is_empty() {
                        return Ok(Some(self.begun.split().to_vec()));
                    }
                }
            }
        }
    }

    /// The body, of which no more lines are read.
    pub(super) fn take_body(&mut self) -> Option<S> {
        self.ended = true;
        self.body.take()
    }

    /// Moves bytes from `rest` on to the end of the line, if it is there.
    fn take_line(&mut self) -> Option<Result<Vec<u8>, LineError>> {
        while !self.rest.is_empty() {
            let end = self.rest.iter().position(|byte| *byte == b'\n');
            let part = self.rest.split_to(end.unwrap_or(self.rest.len()));
            if end.is_some() {
                self.rest.advance(1);
            }
            if self.skipping {
                self.skipping = end.is_none();
                continue;
            }
            if self.begun.len() + part.len() > BATCH_LINE_BYTES_MAX {
                self.begun.clear();
                self.skipping = end.is_none();
                return Some(Err(LineError::TooLong));
            }
            self.begun.extend_from_slice(&part);
            if end.is_some() {
                return Some(Ok(self.begun.split().to_vec()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
