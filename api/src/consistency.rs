//! Consistency tokens: a position of this log, sealed. A client hands one back as it got it, and neither reads in it how much
//! others write, nor makes one up.

use std::sync::Arc;

use annals_model::ids::LogId;
use annals_model::position::PositionVector;
use annals_model::query::CursorKey;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::limits;
use crate::problem::{Code, Problem};

/// `Consistency-Token`: on an answer, what covers it; on a query, what the answer must cover.
pub(crate) const CONSISTENCY_TOKEN: &str = "consistency-token";

/// First byte of every token. The first form bore no check.
const FORMAT: u8 = 2;
const PURPOSE: &str = "annals consistency token";

/// Seals and opens the consistency tokens of one log. Every node of a deployment has the same key, or refuses the others'.
#[derive(Clone, Debug)]
pub struct ConsistencyTokens {
    key: Arc<LessSafeKey>,
    log: LogId,
}

/// Why a consistency token is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsistencyTokenError {
    /// Not a token of this deployment: send one exactly as an answer carried it.
    #[error(
        "not a consistency token of this deployment; send one exactly as an answer carried it, or read again without one"
    )]
    Malformed,
    /// The log was restored or imported since: positions of the old one mean nothing here; read without a token.
    #[error("token is of log {token}, this is log {log}; read again without a token")]
    OtherLog {
        /// The log that the token was issued for.
        token: LogId,
        /// The log that is served here.
        log: LogId,
    },
}

impl ConsistencyTokens {
    /// Of the deployment's secret and its log.
    pub fn new(key: &CursorKey, log: LogId) -> Self {
        let unbound = UnboundKey::new(&AES_256_GCM_SIV, &key.derive(PURPOSE)).expect("the key has 32 bytes");
        Self { key: Arc::new(LessSafeKey::new(unbound)), log }
    }

    /// The token of a position: the same at every node.
    pub fn issue(&self, position: &PositionVector) -> String {
        let mut sealed = self.log.as_bytes().to_vec();
        sealed.extend_from_slice(&position.to_bytes());
        self.key
            .seal_in_place_append_tag(nonce(), Aad::from([FORMAT]), &mut sealed)
            .expect("a position is far below the length that can be sealed");
        sealed.insert(0, FORMAT);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The position of a token that [`ConsistencyTokens::issue`] made, at whatever node.
    pub fn read(&self, token: &str) -> Result<PositionVector, ConsistencyTokenError> {
        self.open(token).ok_or(ConsistencyTokenError::Malformed).and_then(|(log, position)| match log {
            log if log == self.log => Ok(position),
            token => Err(ConsistencyTokenError::OtherLog { token, log: self.log }),
        })
    }

    fn open(&self, token: &str) -> Option<(LogId, PositionVector)> {
        if token.len() > limits::CONSISTENCY_TOKEN_BYTES_MAX {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (&mut FORMAT, sealed) = bytes.split_first_mut()? else { return None };
        let opened = self.key.open_in_place(nonce(), Aad::from([FORMAT]), sealed).ok()?;
        let (log, position) = opened.split_first_chunk::<16>()?;
        Some((LogId::from_bytes(*log), PositionVector::from_bytes(position)?))
    }
}

/// Always the same: AES-GCM-SIV then tells of two tokens whether they are equal, and nothing more.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

impl From<ConsistencyTokenError> for Problem {
    fn from(error: ConsistencyTokenError) -> Self {
        let code = match error {
            ConsistencyTokenError::Malformed => Code::InvalidConsistencyToken,
            ConsistencyTokenError::OtherLog { .. } => Code::ForeignConsistencyToken,
        };
        Self::at(code, "Consistency-Token", error.to_string())
    }
}

#[cfg(test)]
mod tests;
