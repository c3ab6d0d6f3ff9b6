//! What an aggregate says of itself, asked of its owner in whichever process that is: in this node's own name.

use std::time::Duration;

use annals_engine::command::{NotAdmitted, ReadFailure};
use annals_engine::owners::{AggregateAddress, AskOwners, EngineHandle};
use annals_model::ids::Actor;
use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::time::Instant;

use crate::auth::SigningKey;
use crate::limits;
use crate::peers::{self, Handed, Peers, Relayed};
use crate::places::{Asker, Target};
use crate::problem::{Code, Problem};

/// Asks owners, here or elsewhere.
#[derive(Debug)]
pub(crate) struct Owners {
    engine: EngineHandle,
    peers: Peers,
    /// Signs this node's own questions to other nodes.
    key: SigningKey,
}

impl Owners {
    pub(crate) fn new(engine: EngineHandle, peers: Peers, key: SigningKey) -> Self {
        Self { engine, peers, key }
    }

    async fn ask(&self, of: AggregateAddress<'_>, asker: Asker, deadline: Instant) -> Result<Option<Value>, Problem> {
        let at = self.engine.partition_of(of.context, of.scope.slot());
        loop {
            if self.peers.is_here(at) {
                let _place = self.peers.places().reads.take(asker, Target::Partition(at), deadline).await?;
                match self.engine.aggregate(of, deadline).await {
                    Err(ReadFailure::NotOwner(_)) if self.peers.are_there() && Instant::now() < deadline => {}
                    view => return Ok(view?.map(|view| view.state)),
                }
            }
            if let Relayed::Answered(answer) = self.peers.hand_on(at, &self.question(of)?, asker, deadline).await? {
                return read_state(answer, deadline).await;
            }
        }
    }

    /// As a client would ask for the aggregate.
    fn question(&self, of: AggregateAddress<'_>) -> Result<Handed, Problem> {
        let unsigned = |error: String| Problem::new(Code::Internal, error);
        let life = Duration::from_secs(limits::NODE_TOKEN_S);
        let token = self.key.mint(of.scope.tenant, &Actor::Service("annals-api".into()), &[], life);
        let bearer = format!("Bearer {}", token.map_err(|error| unsigned(error.to_string()))?);
        let bearer = HeaderValue::try_from(bearer).map_err(|error| unsigned(error.to_string()))?;
        let uri = format!("/v1/aggregates/{}.{}/{}", of.context, of.aggregate_type, of.id);
        let uri = uri.parse().map_err(|error: axum::http::uri::InvalidUri| unsigned(error.to_string()))?;
        Ok(Handed::get(uri, HeaderMap::from_iter([(AUTHORIZATION, bearer)])))
    }
}

impl AskOwners for Owners {
    fn state<'a>(
        &'a self,
        of: AggregateAddress<'a>,
        actor: &'a Actor,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<Value>, NotAdmitted>> {
        let asker = Asker::of(of.scope.tenant, actor);
        async move { self.ask(of, asker, deadline).await.map_err(NotAdmitted::unasked) }.boxed()
    }
}

/// What another node says of an aggregate.
async fn read_state(answer: Response<Body>, deadline: Instant) -> Result<Option<Value>, Problem> {
    let status = answer.status();
    let read = peers::read_answer(answer, deadline).await;
    let body: Option<Value> = read.ok().and_then(|body| serde_json::from_slice(&body).ok());
    match (status, body) {
        (StatusCode::OK, Some(mut body)) => Ok(Some(body["state"].take())),
        (StatusCode::NOT_FOUND, _) => Ok(None),
        (status, _) => {
            let detail = format!("another node answered {status} for the workspace; nothing was done, send it again");
            Err(Problem::new(Code::Overloaded, detail))
        }
    }
}
