//! Which workspaces does a tenant have, and who is in them? Read model `access`.

mod queries;
mod workspace_memberships;
mod workspaces;

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
    let model = ReadModel::new("access", 1, &annals_schemas::CATALOGUE);
    Definition::new(model.table::<Workspaces>().table::<WorkspaceMemberships>(), queries::ALL)
}

#[cfg(test)]
mod tests;
