//! Numbers as commands carry them: checked once, when the command is parsed, so that the error names the field.

use serde::Deserialize;

use crate::limits;

/// The number lies outside its scale: send one within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is {value}; send {min} to {max}")]
pub struct OutOfScale {
    value: i64,
    min: i64,
    max: i64,
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Scale<const MIN: i64, const MAX: i64>(i64);

/// A grade of risk, from 1 (lowest) to 5.
pub type Grade = Scale<1, 5>;

/// How long a workspace keeps what may be thrown away, days.
pub type RetentionDays = Scale<1, { limits::RETENTION_DAYS_MAX }>;

impl<const MIN: i64, const MAX: i64> Scale<MIN, MAX> {
    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl Grade {
    /// The number as events carry it.
    pub const fn grade(self) -> i32 {
        self.0 as i32
    }
}

impl<const MIN: i64, const MAX: i64> TryFrom<i64> for Scale<MIN, MAX> {
    type Error = OutOfScale;
    fn try_from(value: i64) -> Result<Self, OutOfScale> {
        match value {
            _ if (MIN..=MAX).contains(&value) => Ok(Self(value)),
            _ => Err(OutOfScale { value, min: MIN, max: MAX }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_includes_both_its_ends() {
        let grade = |value: i64| Grade::try_from(value).map(Grade::grade);
        assert_eq!((grade(1), grade(5)), (Ok(1), Ok(5)));
        assert_eq!(grade(0), Err(OutOfScale { value: 0, min: 1, max: 5 }));
        assert_eq!(grade(6).unwrap_err().to_string(), "is 6; send 1 to 5");
        assert!(RetentionDays::try_from(limits::RETENTION_DAYS_MAX + 1).is_err());
    }
}
