//! Requests about a partition that another node owns: handed on to it, and its answer handed back unchanged.
//!
//! One hop: what was handed on says so, and is answered with `not-owner` where it arrives in vain. The node that handed it
//! on then asks again who the owner is, until the request's deadline. Whatever is handed on may be sent twice: commands are
//! answered, not repeated, and everything else only reads.

use std::sync::Arc;
use std::time::Duration;

use annals_engine::owners::{EngineHandle, PartitionState};
use annals_model::position::ContextPartition;
use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use crate::limits;
use crate::places::{Asker, Places, Target};
use crate::problem::{Code, Problem};
use crate::trace::{FORWARDED, REQUEST_TIMEOUT};

mod body;
mod lane;

pub(crate) use self::lane::{Accepted, Lanes, Line};

/// What belongs to one connection, and not to the request. Packed is what the client gets, not what nodes tell each other.
const OF_THE_CONNECTION: [HeaderName; 11] = [
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The other nodes.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    engine: EngineHandle,
    client: Client<HttpConnector, Full<Bytes>>,
    places: Arc<Places>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Handed {
    /// One that has no body.
    pub(crate) fn get(uri: Uri, headers: HeaderMap) -> Self {
        Self { method: Method::GET, uri, headers, body: Bytes::new() }
    }
}

/// What became of a request that is about a partition elsewhere.
pub(crate) enum Relayed {
    /// Its owner answered.
    Answered(Response<Body>),
    /// The partition is served here by now.
    IsHere,
}

impl Peers {
    pub(crate) fn new(engine: EngineHandle, places: Arc<Places>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_millis(limits::PEER_CONNECT_MS)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // Below the time after which the other side closes an idle connection.
            .pool_idle_timeout(Duration::from_millis(limits::PEER_IDLE_MS))
            .pool_max_idle_per_host(limits::PEER_IDLE_CONNECTIONS_MAX)
            .build(connector);
        Self { engine, client, places }
    }

    /// The budgets of this server.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// True where there may be other nodes: this one can be reached by them.
    pub(crate) fn are_there(&self) -> bool {
        !self.engine.identity().address.is_empty()
    }

    /// True if a request about the partition is to be answered here, also where the answer is that it cannot be.
    pub(crate) fn is_here(&self, at: ContextPartition) -> bool {
        !self.are_there() || !matches!(self.engine.state(at), Some(PartitionState::NotOwner))
    }

    /// The same as [`Self::relay`] for a request of its own: it has a place among those that wait, and no other, so that an
    /// owner that is dead or slow takes nothing from what does not need it.
    pub(crate) async fn hand_on(
        &self,
        at: ContextPartition,
        request: &Handed,
        asker: Asker,
        deadline: Instant,
    ) -> Result<Relayed, Problem> {
        if self.is_here(at) {
            return Ok(Relayed::IsHere);
        }
        let _place = self.places.waits.take(asker, Target::Partition(at), deadline).await?;
        self.relay(at, request, deadline).await
    }

    /// Lets the partition's owner answer, whoever that is until the deadline.
    pub(crate) async fn relay(
        &self,
        at: ContextPartition,
        request: &Handed,
        deadline: Instant,
    ) -> Result<Relayed, Problem> {
        loop {
            if self.is_here(at) {
                return Ok(Relayed::IsHere);
            }
            let owner = self.engine.owner(at).filter(|owner| owner.owner != self.engine.identity().id);
            if let Some(owner) = owner {
                match self.send(&owner.address, request, deadline).await {
                    Ok(Some(answer)) => return Ok(Relayed::Answered(answer)),
                    // It says that it is no owner.
                    Ok(None) => {}
                    Err(cause) => tracing::debug!(%at, address = owner.address, cause, "an owner did not answer"),
                }
            }
            let pause = Instant::now() + Duration::from_millis(limits::PEER_RETRY_MS);
            if pause >= deadline {
                return Err(no_owner(at));
            }
            self.engine.owners_heard().await;
            tokio::time::sleep_until(pause).await;
        }
    }

    /// Sends a request to a node; nothing if it says that it does not own the partition.
    async fn send(&self, address: &str, request: &Handed, deadline: Instant) -> Result<Option<Response<Body>>, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        // An owner that was paused does not answer, and another one may own the partition by now.
        let patience = Instant::now() + left.min(Duration::from_millis(limits::PEER_ANSWER_MS));
        let sent = self.client.request(self.outgoing(address, request, left)?);
        let response = match timeout_at(patience, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("no answer in time".to_owned()),
        };
        let (mut parts, body) = response.into_parts();
        OF_THE_CONNECTION
            .iter()
            .filter(|name| **name != CONTENT_LENGTH)
            .for_each(|name| drop(parts.headers.remove(name)));
        if parts.status != StatusCode::SERVICE_UNAVAILABLE {
            let body = body::bounded(body, deadline).await?;
            return Ok(Some(Response::from_parts(parts, body)));
        }
        let refusal = Limited::new(body, limits::PEER_PROBLEM_BYTES_MAX).collect();
        let refusal = timeout_at(patience, refusal).await.map_err(|error| error.to_string())?;
        let refusal = refusal.map_err(|error| error.to_string())?.to_bytes();
        Ok((!is_not_owner(&refusal)).then(|| Response::from_parts(parts, Body::from(refusal))))
    }

    fn outgoing(&self, address: &str, request: &Handed, left: Duration) -> Result<Request<Full<Bytes>>, String> {
        let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut outgoing = Request::new(Full::new(request.body.clone()));
        *outgoing.method_mut() = request.method.clone();
        *outgoing.uri_mut() = format!("http://{address}{target}").parse().map_err(|error| format!("{error}"))?;
        let headers = outgoing.headers_mut();
        *headers = request.headers.clone();
        OF_THE_CONNECTION.iter().for_each(|name| drop(headers.remove(name)));
        let left_ms = format!("{}ms", left.as_millis().max(1));
        headers.insert(REQUEST_TIMEOUT, HeaderValue::try_from(left_ms).map_err(|error| error.to_string())?);
        let by = HeaderValue::try_from(&self.engine.identity().id).map_err(|error| error.to_string())?;
        headers.insert(FORWARDED, by);
        Ok(outgoing)
    }
}

/// Of a refused request, or of one line of a batch.
fn is_not_owner(problem: &[u8]) -> bool {
    let problem: Option<serde_json::Value> = serde_json::from_slice(problem).ok();
    problem.is_some_and(|problem| problem["type"] == Code::NotOwner.urn())
}

fn no_owner(at: ContextPartition) -> Problem {
    let detail = format!(
        "partition {at} has no owner that answers just now; send it again, a command with the same client_request_id"
    );
    Problem::new(Code::NotOwner, detail)
}

/// The whole body of a node's answer.
pub(crate) async fn read_answer(answer: Response<Body>, deadline: Instant) -> Result<Bytes, String> {
    let read = Limited::new(answer.into_body(), limits::PEER_ANSWER_BYTES_MAX).collect();
    let read = timeout_at(deadline, read).await.map_err(|error| error.to_string())?;
    read.map(|read| read.to_bytes()).map_err(|error| error.to_string())
}

/// What a body of lines is said to be.
pub(crate) fn ndjson(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers
}
