//! Where the upcasters of each aggregate are.

#[path = "portfolio/upcast/application.rs"]
mod portfolio_application;
