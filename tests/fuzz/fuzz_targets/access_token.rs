//! Access tokens: any text, a real one with something changed, and any header and claims with a real signature.

#![no_main]

use arbitrary::Arbitrary;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use errand_chassis::{
    clock::Clock,
    token::{LEEWAY, Verifier},
};
use errand_fuzz::tokens::Signer;
use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

static SIGNER: LazyLock<Signer> = LazyLock::new(Signer::new);
static VERIFIER: LazyLock<Arc<Verifier>> = LazyLock::new(|| SIGNER.verifier());
/// Signing costs more than everything else here, so one token is signed once.
static REAL: LazyLock<String> = LazyLock::new(|| SIGNER.sign(&SIGNER.claims(Uuid::from_u128(7))));

/// Something that is presented.
#[derive(Debug, Arbitrary)]
enum Presented<'a> {
    Text(&'a str),
    Changed { at: u16, insert: Option<char>, cut: u8, with: &'a str },
    Signed { header: &'a str, claims: &'a str },
    Timed { issued: i64, lifetime: i64, not_before: Option<i64>, later: i32, changes: Vec<Change<'a>> },
}

/// What is different in claims that are ours.
#[derive(Debug, Arbitrary)]
enum Change<'a> {
    Without(u8),
    Text(u8, &'a str),
    Number(u8, i64),
    More(&'a str),
    InHeader(&'a str, &'a str),
}

const NAMES: [&str; 10] = ["iss", "aud", "sub", "sid", "jti", "iat", "exp", "nbf", "scope", "zoneinfo"];

fuzz_target!(|presented: Presented| {
    SIGNER.clock.set(start());
    match presented {
        Presented::Text(text) => refused(text),
        Presented::Changed { at, insert, cut, with } => {
            let at = usize::from(at) % REAL.len();
            let end = (at + usize::from(cut)).min(REAL.len());
            let middle = insert.map(String::from).unwrap_or_else(|| with.to_owned());
            let changed = [&REAL[..at], &middle, &REAL[end..]].concat();
            if changed == *REAL {
                assert!(VERIFIER.verify(&changed).is_ok());
            } else {
                refused(&changed);
            }
        }
        Presented::Signed { header, claims } => {
            let raw = signed(header, claims);
            if let Ok(verified) = VERIFIER.verify(&raw) {
                let header: Value = serde_json::from_str(header).expect("it was read");
                let claims: Value = serde_json::from_str(claims).expect("it was read");
                assert_eq!(header, json!({"typ": "at+jwt", "alg": "ES256", "kid": "k1"}));
                assert_eq!((&claims["iss"], &claims["aud"]), (&json!("errand"), &json!("errand")));
                assert_eq!(claims["exp"].as_i64(), Some(verified.expires.as_second()));
            }
        }
        Presented::Timed { issued, lifetime, not_before, later, changes } => {
            timed(issued, lifetime, not_before, later, &changes);
        }
    }
});

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

fn refused(raw: &str) {
    let error = VERIFIER.verify(raw).expect_err("nobody can make a token");
    assert_eq!(error.reason(), "TOKEN_INVALID", "{raw}");
}

fn signed(header: &str, claims: &str) -> String {
    SIGNER.sign_raw(&format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)))
}

/// A token of ours with any times, some time later, perhaps with something in it that ours do not have.
fn timed(issued: i64, lifetime: i64, not_before: Option<i64>, later: i32, changes: &[Change]) {
    let expires = issued.saturating_add(lifetime);
    let mut header = json!({"typ": "at+jwt", "alg": "ES256", "kid": "k1"});
    let id = Uuid::from_u128(7);
    let mut claims = json!({
        "iss": "errand", "aud": "errand", "sub": id, "sid": id, "jti": id, "iat": issued, "exp": expires,
        "scope": "chat", "zoneinfo": "UTC",
    });
    if let Some(not_before) = not_before {
        claims["nbf"] = not_before.into();
    }
    let (plain_header, plain_claims) = (header.clone(), claims.clone());
    for change in changes {
        let name = |number: &u8| NAMES[usize::from(*number) % NAMES.len()];
        match change {
            Change::Without(number) => _ = claims.as_object_mut().expect("an object").remove(name(number)),
            Change::Text(number, text) => claims[name(number)] = (*text).into(),
            Change::Number(number, value) => claims[name(number)] = (*value).into(),
            Change::More(name) if !NAMES.contains(name) => claims[*name] = json!(1),
            Change::More(_) => {}
            Change::InHeader(name, text) => header[*name] = (*text).into(),
        }
    }
    let raw = signed(&header.to_string(), &claims.to_string());
    let now = start().saturating_add(SignedDuration::from_secs(later.into())).unwrap_or(Timestamp::MAX);
    SIGNER.clock.set(now);
    let verified = VERIFIER.verify(&raw);
    if header != plain_header {
        assert!(verified.is_err(), "{header}");
    } else if claims == plain_claims {
        assert_eq!(verified.is_ok(), is_timely(issued, expires, not_before), "{claims} at {now}");
    } else if let Ok(verified) = verified {
        let said = |name: &str| claims[name].as_str().and_then(|text| text.parse::<Uuid>().ok());
        assert_eq!(said("sub"), Some(*verified.user.as_uuid()));
        assert_eq!(said("sid"), Some(verified.session));
        assert!(said("jti").is_some() && claims["iss"] == "errand" && claims["aud"] == "errand");
        let number = |name: &str| claims[name].as_i64();
        let (issued, expires) = (number("iat").expect("a time"), number("exp").expect("a time"));
        assert!(is_timely(issued, expires, number("nbf")), "{claims} at {now}");
    }
}

/// Whether a token with these times is valid now.
fn is_timely(issued: i64, expires: i64, not_before: Option<i64>) -> bool {
    let now = SIGNER.clock.now().as_second();
    let begins = not_before.unwrap_or(issued).max(issued);
    let are_times =
        [issued, expires, not_before.unwrap_or(issued)].into_iter().all(|time| Timestamp::from_second(time).is_ok());
    let leeway = LEEWAY.as_secs();
    are_times && issued >= 0 && begins <= expires && now <= expires + leeway && begins <= now + leeway
}
