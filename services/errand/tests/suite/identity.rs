//! A task is the same at every door: what goes in as JSON comes out of gRPC, of the store and as JSON again as it was.

use errand_proto::{
    json,
    task::{GetTaskRequest, Task},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use prost::Message;
use prost_types::Timestamp;

use crate::{
    sandbox::{Sandbox, rounds},
    wire::http1,
};

const TASK: &str = "errand.task.v1.Task";

/// What a title and labels may have: no control characters, line separators or bidirectional overrides.
const LINE: &str = r"[^\p{Cc}\x{2028}\x{2029}\x{202A}-\x{202E}\x{2066}-\x{2069}]";

fn tasks() -> impl Strategy<Value = Task> {
    let text = |pattern: String| prop::string::string_regex(&pattern).unwrap();
    let title = text(format!("{LINE}{{0,60}}[a-zé😀]{LINE}{{0,60}}"));
    let labels = prop::collection::btree_set(text(format!("{LINE}{{1,50}}")), 0..5);
    // To the microsecond, as a store keeps it.
    let due = prop::option::of((-62_135_596_800i64..253_402_300_800, 0..1_000_000i32));
    (title, r"[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x{9F}]{0,300}", 1..5i32, labels, due).prop_map(
        |(title, description, priority, labels, due)| Task {
            title,
            description,
            priority,
            labels: labels.into_iter().collect(),
            due_time: due.map(|(seconds, micros)| Timestamp { seconds, nanos: micros * 1000 }),
            ..Task::default()
        },
    )
}

#[test]
fn r_062_what_goes_in_over_rest_comes_back_over_grpc_and_rest_as_it_was() {
    let sandbox = Sandbox::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ann = runtime.block_on(sandbox.sign_up());
    let bearer = format!("Bearer {}", ann.token());
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let cases = u32::try_from(rounds(256, 100_000)).unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&tasks(), |task| {
        let body = json::from_bytes(TASK, &task.encode_to_vec()).unwrap().to_string();
        let made = http1(sandbox.address, "POST /v1/tasks", &headers, body.as_bytes());
        prop_assert_eq!(made.status, 201, "{} gave {}", body, String::from_utf8_lossy(&made.body));
        let of_json = |text: &[u8]| {
            let value = json::parse(text).unwrap();
            Task::decode(json::to_bytes(TASK, &value).unwrap().as_slice()).unwrap()
        };
        let made = of_json(&made.body);
        let request = ann.request(GetTaskRequest { task_id: made.id.clone() });
        let stored = runtime.block_on(ann.tasks().get_task(request)).unwrap().into_inner();
        prop_assert_eq!(&stored, &made);
        let again = http1(sandbox.address, &format!("GET /v1/tasks/{}", made.id), &headers, b"");
        prop_assert_eq!(&of_json(&again.body), &made);
        let given = Task { id: String::new(), etag: String::new(), create_time: None, update_time: None, ..stored };
        prop_assert_eq!(given, task);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
