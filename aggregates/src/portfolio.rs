//! What a workspace runs: projects, applications, and what depends on what.

use annals_model::context::BoundedContext;

pub mod application;
pub mod dependency;
pub mod project;

/// Random commands of the context.
#[cfg(feature = "testing")]
pub fn random(pools: &crate::testing::Pools) -> crate::testing::Asks {
    use proptest::strategy::Strategy as _;
    let (project, application) = (project::random::any(pools), application::random::any(pools));
    proptest::prop_oneof![project, application, dependency::random::any(pools)].boxed()
}

/// The context `portfolio`.
pub fn context() -> BoundedContext {
    BoundedContext::new(annals_schemas::contexts::PORTFOLIO)
        .with::<project::Project>()
        .with::<application::Application>()
        .with::<dependency::Dependency>()
}
