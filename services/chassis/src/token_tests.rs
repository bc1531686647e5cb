use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{clock::ManualClock, jwks::PublicKey};

struct World {
    clock: Arc<ManualClock>,
    keys: KeySet,
    verifier: Verifier,
    signer: EncodingKey,
    public: PublicKey,
}

fn key_pair(kid: &str) -> (EncodingKey, PublicKey) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let public = PublicKey { kid: kid.to_owned(), x: point[1..33].to_vec(), y: point[33..65].to_vec() };
    (EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()), public)
}

fn world() -> World {
    let clock = Arc::new(ManualClock::default());
    let keys = KeySet::empty();
    let (signer, public) = key_pair("k1");
    keys.publish(std::slice::from_ref(&public));
    let verifier = Verifier::new(keys.clone(), clock.clone());
    World { clock, keys, verifier, signer, public }
}

impl World {
    fn claims(&self) -> Value {
        let now = self.clock.now().as_second();
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": Uuid::from_u128(1), "sid": Uuid::from_u128(2), "jti": Uuid::from_u128(3),
            "iat": now, "exp": now + ACCESS_LIFETIME.as_secs(), "scope": "tasks:read chat", "zoneinfo": "Europe/Berlin",
        })
    }

    fn header() -> Header {
        Header { typ: Some(TYPE.to_owned()), kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) }
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.signer).unwrap()
    }

    fn good(&self) -> String {
        self.sign(&Self::header(), &self.claims())
    }

    fn refusal(&self, token: &str) -> &'static str {
        let error = self.verifier.verify(token).expect_err("the token was accepted");
        assert_eq!(error.code(), Code::Unauthenticated, "{error}");
        error.reason()
    }

    fn refusal_with(&self, claim: &str, value: Value) -> &'static str {
        let mut claims = self.claims();
        claims[claim] = value;
        self.refusal(&self.sign(&Self::header(), &claims))
    }
}

#[test]
fn a_good_token_says_who_and_what() {
    let world = world();
    let verified = world.verifier.verify(&world.good()).unwrap();
    assert_eq!(verified.user, UserId::from(Uuid::from_u128(1)));
    assert_eq!(verified.time_zone, "Europe/Berlin");
    assert!(verified.allows(Scope::TasksRead) && verified.allows(Scope::Chat));
    assert!(!verified.allows(Scope::TasksWrite));
    assert_eq!(format!("{:?}", verified.token), "AccessToken(***)");
}

#[test]
fn r_028_a_token_lives_until_its_expiry_and_the_leeway_not_a_second_longer() {
    let world = world();
    let token = world.good();
    world.clock.advance(ACCESS_LIFETIME + LEEWAY);
    assert!(world.verifier.verify(&token).is_ok());
    world.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(world.refusal(&token), "TOKEN_EXPIRED");
    // The same for one that was never seen while it was valid.
    let fresh = Verifier::new(world.keys.clone(), world.clock.clone());
    assert_eq!(fresh.verify(&token).unwrap_err().reason(), "TOKEN_EXPIRED");
}

#[test]
fn r_029_a_retired_key_ends_its_tokens_even_those_that_are_remembered() {
    let world = world();
    let token = world.good();
    assert!(world.verifier.verify(&token).is_ok());
    let (_, other) = key_pair("k2");
    world.keys.publish(&[world.public.clone(), other.clone()]);
    assert!(world.verifier.verify(&token).is_ok(), "a new key beside it changes nothing");
    world.keys.publish(&[other]);
    assert_eq!(world.refusal(&token), "TOKEN_INVALID");
}

#[test]
fn without_keys_the_answer_is_unavailable() {
    let world = world();
    world.keys.publish(&[]);
    let error = world.verifier.verify(&world.good()).unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::Unavailable, "KEYS_NOT_LOADED"));
}

#[test]
fn r_015_r_016_no_other_algorithm_is_accepted() {
    let world = world();
    let claims = URL_SAFE_NO_PAD.encode(world.claims().to_string());
    let good = world.good();
    let signature = good.rsplit('.').next().unwrap();
    for alg in ["none", "None", "nOnE", "HS256", "HS512", "RS256", "PS256", "ES384", "EdDSA", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": TYPE, "kid": "k1"}).to_string());
        for signature in ["", signature] {
            assert_eq!(world.refusal(&format!("{header}.{claims}.{signature}")), "TOKEN_INVALID", "{alg}");
        }
    }
    // Signed with HMAC under our own public key, the classic confusion.
    for secret in [
        [world.public.x.clone(), world.public.y.clone()].concat(),
        URL_SAFE_NO_PAD.encode(&world.public.x).into_bytes(),
    ] {
        let header = Header { alg: Algorithm::HS256, ..World::header() };
        let token = jsonwebtoken::encode(&header, &world.claims(), &EncodingKey::from_secret(&secret)).unwrap();
        assert_eq!(world.refusal(&token), "TOKEN_INVALID");
    }
}

#[test]
fn r_017_a_header_that_brings_its_own_key_is_refused() {
    let world = world();
    let link = Some("http://127.0.0.1:1/keys".to_owned());
    let headers = [
        Header { jku: link.clone(), ..World::header() },
        Header { x5u: link, ..World::header() },
        Header { x5c: Some(vec!["MIIB".to_owned()]), ..World::header() },
        Header { crit: Some(vec!["exp".to_owned()]), ..World::header() },
        Header { typ: Some("JWT".to_owned()), ..World::header() },
        Header { typ: None, ..World::header() },
        Header { kid: None, ..World::header() },
        Header { kid: Some("../../k1".to_owned()), ..World::header() },
        Header { kid: Some("k1' OR '1'='1".to_owned()), ..World::header() },
        Header { kid: Some("k".repeat(64 * 1024)), ..World::header() },
    ];
    for header in headers {
        let token = world.sign(&header, &world.claims());
        assert_eq!(world.refusal(&token), "TOKEN_INVALID", "{:.80}", format!("{header:?}"));
    }
}

#[test]
fn r_018_times_are_whole_numbers_and_in_order() {
    let world = world();
    let now = world.clock.now().as_second();
    for claim in ["exp", "iat", "nbf"] {
        for bad in [json!(now.to_string()), json!(null), json!([now]), json!(-1), json!(1e300), json!({})] {
            // A number in the past is a fine `nbf`.
            if !(claim == "nbf" && bad == json!(-1)) {
                let reason = world.refusal_with(claim, bad.clone());
                assert!(["TOKEN_INVALID", "TOKEN_EXPIRED"].contains(&reason), "{claim}: {bad}");
            }
        }
    }
    for claim in ["exp", "iat", "sub", "sid", "aud", "iss", "jti", "scope"] {
        let mut claims = world.claims();
        claims.as_object_mut().unwrap().remove(claim);
        assert_eq!(world.refusal(&world.sign(&World::header(), &claims)), "TOKEN_INVALID", "{claim}");
    }
    assert_eq!(world.refusal_with("nbf", json!(now + LEEWAY.as_secs() + 1)), "TOKEN_INVALID");
    assert_eq!(world.refusal_with("iat", json!(now + LEEWAY.as_secs() + 1)), "TOKEN_INVALID");
    assert_eq!(
        world.refusal_with("exp", json!(now - LEEWAY.as_secs() - 1)),
        "TOKEN_INVALID",
        "it ends before it begins"
    );
}

#[test]
fn r_019_r_020_audience_and_issuer_are_exactly_ours() {
    let world = world();
    for bad in
        [json!("other"), json!(["other"]), json!("err"), json!("Errand"), json!("errand/"), json!(""), json!(null)]
    {
        assert_eq!(world.refusal_with("aud", bad.clone()), "TOKEN_INVALID", "aud {bad}");
        assert_eq!(world.refusal_with("iss", bad.clone()), "TOKEN_INVALID", "iss {bad}");
    }
}

#[test]
fn a_token_of_another_signer_is_refused() {
    let world = world();
    let (stranger, _) = key_pair("k1");
    let token = jsonwebtoken::encode(&World::header(), &world.claims(), &stranger).unwrap();
    assert_eq!(world.refusal(&token), "TOKEN_INVALID");
}

#[test]
fn r_021_what_is_no_token_is_refused() {
    let world = world();
    let good = world.good();
    for bad in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c.d",
        "ä.ö.ü",
        &good[1..],
        &format!("{good}."),
        &format!("{good}="),
        &"a".repeat(70_000),
    ] {
        assert_eq!(world.refusal(bad), "TOKEN_INVALID", "{bad:.40}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn r_030_no_mutation_of_a_good_token_is_accepted(at in any::<prop::sample::Index>(), bit in 0u8..7) {
        thread_local! { static WORLD: World = world(); }
        WORLD.with(|world| {
            let good = world.good();
            let mut bytes = good.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let mutant = String::from_utf8(bytes).unwrap();
            prop_assert!(world.verifier.verify(&mutant).is_err(), "{mutant}");
            Ok(())
        })?;
    }
}
