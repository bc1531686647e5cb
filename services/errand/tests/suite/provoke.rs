//! Every error that a client can provoke, as calls that any door can make, and why the others are not here.

use std::cell::Cell;

use errand_proto::{
    auth::{DeleteMeRequest, LogInRequest, RefreshTokenRequest},
    task::{DeleteTaskRequest, ListTasksRequest},
};
use serde_json::{Value, json};

use crate::{
    forge::{FORGEABLE, Forge},
    sandbox::{
        PASSWORD, Person, Sandbox,
        door::{Call, Door, Sent},
        from_address,
    },
    wire::framed,
};

const NOWHERE: &str = "01890000-0000-7000-8000-000000000000";

/// What no client can be made to see by what it sends, or not at every door, and where it is tested.
pub(crate) const UNPROVOKED: [(&str, &str); 18] = [
    ("CANCELLED", "who gets it is gone"),
    ("KEYS_NOT_LOADED", "of a process that has just started: chassis, tests/network/keys.rs"),
    ("USER_MISMATCH", "of an alias, which is one door: rest.rs"),
    ("ACCOUNT_DISABLED", "an operator does it: tests/users.rs"),
    ("APPROVAL_EXPIRED", "of a question that is ten minutes old: chat, app/answers_tests.rs"),
    ("TURN_IN_PROGRESS", "a race with the assistant: chat, app/tests.rs"),
    ("TURN_FAILED", "of a model that fails: chat, app/tests.rs"),
    ("MODEL_TIMED_OUT", "of a model that is slow: llm.rs"),
    ("MODEL_BUSY", "of a model that is busy: llm.rs"),
    ("TOKEN_BUDGET_SPENT", "of a day with a model that costs: llm.rs"),
    ("CONFLICT", "of a header of REST, which is one door: gateway, tests/edge/rest.rs"),
    ("UNAVAILABLE", "of a service that is away: tests/apart/outage.rs"),
    ("OVERLOADED", "of more than one client can send here: chat, app/tests.rs"),
    ("SHUTTING_DOWN", "of a process that stops: operation.rs"),
    ("STORAGE_BUSY", "of a full queue: storage, sqlite/tests.rs"),
    ("STORAGE_FULL", "of a full disk: tests/battery/test_disk_full.py"),
    ("OUTCOME_UNKNOWN", "of a connection that is lost: tests/apart/kills.rs"),
    ("INTERNAL", "a client never sees it for what it sends"),
];

/// A refusal, and the same call through each door that can be refused so.
pub(crate) struct Case {
    pub(crate) what: String,
    pub(crate) reason: &'static str,
    /// The reason of the one field that is wrong.
    pub(crate) violation: Option<&'static str>,
    /// Whether message and details are the same, too: not where they say what is wrong with the words of a door.
    pub(crate) exactly: bool,
    pub(crate) calls: Vec<(Door, Call)>,
}

/// People and things that calls can be refused for.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    forge: Forge,
    ann: Person,
    live: String,
    gone: String,
    turn: String,
}

impl Case {
    fn at(doors: &[Door], reason: &'static str, call: &Call) -> Self {
        let calls = doors.iter().filter(|door| door.has(call.method)).map(|door| (*door, call.clone()));
        let what = format!("{} {:?}", call.method.name, call.sent);
        Self { what: what.chars().take(200).collect(), reason, violation: None, exactly: true, calls: calls.collect() }
    }

    fn new(reason: &'static str, call: &Call) -> Self {
        Self::at(&Door::ALL, reason, call)
    }

    /// A request with a field that is wrong.
    fn field(violation: &'static str, call: &Call) -> Self {
        Self::new("INVALID_FIELDS", call).of_field(violation)
    }

    fn of_field(self, violation: &'static str) -> Self {
        Self { violation: Some(violation), ..self }
    }

    fn loosely(self) -> Self {
        Self { exactly: false, ..self }
    }

    /// With a call of its own for each door.
    fn each(self, call: impl Fn(Door, &mut Call)) -> Self {
        let mut calls = self.calls;
        calls.iter_mut().for_each(|(door, one)| call(*door, one));
        Self { calls, ..self }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let settings = [
            // One credential an hour for each user: the second is one too many.
            ("ERRAND_USER_RATES", "read=off, write=off, assistant=off, credential=1/h"),
            // Each door tries to sign up with the same address.
            ("ERRAND_SIGN_UPS_PER_EMAIL", "100"),
            ("ERRAND_SIGN_UPS_PER_ADDRESS", "100"),
        ];
        let sandbox = Sandbox::with(&[FORGEABLE, &settings].concat());
        let forge = Forge::of(&sandbox).await;
        let ann = sandbox.sign_up().await;
        let (live, gone) = (ann.create("live").await.id, ann.create("gone").await.id);
        let delete = DeleteTaskRequest { task_id: gone.clone(), ..Default::default() };
        ann.tasks().delete_task(ann.request(delete)).await.unwrap();
        let turn = ann.say("", "hello").await.turn_id;
        Self { sandbox, forge, ann, live, gone, turn }
    }

    pub(crate) async fn cases(&self) -> Vec<Case> {
        let mut cases = self.of_questions().await;
        cases.extend(self.of_fields());
        cases.extend(self.of_transport());
        cases.extend(self.of_tokens());
        cases.extend(self.of_accounts().await);
        cases.extend(self.of_tasks().await);
        cases
    }

    fn call(&self, method: &str, request: Value) -> Call {
        Call::new(method, request, Some(self.ann.token()))
    }

    fn of_fields(&self) -> Vec<Case> {
        let titled = |title: String| self.call("CreateTask", json!({"task": {"title": title}}));
        let labelled = |labels: Vec<String>| self.call("CreateTask", json!({"task": {"title": "x", "labels": labels}}));
        let masked =
            |path: &str| self.call("UpdateTask", json!({"task": {"id": self.live, "title": "x"}, "updateMask": path}));
        let account = |password: &str| {
            let request = json!({"email": "long.enough@example.com", "password": password});
            Call { token: None, ..self.call("SignUp", request) }
        };
        vec![
            Case::field("REQUIRED", &titled(String::new())),
            Case::field("TOO_LONG", &titled("x".repeat(201))),
            Case::field("TOO_SHORT", &account("short")),
            Case::field("TOO_COMMON", &account("password123")),
            Case::field("SAME_AS_EMAIL", &account("long.enough@example.com")),
            Case::field("TOO_MANY", &labelled((0..21).map(|number| number.to_string()).collect())),
            Case::field("DUPLICATE", &labelled(vec!["one".to_owned(), "one".to_owned()])),
            Case::field("OUT_OF_RANGE", &self.call("ListTasks", json!({"pageSize": -1}))),
            Case::field("INVALID_FORMAT", &self.call("GetTask", json!({"taskId": "x"}))),
            Case::field("UNKNOWN_VALUE", &self.call("CreateTask", json!({"task": {"title": "x", "priority": 99}}))),
            Case::field("UNKNOWN_FIELD", &masked("nothing")),
            Case::field("READ_ONLY", &masked("createTime")),
        ]
    }

    fn of_transport(&self) -> Vec<Case> {
        let create = self.call("CreateTask", json!({"task": {"title": "x"}}));
        let get = self.call("GetTask", json!({"taskId": self.live}));
        let sent = |sent| Call { sent, ..create.clone() };
        let with = |headers: &[(&'static str, &str)]| {
            let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
            Call { headers: headers.collect(), ..get.clone() }
        };
        let timeout = |text: &str| with(&[("grpc-timeout", text)]);
        // Connect has a header of its own, and its own unit.
        let in_connect = |text: &'static str| {
            move |door: Door, call: &mut Call| {
                if matches!(door, Door::ConnectJson | Door::ConnectProto) {
                    call.headers = vec![("connect-timeout-ms", text.to_owned())];
                }
            }
        };
        // Field 15 is nobody's: unknown, and far too long.
        let mut large = vec![0x7a, 0x80, 0x80, 0x80, 0x02];
        large.resize((4 << 20) + 6, b'x');
        let of_health =
            Call { path: Some("/grpc.health.v1.Health/Check"), ..sent(Sent::Bytes(b"\x0a\x04nope".to_vec())) };
        vec![
            Case::new("MALFORMED_MESSAGE", &sent(Sent::Bytes(b"{\xff".to_vec()))).loosely(),
            Case::at(Door::FRAMED, "MESSAGE_MISSING", &sent(Sent::Frames(vec![]))),
            Case::at(Door::FRAMED, "MESSAGE_REPEATED", &sent(Sent::Frames([framed(b""), framed(b"")].concat()))),
            Case::new("MESSAGE_TOO_LARGE", &sent(Sent::Bytes(large))),
            Case::new("HEADERS_TOO_LARGE", &with(&[("x-large", &"x".repeat(20_000))])),
            Case::new("COMPRESSION_UNSUPPORTED", &with(&[("grpc-encoding", "gzip")])),
            Case::at(Door::PLAIN, "COMPRESSION_UNSUPPORTED", &with(&[("content-encoding", "gzip")])),
            Case::new("TIMEOUT_INVALID", &timeout("abc")).each(in_connect("abc")).loosely(),
            Case::new("DEADLINE_EXCEEDED", &timeout("0m")).each(in_connect("0")),
            Case::new("METHOD_UNKNOWN", &Call { path: Some("/errand.task.v1.TaskService/Nothing"), ..create.clone() }),
            Case::at(Door::PLAIN, "METHOD_NOT_ALLOWED", &Call { verb: Some("PUT"), ..create.clone() }).loosely(),
            Case::at(
                Door::PLAIN,
                "CONTENT_TYPE_UNSUPPORTED",
                &Call { content_type: Some("text/plain"), ..create.clone() },
            )
            .loosely(),
            Case::at(Door::FRAMED, "SERVICE_NOT_FOUND", &of_health),
        ]
    }

    fn of_tokens(&self) -> Vec<Case> {
        let list = |token: Option<String>| Call { token, ..self.call("ListTasks", json!({})) };
        let narrow = self.forge.token(&self.ann, &[("scope", json!("chat account"))]);
        vec![
            Case::new("TOKEN_MISSING", &list(None)),
            Case::new("TOKEN_INVALID", &list(Some("a.b.c".to_owned()))),
            Case::new("TOKEN_EXPIRED", &list(Some(self.forge.expired(&self.ann)))),
            Case::new("SCOPE_MISSING", &list(Some(narrow))),
        ]
    }

    async fn of_accounts(&self) -> Vec<Case> {
        let anonymous = |method: &str, request: Value| Call { token: None, ..self.call(method, request) };
        let taken = json!({"email": self.ann.user.email, "password": PASSWORD});
        let wrong = |email: &str| anonymous("LogIn", json!({"email": email, "password": "not the password"}));
        let throttled =
            Call { headers: vec![("x-forwarded-for", "192.0.2.77".to_owned())], ..wrong("hammered@example.com") };
        for _ in 0..10 {
            let request = LogInRequest { email: "hammered@example.com".into(), password: "not the password".into() };
            self.sandbox.auth().await.log_in(from_address(request, "192.0.2.77")).await.unwrap_err();
        }
        let mut reused = Vec::new();
        for _ in Door::ALL {
            reused.push(self.used_twice().await);
        }
        let next = Cell::new(0);
        let refresh = |token: &str| anonymous("RefreshToken", json!({"refreshToken": token}));

        let left = self.sandbox.sign_up().await;
        let leave = DeleteMeRequest { password: PASSWORD.into() };
        left.auth().delete_me(left.request(leave)).await.unwrap();
        let changing = self.sandbox.sign_up().await;
        let change = json!({"currentPassword": "not the password", "newPassword": "another good passphrase"});
        let change = Call::new("ChangePassword", change, Some(changing.token()));
        Door::Grpc.call(self.sandbox.address, &change).await;
        vec![
            Case::new("EMAIL_TAKEN", &anonymous("SignUp", taken)),
            Case::new("CREDENTIALS_INVALID", &wrong("nobody@example.com")),
            Case::new("TOO_MANY_ATTEMPTS", &throttled).loosely(),
            Case::new("REFRESH_TOKEN_INVALID", &refresh("none")),
            Case::new("REFRESH_TOKEN_REUSED", &refresh("")).each(|_, call| {
                call.sent = Sent::Request(json!({"refreshToken": reused[next.replace(next.get() + 1)]}));
            }),
            Case::new("SESSION_NOT_FOUND", &self.call("DeleteSession", json!({"sessionId": NOWHERE}))),
            Case::new("ACCOUNT_DELETED", &Call::new("GetMe", json!({}), Some(left.token()))),
            Case::new("RATE_LIMITED", &change),
        ]
    }

    /// A refresh token whose successor has been used.
    async fn used_twice(&self) -> String {
        let first = self.sandbox.log_in(&self.ann.user.email).await.unwrap().credentials.refresh_token;
        let next = self.sandbox.refresh(&first).await.unwrap().refresh_token;
        let request = RefreshTokenRequest { refresh_token: next };
        self.sandbox.auth().await.refresh_token(request).await.unwrap();
        first
    }

    async fn of_questions(&self) -> Vec<Case> {
        let carl = self.sandbox.sign_up().await;
        for title in ["one", "two"] {
            carl.create(title).await;
        }
        let (asked, passed) = (carl.say("", "delete everything").await, carl.say("", "delete everything").await);
        carl.say(&passed.conversation_id, "hello").await;
        let approve = |person: &Person, turn: &str, hash: &str| {
            let request = json!({"turnId": turn, "hash": hash, "decision": "APPROVAL_DECISION_APPROVE"});
            Call::new("ApproveTurn", request, Some(person.token()))
        };
        let hash = passed.approval_requested.unwrap().hash;
        vec![
            Case::new("APPROVAL_NOT_FOUND", &approve(&self.ann, &self.turn, &"0".repeat(64))),
            Case::new("APPROVAL_MISMATCH", &approve(&carl, &asked.turn_id, &"0".repeat(64))),
            Case::new("APPROVAL_ENDED", &approve(&carl, &passed.turn_id, &hash)),
        ]
    }

    async fn of_tasks(&self) -> Vec<Case> {
        let complete = |task: &str| self.call("CompleteTask", json!({"taskId": task}));
        self.ann.try_create("once", "key").await.unwrap();
        let other = json!({"task": {"title": "twice"}, "requestId": "key"});
        // Further than the log of somebody who has done nothing.
        let list = self.ann.request(ListTasksRequest::default());
        let ahead = self.ann.tasks().list_tasks(list).await.unwrap().into_inner().watch_cursor;
        let bob = self.sandbox.sign_up().await;
        let stale = json!({"taskId": self.live, "etag": "ff"});
        vec![
            Case::new("PAGE_TOKEN_INVALID", &self.call("ListTasks", json!({"pageToken": "x"})))
                .of_field("INVALID_FORMAT"),
            Case::new("ETAG_MISMATCH", &self.call("CompleteTask", stale)),
            Case::new("IDEMPOTENCY_KEY_REUSED", &self.call("CreateTask", other)),
            Case::new("TASK_NOT_FOUND", &self.call("GetTask", json!({"taskId": NOWHERE}))),
            Case::new("TASK_DELETED", &complete(&self.gone)),
            Case::new("TASK_NOT_DELETED", &self.call("UndeleteTask", json!({"taskId": self.live}))),
            Case::new("CURSOR_EXPIRED", &Call::new("ListChanges", json!({"cursor": ahead}), Some(bob.token()))),
            Case::new("CURSOR_EXPIRED", &Call::new("WatchTasks", json!({"cursor": ahead}), Some(bob.token()))),
            Case::new("CHANGES_NOT_FOUND", &self.call("UndoChanges", json!({"turnId": NOWHERE}))),
            Case::new("CONVERSATION_NOT_FOUND", &self.call("GetConversation", json!({"conversationId": NOWHERE}))),
            Case::new(
                "CONVERSATION_NOT_FOUND",
                &self.call("StreamMessage", json!({"conversationId": NOWHERE, "content": "x"})),
            ),
            Case::new("TURN_NOT_FOUND", &self.call("CancelTurn", json!({"turnId": NOWHERE}))),
            Case::new("TURN_NOT_FOUND", &self.call("ResumeTurn", json!({"turnId": NOWHERE}))),
            Case::new("TURN_ENDED", &self.call("CancelTurn", json!({"turnId": self.turn}))),
        ]
    }
}
