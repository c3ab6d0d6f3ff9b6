//! What all requests share.

use std::sync::Arc;

use annals_aggregates::access::workspace::Workspace;
use annals_engine::command::{CommandAnswer, CommandRequest};
use annals_engine::owners::{EngineHandle, Link};
use annals_engine::runner;
use annals_model::aggregate::Aggregate as _;
use annals_model::ids::{AggregateId, ContextId, Partition, TenantId, WorkspaceId};
use annals_model::position::ContextPartition;
use annals_schemas::contexts::ACCESS;
use annals_stores::queries::Queries;
use annals_stores::sinks::Store;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::Response;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::{Caller, SigningKey, TokenError};
use crate::batch::turn::Batches;
use crate::command::single;
use crate::consistency::{CONSISTENCY_TOKEN, ConsistencyTokens};
use crate::descriptors;
use crate::gate::{Gate, WorkspaceState};
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
    pub(crate) followers: JoinSet<()>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: EngineHandle,
    pub(crate) key: SigningKey,
    pub(crate) gate: Gate,
    pub(crate) peers: Peers,
    pub(crate) read_models: ReadModels,
    pub(crate) tokens: ConsistencyTokens,
    pub(crate) registry: Registry,
    pub(crate) places: Arc<Places>,
    pub(crate) batches: Batches,
    /// Ends batches and followers.
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
        let shared = Arc::new(Shared {
            gate: Gate::new(options.engine.clone(), peers.clone(), options.key.clone()),
            peers,
            engine: options.engine,
            key: options.key,
            tokens: tokens.clone(),
            read_models: ReadModels::new(tokens, options.queries, options.store, options.read_models),
            registry: Registry::default(),
            batches: Batches::default(),
            places,
            stopping: CancellationToken::new(),
        });
        let mut followers = JoinSet::new();
        for partition in 0..shared.engine.log().partitions(ACCESS) {
            let shared = Arc::clone(&shared);
            followers.spawn(async move {
                shared.gate.follow(Partition(partition), shared.stopping.clone()).await;
            });
        }
        Self { trusted_network: options.trusted_network, connections, shared, followers }
    }
}

impl Shared {
    /// Lets a command through to the engine if its workspace can be worked in.
    pub(crate) async fn admit(&self, request: &CommandRequest, deadline: Instant) -> Result<(), Problem> {
        let (tenant, workspace) = (request.scope.tenant, request.scope.workspace);
        if workspace == WorkspaceId::NIL {
            return Ok(());
        }
        match self.gate.state(tenant, workspace, &request.actor, deadline).await? {
            WorkspaceState::Active => Ok(()),
            // A retry of what was accepted before the workspace was archived still has its answer.
            WorkspaceState::Archived
                if self.engine.operation(tenant, request.operation_id(), deadline).await?.is_some() =>
            {
                Ok(())
            }
            WorkspaceState::Archived => Err(Problem::at(
                Code::WorkspaceArchived,
                "workspace_id",
                format!("workspace {workspace} is archived: nothing in it changes any more; use another one"),
            )),
        }
    }

    /// The way to the owners for a read: with a `Consistency-Token`, none answers that has not come as far as the token, unless
    /// it has proved that it is the owner still.
    pub(crate) fn reader(&self, headers: &HeaderMap) -> Result<EngineHandle, Problem> {
        Ok(match single(headers, CONSISTENCY_TOKEN)? {
            None => self.engine.clone(),
            Some(text) => self.engine.covering(self.tokens.read(text)?),
        })
    }

    /// Executes an admitted command, in its place among those that it may rest on.
    pub(crate) async fn execute(
        &self,
        link: Option<Link>,
        request: CommandRequest,
        deadline: Instant,
    ) -> Result<CommandAnswer, Problem> {
        let tenant = request.scope.tenant;
        let answer = self.engine.execute_in(link, request, deadline).await?;
        self.changed(tenant, answer.context, answer.aggregate_type, answer.aggregate_id);
        Ok(answer)
    }

    /// An aggregate was changed, here or at its owner.
    pub(crate) fn changed(&self, tenant: TenantId, context: ContextId, aggregate_type: &str, id: AggregateId) {
        if context == ACCESS && aggregate_type == Workspace::TYPE {
            // Its event passes by soon; who was answered must not find the old state before it does.
            self.gate.forget(tenant, WorkspaceId(id.0));
        }
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
