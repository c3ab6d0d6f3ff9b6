//! The body of another node's answer: waited for no longer than its head.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::limits;

/// A body of which nothing is told before it is whole, or large: a node that hangs in the middle of an answer has not
/// answered, and another one can still be asked. What is large goes on to the client as it comes.
pub(super) async fn bounded(mut body: Incoming, deadline: Instant) -> Result<Body, String> {
    let (mut pieces, mut bytes) = (Vec::new(), 0);
    while bytes < limits::PEER_ANSWER_WHOLE_BYTES {
        match next(&mut body, deadline).await? {
            Some(piece) => {
                bytes += piece.len();
                pieces.push(piece);
            }
            None => {
                return Ok(match pieces.pop() {
                    Some(only) if pieces.is_empty() => Body::from(only),
                    last => Body::from(pieces.into_iter().chain(last).collect::<Vec<_>>().concat()),
                });
            }
        }
    }
    let begun = stream::iter(pieces.into_iter().map(Ok::<_, String>));
    // However long its client takes for it: that is no matter of the other node.
    let rest = stream::try_unfold(body, |mut body| async {
        let longest = Instant::now() + Duration::from_millis(limits::PEER_ANSWER_MS);
        Ok(next(&mut body, longest).await?.map(|piece| (piece, body)))
    });
    Ok(Body::from_stream(begun.chain(rest)))
}

/// The next piece; nothing at the end.
async fn next(body: &mut Incoming, deadline: Instant) -> Result<Option<Bytes>, String> {
    let until = deadline.min(Instant::now() + Duration::from_millis(limits::PEER_ANSWER_MS));
    loop {
        let frame = timeout_at(until, body.frame()).await;
        let Some(frame) = frame.map_err(|_| "it began to answer and went silent")? else { return Ok(None) };
        // What is no data says nothing that is needed here.
        if let Ok(piece) = frame.map_err(|error| error.to_string())?.into_data() {
            return Ok(Some(piece));
        }
    }
}
