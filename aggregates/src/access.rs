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

/// Random commands of the context.
#[cfg(feature = "testing")]
pub fn random(pools: &crate::testing::Pools) -> crate::testing::Asks {
    use proptest::strategy::Strategy as _;
    proptest::prop_oneof![workspace::random::any(pools), membership::random::any(pools)].boxed()
}

/// The context `access`.
pub fn context() -> BoundedContext {
    BoundedContext::new(annals_schemas::contexts::ACCESS)
        .with::<workspace::Workspace>()
        .with::<membership::Membership>()
}
