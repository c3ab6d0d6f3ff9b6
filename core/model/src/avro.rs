//! Avro binary primitives for the generated, straight-line codec. Reading is bounded and never panics.
//!
//! Source: Apache Avro 1.12 specification, "Binary encoding".

use crate::limits;

/// Why bytes are no valid record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("record ends early, at byte {at}")]
    UnexpectedEnd {
        /// Bytes read before the end.
        at: usize,
    },
    /// A field's bytes mean nothing for its type.
    #[error("invalid {what} at byte {at}")]
    Invalid {
        /// What was expected.
        what: &'static str,
        /// Where the field starts.
        at: usize,
    },
    /// A length above its limit: no record of ours, or a corrupt one.
    #[error("{what} at byte {at} is longer than {max}")]
    TooLong {
        /// What was expected.
        what: &'static str,
        /// Where the field starts.
        at: usize,
        /// The limit.
        max: usize,
    },
    /// Bytes are left over behind the last field.
    #[error("{count} bytes left over behind the record")]
    LeftOver {
        /// How many.
        count: usize,
    },
    /// The frame names a schema that this build does not know.
    #[error("schema id {0} is unknown to this build; upgrade it")]
    UnknownSchema(u32),
}

/// Appends a zigzag varint (Avro int and long).
#[inline]
pub fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// Appends an Avro int.
#[inline]
pub fn put_int(out: &mut Vec<u8>, value: i32) {
    put_long(out, i64::from(value));
}

/// Appends an Avro boolean.
#[inline]
pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

/// Appends an Avro double.
#[inline]
pub fn put_double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends an Avro bytes value.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    put_long(out, value.len() as i64);
    out.extend_from_slice(value);
}

/// Appends an Avro string.
#[inline]
pub fn put_str(out: &mut Vec<u8>, value: &str) {
    put_bytes(out, value.as_bytes());
}

/// Appends a nullable value, as the union `["null", T]`.
#[inline]
pub fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(2);
            put(out, value);
        }
    }
}

/// Undoes the zigzag of an Avro long.
#[inline]
const fn zigzag(bits: u64) -> i64 {
    (bits >> 1) as i64 ^ -((bits & 1) as i64)
}

/// Reads Avro primitives from a slice, in order.
///
/// Inlined by force where a value that is returned through memory would stall its reader (nullable ids do).
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Bytes at the start: a slice that shrinks needs no bounds check on its start, unlike an index that grows.
    total: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, total: bytes.len() }
    }

    /// Bytes read so far.
    #[inline]
    pub const fn position(&self) -> usize {
        self.total - self.rest.len()
    }

    /// The bytes not read yet.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Insists that nothing is left.
    #[inline]
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(DecodeError::LeftOver { count }),
        }
    }

    #[cold]
    fn ends_early(&self) -> DecodeError {
        DecodeError::UnexpectedEnd { at: self.total }
    }

    /// The next `count` bytes.
    #[inline(always)]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(count) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.ends_early()),
        }
    }

    /// An Avro long.
    #[inline(always)]
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        // Nearly all are lengths, branches and small numbers: one byte.
        match self.rest {
            [byte @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(zigzag(u64::from(*byte)))
            }
            _ => self.longer(),
        }
    }

    fn longer(&mut self) -> Result<i64, DecodeError> {
        let mut bits = 0u64;
        for (index, &byte) in self.rest.iter().enumerate() {
            if index == 9 && byte > 1 {
                return Err(DecodeError::Invalid { what: "long", at: self.position() });
            }
            bits |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(zigzag(bits));
            }
        }
        Err(self.ends_early())
    }

    /// An Avro int.
    #[inline]
    pub fn int(&mut self) -> Result<i32, DecodeError> {
        let at = self.position();
        i32::try_from(self.long()?).map_err(|_| DecodeError::Invalid { what: "int", at })
    }

    /// An Avro boolean.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.take(1)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid { what: "boolean", at: self.position() - 1 }),
        }
    }

    /// An Avro double.
    #[inline]
    pub fn double(&mut self) -> Result<f64, DecodeError> {
        self.fixed::<8>().map(|bytes| f64::from_le_bytes(*bytes))
    }

    /// A length or count between 0 and `max`.
    #[inline(always)]
    pub fn length(&mut self, what: &'static str, max: usize) -> Result<usize, DecodeError> {
        let at = self.position();
        match usize::try_from(self.long()?) {
            Ok(length) if length <= max => Ok(length),
            Ok(_) => Err(DecodeError::TooLong { what, at, max }),
            Err(_) => Err(DecodeError::Invalid { what, at }),
        }
    }

    /// An Avro bytes value.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length("bytes", limits::AVRO_FIELD_BYTES_MAX)?;
        self.take(length)
    }

    /// An Avro string.
    #[inline]
    pub fn str(&mut self) -> Result<&'a str, DecodeError> {
        let at = self.position();
        let length = self.length("string", limits::AVRO_FIELD_BYTES_MAX)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Invalid { what: "string (not utf-8)", at })
    }

    /// An Avro fixed of `N` bytes.
    #[inline(always)]
    pub fn fixed<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.ends_early()),
        }
    }

    /// The branch of a union with `branches` branches.
    #[inline(always)]
    pub fn branch(&mut self, branches: usize) -> Result<usize, DecodeError> {
        let at = self.position();
        match usize::try_from(self.long()?) {
            Ok(branch) if branch < branches => Ok(branch),
            _ => Err(DecodeError::Invalid { what: "union branch", at }),
        }
    }

    /// The index of an enum's symbol, of `symbols` symbols.
    #[inline]
    pub fn symbol(&mut self, symbols: usize) -> Result<usize, DecodeError> {
        let at = self.position();
        match usize::try_from(self.long()?) {
            Ok(symbol) if symbol < symbols => Ok(symbol),
            _ => Err(DecodeError::Invalid { what: "enum symbol", at }),
        }
    }

    /// A nullable value, from the union `["null", T]`.
    #[inline(always)]
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.branch(2)? {
            0 => Ok(None),
            _ => read(self).map(Some),
        }
    }
}

#[cfg(test)]
mod tests;
