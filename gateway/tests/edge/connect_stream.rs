//! Connect's streams: envelopes both ways, and the last one says how it ended.

use bytes::{Buf, Bytes};
use errand_chassis::{Error, upstream::Upstream};
use errand_gateway::Config;
use errand_proto::task::{Change, Task, WatchTasksRequest, WatchTasksResponse, watch_tasks_response::Event};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, body::Body};
use tower::{ServiceExt, service_fn};

use crate::world::{Answer, GET_TASK, Script, World, message, ok, post, scripted, world};

const WATCH: &str = "/errand.task.v1.TaskService/WatchTasks";
const REFLECTION: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
const STREAM: &str = "application/connect+proto";
const IN_JSON: &str = "application/connect+json";
const END: &[u8] = b"\x02\0\0\0\x02{}";

fn asked(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let headers = [&[("content-type", STREAM), ("connect-protocol-version", "1")], headers].concat();
    post(path, &headers, message(b"question"))
}

fn authorized(world: &World, mut request: Request<Body>) -> Request<Body> {
    let token = format!("Bearer {}", world.token("tasks:read"));
    request.headers_mut().insert("authorization", token.parse().unwrap());
    request
}

/// The envelopes of an answer: those of messages, and what the last one says.
fn envelopes(answer: &Answer) -> (Vec<Bytes>, Value) {
    assert_eq!(answer.status, StatusCode::OK);
    assert!([STREAM, IN_JSON].contains(&answer.header("content-type")));
    assert!(answer.trailers.is_none() && !answer.headers.contains_key("grpc-status"), "nothing of gRPC is left");
    let (mut rest, mut messages) = (answer.body.clone(), Vec::new());
    loop {
        let (flag, length) = (rest.get_u8(), rest.get_u32() as usize);
        let payload = rest.split_to(length);
        if flag == 2 {
            assert!(rest.is_empty(), "nothing comes after the end");
            return (messages, serde_json::from_slice(&payload).unwrap());
        }
        assert_eq!(flag, 0);
        messages.push(payload);
    }
}

/// The code and reason that a stream ended with.
fn refusal(answer: &Answer) -> (String, String) {
    let error = &envelopes(answer).1["error"];
    let details = error["details"].as_array().unwrap();
    assert_eq!(details.last().unwrap()["type"], "google.rpc.RequestInfo");
    (error["code"].as_str().unwrap().to_owned(), details[0]["debug"]["reason"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn messages_pass_as_they_came_and_the_last_envelope_says_that_all_is_well() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let world = scripted(Script::Stream(vec![message(b"one"), message(b"two")], ok()));
        let mut request = authorized(&world, asked(WATCH, &[("connect-timeout-ms", "1500")]));
        *request.version_mut() = version;
        let answer = world.call(request).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, STREAM));
        assert_eq!(answer.pieces, [message(b"one"), message(b"two"), END.to_vec()], "a piece for each message");
        let seen = world.only();
        assert_eq!(
            (seen.header("content-type"), seen.header("grpc-timeout")),
            (Some("application/grpc"), Some("1500m"))
        );
        assert!(seen.head.headers.keys().all(|name| !name.as_str().starts_with("connect-")));
        assert_eq!(seen.body.unwrap(), message(b"question"));
    }
}

#[tokio::test]
async fn reflection_is_answered_before_the_next_question_exists() {
    let echo = Upstream::new(service_fn(async |request: Request<Body>| {
        Ok(Response::new(Body::new(request.into_body().with_trailers(async { Some(Ok(ok())) }))))
    }));
    let world = World::around(Config::default(), &echo);
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, Status>>(1);
    let request = asked(REFLECTION, &[]).map(|_| Body::new(StreamBody::new(ReceiverStream::new(receiver))));
    let mut answer = world.edge.clone().oneshot(request).await.unwrap().into_body();
    for text in [b"one", b"two"] {
        sender.send(Ok(Frame::data(message(text).into()))).await.unwrap();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), message(text));
    }
    drop(sender);
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), END);
    assert!(answer.frame().await.is_none());
}

#[tokio::test]
async fn an_error_is_in_the_last_envelope_whether_or_not_messages_came_before() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("8"));
    trailers.insert("grpc-message", HeaderValue::from_static("slow%20down"));
    let world = scripted(Script::Stream(vec![message(b"one")], trailers));
    let (messages, end) = envelopes(&world.call(authorized(&world, asked(WATCH, &[]))).await);
    assert_eq!(messages, [b"one".as_slice()]);
    assert_eq!((&end["error"]["code"], &end["error"]["message"]), (&json!("resource_exhausted"), &json!("slow down")));

    let refused = Script::Refuse(Error::new(Code::NotFound, "TASK_NOT_FOUND", "no such task").into());
    for (script, code, reason) in [
        (refused, "not_found", "TASK_NOT_FOUND"),
        (Script::Cut(vec![message(b"one")]), "unavailable", "UNAVAILABLE"),
        (Script::Stream(vec![], HeaderMap::new()), "unavailable", "UNAVAILABLE"),
        (Script::Gone, "unavailable", "UNAVAILABLE"),
    ] {
        let world = scripted(script);
        let answer = world.call(authorized(&world, asked(WATCH, &[]))).await;
        assert_eq!(refusal(&answer), (code.to_owned(), reason.to_owned()));
        assert!(!String::from_utf8_lossy(&answer.body).contains("10.0.0.7"), "nothing of the inside is told");
    }
}

#[tokio::test]
async fn what_the_edge_refuses_ends_the_stream_at_once() {
    let world = world();
    let sent = |flag: u8| asked(REFLECTION, &[]).map(|_| Body::new(http_body_util::Full::from(vec![flag, 0, 0, 0, 0])));
    let large = asked(REFLECTION, &[]).map(|_| Body::new(http_body_util::Full::from(b"\0\xff\0\0\0".to_vec())));
    let v1 = REFLECTION.replace("v1alpha", "v1");
    for (request, code, reason) in [
        (asked(WATCH, &[]), "unauthenticated", "TOKEN_MISSING"),
        (sent(1), "unimplemented", "COMPRESSION_UNSUPPORTED"),
        (sent(2), "invalid_argument", "MALFORMED_MESSAGE"),
        (large, "resource_exhausted", "MESSAGE_TOO_LARGE"),
        (asked(REFLECTION, &[("connect-content-encoding", "gzip")]), "unimplemented", "COMPRESSION_UNSUPPORTED"),
        (asked(REFLECTION, &[("connect-timeout-ms", "x")]), "invalid_argument", "TIMEOUT_INVALID"),
        (asked(&v1, &[]), "unimplemented", "METHOD_UNKNOWN"),
        (asked(&format!("{REFLECTION}?x=y"), &[]), "unimplemented", "METHOD_UNKNOWN"),
        (asked("/errand.task.v1.TaskService/WatchTasks?x=y", &[]), "unimplemented", "METHOD_UNKNOWN"),
    ] {
        let uri = request.uri().clone();
        assert_eq!(refusal(&world.call(request).await), (code.to_owned(), reason.to_owned()), "{uri}");
    }
}

#[tokio::test]
async fn a_method_that_answers_once_is_no_stream_and_reflection_is_not_said_in_json() {
    let world = world();
    for (path, content_type) in
        [(GET_TASK, STREAM), (GET_TASK, IN_JSON), ("/grpc.health.v1.Health/Check", STREAM), (REFLECTION, IN_JSON)]
    {
        let request = post(path, &[("content-type", content_type)], message(b""));
        let answer = world.call(authorized(&world, request)).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
    let unknown = world.call(asked("/errand.task.v1.TaskService/Nothing", &[])).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND, "which Connect reads as unimplemented");
    assert!(world.seen().is_empty());
}

#[tokio::test]
async fn a_stream_is_said_in_json_one_envelope_for_each_message() {
    let changed = |title: &str| {
        let task = Task { title: title.to_owned(), ..Task::default() };
        let change = Change { cursor: "c".to_owned(), after: Some(task), ..Change::default() };
        message(&WatchTasksResponse { event: Some(Event::Change(change)) }.encode_to_vec())
    };
    let world = scripted(Script::Stream(vec![changed("one"), changed("two")], ok()));
    let asked = |text: &str| post(WATCH, &[("content-type", IN_JSON)], message(text.as_bytes()));
    let answer = world.call(authorized(&world, asked(r#"{"cursor":"c"}"#))).await;
    assert_eq!((answer.header("content-type"), answer.pieces.len()), (IN_JSON, 3), "a piece for each message");
    let (messages, end) = envelopes(&answer);
    let titles = messages.iter().map(|text| serde_json::from_slice::<Value>(text).unwrap());
    let titles: Vec<_> = titles.map(|value| value["change"]["after"]["title"].clone()).collect();
    assert_eq!((titles, end), (vec![json!("one"), json!("two")], json!({})));
    let seen = world.only();
    assert_eq!(seen.header("content-type"), Some("application/grpc"));
    let request = WatchTasksRequest::decode(&seen.body.unwrap()[5..]).unwrap();
    assert_eq!(request.cursor, "c");

    let world = scripted(Script::Stream(vec![changed("one"), message(b"\xff")], ok()));
    let (messages, end) = envelopes(&world.call(authorized(&world, asked(""))).await);
    assert_eq!((messages.len(), &end["error"]["code"]), (1, &json!("internal")), "a message that is none ends it");
}

#[tokio::test]
async fn a_request_in_json_is_one_envelope_of_json() {
    let world = world();
    let mut cut = message(b"{}");
    cut.pop();
    let compressed = [&[1u8, 0, 0, 0, 2], b"{}".as_slice()].concat();
    for (body, reason) in [
        (message(b"{"), "MALFORMED_MESSAGE"),
        (message(br#"{"curser":"c"}"#), "INVALID_FIELDS"),
        (vec![], "MALFORMED_MESSAGE"),
        (cut, "MALFORMED_MESSAGE"),
        ([message(b"{}"), message(b"{}")].concat(), "MALFORMED_MESSAGE"),
        (b"\x02\0\0\0\x02{}".to_vec(), "MALFORMED_MESSAGE"),
        (compressed, "COMPRESSION_UNSUPPORTED"),
        (b"\0\xff\0\0\0".to_vec(), "MESSAGE_TOO_LARGE"),
    ] {
        let request = post(WATCH, &[("content-type", IN_JSON)], body);
        let answer = world.call(authorized(&world, request)).await;
        assert_eq!((answer.header("content-type"), refusal(&answer).1.as_str()), (IN_JSON, reason));
    }
    assert!(world.seen().is_empty());
}
