//! How often somebody may call, told and kept alike in every face.

use std::time::Duration;

use errand_gateway::{Config, Quotas, Rates};
use errand_proto::{contract::METHODS, google::rpc};
use http::{HeaderMap, Method, Request, StatusCode, Version};
use jiff::SignedDuration;
use prost::Message;
use tonic::{Code, body::Body};
use tower::ServiceExt;

use crate::world::{Answer, GET_TASK, LOG_IN, Script, World, from, grpc, message, ok, post, web};

const CREATE_TASK: &str = "/errand.task.v1.TaskService/CreateTask";
const WATCH: &str = "/errand.task.v1.TaskService/WatchTasks";

fn limited(user: &str, address: &str) -> World {
    let quotas = |text| Quotas::none().with(text).unwrap();
    limited_to(Rates { user: quotas(user), address: quotas(address), replicas: 1 }, &[])
}

fn limited_to(rates: Rates, trusted: &[&str]) -> World {
    let trusted_proxies = trusted.iter().map(|text| text.parse().unwrap()).collect();
    let script = Script::Stream(vec![message(b"")], ok());
    World::new(Config { rates, trusted_proxies, ..Config::default() }, script)
}

/// The same read in each face.
fn reads(bearer: &str) -> [Request<Body>; 6] {
    let authorization = ("authorization", bearer);
    let json = [("content-type", "application/json"), authorization];
    let problem = [("accept", "application/problem+json"), authorization];
    let get = |headers: &[(&str, &str)]| {
        let mut request = post("/v1/tasks/7", headers, "");
        *request.method_mut() = Method::GET;
        *request.version_mut() = Version::HTTP_11;
        request
    };
    [
        grpc(GET_TASK, &[authorization]),
        web(GET_TASK, &[authorization]),
        post(GET_TASK, &[("content-type", "application/grpc-web-text"), authorization], "AAAAAAA="),
        post(GET_TASK, &json, "{}"),
        get(&[authorization]),
        get(&problem),
    ]
}

fn told(answer: &Answer) -> [&str; 3] {
    ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(|name| answer.header(name))
}

fn is_limited(answer: &Answer) -> bool {
    answer.status == StatusCode::TOO_MANY_REQUESTS || answer.header("grpc-status") == "8"
}

/// The details of a refusal in gRPC's headers, by name.
fn details(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    errand_proto::status::details(&tonic::Status::from_header_map(headers).unwrap())
}

#[tokio::test]
async fn r_078_one_call_too_many_is_refused_in_every_face_and_after_the_wait_it_is_not() {
    for face in 0..6 {
        let world = limited("read=2/m:3", "");
        let bearer = format!("Bearer {}", world.token("tasks:read"));
        let call = async || world.call(reads(&bearer).into_iter().nth(face).unwrap()).await;
        for (remaining, reset) in [("2", "30"), ("1", "60"), ("0", "90")] {
            let answer = call().await;
            assert!(!is_limited(&answer), "{face}");
            assert_eq!(told(&answer), ["3", remaining, reset], "{face}");
        }
        world.clock.advance(SignedDuration::from_millis(500));
        let refused = call().await;
        assert_eq!(told(&refused), ["3", "0", "90"], "{face}");
        match face {
            0..3 => {
                assert_eq!(refused.refusal(), (Code::ResourceExhausted, "RATE_LIMITED".to_owned()));
                assert!(refused.header("content-type").starts_with("application/grpc"));
                let details = details(&refused.headers);
                let names: Vec<_> = details.iter().map(|(name, _)| name.trim_start_matches("google.rpc.")).collect();
                assert_eq!(names, ["ErrorInfo", "RetryInfo", "QuotaFailure", "RequestInfo"]);
                let retry = rpc::RetryInfo::decode(details[1].1.as_slice()).unwrap().retry_delay.unwrap();
                assert_eq!(Duration::try_from(retry).unwrap(), Duration::from_millis(29_500));
                let quota = rpc::QuotaFailure::decode(details[2].1.as_slice()).unwrap();
                assert_eq!(quota.violations[0].subject, "user:00000000-0000-0000-0000-000000000007");
            }
            _ => {
                assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "30"));
                assert!(String::from_utf8_lossy(&refused.body).contains("RATE_LIMITED"));
            }
        }
        world.clock.advance(SignedDuration::from_millis(29_499));
        assert!(is_limited(&call().await), "{face}");
        world.clock.advance(SignedDuration::from_millis(1));
        assert!(!is_limited(&call().await), "{face}: who waits as long as told is let in");
        assert!(is_limited(&call().await), "{face}: once");
    }
}

#[tokio::test]
async fn r_078_the_wall_clock_gives_nothing_back() {
    let world = limited("read=1/h", "");
    let bearer = format!("Bearer {}", world.token("tasks:read"));
    let call = async || is_limited(&world.call(grpc(GET_TASK, &[("authorization", &bearer)])).await);
    assert_eq!((call().await, call().await), (false, true));
    let now = errand_chassis::clock::Clock::now(&*world.clock);
    world.clock.set(now + SignedDuration::from_mins(10));
    assert!(call().await);
    world.clock.set(now - SignedDuration::from_mins(10));
    world.clock.advance(SignedDuration::from_hours(1));
    world.clock.set(now);
    assert!(!call().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_079_a_hundred_in_parallel_are_admitted_up_to_the_limit_exactly() {
    for _ in 0..20 {
        let world = limited("read=1/h:30", "");
        let bearer = format!("Bearer {}", world.token("tasks:read"));
        let calls: Vec<_> = (0..100)
            .map(|_| tokio::spawn(world.edge.clone().oneshot(grpc(GET_TASK, &[("authorization", &bearer)]))))
            .collect();
        let mut admitted = 0;
        for call in calls {
            admitted += usize::from(!call.await.unwrap().unwrap().headers().contains_key("grpc-status"));
        }
        assert_eq!((admitted, world.seen().len()), (30, 30));
    }
}

#[tokio::test]
async fn r_080_the_flood_of_one_user_or_address_leaves_the_others_alone() {
    let world = limited("read=10/s", "read=50/s, credential=5/s");
    let [ada, bob] = [1, 2].map(|user| format!("Bearer {}", world.token_of(user, "tasks:read")));
    let read = async |bearer: &str, peer: &str| {
        is_limited(&world.call(from(grpc(GET_TASK, &[("authorization", bearer)]), peer)).await)
    };
    let mut refused = 0;
    for _ in 0..40 {
        refused += usize::from(read(&ada, "192.0.2.1:5").await);
        assert!(!read(&bob, "192.0.2.2:5").await);
        world.clock.advance(SignedDuration::from_millis(100));
    }
    assert_eq!(refused, 0, "ten a second are allowed");
    for _ in 0..200 {
        refused += usize::from(read(&ada, "192.0.2.1:5").await);
    }
    assert!(refused >= 190);
    assert!(!read(&bob, "192.0.2.2:5").await);
    assert!(read(&bob, "192.0.2.1:5").await, "who shares the address of a flood shares its limit");
    // Another class of the same address has a limit of its own.
    assert!(!is_limited(&world.call(from(grpc(LOG_IN, &[]), "192.0.2.1:5")).await));
}

#[tokio::test]
async fn r_081_a_client_that_names_another_address_keeps_its_own_limit() {
    let rates = Rates { user: Quotas::none(), address: Quotas::none().with("credential=1/h:3").unwrap(), replicas: 1 };
    let admitted = async |world: &World, peer: &str, hops: fn(u32) -> String| {
        let mut admitted = 0;
        for number in 0..20 {
            let request = web(LOG_IN, &[("x-forwarded-for", &hops(number))]);
            admitted += usize::from(!is_limited(&world.call(from(request, peer)).await));
        }
        admitted
    };
    let spoofed: fn(u32) -> String = |number| format!("198.51.100.{number}");
    let behind: fn(u32) -> String = |number| format!("10.9.9.{number}, 198.51.100.7");
    assert_eq!(admitted(&limited_to(rates, &[]), "203.0.113.9:5", spoofed).await, 3);
    assert_eq!(admitted(&limited_to(rates, &["192.0.2.0/24"]), "203.0.113.9:5", spoofed).await, 3);
    let world = limited_to(rates, &["192.0.2.0/24"]);
    assert_eq!(admitted(&world, "192.0.2.5:5", behind).await, 3, "one client behind a proxy of ours");
    assert_eq!(admitted(&world, "192.0.2.5:5", spoofed).await, 19, "and many, of whom one has none left");
}

#[tokio::test]
async fn this_machine_and_a_network_of_ipv6_count_as_what_they_are() {
    let world = limited("", "credential=1/h");
    let call = async |peer: &str| is_limited(&world.call(from(web(LOG_IN, &[]), peer)).await);
    for own in ["127.0.0.1:5", "[::1]:5", "127.9.9.9:5", "[::ffff:127.0.0.1]:5"] {
        assert_eq!((call(own).await, call(own).await), (false, false), "{own}");
    }
    assert_eq!((call("[2001:db8::1]:5").await, call("[2001:db8::ffff:1]:6").await), (false, true));
    assert!(!call("[2001:db8:0:1::1]:5").await);
    assert_eq!((call("192.0.2.1:5").await, call("[::ffff:192.0.2.1]:5").await), (false, true));
}

#[tokio::test]
async fn a_call_counts_when_it_arrives_whatever_becomes_of_it() {
    let world = limited("read=1/h:5", "read=1/h:3");
    for _ in 0..3 {
        let answer = world.call(from(grpc(GET_TASK, &[("authorization", "Bearer a.b.c")]), "192.0.2.1:5")).await;
        assert_eq!(answer.refusal().1, "TOKEN_INVALID");
    }
    let bearer = format!("Bearer {}", world.token("tasks:read"));
    let answer = world.call(from(grpc(GET_TASK, &[("authorization", &bearer)]), "192.0.2.1:5")).await;
    assert_eq!(answer.refusal().1, "RATE_LIMITED", "guessing tokens is a flood like any other");
    let answer = world.call(from(grpc(GET_TASK, &[("authorization", &bearer)]), "192.0.2.2:5")).await;
    assert_eq!(told(&answer)[..2], ["3", "2"], "of two limits the nearer one is told");
    // A stream counts as one call, however long it is.
    let messages = (0..50).map(|_| message(b"")).collect();
    let rates = Rates { user: Quotas::none().with("read=1/h:2").unwrap(), ..Rates::default() };
    let world = World::new(Config { rates, ..Config::default() }, Script::Stream(messages, ok()));
    let bearer = format!("Bearer {}", world.token("tasks:read"));
    let answer = world.call(grpc(WATCH, &[("authorization", &bearer)])).await;
    assert_eq!((answer.pieces.len(), told(&answer)[1]), (50, "1"));
}

#[tokio::test]
async fn what_is_of_no_class_or_switched_off_is_not_counted() {
    let world = limited("read=1/h", "read=1/h");
    for path in ["/grpc.health.v1.Health/Check", "/nope", "/healthz", "/openapi.json"] {
        for _ in 0..5 {
            let answer = world.call(from(grpc(path, &[]), "192.0.2.1:5")).await;
            assert!(!is_limited(&answer) && told(&answer) == [""; 3], "{path}");
        }
    }
    let bearer = format!("Bearer {}", world.token("tasks:write"));
    for _ in 0..5 {
        let answer = world.call(grpc(CREATE_TASK, &[("authorization", &bearer)])).await;
        assert!(!is_limited(&answer) && told(&answer) == [""; 3]);
    }
}

#[tokio::test]
async fn by_default_every_method_has_a_limit_that_leaves_room_to_work() {
    for method in &METHODS {
        let world = World::new(Config::default(), Script::Stream(vec![message(b"")], ok()));
        let scope = if method.scope.as_str().is_empty() { "tasks:read" } else { method.scope.as_str() };
        let bearer = format!("Bearer {}", world.token(scope));
        let answer = world.call(from(web(method.path, &[("authorization", &bearer)]), "192.0.2.1:5")).await;
        let limit: u32 = answer.header("x-ratelimit-limit").parse().unwrap();
        assert!(limit >= 50, "{}: {limit}", method.path);
    }
}
