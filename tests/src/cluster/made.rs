//! A history that is large before anything happens: applications that were registered long ago, put into the log in bulk
//! and folded once, as a rebuild does. So a cluster can begin with as many rows as a year of work leaves, within seconds.

use annals_platform::application;
use std::collections::BTreeMap;
use std::sync::Arc;

use annals_engine::log::{AppendBatch, AppendOutcome, EventLog, Owner};
use annals_engine::rebuild::control::Control;
use annals_engine::rebuild::fold::FoldOptions;
use annals_engine::rebuild::rebuild;
use annals_model::envelope::{ActorRef, Envelope, Extensions, Fingerprint, RequestRef, put_frame};
use annals_model::event::EventSet as _;
use annals_model::ids::{
    AggregateId, ClientRequestId, CommitIndex, OperationId, Partition, Scope, TenantId, UserId, WorkspaceId,
};
use annals_model::position::{ClaimEpoch, ContextPartition, Offset, Ordinal, Sequence};
use annals_model::read_model::newest;
use annals_model::time::Timestamp;
use annals_projectors::deployment::Access;
use annals_schemas::contexts::PORTFOLIO;
use annals_schemas::portfolio::application::{Criticality, Event, Registered};
use anyhow::{Context as _, bail, ensure};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::recorded::Mark;
use super::world::World;
use crate::limits;

/// The read model that becomes large.
const READ_MODEL: &str = "portfolio";
/// When the first of it was recorded, microseconds: before anything that a cluster does now.
const BEGAN_US: i64 = 1_735_689_600_000_000;

/// What was made.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// Where it ends, by context and partition.
    pub marks: BTreeMap<(u8, u16), Mark>,
    /// Rows of it in the live generation.
    pub rows: u64,
}

/// Puts so many registrations into the log of a world whose processes are not started, and builds the live generation of
/// the read model from them. Their workspaces are nobody's who works on the cluster.
pub async fn make(world: &World, tenant: TenantId, rows: u64) -> anyhow::Result<Made> {
    let deployment = world.deployment()?;
    let log = deployment.open_log(&application(), Access::Serve).await?.shared();
    let partitions = log.partitions(PORTFOLIO);
    let mut filling = JoinSet::new();
    for number in 0..partitions {
        let (log, share) = (Arc::clone(&log), rows / u64::from(partitions));
        filling.spawn(async move { fill(&*log, Partition(number), tenant, share).await });
    }
    let mut made = Made::default();
    while let Some(filled) = filling.join_next().await {
        let (at, mark) = filled??;
        made.marks.insert((at.context.number, at.partition.0), mark);
    }
    let store = deployment.open_store(&application(), log.id()).await?;
    let definitions = application().read_models;
    let definition = newest(&definitions).find(|definition| definition.model.name() == READ_MODEL);
    let model = Arc::clone(&definition.context("it is one of the platform's")?.model);
    let (options, control) = (FoldOptions::default(), Control::default());
    let rebuilt = rebuild(log, &store, model, "rows that were there before", options, &control).await?;
    store.promote(READ_MODEL, rebuilt.generation.id).await?;
    made.rows = rebuilt.rows;
    Ok(made)
}

/// The registrations of one partition, and where they end.
async fn fill(
    log: &dyn EventLog,
    partition: Partition,
    tenant: TenantId,
    rows: u64,
) -> anyhow::Result<(ContextPartition, Mark)> {
    let at = ContextPartition { context: PORTFOLIO, partition };
    let owner = Owner { id: "made".into(), address: String::new() };
    let mut writer = log.claim(at, owner).await?.writer;
    let (scope, claim_epoch) = (scope_in(tenant, partition, log.partitions(PORTFOLIO)), writer.claim_epoch());
    let mut ordinal = 0;
    while ordinal < rows {
        let mut batch = AppendBatch::default();
        for _ in 0..limits::MADE_APPEND_EVENTS.min(rows - ordinal) {
            ordinal += 1;
            put(&mut batch, scope, claim_epoch, ordinal)?;
        }
        writer = match writer.append(batch).await {
            AppendOutcome::Durable { writer, .. } => writer,
            other => bail!("append: {other:?}"),
        };
    }
    let end = log.end(at).await?;
    ensure!(end > Offset::START, "{at} is empty");
    Ok((at, Mark { offset: end, ordinal, claim: claim_epoch }))
}

/// A workspace of its own in this partition.
fn scope_in(tenant: TenantId, partition: Partition, partitions: u16) -> Scope {
    let candidates = (1u128..).map(|number| WorkspaceId(Uuid::from_u128(number << 32 | 0xb)));
    let mut scopes = candidates.map(|workspace| Scope { tenant, workspace });
    // One in so many lies there.
    scopes.find(|scope| scope.slot().partition(partitions) == partition).unwrap_or_else(|| unreachable!("no end"))
}

/// The registration that is the partition's `ordinal`th record.
fn put(batch: &mut AppendBatch, scope: Scope, claim_epoch: ClaimEpoch, ordinal: u64) -> anyhow::Result<()> {
    let request = format!("made-{ordinal}");
    let id = Uuid::new_v5(&scope.workspace.0, request.as_bytes());
    let operation = OperationId::derive(PORTFOLIO, scope, &ClientRequestId::new(&request)?);
    let event: Event = Registered {
        name: format!("made {ordinal}"),
        project_id: None,
        criticality: Criticality::Medium,
        source: Some("registry+crates.io".into()),
    }
    .into();
    let time = Timestamp(BEGAN_US + i64::try_from(ordinal)?);
    let envelope = Envelope {
        event_id: operation.event(CommitIndex(0)),
        event_type: event.event_type(),
        event_version: event.event_version(),
        occurred_at: time,
        emitted_at: time,
        tenant_id: scope.tenant,
        workspace_id: scope.workspace,
        aggregate_type: "application",
        aggregate_id: AggregateId(id),
        sequence: Sequence(1),
        actor_id: ActorRef::User(UserId::default()),
        correlation_id: None,
        causation_id: None,
        request: Some(RequestRef { client_request_id: &request, fingerprint: Fingerprint([5; 16]) }),
        ordinal: Ordinal(ordinal),
        claim_epoch,
        commit_index: CommitIndex(0),
        commit_size: 1,
        policy_decision: "builtin:dev-token",
        reason: None,
        adr_id: None,
        extensions: Extensions::default(),
    };
    batch.push(|out| {
        put_frame(out, event.schema());
        envelope.encode(out);
        event.encode(out);
    });
    Ok(())
}
