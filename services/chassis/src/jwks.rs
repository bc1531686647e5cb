//! The public keys that access tokens are verified with, by `kid`.
//!
//! In one process auth publishes into the set that every role reads; a role apart fetches it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;

/// The public part of a signing key on P-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The name that tokens give it.
    pub kid: String,
    /// The x coordinate, 32 bytes.
    pub x: Vec<u8>,
    /// The y coordinate, 32 bytes.
    pub y: Vec<u8>,
}

/// The keys that are valid now, shared by everybody who verifies.
#[derive(Clone, Default)]
pub struct KeySet(Arc<RwLock<Keys>>);

type Keys = Arc<HashMap<String, Arc<DecodingKey>>>;

/// What the set knows about a `kid`.
pub(crate) enum Lookup {
    Found(Arc<DecodingKey>),
    Unknown,
    NothingLoaded,
}

impl KeySet {
    /// A set without keys: nothing can be verified yet.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Replaces the keys. Tokens of a key that is no longer among them are refused at once. A key
    /// that is no point of the curve is left out.
    pub fn publish(&self, keys: &[PublicKey]) {
        let keys = keys
            .iter()
            .filter_map(|key| {
                let (x, y) = (URL_SAFE_NO_PAD.encode(&key.x), URL_SAFE_NO_PAD.encode(&key.y));
                Some((key.kid.clone(), Arc::new(DecodingKey::from_ec_components(&x, &y).ok()?)))
            })
            .collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    pub(crate) fn find(&self, kid: &str) -> Lookup {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        match keys.get(kid) {
            Some(key) => Lookup::Found(key.clone()),
            None if keys.is_empty() => Lookup::NothingLoaded,
            None => Lookup::Unknown,
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        f.debug_set().entries(keys.keys()).finish()
    }
}
