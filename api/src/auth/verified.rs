//! Tokens whose signature was checked before. Checking one takes longer than everything else that a request needs of the
//! processor, and clients send the same token with every request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Caller;
use crate::limits;

/// Whole tokens, signature included, and whom they name; each until its time is over.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<HashMap<Box<str>, Named>>);

#[derive(Debug)]
struct Named {
    caller: Caller,
    /// Seconds since 1970, the forgiven difference of clocks included.
    until_s: u64,
}

impl Verified {
    /// Whom a token names that was checked before and whose time is not over.
    pub(super) fn get(&self, token: &str, now_s: u64) -> Option<Caller> {
        self.tokens().get(token).filter(|named| now_s < named.until_s).map(|named| named.caller.clone())
    }

    /// Remembers a token whose signature and claims were checked.
    pub(super) fn insert(&self, token: &str, caller: Caller, until_s: u64, now_s: u64) {
        let mut tokens = self.tokens();
        if tokens.len() >= limits::TOKENS_VERIFIED_MAX {
            tokens.retain(|_, named| now_s < named.until_s);
        }
        if tokens.len() >= limits::TOKENS_VERIFIED_MAX {
            tokens.clear();
        }
        tokens.insert(token.into(), Named { caller, until_s });
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<Box<str>, Named>> {
        // Nothing between lock and unlock leaves the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
