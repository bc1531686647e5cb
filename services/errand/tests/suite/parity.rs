//! Door parity: the same call through native gRPC, gRPC-Web in binary and text, Connect in JSON and protobuf, and REST
//! has the same result, or the same code, reason, message and details.

use std::{collections::BTreeSet, sync::LazyLock};

use errand_proto::contract::{METHODS, Method, Scope};
use serde_json::{Value, json};

use crate::{
    provoke::{UNPROVOKED, World},
    requests::{Names, request},
    sandbox::{
        Person, Sandbox,
        door::{Call, Door, Failure, Said, Sent},
    },
};

/// What differs by nature between two calls: what only the holder may read, and what names a moment.
const HIDDEN: [&str; 12] = [
    "accessToken",
    "refreshToken",
    "email",
    "etag",
    "cursor",
    "nextCursor",
    "watchCursor",
    "nextPageToken",
    "ipAddress",
    "retryDelay",
    "seconds",
    "subject",
];

#[tokio::test]
async fn every_door_refuses_with_the_same_code_reason_message_and_details() {
    let world = World::new().await;
    let (mut provoked, mut undocumented) = (BTreeSet::new(), BTreeSet::new());
    for case in world.cases().await {
        let mut first: Option<(Door, Failure)> = None;
        let mut statuses = BTreeSet::new();
        for (door, call) in &case.calls {
            let said = door.call(world.sandbox.address, call).await;
            let failure =
                said.failure.clone().unwrap_or_else(|| panic!("{door:?} let {} through: {said:?}", case.what));
            assert_eq!(failure.details[0]["reason"], case.reason, "{door:?}: {failure:?}");
            assert_eq!(failure.details[0]["domain"], "errand");
            let violations = failure.details.iter().filter_map(|detail| detail["fieldViolations"].as_array()).flatten();
            let violations: Vec<_> = violations.map(|violation| violation["reason"].as_str().unwrap()).collect();
            assert_eq!(violations, case.violation.into_iter().collect::<Vec<_>>(), "{door:?}: {failure:?}");
            if door.tells_by_status(call.method) {
                statuses.insert(said.http);
                if *door == Door::Rest && !is_documented(call.method, said.http, case.reason) {
                    undocumented.insert(format!("{}: {} {}", call.method.name, said.http, case.reason));
                }
            } else {
                assert_eq!(said.http, 200, "{door:?}");
            }
            let failure = Failure { details: failure.details.iter().map(hidden).collect(), ..failure };
            match &first {
                None => first = Some((*door, failure)),
                Some((other, said)) if case.exactly => {
                    assert_eq!(*said, failure, "{} at {other:?} and {door:?}", case.what);
                }
                Some((other, said)) => assert_eq!(said.code, failure.code, "{} at {other:?} and {door:?}", case.what),
            }
        }
        assert!(statuses.len() <= 1, "{}: {statuses:?}", case.what);
        provoked.insert(case.reason);
        provoked.extend(case.violation);
    }
    assert!(undocumented.is_empty(), "not in the OpenAPI document: {undocumented:#?}");
    assert_eq!(provoked, reasons_to_provoke(), "docs/errors.md, and what is provoked here or says why not");
}

/// Whether the OpenAPI document says that the operation may be refused so.
fn is_documented(method: &Method, status: u16, reason: &str) -> bool {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(errand_gateway::openapi);
    // What is no operation is in no document.
    if [404, 405].contains(&status) && reason.starts_with("METHOD_") {
        return true;
    }
    let paths = DOCUMENT["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let operation = paths.into_iter().find(|operation| operation["operationId"] == method.name).unwrap();
    let response = &operation["responses"][status.to_string()];
    let named =
        response["$ref"].as_str().map(|name| &DOCUMENT["components"]["responses"][name.rsplit('/').next().unwrap()]);
    let description = named.unwrap_or(response)["description"].as_str();
    description.is_some_and(|text| text.contains(&format!("`{reason}`")))
}

/// The reasons of docs/errors.md but those that say why they are not provoked.
fn reasons_to_provoke() -> BTreeSet<&'static str> {
    let page = include_str!("../../../../docs/errors.md").split("## Reasons of tool calls").next().unwrap();
    let listed = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut listed: BTreeSet<_> = listed.collect();
    for (reason, why) in UNPROVOKED {
        assert!(listed.remove(reason) && !why.is_empty(), "{reason} is no reason any more");
    }
    listed
}

/// A value without what differs by nature.
fn hidden(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                let hide = HIDDEN.contains(&key.as_str()) && !value.is_object();
                (key.clone(), if hide { json!("*") } else { hidden(value) })
            })
            .collect(),
        Value::Array(items) => items.iter().map(hidden).collect(),
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => json!("TIME"),
        Value::String(text) => json!(without_ids(text)),
        other => other.clone(),
    }
}

/// A text in which every id is replaced.
fn without_ids(text: &str) -> String {
    let is_id = |piece: &[u8]| {
        piece.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    let (mut text, mut at) = (text.to_owned(), 0);
    while at + 36 <= text.len() {
        if is_id(&text.as_bytes()[at..at + 36]) {
            text.replace_range(at..at + 36, "ID");
        }
        at += 1;
    }
    text
}

/// Somebody who uses one door alone.
struct Visitor {
    door: Door,
    person: Person,
    names: Names,
}

/// What ends a session or an account, and so comes last.
const LAST: [&str; 4] = ["ChangePassword", "DeleteSession", "LogOut", "DeleteMe"];

impl Visitor {
    /// A valid request of a method, about things of their own, made for this.
    async fn call(&self, method: &'static Method) -> Call {
        let names =
            if LAST.contains(&method.name) { self.names.clone() } else { Names::of(&self.person, method.name).await };
        let mut asked = errand_proto::json::from_bytes(method.input, &request(method, &names)).unwrap();
        match method.name {
            "SignUp" => asked["email"] = format!("{:?}@example.com", self.door).into(),
            "LogIn" => asked["email"] = self.person.user.email.clone().into(),
            "DeleteMe" => asked["password"] = "another good passphrase".into(),
            "RefreshToken" => asked["refreshToken"] = self.person.credentials.refresh_token.clone().into(),
            "UndeleteTask" => {
                let gone = errand_proto::task::DeleteTaskRequest { task_id: names.task, ..Default::default() };
                self.person.tasks().delete_task(self.person.request(gone)).await.unwrap();
            }
            _ => {}
        }
        if method.has_request_id {
            asked["requestId"] = method.name.into();
        }
        Call { sent: Sent::Request(asked), method, ..Call::new("GetTask", Value::Null, Some(self.person.token())) }
    }
}

/// What was said, as far as it is the same for everybody.
fn shown(said: &Said) -> (Vec<Value>, Option<Value>) {
    let failure = said
        .failure
        .as_ref()
        .map(|failure| hidden(&json!({"code": failure.code, "message": failure.message, "details": failure.details})));
    (said.messages.iter().map(hidden).collect(), failure)
}

#[tokio::test]
async fn people_who_do_the_same_each_through_a_door_of_their_own_are_told_the_same() {
    let sandbox = Sandbox::start();
    let mut visitors = Vec::new();
    for door in Door::ALL {
        let person = sandbox.sign_up().await;
        visitors.push(Visitor { door, names: Names::of(&person, "first").await, person });
    }
    let is_last = |method: &Method| LAST.iter().position(|name| *name == method.name).map_or(0, |place| place + 1);
    // A watch has no end of its own.
    let mut methods: Vec<_> =
        METHODS.iter().filter(|method| method.scope != Scope::Erase && method.name != "WatchTasks").collect();
    methods.sort_by_key(|method| is_last(method));
    let (mut succeeded, mut repeated) = (0, 0);
    for method in methods {
        let mut first: Option<(Door, _)> = None;
        for visitor in &visitors {
            // Who has no way in for it takes another, so that all do the same.
            let door = if visitor.door.has(method) { visitor.door } else { Door::Grpc };
            let call = visitor.call(method).await;
            let said = door.call(sandbox.address, &call).await;
            succeeded += usize::from(said.failure.is_none());
            assert_eq!(said.headers.get("idempotent-replayed"), None, "{} at {door:?}", method.path);
            let all = shown(&said);
            match &first {
                None => first = Some((door, all)),
                Some((other, said)) => assert_eq!(*said, all, "{} at {other:?} and {door:?}", method.path),
            }
            if method.has_request_id && said.failure.is_none() {
                let again = door.call(sandbox.address, &call).await;
                assert_eq!((&again.messages, &again.failure), (&said.messages, &said.failure), "{}", method.path);
                let replayed = again.headers.get("idempotent-replayed").map(String::as_str);
                assert_eq!(replayed, Some("true"), "{} at {door:?}", method.path);
                repeated += 1;
            }
        }
    }
    let doors = Door::ALL.len();
    assert!(succeeded > 30 * doors && repeated > 15 * doors, "{succeeded} calls went well, {repeated} were repeated");
}

#[test]
fn what_differs_by_nature_is_hidden_and_nothing_else() {
    let value = json!({
        "id": "task 01890000-0000-7000-8000-000000000001!", "at": "2026-11-21T09:00:00Z", "etag": "1f", "n": 7,
        "email": {"at": "x"}, "list": [{"cursor": "abc", "title": "21T09"}],
    });
    let expected = json!({
        "id": "task ID!", "at": "TIME", "etag": "*", "n": 7, "email": {"at": "x"},
        "list": [{"cursor": "*", "title": "21T09"}],
    });
    assert_eq!(hidden(&value), expected);
}
