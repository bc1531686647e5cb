//! Battery 2.2: access and refresh tokens, from outside.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use errand_proto::auth::{
    ChangePasswordRequest, GetJwksRequest, GetMeRequest, LogOutRequest, RefreshTokenRequest,
    auth_service_client::AuthServiceClient,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    sandbox::{PASSWORD, Sandbox, raw, reason, refused, rounds, with_token},
    wire::{framed, grpc, http2},
};

const ME: &str = "/errand.auth.v1.AuthService/GetMe";

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn an_access_token_is_an_es256_at_jwt_that_the_published_keys_verify() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let header = part(ann.token(), 0);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("at+jwt")));
    let claims = part(ann.token(), 1);
    assert_eq!(claims["sub"], json!(ann.user.id));
    assert_eq!(
        (&claims["iss"], &claims["aud"], &claims["zoneinfo"]),
        (&json!("errand"), &json!("errand"), &json!("UTC"))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    let keys = sandbox.auth().await.get_jwks(GetJwksRequest {}).await.unwrap().into_inner().keys;
    let key = keys.iter().find(|key| header["kid"] == json!(key.kid)).unwrap();
    assert_eq!(
        (key.kty.as_str(), key.crv.as_str(), key.alg.as_str(), key.r#use.as_str()),
        ("EC", "P-256", "ES256", "sig")
    );
    let decoding = jsonwebtoken::DecodingKey::from_ec_components(&key.x, &key.y).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&["errand"]);
    jsonwebtoken::decode::<Value>(ann.token(), &decoding, &validation).unwrap();
}

#[tokio::test]
async fn r_015_unsigned_and_differently_signed_tokens_are_refused() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let keys = sandbox.auth().await.get_jwks(GetJwksRequest {}).await.unwrap().into_inner().keys;
    let (kid, claims) = (part(ann.token(), 0)["kid"].clone(), ann.token().split('.').nth(1).unwrap().to_owned());
    let signature = ann.token().rsplit('.').next().unwrap();
    let mut forged = Vec::new();
    for alg in ["none", "None", "nOnE", "HS256", "RS256", "PS256", "ES384"] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "at+jwt", "kid": kid}).to_string());
        forged.extend(["", signature].map(|signature| format!("{header}.{claims}.{signature}")));
    }
    let hmac =
        jsonwebtoken::Header { typ: Some("at+jwt".into()), kid: kid.as_str().map(str::to_owned), ..Default::default() };
    for secret in [
        keys[0].x.clone(),
        format!("{}{}", keys[0].x, keys[0].y),
        serde_json::to_string(&json!({"x": keys[0].x})).unwrap(),
    ] {
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        forged.push(jsonwebtoken::encode(&hmac, &part(ann.token(), 1), &key).unwrap());
    }
    for token in forged {
        assert_eq!(
            reason(raw(&ann.channel, ME, vec![], Some(&token)).await),
            refused(Code::Unauthenticated, "TOKEN_INVALID"),
            "{token}"
        );
    }
}

#[tokio::test]
async fn r_021_the_authorization_header_is_read_strictly() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let token = ann.token();
    let good = format!("Bearer {token}");
    let long = format!("Bearer {}", "a".repeat(70_000));
    let variants: [(Vec<&str>, i32); 8] = [
        (vec![good.as_str()], 0),
        (vec![""], 16),
        (vec!["Bearer"], 16),
        (vec!["Bearer  x"], 16),
        (vec!["Basic dXNlcjpwYXNz"], 16),
        (vec![token], 16),
        (vec![good.as_str(), good.as_str()], 16),
        (vec![long.as_str()], 8),
    ];
    for (values, code) in variants {
        let mut request = grpc(sandbox.address, ME);
        for value in &values {
            request = request.header("authorization", *value);
        }
        match http2(sandbox.address, request.body(()).unwrap(), vec![framed(b"").into()]).await {
            Ok(answer) if answer.status == 200 => assert_eq!(answer.refusal().0, code, "{:.40}", values[0]),
            other => assert_eq!(code, 8, "{other:?}"),
        }
    }
}

#[tokio::test]
async fn r_022_one_kind_of_token_is_never_taken_for_another() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let as_access = raw(&ann.channel, ME, vec![], Some(&ann.credentials.refresh_token)).await;
    assert_eq!(reason(as_access), refused(Code::Unauthenticated, "TOKEN_INVALID"));
    assert_eq!(reason(sandbox.refresh(ann.token()).await), refused(Code::Unauthenticated, "REFRESH_TOKEN_INVALID"));
}

#[tokio::test]
async fn r_024_parallel_refreshes_have_one_successor() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let mut current = ann.credentials.refresh_token.clone();
    for _ in 0..rounds(20, 1000) {
        let calls = (0..32).map(|_| {
            let (mut client, token) = (AuthServiceClient::new(ann.channel.clone()), current.clone());
            tokio::spawn(async move { client.refresh_token(RefreshTokenRequest { refresh_token: token }).await })
        });
        let mut successors = std::collections::BTreeSet::new();
        for call in calls.collect::<Vec<_>>() {
            successors.insert(call.await.unwrap().unwrap().into_inner().credentials.unwrap().refresh_token);
        }
        assert_eq!(successors.len(), 1, "one head of the family");
        current = successors.pop_first().unwrap();
    }
}

#[tokio::test]
async fn r_025_a_lost_answer_can_be_asked_for_again_but_a_grandparent_ends_the_family() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let first = ann.credentials.refresh_token;
    let second = sandbox.refresh(&first).await.unwrap().refresh_token;
    assert_eq!(sandbox.refresh(&first).await.unwrap().refresh_token, second, "the same successor");
    let third = sandbox.refresh(&second).await.unwrap().refresh_token;
    assert_eq!(reason(sandbox.refresh(&first).await), refused(Code::Unauthenticated, "REFRESH_TOKEN_REUSED"));
    assert_eq!(sandbox.refresh(&third).await.unwrap_err().code(), Code::Unauthenticated, "the family is revoked");
}

#[tokio::test]
async fn r_026_a_revoked_session_stays_revoked_over_a_crash() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    ann.auth().log_out(ann.request(LogOutRequest {})).await.unwrap();
    sandbox.kill_and_restart();
    assert_eq!(sandbox.refresh(&ann.credentials.refresh_token).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn r_027_after_log_out_refresh_is_dead_and_the_access_token_lives_out_its_time() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    ann.auth().log_out(ann.request(LogOutRequest {})).await.unwrap();
    ann.auth().log_out(ann.request(LogOutRequest {})).await.unwrap();
    assert!(sandbox.refresh(&ann.credentials.refresh_token).await.is_err());
    // Promised: at most 15 minutes. It says so in the contract.
    assert!(ann.auth().get_me(ann.request(GetMeRequest {})).await.is_ok());
}

#[tokio::test]
async fn access_tokens_survive_a_restart_because_keys_do() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    sandbox.kill_and_restart();
    let request = with_token(GetMeRequest {}, ann.token());
    assert_eq!(sandbox.auth().await.get_me(request).await.unwrap().into_inner().id, ann.user.id);
}

#[tokio::test]
async fn r_071_refresh_log_out_and_password_change_at_once_leave_no_live_token() {
    let sandbox = Sandbox::start();
    for round in 0..rounds(10, 1000) {
        let email = format!("r071-{round}@example.com");
        let owner = sandbox.sign_up_as(&email).await.unwrap();
        let victim = sandbox.log_in(&email).await.unwrap();
        let token = victim.credentials.refresh_token.clone();
        let change =
            ChangePasswordRequest { current_password: PASSWORD.into(), new_password: "another good one".into() };
        let (mut one, mut two, mut three) = (victim.auth(), victim.auth(), owner.auth());
        let (refreshed, _, _) = tokio::join!(
            one.refresh_token(RefreshTokenRequest { refresh_token: token.clone() }),
            two.log_out(victim.request(LogOutRequest {})),
            three.change_password(owner.request(change)),
        );
        assert!(sandbox.refresh(&token).await.is_err());
        if let Ok(answer) = refreshed {
            assert!(sandbox.refresh(&answer.into_inner().credentials.unwrap().refresh_token).await.is_err());
        }
    }
}

#[tokio::test]
async fn r_034_no_secret_is_ever_logged() {
    let mut sandbox = Sandbox::with(&[("ERRAND_LOG", "trace")]);
    let ann = sandbox.sign_up_as("canary-address@example.com").await.unwrap();
    ann.say("", "add canary-text").await;
    let refreshed = sandbox.refresh(&ann.credentials.refresh_token).await.unwrap();
    let _ = sandbox.refresh("canary-refresh").await;
    let _ = raw(&ann.channel, ME, vec![], Some("canary-access")).await;
    let _ = sandbox
        .auth()
        .await
        .log_in(errand_proto::auth::LogInRequest { email: "canary-mail".into(), password: "canary-password".into() })
        .await;
    sandbox.kill();
    let log = sandbox.log();
    assert!(log.contains("rpc.method"), "something was logged");
    for secret in [
        "canary",
        PASSWORD,
        ann.token(),
        &ann.credentials.refresh_token,
        &refreshed.access_token,
        &refreshed.refresh_token,
    ] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
