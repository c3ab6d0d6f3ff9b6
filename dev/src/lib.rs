//! Where does a real Kafka come from, where none is installed? Servers for tests and for people who try things out, each
//! in a temporary directory, on free ports, ended when dropped.

pub mod kafka;
