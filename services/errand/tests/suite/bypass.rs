//! Battery 2.3, R-042 to R-045: nobody gets past a decision by spelling a path, a header or a verb otherwise, neither at
//! the gateway nor at the port of a service.

use std::net::SocketAddr;

use bytes::Bytes;
use errand_proto::task::{CreateTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse, Task};
use http::{HeaderName, HeaderValue, Request};
use prost::Message;

use crate::{
    sandbox::{Person, Sandbox},
    shape,
    wire::{Http1, Http2, framed, grpc, http1, http2},
};

const TASK: &str = "errand.task.v1.TaskService";
const NOWHERE: &str = "01890000-0000-7000-8000-000000000000";

/// A call of the path, with these headers beside gRPC's own.
async fn call(door: SocketAddr, path: &str, headers: &[(&str, &str)], message: Vec<u8>) -> Http2 {
    let mut request: Request<()> = grpc(door, path).body(()).unwrap();
    for (name, value) in headers {
        request.headers_mut().append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    http2(door, request, vec![Bytes::from(framed(&message))]).await.unwrap()
}

fn code(answer: &Http2) -> String {
    let from = if answer.trailers.contains_key("grpc-status") { &answer.trailers } else { &answer.headers };
    from.get("grpc-status").map(|code| code.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// Every other spelling of a method's path that some server somewhere takes for it.
fn spellings(method: &str) -> Vec<String> {
    let path = format!("/{TASK}/{method}");
    vec![
        format!("/{path}"),
        format!("/{TASK}//{method}"),
        format!("{path}/"),
        format!("{path}/."),
        format!("/.{path}"),
        format!("/x/..{path}"),
        format!("/errand.auth.v1.AuthService/LogIn/../..{path}"),
        format!("/%2e%2e{path}"),
        format!("/{TASK}%2F{method}"),
        format!("/{TASK}\\{method}"),
        format!("{path}%00"),
        format!("/%65rrand.task.v1.TaskService/{method}"),
        format!("{path}?x=1"),
        format!("{path}?"),
        format!("{path};a=b"),
        format!("{path}%20"),
        path.to_ascii_lowercase(),
        path.to_ascii_uppercase(),
        format!("/{TASK}:{method}"),
        format!("/{TASK}.{method}"),
        format!("/v1/..{path}"),
    ]
}

#[tokio::test]
async fn r_042_no_other_spelling_of_a_path_is_answered_at_any_port_with_a_token_or_without() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let task = ann.create("secret").await;
    let message = GetTaskRequest { task_id: task.id }.encode_to_vec();
    let bearer = format!("Bearer {}", ann.token());
    for door in shape::doors(&sandbox, TASK) {
        for path in spellings("GetTask") {
            // What is no URI at all does not leave a client of HTTP/2.
            if path.parse::<http::Uri>().is_err() {
                continue;
            }
            for headers in [&[][..], &[("authorization", bearer.as_str())]] {
                let answer = call(door, &path, headers, message.clone()).await;
                assert_eq!(answer.refusal(), (12, "METHOD_UNKNOWN".to_owned()), "{path} at {door}");
                assert!(answer.body.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn r_042_what_a_line_of_http_1_may_hold_is_no_way_around_the_token() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let task = ann.create("secret").await;
    let frame = framed(&GetTaskRequest { task_id: task.id.clone() }.encode_to_vec());
    let paths = spellings("GetTask").into_iter().chain([
        format!("/{TASK}/GetTask"),
        format!("{TASK}/GetTask"),
        format!("http://evil.example/{TASK}/GetTask"),
        format!("http://{}/{TASK}/GetTask", sandbox.address),
        format!("https://a:b@{}/{TASK}/GetTask#x", sandbox.address),
        format!("/v1/tasks/{}", task.id),
        format!("//v1/tasks/{}", task.id),
        format!("/v1/./tasks/{}", task.id),
        format!("/v1/tasks/{}/", task.id),
        format!("/v1%2Ftasks%2F{}", task.id),
        format!("http://evil.example/v1/tasks/{}", task.id),
        "*".to_owned(),
    ]);
    for path in paths {
        for door in shape::doors(&sandbox, TASK) {
            for (verb, kind) in [
                ("POST", "application/grpc-web+proto"),
                ("POST", "application/grpc"),
                ("POST", "application/json"),
                ("GET", "application/json"),
            ] {
                let answer = http1(door, &format!("{verb} {path}"), &[("content-type", kind)], &frame);
                let granted = answer.status == 200 && answer.headers.get("grpc-status").is_none_or(|code| code == "0");
                assert!(!granted, "{verb} {path} as {kind} at {door}: {answer:?}");
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                assert!(!body.contains("secret") && answer.status < 500 || answer.status == 501, "{path}: {answer:?}");
                assert!(!format!("{answer:?}").contains("evil.example"), "r_013: {answer:?}");
            }
        }
    }
    // An absolute form is the path in it: decided and routed alike.
    let bearer = format!("Bearer {}", ann.token());
    let head = format!("GET http://evil.example/v1/tasks/{}", task.id);
    let answer = http1(sandbox.address, &head, &[("authorization", &bearer)], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Headers by which one part of some system tells another whose call it is, in every spelling.
fn internal(user: &str) -> Vec<(String, String)> {
    let names = [
        "x-user-id",
        "x-errand-user",
        "x-errand-owner",
        "x-internal-user",
        "x-internal-turn",
        "x-forwarded-user",
        "x-authenticated-user",
        "x-envoy-original-path",
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-host",
        "x-forwarded-prefix",
        "grpc-metadata-x-user-id",
        "grpc-metadata-x-errand-turn",
        "grpc-metadata-authorization",
        "x_errand_turn",
        "x-errand_turn",
        "x_user_id",
        "x-errand-turn-bin",
        "x-user-id-bin",
        "x-errand-actor",
        "x-errand-scope",
    ];
    names.map(|name| (name.to_owned(), if name.contains("turn") { NOWHERE } else { user }.to_owned())).into()
}

async fn create(door: SocketAddr, person: &Person, title: &str, more: &[(String, String)]) -> Http2 {
    let task = Task { title: title.to_owned(), ..Default::default() };
    let message = CreateTaskRequest { task: Some(task), ..Default::default() }.encode_to_vec();
    let bearer = format!("Bearer {}", person.token());
    let mut headers: Vec<_> = more.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    headers.push(("authorization", &bearer));
    call(door, &format!("/{TASK}/CreateTask"), &headers, message).await
}

#[tokio::test]
async fn r_043_headers_of_ours_and_of_others_change_neither_owner_nor_hand_at_any_port() {
    let sandbox = Sandbox::start();
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    let forged = internal(&ann.user.id);
    for (number, door) in shape::doors(&sandbox, TASK).into_iter().enumerate() {
        for (index, header) in forged.iter().enumerate() {
            let answer = create(door, &bob, &format!("bob's {number} {index}"), std::slice::from_ref(header)).await;
            assert_eq!(code(&answer), "0", "{header:?} at {door}: {answer:?}");
            // And without a token it is nobody, whoever it says it is.
            let alone = [(header.0.as_str(), header.1.as_str())];
            let answer = call(door, &format!("/{TASK}/ListTasks"), &alone, vec![]).await;
            assert_eq!(answer.refusal(), (16, "TOKEN_MISSING".to_owned()), "{header:?} at {door}");
        }
    }
    assert!(ann.list().await.is_empty());
    let hands = sandbox.stored("task", "SELECT DISTINCT actor FROM changes").await;
    assert_eq!(hands, ["user"]);
    assert_eq!(sandbox.stored("task", "SELECT count(*) FROM changes WHERE turn IS NOT NULL").await, ["0"]);
}

#[tokio::test]
async fn r_043_the_header_of_the_assistants_turn_comes_through_the_gateway_in_no_spelling_and_no_face() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let names = ["x-errand-turn", "X-Errand-Turn", "x_errand_turn", "x-errand-turn-bin", "grpc-metadata-x-errand-turn"];
    let bearer = format!("Bearer {}", ann.token());
    for name in names {
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str()), (name, NOWHERE)];
        for (head, body) in [
            ("POST /v1/tasks", r#"{"title": "x"}"#),
            (&*format!("POST /{TASK}/CreateTask"), r#"{"task": {"title": "x"}}"#),
        ] {
            let answer = http1(sandbox.address, head, &headers, body.as_bytes());
            assert!(answer.status < 300, "{answer:?}");
        }
        let header = (name.to_ascii_lowercase(), NOWHERE.to_owned());
        assert_eq!(code(&create(sandbox.address, &ann, "x", &[header]).await), "0");
    }
    assert_eq!(sandbox.stored("task", "SELECT DISTINCT actor FROM changes").await, ["user"]);
    assert_eq!(ann.list().await.len(), 3 * names.len());
}

#[tokio::test]
async fn r_044_a_header_that_is_said_twice_counts_whole_or_not_at_all_at_any_port() {
    let sandbox = Sandbox::start();
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    ann.create("ann's").await;
    let [anns, bobs] = [&ann, &bob].map(|person| format!("Bearer {}", person.token()));
    let list = format!("/{TASK}/ListTasks");
    for door in shape::doors(&sandbox, TASK) {
        for pair in [[&anns, &bobs], [&bobs, &anns], [&anns, &anns]] {
            let twice = pair.map(|value| ("authorization", value.as_str()));
            let answer = call(door, &list, &twice, vec![]).await;
            assert_eq!(answer.refusal(), (16, "TOKEN_INVALID".to_owned()), "at {door}");
            for between in [",", ", ", " , ", ";"] {
                let joined = format!("{}{between}{}", pair[0], pair[1]);
                let answer = call(door, &list, &[("authorization", &joined)], vec![]).await;
                assert_eq!(answer.refusal(), (16, "TOKEN_INVALID".to_owned()), "at {door}");
            }
        }
        let with = |more: [(&'static str, &'static str); 2]| [("authorization", bobs.as_str()), more[0], more[1]];
        for pair in [["9S", "1n"], ["1n", "9S"], ["9S", "9S"]] {
            let answer = call(door, &list, &with(pair.map(|value| ("grpc-timeout", value))), vec![]).await;
            assert_eq!(answer.refusal(), (3, "TIMEOUT_INVALID".to_owned()), "{pair:?} at {door}");
        }
        for pair in [["identity", "gzip"], ["gzip", "identity"]] {
            let answer = call(door, &list, &with(pair.map(|value| ("grpc-encoding", value))), vec![]).await;
            assert_eq!(answer.refusal(), (12, "COMPRESSION_UNSUPPORTED".to_owned()), "{pair:?} at {door}");
        }
        let answer = call(door, &list, &[("authorization", &bobs), ("content-type", "text/plain")], vec![]).await;
        assert_eq!(answer.status, 415, "two content types are none, at {door}");
        let answer = call(door, &list, &with([("x-request-id", "one"), ("x-request-id", "two")]), vec![]).await;
        assert_eq!(code(&answer), "0");
        assert!(answer.headers["x-request-id"] != "two", "the first counts, or neither");
        assert!(ListTasksResponse::decode(&answer.body[5..]).unwrap().tasks.is_empty(), "bob has none");
    }
}

#[tokio::test]
async fn r_044_what_guards_a_write_over_rest_is_refused_when_it_is_said_twice() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let task = ann.create("as it was").await;
    let (etag, path) = (format!("\"{}\"", task.etag), format!("/v1/tasks/{}", task.id));
    let bearer = format!("Bearer {}", ann.token());
    let send = |head: &str, pair: [(&str, &str); 2]| {
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str()), pair[0], pair[1]];
        http1(sandbox.address, head, &headers, br#"{"title": "changed"}"#)
    };
    for pair in [[etag.as_str(), "\"ff\""], ["\"ff\"", &etag], [&etag, &etag]] {
        let answer = send(&format!("PATCH {path}"), pair.map(|value| ("if-match", value)));
        assert_eq!(answer.status, 400, "{pair:?}: {answer:?}");
    }
    let joined = send(&format!("PATCH {path}"), [("if-match", &format!("{etag}, \"ff\"")), ("accept", "*/*")]);
    assert!([400, 412].contains(&joined.status), "{joined:?}");
    for pair in [["one", "two"], ["one", "one"]] {
        let answer = send("POST /v1/tasks", pair.map(|value| ("idempotency-key", value)));
        assert_eq!(answer.status, 400, "{pair:?}: {answer:?}");
    }
    assert_eq!(ann.list().await, [task]);
}

#[tokio::test]
async fn r_045_no_header_and_no_parameter_makes_one_verb_another() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let task = ann.create("still here").await;
    let bearer = format!("Bearer {}", ann.token());
    let path = format!("/v1/tasks/{}", task.id);
    let send = |head: &str, headers: &[(&str, &str)], body: &str| -> Http1 {
        let own = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        http1(sandbox.address, head, &[&own, headers].concat(), body.as_bytes())
    };
    let overrides = ["x-http-method-override", "x-http-method", "x-method-override", "_method"];
    for name in overrides {
        let answer = send(&format!("POST {path}"), &[(name, "DELETE")], "");
        assert_eq!((answer.status, answer.headers["allow"].as_str()), (405, "DELETE, GET, PATCH, HEAD"), "{name}");
        let answer = send(&format!("GET {path}"), &[(name, "DELETE")], "");
        assert_eq!(answer.status, 200, "{name}");
        let answer = send(&format!("DELETE {path}"), &[(name, "GET"), ("if-match", "\"ff\"")], "");
        assert_eq!(answer.status, 412, "{name}: it stays a DELETE");
    }
    for head in [format!("GET {path}?_method=DELETE"), format!("PATCH {path}?_method=DELETE")] {
        assert_eq!(send(&head, &[], "").status, 400, "{head}: a parameter that nobody knows");
    }
    assert_eq!(send("POST /v1/tasks", &[], r#"{"title": "x", "_method": "DELETE"}"#).status, 400);
    for door in shape::doors(&sandbox, TASK) {
        let message = GetTaskRequest { task_id: task.id.clone() }.encode_to_vec();
        for name in overrides {
            let headers = [("authorization", bearer.as_str()), (name, "DELETE")];
            let answer = call(door, &format!("/{TASK}/GetTask"), &headers, message.clone()).await;
            assert_eq!(code(&answer), "0", "{name} at {door}: POST stays POST");
            let headers = [("content-type", "application/grpc"), ("authorization", bearer.as_str()), (name, "POST")];
            let answer = http1(door, &format!("PUT /{TASK}/GetTask"), &headers, &framed(&message));
            assert_eq!(answer.status, 405, "{name} at {door}");
        }
    }
    assert_eq!(ann.list().await, [task]);
}

#[tokio::test]
async fn r_045_a_foreign_origin_and_null_are_allowed_nothing_at_any_port() {
    let sandbox = Sandbox::with(&[("ERRAND_ALLOWED_ORIGINS", "https://app.example.com")]);
    let ann = sandbox.sign_up().await;
    let bearer = format!("Bearer {}", ann.token());
    let list = framed(&ListTasksRequest::default().encode_to_vec());
    for door in shape::doors(&sandbox, TASK) {
        for origin in
            ["null", "https://evil.example", "https://app.example.com.evil.example", "HTTPS://APP.EXAMPLE.COM"]
        {
            let asking = [("origin", origin), ("access-control-request-method", "POST")];
            let preflight = http1(door, &format!("OPTIONS /{TASK}/ListTasks"), &asking, b"");
            let own = [("origin", origin), ("content-type", "application/grpc-web+proto"), ("authorization", &*bearer)];
            let called = http1(door, &format!("POST /{TASK}/ListTasks"), &own, &list);
            for answer in [preflight, called] {
                let allowed = answer.headers.keys().filter(|name| name.starts_with("access-control-"));
                assert_eq!(allowed.count(), 0, "{origin} at {door}: {answer:?}");
            }
        }
    }
}
