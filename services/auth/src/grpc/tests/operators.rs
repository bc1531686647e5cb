//! What an operator does beside a running role, and what its users see of it.

use super::*;
use crate::app::{Imported, Operators, Refused};

impl Room {
    async fn operators(&self) -> Operators {
        let config = Config { password_threads: 1, ..Config::default() };
        crate::operators(self.home.place(), self.clock.clone(), config).await.unwrap()
    }
}

#[tokio::test]
async fn a_disabled_account_is_told_so_only_after_the_right_password_or_a_valid_token() {
    let room = Room::new().await;
    let operators = room.operators().await;
    let ada = room.sign_up("Ada@example.com").await;
    let used = room.refresh(ada.refresh()).await.unwrap();
    room.pass(11);
    assert_eq!(operators.set_disabled("ada@EXAMPLE.com", true).await.unwrap(), Some(true));
    assert_eq!(operators.set_disabled(&ada.user.id, true).await.unwrap(), Some(false), "it is already");
    let disabled = (Code::PermissionDenied, "ACCOUNT_DISABLED".to_owned());
    assert_eq!(refusal(room.log_in("ada@example.com", PASSWORD).await), disabled);
    assert_eq!(reason(room.log_in("ada@example.com", "a wrong password").await), "CREDENTIALS_INVALID");
    assert_eq!(refusal(room.refresh(&used.refresh_token).await), disabled);
    assert_eq!(refusal(room.refresh(&used.refresh_token).await), disabled, "and it is not used up");
    let (id, _) = used.refresh_token.split_once('.').unwrap();
    assert_eq!(reason(room.refresh(&format!("{id}.AAAA")).await), "REFRESH_TOKEN_INVALID");
    assert!(room.me(&used.access_token).await.is_ok(), "access tokens end by themselves");
    room.pass(15 * 60 + 6);
    assert_eq!(reason(room.me(&used.access_token).await), "TOKEN_EXPIRED");
    assert_eq!(reason(room.try_sign_up("ada@example.com", PASSWORD).await), "EMAIL_TAKEN");

    assert_eq!(operators.set_disabled(&ada.user.id, false).await.unwrap(), Some(true));
    assert_eq!(reason(room.refresh(&used.refresh_token).await), "REFRESH_TOKEN_INVALID", "its sessions have ended");
    assert!(room.log_in("ada@example.com", PASSWORD).await.is_ok());
    operators.close().await;
}

#[tokio::test]
async fn a_used_token_of_a_disabled_account_is_still_a_reuse() {
    let room = Room::new().await;
    let operators = room.operators().await;
    let ada = room.sign_up("ada@example.com").await;
    room.refresh(ada.refresh()).await.unwrap();
    room.pass(11);
    operators.set_disabled(&ada.user.id, true).await.unwrap();
    assert_eq!(reason(room.refresh(ada.refresh()).await), "REFRESH_TOKEN_REUSED");
}

#[tokio::test]
async fn a_password_that_was_reset_is_the_only_one_and_ends_every_session() {
    let room = Room::new().await;
    let operators = room.operators().await;
    let ada = room.sign_up("ada@example.com").await;
    let bob = room.sign_up("bob@example.com").await;
    let first = operators.reset_password(&ada.user.id).await.unwrap().unwrap();
    let second = operators.reset_password("ada@example.com").await.unwrap().unwrap();
    assert_ne!(first.expose_secret(), second.expose_secret());
    assert!(second.expose_secret().len() >= 24);
    for wrong in [PASSWORD, first.expose_secret()] {
        assert_eq!(reason(room.log_in("ada@example.com", wrong).await), "CREDENTIALS_INVALID");
    }
    assert_eq!(reason(room.refresh(ada.refresh()).await), "REFRESH_TOKEN_INVALID");
    assert!(room.log_in("ada@example.com", second.expose_secret()).await.is_ok());
    assert!(room.refresh(bob.refresh()).await.is_ok(), "nobody else's");
}

#[tokio::test]
async fn who_is_not_there_can_not_be_operated_on() {
    let room = Room::new().await;
    let operators = room.operators().await;
    for name in ["nobody@example.com", "0197c7ae-7b7a-7000-8000-000000000000", "", "a\0b", "%"] {
        assert_eq!(operators.set_disabled(name, true).await.unwrap(), None, "{name}");
        assert!(operators.reset_password(name).await.unwrap().is_none(), "{name}");
    }
    assert_eq!(operators.list(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn accounts_are_listed_page_by_page() {
    let room = Room::new().await;
    let operators = room.operators().await;
    for name in ["Zoe", "ada", "bob"] {
        room.sign_up(&format!("{name}@example.com")).await;
    }
    let first = operators.list(None, 2).await.unwrap();
    let second = operators.list(first.last(), 2).await.unwrap();
    let emails: Vec<_> = first.iter().chain(&second).map(|account| account.email.as_str()).collect();
    assert_eq!(emails, ["ada@example.com", "bob@example.com", "Zoe@example.com"]);
}

#[tokio::test]
async fn imported_accounts_log_in_with_their_old_passwords_and_get_new_hashes() {
    let room = Room::new().await;
    let operators = room.operators().await;
    let bcrypt = bcrypt::hash(PASSWORD, 4).unwrap();
    let weak = argon2::Argon2::new(
        argon2::Algorithm::Argon2id,
        argon2::Version::V0x13,
        argon2::Params::new(64, 1, 1, None).unwrap(),
    );
    let weak = argon2::PasswordHasher::hash_password_with_salt(&weak, PASSWORD.as_bytes(), b"0123456789abcdef");
    let hashes =
        [bcrypt.replacen("$2b$", "$2y$", 1), bcrypt.replacen("$2b$", "$2a$", 1), bcrypt, weak.unwrap().to_string()];
    for (number, hash) in hashes.iter().enumerate() {
        let line = format!(r#"{{"email":"{number}@Example.com","password_hash":"{hash}","display_name":"Ada"}}"#);
        assert_eq!(operators.import(&line).await.unwrap(), Imported::New);
        assert_eq!(operators.import(&line).await.unwrap(), Imported::Known, "done twice it is done once");
    }
    for number in 0..hashes.len() {
        let email = format!("{number}@example.com");
        assert_eq!(reason(room.log_in(&email, "a wrong password").await), "CREDENTIALS_INVALID");
        let before = room.hashes();
        let user = room.log_in(&email, PASSWORD).await.unwrap().user.unwrap();
        assert_eq!((user.email, user.display_name), (format!("{number}@Example.com"), "Ada".into()));
        assert_eq!(room.hashes() - before, 2, "verified, and hashed anew");
        assert!(room.log_in(&email, PASSWORD).await.is_ok());
        assert_eq!(room.hashes() - before, 3);
    }
    let hashes = room.run("SELECT password_hash FROM auth.users");
    assert!(hashes.lines().all(|hash| hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")), "{hashes}");
    assert_eq!(room.run("SELECT DISTINCT kind FROM auth.changes WHERE seq = 1"), "import_account");
}

#[tokio::test]
async fn an_import_never_touches_who_is_there_and_says_what_is_wrong_without_repeating_it() {
    let room = Room::new().await;
    let operators = room.operators().await;
    room.sign_up("ada@example.com").await;
    let hash = bcrypt::hash("another password", 4).unwrap();
    let line = format!(r#"{{"email":"ADA@example.com","password_hash":"{hash}"}}"#);
    assert_eq!(operators.import(&line).await.unwrap(), Imported::Known);
    assert!(room.log_in("ada@example.com", PASSWORD).await.is_ok());
    let digest = "a".repeat(53);
    let cases = [
        ("no json".to_owned(), "line must be a JSON object"),
        (format!(r#"{{"email":"nobody","password_hash":"{hash}"}}"#), "email must be an e-mail address"),
        (r#"{"email":"b@example.com","password_hash":"secret"}"#.to_owned(), "password_hash must be a hash"),
        (format!(r#"{{"email":"b@example.com","password_hash":"$2b$31${digest}"}}"#), "password_hash costs too much"),
        (format!(r#"{{"email":"b\u0000@example.com","password_hash":"{hash}"}}"#), "email must be"),
    ];
    for (line, expected) in cases {
        let refused = operators.import(&line).await.unwrap_err();
        assert!(matches!(refused, Refused::Faults(_)));
        let said = refused.to_string();
        assert!(said.starts_with(expected), "{said}");
        for word in ["secret", "nobody", "b@example.com", &digest] {
            assert!(!said.contains(word), "{said}");
        }
    }
    assert_eq!(room.count("users"), 1);
}

#[tokio::test]
async fn r_005_a_wrong_password_of_an_imported_account_costs_one_hash_as_for_a_stranger() {
    let room = Room::new().await;
    let operators = room.operators().await;
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    operators.import(&format!(r#"{{"email":"ada@example.com","password_hash":"{hash}"}}"#)).await.unwrap();
    for email in ["ada@example.com", "nobody@example.com"] {
        let before = room.hashes();
        assert_eq!(reason(room.log_in(email, "a wrong password").await), "CREDENTIALS_INVALID");
        assert_eq!(room.hashes() - before, 1, "{email}");
    }
}

#[tokio::test]
async fn r_005_as_large_a_part_of_the_strangers_costs_as_much_as_imported_hashes_do() {
    let room = Room::new().await;
    let operators = room.operators().await;
    room.sign_up("ada@example.com").await;
    let bcrypt = bcrypt::hash(PASSWORD, 4).unwrap();
    let argon2id = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    for (name, hash) in [("bob", bcrypt.as_str()), ("eve", bcrypt.as_str()), ("joe", argon2id)] {
        let line = format!(r#"{{"email":"{name}@example.com","password_hash":"{hash}"}}"#);
        assert_eq!(operators.import(&line).await.unwrap(), Imported::New);
    }
    let app = room.role.app();
    let strangers = || (0..4000).map(|number| app.decoys.of(&format!("{number}@example.com")));
    assert_eq!(strangers().flatten().count(), 0, "not known yet");
    app.decoys.learn(app.store.as_ref()).await.unwrap();
    let drawn: Vec<_> = strangers().collect();
    assert!(drawn.iter().eq(&strangers().collect::<Vec<_>>()), "always the same");
    let of = |start: &str| drawn.iter().flatten().filter(|hash| hash.as_str().starts_with(start)).count();
    for (start, expected) in [("$2b$04$", 2000), ("$argon2id$v=19$m=64,t=1,p=1$", 1000)] {
        assert!(of(start).abs_diff(expected) < 200, "{start}: {} of 4000", of(start));
    }
    // A decoy is verified like any hash, and never right.
    for number in 0..20 {
        let email = format!("{number}@example.com");
        assert_eq!(reason(room.log_in(&email, PASSWORD).await), "CREDENTIALS_INVALID");
    }
    for name in ["bob", "eve"] {
        room.log_in(&format!("{name}@example.com"), PASSWORD).await.unwrap();
    }
    app.decoys.learn(app.store.as_ref()).await.unwrap();
    let fewer: Vec<_> = strangers().collect();
    assert!(fewer.iter().flatten().count().abs_diff(1000) < 200);
    let is_new = |(before, after): (&Option<_>, &Option<_>)| before.is_none() && after.is_some();
    assert!(!drawn.iter().zip(&fewer).any(is_new), "nobody becomes expensive because others were replaced");
}

#[tokio::test]
async fn no_text_with_a_nul_reaches_the_store() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let invalid = "INVALID_FIELDS";
    let sign_up = |email: &str, display_name: &str, time_zone: &str| SignUpRequest {
        email: email.into(),
        password: PASSWORD.into(),
        display_name: display_name.into(),
        time_zone: time_zone.into(),
    };
    for request in [sign_up("b\0@b", "", ""), sign_up("b@b", "\0", ""), sign_up("b@b", "", "UTC\0")] {
        assert_eq!(reason(room.client().sign_up(request).await), invalid);
    }
    assert_eq!(reason(room.log_in("ada\0@example.com", PASSWORD).await), invalid);
    // A password is never stored: it is a wrong one.
    assert_eq!(reason(room.log_in("ada@example.com", "with \0 in it").await), "CREDENTIALS_INVALID");
    assert!(room.change_password(ada.access(), PASSWORD, "with \0 in it").await.is_ok());
    assert!(room.log_in("ada@example.com", "with \0 in it").await.is_ok());
    for user in [
        User { display_name: "\0".into(), ..Default::default() },
        User { time_zone: "\0".into(), ..Default::default() },
        User { display_name: "Ada".into(), etag: "\0".into(), ..Default::default() },
    ] {
        let answer = room.update_me(ada.access(), UpdateMeRequest { user: Some(user), ..Default::default() }).await;
        assert!([invalid, "ETAG_MISMATCH"].contains(&reason(answer).as_str()));
    }
    let named = UpdateMeRequest {
        user: Some(User { display_name: "Ada".into(), ..Default::default() }),
        request_id: "a\0".into(),
        ..Default::default()
    };
    assert_eq!(reason(room.update_me(ada.access(), named).await), invalid);
    assert_eq!(reason(room.refresh("a\0.b").await), "REFRESH_TOKEN_INVALID");
}
