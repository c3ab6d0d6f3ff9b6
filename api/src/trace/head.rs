//! What HTTP itself asks of a request's head, and hyper leaves to us.

use axum::extract::Request;
use axum::http::header::{HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Version};

use crate::limits;
use crate::problem::{Code, Problem};

/// Refuses a head that is too large, and one that two readers could understand in two ways (RFC 9112).
pub(super) fn check(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let lines: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if lines + target > limits::HEAD_BYTES_MAX {
        let detail = format!("the head has more than {} bytes; send fewer or shorter headers", limits::HEAD_BYTES_MAX);
        return Err(Problem::new(Code::HeadTooLarge, detail));
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next(), request.version()) {
        (_, Some(_), _) => {
            return Err(Problem::at(Code::InvalidHeader, "Host", "Host is there more than once; send it once"));
        }
        (None, _, Version::HTTP_11) => {
            return Err(Problem::at(Code::InvalidHeader, "Host", "Host is missing; send it"));
        }
        _ => {}
    }
    transfer_coding(headers)
}

/// A body is sent in chunks or as it is. Whoever takes any other coding for none reads another body.
fn transfer_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let values = headers.get_all(TRANSFER_ENCODING).iter();
    let codings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let mut chunked = 0;
    for coding in codings.filter(|coding| !coding.is_empty()) {
        if !coding.eq_ignore_ascii_case(b"chunked") {
            let detail =
                "the body has a transfer coding that is not known here; send it chunked, or with Content-Length";
            return Err(Problem::at(Code::UnknownTransferCoding, "Transfer-Encoding", detail));
        }
        chunked += 1;
    }
    if chunked > 1 {
        return Err(Problem::at(Code::InvalidHeader, "Transfer-Encoding", "a body is chunked once; send it so"));
    }
    Ok(())
}
