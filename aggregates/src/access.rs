//! Who may be where: workspaces of a tenant, and their members.

use annals_model::aggregate::Aggregate as _;
use annals_model::application::Admission;
use annals_model::context::BoundedContext;

pub mod membership;
pub mod workspace;

/// A workspace is there once it was created, and open until it is archived.
pub const ADMISSION: Admission = Admission {
    context: annals_schemas::contexts::ACCESS,
    aggregate_type: workspace::Workspace::TYPE,
    standing: workspace::standing,
};

/// Its random commands, and the rules between its aggregates that they must meet.
#[cfg(feature = "testing")]
pub(crate) const RANDOM: crate::testing::Random = crate::testing::Random {
    commands: |pools| crate::testing::any_of([workspace::random::any(pools), membership::random::any(pools)]),
    rules: &["workspace_archived", "last_owner", "of_another_workspace", "no_such_workspace"],
};

/// The context `access`.
pub fn context() -> BoundedContext {
    BoundedContext::new(annals_schemas::contexts::ACCESS)
        .with::<workspace::Workspace>()
        .with::<membership::Membership>()
}
