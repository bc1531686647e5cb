//! Battery 2.1: accounts and passwords.

use errand_proto::{
    auth::{
        ChangePasswordRequest, DeleteSessionRequest, ListSessionsRequest, LogInRequest, SignUpRequest, UpdateMeRequest,
        User,
    },
    contract::{Access, METHODS},
};
use prost_types::FieldMask;
use tonic::Code;

use crate::sandbox::{PASSWORD, Sandbox, from_address, from_elsewhere, raw, reason, refusal, refused};

fn log_in(email: &str, password: &str) -> LogInRequest {
    LogInRequest { email: email.to_owned(), password: password.to_owned() }
}

fn sign_up(email: &str, password: &str) -> SignUpRequest {
    SignUpRequest { email: email.to_owned(), password: password.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn r_002_one_address_in_any_spelling_is_one_account() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up_as("Änn@Example.com").await.unwrap();
    for spelling in ["änn@example.com", "ÄNN@EXAMPLE.COM", "A\u{308}nn@example.com"] {
        assert_eq!(reason(sandbox.sign_up_as(spelling).await.map(|_| ())), refused(Code::AlreadyExists, "EMAIL_TAKEN"));
        assert_eq!(sandbox.log_in(spelling).await.unwrap().user.id, ann.user.id);
    }
    assert_eq!(ann.user.email, "Änn@Example.com", "kept as it was given");
}

#[tokio::test]
async fn r_003_every_method_that_is_not_public_needs_a_token() {
    let sandbox = Sandbox::start();
    let channel = sandbox.channel().await;
    for method in METHODS.iter().filter(|method| method.access == Access::User) {
        assert_eq!(
            reason(raw(&channel, method.path, vec![], None).await),
            refused(Code::Unauthenticated, "TOKEN_MISSING"),
            "{}",
            method.path
        );
        assert_eq!(
            reason(raw(&channel, method.path, vec![], Some("x.y.z")).await),
            refused(Code::Unauthenticated, "TOKEN_INVALID"),
            "{}",
            method.path
        );
    }
}

#[tokio::test]
async fn r_004_an_unknown_address_and_a_wrong_password_get_the_same_answer() {
    let sandbox = Sandbox::start();
    sandbox.sign_up_as("ann@example.com").await.unwrap();
    let mut answers = Vec::new();
    for email in ["ann@example.com", "nobody@example.com"] {
        let status = sandbox.auth().await.log_in(from_elsewhere(log_in(email, "wrong password"))).await.unwrap_err();
        answers.push((status.code(), status.message().to_owned(), reason(Err::<(), _>(status))));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].2, refused(Code::Unauthenticated, "CREDENTIALS_INVALID"));
}

#[tokio::test]
async fn r_006_asking_which_addresses_are_taken_is_throttled() {
    let sandbox = Sandbox::start();
    sandbox.sign_up_as("ann@example.com").await.unwrap();
    let mut auth = sandbox.auth().await;
    let mut codes = Vec::new();
    for _ in 0..8 {
        let request = from_elsewhere(sign_up("ann@example.com", PASSWORD));
        codes.push(auth.sign_up(request).await.unwrap_err().code());
    }
    assert!(codes.iter().filter(|code| **code == Code::AlreadyExists).count() <= 5, "{codes:?}");
    assert_eq!(codes[7], Code::ResourceExhausted);
    // And of one network address, whatever the e-mail addresses are.
    for number in 0..21 {
        let request = from_address(sign_up(&format!("a{number}@example.com"), PASSWORD), "10.200.0.1");
        codes.push(auth.sign_up(request).await.map_or_else(|status| status.code(), |_| Code::Ok));
    }
    assert!(codes[8..].iter().filter(|code| **code == Code::Ok).count() <= 20, "{codes:?}");
    assert_eq!(codes.last(), Some(&Code::ResourceExhausted));
}

#[tokio::test]
async fn r_007_an_attacker_can_not_lock_the_owner_out() {
    let sandbox = Sandbox::start();
    sandbox.sign_up_as("ann@example.com").await.unwrap();
    let mut auth = sandbox.auth().await;
    let mut throttled = 0;
    for _ in 0..40 {
        let attack = from_address(log_in("ann@example.com", "guess"), "10.201.0.1");
        throttled += u32::from(auth.log_in(attack).await.unwrap_err().code() == Code::ResourceExhausted);
    }
    assert!(throttled >= 20, "{throttled}");
    let own = from_address(log_in("ann@example.com", PASSWORD), "10.201.0.2");
    assert!(auth.log_in(own).await.is_ok());
    let refusal = refusal(auth.log_in(from_address(log_in("ann@example.com", PASSWORD), "10.201.0.1")).await);
    assert_eq!((refusal.code, refusal.reason.as_str()), (Code::ResourceExhausted, "TOO_MANY_ATTEMPTS"));
    assert!(refusal.retry_after.is_some());
}

#[tokio::test]
async fn r_008_a_success_forgets_the_failures_before_it() {
    let sandbox = Sandbox::start();
    sandbox.sign_up_as("ann@example.com").await.unwrap();
    let mut auth = sandbox.auth().await;
    for _ in 0..2 {
        for _ in 0..9 {
            let wrong = from_address(log_in("ann@example.com", "guess"), "10.202.0.1");
            assert_eq!(auth.log_in(wrong).await.unwrap_err().code(), Code::Unauthenticated);
        }
        let right = from_address(log_in("ann@example.com", PASSWORD), "10.202.0.1");
        assert!(auth.log_in(right).await.is_ok());
    }
}

#[tokio::test]
async fn r_009_changing_the_password_obeys_the_same_throttle() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    let change = |current: &str| {
        let request =
            ChangePasswordRequest { current_password: current.to_owned(), new_password: "another good one".to_owned() };
        let mut request = ann.request(request);
        request.metadata_mut().insert("x-forwarded-for", "10.203.0.1".parse().unwrap());
        request
    };
    let mut codes = Vec::new();
    for _ in 0..15 {
        codes.push(ann.auth().change_password(change("guess")).await.unwrap_err().code());
    }
    assert_eq!(codes[14], Code::ResourceExhausted, "{codes:?}");
    assert_eq!(
        reason(ann.auth().change_password(change(PASSWORD)).await),
        refused(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS")
    );
}

#[tokio::test]
async fn r_010_weak_passwords_are_refused_before_hashing_and_long_ones_welcome() {
    let sandbox = Sandbox::start();
    let mut auth = sandbox.auth().await;
    let emoji = "😀".repeat(129);
    let bytes = "😀".repeat(128) + "a";
    for (number, bad) in
        ["short77", "password", "PASSWORD1", "iloveyou", "weak10@example.com", &"a".repeat(129), &emoji, &bytes]
            .iter()
            .enumerate()
    {
        let refusal = refusal(
            auth.sign_up(from_elsewhere(sign_up(if number == 4 { bad } else { "weak@example.com" }, bad))).await,
        );
        assert_eq!(refusal.code, Code::InvalidArgument, "{bad:.20}");
        assert!(refusal.fields.contains(&"password".to_owned()), "{refusal:?}");
    }
    for (number, good) in
        ["a b c d e f g h", &"x1".repeat(32), &"Zq".repeat(64), &"😀".repeat(128), "  spaces around  "]
            .iter()
            .enumerate()
    {
        let email = format!("strong{number}@example.com");
        auth.sign_up(from_elsewhere(sign_up(&email, good))).await.unwrap();
        assert!(auth.log_in(from_elsewhere(log_in(&email, good))).await.is_ok());
        assert!(
            auth.log_in(from_elsewhere(log_in(&email, good.trim_start()))).await.is_ok()
                == (good.trim_start() == *good)
        );
    }
}

#[tokio::test]
async fn r_011_every_byte_of_a_password_counts() {
    let sandbox = Sandbox::start();
    let mut auth = sandbox.auth().await;
    let (one, two) = (format!("{}-one", "long".repeat(20)), format!("{}-two", "long".repeat(20)));
    auth.sign_up(from_elsewhere(sign_up("ann@example.com", &one))).await.unwrap();
    assert!(auth.log_in(from_elsewhere(log_in("ann@example.com", &two))).await.is_err());
    assert!(auth.log_in(from_elsewhere(log_in("ann@example.com", &one.to_uppercase()))).await.is_err());
    assert!(auth.log_in(from_elsewhere(log_in("ann@example.com", &one))).await.is_ok());
}

#[tokio::test]
async fn r_012_a_new_password_ends_every_other_session() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    let other = sandbox.log_in("ann@example.com").await.unwrap();
    let wrong = ChangePasswordRequest { current_password: "not it".into(), new_password: "another good one".into() };
    assert_eq!(
        reason(ann.auth().change_password(ann.request(wrong)).await),
        refused(Code::Unauthenticated, "CREDENTIALS_INVALID")
    );
    let right = ChangePasswordRequest { current_password: PASSWORD.into(), new_password: "another good one".into() };
    ann.auth().change_password(ann.request(right)).await.unwrap();
    assert_eq!(sandbox.refresh(&other.credentials.refresh_token).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(sandbox.refresh(&ann.credentials.refresh_token).await.is_ok());
    assert!(sandbox.log_in("ann@example.com").await.is_err());
    assert!(sandbox.auth().await.log_in(from_elsewhere(log_in("ann@example.com", "another good one"))).await.is_ok());
}

#[tokio::test]
async fn r_014_what_is_stored_is_argon2id_with_its_own_salt() {
    let sandbox = Sandbox::start();
    sandbox.sign_up().await;
    sandbox.sign_up().await;
    let mut text = sandbox.contents("auth").await.concat();
    for file in sandbox.folder().into_iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()) {
        let path = file.unwrap().path();
        if path.is_file() {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()));
        }
    }
    let hashes: std::collections::BTreeSet<_> =
        text.match_indices("$argon2id$v=19$m=19456,t=2,p=1$").map(|(at, _)| &text[at..at + 60]).collect();
    assert!(hashes.len() >= 2, "{hashes:?}");
    assert!(!text.contains(PASSWORD));
}

#[tokio::test]
async fn an_account_is_changed_by_mask_and_etag_and_read_back() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let update = |time_zone: &str, etag: &str, paths: &[&str]| {
        ann.request(UpdateMeRequest {
            user: Some(User {
                time_zone: time_zone.into(),
                display_name: "Ann".into(),
                etag: etag.into(),
                ..Default::default()
            }),
            update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
            ..Default::default()
        })
    };
    let updated =
        ann.auth().update_me(update("Europe/Berlin", &ann.user.etag, &["time_zone"])).await.unwrap().into_inner();
    assert_eq!((updated.time_zone.as_str(), updated.display_name.as_str()), ("Europe/Berlin", ""));
    let stale = ann.auth().update_me(update("UTC", &ann.user.etag, &["time_zone"])).await;
    assert_eq!(reason(stale), refused(Code::Aborted, "ETAG_MISMATCH"));
    assert_eq!(
        refusal(ann.auth().update_me(update("Mars/Olympus", "", &["time_zone"])).await).fields,
        ["user.timeZone"]
    );
    for path in ["email", "id", "password", "*", "create_time", "nothing"] {
        let refusal = refusal(ann.auth().update_me(update("UTC", "", &[path])).await);
        assert_eq!((refusal.code, refusal.fields), (Code::InvalidArgument, vec!["updateMask".to_owned()]), "{path}");
    }
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    let other = sandbox.log_in("ann@example.com").await.unwrap();
    let list = ListSessionsRequest { page_size: 1, ..Default::default() };
    let first = ann.auth().list_sessions(ann.request(list.clone())).await.unwrap().into_inner();
    assert!(!first.next_page_token.is_empty());
    let rest = ListSessionsRequest { page_token: first.next_page_token, ..list };
    let second = ann.auth().list_sessions(ann.request(rest)).await.unwrap().into_inner();
    assert_eq!((first.sessions[0].current, second.sessions[0].current), (false, true), "newest first");
    let end = DeleteSessionRequest { session_id: first.sessions[0].id.clone() };
    ann.auth().delete_session(ann.request(end.clone())).await.unwrap();
    assert!(sandbox.refresh(&other.credentials.refresh_token).await.is_err());
    assert_eq!(reason(ann.auth().delete_session(ann.request(end)).await), refused(Code::NotFound, "SESSION_NOT_FOUND"));
}
