//! The event contracts: one Avro schema per event and version, with generated Rust types and codec.
//!
//! A module per context and aggregate (`portfolio::application`) holds the newest version of each event and the enum
//! `Event` of all of them. What older versions wrote lies in `v1`, `v2`, …; [`annals_model::event::Event::decode_any`]
//! carries it to the newest. The code is made from the `.avsc` files by `build.rs`: nobody writes a field twice.
//!
//! To add an event: write `<context>/<aggregate>/<event>.v1.avsc`, handle it in its aggregate and in the projections that
//! want it, and release it with `RELEASE_SCHEMAS=1 cargo test -p annals-schemas --test it released`, which adds its line
//! to `released.lock` and its golden record. A compatible change is a new file `<event>.v1.1.avsc` (new fields have
//! defaults); a breaking one is `<event>.v2.avsc` and an upcaster in `src/<context>/upcast/`. A new context also needs
//! its number in [`contexts`].

pub mod contexts;
mod upcasters;

use annals_model::avro::DecodeError;
use annals_model::event::Payload;

include!(concat!(env!("OUT_DIR"), "/events.rs"));

/// Carries a major version to the next one: pure and total. Generated code calls it for every major version but the
/// newest, so a missing link does not compile.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no upcaster",
    note = "write `impl Upcast for {Self}` in src/<context>/upcast/<aggregate>.rs and name the file in src/upcasters.rs"
)]
pub trait Upcast {
    /// The next major version.
    type Next;
    /// What the event would have said, had it been written in the next version.
    fn upcast(self) -> Self::Next;
}

fn json<P: Payload>(payload: &P) -> serde_json::Value {
    serde_json::to_value(payload).expect("payloads are records of texts, numbers and enums, which JSON can always hold")
}

fn payload_json<P: Payload>(payload: &[u8]) -> Result<serde_json::Value, DecodeError> {
    P::decode(payload).map(|payload| json(&payload))
}

fn rewrite_as<P: Payload>(payload: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let payload = P::decode(payload)?;
    let mut out = Vec::new();
    payload.encode(&mut out);
    Ok(out)
}
