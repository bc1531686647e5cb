//! What a browser is told about which pages may call.

use errand_gateway::{AllowedOrigin, Config};
use http::{Method, Request, StatusCode};
use tonic::body::Body;

use crate::world::{Answer, GET_TASK, LOG_IN, Script, World, grpc, message, ok, post, web, world};

fn allowing(origins: &[&str]) -> World {
    let allowed_origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    World::new(Config { allowed_origins, ..Config::default() }, Script::Stream(vec![message(b"")], ok()))
}

fn preflight(path: &str, origin: &str) -> Request<Body> {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,x-grpc-web,content-type"),
    ];
    let mut request = post(path, &headers, "");
    *request.method_mut() = Method::OPTIONS;
    request
}

fn allowed(answer: &Answer) -> Option<&str> {
    assert_eq!(answer.header("vary"), "Origin", "caches must tell origins apart, whoever asks");
    assert_eq!(answer.headers.get("access-control-allow-credentials"), None);
    answer.headers.get("access-control-allow-origin").map(|origin| origin.to_str().unwrap())
}

#[tokio::test]
async fn a_preflight_is_answered_before_a_token_is_asked_for() {
    let world = world();
    let answer = world.call(preflight(GET_TASK, "http://localhost:5173")).await;
    assert_eq!((answer.status, allowed(&answer)), (StatusCode::NO_CONTENT, Some("http://localhost:5173")));
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "content-type, x-grpc-web, x-user-agent, grpc-timeout, authorization, x-request-id, traceparent, tracestate, \
         connect-protocol-version, connect-timeout-ms, idempotency-key, if-match, if-none-match, last-event-id, accept"
    );
    assert!(answer.header("access-control-allow-methods").contains("POST"));
    assert_eq!(answer.header("access-control-max-age"), "1728000");
    assert!(answer.body.is_empty() && world.seen().is_empty());
}

#[tokio::test]
async fn r_045_only_origins_that_are_allowed_are_reflected() {
    let listed = ["https://app.example.com", "http://dev.example:*"];
    for (world, origin, may) in [
        (world(), "http://localhost", true),
        (world(), "http://localhost:3000", true),
        (world(), "http://127.0.0.1:65535", true),
        (world(), "https://localhost:3000", false),
        (world(), "http://localhost:", false),
        (world(), "http://localhost:3000.evil.example", false),
        (world(), "http://localhost.evil.example", false),
        (world(), "http://evil.example", false),
        (world(), "null", false),
        (world(), "", false),
        (allowing(&listed), "https://app.example.com", true),
        (allowing(&listed), "https://app.example.com:8443", false),
        (allowing(&listed), "https://APP.example.com", false),
        (allowing(&listed), "https://app.example.com.evil.example", false),
        (allowing(&listed), "http://dev.example:1234", true),
        (allowing(&listed), "http://localhost:3000", false),
        (allowing(&["*"]), "https://anything.example", true),
        (allowing(&["*"]), "null", false),
        (allowing(&[]), "http://localhost", false),
    ] {
        let expected = may.then_some(origin);
        assert_eq!(allowed(&world.call(preflight(LOG_IN, origin)).await), expected, "preflight of `{origin}`");
        let answer = world.call(web(LOG_IN, &[("origin", origin)])).await;
        assert_eq!(allowed(&answer), expected, "call of `{origin}`");
        assert_eq!(answer.headers.contains_key("access-control-expose-headers"), may);
    }
}

#[tokio::test]
async fn two_origins_are_nobodys() {
    let answer = world().call(web(LOG_IN, &[("origin", "http://localhost"), ("origin", "http://localhost")])).await;
    assert_eq!(allowed(&answer), None);
}

#[tokio::test]
async fn a_page_may_read_every_error() {
    let world = world();
    let origin = ("origin", "http://localhost:5173");
    let large = "x".repeat(20 << 10);
    let huge = post(LOG_IN, &[("content-type", "application/grpc-web"), ("content-length", "99999999"), origin], "");
    for request in [
        web(GET_TASK, &[origin]),
        web("/nope", &[origin]),
        post("/nope", &[origin], ""),
        post(LOG_IN, &[origin, ("content-type", "text/plain")], ""),
        web(LOG_IN, &[origin, ("x-large", &large)]),
        huge,
    ] {
        let answer = world.call(request).await;
        assert_eq!(allowed(&answer), Some("http://localhost:5173"));
        assert_eq!(
            answer.header("access-control-expose-headers"),
            "grpc-status, grpc-message, grpc-status-details-bin, x-request-id, retry-after, x-ratelimit-limit, \
             x-ratelimit-remaining, x-ratelimit-reset, etag, location, idempotent-replayed"
        );
    }
}

#[tokio::test]
async fn who_is_no_browser_hears_nothing_of_it() {
    let answer = world().call(grpc(LOG_IN, &[])).await;
    assert_eq!(allowed(&answer), None);
    assert!(!answer.headers.contains_key("access-control-expose-headers"));
}

#[test]
fn an_allowed_origin_is_written_as_a_browser_writes_it() {
    for text in ["https://app.example.com", "http://localhost:*", "http://[::1]:8080", "chrome-extension://abc", "*"] {
        assert!(text.parse::<AllowedOrigin>().is_ok(), "{text}");
    }
    for text in
        ["", "null", "app.example.com", "https://", "https://a/", "https://A.example", "https://*.example", "://a"]
    {
        assert!(text.parse::<AllowedOrigin>().is_err(), "{text}");
    }
}
