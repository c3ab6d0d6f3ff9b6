//! What a workspace runs: projects, applications, and what depends on what.

use annals_model::context::BoundedContext;

pub mod application;
pub mod dependency;
pub mod project;

/// The context `portfolio`.
pub fn context() -> BoundedContext {
    BoundedContext::new(annals_schemas::contexts::PORTFOLIO)
        .with::<project::Project>()
        .with::<application::Application>()
        .with::<dependency::Dependency>()
}
