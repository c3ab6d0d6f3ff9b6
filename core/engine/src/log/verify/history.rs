//! What one partition's records must be to each other, beyond following one another.

use annals_model::envelope::{Record, SchemaId};
use annals_model::ids::{AggregateId, ClientRequestId, CommitIndex, OperationId, Scope};
use annals_model::position::{ContextPartition, Sequence};
use foldhash::{HashMap, HashSet};

/// An aggregate as its owner knows it: an id may be taken once in every scope, by every type.
#[derive(PartialEq, Eq, Hash)]
struct AggregateName {
    scope: Scope,
    /// Index of its type's name.
    aggregate_type: usize,
    id: AggregateId,
}

/// Remembers one number per aggregate and one id per command: about 100 bytes for each.
pub(super) struct History<'a> {
    at: ContextPartition,
    partitions: u16,
    known_schema: &'a (dyn Fn(SchemaId) -> bool + Sync),
    /// Names of aggregate types, numbered: there are few of them.
    types: Vec<Box<str>>,
    sequences: HashMap<AggregateName, Sequence>,
    operations: HashSet<OperationId>,
    /// The command that is being read, and the scope that it was decided in.
    decided: Option<(OperationId, Scope)>,
}

impl<'a> History<'a> {
    pub(super) fn new(
        at: ContextPartition,
        partitions: u16,
        known_schema: &'a (dyn Fn(SchemaId) -> bool + Sync),
    ) -> Self {
        let (types, sequences, operations) = (Vec::new(), HashMap::default(), HashSet::default());
        Self { at, partitions, known_schema, types, sequences, operations, decided: None }
    }

    pub(super) fn aggregates(&self) -> u64 {
        self.sequences.values().filter(|sequence| **sequence > Sequence::ZERO).count() as u64
    }

    pub(super) fn check(&mut self, record: &Record<'_>) -> Result<(), String> {
        // All three, so that one finding does not make others of the records behind it. The operation first: it tells the
        // scope that the sequence counts in.
        let operation = self.check_operation(record);
        let sequence = self.check_sequence(record);
        if !(self.known_schema)(record.schema) {
            return Err(format!("schema {} is unknown to this build", record.schema.0));
        }
        sequence.and(operation)
    }

    /// 1, 2, 3, … per aggregate; an engine record repeats the number before it.
    fn check_sequence(&mut self, record: &Record<'_>) -> Result<(), String> {
        let envelope = &record.envelope;
        let known = self.types.iter().position(|name| **name == *envelope.aggregate_type);
        let aggregate_type = known.unwrap_or_else(|| {
            self.types.push(envelope.aggregate_type.into());
            self.types.len() - 1
        });
        let name = AggregateName { scope: self.scope_of(record), aggregate_type, id: envelope.aggregate_id };
        let last = self.sequences.entry(name).or_default();
        let expected = if record.is_engine_record() { *last } else { last.next() };
        *last = envelope.sequence;
        if envelope.sequence == expected {
            return Ok(());
        }
        Err(format!(
            "sequence {} of {} {} where {expected} follows",
            envelope.sequence, envelope.aggregate_type, envelope.aggregate_id
        ))
    }

    /// The scope that the record's command was decided in, which is its aggregate's; what the record is about, where that
    /// is damaged.
    fn scope_of(&self, record: &Record<'_>) -> Scope {
        match self.decided {
            Some((operation, scope)) if operation == record.envelope.event_id.operation() => scope,
            Some(_) | None => record.envelope.subject(),
        }
    }

    /// The id names the place in the command, the command, and the partition; and no command is there twice.
    fn check_operation(&mut self, record: &Record<'_>) -> Result<(), String> {
        let envelope = &record.envelope;
        let operation = envelope.event_id.operation();
        if envelope.event_id != operation.event(envelope.commit_index) || !operation.is_well_formed() {
            return Err(format!("event id {} is not that of event {}", envelope.event_id, envelope.commit_index.0));
        }
        let lies_here = operation.context_number() == self.at.context.number
            && operation.slot().partition(self.partitions) == self.at.partition;
        if !lies_here {
            return Err(format!("event id {} belongs to another partition", envelope.event_id));
        }
        if envelope.commit_index != CommitIndex(0) {
            return match envelope.request {
                None => Ok(()),
                Some(_) => Err("a request on a later event of a command".into()),
            };
        }
        let Some(request) = envelope.request else { return Err("a command without its request".into()) };
        let request = ClientRequestId::new(request.client_request_id).map_err(|error| error.to_string())?;
        // An aggregate's scope is its workspace or its whole tenant; the envelope does not say which.
        let scopes = [envelope.subject(), Scope::of_tenant(envelope.tenant_id)];
        let decided_in = |scope: &Scope| OperationId::derive(self.at.context, *scope, &request) == operation;
        let Some(scope) = scopes.into_iter().find(decided_in) else {
            return Err(format!("operation {operation} is not that of request {request}"));
        };
        self.decided = Some((operation, scope));
        if !self.operations.insert(operation) {
            return Err(format!("operation {operation} was accepted before: request {request}"));
        }
        Ok(())
    }
}
