//! The public keys that access tokens are verified with, by `kid`.
//!
//! In one process auth publishes into the set that every role reads; a role apart fetches it. What
//! was fetched stays while auth is away: tokens are verified without it.

use std::{
    collections::HashMap,
    fmt,
    pin::pin,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use errand_proto::auth::{GetJwksRequest, auth_service_client::AuthServiceClient};
use jsonwebtoken::DecodingKey;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tonic::{Request, Status};

use crate::{chance, upstream::Upstream};

/// How often keys are fetched: a new one is published longer than that before it signs.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// How often they are fetched at most because tokens name keys that are not known.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is waited after a fetch that failed while there are no keys at all.
const AGAIN: Duration = Duration::from_millis(200);

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
pub struct KeySet(Arc<Shared>);

#[derive(Default)]
struct Shared {
    keys: RwLock<Keys>,
    loaded: watch::Sender<bool>,
    fetching: Option<Fetching>,
}

/// How fetches are asked for, and when the last one ended.
#[derive(Default)]
struct Fetching {
    asked: Arc<Notify>,
    last: watch::Sender<Option<Instant>>,
}

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

    /// The keys of an auth service in another process: fetched now, until that works, then every five
    /// minutes, and when a token names a key that is not known. To be called in a runtime; fetching ends
    /// with the last clone.
    #[must_use]
    pub fn fetched(auth: Upstream) -> Self {
        let fetching = Fetching::default();
        let asked = fetching.asked.clone();
        let shared = Arc::new(Shared { fetching: Some(fetching), ..Shared::default() });
        tokio::spawn(follow(Arc::downgrade(&shared), asked, auth));
        Self(shared)
    }

    /// Waits until there are keys. They stay until others take their place.
    pub async fn loaded(&self) {
        // An error would mean that no sender is left, and the set holds one.
        _ = self.0.loaded.subscribe().wait_for(|loaded| *loaded).await;
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
        self.0.publish(keys);
    }

    /// Fetches the keys once more, unless that was done a moment ago; whether there may be new ones.
    /// Everybody who asks at the same time waits for the same fetch.
    pub(crate) async fn fetch_again(&self) -> bool {
        let Some(fetching) = &self.0.fetching else { return false };
        let mut last = fetching.last.subscribe();
        if last.borrow_and_update().is_none_or(|last| last.elapsed() < PAUSE) {
            return false;
        }
        fetching.asked.notify_one();
        matches!(timeout(PATIENCE, last.changed()).await, Ok(Ok(())))
    }

    pub(crate) fn find(&self, kid: &str) -> Lookup {
        let keys = self.0.keys();
        match keys.get(kid) {
            Some(key) => Lookup::Found(key.clone()),
            None if keys.is_empty() => Lookup::NothingLoaded,
            None => Lookup::Unknown,
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.keys();
        f.debug_set().entries(keys.keys()).finish()
    }
}

// === impl Shared ===

impl Shared {
    fn keys(&self) -> Keys {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, keys: HashMap<String, Arc<DecodingKey>>) {
        let loaded = !keys.is_empty();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        self.loaded.send_replace(loaded);
    }
}

/// Keeps a set up to date while somebody has it.
async fn follow(set: Weak<Shared>, asked: Arc<Notify>, auth: Upstream) {
    while set.strong_count() > 0 {
        let fetched = fetch(auth.clone()).await;
        let Some(shared) = set.upgrade() else { return };
        let set = KeySet(shared);
        match fetched {
            Ok(keys) if !keys.is_empty() => set.publish(&keys),
            Ok(_) => tracing::warn!("auth has no signing keys"),
            Err(error) => {
                tracing::warn!(code = ?error.code(), error = error.message(), "signing keys were not fetched");
            }
        }
        let now = Instant::now();
        if let Some(fetching) = &set.0.fetching {
            fetching.last.send_replace(Some(now));
        }
        let pause = chance::around(if set.0.keys().is_empty() { AGAIN } else { REFRESH });
        drop(set);
        let mut next = pin!(sleep(pause));
        loop {
            tokio::select! {
                () = &mut next => break,
                // Somebody may have asked while the answer was on its way.
                () = asked.notified() => if now.elapsed() >= PAUSE { break },
            }
        }
    }
}

async fn fetch(auth: Upstream) -> Result<Vec<PublicKey>, Status> {
    let mut request = Request::new(GetJwksRequest {});
    request.set_timeout(PATIENCE);
    let answer = timeout(PATIENCE, async move { AuthServiceClient::new(auth).get_jwks(request).await }).await;
    let keys = answer.map_err(|_| Status::deadline_exceeded("auth did not answer"))??.into_inner().keys;
    let point = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    Ok(keys
        .into_iter()
        .filter_map(|key| Some(PublicKey { x: point(&key.x)?, y: point(&key.y)?, kid: key.kid }))
        .collect())
}
