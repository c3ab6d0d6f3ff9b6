//! Where do rows live, and who answers what is asked of them? Relational stores: SQLite and PostgreSQL.

pub mod limits;
pub mod queries;
pub mod sinks;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
