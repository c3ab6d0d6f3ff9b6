//! Refusals that hyper writes itself: it asks nobody when a head cannot be read, and says no more than a status.
//!
//! It tells nobody either, so they are known by what they are: bytes that are written although no request came since
//! everything was written that was asked for.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use bytes::{Buf as _, Bytes};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connections::Connection;
use crate::limits;
use crate::problem::{Code, Problem};
use crate::trace;

/// A stream on which the refusals that hyper writes itself leave as problem documents.
#[derive(Debug)]
pub(super) struct Unasked<S> {
    stream: S,
    connection: Arc<Connection>,
    /// What stands for a refusal of hyper's and is not written yet.
    instead: Bytes,
}

impl<S> Unasked<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection, instead: Bytes::new() }
    }
}

impl<S: AsyncWrite + Unpin> Unasked<S> {
    /// Takes a refusal for another one; its length, or nothing if the bytes are none.
    fn exchange(&mut self, bytes: &[u8]) -> Option<usize> {
        self.instead = refusal(bytes)?;
        Some(bytes.len())
    }

    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.instead))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.instead.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unasked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unasked<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.connection.was_asked()
            && let Some(taken) = self.exchange(bytes)
        {
            return Poll::Ready(Ok(taken));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A head alone is one piece.
        if !self.connection.was_asked()
            && let [head] = bytes
            && let Some(taken) = self.exchange(head)
        {
            return Poll::Ready(Ok(taken));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        // hyper flushes when it has written all that it had.
        self.connection.has_written();
        Poll::Ready(flushed)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What stands for a refusal of hyper's: its own head, which knows the date and that the connection ends, with what every
/// refusal here says. Nothing if these bytes are none.
fn refusal(written: &[u8]) -> Option<Bytes> {
    let head = std::str::from_utf8(written).ok()?.strip_suffix("\r\n\r\n")?;
    let (first, headers) = head.split_once("\r\n")?;
    let status = first.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let problem = problem(StatusCode::from_u16(status).ok()?)?;
    let body = format!("{}\n", Value::Object(problem.to_json()));
    let mut text = format!("{first}\r\n");
    for kept in headers.split("\r\n").filter(|line| !line.starts_with("content-length:")) {
        text.extend([kept, "\r\n"]);
    }
    for (name, value) in trace::marked(problem.into_response()).headers() {
        text.extend([name.as_str(), ": ", value.to_str().ok()?, "\r\n"]);
    }
    text.extend(["content-length: ", &body.len().to_string(), "\r\n\r\n", &body]);
    Some(text.into())
}

fn problem(status: StatusCode) -> Option<Problem> {
    match status {
        StatusCode::BAD_REQUEST => {
            let detail = "the request line or a header is not as HTTP/1.1 has it, or the address has characters that \
                          are written with % there; nothing was done";
            Some(Problem::new(Code::MalformedHead, detail))
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG => {
            let (bytes, headers) = (limits::HEAD_BYTES_MAX, limits::HEADERS_MAX);
            let detail =
                format!("the head has more than {bytes} bytes or {headers} headers; send fewer or shorter ones");
            Some(Problem::new(Code::HeadTooLarge, detail))
        }
        _ => None,
    }
}
