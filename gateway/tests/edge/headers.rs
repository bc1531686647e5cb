//! What passes the edge in headers, and how a call and its client are named.

use errand_chassis::request_id::RequestId;
use errand_gateway::Config;
use tonic::Status;

use crate::world::{LOG_IN, Script, World, from, grpc, message, ok, post, scripted, web, world};

#[tokio::test]
async fn r_043_headers_of_the_inside_are_dropped_when_they_come_from_outside() {
    let world = world();
    let forged = [
        "x-errand-turn",
        "x-errand-user",
        "x_errand_turn",
        "x-errand-turn-bin",
        "x-user-id",
        "x_user_id",
        "x-internal-admin",
        "x-envoy-original-path",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x_forwarded_for",
        "forwarded",
        "grpc-metadata-authorization",
        "grpc-tags-bin",
        "x-anything-else",
        "cookie",
        "host",
        "x-http-method-override",
        "idempotency-key",
    ];
    let headers: Vec<_> = forged.iter().map(|name| (*name, "00000000-0000-7000-8000-000000000001")).collect();
    for request in [grpc(LOG_IN, &headers), web(LOG_IN, &headers)] {
        world.call(request).await;
        let seen = world.only();
        for name in forged {
            assert_eq!(seen.header(name), None, "{name}");
        }
    }
}

#[tokio::test]
async fn what_a_service_needs_to_know_passes() {
    let world = world();
    let kept = [
        ("grpc-timeout", "5S"),
        ("user-agent", "grpc-test/1"),
        ("x-user-agent", "grpc-web-javascript/0.1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("accept-language", "de"),
        ("grpc-accept-encoding", "identity"),
        ("x-request-id", "mine-1"),
    ];
    world.call(grpc(LOG_IN, &kept)).await;
    let seen = world.only();
    for (name, value) in kept {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!((seen.header("te"), seen.header("content-type")), (Some("trailers"), Some("application/grpc")));
}

#[tokio::test]
async fn r_044_what_is_said_twice_is_believed_by_nobody() {
    let world = world();
    let twice = [
        ("user-agent", "a"),
        ("user-agent", "b"),
        ("traceparent", "a"),
        ("traceparent", "b"),
        ("x-request-id", "a"),
        ("x-request-id", "b"),
    ];
    let answer = world.call(grpc(LOG_IN, &twice)).await;
    let seen = world.only();
    assert_eq!((seen.header("user-agent"), seen.header("traceparent")), (None, None));
    let given = seen.header("x-request-id").unwrap();
    assert!(given != "a" && given != "b");
    assert_eq!(answer.header("x-request-id"), given);
}

#[tokio::test]
async fn a_call_keeps_its_harmless_name_and_gets_a_new_one_for_any_other() {
    let world = world();
    for (sent, kept) in [("abc-1.2_3:4", true), (&*"a".repeat(128), true), (&*"a".repeat(129), false), ("a b", false)] {
        let answer = world.call(web(LOG_IN, &[("x-request-id", sent)])).await;
        let seen = world.only();
        let name = answer.header("x-request-id");
        assert_eq!(name == sent, kept, "{sent}");
        assert_eq!(seen.header("x-request-id"), Some(name));
        assert_eq!(seen.head.extensions.get::<RequestId>().map(RequestId::as_str), Some(name));
    }
}

#[tokio::test]
async fn every_answer_names_its_call() {
    let world = world();
    let mut preflight = post(LOG_IN, &[("origin", "http://localhost"), ("access-control-request-method", "POST")], "");
    *preflight.method_mut() = http::Method::OPTIONS;
    for request in [
        grpc(LOG_IN, &[]),
        web("/nope", &[]),
        post("/healthz", &[], ""),
        post("/nope", &[], ""),
        grpc(LOG_IN, &[("grpc-encoding", "gzip")]),
        preflight,
    ] {
        assert!(!world.call(request).await.header("x-request-id").is_empty());
    }
}

#[tokio::test]
async fn a_service_is_heard_only_in_the_headers_that_are_for_clients() {
    let answer = world().call(grpc(LOG_IN, &[])).await;
    assert_eq!((answer.header("x-secret-of-the-service"), answer.header("etag")), ("", "7"));
    let mut status = Status::not_found("gone");
    status.metadata_mut().insert("x-internal-node", "10.0.0.7".parse().unwrap());
    let answer = scripted(Script::Refuse(status)).call(web(LOG_IN, &[])).await;
    assert_eq!((answer.header("x-internal-node"), answer.header("grpc-status")), ("", "5"));
}

fn behind(proxies: &[&str]) -> World {
    let trusted_proxies = proxies.iter().map(|text| text.parse().unwrap()).collect();
    let script = Script::Stream(vec![message(b"")], ok());
    World::new(Config { trusted_proxies, ..Config::default() }, script)
}

async fn client(world: &World, peer: &str, hops: &[&str]) -> String {
    let headers: Vec<_> = hops.iter().map(|hop| ("x-forwarded-for", *hop)).collect();
    world.call(from(web(LOG_IN, &headers), peer)).await;
    world.only().client().unwrap()
}

#[tokio::test]
async fn r_081_the_client_is_the_last_hop_that_a_trusted_proxy_vouches_for() {
    let world = behind(&["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"]);
    for (peer, hops, expected) in [
        ("203.0.113.9:5", &["1.1.1.1"][..], "203.0.113.9"),
        ("10.0.0.1:5", &[], "10.0.0.1"),
        ("10.0.0.1:5", &["1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1:5", &["6.6.6.6, 1.1.1.1, 10.9.9.9"], "1.1.1.1"),
        ("10.0.0.1:5", &["6.6.6.6", "1.1.1.1", "192.0.2.1,10.9.9.9"], "1.1.1.1"),
        ("10.0.0.1:5", &["6.6.6.6, rubbish"], "10.0.0.1"),
        ("10.0.0.1:5", &["6.6.6.6, rubbish, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1:5", &["1.1.1.1:4711"], "1.1.1.1"),
        ("[2001:db8::1]:5", &["[2001:db9::2]:443"], "2001:db9::2"),
        ("[::ffff:10.0.0.1]:5", &["::ffff:1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1:5", &["10.0.0.3"], "10.0.0.3"),
    ] {
        assert_eq!(client(&world, peer, hops).await, expected, "{peer} {hops:?}");
    }
    assert_eq!(client(&behind(&[]), "10.0.0.1:5", &["1.1.1.1"]).await, "10.0.0.1");
    assert_eq!(client(&behind(&["0.0.0.0/0"]), "9.9.9.9:5", &["8.8.8.8, 7.7.7.7"]).await, "8.8.8.8");
}

#[test]
fn what_is_no_network_is_refused() {
    for text in
        ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/", "10.0.0", "::/129", "host", "10.0.0.0/8/8"]
    {
        assert!(text.parse::<errand_gateway::Network>().is_err(), "{text}");
    }
}
