//! Update masks, through the task service: what a mask names becomes what is given, and nothing else changes.

#![no_main]

use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use errand_chassis::{drain::Drain, secret::Secret, server, upstream::Upstream};
use errand_fuzz::tokens::Signer;
use errand_proto::{
    json,
    task::{CreateTaskRequest, Task, UpdateTaskRequest, task_service_client::TaskServiceClient},
};
use errand_storage::Place;
use errand_task::{Config, Dependencies, SCHEMA};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use prost_types::{FieldMask, Timestamp};
use tonic::{Code, Request};
use uuid::Uuid;

const FIELDS: [&str; 5] = ["title", "description", "priority", "due_time", "labels"];

/// An update.
#[derive(Debug, Arbitrary)]
struct Update<'a> {
    paths: Option<Vec<Path<'a>>>,
    title: u8,
    description: u8,
    priority: u8,
    due: Option<u32>,
    labels: u8,
    is_said_in_json: bool,
}

/// A path of a mask.
#[derive(Debug, Arbitrary)]
enum Path<'a> {
    Field(u8),
    Other(&'a str),
}

/// The service with one task in it.
struct Service {
    runtime: tokio::runtime::Runtime,
    client: TaskServiceClient<Upstream>,
    bearer: String,
    task: Task,
    _folder: tempfile::TempDir,
}

static SERVICE: LazyLock<Service> = LazyLock::new(Service::start);

fuzz_target!(|update: Update| {
    let task = Task {
        id: SERVICE.task.id.clone(),
        title: text(update.title),
        description: text(update.description),
        priority: i32::from(update.priority % 5),
        due_time: update.due.map(|seconds| Timestamp { seconds: seconds.into(), nanos: 0 }),
        labels: ["a", "b", "c"]
            .into_iter()
            .enumerate()
            .filter(|(at, _)| update.labels >> at & 1 == 1)
            .map(|(_, label)| label.to_owned())
            .collect(),
        ..Task::default()
    };
    let paths: Option<Vec<String>> = update.paths.map(|paths| paths.into_iter().map(path).collect());
    let mask = paths.clone().map(|paths| FieldMask { paths });
    let mut request = UpdateTaskRequest {
        task: Some(task.clone()),
        update_mask: mask,
        request_id: String::new(),
        validate_only: true,
    };
    if update.is_said_in_json {
        let Some(said) = in_json(&request) else { return };
        request = said;
    }
    // A path may be spelled as JSON spells it, in protobuf too.
    let spelled = |path: String| if path == "dueTime" { "due_time".to_owned() } else { path };
    let named: Vec<_> = paths.unwrap_or_default().into_iter().map(spelled).collect();
    let is_good = named.len() <= 32 && named.iter().all(|path| FIELDS.contains(&path.as_str()));
    let has =
        |name: &str| if named.is_empty() { has_value(&task, name) } else { named.iter().any(|path| path == name) };
    match SERVICE.update(request) {
        Ok(after) => {
            let before = SERVICE.task.clone();
            assert!(is_good, "{named:?}");
            let from = |name| if has(name) { &task } else { &before };
            assert_eq!(after.title, from("title").title);
            assert_eq!(after.description, from("description").description);
            // What is not said is no priority.
            assert_eq!(after.priority, from("priority").priority.max(1));
            assert_eq!(after.due_time, from("due_time").due_time);
            assert_eq!(after.labels, from("labels").labels);
            assert_eq!(
                (after.id, after.completed, after.create_time),
                (before.id, before.completed, before.create_time)
            );
        }
        Err(status) => {
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            assert!(!is_good || (has("title") && task.title.is_empty()), "{named:?} {status:?}");
        }
    }
});

fn text(number: u8) -> String {
    if number < 64 { String::new() } else { format!("no. {number}") }
}

fn path(path: Path) -> String {
    match path {
        Path::Field(number) => FIELDS[usize::from(number) % FIELDS.len()].to_owned(),
        Path::Other(text) => text.to_owned(),
    }
}

fn has_value(task: &Task, name: &str) -> bool {
    match name {
        "title" => !task.title.is_empty(),
        "description" => !task.description.is_empty(),
        "priority" => task.priority != 0,
        "due_time" => task.due_time.is_some(),
        _ => !task.labels.is_empty(),
    }
}

/// The same request by way of JSON, where a mask is one text; nothing where JSON can not say it.
fn in_json(request: &UpdateTaskRequest) -> Option<UpdateTaskRequest> {
    const NAME: &str = "errand.task.v1.UpdateTaskRequest";
    let is_name = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let mut paths = request.update_mask.iter().flat_map(|mask| &mask.paths);
    if !paths.all(|path| path.split('_').all(is_name)) {
        return None;
    }
    let value = json::from_bytes(NAME, &request.encode_to_vec()).ok()?;
    let bytes = json::to_bytes(NAME, &value).expect("what came out goes in");
    let said = UpdateTaskRequest::decode(bytes.as_slice()).expect("a message");
    let mask = request.update_mask.as_ref().filter(|mask| !mask.paths.is_empty());
    assert_eq!(said.update_mask.as_ref().filter(|mask| !mask.paths.is_empty()), mask, "{value}");
    Some(said)
}

impl Service {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("task.db");
        errand_storage::migrate::up(&file, SCHEMA.sqlite).expect("it can be migrated");
        let signer = Signer::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let dependencies = Dependencies {
            clock: signer.clock.clone(),
            secret: Secret::new(&[7; 32]).expect("it is long enough"),
            drain: Drain::new(),
        };
        let role = runtime.block_on(errand_task::open(Place::File(file), dependencies, Config::default()));
        let role = role.expect("the service opens");
        let upstream = server::role(role.routes(), signer.verifier(), Arc::clone(&signer.clock) as _);
        let bearer = format!("Bearer {}", signer.sign(&signer.claims(Uuid::from_u128(7))));
        let mut service =
            Self { runtime, client: TaskServiceClient::new(upstream), bearer, task: Task::default(), _folder: folder };
        let task = Task {
            title: "as it was".to_owned(),
            description: "before".to_owned(),
            priority: 2,
            due_time: Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }),
            labels: vec!["b".to_owned()],
            ..Task::default()
        };
        let request = service.signed(CreateTaskRequest { task: Some(task), ..CreateTaskRequest::default() });
        let created = service.runtime.block_on(service.client.clone().create_task(request));
        service.task = created.expect("it is made").into_inner();
        service
    }

    fn signed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.parse().expect("a token can stand in a header"));
        request
    }

    fn update(&self, request: UpdateTaskRequest) -> Result<Task, tonic::Status> {
        let answer = self.runtime.block_on(self.client.clone().update_task(self.signed(request)));
        answer.map(tonic::Response::into_inner)
    }
}
