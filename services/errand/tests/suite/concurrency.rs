//! Battery 2.6: many at once, one winner, nothing lost.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use errand_proto::{
    auth::SignUpRequest,
    chat::{ListMessagesRequest, Role, SendMessageRequest},
    task::{DeleteTaskRequest, GetTaskRequest, Task, UpdateTaskRequest},
};
use tonic::{Code, Status};

use crate::sandbox::{PASSWORD, Person, Sandbox, from_elsewhere, reason, refused, rounds};

/// Runs calls at once and gives their answers in order.
async fn together<T, F>(count: usize, call: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let calls: Vec<_> = (0..count).map(|number| tokio::spawn(call(number))).collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

async fn update(ann: &Person, id: &str, title: &str, etag: &str) -> Result<Task, Status> {
    let task = Task { id: id.to_owned(), title: title.to_owned(), etag: etag.to_owned(), ..Default::default() };
    let request = UpdateTaskRequest { task: Some(task), ..Default::default() };
    Ok(ann.tasks().update_task(ann.request(request)).await?.into_inner())
}

#[tokio::test]
async fn r_070_many_sign_ups_of_one_address_make_one_account() {
    let sandbox = Sandbox::start();
    for round in 0..rounds(3, 500) {
        let channel = sandbox.channel().await;
        let answers = together(32, |_| {
            let mut auth = errand_proto::auth::auth_service_client::AuthServiceClient::new(channel.clone());
            let request = SignUpRequest {
                email: format!("r070-{round}@example.com"),
                password: PASSWORD.into(),
                ..Default::default()
            };
            async move { auth.sign_up(from_elsewhere(request)).await.map(|_| ()) }
        })
        .await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        for answer in answers.into_iter().filter(Result::is_err) {
            let (code, reason) = reason(answer);
            // The sixth asker in a minute is throttled, which tells as little.
            assert!(
                [(Code::AlreadyExists, "EMAIL_TAKEN"), (Code::ResourceExhausted, "TOO_MANY_ATTEMPTS")]
                    .contains(&(code, reason.as_str())),
                "{reason}"
            );
        }
    }
}

#[tokio::test]
async fn r_072_of_many_updates_with_one_etag_one_wins() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let mut task = ann.create("start").await;
    for round in 0..rounds(10, 500) {
        let answers = together(32, |number| {
            let (ann, task) = (ann.clone(), task.clone());
            async move { update(&ann, &task.id, &format!("round {round} by {number}"), &task.etag).await }
        })
        .await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        for answer in lost {
            assert_eq!(reason(answer), refused(Code::Aborted, "ETAG_MISMATCH"));
        }
        let current = ann.list().await.remove(0);
        assert_eq!(current, won.into_iter().next().unwrap().unwrap());
        task = current;
    }
}

#[tokio::test]
async fn r_073_a_counter_that_many_raise_by_etag_loses_nothing() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let task = ann.create("0").await;
    let each = rounds(10, 625);
    together(16, |_| {
        let (ann, id) = (ann.clone(), task.id.clone());
        async move {
            for _ in 0..each {
                loop {
                    let get = GetTaskRequest { task_id: id.clone() };
                    let current = ann.tasks().get_task(ann.request(get)).await.unwrap().into_inner();
                    let next: u32 = current.title.parse::<u32>().unwrap() + 1;
                    match update(&ann, &id, &next.to_string(), &current.etag).await {
                        Ok(_) => break,
                        Err(status) => assert_eq!(status.code(), Code::Aborted),
                    }
                }
            }
        }
    })
    .await;
    assert_eq!(ann.titles().await, [(16 * each).to_string()]);
}

#[tokio::test]
async fn updates_without_an_etag_all_succeed() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let task = ann.create("start").await;
    let answers = together(32, |number| {
        let (ann, id) = (ann.clone(), task.id.clone());
        async move { update(&ann, &id, &format!("by {number}"), "").await }
    })
    .await;
    let etags: BTreeSet<_> = answers.into_iter().map(|answer| answer.unwrap().etag).collect();
    assert_eq!(etags.len(), 32, "each was a change of its own");
}

#[tokio::test]
async fn r_074_a_deleted_task_is_never_resurrected_by_an_update() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    for _ in 0..20 {
        let task = ann.create("here").await;
        let (one, two) = (ann.clone(), ann.clone());
        let (id, other) = (task.id.clone(), task.id.clone());
        let delete = tokio::spawn(async move {
            let request = DeleteTaskRequest { task_id: id, ..Default::default() };
            one.tasks().delete_task(one.request(request)).await
        });
        let updated = tokio::spawn(async move { update(&two, &other, "changed", "").await });
        delete.await.unwrap().unwrap();
        if let Err(status) = updated.await.unwrap() {
            assert_eq!(reason(Err::<(), _>(status)), refused(Code::FailedPrecondition, "TASK_DELETED"));
        }
        assert!(ann.list().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_074_a_list_while_tasks_are_deleted_shows_no_task_that_was_gone_when_it_began() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    for _ in 0..rounds(2, 20) {
        let tasks = together(20, |number| {
            let ann = ann.clone();
            async move { ann.create(&format!("task {number}")).await }
        })
        .await;
        let gone = Arc::new(Mutex::new(BTreeSet::new()));
        let deleting = {
            let (ann, gone) = (ann.clone(), gone.clone());
            tokio::spawn(async move {
                for task in tasks {
                    let request = DeleteTaskRequest { task_id: task.id.clone(), ..Default::default() };
                    ann.tasks().delete_task(ann.request(request)).await.unwrap();
                    gone.lock().unwrap().insert(task.id);
                }
            })
        };
        while !deleting.is_finished() {
            let before = gone.lock().unwrap().clone();
            let listed = ann.list().await;
            assert!(listed.iter().all(|task| task.delete_time.is_none() && !before.contains(&task.id)));
        }
        deleting.await.unwrap();
        assert!(ann.list().await.is_empty());
    }
}

#[tokio::test]
async fn r_075_two_messages_at_once_in_one_conversation_stay_in_order() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let conversation_id = ann.say("", "hello").await.conversation_id;
    let answers = together(8, |number| {
        let ann = ann.clone();
        let request = SendMessageRequest {
            conversation_id: conversation_id.clone(),
            content: format!("add item {number}"),
            ..Default::default()
        };
        async move { ann.chat().send_message(ann.request(request)).await.map(|_| ()) }
    })
    .await;
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
    for answer in answers.into_iter().filter(Result::is_err) {
        assert_eq!(reason(answer), refused(Code::Aborted, "TURN_IN_PROGRESS"));
    }
    assert!(accepted >= 1);
    let list = ListMessagesRequest { conversation_id, page_size: 200, ..Default::default() };
    let messages = ann.chat().list_messages(ann.request(list)).await.unwrap().into_inner().messages;
    assert_eq!(messages.len(), 2 + 2 * accepted);
    assert!(messages.chunks(2).all(|pair| pair[0].role() == Role::User
        && pair[1].role() == Role::Assistant
        && pair[0].turn_id == pair[1].turn_id));
    assert_eq!(ann.list().await.len(), accepted);
}

#[tokio::test]
async fn r_077_sixty_four_writers_at_once_see_only_success() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let answers = together(64, |number| {
        let ann = ann.clone();
        async move {
            for step in 0..5 {
                ann.create(&format!("{number}.{step}")).await;
            }
        }
    })
    .await;
    assert_eq!(answers.len(), 64);
    assert_eq!(ann.list().await.len(), 320);
}
