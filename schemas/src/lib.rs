//! The event contracts: one Avro schema per event and version, with generated Rust types and codec.
