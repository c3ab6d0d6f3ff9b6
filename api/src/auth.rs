//! Who is calling? A signed token says so, and nothing else does: tenant and actor are never read from a body.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use annals_model::ids::{Actor, TenantId, UserId};
use annals_model::limits::SERVICE_NAME_BYTES_MAX;
use annals_projectors::process::file;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::verified::Verified;
use crate::limits;

mod verified;

const ISSUER: &str = "annals-dev";
const AUDIENCE: &str = "annals-api";
const SERVICE_PREFIX: &str = "service:";

/// What allowed a command, as its events say, until policies decide.
pub const POLICY_DECISION: &str = "builtin:dev-token";
/// May see how read models fare, and rebuild them.
pub const ROLE_OPERATOR: &str = "operator";
/// May see how read models fare.
pub const ROLE_AUDITOR: &str = "auditor";

/// Whoever sent a request, as a verified token names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenant that everything they name belongs to.
    pub tenant: TenantId,
    /// Who acts.
    pub actor: Actor,
    /// What they may do besides.
    pub roles: BTreeSet<String>,
}

/// Makes and checks development tokens. The key is a file of the data directory, so that every process that works on
/// the directory can make tokens, and a token outlives a restart.
#[derive(Clone)]
pub struct SigningKey {
    sign: EncodingKey,
    verify: DecodingKey,
    validation: Validation,
    /// Good under this key and these rules.
    verified: Arc<Verified>,
    /// The only tenant whose tokens are taken.
    only: Option<TenantId>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(ed25519)")
    }
}

/// Why the signing key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or made: see to the directory's permissions.
    #[error("signing key {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner can read it: whoever read it can make any token; delete the file, or `chmod 600` it.
    #[error("signing key {path} has mode {mode:o}; others may have read it: delete it, or chmod it to 600")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no Ed25519 key: delete it, a new one is made at the next start; old tokens end with it.
    #[error("signing key {path} holds no ed25519 key; delete it, and a new one is made")]
    Invalid {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no random numbers.
    #[error("no key could be made: the system gave no random numbers")]
    Random,
}

/// Why a token cannot be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// A service's name has 1 to 64 characters of `a-z A-Z 0-9 . _ -`.
    #[error("{0:?} is no service name; use 1 to {max} of a-z A-Z 0-9 . _ -", max = SERVICE_NAME_BYTES_MAX)]
    ServiceName(String),
    /// Ask for fewer roles.
    #[error("{0} roles; a token carries at most {max}", max = limits::TOKEN_ROLES_MAX)]
    Roles(usize),
    /// Ask for a shorter life.
    #[error("{0} s is too long a life; ask for at most {max}", max = limits::TOKEN_TTL_S_MAX)]
    Ttl(u64),
    /// The key does not sign: the process's cryptography is broken.
    #[error("the key does not sign: {0}")]
    Sign(String),
}

/// Why a token is not accepted: get another one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No `Authorization: Bearer` header.
    #[error("no bearer token; send `Authorization: Bearer <token>`")]
    Missing,
    /// Not a token that this server's key signed.
    #[error("not a token of this server; make one with `annals token mint`")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired; make a new one with `annals token mint`")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet; check the clocks")]
    NotYet,
    /// The server serves one tenant alone, and it is another's.
    #[error("this server serves one tenant alone, and the token is another's; ask that tenant's server")]
    OtherTenant,
    /// Its header demands an extension that this server does not have (`crit`).
    #[error("the token demands an extension (`crit`), and this server has none; make one with `annals token mint`")]
    Critical,
    /// A claim is missing or says what it may not.
    #[error("claim `{0}` of the token is missing or wrong; make a new one with `annals token mint`")]
    Claim(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    tenant: String,
    #[serde(default)]
    roles: Vec<String>,
}

impl SigningKey {
    /// The key in the file at `path`; if there is none, a new key, kept there readable by the owner alone.
    pub fn open_or_create(path: &Path) -> Result<Self, KeyError> {
        match read_private(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => create(path)?,
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        // Read back also what was just made: another process may have been first.
        let pkcs8 = read_private(path)?;
        Self::from_pkcs8(&pkcs8).ok_or_else(|| KeyError::Invalid { path: path.to_owned() })
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = limits::TOKEN_LEEWAY_S;
        Some(Self {
            sign: EncodingKey::from_ed_der(pkcs8),
            verify: DecodingKey::from_ed_der(pair.public_key().as_ref()),
            validation,
            verified: Arc::default(),
            only: None,
        })
    }

    /// A token that lets its holder act as `actor` in `tenant` for `ttl` (whole seconds) from now.
    pub fn mint(&self, tenant: TenantId, actor: &Actor, roles: &[&str], ttl: Duration) -> Result<String, MintError> {
        self.mint_at(now_s(), tenant, actor, roles, ttl)
    }

    fn mint_at(
        &self,
        now_s: u64,
        tenant: TenantId,
        actor: &Actor,
        roles: &[&str],
        ttl: Duration,
    ) -> Result<String, MintError> {
        let sub = match actor {
            Actor::User(id) => id.to_string(),
            Actor::Service(name) if is_service_name(name) => format!("{SERVICE_PREFIX}{name}"),
            Actor::Service(name) => return Err(MintError::ServiceName(name.to_string())),
        };
        if roles.len() > limits::TOKEN_ROLES_MAX {
            return Err(MintError::Roles(roles.len()));
        }
        if ttl.as_secs() > limits::TOKEN_TTL_S_MAX {
            return Err(MintError::Ttl(ttl.as_secs()));
        }
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub,
            iat: now_s,
            nbf: now_s,
            exp: now_s + ttl.as_secs(),
            tenant: tenant.to_string(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.sign)
            .map_err(|error| MintError::Sign(error.to_string()))
    }

    /// The same key for a server that serves one tenant alone: tokens of every other one are refused.
    #[must_use]
    pub fn only_for(self, tenant: Option<TenantId>) -> Self {
        // What was found good before may be another tenant's.
        Self { only: tenant, verified: Arc::default(), ..self }
    }

    /// Who a token says is calling.
    pub fn verify(&self, token: &str) -> Result<Caller, TokenError> {
        if let Some(caller) = self.verified.get(token, now_s()) {
            return Ok(caller);
        }
        let (caller, until_s) = self.check(token)?;
        self.verified.insert(token, caller.clone(), until_s, now_s());
        Ok(caller)
    }

    /// The same, and until when, in seconds since 1970.
    fn check(&self, token: &str) -> Result<(Caller, u64), TokenError> {
        if token.len() > limits::BEARER_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let TokenData { header, claims, .. } = jsonwebtoken::decode::<Claims>(token, &self.verify, &self.validation)
            .map_err(|error| refusal(error.kind()))?;
        // RFC 7515: what must be understood and is not. Nothing is understood here.
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        // No token of ours lasts longer, and one that lasts for ever can never be taken back.
        if claims.exp > now_s().saturating_add(limits::TOKEN_TTL_S_MAX + limits::TOKEN_LEEWAY_S) {
            return Err(TokenError::Claim("exp"));
        }
        if claims.roles.len() > limits::TOKEN_ROLES_MAX {
            return Err(TokenError::Claim("roles"));
        }
        let tenant = Uuid::parse_str(&claims.tenant).map_err(|_| TokenError::Claim("tenant"))?;
        if tenant.is_nil() {
            return Err(TokenError::Claim("tenant"));
        }
        if self.only.is_some_and(|only| only.0 != tenant) {
            return Err(TokenError::OtherTenant);
        }
        let actor = match claims.sub.strip_prefix(SERVICE_PREFIX) {
            Some(name) if is_service_name(name) => Actor::Service(name.into()),
            Some(_) => return Err(TokenError::Claim("sub")),
            None => match Uuid::parse_str(&claims.sub) {
                Ok(id) if !id.is_nil() => Actor::User(UserId(id)),
                Ok(_) | Err(_) => return Err(TokenError::Claim("sub")),
            },
        };
        let until_s = claims.exp.saturating_add(limits::TOKEN_LEEWAY_S);
        Ok((Caller { tenant: TenantId(tenant), actor, roles: claims.roles.into_iter().collect() }, until_s))
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYet,
        ErrorKind::InvalidIssuer => TokenError::Claim("iss"),
        ErrorKind::InvalidAudience => TokenError::Claim("aud"),
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            let known = ["exp", "nbf", "iss", "aud", "sub"].into_iter().find(|name| name == claim);
            known.map_or(TokenError::Invalid, TokenError::Claim)
        }
        // The rest says how far a forger came: nobody's business.
        _ => TokenError::Invalid,
    }
}

fn is_service_name(name: &str) -> bool {
    (1..=SERVICE_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn read_private(path: &Path) -> Result<Vec<u8>, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    if let Some(mode) = file::exposed_mode(path).map_err(io)? {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    fs::read(path).map_err(io)
}

fn create(path: &Path) -> Result<(), KeyError> {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
    file::create_private(path, pkcs8.as_ref()).map_err(|source| KeyError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
