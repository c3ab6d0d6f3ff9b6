//! Who may be where: workspaces of a tenant, and their members.

use annals_model::context::BoundedContext;

pub mod membership;
pub mod workspace;

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
