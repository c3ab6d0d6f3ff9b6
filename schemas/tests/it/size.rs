//! What an event costs on disk: this repository's own `Cargo.lock`, imported in one trace by a client that names its
//! requests by UUIDs, which compress worse than words.

use annals_model::envelope::{ActorRef, Envelope, Extensions, Fingerprint, RequestRef, put_frame};
use annals_model::event::EventSet;
use annals_model::ids::{
    AggregateId, ClientRequestId, CommitIndex, CorrelationId, OperationId, Scope, TenantId, UserId, WorkspaceId,
};
use annals_model::position::{ClaimEpoch, Ordinal, Sequence};
use annals_model::time::Timestamp;
use annals_schemas::contexts::PORTFOLIO;
use annals_schemas::portfolio::{application, dependency};
use sha2::{Digest, Sha256};

const EVENTS_PER_BLOCK: usize = 512;
const BYTES_PER_EVENT_MAX: usize = 100;

/// 16 bytes that do not compress, as those of ids and fingerprints.
fn hash(text: &str) -> [u8; 16] {
    *Sha256::digest(text).first_chunk().unwrap()
}

/// The log's records, one after the other.
#[derive(Default)]
struct Records {
    bytes: Vec<Vec<u8>>,
}

impl Records {
    fn push<E: EventSet>(&mut self, aggregate: &str, sequence: u64, request: &str, event: &E) {
        let scope = Scope {
            tenant: TenantId::from_bytes(hash("tenant")),
            workspace: WorkspaceId::from_bytes(hash("workspace")),
        };
        let request = &uuid::Uuid::from_bytes(hash(request)).to_string();
        let operation = OperationId::derive(PORTFOLIO, scope, &ClientRequestId::new(request).unwrap());
        let ordinal = self.bytes.len() as u64 + 1;
        // A few thousand commands per second, in batches that are handed to the log together.
        let occurred_at = Timestamp(1_768_824_000_000_000 + ordinal as i64 * 211);
        let envelope = Envelope {
            event_id: operation.event(CommitIndex(0)),
            event_type: event.event_type(),
            event_version: event.event_version(),
            occurred_at,
            emitted_at: Timestamp(occurred_at.0 / 4_096 * 4_096),
            tenant_id: scope.tenant,
            workspace_id: scope.workspace,
            aggregate_type: E::AGGREGATE_TYPE,
            aggregate_id: AggregateId::from_bytes(hash(aggregate)),
            sequence: Sequence(sequence),
            actor_id: ActorRef::User(UserId::from_bytes(hash("user"))),
            correlation_id: Some(CorrelationId::from_bytes(hash("trace"))),
            causation_id: None,
            request: Some(RequestRef {
                client_request_id: request,
                fingerprint: Fingerprint(hash(&format!("body of {request}"))),
            }),
            ordinal: Ordinal(ordinal),
            claim_epoch: ClaimEpoch(1),
            commit_index: CommitIndex(0),
            commit_size: 1,
            policy_decision: "builtin:dev-token",
            reason: None,
            adr_id: None,
            extensions: Extensions::default(),
        };
        let mut record = Vec::new();
        put_frame(&mut record, event.schema());
        envelope.encode(&mut record);
        event.encode(&mut record);
        self.bytes.push(record);
    }
}

/// The lock file's packages: name, version, names of what it depends on.
fn packages(lock: &str) -> Vec<(&str, &str, Vec<&str>)> {
    lock.split("[[package]]")
        .skip(1)
        .map(|block| {
            let value = |key: &str| {
                block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = ")).unwrap().trim_matches('"')
            };
            let needs = block.lines().filter_map(|line| line.strip_prefix(" \"")?.split(['"', ' ']).next());
            (value("name"), value("version"), needs.collect())
        })
        .collect()
}

fn import(lock: &str) -> Records {
    let mut records = Records::default();
    let (mut name_before, mut sequence) = ("", 0);
    for (name, version, needs) in packages(lock) {
        if name != name_before {
            (name_before, sequence) = (name, 1);
            let registered = application::Registered {
                name: name.to_owned(),
                project_id: None,
                criticality: application::Criticality::Medium,
                source: Some("registry+https://github.com/rust-lang/crates.io-index".to_owned()),
            };
            let event = application::Event::from(registered);
            records.push(name, 1, &format!("cargo-lock/register/{name}"), &event);
        }
        sequence += 1;
        let released = application::Event::from(application::VersionReleased { number: version.to_owned() });
        records.push(name, sequence, &format!("cargo-lock/release/{name}/{version}"), &released);
        for needed in needs {
            let edge = format!("cargo-lock/declare/{name}/{needed}/{version}");
            let declared = dependency::Declared {
                from_application_id: AggregateId::from_bytes(hash(name)),
                to_application_id: AggregateId::from_bytes(hash(needed)),
                kind: dependency::Kind::Runtime,
                requirement: None,
            };
            records.push(&edge, 1, &edge, &dependency::Event::from(declared));
        }
    }
    records
}

#[test]
fn a_real_event_costs_at_most_100_bytes_in_a_compressed_block() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
    let records = import(&lock).bytes;
    assert!(records.len() > EVENTS_PER_BLOCK, "{} events are too few to say", records.len());
    let raw: usize = records.iter().map(Vec::len).sum();
    let compressed: usize =
        records.chunks(EVENTS_PER_BLOCK).map(|block| zstd::bulk::compress(&block.concat(), 3).unwrap().len()).sum();
    let count = records.len();
    println!("{count} events, {} bytes each, {} in a block", raw / count, compressed / count);
    assert!(compressed / count <= BYTES_PER_EVENT_MAX, "{} bytes per event", compressed / count);
}
