//! Where do a real Kafka and a real PostgreSQL come from, where none is running? Servers for tests and for people who try
//! things out, each in a temporary directory, on free ports, ended when dropped.

mod directories;
mod guardian;
pub mod kafka;
pub mod postgres;
pub mod promtool;
pub mod python;
