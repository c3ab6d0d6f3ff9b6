//! Which workspaces does a tenant have, and who is in them? Read model `access`.

mod queries;
mod workspace_memberships;
mod workspaces;

use std::sync::Arc;

use annals_model::projection::ReadModel;

pub use self::workspace_memberships::{WorkspaceMembershipRow, WorkspaceMemberships};
pub use self::workspaces::{WorkspaceRow, WorkspaceStatus, Workspaces};
use annals_model::read_model::Definition;

/// All versions that this build carries, ascending.
pub fn definitions() -> Vec<Definition> {
    vec![newest()]
}

/// Version 1.
pub fn newest() -> Definition {
    Definition {
        model: Arc::new(
            ReadModel::new("access", 1, &annals_schemas::CATALOGUE)
                .table::<Workspaces>()
                .table::<WorkspaceMemberships>(),
        ),
        ddl: include_str!("../../../migrations/access/v1.sql"),
        queries: queries::ALL,
    }
}

#[cfg(test)]
mod tests;
