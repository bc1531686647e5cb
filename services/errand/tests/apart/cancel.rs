//! Battery 2.12: a call that is over is over everywhere, down to its statement.

use std::time::{Duration, Instant};

use errand_proto::{
    chat::SendMessageRequest,
    task::{CreateTaskRequest, GetTaskRequest, Task},
};
use prost::Message;
use tonic::Code;

use crate::{
    lock::{Held, until_waiting},
    sandbox::{Person, Sandbox, rounds},
    wire::{Http2, framed, grpc, http2},
};

/// What is allowed for a statement to end after its call, in full size; nothing is timed in the quick one.
const SOON: Duration = Duration::from_millis(100);

async fn call(sandbox: &Sandbox, person: &Person, path: &str, message: &impl Message) -> (Http2, Duration) {
    let request = grpc(sandbox.address, path)
        .header("authorization", format!("Bearer {}", person.token()))
        .header("grpc-timeout", "500m")
        .body(())
        .unwrap();
    let asked = Instant::now();
    let answer = http2(sandbox.address, request, vec![framed(&message.encode_to_vec()).into()]).await.unwrap();
    (answer, asked.elapsed())
}

fn soon(took: Duration) {
    // The measure itself starts a program.
    assert!(took < SOON * 3 || rounds(0, 1) == 0, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_129_a_deadline_ends_the_call_at_every_hop_and_the_statement_below() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let task_id = ann.create("here").await.id;
    let held = tokio::task::block_in_place(|| Held::table(&sandbox, "task.tasks"));
    for _ in 0..rounds(2, 20) {
        let (answer, took) =
            call(&sandbox, &ann, "/errand.task.v1.TaskService/GetTask", &GetTaskRequest { task_id: task_id.clone() })
                .await;
        assert_eq!(answer.refusal(), (Code::DeadlineExceeded as i32, "DEADLINE_EXCEEDED".to_owned()));
        assert!(took < Duration::from_secs(5), "{took:?}");
        soon(until_waiting(&sandbox, "task", 0).await);
    }
    // Through chat, whose turn needs the tasks.
    let say =
        SendMessageRequest { content: "list my tasks".to_owned(), request_id: "once".to_owned(), ..Default::default() };
    let (answer, took) = call(&sandbox, &ann, "/errand.chat.v1.ChatService/SendMessage", &say).await;
    assert_eq!(answer.refusal().0, Code::DeadlineExceeded as i32);
    assert!(took < Duration::from_secs(5), "{took:?}");
    // The turn goes on without its client, but what task does for it had no more time than the client.
    soon(until_waiting(&sandbox, "task", 0).await);
    drop(held);
    assert_eq!(ann.titles().await, ["here"]);
    // And it has an end, which says what is wrong.
    let again = ann.chat().send_message(ann.request(say)).await.unwrap().into_inner();
    assert_eq!(again.tool_calls[0].error, "DEADLINE_EXCEEDED", "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_129_a_write_whose_deadline_passes_happens_once_whatever_its_client_was_told() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let create = CreateTaskRequest {
        task: Some(Task { title: "once".to_owned(), ..Default::default() }),
        request_id: "once".to_owned(),
        ..Default::default()
    };
    let held = tokio::task::block_in_place(|| Held::table(&sandbox, "task.tasks"));
    let (answer, _) = call(&sandbox, &ann, "/errand.task.v1.TaskService/CreateTask", &create).await;
    assert_eq!(answer.refusal().0, Code::DeadlineExceeded as i32);
    drop(held);
    let task = ann.try_create("once", "once").await.unwrap();
    assert_eq!(ann.list().await, [task]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_130_a_client_that_goes_away_takes_its_statement_with_it() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let task_id = ann.create("here").await.id;
    let held = tokio::task::block_in_place(|| Held::table(&sandbox, "task.tasks"));
    for _ in 0..rounds(2, 20) {
        let asking = {
            let (ann, task_id) = (ann.clone(), task_id.clone());
            tokio::spawn(async move { ann.tasks().get_task(ann.request(GetTaskRequest { task_id })).await })
        };
        until_waiting(&sandbox, "task", 1).await;
        asking.abort();
        soon(until_waiting(&sandbox, "task", 0).await);
    }
    drop(held);
    // Nobody else was hit.
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let ann = ann.clone();
            tokio::spawn(async move { ann.titles().await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), ["here"]);
    }
}
