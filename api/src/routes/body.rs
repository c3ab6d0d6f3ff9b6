//! A request's body: of the right type, in time, and not too large.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::Instant;

use crate::limits;
use crate::places::{Asker, Place, Pool, Target};
use crate::problem::{Code, Problem};

/// Refuses a body of another content type than these, or in another character set than UTF-8.
pub(super) fn require_type(headers: &HeaderMap, accepted: &[&str]) -> Result<(), Problem> {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let utf8 = parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
        !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    if utf8 && accepted.iter().any(|accepted| accepted.eq_ignore_ascii_case(essence)) {
        return Ok(());
    }
    let detail = format!("send Content-Type: {} in UTF-8", accepted[0]);
    Err(Problem::at(Code::UnsupportedMediaType, "Content-Type", detail))
}

/// The whole body of one command.
#[derive(Debug)]
pub(super) struct CommandBody {
    pub(super) bytes: Bytes,
    /// Of one that is large, until its command is answered.
    _place: Option<Place>,
}

/// Reads the whole body of one command. What does not come with its head is waited for in a place for bodies, so that slow
/// senders take no place where work is done, and not each other's either.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    places: &Arc<Pool>,
    asker: Asker,
    deadline: Instant,
) -> Result<CommandBody, Problem> {
    let too_large = || {
        let detail = format!("the body has more than {} bytes; a command must be smaller", limits::BODY_BYTES_MAX);
        Problem::new(Code::TooLarge, detail)
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limits::BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let bytes_max = announced.map_or(limits::BODY_BYTES_MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let mut read = pin!(Limited::new(body, limits::BODY_BYTES_MAX).collect());
    let small = bytes_max <= limits::BODY_PLACE_BYTES;
    let at_once = if small { read.as_mut().now_or_never() } else { None };
    let (read, place) = match at_once {
        Some(read) => (Ok(read), None),
        None => {
            let wanted = bytes_max.div_ceil(limits::BODY_PLACE_BYTES).max(1);
            let place = places.take_many(wanted, asker, Target::Any, deadline).await?;
            let read = tokio::time::timeout(Duration::from_millis(limits::BODY_READ_MS), read).await;
            (read, Some(place).filter(|_| !small))
        }
    };
    match read {
        Ok(Ok(body)) => Ok(CommandBody { bytes: body.to_bytes(), _place: place }),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Problem::new(Code::MalformedJson, format!("the body broke off: {error}; send it again"))),
        Err(_) => Err(Problem::new(Code::BodyTimeout, "send the body faster, or in smaller commands")),
    }
}
