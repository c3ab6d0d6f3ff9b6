//! Records that the engine writes for itself, framed like any other so that foreign tools can read the whole log.
//!
//! Their Avro definitions are `core/codegen/engine/*.avsc`; a test of `schemas/` holds these ids and this codec against them.

use crate::avro::{DecodeError, put_long, put_str};
use crate::envelope::{SchemaId, put_frame, read_frame};
use crate::time::Timestamp;

/// Schema of `$claim`: an owner took a partition. It has no envelope and no ordinal.
pub const CLAIM_SCHEMA: SchemaId = SchemaId(887148417);
/// Schema of `$accepted`: a command was accepted without events. Envelope, then an empty payload.
pub const ACCEPTED_SCHEMA: SchemaId = SchemaId(1973814168);
/// Event type of `$accepted`.
pub const ACCEPTED_TYPE: &str = "$accepted";

/// Content of a `$claim` record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim<'a> {
    /// The owner's id: one process's life.
    pub owner_id: &'a str,
    /// Where other nodes reach the owner; empty when it serves nobody else.
    pub address: &'a str,
    /// When, by the owner's clock.
    pub claimed_at: Timestamp,
}

impl<'a> Claim<'a> {
    /// Appends the framed record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_frame(out, CLAIM_SCHEMA);
        put_str(out, self.owner_id);
        put_str(out, self.address);
        put_long(out, self.claimed_at.0);
    }

    /// Reads a framed record; nothing if it is no `$claim`.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        let (schema, mut reader) = read_frame(bytes)?;
        if schema != CLAIM_SCHEMA {
            return Ok(None);
        }
        let claim = Self { owner_id: reader.str()?, address: reader.str()?, claimed_at: Timestamp(reader.long()?) };
        reader.finish()?;
        Ok(Some(claim))
    }
}
