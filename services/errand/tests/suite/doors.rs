//! The same call through every door gives the same result and the same reason: native gRPC and
//! gRPC-Web, binary and text, over HTTP/1.1 and HTTP/2.

use bytes::Bytes;
use errand_proto::{
    auth::{GetJwksRequest, GetMeRequest, LogInRequest, SignUpRequest, SignUpResponse, User},
    chat::{SendMessageRequest, SendMessageResponse},
    task::{CreateTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse, Task},
};
use http::Request;
use prost::Message;

use crate::{
    sandbox::{PASSWORD, Sandbox, raw, refusal},
    wire::{Web, framed, http1, http2, unweb, web},
};

const AUTH: &str = "/errand.auth.v1.AuthService";
const TASK: &str = "/errand.task.v1.TaskService";
const CHAT: &str = "/errand.chat.v1.ChatService";

#[test]
fn r_001_the_whole_story_over_grpc_web() {
    for text in [false, true] {
        let sandbox = Sandbox::start();
        let to = sandbox.address;
        let sign_up =
            SignUpRequest { email: "ann@example.com".into(), password: PASSWORD.into(), ..Default::default() };
        let signed_up: SignUpResponse = web(to, &format!("{AUTH}/SignUp"), &sign_up, None, text).decoded();
        let token = signed_up.credentials.unwrap().access_token;
        let me: User = web(to, &format!("{AUTH}/GetMe"), &GetMeRequest {}, Some(&token), text).decoded();
        assert_eq!(me.id, signed_up.user.unwrap().id);
        let create = CreateTaskRequest {
            task: Some(Task { title: "via web ✓".into(), ..Default::default() }),
            ..Default::default()
        };
        let task: Task = web(to, &format!("{TASK}/CreateTask"), &create, Some(&token), text).decoded();
        assert_eq!(task.title, "via web ✓");
        let send = SendMessageRequest { content: "add buy milk tomorrow".into(), ..Default::default() };
        let answer: SendMessageResponse = web(to, &format!("{CHAT}/SendMessage"), &send, Some(&token), text).decoded();
        assert_eq!(answer.tool_calls.len(), 1);
        let list: ListTasksResponse =
            web(to, &format!("{TASK}/ListTasks"), &ListTasksRequest::default(), Some(&token), text).decoded();
        assert_eq!(list.tasks.len(), 2);
    }
}

#[tokio::test]
async fn every_door_refuses_with_the_same_code_reason_and_message() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let unknown = GetTaskRequest { task_id: "01890000-0000-7000-8000-000000000000".into() }.encode_to_vec();
    let invalid = GetTaskRequest { task_id: "x".into() }.encode_to_vec();
    let untitled = CreateTaskRequest { task: Some(Task::default()), ..Default::default() }.encode_to_vec();
    let wrong = LogInRequest { email: "nobody@example.com".into(), password: "nothing".into() }.encode_to_vec();
    let token = Some(ann.token());
    let cases: [(String, &[u8], Option<&str>); 8] = [
        (format!("{TASK}/GetTask"), &unknown, token),
        (format!("{TASK}/GetTask"), &invalid, token),
        (format!("{TASK}/GetTask"), &[0xff], token),
        (format!("{TASK}/CreateTask"), &untitled, token),
        (format!("{TASK}/GetTask"), &unknown, None),
        (format!("{TASK}/GetTask"), &unknown, Some("a.b.c")),
        (format!("{TASK}/Nothing"), &[], token),
        (format!("{AUTH}/LogIn"), &wrong, None),
    ];
    for (path, message, token) in cases {
        let native = raw(&ann.channel, &path, message.to_vec(), token).await.unwrap_err();
        let said = refusal(Err::<(), _>(native.clone()));
        for text in [false, true] {
            let web = web_bytes(&sandbox, &path, message, token, text);
            assert_eq!(web.http.status, 200, "{path}");
            assert_eq!((web.code(), web.reason()), (native.code() as i32, said.reason.clone()), "{path}");
            let message = percent_encoding::percent_decode_str(&web.trailers["grpc-message"]).decode_utf8().unwrap();
            assert_eq!(message, native.message(), "{path}");
            assert!(web.http.headers.contains_key("x-request-id"));
        }
    }
}

fn web_bytes(sandbox: &Sandbox, path: &str, message: &[u8], token: Option<&str>, text: bool) -> Web {
    struct Raw<'a>(&'a [u8]);
    let framed = framed(Raw(message).0);
    let kind = if text { "application/grpc-web-text" } else { "application/grpc-web+proto" };
    let body = if text {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(&framed).into_bytes()
    } else {
        framed
    };
    let bearer = token.map(|token| format!("Bearer {token}")).unwrap_or_default();
    let mut headers = vec![("content-type", kind), ("accept", kind)];
    if token.is_some() {
        headers.push(("authorization", bearer.as_str()));
    }
    unweb(http1(sandbox.address, &format!("POST {path}"), &headers, &body), text)
}

#[tokio::test]
async fn grpc_web_also_runs_over_http_2_and_answers_in_text_only_when_asked() {
    let sandbox = Sandbox::start();
    let request = |accept: &'static str| {
        Request::builder()
            .method("POST")
            .uri(format!("http://{}{AUTH}/GetJwks", sandbox.address))
            .header("content-type", "application/grpc-web+proto")
            .header("accept", accept)
    };
    let body = vec![Bytes::from(framed(&GetJwksRequest {}.encode_to_vec()))];
    let binary = http2(sandbox.address, request("*/*").body(()).unwrap(), body.clone()).await.unwrap();
    assert_eq!(binary.headers["content-type"], "application/grpc-web+proto");
    assert_eq!(binary.body[0], 0);
    assert!(binary.trailers.is_empty(), "browsers can not read HTTP trailers");
    let text = http2(sandbox.address, request("application/grpc-web-text").body(()).unwrap(), body).await.unwrap();
    assert_eq!(text.headers["content-type"], "application/grpc-web-text+proto");
    assert_eq!(text.body[0], b'A');
}

#[test]
fn a_page_of_another_origin_is_answered_only_when_it_is_allowed() {
    let sandbox = Sandbox::with(&[("ERRAND_ALLOWED_ORIGINS", "https://app.example.com")]);
    let preflight = |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,x-grpc-web,authorization"),
        ];
        http1(sandbox.address, &format!("OPTIONS {TASK}/ListTasks"), &headers, b"")
    };
    let allowed = preflight("https://app.example.com");
    assert!([200, 204].contains(&allowed.status));
    assert_eq!(allowed.headers["access-control-allow-origin"], "https://app.example.com");
    assert_eq!(allowed.headers["access-control-max-age"], "1728000");
    assert!(allowed.headers["access-control-allow-headers"].contains("authorization"));
    for foreign in ["https://evil.example.com", "null", "https://app.example.com.evil.com", "http://app.example.com"] {
        assert!(!preflight(foreign).headers.contains_key("access-control-allow-origin"), "{foreign}");
    }
    // Errors carry the headers too, or a page could not read them.
    let headers = [("content-type", "application/grpc-web+proto"), ("origin", "https://app.example.com")];
    let refused = http1(sandbox.address, &format!("POST {TASK}/ListTasks"), &headers, &framed(b""));
    assert_eq!(refused.headers["grpc-status"], "16");
    assert_eq!(refused.headers["access-control-allow-origin"], "https://app.example.com");
    assert!(refused.headers["access-control-expose-headers"].contains("grpc-status-details-bin"));
    assert!(refused.headers["vary"].to_ascii_lowercase().contains("origin"));
}

#[test]
fn healthz_says_ok_to_get_and_head() {
    let sandbox = Sandbox::start();
    let get = http1(sandbox.address, "GET /healthz", &[], b"");
    assert_eq!(get.status, 200);
    assert!(!get.body.is_empty());
    let head = http1(sandbox.address, "HEAD /healthz", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
}
