//! Does the workspace exist, and is it active? Asked of the access context's owner, remembered for a short while, and
//! forgotten when the workspace's events pass by.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use annals_aggregates::access::workspace::Workspace;
use annals_engine::command::ReadFailure;
use annals_engine::log::{RawBatch, ReadError};
use annals_engine::owners::{AggregateAddress, EngineHandle};
use annals_model::aggregate::Aggregate as _;
use annals_model::avro::DecodeError;
use annals_model::engine_record::Claim;
use annals_model::envelope::Record;
use annals_model::ids::{Actor, AggregateId, Partition, Scope, TenantId, WorkspaceId};
use annals_model::position::{ContextPartition, RecordOffset};
use annals_schemas::contexts::ACCESS;
use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::SigningKey;
use crate::limits;
use crate::peers::{self, Handed, Peers, Relayed};
use crate::places::{Asker, Target};
use crate::problem::{Code, Problem};

/// Whether a workspace may be worked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkspaceState {
    /// It exists and is not archived.
    Active,
    /// It is closed for good: its things can be read, and nothing changes.
    Archived,
}

impl WorkspaceState {
    /// From a workspace as clients see it. A state that does not say whether it is archived is none to work in.
    fn of(state: &Value) -> Self {
        if state["archived"].as_bool().unwrap_or(true) { Self::Archived } else { Self::Active }
    }
}

/// What another node says of a workspace.
async fn read_state(answer: Response<Body>, deadline: Instant) -> Result<Option<WorkspaceState>, Problem> {
    let status = answer.status();
    let read = peers::read_answer(answer, deadline).await;
    let body: Option<Value> = read.ok().and_then(|body| serde_json::from_slice(&body).ok());
    match (status, body) {
        (StatusCode::OK, Some(body)) => Ok(Some(WorkspaceState::of(&body["state"]))),
        (StatusCode::NOT_FOUND, _) => Ok(None),
        (status, _) => {
            let detail = format!("another node answered {status} for the workspace; nothing was done, send it again");
            Err(Problem::new(Code::Overloaded, detail))
        }
    }
}

/// Knows the state of workspaces.
#[derive(Debug)]
pub(crate) struct Gate {
    engine: EngineHandle,
    peers: Peers,
    /// Signs this node's own questions to other nodes.
    key: SigningKey,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    workspaces: HashMap<(TenantId, WorkspaceId), (WorkspaceState, Instant)>,
    /// Counts what was forgotten: what was read before something was forgotten is not remembered.
    forgotten: u64,
    /// Partitions whose events are not seen now. While there is one, nothing is remembered.
    unseen: BTreeSet<Partition>,
}

impl Gate {
    /// Remembers nothing until [`Gate::follow`] sees the events of every partition.
    pub(crate) fn new(engine: EngineHandle, peers: Peers, key: SigningKey) -> Self {
        let unseen = (0..engine.log().partitions(ACCESS)).map(Partition).collect();
        Self { engine, peers, key, known: Mutex::new(Known { unseen, ..Known::default() }) }
    }

    /// The state of a tenant's workspace; a problem if the tenant has no such workspace.
    pub(crate) async fn state(
        &self,
        tenant: TenantId,
        workspace: WorkspaceId,
        actor: &Actor,
        deadline: Instant,
    ) -> Result<WorkspaceState, Problem> {
        let forgotten = {
            let known = self.known();
            match known.workspaces.get(&(tenant, workspace)) {
                Some((state, until)) if *until > Instant::now() => return Ok(*state),
                Some(_) | None => known.forgotten,
            }
        };
        let asker = Asker::of(tenant, actor);
        let state = self.ask(tenant, workspace, asker, deadline).await?.ok_or_else(|| {
            let detail =
                format!("there is no workspace {workspace}; create it first, or check the id and your token's tenant");
            Problem::at(Code::WorkspaceNotFound, "workspace_id", detail)
        })?;
        self.known().remember((tenant, workspace), state, forgotten);
        Ok(state)
    }

    async fn ask(
        &self,
        tenant: TenantId,
        workspace: WorkspaceId,
        asker: Asker,
        deadline: Instant,
    ) -> Result<Option<WorkspaceState>, Problem> {
        let (scope, id) = (Scope::of_tenant(tenant), AggregateId(workspace.0));
        let at = self.engine.partition_of(ACCESS, scope.slot());
        loop {
            if self.peers.is_here(at) {
                let address = AggregateAddress { context: ACCESS, aggregate_type: Workspace::TYPE, scope, id };
                let _place = self.peers.places().reads.take(asker, Target::Partition(at), deadline).await?;
                match self.engine.aggregate(address, deadline).await {
                    Err(ReadFailure::NotOwner(_)) if self.peers.are_there() && Instant::now() < deadline => {}
                    view => return Ok(view?.map(|view| WorkspaceState::of(&view.state))),
                }
            }
            if let Relayed::Answered(answer) =
                self.peers.hand_on(at, &self.question(tenant, workspace)?, asker, deadline).await?
            {
                return read_state(answer, deadline).await;
            }
        }
    }

    /// As a client would ask for the workspace, in this node's own name.
    fn question(&self, tenant: TenantId, workspace: WorkspaceId) -> Result<Handed, Problem> {
        let unsigned = |error: String| Problem::new(Code::Internal, error);
        let life = Duration::from_secs(limits::NODE_TOKEN_S);
        let token = self.key.mint(tenant, &Actor::Service("annals-api".into()), &[], life);
        let bearer = format!("Bearer {}", token.map_err(|error| unsigned(error.to_string()))?);
        let bearer = HeaderValue::try_from(bearer).map_err(|error| unsigned(error.to_string()))?;
        let uri = format!("/v1/aggregates/{ACCESS}.{}/{workspace}", Workspace::TYPE);
        let uri = uri.parse().map_err(|error: axum::http::uri::InvalidUri| unsigned(error.to_string()))?;
        Ok(Handed::get(uri, HeaderMap::from_iter([(AUTHORIZATION, bearer)])))
    }

    /// Forgets a workspace, because it changes.
    pub(crate) fn forget(&self, tenant: TenantId, workspace: WorkspaceId) {
        let mut known = self.known();
        known.forgotten += 1;
        known.workspaces.remove(&(tenant, workspace));
    }

    /// Forgets workspaces as their events pass by, until told to stop. One task per partition of the access context.
    pub(crate) async fn follow(&self, partition: Partition, stop: CancellationToken) {
        let at = ContextPartition { context: ACCESS, partition };
        let mut is_told = false;
        loop {
            let Some(failure) = stop.run_until_cancelled(self.follow_once(at)).await else { return };
            let Err(failure) = failure;
            // Once for as long as it lasts: whoever got as far as to see the events is told of the next time.
            is_told &= !self.known().unseen.contains(&partition);
            let is_new = !std::mem::replace(&mut is_told, true);
            match is_new {
                true => {
                    tracing::warn!(%at, error = %failure, "workspaces are not remembered until their events can be read")
                }
                false => tracing::debug!(%at, error = %failure, "workspaces are still not remembered"),
            }
            self.known().lose_sight_of(partition);
            let pause = Duration::from_millis(limits::FOLLOW_RETRY_MS);
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Raw records are enough: a void or repeated one makes a workspace be asked about once more, and no harm.
    async fn follow_once(&self, at: ContextPartition) -> Result<std::convert::Infallible, FollowError> {
        let log = self.engine.log();
        let mut reader = log.reader(at, log.end(at).await?).await?;
        self.known().unseen.remove(&at.partition);
        let mut batch = RawBatch::default();
        loop {
            reader.next(&mut batch).await?;
            for (offset, bytes) in batch.iter() {
                if let Some((tenant, workspace)) = changed_workspace(offset, bytes)? {
                    self.forget(tenant, workspace);
                }
            }
            if batch.is_empty() {
                reader.wait().await?;
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing between lock and unlock leaves the map half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The workspace that a record changes, if it changes one.
fn changed_workspace(offset: RecordOffset, bytes: &[u8]) -> Result<Option<(TenantId, WorkspaceId)>, DecodeError> {
    // A claim is no record of the domain: it has no envelope.
    if Claim::decode(bytes)?.is_some() {
        return Ok(None);
    }
    let envelope = Record::decode(offset, bytes)?.envelope;
    let workspace = (envelope.tenant_id, WorkspaceId(envelope.aggregate_id.0));
    Ok((envelope.aggregate_type == Workspace::TYPE).then_some(workspace))
}

impl Known {
    fn remember(&mut self, workspace: (TenantId, WorkspaceId), state: WorkspaceState, forgotten: u64) {
        if self.forgotten != forgotten || !self.unseen.is_empty() {
            return;
        }
        if self.workspaces.len() >= limits::WORKSPACES_CACHED_MAX {
            let now = Instant::now();
            self.workspaces.retain(|_, (_, until)| *until > now);
        }
        if self.workspaces.len() >= limits::WORKSPACES_CACHED_MAX {
            self.workspaces.clear();
        }
        let until = Instant::now() + Duration::from_millis(limits::WORKSPACE_CACHED_MS);
        self.workspaces.insert(workspace, (state, until));
    }

    fn lose_sight_of(&mut self, partition: Partition) {
        self.unseen.insert(partition);
        self.forgotten += 1;
        self.workspaces.clear();
    }
}

/// Why the access context's events cannot be followed now: try again.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("a record cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
}

#[cfg(test)]
mod tests;
