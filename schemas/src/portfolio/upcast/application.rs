//! Older major versions of `application` events.

use annals_model::event::Upcast;

use crate::portfolio::application::v1::{self, Severity};
use crate::portfolio::application::v2;

impl Upcast for v1::RiskAssessed {
    type Next = v2::RiskAssessed;

    /// One word stood for likelihood and impact together: both get its place on the new scale of 1 to 5.
    fn upcast(self) -> v2::RiskAssessed {
        let level = match self.severity {
            Severity::Low => 2,
            Severity::Medium => 3,
            Severity::High => 4,
            Severity::Critical => 5,
        };
        v2::RiskAssessed { likelihood: level, impact: level, note: self.note }
    }
}
