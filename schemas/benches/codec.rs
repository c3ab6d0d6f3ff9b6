//! The codec on one core, on an application event of about 250 bytes.
//! Goals: encode ≤ 100 ns, decode of envelope and payload ≤ 200 ns.

use std::hint::black_box;

use annals_model::envelope::{ActorRef, Envelope, Extensions, Fingerprint, Record, RequestRef, put_frame};
use annals_model::event::{Event as _, EventSet as _};
use annals_model::ids::{
    AggregateId, ClientRequestId, CommitIndex, CorrelationId, OperationId, Scope, TenantId, UserId, WorkspaceId,
};
use annals_model::position::{ClaimEpoch, Ordinal, RecordOffset, Sequence};
use annals_model::time::Timestamp;
use annals_schemas::contexts::PORTFOLIO;
use annals_schemas::portfolio::application::{Criticality, Event, Registered};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn envelope(event: &Event, request: &'static str) -> Envelope<'static> {
    let id = |byte| [byte; 16];
    let scope = Scope { tenant: TenantId::from_bytes(id(1)), workspace: WorkspaceId::from_bytes(id(2)) };
    let operation =
        OperationId::derive(PORTFOLIO, scope, &ClientRequestId::new(request).expect("a request id of the bench"));
    Envelope {
        event_id: operation.event(CommitIndex(0)),
        event_type: event.event_type(),
        event_version: event.event_version(),
        occurred_at: Timestamp(1_768_824_000_000_000),
        emitted_at: Timestamp(1_768_824_000_000_500),
        tenant_id: scope.tenant,
        workspace_id: scope.workspace,
        aggregate_type: "application",
        aggregate_id: AggregateId::from_bytes(id(3)),
        sequence: Sequence(1),
        actor_id: ActorRef::User(UserId::from_bytes(id(4))),
        correlation_id: Some(CorrelationId::from_bytes(id(5))),
        causation_id: None,
        request: Some(RequestRef { client_request_id: request, fingerprint: Fingerprint(id(6)) }),
        ordinal: Ordinal(1_000_000),
        claim_epoch: ClaimEpoch(70_000),
        commit_index: CommitIndex(0),
        commit_size: 1,
        policy_decision: "builtin:dev-token",
        reason: None,
        adr_id: None,
        extensions: Extensions::default(),
    }
}

fn codec(criterion: &mut Criterion) {
    let payload = Registered {
        name: "serde_json".into(),
        project_id: None,
        criticality: Criticality::Medium,
        source: Some("registry+https://github.com/rust-lang/crates.io-index".into()),
    };
    let event = Event::from(payload.clone());
    let envelope = envelope(&event, "cargo-lock/serde_json");
    let encode = |out: &mut Vec<u8>| {
        out.clear();
        put_frame(out, event.schema());
        envelope.encode(out);
        event.encode(out);
    };
    let mut bytes = Vec::new();
    encode(&mut bytes);
    let record = Record::decode(RecordOffset(0), &bytes).expect("bytes of our own");
    assert_eq!(Registered::decode_any(record.schema, record.payload).as_ref(), Ok(&payload));
    assert_eq!(record.envelope, envelope);

    let mut group = criterion.benchmark_group(format!("codec/{} bytes", bytes.len()));
    group.throughput(Throughput::Elements(1));
    let mut out = Vec::with_capacity(bytes.len());
    group.bench_function("encode", |bencher| bencher.iter(|| encode(black_box(&mut out))));
    group.bench_function("decode envelope", |bencher| {
        bencher.iter(|| Record::decode(RecordOffset(0), black_box(&bytes)).map(|record| record.envelope.sequence));
    });
    group.bench_function("decode envelope and payload", |bencher| {
        bencher.iter(|| {
            let record = Record::decode(RecordOffset(0), black_box(&bytes))?;
            Registered::decode_any(record.schema, record.payload)
        });
    });
    group.bench_function("decode envelope and event of the aggregate", |bencher| {
        bencher.iter(|| {
            let record = Record::decode(RecordOffset(0), black_box(&bytes))?;
            Event::decode_any(record.schema, record.payload)
        });
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
