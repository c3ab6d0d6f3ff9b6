//! What a workspace runs: projects, applications, and what depends on what.

use annals_model::context::BoundedContext;

pub mod application;
pub mod dependency;
pub mod project;

/// Its random commands, and the rules between its aggregates that they must meet.
#[cfg(feature = "testing")]
pub(crate) const RANDOM: crate::testing::Random = crate::testing::Random {
    commands: |pools| {
        let (project, application) = (project::random::any(pools), application::random::any(pools));
        crate::testing::any_of([project, application, dependency::random::any(pools)])
    },
    rules: &["project_archived", "still_needed", "application_retired", "on_itself", "no_such_project"],
};

/// The context `portfolio`.
pub fn context() -> BoundedContext {
    BoundedContext::new(annals_schemas::contexts::PORTFOLIO)
        .with::<project::Project>()
        .with::<application::Application>()
        .with::<dependency::Dependency>()
}
