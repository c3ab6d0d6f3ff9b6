//! Does a cluster keep its promises while its parts die, stand still and come back? Real processes, a real Kafka of three
//! brokers, a real Postgres, clients that retry, faults by seed, and a checker over what all of them left behind.
//!
//! A run is a [`world`] in which [`clients`] follow a [`workload`] while [`faults`] strike; then the world becomes quiet
//! and everything that was told to clients ([`history`]) is held against the log ([`recorded`]) and the read models.

pub mod bed;
pub mod bugs;
pub mod check;
pub mod clients;
pub mod drills;
pub mod faults;
pub mod history;
pub mod isolation;
pub mod made;
pub mod process;
pub mod programs;
pub mod recorded;
pub mod sessions;
pub mod workload;
pub mod world;
