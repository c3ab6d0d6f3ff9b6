//! The domain: aggregates by bounded context, pure.
