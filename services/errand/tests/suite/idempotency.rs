//! Battery 2.5: repeating a request is safe.

use std::collections::{BTreeMap, BTreeSet};

use errand_proto::{
    chat::{CreateConversationRequest, ListMessagesRequest, SendMessageRequest},
    task::{CompleteTaskRequest, CreateTaskRequest, DeleteTaskRequest, Task, UpdateTaskRequest},
};
use tonic::Code;

use crate::sandbox::{Person, Sandbox, reason, refused, rounds};

#[tokio::test]
async fn r_064_fifty_creates_with_one_request_id_make_one_task() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let calls = (0..50).map(|_| {
        let ann = ann.clone();
        tokio::spawn(async move { ann.try_create("once", "key-1").await.unwrap() })
    });
    let mut answers = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        answers.push(call.await.unwrap());
    }
    assert!(answers.iter().all(|task| *task == answers[0]));
    assert_eq!(ann.list().await, answers[..1]);
    assert_eq!(
        reason(ann.try_create("other", "key-1").await),
        refused(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED")
    );
    let complete =
        CompleteTaskRequest { task_id: answers[0].id.clone(), request_id: "key-1".into(), ..Default::default() };
    assert_eq!(
        reason(ann.tasks().complete_task(ann.request(complete)).await),
        refused(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_064_thirty_two_clients_of_one_user_whose_keys_clash_do_each_thing_once() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let (clients, steps, keys) = (32, rounds(15, 500), rounds(60, 2_000));
    let mut working = Vec::new();
    for client in 0..clients {
        let ann = Person { channel: sandbox.channel().await, ..ann.clone() };
        working.push(tokio::spawn(async move {
            let mut told = Vec::new();
            for step in 0..steps {
                // Neighbours meet at the same keys; every fifth key is asked for with two bodies.
                let key = (client / 4 * 7 + step * 3) % keys;
                let title = format!("task {key}{}", if key % 5 == 0 && client % 2 == 0 { " another way" } else { "" });
                told.push((key, title.clone(), ann.try_create(&title, &format!("key-{key}")).await));
            }
            told
        }));
    }
    let mut first: BTreeMap<usize, Task> = BTreeMap::new();
    let mut refusals = BTreeSet::new();
    for client in working {
        for (key, title, said) in client.await.unwrap() {
            match said {
                Ok(task) => {
                    assert_eq!(task.title, title);
                    assert_eq!(*first.entry(key).or_insert(task.clone()), task, "one answer for a key");
                }
                said => {
                    assert_eq!(reason(said), refused(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED"));
                    refusals.insert((key, title));
                }
            }
        }
    }
    assert!(!refusals.is_empty(), "some keys clashed");
    for (key, title) in refusals {
        assert_ne!(first[&key].title, title, "the other body had the key");
    }
    let listed: BTreeSet<_> = ann.list().await.into_iter().map(|task| task.id).collect();
    assert_eq!(listed, first.into_values().map(|task| task.id).collect());
    let gaps = sandbox.stored("task", "SELECT max(seq) - count(*) FROM changes").await;
    assert_eq!(gaps, ["0"], "the log has no gap");
}

#[tokio::test]
async fn r_065_a_repetition_after_a_crash_gets_the_first_answer() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    let first = ann.try_create("once", "key-1").await.unwrap();
    sandbox.kill_and_restart();
    let ann = sandbox.log_in("ann@example.com").await.unwrap();
    assert_eq!(ann.try_create("once", "key-1").await.unwrap(), first);
    assert_eq!(ann.list().await.len(), 1);
}

#[tokio::test]
async fn r_066_the_same_key_of_two_users_is_two_keys() {
    let sandbox = Sandbox::start();
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    let (hers, his) = (ann.try_create("hers", "key").await.unwrap(), bob.try_create("his", "key").await.unwrap());
    assert_eq!((hers.title.as_str(), his.title.as_str()), ("hers", "his"));
}

#[tokio::test]
async fn r_067_deleting_twice_is_not_found_and_completing_twice_changes_nothing() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let task_id = ann.create("task").await.id;
    let complete = CompleteTaskRequest { task_id: task_id.clone(), ..Default::default() };
    let first = ann.tasks().complete_task(ann.request(complete.clone())).await.unwrap().into_inner();
    let second = ann.tasks().complete_task(ann.request(complete)).await.unwrap().into_inner();
    assert_eq!(first, second);
    let delete = DeleteTaskRequest { task_id, ..Default::default() };
    ann.tasks().delete_task(ann.request(delete.clone())).await.unwrap();
    assert_eq!(
        reason(ann.tasks().delete_task(ann.request(delete.clone())).await),
        refused(Code::NotFound, "TASK_NOT_FOUND")
    );
    let update = UpdateTaskRequest {
        task: Some(Task { id: delete.task_id, title: "new".into(), ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(
        reason(ann.tasks().update_task(ann.request(update)).await),
        refused(Code::FailedPrecondition, "TASK_DELETED")
    );
}

#[tokio::test]
async fn a_replayed_update_is_the_first_answer_even_after_later_changes() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let task = ann.create("one").await;
    let update = |title: &str, request_id: &str| UpdateTaskRequest {
        task: Some(Task { id: task.id.clone(), title: title.into(), ..Default::default() }),
        request_id: request_id.into(),
        ..Default::default()
    };
    let first = ann.tasks().update_task(ann.request(update("two", "key"))).await.unwrap().into_inner();
    ann.tasks().update_task(ann.request(update("three", ""))).await.unwrap();
    let again = ann.tasks().update_task(ann.request(update("two", "key"))).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert_eq!(ann.titles().await, ["three"]);
}

#[tokio::test]
async fn validate_only_checks_everything_and_changes_nothing() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let task = ann.create("task").await;
    let create = |title: &str| CreateTaskRequest {
        task: Some(Task { title: title.into(), ..Default::default() }),
        validate_only: true,
        ..Default::default()
    };
    ann.tasks().create_task(ann.request(create("another"))).await.unwrap();
    assert_eq!(
        reason(ann.tasks().create_task(ann.request(create(" "))).await),
        refused(Code::InvalidArgument, "INVALID_FIELDS")
    );
    let delete = DeleteTaskRequest { task_id: task.id.clone(), validate_only: true, ..Default::default() };
    ann.tasks().delete_task(ann.request(delete)).await.unwrap();
    let stale =
        DeleteTaskRequest { task_id: task.id.clone(), etag: "stale".into(), validate_only: true, ..Default::default() };
    assert_eq!(reason(ann.tasks().delete_task(ann.request(stale)).await), refused(Code::Aborted, "ETAG_MISMATCH"));
    let send = SendMessageRequest { content: "add milk".into(), validate_only: true, ..Default::default() };
    ann.chat().send_message(ann.request(send)).await.unwrap();
    assert_eq!(ann.list().await, [task]);
}

#[tokio::test]
async fn r_069_a_repeated_message_is_one_message_one_answer_and_one_run_of_each_tool() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    let conversation = CreateConversationRequest { request_id: "conversation".into(), ..Default::default() };
    let conversation_id = ann.chat().create_conversation(ann.request(conversation)).await.unwrap().into_inner().id;
    let send = SendMessageRequest {
        conversation_id: conversation_id.clone(),
        content: "add buy milk".into(),
        request_id: "key".into(),
        ..Default::default()
    };
    let first = ann.chat().send_message(ann.request(send.clone())).await.unwrap().into_inner();
    let second = ann.chat().send_message(ann.request(send.clone())).await.unwrap().into_inner();
    assert_eq!(first, second);
    sandbox.kill_and_restart();
    let ann = sandbox.log_in("ann@example.com").await.unwrap();
    assert_eq!(ann.chat().send_message(ann.request(send.clone())).await.unwrap().into_inner(), first);
    assert_eq!(ann.titles().await, ["buy milk"]);
    let list = ListMessagesRequest { conversation_id, ..Default::default() };
    assert_eq!(ann.chat().list_messages(ann.request(list)).await.unwrap().into_inner().messages.len(), 2);
    let other = SendMessageRequest { content: "add bread".into(), ..send };
    assert_eq!(
        reason(ann.chat().send_message(ann.request(other)).await),
        refused(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED")
    );
}
