//! Where in the log: offsets, ordinals, sequences, and the position vector that a consistency token stands for.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ContextId, Partition};
use crate::limits;
use crate::time::Timestamp;

/// One partition of one context.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextPartition {
    /// The context.
    pub context: ContextId,
    /// The partition.
    pub partition: Partition,
}

impl fmt::Display for ContextPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.context, self.partition)
    }
}
impl fmt::Debug for ContextPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An exclusive position in a partition: "everything before". Opaque, increasing, with holes: no arithmetic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// Before the first record.
    pub const START: Self = Self(0);
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where one record lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordOffset(pub u64);

impl RecordOffset {
    /// The position just behind this record: the only offset arithmetic there is.
    pub const fn after(self) -> Offset {
        Offset(self.0 + 1)
    }
    /// The position just before this record, to read it again.
    pub const fn at(self) -> Offset {
        Offset(self.0)
    }
}

impl fmt::Display for RecordOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! counter {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);
        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);
            /// The next one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

counter! {
    /// Position inside one aggregate: 1, 2, 3, … without gaps; 0 = the aggregate does not exist. Also its version.
    Sequence,
    /// Dense number of a record in its partition: 1, 2, 3, …; every record but the claims has one.
    Ordinal,
    /// A writer's claim: the offset of its `$claim` record + 1, so that 0 means "no claim yet". Monotone per partition.
    ClaimEpoch,
}

/// How far a consumer of one partition has come, and what it must know to go on in the middle: the ordinal that the
/// next record continues, and the newest claim that was passed (records of older claims behind it are void).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checkpoint {
    /// Everything before this was consumed.
    pub offset: Offset,
    /// Ordinal of the last record consumed.
    pub ordinal: Ordinal,
    /// Newest claim passed.
    pub claim_epoch: ClaimEpoch,
    /// `emitted_at` of the last record consumed.
    pub emitted_at: Timestamp,
}

/// One exclusive offset per (context, partition) of one log. Sealed it is the consistency token.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PositionVector {
    components: BTreeMap<(u8, Partition), Offset>,
}

impl PositionVector {
    /// A vector of one component.
    pub fn of(at: ContextPartition, offset: Offset) -> Self {
        let mut vector = Self::default();
        vector.advance(at, offset);
        vector
    }

    /// Moves one component forward, never back.
    pub fn advance(&mut self, at: ContextPartition, offset: Offset) {
        let component = self.components.entry((at.context.number, at.partition)).or_default();
        *component = (*component).max(offset);
    }

    /// Moves every component forward to `other`'s.
    pub fn merge(&mut self, other: &Self) {
        for (key, offset) in &other.components {
            let component = self.components.entry(*key).or_default();
            *component = (*component).max(*offset);
        }
    }

    /// The component of a partition; [`Offset::START`] where there is none.
    pub fn get(&self, at: ContextPartition) -> Offset {
        self.components.get(&(at.context.number, at.partition)).copied().unwrap_or_default()
    }

    /// True if every component of `wanted` whose context number `subscribed` accepts is reached here.
    pub fn covers(&self, wanted: &Self, subscribed: impl Fn(u8) -> bool) -> bool {
        wanted
            .components
            .iter()
            .filter(|((context, _), _)| subscribed(*context))
            .all(|(key, offset)| self.components.get(key).copied().unwrap_or_default() >= *offset)
    }

    /// True if no component is set.
    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// All components: context number, partition, offset, in that order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Partition, Offset)> + '_ {
        self.components.iter().map(|((context, partition), offset)| (*context, *partition, *offset))
    }

    /// As bytes: what a consistency token is made of.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.components.len() * 8);
        for ((context, partition), offset) in &self.components {
            bytes.push(*context);
            put_varint(&mut bytes, u64::from(partition.0));
            put_varint(&mut bytes, offset.0);
        }
        bytes
    }

    /// Of the bytes that [`PositionVector::to_bytes`] makes; nothing of any others.
    pub fn from_bytes(mut rest: &[u8]) -> Option<Self> {
        let mut components = BTreeMap::new();
        while let Some((&context, tail)) = rest.split_first() {
            rest = tail;
            let partition = u16::try_from(take_varint(&mut rest)?).ok()?;
            let offset = take_varint(&mut rest)?;
            let repeated = components.insert((context, Partition(partition)), Offset(offset)).is_some();
            if repeated || components.len() > limits::POSITION_VECTOR_COMPONENTS_MAX {
                return None;
            }
        }
        Some(Self { components })
    }
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
