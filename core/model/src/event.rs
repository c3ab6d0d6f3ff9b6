//! Events as types: what `annals-codegen` generates, and what it means to the engine.

use crate::avro::{DecodeError, Reader};
use crate::envelope::{Envelope, Record, SchemaId};
use crate::ids::ContextId;

/// One released revision of one event's payload. Generated; serde on it means JSON only.
pub trait Payload: Sized + Clone + PartialEq + std::fmt::Debug + Send + Sync + serde::Serialize + 'static {
    /// Wire name: `application.registered`.
    const EVENT_TYPE: &'static str;
    /// Major version.
    const EVENT_VERSION: i32;
    /// The released file that this type was generated from.
    const SCHEMA: SchemaId;
    /// Appends the Avro bytes.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads exactly these Avro bytes; nothing may be left over.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let payload = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(payload)
    }
    /// Reads the fields in order.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
    /// The payload as JSON.
    fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self)
            .expect("payloads are records of texts, numbers and enums, which JSON can always hold")
    }
}

/// Carries a major version to the next one: pure and total. Generated code calls it for every major version but the
/// newest, so a missing link does not compile.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no upcaster",
    note = "write `impl Upcast for {Self}` in the package that its schemas are in"
)]
pub trait Upcast {
    /// The next major version.
    type Next;
    /// What the event would have said, had it been written in the next version.
    fn upcast(self) -> Self::Next;
}

/// The events that `annals_codegen::generate` made in the package's build script, as items of the module where this
/// stands: a module per context, `contexts` and the `CATALOGUE`.
#[macro_export]
macro_rules! events {
    () => {
        include!(concat!(env!("OUT_DIR"), "/events.rs"));
    };
}

/// The newest version of an event, as handlers see it: decodes every released revision, through upcasters.
pub trait Event: Payload {
    /// The context that owns it.
    const CONTEXT: ContextId;
    /// Wire name of the aggregate whose event it is.
    const AGGREGATE_TYPE: &'static str;
    /// Oldest major version that this build reads.
    const OLDEST_VERSION: i32;
    /// Decodes a payload written under any released schema of this event, up to the newest version.
    fn decode_any(schema: SchemaId, payload: &[u8]) -> Result<Self, DecodeError>;
}

/// All events of one aggregate, newest versions. Generated, one enum per aggregate.
pub trait EventSet: Sized + Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// The context that owns them.
    const CONTEXT: ContextId;
    /// Wire name of the aggregate.
    const AGGREGATE_TYPE: &'static str;
    /// Event types with their newest version and its schema.
    const TYPES: &'static [EventKind];
    /// Wire name of this event.
    fn event_type(&self) -> &'static str;
    /// Major version of this event.
    fn event_version(&self) -> i32;
    /// Schema of this event.
    fn schema(&self) -> SchemaId;
    /// Appends the payload's Avro bytes.
    fn encode(&self, out: &mut Vec<u8>);
    /// The payload as JSON.
    fn to_json(&self) -> serde_json::Value;
    /// Decodes a payload written under any released schema of this aggregate's events.
    fn decode_any(schema: SchemaId, payload: &[u8]) -> Result<Self, DecodeError>;
}

/// One event type, in its newest version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventKind {
    /// Wire name.
    pub event_type: &'static str,
    /// Oldest major version that this build reads.
    pub oldest_version: i32,
    /// Newest major version.
    pub version: i32,
    /// Schema of the newest revision.
    pub schema: SchemaId,
    /// Belongs in the audit log.
    pub privileged: bool,
}

/// A decoded event with its envelope, as projection handlers get it.
#[derive(Debug)]
pub struct Recorded<'a, E> {
    /// Where it lies and what it carries.
    pub record: &'a Record<'a>,
    /// The payload, in its newest version.
    pub payload: E,
}

impl<'a, E> std::ops::Deref for Recorded<'a, E> {
    type Target = Envelope<'a>;
    fn deref(&self) -> &Envelope<'a> {
        &self.record.envelope
    }
}

/// One released schema file as the build knows it: for `meta`, the registry surface and inspection.
#[derive(Clone, Copy, Debug)]
pub struct ReleasedSchema {
    /// Its stable id.
    pub id: SchemaId,
    /// Wire name of the event, or of the engine record.
    pub event_type: &'static str,
    /// Major version.
    pub version: i32,
    /// Revision within the major version, from 0.
    pub revision: i32,
    /// The complete writer schema (envelope and payload) as Avro JSON: what decodes the record's bytes.
    pub writer_schema: &'static str,
    /// The payload's JSON, from any bytes written under this schema.
    pub payload_json: fn(&[u8]) -> Result<serde_json::Value, DecodeError>,
    /// Reads a payload as the revision that wrote it and writes it again: equal bytes prove that nothing was lost.
    pub rewrite: fn(&[u8]) -> Result<Vec<u8>, DecodeError>,
}

impl ReleasedSchema {
    /// The schema that `P` was generated from.
    pub const fn of<P: Payload>(revision: i32, writer_schema: &'static str) -> Self {
        Self {
            id: P::SCHEMA,
            event_type: P::EVENT_TYPE,
            version: P::EVENT_VERSION,
            revision,
            writer_schema,
            payload_json: |payload| P::decode(payload).map(|payload| payload.to_json()),
            rewrite: |payload| {
                let payload = P::decode(payload)?;
                let mut out = Vec::new();
                payload.encode(&mut out);
                Ok(out)
            },
        }
    }
}

/// Every schema that a build knows, by id.
#[derive(Clone, Copy, Debug)]
pub struct SchemaCatalogue {
    /// Sorted by id.
    schemas: &'static [ReleasedSchema],
}

impl SchemaCatalogue {
    /// Of schemas sorted by id, without repeats.
    pub const fn new(schemas: &'static [ReleasedSchema]) -> Self {
        Self { schemas }
    }
    /// The schema with this id.
    pub fn get(&self, id: SchemaId) -> Option<&'static ReleasedSchema> {
        self.schemas.binary_search_by_key(&id, |schema| schema.id).ok().map(|index| &self.schemas[index])
    }
    /// All schemas.
    pub fn iter(&self) -> impl Iterator<Item = &'static ReleasedSchema> + use<> {
        self.schemas.iter()
    }
}
