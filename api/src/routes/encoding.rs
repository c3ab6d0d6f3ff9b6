//! Bodies that travel compressed. What a request packs is unpacked before anybody reads it, so that every bound of a body
//! holds for what was unpacked; answers are packed for those who ask.

use axum::Router;
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};
use tower_http::decompression::RequestDecompressionLayer;

use super::command::NDJSON;
use crate::limits;
use crate::problem::{Code, Problem};

/// What a body may be packed with.
const TAKEN: &str = "gzip, zstd";

/// Around everything that reads a body or answers with one.
pub(super) fn layer<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    // A batch's answers are awaited line by line; a packer keeps them until it has enough.
    let worth_it = SizeAbove::new(limits::COMPRESSED_BYTES_MIN).and(NotForContentType::const_new(NDJSON[0]));
    router
        .layer(CompressionLayer::new().compress_when(worth_it))
        .layer(RequestDecompressionLayer::new())
        .layer(middleware::from_fn(refuse_unknown))
}

/// Refuses what nobody here can unpack, by name: bytes that are read as something else than they are would be a command
/// that nobody sent.
async fn refuse_unknown(request: Request, next: Next) -> Response {
    if is_taken(request.headers()) {
        return next.run(request).await;
    }
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
