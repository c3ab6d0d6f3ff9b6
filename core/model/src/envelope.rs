//! The envelope: what every event carries besides its payload. Frozen at the first release.
//!
//! One record on the wire: Confluent framing (byte 0, schema id big-endian), then one Avro record with the envelope's
//! fields first and the payload last, so the envelope decodes without the payload's schema. The Avro definition is
//! `core/codegen/envelope.avsc`; apache-avro is the oracle of this codec in the tests of `schemas/`.

use crate::avro::{DecodeError, Reader, put_int, put_long, put_option, put_str};
use crate::ids::{AggregateId, CommitIndex, CorrelationId, EventId, Scope, TenantId, UserId, WorkspaceId};
use crate::limits;
use crate::position::{ClaimEpoch, Ordinal, RecordOffset, Sequence};
use crate::time::Timestamp;

/// First 31 bits of the SHA-256 of a released schema file: stable for ever, no coordination.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SchemaId(pub u32);

/// SHA-256, 128 bits, over the received command in RFC 8785 form: tells a retry from another command.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint(pub [u8; 16]);

/// Borrowed form of [`crate::ids::Actor`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ActorRef<'a> {
    /// A person.
    User(UserId),
    /// A service.
    Service(&'a str),
}

impl ActorRef<'_> {
    /// The owned form.
    pub fn to_owned(self) -> crate::ids::Actor {
        match self {
            Self::User(id) => crate::ids::Actor::User(id),
            Self::Service(name) => crate::ids::Actor::Service(name.into()),
        }
    }
}

impl crate::ids::Actor {
    /// The borrowed form.
    pub fn as_ref(&self) -> ActorRef<'_> {
        match self {
            Self::User(id) => ActorRef::User(*id),
            Self::Service(name) => ActorRef::Service(name),
        }
    }
}

/// The ledger's source, on commit index 0 only: which request this was and what it asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestRef<'a> {
    /// The client's id for the command.
    pub client_request_id: &'a str,
    /// What it asked, hashed.
    pub fingerprint: Fingerprint,
}

/// The envelope, borrowed from the record's bytes: decoding allocates nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope<'a> {
    /// Routes itself; a retry makes the same id.
    pub event_id: EventId,
    /// Wire name, `application.registered`; engine records start with `$`.
    pub event_type: &'a str,
    /// Major version of the payload.
    pub event_version: i32,
    /// When it was decided, UTC.
    pub occurred_at: Timestamp,
    /// When it was handed to the log; never decreases within a partition.
    pub emitted_at: Timestamp,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The workspace that the event is about; nil for tenant-level events.
    pub workspace_id: WorkspaceId,
    /// Wire name of the aggregate's type, `application`.
    pub aggregate_type: &'a str,
    /// The aggregate.
    pub aggregate_id: AggregateId,
    /// Position inside the aggregate, from 1; an engine record repeats the current one.
    pub sequence: Sequence,
    /// Who.
    pub actor_id: ActorRef<'a>,
    /// Request trace; nothing in old records only, see [`Envelope::correlation`].
    pub correlation_id: Option<CorrelationId>,
    /// The event that caused this one; nothing = the operation itself.
    pub causation_id: Option<EventId>,
    /// The request, on commit index 0 only.
    pub request: Option<RequestRef<'a>>,
    /// Dense number in the partition.
    pub ordinal: Ordinal,
    /// The writer's claim.
    pub claim_epoch: ClaimEpoch,
    /// Place within its command's events.
    pub commit_index: CommitIndex,
    /// Number of its command's events.
    pub commit_size: u16,
    /// Reference of the decision that allowed it.
    pub policy_decision: &'a str,
    /// Why, in words.
    pub reason: Option<&'a str>,
    /// The decision record that it follows.
    pub adr_id: Option<&'a str>,
    /// Room for later.
    pub extensions: Extensions<'a>,
}

/// The extension entries, still encoded (an Avro map of strings): validated once, read lazily.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extensions<'a> {
    /// Avro blocks with the closing 0, or empty for none.
    encoded: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Name and value of each entry, in wire order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut reader = Reader::new(self.encoded);
        let mut left = 0usize;
        std::iter::from_fn(move || {
            // Validated by `read`: errors cannot occur here, and would end the iteration.
            if left == 0 {
                left = map_block(&mut reader).ok()?;
                if left == 0 {
                    return None;
                }
            }
            left -= 1;
            Some((reader.str().ok()?, reader.str().ok()?))
        })
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let rest = reader.rest();
        let start = reader.position();
        let mut total = 0;
        loop {
            let count = map_block(reader)?;
            if count == 0 {
                let encoded = &rest[..reader.position() - start];
                return Ok(if encoded.len() == 1 { Self::default() } else { Self { encoded } });
            }
            total += count;
            if total > limits::EXTENSIONS_MAX {
                return Err(DecodeError::TooLong { what: "extensions", at: start, max: limits::EXTENSIONS_MAX });
            }
            for _ in 0..count {
                reader.str()?;
                reader.str()?;
            }
        }
    }
}

/// Item count of the next map block; a negative count carries the block's byte size, which is skipped.
fn map_block(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let at = reader.position();
    let count = reader.long()?;
    let items = if count < 0 {
        reader.long()?;
        count.checked_neg().ok_or(DecodeError::Invalid { what: "map block", at })?
    } else {
        count
    };
    match usize::try_from(items) {
        Ok(items) if items <= limits::EXTENSIONS_MAX => Ok(items),
        _ => Err(DecodeError::TooLong { what: "map block", at, max: limits::EXTENSIONS_MAX }),
    }
}

/// Confluent's magic byte.
pub const FRAME_MAGIC: u8 = 0;
/// Bytes of a frame before the Avro record.
pub const FRAME_BYTES: usize = 5;

/// Appends the frame of a record.
pub fn put_frame(out: &mut Vec<u8>, schema: SchemaId) {
    out.push(FRAME_MAGIC);
    out.extend_from_slice(&schema.0.to_be_bytes());
}

/// Reads the frame of a record.
pub fn read_frame(bytes: &[u8]) -> Result<(SchemaId, Reader<'_>), DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.take(1)?[0] != FRAME_MAGIC {
        return Err(DecodeError::Invalid { what: "frame (magic byte)", at: 0 });
    }
    let id = u32::from_be_bytes(*reader.fixed::<4>()?);
    Ok((SchemaId(id), reader))
}

impl<'a> Envelope<'a> {
    /// The scope that the *subject* names: tenant and workspace of the row keys that its own rows have.
    pub const fn subject(&self) -> Scope {
        Scope { tenant: self.tenant_id, workspace: self.workspace_id }
    }

    /// The request trace. Records from before every command had one are traced by their operation.
    pub fn correlation(&self) -> CorrelationId {
        self.correlation_id.unwrap_or_else(|| self.event_id.operation().correlation())
    }

    /// Appends the envelope's fields.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.event_id.as_bytes());
        put_str(out, self.event_type);
        put_int(out, self.event_version);
        put_long(out, self.occurred_at.0);
        put_long(out, self.emitted_at.0);
        out.extend_from_slice(self.tenant_id.as_bytes());
        out.extend_from_slice(self.workspace_id.as_bytes());
        put_str(out, self.aggregate_type);
        out.extend_from_slice(self.aggregate_id.as_bytes());
        put_long(out, self.sequence.0 as i64);
        match self.actor_id {
            ActorRef::User(id) => {
                out.push(0);
                out.extend_from_slice(id.as_bytes());
            }
            ActorRef::Service(name) => {
                out.push(2);
                put_str(out, name);
            }
        }
        put_option(out, self.correlation_id, |out, id| out.extend_from_slice(id.as_bytes()));
        put_option(out, self.causation_id, |out, id| out.extend_from_slice(id.as_bytes()));
        put_option(out, self.request.map(|request| request.client_request_id), put_str);
        put_option(out, self.request.map(|request| request.fingerprint), |out, print| out.extend_from_slice(&print.0));
        put_long(out, self.ordinal.0 as i64);
        put_long(out, self.claim_epoch.0 as i64);
        put_int(out, i32::from(self.commit_index.0));
        put_int(out, i32::from(self.commit_size));
        put_str(out, self.policy_decision);
        put_option(out, self.reason, put_str);
        put_option(out, self.adr_id, put_str);
        match self.extensions.encoded {
            [] => out.push(0),
            encoded => out.extend_from_slice(encoded),
        }
    }

    /// Reads the envelope's fields; the reader then stands at the payload.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let envelope = Self {
            event_id: EventId::from_bytes(*reader.fixed()?),
            event_type: reader.str()?,
            event_version: reader.int()?,
            occurred_at: Timestamp(reader.long()?),
            emitted_at: Timestamp(reader.long()?),
            tenant_id: TenantId::from_bytes(*reader.fixed()?),
            workspace_id: WorkspaceId::from_bytes(*reader.fixed()?),
            aggregate_type: reader.str()?,
            aggregate_id: AggregateId::from_bytes(*reader.fixed()?),
            sequence: Sequence(unsigned(reader, "sequence")?),
            actor_id: match reader.branch(2)? {
                0 => ActorRef::User(UserId::from_bytes(*reader.fixed()?)),
                _ => ActorRef::Service(reader.str()?),
            },
            correlation_id: reader.option(|r| Ok(CorrelationId::from_bytes(*r.fixed()?)))?,
            causation_id: reader.option(|r| Ok(EventId::from_bytes(*r.fixed()?)))?,
            request: {
                let at = reader.position();
                let client_request_id = reader.option(Reader::str)?;
                let fingerprint = reader.option(|r| Ok(Fingerprint(*r.fixed()?)))?;
                match (client_request_id, fingerprint) {
                    (Some(client_request_id), Some(fingerprint)) => Some(RequestRef { client_request_id, fingerprint }),
                    (None, None) => None,
                    _ => return Err(DecodeError::Invalid { what: "request (id without fingerprint)", at }),
                }
            },
            ordinal: Ordinal(unsigned(reader, "ordinal")?),
            claim_epoch: ClaimEpoch(unsigned(reader, "claim epoch")?),
            commit_index: CommitIndex(unsigned(reader, "commit index")?),
            commit_size: unsigned(reader, "commit size")?,
            policy_decision: reader.str()?,
            reason: reader.option(Reader::str)?,
            adr_id: reader.option(Reader::str)?,
            extensions: Extensions::read(reader)?,
        };
        if envelope.commit_index.0 >= envelope.commit_size {
            return Err(DecodeError::Invalid { what: "commit index (not below commit size)", at: 0 });
        }
        Ok(envelope)
    }
}

#[inline(always)]
fn unsigned<T: TryFrom<i64>>(reader: &mut Reader<'_>, what: &'static str) -> Result<T, DecodeError> {
    let at = reader.position();
    T::try_from(reader.long()?).map_err(|_| DecodeError::Invalid { what, at })
}

/// One record of the log: where it lies, its envelope, and its payload still encoded.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Where it lies in its partition.
    pub offset: RecordOffset,
    /// Which revision wrote the payload.
    pub schema: SchemaId,
    /// The envelope.
    pub envelope: Envelope<'a>,
    /// The payload's Avro bytes.
    pub payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// Decodes frame and envelope.
    #[inline]
    pub fn decode(offset: RecordOffset, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (schema, mut reader) = read_frame(bytes)?;
        let envelope = Envelope::decode(&mut reader)?;
        Ok(Self { offset, schema, envelope, payload: reader.rest() })
    }

    /// True for records that the engine wrote for itself: no domain event, not part of any aggregate's history.
    pub fn is_engine_record(&self) -> bool {
        self.envelope.event_type.starts_with('$')
    }

    /// True for the last record of its command: a reader may stop behind it.
    pub const fn ends_commit(&self) -> bool {
        self.envelope.commit_index.0 + 1 == self.envelope.commit_size
    }
}
