//! Access tokens: JWT (RFC 7519) of type `at+jwt` (RFC 9068), signed with ES256 and nothing else.
//!
//! Every role verifies for itself. A verified token is remembered, so that the next call with it
//! costs a look-up; its expiry and its key are still checked each time.

use std::{fmt, sync::Arc};

use errand_changelog::UserId;
use errand_proto::contract::Scope;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, Header, Validation};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tonic::Code;
use uuid::Uuid;

use crate::{
    clock::Clock,
    error::Error,
    jwks::{KeySet, Lookup},
};

/// The `iss` of our tokens.
pub const ISSUER: &str = "errand";
/// The `aud` of our tokens.
pub const AUDIENCE: &str = "errand";
/// The `typ` in the header of our tokens.
pub const TYPE: &str = "at+jwt";
/// How long an access token is valid.
pub const ACCESS_LIFETIME: SignedDuration = SignedDuration::from_mins(15);
/// How far clocks may differ.
pub const LEEWAY: SignedDuration = SignedDuration::from_secs(5);

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 4096;
/// How many verified tokens are remembered, about 2 KiB each.
const REMEMBERED: u64 = 4096;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who made it.
    pub iss: String,
    /// For whom it is.
    pub aud: String,
    /// The user.
    pub sub: Uuid,
    /// The session.
    pub sid: Uuid,
    /// The token's own id.
    pub jti: Uuid,
    /// When it was made, in seconds since the epoch.
    pub iat: i64,
    /// When it ends, in seconds since the epoch.
    pub exp: i64,
    /// Before when it is not valid, in seconds since the epoch; ours never say so.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// What it allows, words with spaces between (RFC 8693).
    pub scope: String,
    /// The user's time zone (IANA).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zoneinfo: String,
}

/// A token that was verified.
#[derive(Debug)]
pub struct Verified {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: Uuid,
    /// The user's time zone (IANA), UTC when the token says none.
    pub time_zone: String,
    /// When it ends.
    pub expires: Timestamp,
    /// The token itself.
    pub token: AccessToken,
    not_before: Timestamp,
    scope: String,
    kid: String,
}

/// A token as text, to call a peer in the user's name. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Arc<str>);

/// Verifies access tokens.
#[derive(Debug)]
pub struct Verifier {
    keys: KeySet,
    clock: Arc<dyn Clock>,
    validation: Validation,
    /// By their signatures, which are shorter and as different as the tokens.
    remembered: Cache<String, Arc<Verified>>,
}

/// Why a token is not taken, as far as it can change.
enum Refused {
    KeyUnknown,
    For(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::For(error)
    }
}

// === impl Verifier ===

impl Verifier {
    /// A verifier over these keys.
    #[must_use]
    pub fn new(keys: KeySet, clock: Arc<dyn Clock>) -> Self {
        let mut validation = Validation::new(Algorithm::ES256);
        // Times are checked below, by our clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        Self { keys, clock, validation, remembered: Cache::new(REMEMBERED) }
    }

    /// Verifies a token: its signature, type, issuer, audience and times.
    ///
    /// # Errors
    /// UNAUTHENTICATED with TOKEN_EXPIRED or TOKEN_INVALID; UNAVAILABLE, KEYS_NOT_LOADED, while
    /// there are no keys to verify with.
    pub fn verify(&self, raw: &str) -> Result<Arc<Verified>, Error> {
        self.check(raw).map_err(|refused| match refused {
            Refused::KeyUnknown => invalid("its key is unknown or has been retired"),
            Refused::For(error) => error,
        })
    }

    /// The same; a key that is not known is asked for first, where keys are fetched.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn verify_fetching(&self, raw: &str) -> Result<Arc<Verified>, Error> {
        match self.check(raw) {
            Ok(verified) => Ok(verified),
            Err(Refused::For(error)) => Err(error),
            Err(Refused::KeyUnknown) => {
                self.keys.fetch_again().await;
                self.verify(raw)
            }
        }
    }

    fn check(&self, raw: &str) -> Result<Arc<Verified>, Refused> {
        let signature = raw.rsplit('.').next().unwrap_or_default();
        if let Some(verified) = self.remembered.get(signature).filter(|verified| *verified.token.0 == *raw) {
            return match self.keys.find(&verified.kid) {
                Lookup::Found(_) => Ok(self.still_valid(&verified).map(|()| verified)?),
                Lookup::Unknown | Lookup::NothingLoaded => Err(invalid("its key has been retired").into()),
            };
        }
        if raw.len() > LONGEST {
            return Err(invalid("it is too long to be one").into());
        }
        let header = jsonwebtoken::decode_header(raw).map_err(|_| invalid("it is not a JWT of ours"))?;
        // Exactly the header that auth writes: a key, or a link to one, inside a token is an attack
        // (RFC 8725, section 3.10), and `crit` must be refused when it is not understood.
        let expected = Header { typ: Some(TYPE.to_owned()), kid: header.kid.clone(), ..Header::new(Algorithm::ES256) };
        if header != expected {
            return Err(invalid("its header is not that of an access token").into());
        }
        let kid = header.kid.unwrap_or_default();
        let key = match self.keys.find(&kid) {
            Lookup::Found(key) => key,
            Lookup::Unknown => return Err(Refused::KeyUnknown),
            Lookup::NothingLoaded => {
                return Err(Error::new(
                    Code::Unavailable,
                    "KEYS_NOT_LOADED",
                    "no signing keys are loaded yet; try again",
                )
                .retry_after(std::time::Duration::from_secs(1))
                .into());
            }
        };
        let claims = jsonwebtoken::decode::<Claims>(raw, &key, &self.validation)
            .map_err(|_| invalid("its signature or claims are not valid"))?
            .claims;
        let verified = Arc::new(Verified::new(claims, raw, kid).ok_or_else(|| invalid("its times are not valid"))?);
        self.still_valid(&verified)?;
        self.remembered.insert(signature.to_owned(), verified.clone());
        Ok(verified)
    }

    fn still_valid(&self, verified: &Verified) -> Result<(), Error> {
        let expired = self.clock.now().duration_since(verified.expires) > LEEWAY;
        if expired {
            return Err(Error::new(
                Code::Unauthenticated,
                "TOKEN_EXPIRED",
                "the access token has expired; get a new one with RefreshToken or LogIn",
            ));
        }
        if verified.not_before.duration_since(self.clock.now()) > LEEWAY {
            return Err(invalid("it is not valid yet"));
        }
        Ok(())
    }
}

/// A number that is there; `null` is not the same as leaving it out.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    i64::deserialize(deserializer).map(Some)
}

fn invalid(why: &str) -> Error {
    Error::new(Code::Unauthenticated, "TOKEN_INVALID", format!("the access token is not valid: {why}"))
}

// === impl Verified ===

impl Verified {
    /// None when the times are no times, or lie the wrong way round.
    fn new(claims: Claims, raw: &str, kid: String) -> Option<Self> {
        let issued = Timestamp::from_second(claims.iat).ok()?;
        let expires = Timestamp::from_second(claims.exp).ok()?;
        let not_before = claims.nbf.map_or(Some(issued), |nbf| Timestamp::from_second(nbf).ok())?.max(issued);
        if claims.iat < 0 || not_before > expires {
            return None;
        }
        Some(Self {
            user: UserId::from(claims.sub),
            session: claims.sid,
            time_zone: if claims.zoneinfo.is_empty() { "UTC".to_owned() } else { claims.zoneinfo },
            expires,
            token: AccessToken(raw.into()),
            not_before,
            scope: claims.scope,
            kid,
        })
    }

    /// Whether the token allows this.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        scope == Scope::None || self.scope.split(' ').any(|word| word == scope.as_str())
    }
}

// === impl AccessToken ===

impl AccessToken {
    /// The token's text.
    #[must_use]
    pub fn bearer(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(***)")
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
