//! Table `workspace_memberships`: who is in a workspace. Who comes back after a removal has a new row.

use annals_model::ids::UserId;
use annals_model::position::Sequence;
use annals_model::projection::{Fold, Index, Projection, own};
use annals_model::row;
use annals_schemas::access::membership::{Added, Removed, Role, RoleChanged};

row! {
    /// A row of `workspace_memberships`.
    pub struct WorkspaceMembershipRow {
        /// The person.
        pub user_id: UserId,
        /// What they may do.
        pub role: Role,
        /// The team they belong to.
        pub team: Option<String>,
        /// The aggregate's version.
        pub version: Sequence,
    }
}

/// Table `workspace_memberships`.
#[derive(Debug)]
pub struct WorkspaceMemberships;

impl Projection for WorkspaceMemberships {
    const NAME: &'static str = "workspace_memberships";
    type Row = WorkspaceMembershipRow;
    const INDEXES: &'static [Index] = &[Index::new("by_user", &["user_id"])];

    fn fold(on: &mut Fold<WorkspaceMembershipRow>) {
        on.on::<Added>(own, |row, event| {
            row.insert(WorkspaceMembershipRow {
                user_id: event.payload.user_id,
                role: event.payload.role,
                team: event.payload.team.clone(),
                version: event.sequence,
            })
        });
        on.on::<RoleChanged>(own, |row, event| {
            row.change(|membership| {
                membership.role = event.payload.role;
                membership.version = event.sequence;
            })
        });
        on.on::<Removed>(own, |row, _| row.delete());
    }
}
