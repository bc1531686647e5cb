//! Sign-up, profile and password.

use std::time::Instant;

use errand_proto::auth::GetJwksRequest;
use prost_types::FieldMask;

use super::*;

fn profile(display_name: &str, time_zone: &str) -> UpdateMeRequest {
    let user = User { display_name: display_name.into(), time_zone: time_zone.into(), ..Default::default() };
    UpdateMeRequest { user: Some(user), ..Default::default() }
}

fn masked(paths: &[&str]) -> UpdateMeRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    UpdateMeRequest { update_mask: Some(FieldMask { paths }), ..profile("New", "Europe/Berlin") }
}

#[tokio::test]
async fn r_001_sign_up_log_in_and_me_agree_on_who_it_is() {
    let room = Room::new().await;
    let request = SignUpRequest {
        email: "Ada@Example.com".into(),
        password: PASSWORD.into(),
        display_name: "Ada".into(),
        time_zone: "europe/london".into(),
    };
    let answer = room.client().sign_up(request).await.unwrap().into_inner();
    let user = answer.user.unwrap();
    assert_eq!((user.email.as_str(), user.display_name.as_str()), ("Ada@Example.com", "Ada"));
    assert_eq!((user.time_zone.as_str(), user.etag.as_str()), ("Europe/London", "1"));
    assert_eq!(user.create_time, user.update_time);
    let credentials = answer.credentials.unwrap();
    assert_eq!(credentials.expires_in.unwrap().seconds, 900);
    assert_eq!(room.me(&credentials.access_token).await.unwrap(), user);
    let again = room.log_in("ada@example.com", PASSWORD).await.unwrap();
    assert_eq!(again.user.unwrap(), user);
    assert_eq!(room.me(&again.credentials.unwrap().access_token).await.unwrap(), user);
}

#[tokio::test]
async fn r_002_every_spelling_of_an_address_is_one_account() {
    let room = Room::new().await;
    let user = room.sign_up("Jos\u{e9}@Example.com").await.user;
    for spelling in ["JOS\u{c9}@EXAMPLE.COM", "jose\u{301}@example.com"] {
        assert_eq!(room.log_in(spelling, PASSWORD).await.unwrap().user.unwrap().id, user.id);
        let taken = refusal(room.try_sign_up(spelling, "another long password").await);
        assert_eq!(taken, (Code::AlreadyExists, "EMAIL_TAKEN".into()));
    }
}

#[tokio::test]
async fn r_004_an_unknown_address_and_a_wrong_password_look_the_same() {
    let room = Room::new().await;
    room.sign_up("ada@example.com").await;
    let mut seen = Vec::new();
    for email in ["ada@example.com", "nobody@example.com", "no address at all"] {
        let status = room.log_in(email, "a wrong password").await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        let details: Vec<_> = rpc::Status::decode(status.details())
            .unwrap()
            .details
            .into_iter()
            .filter(|any| !any.type_url.ends_with("RequestInfo"))
            .collect();
        let mut headers: Vec<_> = status.metadata().keys().map(|key| format!("{key:?}")).collect();
        headers.sort();
        seen.push((status.message().to_owned(), details, headers));
    }
    assert_eq!(seen[0].1.len(), 1);
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn r_005_an_unknown_address_costs_one_hash_and_so_does_a_wrong_password() {
    let room = Room::new().await;
    room.sign_up("ada@example.com").await;
    for round in 0..5 {
        for email in ["ada@example.com".to_owned(), format!("nobody{round}@example.com")] {
            let before = room.hashes();
            assert_eq!(reason(room.log_in(&email, "a wrong password").await), "CREDENTIALS_INVALID");
            assert_eq!(room.hashes(), before + 1, "{email}");
        }
    }
}

/// The full size only: so many hashes take minutes.
#[tokio::test]
async fn r_005_nobody_can_tell_by_the_time_whether_an_address_has_an_account() {
    let room = Room::new().await;
    let pairs = rounds(0, 2000);
    // One right password a pair keeps the throttle away and its own hash is not timed.
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    room.sign_up("ada@example.com").await;
    for number in 0..pairs {
        let one = ("ada@example.com".to_owned(), &mut known);
        let other = (format!("nobody{number}@example.com"), &mut unknown);
        // Whoever is first pays for what lay idle.
        let pair = if number % 2 == 0 { [one, other] } else { [other, one] };
        for (email, times) in pair {
            let begun = Instant::now();
            assert_eq!(reason(room.log_in(&email, "a wrong password").await), "CREDENTIALS_INVALID");
            times.push(begun.elapsed());
        }
        room.log_in("ada@example.com", PASSWORD).await.unwrap();
        room.pass(1);
    }
    if pairs > 0 {
        // How often a known address takes longer than an unknown one, of all the pairs that there are.
        let longer = known.iter().map(|known| unknown.iter().filter(|unknown| known > *unknown).count()).sum::<usize>();
        let auc = longer as f64 / (known.len() * unknown.len()) as f64;
        assert!((0.45..=0.55).contains(&auc), "{auc}");
    }
}

#[tokio::test]
async fn r_006_sign_ups_are_five_a_minute_for_an_address_and_twenty_from_one() {
    let room = Room::with(Config::default()).await;
    room.sign_up("ada@example.com").await;
    for _ in 0..4 {
        assert_eq!(reason(room.try_sign_up("ada@example.com", PASSWORD).await), "EMAIL_TAKEN");
    }
    let status = room.try_sign_up("ADA@example.com", PASSWORD).await.unwrap_err();
    assert_eq!(
        (status.code(), status::reason(&status).as_deref()),
        (Code::ResourceExhausted, Some("TOO_MANY_ATTEMPTS"))
    );
    let retry: rpc::RetryInfo = detail(&status, "/google.rpc.RetryInfo").unwrap();
    assert_eq!(retry.retry_delay.unwrap().seconds, 60);
    room.pass(30);
    // Six are counted for the network address; fourteen more may come.
    for number in 0..14 {
        let taken = room.try_sign_up("ada@example.com", &format!("long password {number}")).await;
        assert_eq!(reason(taken), "TOO_MANY_ATTEMPTS");
    }
    assert_eq!(reason(room.try_sign_up("bob@example.com", PASSWORD).await), "TOO_MANY_ATTEMPTS");
    assert_eq!(room.hashes(), 1, "nothing is hashed for a refusal");
    room.pass(30);
    assert_eq!(reason(room.try_sign_up("ada@example.com", PASSWORD).await), "EMAIL_TAKEN");
    room.sign_up("bob@example.com").await;
}

#[tokio::test]
async fn r_007_an_attacker_from_elsewhere_locks_nobody_out() {
    let room = Room::new().await;
    room.sign_up("ada@example.com").await;
    let mut told = 0;
    for _ in 0..200 {
        let (code, reason) = refusal(room.log_in_from("203.0.113.6", "ada@example.com", "a wrong password").await);
        match code {
            Code::Unauthenticated => told += 1,
            _ => assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "TOO_MANY_ATTEMPTS")),
        }
    }
    assert_eq!(told, 10);
    assert!(room.log_in_from("198.51.100.7", "ada@example.com", PASSWORD).await.is_ok());
    assert_eq!(reason(room.log_in_from("203.0.113.6", "ada@example.com", PASSWORD).await), "TOO_MANY_ATTEMPTS");
    room.pass(15);
    assert!(room.log_in_from("203.0.113.6", "ada@example.com", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn r_008_nine_failures_a_success_and_nine_failures_throttle_nobody() {
    let room = Room::new().await;
    room.sign_up("ada@example.com").await;
    for _ in 0..2 {
        for _ in 0..9 {
            assert_eq!(reason(room.log_in("ada@example.com", "a wrong password").await), "CREDENTIALS_INVALID");
        }
        assert!(room.log_in("ada@example.com", PASSWORD).await.is_ok());
    }
}

#[tokio::test]
async fn r_009_log_in_refresh_and_password_change_obey_one_throttle() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    for _ in 0..5 {
        assert_eq!(reason(room.log_in("ADA@example.com", "a wrong password").await), "CREDENTIALS_INVALID");
        assert_eq!(
            reason(room.change_password(ada.access(), "wrong", "another password").await),
            "CREDENTIALS_INVALID"
        );
    }
    let hashes = room.hashes();
    let throttled = (Code::ResourceExhausted, "TOO_MANY_ATTEMPTS".to_owned());
    assert_eq!(refusal(room.log_in("ada@example.com", PASSWORD).await), throttled);
    assert_eq!(refusal(room.change_password(ada.access(), PASSWORD, "another password").await), throttled);
    assert_eq!(refusal(room.refresh(ada.refresh()).await), throttled);
    assert_eq!(room.hashes(), hashes);
    room.pass(15);
    assert!(room.refresh(ada.refresh()).await.is_ok());
    assert!(room.change_password(ada.access(), PASSWORD, "another password").await.is_ok());
}

#[tokio::test]
async fn r_010_a_password_that_breaks_a_rule_is_refused_before_any_hash() {
    let room = Room::new().await;
    let ada = room.sign_up("ada.lovelace@example.com").await;
    let hashes = room.hashes();
    let long = "a".repeat(129);
    for bad in ["1234567", "password", "Baseball", "eve.example@example.com", &long, &"\u{10ffff}".repeat(128 * 3)] {
        let status = room.try_sign_up("Eve.Example@example.com", bad).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(violations(&status)[0].0, "password", "{bad}");
    }
    for bad in ["1234567", "password", "ADA.lovelace@example.com", &long] {
        let status = room.change_password(ada.access(), PASSWORD, bad).await.unwrap_err();
        assert_eq!((status.code(), violations(&status)[0].0.as_str()), (Code::InvalidArgument, "newPassword"), "{bad}");
    }
    assert_eq!(room.hashes(), hashes);
    for (number, good) in ["a".repeat(64), "b".repeat(128), " with spaces ".into(), "😀".repeat(8)].iter().enumerate()
    {
        let email = format!("{number}@example.com");
        room.try_sign_up(&email, good).await.unwrap();
        assert!(room.log_in(&email, good).await.is_ok());
        assert!(
            room.log_in(&email, good.trim_end_matches([' ', 'b'])).await.is_err()
                || good == good.trim_end_matches([' ', 'b'])
        );
    }
}

#[tokio::test]
async fn a_sign_up_tells_every_fault_at_once() {
    let room = Room::new().await;
    let request = SignUpRequest {
        email: "ada@example.com".into(),
        password: "password".into(),
        time_zone: "Mars/Base".into(),
        ..Default::default()
    };
    let status = room.client().sign_up(request).await.unwrap_err();
    let told = violations(&status);
    let told: Vec<_> = told.iter().map(|(field, reason)| (field.as_str(), reason.as_str())).collect();
    assert_eq!(told, [("password", "TOO_COMMON"), ("timeZone", "UNKNOWN_VALUE")]);
    let status = room.try_sign_up("no address", "password1234!").await.unwrap_err();
    assert_eq!(violations(&status), [("email".to_owned(), "INVALID_FORMAT".to_owned())]);
}

#[tokio::test]
async fn r_012_a_new_password_needs_the_current_one_and_ends_every_other_session() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let other = room.log_in("ada@example.com", PASSWORD).await.unwrap().credentials.unwrap();
    let wrong = refusal(room.change_password(ada.access(), "not it at all", "another password").await);
    assert_eq!(wrong, (Code::Unauthenticated, "CREDENTIALS_INVALID".into()));
    room.change_password(ada.access(), PASSWORD, "another password").await.unwrap();
    assert_eq!(
        refusal(room.refresh(&other.refresh_token).await),
        (Code::Unauthenticated, "REFRESH_TOKEN_INVALID".into())
    );
    assert!(room.refresh(ada.refresh()).await.is_ok());
    assert_eq!(reason(room.log_in("ada@example.com", PASSWORD).await), "CREDENTIALS_INVALID");
    assert!(room.log_in("ada@example.com", "another password").await.is_ok());
}

#[tokio::test]
async fn r_014_every_hash_in_the_database_is_argon2id_and_an_old_one_is_upgraded_at_log_in() {
    let room = Room::new().await;
    room.sign_up("ada@example.com").await;
    room.sign_up("bob@example.com").await;
    let hashes = |room: &Room| {
        let text = room.run("SELECT password_hash FROM auth.users ORDER BY email");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = hashes(&room);
    assert!(before.iter().all(|hash| hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")), "{before:?}");
    assert_ne!(before[0].split('$').nth(4), before[1].split('$').nth(4), "the salts differ");
    // argon2id with 64 KiB and one pass, of the same password.
    let argon2 = argon2::Argon2::new(
        argon2::Algorithm::Argon2id,
        argon2::Version::V0x13,
        argon2::Params::new(64, 1, 1, None).unwrap(),
    );
    let weak = argon2::PasswordHasher::hash_password_with_salt(&argon2, PASSWORD.as_bytes(), b"0123456789abcdef");
    room.run(&format!("UPDATE auth.users SET password_hash = '{}'", weak.unwrap()));
    assert_eq!(reason(room.log_in("ada@example.com", "a wrong password").await), "CREDENTIALS_INVALID");
    assert!(hashes(&room)[0].contains("m=64,"));
    for _ in 0..2 {
        assert!(room.log_in("ada@example.com", PASSWORD).await.is_ok());
        assert!(hashes(&room)[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }
    assert!(hashes(&room)[1].contains("m=64,"), "bob was not here");
}

#[tokio::test]
async fn r_055_a_mask_names_what_changes_and_nothing_else() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    for (path, expected) in [
        ("id", "READ_ONLY"),
        ("email", "READ_ONLY"),
        ("create_time", "READ_ONLY"),
        ("*", "UNKNOWN_FIELD"),
        ("nope", "UNKNOWN_FIELD"),
        ("display_name.x", "UNKNOWN_FIELD"),
        ("", "UNKNOWN_FIELD"),
    ] {
        let status = room.update_me(ada.access(), masked(&["display_name", path])).await.unwrap_err();
        assert_eq!(violations(&status), [("updateMask".to_owned(), expected.to_owned())], "{path}");
    }
    let many = vec!["display_name"; 10_000];
    assert_eq!(reason(room.update_me(ada.access(), masked(&many)).await), "INVALID_FIELDS");
    assert_eq!(room.me(ada.access()).await.unwrap(), ada.user);

    let named = room.update_me(ada.access(), masked(&["display_name"])).await.unwrap();
    assert_eq!((named.display_name.as_str(), named.time_zone.as_str()), ("New", "UTC"));
    let populated = room.update_me(ada.access(), profile("", "europe/berlin")).await.unwrap();
    assert_eq!((populated.display_name.as_str(), populated.time_zone.as_str()), ("New", "Europe/Berlin"));
    let mut cleared = masked(&["display_name", "time_zone"]);
    cleared.user = Some(User::default());
    let cleared = room.update_me(ada.access(), cleared).await.unwrap();
    assert_eq!((cleared.display_name.as_str(), cleared.time_zone.as_str()), ("", "UTC"));
    let status = room.update_me(ada.access(), profile("", "Mars/Base")).await.unwrap_err();
    assert_eq!(violations(&status), [("user.timeZone".to_owned(), "UNKNOWN_VALUE".to_owned())]);
}

#[tokio::test]
async fn r_064_a_repeated_update_gets_its_first_answer() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let asked = |name: &str| UpdateMeRequest { request_id: "one".into(), ..profile(name, "") };
    let first = room.update_me(ada.access(), asked("First")).await.unwrap();
    let second = room.update_me(ada.access(), profile("Second", "")).await.unwrap();
    assert_ne!(first.etag, second.etag);
    assert_eq!(room.update_me(ada.access(), asked("First")).await.unwrap(), first);
    let reused = room.update_me(ada.access(), asked("Other")).await;
    assert_eq!(refusal(reused), (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED".into()));
    assert_eq!(room.me(ada.access()).await.unwrap(), second);
    // Side by side, too, there is one change.
    let calls = (0..32).map(|_| {
        let (mut client, access) = (room.client(), ada.access().to_owned());
        let request = UpdateMeRequest { request_id: "many".into(), ..profile("Third", "") };
        async move { client.update_me(bearing(&access, request)).await.unwrap().into_inner() }
    });
    let answers = side_by_side(calls).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let user = room.me(ada.access()).await.unwrap();
    assert_eq!(user, answers[0]);
    // And one that changes nothing is remembered all the same.
    let nothing = |name: &str| UpdateMeRequest { request_id: "nothing".into(), ..profile(name, "") };
    assert_eq!(room.update_me(ada.access(), nothing("Third")).await.unwrap(), user);
    assert_eq!(reason(room.update_me(ada.access(), nothing("Fourth")).await), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn r_066_a_request_id_of_another_user_is_independent() {
    let room = Room::new().await;
    let (ada, bob) = (room.sign_up("ada@example.com").await, room.sign_up("bob@example.com").await);
    let asked = |name: &str| UpdateMeRequest { request_id: "one".into(), ..profile(name, "") };
    assert_eq!(room.update_me(ada.access(), asked("Ada")).await.unwrap().display_name, "Ada");
    assert_eq!(room.update_me(bob.access(), asked("Bob")).await.unwrap().display_name, "Bob");
}

#[tokio::test]
async fn r_072_of_many_updates_with_one_etag_one_wins() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let calls = (0..32).map(|number| {
        let (mut client, access) = (room.client(), ada.access().to_owned());
        let mut request = profile(&format!("Ada {number}"), "");
        request.user.as_mut().unwrap().etag = ada.user.etag.clone();
        async move { client.update_me(bearing(&access, request)).await.map(Response::into_inner) }
    });
    let (done, refused): (Vec<_>, Vec<_>) = side_by_side(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (1, 31));
    for answer in refused {
        assert_eq!(refusal(answer), (Code::Aborted, "ETAG_MISMATCH".into()));
    }
}

#[tokio::test]
async fn validate_only_checks_everything_and_changes_nothing() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let asked = |name: &str, zone: &str| UpdateMeRequest {
        validate_only: true,
        request_id: "one".into(),
        ..profile(name, zone)
    };
    let preview = room.update_me(ada.access(), asked("Countess", "Europe/London")).await.unwrap();
    assert_eq!((preview.display_name.as_str(), preview.time_zone.as_str()), ("Countess", "Europe/London"));
    assert_eq!(reason(room.update_me(ada.access(), asked("", "Mars/Base")).await), "INVALID_FIELDS");
    assert_eq!(room.me(ada.access()).await.unwrap(), ada.user);
    let real = UpdateMeRequest { validate_only: false, ..asked("Countess", "") };
    assert_eq!(room.update_me(ada.access(), real).await.unwrap().display_name, "Countess");
}

#[tokio::test]
async fn a_new_time_zone_is_in_the_next_access_token() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    room.update_me(ada.access(), profile("", "Asia/Tokyo")).await.unwrap();
    let next = room.refresh(ada.refresh()).await.unwrap();
    let zone = |token: &str| {
        let claims = jsonwebtoken::dangerous::insecure_decode::<errand_chassis::token::Claims>(token).unwrap().claims;
        (claims.zoneinfo, claims.scope, claims.exp - claims.iat)
    };
    let scope = "tasks:read tasks:write chat account".to_owned();
    assert_eq!(zone(ada.access()), ("UTC".to_owned(), scope.clone(), 900));
    assert_eq!(zone(&next.access_token), ("Asia/Tokyo".to_owned(), scope, 900));
}

#[tokio::test]
async fn r_070_of_32_parallel_sign_ups_with_one_address_one_wins() {
    let room = Room::new().await;
    let calls = (0..32).map(|number| {
        let mut client = room.client();
        let email = if number % 2 == 0 { "ada@example.com" } else { "ADA@EXAMPLE.COM" };
        let request = SignUpRequest { email: email.into(), password: PASSWORD.into(), ..Default::default() };
        async move { client.sign_up(request).await }
    });
    let (done, refused): (Vec<_>, Vec<_>) = side_by_side(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (1, 31));
    for answer in refused {
        assert_eq!(refusal(answer), (Code::AlreadyExists, "EMAIL_TAKEN".into()));
    }
}

#[tokio::test]
async fn the_key_set_is_what_a_standard_client_reads() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let keys = room.client().get_jwks(GetJwksRequest {}).await.unwrap().into_inner().keys;
    assert_eq!(keys.len(), 1);
    let key = &keys[0];
    assert_eq!([&key.kty, &key.r#use, &key.alg, &key.crv], ["EC", "sig", "ES256", "P-256"]);
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&["errand"]);
    validation.validate_exp = false;
    let decoding = jsonwebtoken::DecodingKey::from_ec_components(&key.x, &key.y).unwrap();
    let token = jsonwebtoken::decode::<errand_chassis::token::Claims>(ada.access(), &decoding, &validation).unwrap();
    assert_eq!(token.claims.sub.to_string(), ada.user.id);
    assert_eq!(token.header.kid.as_ref(), Some(&key.kid));
}
