//! Records for tests of logs: an honest owner's, so that everything that checks a log is content with them.

use std::collections::BTreeMap;

use annals_model::avro::put_str;
use annals_model::envelope::{ActorRef, Envelope, Extensions, Fingerprint, RequestRef, SchemaId, put_frame};
use annals_model::ids::{
    AggregateId, ClientRequestId, CommitIndex, OperationId, Partition, Scope, TenantId, WorkspaceId,
};
use annals_model::position::{ClaimEpoch, ContextPartition, Ordinal, Sequence};
use annals_model::time::Timestamp;
use uuid::Uuid;

use crate::log::AppendBatch;

/// Schema of every test record.
pub const SCHEMA: SchemaId = SchemaId(7);

/// What an owner of one partition would append.
#[derive(Clone, Debug)]
pub struct TestRecords {
    at: ContextPartition,
    scope: Scope,
    /// Of the claim that the records carry.
    pub claim_epoch: ClaimEpoch,
    /// Of the last record made.
    pub ordinal: Ordinal,
    emitted_at: Timestamp,
    commits: u64,
    first_aggregate: u64,
    sequences: BTreeMap<u64, Sequence>,
}

impl TestRecords {
    /// Of a scope that lies in this partition, in a context of `partitions`.
    pub fn new(at: ContextPartition, partitions: u16) -> Self {
        Self {
            at,
            scope: scope_of(at.partition, partitions),
            claim_epoch: ClaimEpoch::ZERO,
            ordinal: Ordinal::ZERO,
            emitted_at: Timestamp(1_768_824_000_000_000),
            commits: 0,
            first_aggregate: 0,
            sequences: BTreeMap::new(),
        }
    }

    /// The same owner after it claimed.
    #[must_use]
    pub fn claimed(mut self, claim_epoch: ClaimEpoch) -> Self {
        self.claim_epoch = claim_epoch;
        self
    }

    /// Goes on behind records that another process made, with other requests and on other aggregates.
    pub fn resume(&mut self, ordinal: Ordinal, emitted_at: Timestamp) {
        self.ordinal = ordinal;
        self.emitted_at = self.emitted_at.max(emitted_at);
        // There were at most as many commands as records.
        self.commits = self.commits.max(ordinal.0);
        self.first_aggregate = 3 * (1 + ordinal.0);
    }

    /// A command's events on one of three aggregates, each with `payload_bytes` of payload.
    pub fn commit(&mut self, batch: &mut AppendBatch, events: u16, payload_bytes: usize) {
        let aggregate = self.first_aggregate + self.commits % 3;
        let text = format!("request-{}", self.commits);
        // Printable and short: it is a client request id.
        let request = ClientRequestId::new(&text).unwrap_or_else(|error| panic!("{error}"));
        let operation = OperationId::derive(self.at.context, self.scope, &request);
        self.commits += 1;
        for index in 0..events {
            self.ordinal = self.ordinal.next();
            self.emitted_at.0 += 1;
            let sequence = self.sequences.entry(aggregate).or_default();
            *sequence = sequence.next();
            let envelope = Envelope {
                event_id: operation.event(CommitIndex(index)),
                event_type: "thing.happened",
                event_version: 1,
                occurred_at: self.emitted_at,
                emitted_at: self.emitted_at,
                tenant_id: self.scope.tenant,
                workspace_id: self.scope.workspace,
                aggregate_type: "thing",
                aggregate_id: AggregateId(Uuid::from_u128(0x7e57 << 64 | u128::from(aggregate))),
                sequence: *sequence,
                actor_id: ActorRef::Service("tests"),
                correlation_id: None,
                causation_id: None,
                request: (index == 0)
                    .then(|| RequestRef { client_request_id: request.as_str(), fingerprint: Fingerprint([5; 16]) }),
                ordinal: self.ordinal,
                claim_epoch: self.claim_epoch,
                commit_index: CommitIndex(index),
                commit_size: events,
                policy_decision: "allowed",
                reason: None,
                adr_id: None,
                extensions: Extensions::default(),
            };
            batch.push(|out| {
                put_frame(out, SCHEMA);
                envelope.encode(out);
                put_str(out, &"x".repeat(payload_bytes));
            });
        }
    }

    /// One append of commands with so many events each.
    pub fn batch(&mut self, commits: &[u16]) -> AppendBatch {
        let mut batch = AppendBatch::default();
        commits.iter().for_each(|events| self.commit(&mut batch, *events, 16));
        batch
    }
}

/// The first of a fixed row of scopes that lies in `partition`.
fn scope_of(partition: Partition, partitions: u16) -> Scope {
    (1..)
        .map(|number| Scope {
            tenant: TenantId(Uuid::from_u128(0x7e4a << 64 | number)),
            workspace: WorkspaceId(Uuid::from_u128(0x3059 << 64 | number)),
        })
        .find(|scope| scope.slot().partition(partitions) == partition)
        .unwrap_or_else(|| unreachable!("the row of scopes has no end"))
}
