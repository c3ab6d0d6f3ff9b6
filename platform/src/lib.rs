//! The platform as one value: what its processes and its tool are given of the domain, and all of it.

use annals_model::application::Application;

/// The platform.
pub fn application() -> Application {
    Application {
        name: "annals",
        contexts: annals_aggregates::contexts(),
        schemas: annals_schemas::CATALOGUE,
        read_models: annals_read_models::definitions(),
        admission: Some(annals_aggregates::access::ADMISSION),
    }
}

#[cfg(test)]
mod tests;
