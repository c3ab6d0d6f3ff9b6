//! What does a store hold, in a few bytes? Two stores that remember the same have the same digests, however they came
//! to it: an owner's memory after years of batches, and a fold of the log from its start.

use annals_model::avro::{put_long, put_str};
use annals_model::canonical::Digest;
use sha2::{Digest as _, Sha256};

use super::{AggregateKey, MemoryStateStore, UniqueKey};

/// Digests of a store's parts, so that a difference says where it lies. Positions are left out: claims move them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateDigests {
    /// States and versions, as clients see them.
    pub aggregates: Digest,
    /// Accepted commands.
    pub ledger: Digest,
    /// Values and their holders.
    pub unique_keys: Digest,
    /// Counts of live references.
    pub references: Digest,
    /// Where the events of each aggregate lie.
    pub histories: Digest,
}

impl MemoryStateStore {
    /// Digests of everything it holds; reads all of it.
    pub fn digests(&self) -> StateDigests {
        StateDigests {
            aggregates: digest(self.aggregates.iter().map(|(key, entry)| {
                let mut out = encoded(key);
                put_long(&mut out, entry.version.0.cast_signed());
                out.extend_from_slice(entry.workspace.as_bytes());
                put_str(&mut out, &entry.state.to_json().to_string());
                out
            })),
            ledger: digest(self.ledger.iter().map(|(operation, entry)| {
                let mut out = operation.as_bytes().to_vec();
                put_str(&mut out, &entry.client_request_id);
                out.extend_from_slice(&entry.fingerprint.0);
                out.extend_from_slice(&encoded(&entry.aggregate));
                for number in [entry.version.0, entry.events.into(), entry.first.0, entry.end.0] {
                    put_long(&mut out, number.cast_signed());
                }
                out
            })),
            unique_keys: digest(self.unique.iter().map(|(UniqueKey { scope, name, value }, holder)| {
                let mut out = [*scope.tenant.as_bytes(), *scope.workspace.as_bytes()].concat();
                put_str(&mut out, name);
                put_str(&mut out, value);
                out.extend_from_slice(&encoded(holder));
                out
            })),
            references: digest(self.references.iter().map(|(key, count)| {
                let mut out = [*key.scope.tenant.as_bytes(), *key.scope.workspace.as_bytes()].concat();
                out.extend_from_slice(key.target.as_bytes());
                put_str(&mut out, key.label.target_type());
                put_str(&mut out, key.label.name());
                put_long(&mut out, *count);
                out
            })),
            histories: digest(self.index.iter().map(|(key, offsets)| {
                let mut out = encoded(key);
                offsets.iter().for_each(|offset| put_long(&mut out, offset.0.cast_signed()));
                out
            })),
        }
    }
}

fn encoded(key: &AggregateKey) -> Vec<u8> {
    let mut out = [*key.scope.tenant.as_bytes(), *key.scope.workspace.as_bytes(), *key.id.as_bytes()].concat();
    put_str(&mut out, key.aggregate_type);
    out
}

/// SHA-256 over the entries in the order of their bytes; each entry's length stands before it.
fn digest(entries: impl Iterator<Item = Vec<u8>>) -> Digest {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable();
    let mut hasher = Sha256::new();
    for entry in entries {
        hasher.update((entry.len() as u64).to_be_bytes());
        hasher.update(&entry);
    }
    Digest(hasher.finalize().into())
}
