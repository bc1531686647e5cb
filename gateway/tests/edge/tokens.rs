//! Who gets through to a method that needs a token, and how a refusal looks in each face.

use jiff::SignedDuration;
use tonic::Code;

use crate::world::{GET_TASK, LOG_IN, grpc, ok, post, web, world};

#[tokio::test]
async fn a_good_token_passes_and_goes_on_to_the_service_which_verifies_again() {
    let world = world();
    let bearer = format!("Bearer {}", world.token("tasks:read"));
    for request in [grpc(GET_TASK, &[("authorization", &bearer)]), web(GET_TASK, &[("authorization", &bearer)])] {
        let answer = world.call(request).await;
        assert_eq!(answer.headers.get("grpc-status"), None);
        assert_eq!(world.only().header("authorization"), Some(bearer.as_str()));
    }
}

#[tokio::test]
async fn r_003_r_021_whatever_is_no_token_is_unauthenticated_in_the_callers_face() {
    let world = world();
    let good = world.token("tasks:read");
    let cases = [
        "",
        "Bearer",
        "Bearer ",
        &format!("Bearer  {good}"),
        &format!("Bearer\t{good}"),
        &format!("Basic {good}"),
        &good,
        &format!("Bearer {good} "),
        &format!("Bearer {good},Bearer {good}"),
        &format!("Bearer {good}.x"),
        "Bearer a.b",
        "Bearer a.b.c.d",
    ];
    for case in cases {
        let headers = [("authorization", case)];
        for (request, face) in [
            (grpc(GET_TASK, &headers), "application/grpc"),
            (web(GET_TASK, &headers), "application/grpc-web+proto"),
            (post(GET_TASK, &[("content-type", "application/grpc-web"), headers[0]], ""), "application/grpc-web"),
        ] {
            let answer = world.call(request).await;
            assert_eq!(answer.refusal(), (Code::Unauthenticated, "TOKEN_INVALID".to_owned()), "{case:.40}");
            assert_eq!(answer.header("content-type"), face);
        }
    }
    assert!(world.seen().is_empty());
}

#[tokio::test]
async fn r_021_r_044_two_tokens_are_none() {
    let world = world();
    let good = format!("Bearer {}", world.token("tasks:read"));
    for pair in [[good.as_str(), "Bearer x"], ["Bearer x", &good], [&good, &good]] {
        let answer = world.call(web(GET_TASK, &pair.map(|value| ("authorization", value)))).await;
        assert_eq!(answer.refusal(), (Code::Unauthenticated, "TOKEN_INVALID".to_owned()));
    }
}

#[tokio::test]
async fn r_028_an_expired_token_is_refused_to_the_second() {
    let world = world();
    let bearer = format!("Bearer {}", world.token("tasks:read"));
    world.clock.advance(SignedDuration::from_secs(15 * 60 + 5));
    assert_eq!(world.call(grpc(GET_TASK, &[("authorization", &bearer)])).await.trailers, Some(ok()));
    world.clock.advance(SignedDuration::from_secs(1));
    let answer = world.call(grpc(GET_TASK, &[("authorization", &bearer)])).await;
    assert_eq!(answer.refusal(), (Code::Unauthenticated, "TOKEN_EXPIRED".to_owned()));
}

#[tokio::test]
async fn r_033_a_token_without_the_scope_is_denied() {
    let world = world();
    let bearer = format!("Bearer {}", world.token("chat account"));
    let answer = world.call(web(GET_TASK, &[("authorization", &bearer)])).await;
    assert_eq!(answer.refusal(), (Code::PermissionDenied, "SCOPE_MISSING".to_owned()));
}

#[tokio::test]
async fn a_public_method_asks_nobody() {
    let world = world();
    let answer = world.call(web(LOG_IN, &[("authorization", "Bearer nonsense")])).await;
    assert_eq!(answer.headers.get("grpc-status"), None);
    world.only();
}
