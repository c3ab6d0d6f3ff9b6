//! Who and what: ids as newtypes, and the two ids that route themselves (event and operation).

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::limits;

macro_rules! uuid_newtype {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The 16 bytes as they stand in the envelope.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
            /// From the 16 bytes of the envelope.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )+};
}

uuid_newtype! {
    /// A customer of the platform; nothing of one tenant is ever reachable from another.
    TenantId,
    /// A workspace of a tenant; nil in scopes that belong to the tenant as a whole.
    WorkspaceId,
    /// One aggregate instance.
    AggregateId,
    /// One event: UUIDv8 = context (8 bits), slot (12), hash of the request (86), commit index + 1 (16).
    EventId,
    /// One accepted command: its first event's id with the low 16 bits zero.
    OperationId,
    /// Groups everything that one request set in motion, over contexts.
    CorrelationId,
    /// A person, as the `sub` of their token names them.
    UserId,
    /// One log: new after a restore or an import, so that positions of another history are told apart.
    LogId,
}

impl WorkspaceId {
    /// The workspace of a tenant-level scope.
    pub const NIL: Self = Self(Uuid::nil());
}

/// A bounded context: a frozen 8-bit number (it is part of every event id) and its wire name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextId {
    /// Frozen by the first event.
    pub number: u8,
    /// Lower-case name, the first segment of a command's type and of the event topic.
    pub name: &'static str,
}

impl fmt::Display for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
impl fmt::Debug for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The consistency boundary: all events of one scope in one context lie in one partition, in one total order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scope {
    /// The tenant.
    pub tenant: TenantId,
    /// The workspace, nil for tenant-level scopes.
    pub workspace: WorkspaceId,
}

impl Scope {
    /// The scope of things that belong to the tenant as a whole.
    pub const fn of_tenant(tenant: TenantId) -> Self {
        Self { tenant, workspace: WorkspaceId::NIL }
    }

    /// `xxh3_64(tenant ‖ workspace) % 4096`, fixed for ever.
    pub fn slot(&self) -> Slot {
        let mut bytes = [0u8; 32];
        bytes[..16].copy_from_slice(self.tenant.as_bytes());
        bytes[16..].copy_from_slice(self.workspace.as_bytes());
        Slot((xxhash_rust::xxh3::xxh3_64(&bytes) % u64::from(Slot::COUNT)) as u16)
    }
}

/// One of 4096 routing classes of scopes; fixed for ever, unlike partition counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u16);

impl Slot {
    /// Number of slots.
    pub const COUNT: u16 = 4096;

    /// The partition of this slot in a context with `partitions` partitions (1 ≤ `partitions` ≤ 4096).
    pub fn partition(self, partitions: u16) -> Partition {
        debug_assert!(partitions > 0 && partitions <= Self::COUNT);
        Partition((u32::from(self.0) * u32::from(partitions) / u32::from(Self::COUNT)) as u16)
    }

    /// The number, 0 to 4095.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// A partition of one context's log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u16);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The client's name for one command: the key of idempotency. 1 to 128 characters, none of them a control character.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct ClientRequestId(Box<str>);

/// Why a text is no client request id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientRequestIdError {
    /// Empty or too long: send 1 to 128 characters.
    #[error("client_request_id has {0} bytes; send 1 to {max}", max = limits::CLIENT_REQUEST_ID_BYTES_MAX)]
    Length(usize),
    /// A control character: send printable text, a UUID for instance.
    #[error("client_request_id contains a control character; send printable text, a uuid for instance")]
    Control,
}

impl ClientRequestId {
    /// Checks length and characters.
    pub fn new(text: &str) -> Result<Self, ClientRequestIdError> {
        if text.is_empty() || text.len() > limits::CLIENT_REQUEST_ID_BYTES_MAX {
            return Err(ClientRequestIdError::Length(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(ClientRequestIdError::Control);
        }
        Ok(Self(text.into()))
    }
    /// The text as the client sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientRequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const COMMIT_INDEX_MASK: u128 = 0xffff;

impl OperationId {
    /// The id that every node derives for the same request: a retry makes the same id.
    pub fn derive(context: ContextId, scope: Scope, request: &ClientRequestId) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(scope.tenant.as_bytes());
        hasher.update(scope.workspace.as_bytes());
        hasher.update(request.as_str().as_bytes());
        let digest = hasher.finalize();
        let mut first = [0u8; 16];
        first.copy_from_slice(&digest[..16]);
        let hash = u128::from_be_bytes(first) >> (128 - 86);
        // 122 free bits of a UUIDv8: context 8 | slot 12 | hash 86 | commit index 16.
        let free = (u128::from(context.number) << 114) | (u128::from(scope.slot().number()) << 102) | (hash << 16);
        Self(spread(free))
    }

    /// The id of this operation's event at `commit_index`.
    pub fn event(self, commit_index: CommitIndex) -> EventId {
        let low = u128::from(commit_index.0) + 1;
        EventId(Uuid::from_u128((self.0.as_u128() & !COMMIT_INDEX_MASK) | low))
    }

    /// The trace of a request that brings none: its operation.
    pub const fn correlation(self) -> CorrelationId {
        CorrelationId(self.0)
    }

    /// Number of the context that owns the operation.
    pub fn context_number(self) -> u8 {
        (gather(self.0) >> 114) as u8
    }

    /// Slot of the operation's scope.
    pub fn slot(self) -> Slot {
        Slot(((gather(self.0) >> 102) & 0xfff) as u16)
    }

    /// True for ids that [`OperationId::derive`] can have made.
    pub fn is_well_formed(self) -> bool {
        self.0.get_version_num() == 8
            && self.0.get_variant() == uuid::Variant::RFC4122
            && self.0.as_u128() & COMMIT_INDEX_MASK == 0
    }
}

impl EventId {
    /// The operation that this event belongs to.
    pub fn operation(self) -> OperationId {
        OperationId(Uuid::from_u128(self.0.as_u128() & !COMMIT_INDEX_MASK))
    }

    /// Its place within its operation's events; nothing for an operation's own id.
    pub fn commit_index(self) -> Option<CommitIndex> {
        ((self.0.as_u128() & COMMIT_INDEX_MASK) as u16).checked_sub(1).map(CommitIndex)
    }
}

/// Place of an event within its command's events, from 0. At most 65,534, so that it fits the event id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommitIndex(pub u16);

/// Lays 122 free bits around the version (8) and variant (RFC 9562) bits of a UUID.
fn spread(free: u128) -> Uuid {
    let high48 = (free >> 74) & 0xffff_ffff_ffff;
    let mid12 = (free >> 62) & 0xfff;
    let low62 = free & 0x3fff_ffff_ffff_ffff;
    Uuid::from_u128((high48 << 80) | (8 << 76) | (mid12 << 64) | (0b10 << 62) | low62)
}

/// The 122 free bits of a UUID.
fn gather(id: Uuid) -> u128 {
    let all = id.as_u128();
    ((all >> 80) << 74) | (((all >> 64) & 0xfff) << 62) | (all & 0x3fff_ffff_ffff_ffff)
}

/// Who acted: a person or a named service.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A person, by the id of their token.
    User(UserId),
    /// A service, by name.
    Service(Box<str>),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Service(name) => write!(f, "service:{name}"),
        }
    }
}

#[cfg(test)]
mod tests;
