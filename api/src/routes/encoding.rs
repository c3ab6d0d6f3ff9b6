//! Bodies that travel compressed. What a request packs is unpacked before anybody reads it, so that every bound of a body
//! holds for what was unpacked; answers are packed for those who ask.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tower::{ServiceExt as _, service_fn};
use tower_http::compression::Compression;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};
use tower_http::decompression::{DecompressionBody, RequestDecompression};

use super::command::NDJSON;
use crate::limits;
use crate::problem::{Code, Problem};

/// What a body may be packed with.
const TAKEN: &str = "gzip, zstd";

/// The answer to a request whose body may be packed, by whoever reads bodies that are not.
pub(super) async fn encoded(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_packed = headers.contains_key(CONTENT_ENCODING);
    if is_packed && !is_taken(headers) {
        return refusal();
    }
    // Most requests ask for nothing of this: they pass by, because a packer wraps every answer, packed or not.
    if !is_packed && !headers.contains_key(ACCEPT_ENCODING) {
        return next.run(request).await;
    }
    let unpacked = service_fn(move |request: axum::http::Request<DecompressionBody<Body>>| {
        next.clone().run(request.map(Body::new)).map(Ok::<_, Infallible>)
    });
    // A batch's answers are awaited line by line; a packer keeps them until it has enough.
    let worth_it = SizeAbove::new(limits::COMPRESSED_BYTES_MIN).and(NotForContentType::const_new(NDJSON[0]));
    let packed = Compression::new(RequestDecompression::new(unpacked)).compress_when(worth_it);
    match packed.oneshot(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(never) => match never {},
    }
}

/// For what nobody here can unpack, by name: bytes that are read as something else than they are would be a command that
/// nobody sent.
fn refusal() -> Response {
    let detail = format!("send Content-Encoding: one of {TAKEN}, or none and the body as it is");
    let mut response = Problem::at(Code::UnsupportedMediaType, "Content-Encoding", detail).into_response();
    response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(TAKEN));
    response
}

fn is_taken(headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(CONTENT_ENCODING).into_iter();
    match (given.next(), given.next()) {
        (None, _) => true,
        (Some(one), None) => {
            // The unpacker compares to the letter; so does this.
            one == "identity" || TAKEN.split(", ").any(|taken| one == taken)
        }
        (Some(_), Some(_)) => false,
    }
}
