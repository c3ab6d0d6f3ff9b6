//! A small bank on Annals.

pub mod account;
pub mod read_model;

/// What `build.rs` made of `schemas/`.
pub mod events {
    annals_model::events!();
}

use annals_model::application::Application;
use annals_model::context::BoundedContext;

/// The whole bank, as one value: all that engine, HTTP and command line get to know of it.
pub fn application() -> Application {
    Application {
        name: "bank",
        contexts: vec![BoundedContext::new(events::contexts::BANK).with::<account::Account>()],
        schemas: events::CATALOGUE,
        read_models: read_model::definitions(),
        admission: None,
    }
}
