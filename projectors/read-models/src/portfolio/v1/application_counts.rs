//! Rollup `application_counts` of version 1.

use annals_model::projection::{Contributions, Rollup};

use super::applications::{ApplicationRow, Applications};
use crate::portfolio::ApplicationCountGroup;

/// Rollup `application_counts`.
#[derive(Debug)]
pub struct ApplicationCounts;

impl Rollup for ApplicationCounts {
    const NAME: &'static str = "application_counts";
    type Of = Applications;
    type Group = ApplicationCountGroup;
    const MEASURES: &'static [&'static str] = &["applications"];

    fn contribute(row: &ApplicationRow, out: &mut Contributions<ApplicationCountGroup>) {
        out.add(ApplicationCountGroup { project_id: row.project_id, status: row.status }, &[1]);
    }
}
