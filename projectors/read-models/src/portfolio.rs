//! What does a workspace run, in which project, and what depends on what? Read model `portfolio`.
//!
//! All versions are carried side by side; the promoted generation decides which is served. The newest one is here; each
//! older one is in `v<N>`, with nothing but what differs.

mod application_counts;
mod application_versions;
mod applications;
mod dependencies;
mod projects;
mod queries;
pub mod v1;

use std::sync::Arc;

use annals_model::projection::ReadModel;

pub use self::application_counts::{ApplicationCountGroup, ApplicationCounts};
pub use self::application_versions::{ApplicationVersionRow, ApplicationVersions};
pub use self::applications::{ApplicationRow, ApplicationStatus, Applications};
pub use self::dependencies::{Dependencies, DependencyRow};
pub use self::projects::{ProjectRow, ProjectStatus, Projects};
use annals_model::read_model::Definition;

/// All versions that this build carries, ascending.
pub fn definitions() -> Vec<Definition> {
    vec![v1::definition(), newest()]
}

/// Version 2: `applications` counts the releases.
pub fn newest() -> Definition {
    Definition {
        model: Arc::new(
            ReadModel::new("portfolio", 2, &annals_schemas::CATALOGUE)
                .table::<Projects>()
                .table::<Applications>()
                .table::<ApplicationVersions>()
                .table::<Dependencies>()
                .rollup::<ApplicationCounts>(),
        ),
        ddl: include_str!("../../../migrations/portfolio/v2.sql"),
        queries: queries::ALL,
    }
}

#[cfg(test)]
mod tests;
