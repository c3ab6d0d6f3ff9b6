//! Version 1 of read model `portfolio`: `applications` without the number of releases. Frozen.

mod application_counts;
mod applications;

use std::sync::Arc;

use annals_model::projection::ReadModel;

pub use self::application_counts::ApplicationCounts;
pub use self::applications::{ApplicationRow, Applications};
use super::{ApplicationVersions, Dependencies, Projects, queries};
use annals_model::read_model::Definition;

/// Version 1.
pub fn definition() -> Definition {
    Definition {
        model: Arc::new(
            ReadModel::new("portfolio", 1, &annals_schemas::CATALOGUE)
                .table::<Projects>()
                .table::<Applications>()
                .table::<ApplicationVersions>()
                .table::<Dependencies>()
                .rollup::<ApplicationCounts>(),
        ),
        ddl: include_str!("../../../../migrations/portfolio/v1.sql"),
        queries: queries::V1,
    }
}
