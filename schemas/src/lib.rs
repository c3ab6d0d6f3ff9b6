//! The event contracts: one Avro schema per event and version, with generated Rust types and codec.
//!
//! A module per context and aggregate (`portfolio::application`) holds the newest version of each event and the enum
//! `Event` of all of them. What older versions wrote lies in `v1`, `v2`, …; [`annals_model::event::Event::decode_any`]
//! carries it to the newest. The code is made from the `.avsc` files by `annals-codegen`: nobody writes a field twice.
//!
//! To add an event: write `<context>/<aggregate>/<event>.v1.avsc`, handle it in its aggregate and in the projections that
//! want it, and release it with `RELEASE_SCHEMAS=1 cargo test -p annals-schemas --test it released`, which adds its line
//! to `released.lock` and its golden record. A compatible change is a new file `<event>.v1.1.avsc` (new fields have
//! defaults); a breaking one is `<event>.v2.avsc` and an upcaster in `src/<context>/upcast/`. A new context also needs
//! its number in `build.rs`.

mod upcasters;

annals_model::events!();
