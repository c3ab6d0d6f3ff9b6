//! Who may be where: workspaces of a tenant, and their members.

use annals_model::context::BoundedContext;

pub mod membership;
pub mod workspace;

/// The context `access`.
pub fn context() -> BoundedContext {
    BoundedContext::new(annals_schemas::contexts::ACCESS)
        .with::<workspace::Workspace>()
        .with::<membership::Membership>()
}
