//! Numbers that every store keeps as they are.

/// A finite number. Equal ones have equal bytes: there is one zero. NaN is no value of a column: it equals nothing, SQLite
/// keeps it as null, and JSON has none.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug, Default)]
pub struct Float(f64);

impl Eq for Float {}

/// NaN and the infinities: what is computed from an event decides what stands for them, a null or a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a finite number")]
pub struct NotFinite;

impl Float {
    /// Of a finite number; -0 becomes 0.
    pub const fn new(value: f64) -> Result<Self, NotFinite> {
        if value.is_finite() { Ok(Self(value + 0.0)) } else { Err(NotFinite) }
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Its bytes, as IEEE 754 has them.
    pub const fn to_be_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// Of bytes, exactly as [`Float::to_be_bytes`] made them.
    pub fn from_be_bytes(bytes: [u8; 8]) -> Option<Self> {
        Self::new(f64::from_be_bytes(bytes)).ok().filter(|value| value.to_be_bytes() == bytes)
    }
}

impl std::fmt::Display for Float {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
