//! Connect, unary: JSON and protobuf, POST and GET.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use errand_chassis::Error;
use errand_proto::task::{GetTaskRequest, Task};
use http::{Request, StatusCode};
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, body::Body};

use crate::world::{Answer, GET_TASK, LOG_IN, Script, World, message, ok, post, scripted};

fn world() -> World {
    let task = Task { id: "7".to_owned(), title: "x".to_owned(), ..Task::default() };
    scripted(Script::Stream(vec![message(&task.encode_to_vec())], ok()))
}

fn authorized(world: &World, mut request: Request<Body>) -> Request<Body> {
    let token = format!("Bearer {}", world.token("tasks:read"));
    request.headers_mut().insert("authorization", token.parse().unwrap());
    request
}

fn value(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

async fn got(world: &World, request: Request<Body>) -> (Answer, GetTaskRequest) {
    let answer = world.call(authorized(world, request)).await;
    let seen = world.only();
    (answer, GetTaskRequest::decode(&seen.body.unwrap()[5..]).unwrap())
}

#[tokio::test]
async fn a_message_travels_as_json_and_as_protobuf() {
    let world = world();
    let headers = [("content-type", "application/json; charset=utf-8"), ("connect-protocol-version", "1")];
    let (answer, request) = got(&world, post(GET_TASK, &headers, r#"{"taskId":"a"}"#)).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"));
    assert_eq!((value(&answer), request.task_id.as_str()), (json!({"id": "7", "title": "x"}), "a"));

    let message = GetTaskRequest { task_id: "b".to_owned() }.encode_to_vec();
    let (answer, request) = got(&world, post(GET_TASK, &[("content-type", "application/proto")], message)).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/proto"));
    assert_eq!((Task::decode(answer.body).unwrap().id.as_str(), request.task_id.as_str()), ("7", "b"));
}

#[tokio::test]
async fn what_changes_nothing_may_be_asked_for_with_get() {
    let world = world();
    let message = URL_SAFE_NO_PAD.encode(GetTaskRequest { task_id: "c".to_owned() }.encode_to_vec());
    for query in [
        "connect=v1&encoding=json&message=%7B%22taskId%22%3A%22c%22%7D".to_owned(),
        format!("message={message}&base64=1&encoding=proto&compression=identity"),
    ] {
        let request = Request::get(format!("{GET_TASK}?{query}")).body(Body::empty()).unwrap();
        let (answer, request) = got(&world, request).await;
        assert_eq!((answer.status, request.task_id.as_str()), (StatusCode::OK, "c"), "{query}");
    }
    for query in ["encoding=json", "message=x", "encoding=xml&message=x", "connect=v2&encoding=json&message=%7B%7D"] {
        let request = Request::get(format!("{GET_TASK}?{query}")).body(Body::empty()).unwrap();
        let answer = world.call(authorized(&world, request)).await;
        assert_eq!(
            (answer.status, value(&answer)["code"].clone()),
            (StatusCode::BAD_REQUEST, json!("invalid_argument"))
        );
    }
    assert!(world.seen().is_empty());
}

#[tokio::test]
async fn an_error_has_a_word_for_its_code_and_its_details() {
    let world = scripted(Script::Refuse(Error::new(Code::NotFound, "TASK_NOT_FOUND", "no such task").into()));
    let json = [("content-type", "application/json")];
    let answer = world.call(authorized(&world, post(GET_TASK, &json, "{}"))).await;
    let error = value(&answer);
    assert_eq!((answer.status, &error["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
    assert_eq!(error["message"], "no such task");
    let detail = &error["details"][0];
    assert_eq!(
        (&detail["type"], &detail["debug"]["reason"]),
        (&json!("google.rpc.ErrorInfo"), &json!("TASK_NOT_FOUND"))
    );
    assert!(detail["value"].as_str().is_some_and(|value| !value.is_empty() && !value.contains('=')));

    let answer = world.call(post(GET_TASK, &json, "{}")).await;
    assert_eq!((answer.status, value(&answer)["code"].clone()), (StatusCode::UNAUTHORIZED, json!("unauthenticated")));
    for (body, field) in [(r#"{"nope":1}"#, "nope"), (r#"{"email":1}"#, "email")] {
        let answer = world.call(post(LOG_IN, &json, body)).await;
        assert_eq!(value(&answer)["details"][1]["debug"]["fieldViolations"][0]["field"], field);
    }
    let watch = post("/errand.task.v1.TaskService/WatchTasks", &json, "{}");
    assert_eq!(world.call(authorized(&world, watch)).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn the_time_limit_of_connect_is_that_of_the_call() {
    let world = world();
    for (timeout, passed) in [("1500", "1500m"), ("0", "0m"), ("9999999999", "9999999S")] {
        let headers = [("content-type", "application/json"), ("connect-timeout-ms", timeout)];
        world.call(authorized(&world, post(GET_TASK, &headers, "{}"))).await;
        let seen = world.seen();
        let said = seen.first().and_then(|seen| seen.header("grpc-timeout")).unwrap_or("0m");
        assert_eq!(said, passed, "{timeout}");
    }
    for timeout in ["", "-1", "1.5", "99999999999", "x"] {
        let headers = [("content-type", "application/json"), ("connect-timeout-ms", timeout)];
        let answer = world.call(authorized(&world, post(GET_TASK, &headers, "{}"))).await;
        assert_eq!(value(&answer)["details"][0]["debug"]["reason"], "TIMEOUT_INVALID", "{timeout}");
    }
}
