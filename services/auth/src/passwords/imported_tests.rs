use crate::passwords::{Passwords, Settings};

use super::*;

const COSTS: [&str; 3] = ["04", "12", "14"];

fn bcrypt_of(password: &str, version: &str) -> String {
    bcrypt::hash(password, LEAST_COST).unwrap().replacen("$2b$", version, 1)
}

fn reason(text: &str) -> &'static str {
    judge(text).map_or_else(|broken| broken.reason, |_| "OK")
}

#[tokio::test]
async fn a_hash_of_bcrypt_is_verified_and_always_too_weak() {
    let passwords = Passwords::new(Settings { threads: 1, ..Settings::default() }).unwrap();
    for version in ["$2a$", "$2b$", "$2y$"] {
        let hash = judge(&bcrypt_of("correct horse battery", version)).unwrap();
        let verify = |password: &str| passwords.verify(SecretString::from(password), Some(&hash));
        assert_eq!(verify("correct horse battery").await.unwrap(), Verdict::RightButWeak);
        assert_eq!(verify("correct horse batterx").await.unwrap(), Verdict::Wrong);
        assert_eq!(verify("with \0 in it").await.unwrap(), Verdict::Wrong);
        assert_eq!(verify("").await.unwrap(), Verdict::Wrong);
    }
    assert_eq!((passwords.hashes(), passwords.holding()), (12, 0), "on the hashing threads, without their memory");
    let long = "x".repeat(72);
    let hash = judge(&bcrypt_of(&long, "$2b$")).unwrap();
    let verdict = passwords.verify(SecretString::from(format!("{long} and more")), Some(&hash)).await.unwrap();
    assert_eq!(verdict, Verdict::RightButWeak, "bcrypt sees no more than that");
}

#[test]
fn a_hash_that_would_cost_too_much_is_refused() {
    let digest = "a".repeat(53);
    for cost in COSTS {
        assert_eq!(reason(&format!("$2b${cost}${digest}")), "OK", "{cost}");
    }
    for cost in ["15", "20", "31"] {
        assert_eq!(reason(&format!("$2b${cost}${digest}")), "OUT_OF_RANGE", "{cost}");
    }
    let argon2id = |parameters: &str| format!("$argon2id$v=19${parameters}$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA");
    for parameters in ["m=19456,t=2,p=1", "m=65536,t=3,p=4", "m=65536,t=4,p=1", "m=131072,t=2,p=1", "m=16,t=2,p=1"] {
        assert_eq!(reason(&argon2id(parameters)), "OK", "{parameters}");
    }
    for parameters in
        ["m=131073,t=1,p=1", "m=65536,t=5,p=1", "m=4194304,t=1,p=1", "m=8,t=4294967295,p=1", "m=4096,t=1,p=17"]
    {
        assert_eq!(reason(&argon2id(parameters)), "OUT_OF_RANGE", "{parameters}");
    }
}

#[test]
fn a_decoy_costs_what_its_model_does() {
    let digest = "a".repeat(53);
    for (text, expected) in [
        (format!("$2y$12${digest}"), "$2y$12"),
        (
            "$argon2id$v=19$m=65536,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA".into(),
            "$argon2id$v=19$m=65536,t=2,p=1",
        ),
        ("$argon2id$m=65536,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA".into(), "$argon2id$m=65536,t=2,p=1"),
    ] {
        let model = judge(&text).unwrap();
        assert_eq!(cost(&model), expected);
        let decoy = decoy(expected).unwrap();
        assert_eq!(cost(&decoy), expected);
        assert!(is_bcrypt(&decoy) == is_bcrypt(&model) && decoy != model);
    }
    for unknown in ["", "$2b$31", "$argon2i$v=19$m=65536,t=2,p=1", "$argon2id$v=19$m=4194304,t=2,p=1"] {
        assert!(decoy(unknown).is_none(), "{unknown}");
    }
}

#[test]
fn what_is_no_hash_is_refused() {
    let digest = "a".repeat(53);
    let texts = [
        String::new(),
        "plain text".into(),
        "5f4dcc3b5aa765d61d8327deb882cf99".into(),
        format!("$2x$10${digest}"),
        format!("$2b$03${digest}"),
        format!("$2b$1${digest}a"),
        format!("$2b$+9${digest}"),
        format!("$2b$10${}", "a".repeat(52)),
        format!("$2b$10${}!", "a".repeat(52)),
        "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA".into(),
        "$argon2id$v=18$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA".into(),
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0".into(),
        "$argon2id$v=19$m=19456,t=2,p=1".into(),
        "$argon2id$v=19$m=19456,t=2,p=1,data=YWJj$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA".into(),
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaGhhc2hoYXNoaGFzaA".into(),
        format!("$2b$10${digest}\0"),
    ];
    for text in texts {
        assert_eq!(reason(&text), "INVALID_FORMAT", "{text:?}");
    }
}
