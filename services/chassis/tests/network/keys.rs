//! Signing keys that are fetched from auth, which may be away.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use errand_chassis::{
    clock::{Clock, SystemClock},
    jwks::KeySet,
    token::{AUDIENCE, Claims, ISSUER, TYPE, Verifier},
    upstream::{Unreached, Upstream},
};
use errand_proto::auth::{GetJwksResponse, JsonWebKey};
use http::Response;
use http_body_util::{BodyExt, Full};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use prost::Message;
use tonic::body::Body;
use tower::service_fn;
use uuid::Uuid;

/// An auth service that has these keys, or is away.
#[derive(Clone, Default)]
struct Auth {
    keys: Arc<Mutex<Option<Vec<JsonWebKey>>>>,
    fetches: Arc<AtomicUsize>,
}

impl Auth {
    fn upstream(&self) -> Upstream {
        let auth = self.clone();
        Upstream::new(service_fn(move |_| {
            let auth = auth.clone();
            async move {
                auth.fetches.fetch_add(1, Ordering::SeqCst);
                let keys = auth.keys.lock().unwrap().clone().ok_or_else(|| Unreached::new("away"))?;
                let message = GetJwksResponse { keys }.encode_to_vec();
                let prefix = u32::try_from(message.len()).unwrap().to_be_bytes();
                let body = Full::from([&[0], prefix.as_slice(), &message].concat());
                let ok = http::HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), 0.into())]);
                let body = Body::new(body.with_trailers(async move { Some(Ok(ok)) }));
                Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
            }
        }))
    }

    fn publish(&self, keys: &[&Key]) {
        *self.keys.lock().unwrap() = Some(keys.iter().map(|key| key.public.clone()).collect());
    }

    fn leave(&self) {
        *self.keys.lock().unwrap() = None;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

struct Key {
    public: JsonWebKey,
    signer: EncodingKey,
}

impl Key {
    fn new(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (text(&point[1..33]), text(&point[33..65]));
        let public = JsonWebKey { kid: kid.to_owned(), x, y, ..JsonWebKey::default() };
        Self { public, signer: EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()) }
    }

    fn token(&self) -> String {
        let (now, id) = (SystemClock.now().as_second(), Uuid::from_u128(7));
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: id,
            sid: id,
            jti: id,
            iat: now,
            exp: now + 900,
            nbf: None,
            scope: "tasks:read".to_owned(),
            zoneinfo: String::new(),
        };
        let kid = Some(self.public.kid.clone());
        let header = Header { typ: Some(TYPE.to_owned()), kid, ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, &claims, &self.signer).unwrap()
    }
}

async fn reason(verifier: &Verifier, token: &str) -> &'static str {
    verifier.verify_fetching(token).await.map_or_else(|error| error.reason(), |_| "OK")
}

#[tokio::test(start_paused = true)]
async fn r_118_tokens_are_verified_while_auth_is_away() {
    let (auth, key) = (Auth::default(), Key::new("k1"));
    let keys = KeySet::fetched(auth.upstream());
    let verifier = Verifier::new(keys.clone(), Arc::new(SystemClock));
    assert_eq!(reason(&verifier, &key.token()).await, "KEYS_NOT_LOADED");
    assert!(tokio::time::timeout(Duration::from_secs(3), keys.loaded()).await.is_err());
    assert!(auth.fetches() > 5, "it is asked for again and again");

    auth.publish(&[&key]);
    keys.loaded().await;
    let seen = key.token();
    assert_eq!(reason(&verifier, &seen).await, "OK");
    auth.leave();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(reason(&verifier, &seen).await, "OK", "one that was seen before");
    assert_eq!(reason(&verifier, &key.token()).await, "OK", "and one that was not");
    keys.loaded().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_when_it_is_used_and_an_old_one_is_forgotten() {
    let (auth, old, new) = (Auth::default(), Key::new("old"), Key::new("new"));
    auth.publish(&[&old]);
    let keys = KeySet::fetched(auth.upstream());
    let verifier = Verifier::new(keys.clone(), Arc::new(SystemClock));
    keys.loaded().await;
    tokio::time::advance(Duration::from_secs(10)).await;
    auth.publish(&[&new]);
    assert_eq!(reason(&verifier, &new.token()).await, "OK");
    assert_eq!(reason(&verifier, &old.token()).await, "TOKEN_INVALID");
    // Without a new key to ask for, too, a retired one is forgotten.
    auth.publish(&[]);
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(reason(&verifier, &new.token()).await, "OK", "auth always has a key: none is no answer");
    auth.publish(&[&old]);
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(reason(&verifier, &new.token()).await, "TOKEN_INVALID");
}

#[tokio::test(start_paused = true)]
async fn keys_that_nobody_knows_are_asked_for_once_in_five_seconds_by_all_together() {
    let (auth, known) = (Auth::default(), Key::new("known"));
    auth.publish(&[&known]);
    let keys = KeySet::fetched(auth.upstream());
    let verifier = Arc::new(Verifier::new(keys.clone(), Arc::new(SystemClock)));
    keys.loaded().await;
    assert_eq!(auth.fetches(), 1);
    for round in 1..=3 {
        tokio::time::advance(Duration::from_secs(6)).await;
        let calls: Vec<_> = (0..50)
            .map(|index| {
                let (verifier, token) = (verifier.clone(), Key::new(&format!("forged-{index}")).token());
                tokio::spawn(async move { reason(&verifier, &token).await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), "TOKEN_INVALID");
        }
        assert_eq!(reason(&verifier, &Key::new("forged").token()).await, "TOKEN_INVALID");
        assert_eq!(auth.fetches(), 1 + round);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_fetches_for_a_set_that_is_gone() {
    let auth = Auth::default();
    drop(KeySet::fetched(auth.upstream()));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let fetched = auth.fetches();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(auth.fetches(), fetched);
}
