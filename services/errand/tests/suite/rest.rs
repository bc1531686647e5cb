//! REST and Connect: the first users' story by plain HTTP, and the same refusal through every door.

use errand_proto::{
    auth::LogInRequest,
    task::{CompleteTaskRequest, CreateTaskRequest, DeleteTaskRequest, GetTaskRequest, ListTasksRequest, Task},
};
use prost::Message;
use serde_json::{Value, json};

use crate::{
    sandbox::{PASSWORD, Person, Sandbox, raw, refusal},
    wire::{Http1, http1},
};

const TASK: &str = "/errand.task.v1.TaskService";
const NOWHERE: &str = "01890000-0000-7000-8000-000000000000";

/// A call with a JSON body, by the holder of this token.
pub(crate) fn call(sandbox: &Sandbox, head: &str, token: &str, body: &Value) -> Http1 {
    with_headers(sandbox, head, token, &[], body)
}

fn with_headers(sandbox: &Sandbox, head: &str, token: &str, headers: &[(&str, &str)], body: &Value) -> Http1 {
    let bearer = format!("Bearer {token}");
    let mut all = vec![("content-type", "application/json")];
    if !token.is_empty() {
        all.push(("authorization", &bearer));
    }
    all.extend_from_slice(headers);
    let text = if body.is_null() { String::new() } else { body.to_string() };
    http1(sandbox.address, head, &all, text.as_bytes())
}

pub(crate) fn json_of(answer: &Http1) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

#[test]
fn the_first_users_story_by_plain_http() {
    let sandbox = Sandbox::start();
    let who = json!({"email": "ann@example.com", "password": PASSWORD});
    let signed_up = call(&sandbox, "POST /api/auth/signup", "", &who);
    assert_eq!(signed_up.status, 201);
    let account = json_of(&signed_up);
    assert_eq!((&account["email"], &account["expires_in"]), (&json!("ann@example.com"), &json!(900)));
    assert!(account["refresh_token"].is_string());
    assert_eq!(call(&sandbox, "POST /api/auth/signup", "", &who).status, 409);

    let logged_in = call(&sandbox, "POST /api/auth/login", "", &who);
    let session = json_of(&logged_in);
    assert_eq!((logged_in.status, &session["id"]), (200, &account["id"]));
    let (id, token) = (session["id"].as_str().unwrap(), session["token"].as_str().unwrap());

    let said = call(&sandbox, &format!("POST /api/{id}/chat"), token, &json!({"message": "add buy milk tomorrow"}));
    let answer = json_of(&said);
    assert_eq!((said.status, &answer["tool_calls"][0]["name"]), (200, &json!("add_tasks")));
    assert!(answer["conversation_id"].is_string() && answer["response"].is_string());
    let other = call(&sandbox, &format!("POST /api/{NOWHERE}/chat"), token, &json!({"message": "hello"}));
    assert_eq!((other.status, reason(&other)), (403, "USER_MISMATCH".to_owned()));

    let made =
        call(&sandbox, "POST /v1/tasks", token, &json!({"title": "Call Bob", "due_time": "2026-12-01T09:00:00Z"}));
    assert_eq!(made.status, 201);
    let place = made.headers["location"].clone();
    let etag = made.headers["etag"].clone();
    let renamed =
        with_headers(&sandbox, &format!("PATCH {place}"), token, &[("if-match", &etag)], &json!({"title": "Call Ann"}));
    assert_eq!((renamed.status, &json_of(&renamed)["title"]), (200, &json!("Call Ann")));
    let stale =
        with_headers(&sandbox, &format!("PATCH {place}"), token, &[("if-match", &etag)], &json!({"title": "x"}));
    assert_eq!((stale.status, reason(&stale)), (412, "ETAG_MISMATCH".to_owned()));
    assert_eq!(call(&sandbox, &format!("POST {place}:complete"), token, &Value::Null).status, 200);
    let open = json_of(&call(&sandbox, "GET /v1/tasks?completed=false", token, &Value::Null));
    assert_eq!(open["tasks"].as_array().map(Vec::len), Some(1));
    assert_eq!(call(&sandbox, &format!("DELETE {place}"), token, &Value::Null).status, 200);
    let changes = json_of(&call(&sandbox, "GET /v1/changes", token, &Value::Null));
    assert_eq!(changes["changes"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_write_is_named_by_its_idempotency_key() {
    let sandbox = Sandbox::start();
    let who = json!({"email": "ann@example.com", "password": PASSWORD});
    let account = json_of(&call(&sandbox, "POST /api/auth/signup", "", &who));
    let token = account["token"].as_str().unwrap();
    let make = |title: &str| {
        with_headers(&sandbox, "POST /v1/tasks", token, &[("idempotency-key", "k1")], &json!({"title": title}))
    };
    assert_eq!(json_of(&make("once"))["id"], json_of(&make("once"))["id"]);
    let other = make("twice");
    assert_eq!((other.status, reason(&other)), (400, "IDEMPOTENCY_KEY_REUSED".to_owned()));
}

#[test]
fn what_can_be_called_is_told_as_openapi() {
    let sandbox = Sandbox::start();
    let answer = http1(sandbox.address, "GET /openapi.json", &[], b"");
    let document = json_of(&answer);
    assert_eq!((answer.status, &document["openapi"]), (200, &json!("3.1.0")));
    assert!(document["paths"]["/v1/tasks/{task_id}"]["patch"].is_object());
    for path in ["/docs", "/docs/page.js", "/docs/page.css"] {
        let page = http1(sandbox.address, &format!("GET {path}"), &[], b"");
        assert_eq!((page.status, page.headers["content-security-policy"].is_empty()), (200, false), "{path}");
        assert!(!String::from_utf8(page.body).unwrap().contains("https://"), "{path} fetches nothing from elsewhere");
    }
    let icon = http1(sandbox.address, "GET /favicon.ico", &[], b"");
    assert_eq!((icon.status, icon.headers["content-type"].as_str()), (200, "image/svg+xml"));
    assert!(icon.headers["cache-control"].contains("max-age"), "a browser asks once a day");
}

fn reason(answer: &Http1) -> String {
    json_of(answer)["details"][0]["reason"].as_str().unwrap_or_default().to_owned()
}

/// A call that fails, as each door is asked for it.
struct Refused {
    path: String,
    message: Vec<u8>,
    json: Value,
    rest: String,
    body: Value,
    with_token: bool,
}

fn refused<M: Message>(method: &str, message: &M, json: Value, rest: &str, body: Value) -> Refused {
    let path = if method.starts_with('/') { method.to_owned() } else { format!("{TASK}/{method}") };
    Refused { path, message: message.encode_to_vec(), json, rest: rest.to_owned(), body, with_token: true }
}

async fn failures(ann: &Person) -> Vec<Refused> {
    let gone = ann.create("gone").await;
    let delete = DeleteTaskRequest { task_id: gone.id.clone(), ..Default::default() };
    ann.tasks().delete_task(ann.request(delete)).await.unwrap();
    let live = ann.create("live").await;
    let titled = |title: &str| CreateTaskRequest {
        task: Some(Task { title: title.to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let stale = CompleteTaskRequest { task_id: live.id.clone(), etag: "ff".to_owned(), ..Default::default() };
    let unknown = GetTaskRequest { task_id: NOWHERE.to_owned() };
    let wrong = LogInRequest { email: "nobody@example.com".to_owned(), password: "nothing".to_owned() };
    let login = json!({"email": "nobody@example.com", "password": "nothing"});
    let mut cases = vec![
        refused("GetTask", &unknown, json!({"taskId": NOWHERE}), &format!("GET /v1/tasks/{NOWHERE}"), Value::Null),
        refused(
            "GetTask",
            &GetTaskRequest { task_id: "x".to_owned() },
            json!({"taskId": "x"}),
            "GET /v1/tasks/x",
            Value::Null,
        ),
        refused("CreateTask", &titled(""), json!({"task": {"title": ""}}), "POST /v1/tasks", json!({"title": ""})),
        refused(
            "ListTasks",
            &ListTasksRequest { page_token: "x".to_owned(), ..Default::default() },
            json!({"pageToken": "x"}),
            "GET /v1/tasks?page_token=x",
            Value::Null,
        ),
        refused(
            "CompleteTask",
            &CompleteTaskRequest { task_id: gone.id.clone(), ..Default::default() },
            json!({"taskId": gone.id}),
            &format!("POST /v1/tasks/{}:complete", gone.id),
            Value::Null,
        ),
        refused(
            "CompleteTask",
            &stale,
            json!({"taskId": live.id, "etag": "ff"}),
            &format!("POST /v1/tasks/{}:complete", live.id),
            json!({"etag": "ff"}),
        ),
        refused("/errand.auth.v1.AuthService/LogIn", &wrong, login.clone(), "POST /v1/auth/login", login),
    ];
    let mut nobody =
        refused("GetTask", &unknown, json!({"taskId": NOWHERE}), &format!("GET /v1/tasks/{NOWHERE}"), Value::Null);
    nobody.with_token = false;
    cases.push(nobody);
    cases
}

#[tokio::test]
async fn rest_and_connect_refuse_with_the_code_reason_and_message_of_grpc() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    for case in failures(&ann).await {
        let token = if case.with_token { ann.token() } else { "" };
        let native = raw(&ann.channel, &case.path, case.message, Some(token).filter(|token| !token.is_empty())).await;
        let native = native.unwrap_err();
        let said = refusal(Err::<(), _>(native.clone()));

        let rest = call(&sandbox, &case.rest, token, &case.body);
        let error = json_of(&rest);
        assert_eq!(
            (&error["code"], reason(&rest)),
            (&json!(native.code() as i32), said.reason.clone()),
            "{}",
            case.rest
        );
        assert_eq!(error["message"], native.message(), "{}", case.rest);
        assert!(rest.status >= 400 && rest.headers.contains_key("x-request-id"));
        let fields = error["details"][1]["fieldViolations"].as_array().cloned().unwrap_or_default();
        let fields: Vec<_> = fields.iter().map(|one| one["field"].as_str().unwrap().to_owned()).collect();
        assert_eq!(fields, said.fields, "{}", case.rest);

        let connect = call(&sandbox, &format!("POST {}", case.path), token, &case.json);
        let error = json_of(&connect);
        assert_eq!(error["details"][0]["debug"]["reason"], said.reason, "{}", case.path);
        assert_eq!((&error["message"], connect.status), (&json!(native.message()), rest.status), "{}", case.path);
    }
}
