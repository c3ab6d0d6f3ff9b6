//! What all requests share.

use std::sync::{Arc, Weak};

use annals_engine::command::CommandRequest;
use annals_engine::owners::EngineHandle;
use annals_engine::runner;
use annals_model::position::ContextPartition;
use annals_stores::queries::Queries;
use annals_stores::sinks::Store;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::Response;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::{Caller, SigningKey, TokenError};
use crate::batch::turn::Batches;
use crate::command::single;
use crate::consistency::{CONSISTENCY_TOKEN, ConsistencyTokens};
use crate::descriptors;
use crate::owners::Owners;
use crate::peers::{Handed, Peers, Relayed};
use crate::places::{Asker, Places};
use crate::problem::{Code, Problem};
use crate::read_models::ReadModels;
use crate::registry::Registry;
use crate::trace::Meta;

/// What the HTTP surface is built on.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Executes commands and knows aggregates.
    pub engine: EngineHandle,
    /// Checks tokens.
    pub key: SigningKey,
    /// What can be asked.
    pub queries: Queries,
    /// What it is answered from.
    pub store: Store,
    /// Keeps that current, and knows what is live.
    pub read_models: Arc<runner::ReadModels>,
    /// Lets it listen on other addresses than loopback.
    pub trusted_network: bool,
}

/// The HTTP surface; [`crate::serve`] runs it.
#[derive(Debug)]
pub struct Api {
    pub(crate) trusted_network: bool,
    pub(crate) connections: usize,
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: EngineHandle,
    pub(crate) key: SigningKey,
    /// Asked by the engine.
    _owners: Arc<Owners>,
    pub(crate) peers: Peers,
    pub(crate) read_models: ReadModels,
    pub(crate) tokens: ConsistencyTokens,
    pub(crate) registry: Registry,
    pub(crate) places: Arc<Places>,
    pub(crate) batches: Batches,
    /// Ends batches.
    pub(crate) stopping: CancellationToken,
}

impl Api {
    /// Starts what runs beside the requests; needs a tokio runtime. For as many connections as the process's open files
    /// allow, at most [`limits::CONNECTIONS_MAX`](crate::limits::CONNECTIONS_MAX).
    pub fn new(options: ApiOptions) -> Self {
        Self::for_connections(options, descriptors::connections())
    }

    /// The same for so many connections.
    pub fn for_connections(options: ApiOptions, connections: usize) -> Self {
        let places = Arc::new(Places::new(connections));
        let peers = Peers::new(options.engine.clone(), Arc::clone(&places));
        let tokens = ConsistencyTokens::new(options.queries.key(), options.engine.log().id());
        let owners = Arc::new(Owners::new(options.engine.clone(), peers.clone(), options.key.clone()));
        let asking: Weak<Owners> = Arc::downgrade(&owners);
        options.engine.ask_owners_with(asking);
        let shared = Arc::new(Shared {
            _owners: owners,
            peers,
            registry: Registry::new(options.engine.schemas()),
            engine: options.engine,
            key: options.key,
            tokens: tokens.clone(),
            read_models: ReadModels::new(tokens, options.queries, options.store, options.read_models),
            batches: Batches::default(),
            places,
            stopping: CancellationToken::new(),
        });
        Self { trusted_network: options.trusted_network, connections, shared }
    }
}

impl Shared {
    /// The way to the owners for a read: with a `Consistency-Token`, none answers that has not come as far as the token, unless
    /// it has proved that it is the owner still.
    pub(crate) fn reader(&self, headers: &HeaderMap) -> Result<EngineHandle, Problem> {
        Ok(match single(headers, CONSISTENCY_TOKEN)? {
            None => self.engine.clone(),
            Some(text) => self.engine.covering(self.tokens.read(text)?),
        })
    }

    /// The partition that decides a command.
    pub(crate) fn partition_of(&self, request: &CommandRequest) -> ContextPartition {
        self.engine.partition_of(request.context, request.scope.slot())
    }

    /// Lets a request about a partition be answered by `here`, or by the partition's owner wherever that is. The
    /// partition may come and go meanwhile, so `here` may be asked more than once.
    pub(crate) async fn at_owner<F>(
        &self,
        at: ContextPartition,
        meta: &Meta,
        asker: Asker,
        deadline: Instant,
        handed: impl FnOnce() -> Handed,
        here: impl Fn() -> F,
    ) -> Result<Response, Problem>
    where
        F: Future<Output = Result<Response, Problem>>,
    {
        if meta.forwarded || !self.peers.are_there() {
            return here().await;
        }
        let handed = handed();
        loop {
            if self.peers.is_here(at) {
                match here().await {
                    Err(problem) if problem.code() == Code::NotOwner => {}
                    answered => return answered,
                }
            }
            match self.peers.hand_on(at, &handed, asker, deadline).await? {
                Relayed::Answered(answer) => return Ok(answer),
                // A refusal above may have been the last of a partition that is claimed again.
                Relayed::IsHere if Instant::now() < deadline => {}
                Relayed::IsHere => return here().await,
            }
        }
    }
}

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        // Two of them: a proxy in front may have looked at the other one.
        let header = single(&parts.headers, AUTHORIZATION.as_str())?.ok_or(TokenError::Missing)?;
        let (scheme, token) = header.split_once(' ').ok_or(TokenError::Missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(TokenError::Missing.into());
        }
        Ok(shared.key.verify(token.trim())?)
    }
}

impl FromRequestParts<Arc<Shared>> for Meta {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Shared>) -> Result<Self, Problem> {
        let missing = || Problem::new(Code::Internal, "the request has no deadline");
        parts.extensions.get().cloned().ok_or_else(missing)
    }
}
