//! The HTTP surface: commands, operations, aggregates, queries, read models, health.
