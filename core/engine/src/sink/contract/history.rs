//! Random histories of the shop, as an honest owner would append them.

use annals_model::envelope::{ActorRef, Envelope, Extensions, Fingerprint, Record, RequestRef, put_frame};
use annals_model::event::Payload;
use annals_model::ids::{
    AggregateId, ClientRequestId, CommitIndex, EventId, OperationId, Partition, Scope, TenantId, WorkspaceId,
};
use annals_model::position::{Checkpoint, ClaimEpoch, ContextPartition, Ordinal, RecordOffset, Sequence};
use annals_model::time::Timestamp;
use uuid::Uuid;

use super::stock::{Added, Counted, Moved, Priced, Removed, SHOP};

/// Small, fast, the same on every machine: tests are told by their seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// SplitMix64.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}

const SHELVES: [&str; 4] = ["front", "back", "cellar", "Regal für Ä"];

/// The owner of one partition of the shop: makes one event after the other that its items allow.
#[derive(Clone, Debug)]
pub struct Shop {
    at: ContextPartition,
    scope: Scope,
    random: Random,
    /// Of the claim that the records carry.
    pub claim_epoch: ClaimEpoch,
    /// Of the last record made.
    pub ordinal: Ordinal,
    emitted_at: Timestamp,
    items: Vec<Item>,
}

#[derive(Clone, Debug, Default)]
struct Item {
    sequence: Sequence,
    there: bool,
}

impl Shop {
    /// The shop whose scope lies in `partition`, of a context with `partitions`, with so many items at most.
    pub fn new(seed: u64, partition: u16, partitions: u16, items: usize) -> Self {
        let at = ContextPartition { context: SHOP, partition: Partition(partition) };
        Self {
            at,
            scope: scope_of(at.partition, partitions),
            random: Random::new(seed ^ u64::from(partition) << 32),
            claim_epoch: ClaimEpoch(1),
            ordinal: Ordinal::ZERO,
            emitted_at: Timestamp(1_768_824_000_000_000),
            items: vec![Item::default(); items],
        }
    }

    /// Where its events lie.
    pub fn at(&self) -> ContextPartition {
        self.at
    }

    /// Appends the bytes of the next record.
    pub fn event(&mut self, out: &mut Vec<u8>) {
        let number = self.random.below(self.items.len() as u64) as usize;
        let shelf = SHELVES[self.random.below(SHELVES.len() as u64) as usize];
        let what = self.random.below(8);
        let price = self.random.below(100) as i64 - 20;
        if !self.items[number].there {
            self.items[number].there = true;
            self.record(out, number, &Added { name: format!("item {what}{number}"), shelf: shelf.into() });
        } else {
            match what {
                0 => {
                    self.items[number].there = false;
                    self.record(out, number, &Removed {});
                }
                1 | 2 => self.record(out, number, &Moved { shelf: shelf.into() }),
                3 => self.record(out, number, &Counted {}),
                _ => self.record(out, number, &Priced { price }),
            }
        }
    }

    /// Appends the bytes of an event that no history allows: a price for an item that never came in.
    pub fn impossible_event(&mut self, out: &mut Vec<u8>) {
        self.items.push(Item::default());
        self.record(out, self.items.len() - 1, &Priced { price: 1 });
    }

    fn record<P: Payload>(&mut self, out: &mut Vec<u8>, number: usize, payload: &P) {
        self.ordinal = self.ordinal.next();
        self.emitted_at.0 += 1;
        let item = &mut self.items[number];
        item.sequence = item.sequence.next();
        let text = format!("request-{}", self.ordinal);
        // Printable and short: it is a client request id.
        let request = ClientRequestId::new(&text).unwrap_or_else(|error| panic!("{error}"));
        let event_id: EventId = OperationId::derive(self.at.context, self.scope, &request).event(CommitIndex(0));
        let envelope = Envelope {
            event_id,
            event_type: P::EVENT_TYPE,
            event_version: P::EVENT_VERSION,
            occurred_at: self.emitted_at,
            emitted_at: self.emitted_at,
            tenant_id: self.scope.tenant,
            workspace_id: self.scope.workspace,
            aggregate_type: "item",
            aggregate_id: AggregateId(Uuid::from_u128(
                0x17e3 << 64 | (number as u128) << 32 | self.scope.workspace.0.as_u128(),
            )),
            sequence: item.sequence,
            actor_id: ActorRef::Service("tests"),
            correlation_id: None,
            causation_id: None,
            request: Some(RequestRef { client_request_id: request.as_str(), fingerprint: Fingerprint([5; 16]) }),
            ordinal: self.ordinal,
            claim_epoch: self.claim_epoch,
            commit_index: CommitIndex(0),
            commit_size: 1,
            policy_decision: "allowed",
            reason: None,
            adr_id: None,
            extensions: Extensions::default(),
        };
        put_frame(out, P::SCHEMA);
        envelope.encode(out);
        payload.encode(out);
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

/// Some of a shop's events, in order, and the checkpoints between which they lie.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Where they lie.
    pub at: ContextPartition,
    /// Before the first.
    pub from: Checkpoint,
    /// Behind the last.
    pub to: Checkpoint,
    records: Vec<(RecordOffset, Vec<u8>)>,
}

impl Batch {
    /// The events.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.records.iter().map(|(offset, bytes)| {
            Record::decode(*offset, bytes).unwrap_or_else(|error| panic!("a record of this history: {error}"))
        })
    }
}

/// Makes the next batches of one shop, without a log: offsets have holes.
#[derive(Clone, Debug)]
pub struct Batches {
    shop: Shop,
    checkpoint: Checkpoint,
}

impl Batches {
    /// Of a shop in one of `partitions` partitions, with so many items at most.
    pub fn new(seed: u64, partition: u16, partitions: u16, items: usize) -> Self {
        Self { shop: Shop::new(seed, partition, partitions, items), checkpoint: Checkpoint::default() }
    }

    /// The next `events`.
    pub fn next(&mut self, events: usize) -> Batch {
        let from = self.checkpoint;
        let mut records = Vec::with_capacity(events);
        for _ in 0..events {
            let offset = RecordOffset(self.checkpoint.offset.0 + self.shop.random.below(3));
            let mut bytes = Vec::new();
            self.shop.event(&mut bytes);
            records.push((offset, bytes));
            self.checkpoint = Checkpoint {
                offset: offset.after(),
                ordinal: self.shop.ordinal,
                claim_epoch: self.shop.claim_epoch,
                emitted_at: self.shop.emitted_at,
            };
        }
        Batch { at: self.shop.at, from, to: self.checkpoint, records }
    }
}
