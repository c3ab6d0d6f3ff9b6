//! May the workspace be worked in? Asked before a command reaches its owner, whoever sends it; remembered for a short while,
//! and forgotten when what the workspace says of itself changes.

use std::convert::Infallible;
use std::sync::Weak;
use std::time::Duration;

use annals_model::application::{Admission, Standing};
use annals_model::avro::DecodeError;
use annals_model::engine_record::Claim;
use annals_model::envelope::Record;
use annals_model::ids::{Actor, AggregateId, ContextId, Partition, Scope, TenantId, WorkspaceId};
use annals_model::position::{ContextPartition, RecordOffset};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::gate::{Admitted, AskOwners, Gate};
use super::handle::EngineHandle;
use super::state::AggregateAddress;
use crate::command::{CommandRequest, NotAdmitted};
use crate::limits;
use crate::log::{RawBatch, ReadError};

impl EngineHandle {
    /// Lets workspaces be asked about at owners in other processes. The first one counts.
    pub fn ask_owners_with(&self, elsewhere: Weak<dyn AskOwners>) {
        if let Some(gate) = &self.shared.gate {
            let _ = gate.elsewhere.set(elsewhere);
        }
    }

    /// The standing of a tenant's workspace; where the application knows no rule for them, every one is open.
    pub async fn standing(
        &self,
        tenant: TenantId,
        workspace: WorkspaceId,
        actor: &Actor,
        deadline: Instant,
    ) -> Result<Standing, NotAdmitted> {
        let Some(gate) = &self.shared.gate else { return Ok(Standing::Open) };
        let forgotten = {
            let known = gate.known();
            match known.standing((tenant, workspace)) {
                Some(standing) => return Ok(standing),
                None => known.forgotten,
            }
        };
        let state = self.ask(gate, (tenant, workspace), actor, deadline).await?;
        let standing = (gate.rule.standing)(&state.ok_or(NotAdmitted::NoWorkspace(workspace))?);
        gate.known().remember((tenant, workspace), standing, forgotten);
        Ok(standing)
    }

    /// What a workspace says of itself, as clients see it; nothing if it is not there.
    async fn ask(
        &self,
        gate: &Gate,
        (tenant, workspace): (TenantId, WorkspaceId),
        actor: &Actor,
        deadline: Instant,
    ) -> Result<Option<Value>, NotAdmitted> {
        let Admission { context, aggregate_type, .. } = gate.rule;
        let scope = Scope::of_tenant(tenant);
        let of = AggregateAddress { context, aggregate_type, scope, id: AggregateId(workspace.0) };
        match gate.elsewhere.get().and_then(Weak::upgrade) {
            Some(elsewhere) => elsewhere.state(of, actor, deadline).await,
            None => {
                let view = self.aggregate(of, deadline).await.map_err(NotAdmitted::unasked)?;
                Ok(view.map(|view| view.state))
            }
        }
    }

    /// Lets a command through to its owner if its workspace may be worked in.
    pub async fn admit(&self, request: CommandRequest, deadline: Instant) -> Result<Admitted, NotAdmitted> {
        let (tenant, workspace) = (request.scope.tenant, request.scope.workspace);
        if workspace == WorkspaceId::NIL {
            return Ok(Admitted(request));
        }
        match self.standing(tenant, workspace, &request.actor, deadline).await? {
            Standing::Open => Ok(Admitted(request)),
            // A retry of what was accepted before the workspace was closed still has its answer.
            Standing::Closed => match self.operation(tenant, request.operation_id(), deadline).await {
                Ok(Some(_)) => Ok(Admitted(request)),
                Ok(None) => Err(NotAdmitted::Closed(workspace)),
                Err(failure) => Err(NotAdmitted::unasked(failure)),
            },
        }
    }

    /// An aggregate was changed, here or by its owner elsewhere: its event passes by soon, and who was answered must not
    /// find the old standing before it does.
    pub fn changed(&self, tenant: TenantId, context: ContextId, aggregate_type: &str, id: AggregateId) {
        if let Some(gate) = &self.shared.gate
            && let Some(workspace) = gate.workspace_of(context, aggregate_type, id)
        {
            gate.known().forget(tenant, workspace);
        }
    }
}

/// Forgets workspaces as their events pass by, until the engine stops. One task per partition of the rule's context.
pub(super) async fn follow(engine: EngineHandle, partition: Partition, mut stopping: watch::Receiver<bool>) {
    let Some(gate) = &engine.shared.gate else { return };
    let at = ContextPartition { context: gate.rule.context, partition };
    let mut is_told = false;
    loop {
        let Err(failure) = tokio::select! {
            followed = follow_once(&engine, gate, at) => followed,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        // Once for as long as it lasts: whoever got as far as to see the events is told of the next time.
        is_told &= !gate.known().unseen.contains(&partition);
        match std::mem::replace(&mut is_told, true) {
            false => {
                tracing::warn!(%at, error = %failure, "workspaces are not remembered until their events can be read")
            }
            true => tracing::debug!(%at, error = %failure, "workspaces are still not remembered"),
        }
        gate.known().lose_sight_of(partition);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(limits::ADMISSION_RETRY_MS)) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// Raw records are enough: a void or repeated one makes a workspace be asked about once more, and no harm.
async fn follow_once(engine: &EngineHandle, gate: &Gate, at: ContextPartition) -> Result<Infallible, FollowError> {
    let log = engine.log();
    let mut reader = log.reader(at, log.end(at).await?).await?;
    gate.known().unseen.remove(&at.partition);
    let mut batch = RawBatch::default();
    loop {
        reader.next(&mut batch).await?;
        for (offset, bytes) in batch.iter() {
            if let Some((tenant, id)) = changed_aggregate(gate.rule.aggregate_type, offset, bytes)? {
                gate.known().forget(tenant, WorkspaceId(id.0));
            }
        }
        if batch.is_empty() {
            reader.wait().await?;
        }
    }
}

/// The aggregate of this type that a record changes, if it changes one.
fn changed_aggregate(
    aggregate_type: &str,
    offset: RecordOffset,
    bytes: &[u8],
) -> Result<Option<(TenantId, AggregateId)>, DecodeError> {
    // A claim is no record of the domain: it has no envelope.
    if Claim::decode(bytes)?.is_some() {
        return Ok(None);
    }
    let envelope = Record::decode(offset, bytes)?.envelope;
    Ok((envelope.aggregate_type == aggregate_type).then_some((envelope.tenant_id, envelope.aggregate_id)))
}

/// Why the events that tell of workspaces cannot be followed now: try again.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("a record cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
}

#[cfg(test)]
mod tests {
    use annals_model::position::Offset;

    use super::*;
    use crate::log::EventLog as _;
    use crate::log::memory::MemoryLog;

    #[tokio::test]
    async fn a_claim_changes_no_workspace_and_blinds_nobody() {
        let context = ContextId { number: 2, name: "places" };
        let (log, at) = (MemoryLog::new(&[context]), ContextPartition { context, partition: Partition(0) });
        log.claim_by_rival(at);
        let mut batch = RawBatch::default();
        log.reader(at, Offset::START).await.unwrap().next(&mut batch).await.unwrap();
        let (offset, bytes) = batch.iter().next().unwrap();
        assert_eq!(changed_aggregate("place", offset, bytes), Ok(None));
        assert!(changed_aggregate("place", offset, &bytes[..bytes.len() - 1]).is_err());
    }
}
