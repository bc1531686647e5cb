//! The keys that prove who is calling: signing keys of access tokens, and the secrets of refresh tokens.
//!
//! A signing key (P-256) is published ten minutes before it signs and until the last token that it
//! signed has expired, so that everybody who verifies has it in time. Other processes make keys, too:
//! they are read again now and then, and before one signs that was read too long ago. At rest its private part is
//! encrypted with the `kek` of the role's secret. Only this room touches signing keys.

pub mod refresh;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    digest,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use errand_changelog::UserId;
use errand_chassis::{
    clock::Clock,
    jwks::{KeySet, PublicKey},
    secret::Secret,
    token::{AUDIENCE, Claims, ISSUER, LEEWAY, TYPE},
};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::SecretString;
use uuid::Uuid;

use crate::store::{self, SealedKey, Store};

pub use errand_chassis::token::ACCESS_LIFETIME;

/// How long a key is published before it signs.
pub const LEAD: SignedDuration = SignedDuration::from_mins(10);

/// Keys that were read longer ago than this are read again before they sign.
const FRESH: SignedDuration = SignedDuration::from_mins(1);
/// Keys that were read longer ago than this are read again when somebody asks for them, because a token may name one
/// that is not known yet.
const ASKED: SignedDuration = SignedDuration::from_secs(1);
/// How often a new key is tried to be made when another process was faster.
const TRIES: usize = 8;

/// What the token of a first-party session allows.
const SCOPE: &str = "tasks:read tasks:write chat account";
/// What the token allows that ends with its user.
const ERASE: &str = "erase";
/// How long that is valid: for one call.
const ERASURE_LIFETIME: SignedDuration = SignedDuration::from_mins(1);

/// Bytes of the thumbprint (RFC 7638) that name a key.
const KID_LENGTH: usize = 16;

/// Why there is no key or no signature.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The keys could not be read or written.
    #[error("the signing keys can not be reached")]
    Store(#[from] store::Error),
    /// A key does not open: the secret is another one than it was sealed with, or the row was changed.
    #[error("signing key {kid} does not open with this secret key")]
    Sealed {
        /// The key's name.
        kid: String,
    },
    /// Something that the cryptographic library does not expect to happen.
    #[error("signing failed: {0}")]
    Failed(&'static str),
}

/// Whom an access token is for.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: Uuid,
    /// The user's time zone.
    pub time_zone: &'a str,
}

/// A signing key, for a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub kid: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// What it does now.
    pub state: State,
    /// It signs from then on.
    pub not_before: Timestamp,
    /// It is no longer published from then on; none for the newest key.
    pub not_after: Option<Timestamp>,
}

/// What a signing key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is published, so that everybody knows it when it begins to sign.
    Waiting,
    /// It signs.
    Signing,
    /// It signs no more; tokens of it may still be about.
    Verifying,
    /// No token of it can be valid any more.
    Retired,
}

/// The signing keys, read, opened and published.
pub struct Keys {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    seal: Arc<RandomizedNonceKey>,
    published: KeySet,
    ring: RwLock<Ring>,
    /// One reading at a time.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Ring {
    /// The oldest first.
    keys: Arc<Vec<Key>>,
    read_time: Timestamp,
}

struct Key {
    public: PublicKey,
    not_before: Timestamp,
    not_after: Option<Timestamp>,
    create_time: Timestamp,
    private: EncodingKey,
}

// === impl Keys ===

impl Keys {
    /// Reads and publishes the keys.
    ///
    /// # Errors
    /// When they can not be read, or were sealed with another secret.
    pub async fn read(
        store: Arc<dyn Store>,
        secret: &Secret,
        clock: Arc<dyn Clock>,
        published: KeySet,
    ) -> Result<Self, Error> {
        let seal = RandomizedNonceKey::new(&AES_256_GCM, &secret.derive("kek"))
            .map_err(|_| Error::Failed("the key encryption key is refused"))?;
        let ring = Ring { keys: Arc::default(), read_time: Timestamp::MIN };
        let ring = RwLock::new(ring);
        let keys = Self { store, clock, seal: Arc::new(seal), published, ring, reading: tokio::sync::Mutex::default() };
        keys.refresh().await?;
        Ok(keys)
    }

    /// Makes the first key when there is none, so that there is always one that signs. Of several processes that
    /// find none, one makes it and the others use it.
    ///
    /// # Errors
    /// When it can not be stored.
    pub async fn ensure(&self) -> Result<(), Error> {
        if self.ring().is_empty() {
            let now = self.clock.now();
            self.make(now, now).await?;
        }
        Ok(())
    }

    /// Makes a new key, published now, that signs after the lead, or at once when it is the only one;
    /// the key before it ends when its last token has expired. Answers the new key's name.
    ///
    /// # Errors
    /// When it can not be stored.
    pub async fn rotate(&self) -> Result<String, Error> {
        for _ in 0..TRIES {
            let now = self.clock.now();
            let lead = if self.ring().is_empty() { SignedDuration::ZERO } else { LEAD };
            if let Some(kid) = self.make(now, now.checked_add(lead).unwrap_or(Timestamp::MAX)).await? {
                return Ok(kid);
            }
        }
        Err(store::Error::Busy.into())
    }

    /// Sees to it that keys which are about to sign were read lately. Every process does, so one that can not is about
    /// to sign with a key that the others may have given up.
    ///
    /// # Errors
    /// When they could not be read for so long that a new key may sign by now.
    pub async fn fresh(&self) -> Result<(), Error> {
        let Err(error) = self.at_most(FRESH).await else { return Ok(()) };
        if self.age() < LEAD {
            tracing::warn!(%error, "the signing keys could not be read again; those that are known sign on");
            return Ok(());
        }
        Err(error)
    }

    /// The public keys for somebody who asks, who may have seen one that is not known here yet.
    pub async fn asked(&self) -> Vec<PublicKey> {
        if let Err(error) = self.at_most(ASKED).await {
            tracing::warn!(%error, "the signing keys could not be read again; those that are known are told");
        }
        self.public()
    }

    async fn at_most(&self, age: SignedDuration) -> Result<(), Error> {
        if self.age() < age {
            return Ok(());
        }
        // Whoever waited here finds them read.
        let _reading = self.reading.lock().await;
        if self.age() < age { Ok(()) } else { self.refresh().await }
    }

    /// How long ago the keys were read; a clock that stepped back makes them old.
    fn age(&self) -> SignedDuration {
        let read_time = self.ring.read().unwrap_or_else(PoisonError::into_inner).read_time;
        let age = self.clock.now().duration_since(read_time);
        if age.is_negative() { SignedDuration::MAX } else { age }
    }

    /// Reads the keys again and publishes those that are not retired.
    ///
    /// # Errors
    /// When they can not be read, or do not open; then the keys stay as they were.
    pub async fn refresh(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let stored = self.store.signing_keys().await?;
        let mut ring = Vec::with_capacity(stored.len());
        for sealed in stored {
            let key = self.unseal(&sealed)?;
            if !key.is_retired(now) {
                ring.push(key);
            }
        }
        let public: Vec<_> = ring.iter().map(|key| key.public.clone()).collect();
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Ring { keys: Arc::new(ring), read_time: now };
        self.published.publish(&public);
        Ok(())
    }

    /// The public keys that may have signed a valid token, or soon will.
    #[must_use]
    pub fn public(&self) -> Vec<PublicKey> {
        let now = self.clock.now();
        self.ring().iter().filter(|key| !key.is_retired(now)).map(|key| key.public.clone()).collect()
    }

    /// Every key that is not retired, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let (ring, now) = (self.ring(), self.clock.now());
        let signing = signing(&ring, now).map(|key| &key.public.kid);
        ring.iter()
            .map(|key| Listed {
                kid: key.public.kid.clone(),
                create_time: key.create_time,
                state: match () {
                    () if key.is_retired(now) => State::Retired,
                    () if signing == Some(&key.public.kid) => State::Signing,
                    () if key.not_before > now => State::Waiting,
                    () => State::Verifying,
                },
                not_before: key.not_before,
                not_after: key.not_after,
            })
            .collect()
    }

    /// Signs an access token that is valid from now for [`ACCESS_LIFETIME`].
    ///
    /// # Errors
    /// When there is no key, which [`Keys::ensure`] prevents.
    pub fn sign(&self, holder: Holder<'_>) -> Result<SecretString, Error> {
        self.token(holder, SCOPE, ACCESS_LIFETIME)
    }

    /// Signs a token that allows nothing but to erase what a service holds of this user. It belongs to
    /// no session.
    ///
    /// # Errors
    /// When there is no key, which [`Keys::ensure`] prevents.
    pub fn sign_erasure(&self, user: UserId) -> Result<SecretString, Error> {
        self.token(Holder { user, session: Uuid::nil(), time_zone: "" }, ERASE, ERASURE_LIFETIME)
    }

    fn token(&self, holder: Holder<'_>, scope: &str, lifetime: SignedDuration) -> Result<SecretString, Error> {
        let now = self.clock.now();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: *holder.user.as_uuid(),
            sid: holder.session,
            jti: self.clock.id(),
            iat: now.as_second(),
            exp: now.as_second().saturating_add(lifetime.as_secs()),
            nbf: None,
            scope: scope.to_owned(),
            zoneinfo: holder.time_zone.to_owned(),
        };
        let ring = self.ring();
        let key = signing(&ring, now).ok_or(Error::Failed("there is no key"))?;
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key.public.kid.clone());
        let token = jsonwebtoken::encode(&header, &claims, &key.private);
        token.map(SecretString::from).map_err(|_| Error::Failed("the key does not sign"))
    }

    fn ring(&self) -> Arc<Vec<Key>> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).keys.clone()
    }

    /// Makes the key after the newest one that is known; none when there is a newer one, which is known then.
    async fn make(&self, now: Timestamp, not_before: Timestamp) -> Result<Option<String>, Error> {
        let sealed = self.generate(now, not_before)?;
        let kid = sealed.kid.clone();
        // The key before signs until this one does; its last token lives on for a lifetime.
        let others_end =
            not_before.checked_add(ACCESS_LIFETIME).and_then(|end| end.checked_add(LEEWAY)).unwrap_or(Timestamp::MAX);
        let newest = self.ring().iter().find(|key| key.not_after.is_none()).map(|key| key.public.kid.clone());
        let added = self.store.add_signing_key(sealed, others_end, newest.as_deref()).await?;
        self.refresh().await?;
        if !added {
            return Ok(None);
        }
        tracing::info!(key.id = kid, "made a signing key");
        Ok(Some(kid))
    }

    fn generate(&self, now: Timestamp, not_before: Timestamp) -> Result<SealedKey, Error> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| Error::Failed("no key could be generated"))?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| Error::Failed("a key can not be written down"))?;
        let (x, y) = coordinates(&pair)?;
        let kid = thumbprint(&x, &y);
        let mut sealed = pkcs8.as_ref().to_vec();
        let nonce = self
            .seal
            .seal_in_place_append_tag(Aad::from(kid.as_bytes()), &mut sealed)
            .map_err(|_| Error::Failed("a key can not be encrypted"))?;
        let sealed = [nonce.as_ref().as_slice(), &sealed].concat();
        Ok(SealedKey { kid, create_time: now, not_before, not_after: None, sealed })
    }

    fn unseal(&self, stored: &SealedKey) -> Result<Key, Error> {
        let wrong = || Error::Sealed { kid: stored.kid.clone() };
        let (nonce, sealed) = stored.sealed.split_at_checked(NONCE_LEN).ok_or_else(wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let mut opened = sealed.to_vec();
        let pkcs8 =
            self.seal.open_in_place(nonce, Aad::from(stored.kid.as_bytes()), &mut opened).map_err(|_| wrong())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| wrong())?;
        let (x, y) = coordinates(&pair)?;
        Ok(Key {
            public: PublicKey { kid: stored.kid.clone(), x, y },
            not_before: stored.not_before,
            not_after: stored.not_after,
            create_time: stored.create_time,
            private: EncodingKey::from_ec_der(pkcs8),
        })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ring().iter().map(|key| &key.public.kid)).finish()
    }
}

impl Key {
    fn is_retired(&self, now: Timestamp) -> bool {
        self.not_after.is_some_and(|end| end <= now)
    }
}

/// The newest key whose time has come; when a clock stepped back before all of them, the oldest.
fn signing(ring: &[Key], now: Timestamp) -> Option<&Key> {
    ring.iter().rev().find(|key| key.not_before <= now).or(ring.first())
}

fn coordinates(pair: &EcdsaKeyPair) -> Result<(Vec<u8>, Vec<u8>), Error> {
    // An uncompressed point (SEC 1, section 2.3.3): 4, then x, then y.
    match pair.public_key().as_ref().split_first() {
        Some((4, point)) if point.len() == 64 => Ok((point[..32].to_vec(), point[32..].to_vec())),
        _ => Err(Error::Failed("a key has no point")),
    }
}

/// A key is named by half of its thumbprint (RFC 7638), so that a name never means two keys.
fn thumbprint(x: &[u8], y: &[u8]) -> String {
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let digest = digest::digest(&digest::SHA256, canonical.as_bytes());
    URL_SAFE_NO_PAD.encode(&digest.as_ref()[..KID_LENGTH])
}

#[cfg(test)]
#[path = "keys/tests.rs"]
mod tests;
