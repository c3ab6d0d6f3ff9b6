//! What all requests share.

use std::sync::Arc;

use annals_aggregates::access::workspace::Workspace;
use annals_engine::command::{CommandAnswer, CommandRequest};
use annals_engine::engine::EngineHandle;
use annals_engine::runner;
use annals_model::aggregate::Aggregate as _;
use annals_model::ids::{Partition, WorkspaceId};
use annals_projectors::queries::Queries;
use annals_projectors::sinks::Store;
use annals_schemas::contexts::ACCESS;
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::{Caller, SigningKey, TokenError};
use crate::gate::{Gate, WorkspaceState};
use crate::limits;
use crate::problem::{Code, Problem};
use crate::read_models::ReadModels;
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
}

/// The HTTP surface; [`crate::serve`] runs it.
#[derive(Debug)]
pub struct Api {
    pub(crate) shared: Arc<Shared>,
    pub(crate) followers: JoinSet<()>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: EngineHandle,
    pub(crate) key: SigningKey,
    pub(crate) gate: Gate,
    pub(crate) read_models: ReadModels,
    pub(crate) requests: Semaphore,
    pub(crate) batches: Arc<Semaphore>,
    /// Ends batches and followers.
    pub(crate) stopping: CancellationToken,
}

impl Api {
    /// Starts what runs beside the requests; needs a tokio runtime.
    pub fn new(options: ApiOptions) -> Self {
        let shared = Arc::new(Shared {
            gate: Gate::new(options.engine.clone()),
            engine: options.engine,
            key: options.key,
            read_models: ReadModels::new(options.queries, options.store, options.read_models),
            requests: Semaphore::new(limits::REQUESTS_MAX),
            batches: Arc::new(Semaphore::new(limits::BATCHES_MAX)),
            stopping: CancellationToken::new(),
        });
        let mut followers = JoinSet::new();
        for partition in 0..shared.engine.log().partitions(ACCESS) {
            let shared = Arc::clone(&shared);
            followers.spawn(async move {
                shared.gate.follow(Partition(partition), shared.stopping.clone()).await;
            });
        }
        Self { shared, followers }
    }
}

impl Shared {
    /// Lets a command through to the engine if its workspace can be worked in.
    pub(crate) async fn admit(&self, request: &CommandRequest, deadline: Instant) -> Result<(), Problem> {
        let (tenant, workspace) = (request.scope.tenant, request.scope.workspace);
        if workspace == WorkspaceId::NIL {
            return Ok(());
        }
        match self.gate.state(tenant, workspace, deadline).await? {
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

    /// Executes an admitted command.
    pub(crate) async fn execute(&self, request: CommandRequest, deadline: Instant) -> Result<CommandAnswer, Problem> {
        let tenant = request.scope.tenant;
        let answer = self.engine.execute(request, deadline).await?;
        if answer.context == ACCESS && answer.aggregate_type == Workspace::TYPE {
            // Its event passes by soon; who was answered must not find the old state before it does.
            self.gate.forget(tenant, WorkspaceId(answer.aggregate_id.0));
        }
        Ok(answer)
    }
}

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let header = parts.headers.get(AUTHORIZATION).ok_or(TokenError::Missing)?;
        let (scheme, token) = header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(TokenError::Missing)?;
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
