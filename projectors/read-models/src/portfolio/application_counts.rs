//! Rollup `application_counts`: how many applications each project has, by status.

use annals_model::ids::AggregateId;
use annals_model::projection::{Contributions, Rollup};
use annals_model::row;

use super::applications::{ApplicationRow, ApplicationStatus, Applications};

row! {
    /// What is counted together.
    pub struct ApplicationCountGroup {
        /// The project; nothing = applications without one.
        pub project_id: Option<AggregateId>,
        /// Whether they are in use.
        pub status: ApplicationStatus,
    }
}

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
