//! REST: requests made by the contracts' http rules, answers in HTTP's words.

use bytes::Bytes;
use errand_chassis::Error;
use errand_proto::task::{
    BatchCompleteTasksRequest, Change, CompleteTaskRequest, CreateTaskRequest, DeleteTaskRequest, GetTaskRequest,
    Handover, ListTasksRequest, Task, UpdateTaskRequest, WatchTasksRequest, WatchTasksResponse,
    watch_tasks_response::Event,
};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Status, body::Body};

use crate::world::{Answer, Script, World, message, ok, scripted};

const ID: &str = "01890000-0000-7000-8000-000000000001";

fn task() -> Task {
    Task { id: ID.to_owned(), title: "Buy milk".to_owned(), etag: "1f".to_owned(), ..Task::default() }
}

fn answering(answer: &impl Message) -> World {
    scripted(Script::Stream(vec![message(&answer.encode_to_vec())], ok()))
}

fn refusing(code: Code, reason: &'static str) -> World {
    scripted(Script::Refuse(Error::new(code, reason, "no").into()))
}

async fn call(world: &World, verb: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(verb).uri(path);
    let token = format!("Bearer {}", world.token("tasks:read tasks:write chat account"));
    if !headers.iter().any(|(name, _)| *name == "authorization") {
        request = request.header("authorization", token);
    }
    if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.call(request.body(Body::new(Full::from(Bytes::from(body.to_owned())))).unwrap()).await
}

/// The message that the service got.
fn got<M: Message + Default>(world: &World) -> (String, M) {
    let seen = world.only();
    let body = seen.body.unwrap();
    assert_eq!(body.first(), Some(&0));
    (seen.head.uri.path().to_owned(), M::decode(&body[5..]).unwrap())
}

fn value(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// Status, reason and field of a refusal.
fn refusal(answer: &Answer) -> (u16, String, String) {
    let (value, reason) = answer.json();
    let field = value["details"][1]["fieldViolations"][0]["field"].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), reason, field)
}

#[tokio::test]
async fn a_resource_that_is_made_is_answered_with_201_its_place_and_its_version() {
    let world = answering(&task());
    let body = r#"{"title":"Buy milk","dueTime":"2026-11-22T23:59:59Z"}"#;
    let answer = call(&world, "POST", "/v1/tasks?requestId=abc", &[], body).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.header("location"), format!("/v1/tasks/{ID}"));
    assert_eq!((answer.header("etag"), answer.header("content-type")), ("\"1f\"", "application/json"));
    assert_eq!(value(&answer), json!({"id": ID, "title": "Buy milk", "etag": "1f"}));
    let (path, request): (_, CreateTaskRequest) = got(&world);
    assert_eq!((path.as_str(), request.request_id.as_str()), ("/errand.task.v1.TaskService/CreateTask", "abc"));
    assert_eq!(request.task.unwrap().due_time.unwrap().seconds, 1_795_391_999);
}

#[tokio::test]
async fn path_query_and_body_make_one_message() {
    let world = answering(&task());
    call(&world, "GET", &format!("/v1/tasks/{ID}"), &[], "").await;
    assert_eq!(got::<GetTaskRequest>(&world).1.task_id, ID);

    let path = format!("/v1/tasks/{ID}?updateMask=title,due_time");
    let answer = call(&world, "PATCH", &path, &[], r#"{"id":"other","title":"x"}"#).await;
    assert_eq!(answer.status, StatusCode::OK, "nothing was made");
    let request: UpdateTaskRequest = got(&world).1;
    let task = request.task.unwrap();
    assert_eq!((task.id.as_str(), task.title.as_str()), (ID, "x"), "the path says which one");
    assert_eq!(request.update_mask.unwrap().paths, ["title", "due_time"]);

    call(&world, "POST", &format!("/v1/tasks/{ID}:complete"), &[], "").await;
    assert_eq!(got::<CompleteTaskRequest>(&world).1.task_id, ID);

    let body = format!(r#"{{"requests":[{{"taskId":"{ID}"}}],"request_id":"r"}}"#);
    call(&world, "POST", "/v1/tasks:batchComplete", &[], &body).await;
    let request: BatchCompleteTasksRequest = got(&world).1;
    assert_eq!((request.requests.len(), request.request_id.as_str()), (1, "r"));

    call(&world, "GET", "/v1/tasks?page_size=5&completed=true&label=a%20b+c&query=%C3%A9", &[], "").await;
    let request: ListTasksRequest = got(&world).1;
    assert_eq!((request.page_size, request.completed), (5, Some(true)));
    assert_eq!((request.label.as_str(), request.query.as_str()), ("a b c", "é"));
}

#[tokio::test]
async fn what_is_wrong_is_named_by_its_path() {
    let world = answering(&task());
    let invalid = |field: &str| (400, "INVALID_FIELDS".to_owned(), field.to_owned());
    let malformed = || (400, "MALFORMED_MESSAGE".to_owned(), String::new());
    for (verb, path, body, expected) in [
        ("POST", "/v1/tasks", r#"{"tilte":"x"}"#, invalid("task.tilte")),
        ("POST", "/v1/tasks", r#"{"labels":[1]}"#, invalid("task.labels[0]")),
        ("GET", "/v1/tasks?nope=1", "", invalid("nope")),
        ("GET", "/v1/tasks?completed=maybe", "", invalid("completed")),
        ("GET", "/v1/tasks?page_size=1&page_size=2", "", invalid("page_size")),
        ("POST", "/v1/tasks:batchDelete?request_id=x", "{}", invalid("request_id")),
        ("GET", "/v1/tasks?query=%FF", "", malformed()),
        ("POST", "/v1/tasks", "{", malformed()),
        ("POST", "/v1/tasks:batchDelete", "[]", malformed()),
        ("GET", "/v1/tasks", "{}", malformed()),
    ] {
        assert_eq!(refusal(&call(&world, verb, path, &[], body).await), expected, "{verb} {path} {body}");
    }
    let text = [("content-type", "text/plain")];
    let answer = call(&world, "POST", "/v1/tasks", &text, "{}").await;
    assert_eq!(refusal(&answer), (415, "CONTENT_TYPE_UNSUPPORTED".to_owned(), String::new()));
    let deep = "[".repeat(100_000);
    assert_eq!(refusal(&call(&world, "POST", "/v1/tasks", &[], &deep).await), malformed());
    let large = format!(r#"{{"title":"{}"}}"#, "x".repeat(5 << 20));
    assert_eq!(call(&world, "POST", "/v1/tasks", &[], &large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(world.seen().is_empty());
}

#[tokio::test]
async fn r_059_json_is_read_in_one_way_only_or_not_at_all() {
    let world = answering(&task());
    let invalid = |field: &str| (400, "INVALID_FIELDS".to_owned(), field.to_owned());
    let malformed = || (400, "MALFORMED_MESSAGE".to_owned(), String::new());
    for (path, body, expected) in [
        ("/v1/tasks", r#"{"title":"x","title":"y"}"#, invalid("task.title")),
        ("/v1/tasks", r#"{"title":"x","dueTime":null,"due_time":null}"#, invalid("task.due_time")),
        (
            "/v1/tasks:batchCreate",
            r#"{"requests":[{"task":{"labels":[],"labels":[]}}]}"#,
            invalid("requests[0].task.labels"),
        ),
        ("/errand.task.v1.TaskService/CreateTask", r#"{"task":{"title":"x"},"task":{}}"#, invalid("")),
        ("/v1/tasks", r#"{"title":1e999}"#, malformed()),
        ("/v1/tasks", r#"{"title":NaN}"#, malformed()),
        ("/v1/tasks", r#"{"title":"x"} x"#, malformed()),
        ("/v1/tasks", r#"{"title":"x"}{}"#, malformed()),
        ("/v1/tasks", r#"{"title":"\ud800"}"#, malformed()),
        ("/v1/tasks", "\u{feff}{}", malformed()),
        ("/v1/tasks", r#"{"title":"x","priority":"URGENT"}"#, invalid("task.priority")),
        ("/v1/turns/x:resume", r#"{"afterSeq":1.5}"#, invalid("afterSeq")),
        ("/v1/turns/x:resume", r#"{"afterSeq":9999999999}"#, invalid("afterSeq")),
    ] {
        let answer = call(&world, "POST", path, &[], body).await;
        if path.starts_with("/errand.") {
            assert_eq!(value(&answer)["details"][1]["debug"]["fieldViolations"][0]["field"], "task", "Connect");
        } else {
            assert_eq!(refusal(&answer), expected, "{path} {body}");
        }
    }
    for content_type in
        ["application/json; charset=latin1", "application/json; charset=utf-16", "application/jsonx", ""]
    {
        for path in ["/v1/tasks", "/errand.task.v1.TaskService/CreateTask", "/api/auth/login"] {
            let answer = call(&world, "POST", path, &[("content-type", content_type)], "{}").await;
            assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path} {content_type}");
        }
    }
    assert!(world.seen().is_empty());
}

#[tokio::test]
async fn a_path_takes_its_verbs_and_no_others() {
    let world = answering(&task());
    for (verb, path, allow) in [
        ("PUT", "/v1/tasks", "GET, POST, HEAD"),
        ("GET", "/v1/tasks:batchCreate", "POST"),
        ("DELETE", "/api/auth/signup", "POST"),
    ] {
        let answer = call(&world, verb, path, &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, allow), "{path}");
        assert_eq!(answer.json().1, "METHOD_NOT_ALLOWED");
    }
    assert_eq!(call(&world, "GET", "/v1/nothing", &[], "").await.status, StatusCode::NOT_FOUND);
    assert!(world.seen().is_empty());
}

#[tokio::test]
async fn a_call_without_a_token_reaches_no_service() {
    let world = answering(&task());
    for (path, headers) in [("/v1/tasks", [("authorization", "Bearer x")]), ("/v1/me", [("authorization", "x")])] {
        let answer = call(&world, "GET", path, &headers, "").await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (StatusCode::UNAUTHORIZED, "Bearer"));
    }
    assert!(world.seen().is_empty());
}

#[tokio::test]
async fn versions_and_keys_may_stand_in_headers() {
    let world = answering(&task());
    let headers = [("if-match", "\"1f\""), ("idempotency-key", "k1")];
    call(&world, "DELETE", &format!("/v1/tasks/{ID}"), &headers, "").await;
    let seen = world.only();
    assert_eq!((seen.header("if-match"), seen.header("idempotency-key")), (None, None));
    let request = DeleteTaskRequest::decode(&seen.body.unwrap()[5..]).unwrap();
    assert_eq!((request.etag.as_str(), request.request_id.as_str()), ("1f", "k1"));

    call(&world, "PATCH", &format!("/v1/tasks/{ID}"), &headers, r#"{"title":"x"}"#).await;
    assert_eq!(got::<UpdateTaskRequest>(&world).1.task.unwrap().etag, "1f");

    let refused = (400, "INVALID_FIELDS".to_owned(), "If-Match".to_owned());
    for text in ["1f", "W/\"1f\"", "\"1f\", \"20\"", "\"\"", ""] {
        let answer = call(&world, "DELETE", &format!("/v1/tasks/{ID}"), &[("if-match", text)], "").await;
        assert_eq!(refusal(&answer), refused, "{text}");
    }
    let two = call(&world, "PATCH", &format!("/v1/tasks/{ID}"), &headers, r#"{"title":"x","etag":"20"}"#).await;
    assert_eq!(refusal(&two), refused, "two versions are not guessed between");
    let made = call(&world, "POST", "/v1/tasks", &headers, r#"{"title":"x"}"#).await;
    assert_eq!(refusal(&made), refused, "what is not there has no version");
    call(&world, "DELETE", &format!("/v1/tasks/{ID}"), &[("idempotency-key", "\"k2\"")], "").await;
    assert_eq!(got::<DeleteTaskRequest>(&world).1.request_id, "k2", "a key may stand in quotes");
    let world = refusing(Code::Aborted, "ETAG_MISMATCH");
    let path = format!("/v1/tasks/{ID}");
    assert_eq!(call(&world, "DELETE", &path, &headers, "").await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(call(&world, "DELETE", &path, &[], "").await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_key_is_refused_where_a_repetition_would_be_done_again_and_passed_over_where_nothing_is_done() {
    let world = answering(&task());
    let key = [("idempotency-key", "k1")];
    for (verb, path, body) in [
        ("POST", "/v1/auth/login", r#"{"email":"a@b.c","password":"correct horse"}"#),
        ("POST", "/api/auth/login", r#"{"email":"a@b.c","password":"correct horse"}"#),
        ("POST", "/api/auth/signup", r#"{"email":"a@b.c","password":"correct horse"}"#),
    ] {
        let answer = call(&world, verb, path, &key, body).await;
        let refused = (400, "INVALID_FIELDS".to_owned(), "Idempotency-Key".to_owned());
        assert_eq!(refusal(&answer), refused, "{path}");
    }
    assert!(world.seen().is_empty(), "nothing was done");
    for verb in ["GET", "HEAD"] {
        assert_eq!(call(&world, verb, &format!("/v1/tasks/{ID}"), &key, "").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn what_the_caller_has_already_is_not_sent_again() {
    let world = answering(&task());
    let path = format!("/v1/tasks/{ID}");
    for known in ["\"1f\"", "\"a\", W/\"1f\"", "*"] {
        let answer = call(&world, "GET", &path, &[("if-none-match", known)], "").await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::NOT_MODIFIED, 0), "{known}");
        assert_eq!(answer.header("etag"), "\"1f\"");
    }
    assert_eq!(call(&world, "GET", &path, &[("if-none-match", "\"2\"")], "").await.status, StatusCode::OK);
    let answer = call(&world, "HEAD", &path, &[], "").await;
    assert_eq!((answer.status, answer.body.len(), answer.header("etag")), (StatusCode::OK, 0, "\"1f\""));
    assert_ne!(answer.header("content-length"), "0", "as long as GET's would be");
}

#[tokio::test]
async fn an_error_has_its_status_and_the_shape_that_is_asked_for() {
    for (code, reason, status) in [
        (Code::NotFound, "TASK_NOT_FOUND", 404),
        (Code::FailedPrecondition, "TASK_DELETED", 400),
        (Code::AlreadyExists, "TASK_EXISTS", 409),
        (Code::PermissionDenied, "SCOPE_MISSING", 403),
        (Code::ResourceExhausted, "STORAGE_FULL", 507),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", 504),
    ] {
        let world = refusing(code, reason);
        let answer = call(&world, "GET", "/v1/tasks", &[], "").await;
        assert_eq!((answer.status.as_u16(), answer.json().1.as_str()), (status, reason));
        let answer = call(&world, "GET", "/v1/tasks", &[("accept", "application/problem+json")], "").await;
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = value(&answer);
        assert_eq!((&problem["status"], &problem["type"]), (&json!(status), &json!(format!("urn:errand:{reason}"))));
        assert_eq!(problem["details"][0]["reason"], reason);
    }
    let wait =
        Error::new(Code::Unavailable, "UNAVAILABLE", "later").retry_after(std::time::Duration::from_millis(2500));
    let answer = call(&scripted(Script::Refuse(wait.into())), "GET", "/v1/tasks", &[], "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "3"));
    let answer = call(&scripted(Script::Gone), "GET", "/v1/tasks", &[], "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
}

fn watched() -> Vec<Vec<u8>> {
    let change = errand_proto::task::Change { cursor: "c1".to_owned(), task_id: ID.to_owned(), ..Default::default() };
    let events = [Event::Change(change), Event::Handover(Handover { cursor: "c2".to_owned() })];
    events.map(|event| message(&WatchTasksResponse { event: Some(event) }.encode_to_vec())).into()
}

#[tokio::test]
async fn a_stream_is_events_with_a_name_and_a_place() {
    let world = scripted(Script::Stream(watched(), ok()));
    let answer = call(&world, "GET", "/v1/tasks:watch?cursor=c0", &[("last-event-id", "c7")], "").await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "text/event-stream"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let expected = format!(
        "event: change\nid: c1\ndata: {{\"change\":{{\"cursor\":\"c1\",\"taskId\":\"{ID}\"}}}}\n\n\
         event: handover\nid: c2\ndata: {{\"handover\":{{\"cursor\":\"c2\"}}}}\n\n"
    );
    assert_eq!(text, expected);
    assert_eq!(answer.pieces.len(), 2, "each message is sent when it is there");
    assert_eq!(
        got::<WatchTasksRequest>(&world).1.cursor,
        "c7",
        "a browser that reconnects knows more than its address"
    );
    call(&world, "GET", "/v1/tasks:watch?cursor=c0", &[("last-event-id", "")], "").await;
    assert_eq!(got::<WatchTasksRequest>(&world).1.cursor, "c0", "and one that has seen nothing knows no more");
    let head = call(&world, "HEAD", "/v1/tasks:watch", &[], "").await;
    assert_eq!((head.status, head.header("content-type"), head.body.len()), (StatusCode::OK, "text/event-stream", 0));
}

#[tokio::test]
async fn a_place_with_line_breaks_makes_no_events() {
    let forged = "c1\n\nevent: handover\ndata: {}\n";
    let change = Change { cursor: forged.to_owned(), ..Change::default() };
    let event = message(&WatchTasksResponse { event: Some(Event::Change(change)) }.encode_to_vec());
    let answer = call(&scripted(Script::Stream(vec![event], ok())), "GET", "/v1/tasks:watch", &[], "").await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "event: change"), "{text}");
    assert!(lines[1].starts_with("data: {"), "{text}");
}

#[tokio::test]
async fn a_stream_that_fails_says_so_in_an_event() {
    let mut trailers = HeaderMap::new();
    Status::from(Error::new(Code::Unavailable, "UNAVAILABLE", "gone")).add_header(&mut trailers).unwrap();
    for script in [Script::Stream(watched(), trailers), Script::Cut(watched())] {
        let answer = call(&scripted(script), "GET", "/v1/tasks:watch", &[], "").await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let last = text.trim_end().rsplit("\n\n").next().unwrap();
        let data = last.strip_prefix("event: error\ndata: ").expect(last);
        let error: Value = serde_json::from_str(data).unwrap();
        assert_eq!((&error["code"], &error["details"][0]["reason"]), (&json!(14), &json!("UNAVAILABLE")));
        assert!(!last.contains("10.0.0.7"), "nothing of the inside is told");
    }
    let refused = call(&refusing(Code::FailedPrecondition, "CURSOR_EXPIRED"), "GET", "/v1/tasks:watch", &[], "").await;
    assert_eq!((refused.status, refused.json().1.as_str()), (StatusCode::BAD_REQUEST, "CURSOR_EXPIRED"));
}

#[tokio::test]
async fn credentials_are_kept_by_nobody_on_the_way() {
    let world = refusing(Code::Unauthenticated, "CREDENTIALS_INVALID");
    let body = r#"{"email":"a@b.c","password":"x"}"#;
    for path in ["/v1/auth/login", "/api/auth/login"] {
        let answer = call(&world, Method::POST.as_str(), path, &[], body).await;
        assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::UNAUTHORIZED, "no-store"), "{path}");
    }
}
