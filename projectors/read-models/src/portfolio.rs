//! What does a workspace run, in which project, and what depends on what? Read model `portfolio`.
//!
//! All versions are carried side by side; the promoted generation decides which is served. Each older one is the next one,
//! less what that has more. Only a handler whose meaning changed is copied, into `v<N>`.

mod application_counts;
mod application_versions;
mod applications;
mod dependencies;
mod projects;
mod queries;

use annals_model::projection::ReadModel;

pub use self::application_counts::{ApplicationCountGroup, ApplicationCounts};
pub use self::application_versions::{ApplicationVersionRow, ApplicationVersions};
pub use self::applications::{ApplicationRow, ApplicationStatus, Applications};
pub use self::dependencies::{Dependencies, DependencyRow};
pub use self::projects::{ProjectRow, ProjectStatus, Projects};
use annals_model::read_model::Definition;

/// All versions that this build carries, ascending.
pub fn definitions() -> Vec<Definition> {
    vec![Definition::new(v1(), queries::ALL), Definition::new(v2(), queries::ALL)]
}

/// Version 2, the newest: `applications` counts the releases.
fn v2() -> ReadModel {
    ReadModel::new("portfolio", 2, &annals_schemas::CATALOGUE)
        .table::<Projects>()
        .table::<Applications>()
        .table::<ApplicationVersions>()
        .table::<Dependencies>()
        .rollup::<ApplicationCounts>()
}

/// Version 1.
fn v1() -> ReadModel {
    v2().older(1).without::<Applications>(&["release_count"])
}

#[cfg(test)]
mod tests;
