//! One task at a time: its life, its rules, requests and lists.

use std::collections::BTreeSet;

use errand_proto::{
    status::error_info,
    task::{
        CompleteTaskRequest, CreateTaskRequest, GetTaskRequest, ListTasksRequest, Priority, ReopenTaskRequest, Task,
    },
};
use prost_types::Timestamp;
use tokio::task::JoinSet;
use tonic::Code;

use crate::{
    complete, delete, refusal, titled, undelete, update, violations,
    world::{User, World},
};

async fn list(user: &User, request: ListTasksRequest) -> Vec<Task> {
    let (mut tasks, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = user.list(ListTasksRequest { page_token, ..request.clone() }).await.unwrap();
        tasks.extend(page.tasks);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return tasks;
        }
    }
}

#[tokio::test]
async fn a_task_lives_from_creation_to_undeletion() {
    let world = World::new().await;
    let user = world.user(1);
    let due_time = Some(Timestamp { seconds: 253_402_300_799, nanos: 999_999_999 });
    let asked = Task {
        title: "Buy milk".into(),
        description: "two\nlitres".into(),
        priority: Priority::High.into(),
        due_time,
        labels: vec!["home".into(), "food".into()],
        completed: true,
        id: "mine".into(),
        ..Default::default()
    };
    let made = user.create(CreateTaskRequest { task: Some(asked), ..Default::default() }).await.unwrap();
    assert!(!made.completed && made.id != "mine", "what is read-only is not read");
    assert_eq!(made.due_time, Some(Timestamp { seconds: 253_402_300_799, nanos: 999_999_000 }));
    assert_eq!((made.priority(), made.labels.len(), made.etag.as_str()), (Priority::High, 2, "1"));
    assert_eq!(user.get(&made.id).await.unwrap(), made);

    world.tick();
    let renamed = Task { title: "Buy oat milk".into(), priority: 0, id: made.id.clone(), ..Default::default() };
    let updated = user.update(update(renamed, &["title", "due_time", "priority"])).await.unwrap();
    assert_eq!((updated.title.as_str(), updated.due_time, updated.priority()), ("Buy oat milk", None, Priority::None));
    assert_eq!((&updated.description, &updated.labels), (&made.description, &made.labels));
    assert_ne!((&updated.etag, updated.update_time), (&made.etag, made.update_time));

    let done = user.complete(complete(&made)).await.unwrap();
    assert!(done.completed && done.complete_time.is_some());
    let open = user.reopen(ReopenTaskRequest { task_id: made.id.clone(), ..Default::default() }).await.unwrap();
    assert!(!open.completed && open.complete_time.is_none());

    let deleted = user.delete(delete(&made)).await.unwrap();
    assert!(deleted.delete_time.is_some());
    assert_eq!(user.get(&made.id).await.unwrap(), deleted, "a deleted task is still answered");
    assert_eq!(list(&user, ListTasksRequest::default()).await, []);
    let back = user.undelete(undelete(&made)).await.unwrap();
    assert_eq!(back.delete_time, None);
    assert_eq!(list(&user, ListTasksRequest::default()).await, [back]);
}

#[tokio::test]
async fn r_067_delete_twice_is_not_found_and_complete_twice_changes_nothing() {
    let world = World::new().await;
    let user = world.user(1);
    let task = user.create(titled("x")).await.unwrap();
    let done = user.complete(complete(&task)).await.unwrap();
    world.tick();
    assert_eq!(user.complete(complete(&task)).await.unwrap(), done);
    assert_eq!(refusal(user.undelete(undelete(&task)).await), (Code::AlreadyExists, "TASK_NOT_DELETED".into()));
    user.delete(delete(&task)).await.unwrap();
    assert_eq!(refusal(user.delete(delete(&task)).await), (Code::NotFound, "TASK_NOT_FOUND".into()));
    let deleted = (Code::FailedPrecondition, "TASK_DELETED".to_owned());
    assert_eq!(refusal(user.complete(complete(&task)).await), deleted);
    assert_eq!(refusal(user.update(update(task.clone(), &["title"])).await), deleted);
}

#[tokio::test]
async fn r_035_another_users_task_answers_as_one_that_does_not_exist() {
    let world = World::new().await;
    let (user, other) = (world.user(1), world.user(2));
    let task = user.create(titled("secret")).await.unwrap();
    let nobodys = Task { id: "01890000-0000-7000-8000-00000000000a".into(), ..task.clone() };
    let told = async |user: &User, task: &Task| {
        let statuses = [
            user.get(&task.id).await.unwrap_err(),
            user.update(update(task.clone(), &["title"])).await.unwrap_err(),
            user.complete(complete(task)).await.unwrap_err(),
            user.reopen(ReopenTaskRequest { task_id: task.id.clone(), ..Default::default() }).await.unwrap_err(),
            user.delete(delete(task)).await.unwrap_err(),
            user.undelete(undelete(task)).await.unwrap_err(),
        ];
        statuses.map(|status| {
            let info = error_info(&status).unwrap();
            let metadata: Vec<_> =
                info.metadata.into_iter().map(|(key, value)| (key, value.replace(&task.id, "ID"))).collect();
            (status.code(), status.message().replace(&task.id, "ID"), info.reason, metadata)
        })
    };
    let answers = told(&other, &task).await;
    assert_eq!(answers, told(&other, &nobodys).await);
    assert!(answers.iter().all(|answer| (answer.0, answer.2.as_str()) == (Code::NotFound, "TASK_NOT_FOUND")));
    assert_eq!(user.get(&task.id).await.unwrap(), task);
    assert_eq!(list(&other, ListTasksRequest { show_deleted: true, ..Default::default() }).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn r_064_fifty_equal_creates_at_once_make_one_task() {
    let world = World::new().await;
    let user = world.user(1);
    let request = CreateTaskRequest { request_id: "key-1".into(), ..titled("once") };
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (user, request) = (user.clone(), request.clone());
        calls.spawn(async move { user.create(request).await.unwrap() });
    }
    let answers = calls.join_all().await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(list(&user, ListTasksRequest::default()).await.len(), 1);

    let reused = (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED".to_owned());
    let other = CreateTaskRequest { request_id: "key-1".into(), ..titled("other") };
    assert_eq!(refusal(user.create(other.clone()).await), reused);
    let method = CompleteTaskRequest { request_id: "key-1".into(), ..complete(&answers[0]) };
    assert_eq!(refusal(user.complete(method).await), reused);
    // R-066: the key of another user is another key.
    assert_eq!(world.user(2).create(other).await.unwrap().title, "other");
}

#[tokio::test]
async fn a_retry_gets_the_first_answer_whatever_happened_since() {
    let world = World::new().await;
    let user = world.user(1);
    let task = user.create(titled("x")).await.unwrap();
    let request = CompleteTaskRequest { request_id: "r".into(), etag: task.etag.clone(), ..complete(&task) };
    let first = user.complete(request.clone()).await.unwrap();
    user.delete(delete(&task)).await.unwrap();
    assert_eq!(user.complete(request).await.unwrap(), first, "neither etag nor deletion is asked");
    let again = CompleteTaskRequest { request_id: "r2".into(), ..complete(&task) };
    assert_eq!(refusal(user.complete(again.clone()).await).1, "TASK_DELETED");
    user.undelete(undelete(&task)).await.unwrap();
    let done = user.complete(again.clone()).await.unwrap();
    assert!(done.completed, "a refusal is not remembered");
    user.reopen(ReopenTaskRequest { task_id: task.id.clone(), ..Default::default() }).await.unwrap();
    assert_eq!(user.complete(again).await.unwrap(), done, "a call that changed nothing is remembered");
}

#[tokio::test]
async fn validate_only_checks_everything_and_changes_nothing() {
    let world = World::new().await;
    let user = world.user(1);
    let draft = user.create(CreateTaskRequest { validate_only: true, ..titled("x") }).await.unwrap();
    assert_eq!((draft.id.as_str(), draft.etag.as_str(), draft.title.as_str()), ("", "", "x"));
    assert_eq!(list(&user, ListTasksRequest::default()).await, []);

    let request = CreateTaskRequest { request_id: "r".into(), ..titled("x") };
    let check = CreateTaskRequest { validate_only: true, ..request.clone() };
    assert_eq!(user.create(check.clone()).await.unwrap().id, "", "a check is not remembered");
    let task = user.create(request).await.unwrap();
    assert_eq!(user.create(check.clone()).await.unwrap(), task, "this is what it would answer now");
    let other = CreateTaskRequest { task: titled("y").task, ..check };
    assert_eq!(refusal(user.create(other).await).1, "IDEMPOTENCY_KEY_REUSED");

    let check = CompleteTaskRequest { validate_only: true, ..complete(&task) };
    let would = user.complete(check.clone()).await.unwrap();
    assert_eq!((would.completed, would.etag.as_str(), &would.id), (true, "", &task.id));
    assert_eq!(user.get(&task.id).await.unwrap(), task);
    let stale = CompleteTaskRequest { etag: "999".into(), ..check.clone() };
    assert_eq!(refusal(user.complete(stale).await), (Code::Aborted, "ETAG_MISMATCH".into()));
    let unknown = CompleteTaskRequest { task_id: "01890000-0000-7000-8000-00000000000a".into(), ..check };
    assert_eq!(refusal(user.complete(unknown).await).1, "TASK_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn r_072_of_32_updates_with_one_etag_one_wins() {
    let world = World::new().await;
    let user = world.user(1);
    let mut task = user.create(titled("0")).await.unwrap();
    for round in 0..20 {
        let mut calls = JoinSet::new();
        for number in 0..32 {
            let task = Task { title: format!("{round}/{number}"), ..task.clone() };
            let user = user.clone();
            calls.spawn(async move { user.update(update(task, &["title"])).await });
        }
        let (won, lost): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 31));
        assert!(lost.into_iter().all(|lost| refusal(lost) == (Code::Aborted, "ETAG_MISMATCH".into())));
        task = user.get(&task.id).await.unwrap();
        assert_eq!(won[0].as_ref().unwrap(), &task);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_updates_without_an_etag_all_succeed_and_none_loses_a_field() {
    let world = World::new().await;
    let user = world.user(1);
    let task = user.create(titled("0")).await.unwrap();
    let mut calls = JoinSet::new();
    for number in 0..32 {
        let user = user.clone();
        let (title, description) = (format!("t{number}"), format!("d{number}"));
        let task = Task { id: task.id.clone(), title, description, ..Default::default() };
        let path = if number % 2 == 0 { "title" } else { "description" };
        calls.spawn(async move { user.update(update(task, &[path])).await.unwrap() });
    }
    let etags: BTreeSet<_> = calls.join_all().await.into_iter().map(|task| task.etag).collect();
    assert_eq!(etags.len(), 32);
    let task = user.get(&task.id).await.unwrap();
    assert!(task.title.starts_with('t') && task.description.starts_with('d') && task.etag == "21", "{task:?}");
}

#[tokio::test]
async fn r_046_r_055_r_057_r_058_what_is_wrong_is_told_by_field() {
    let world = World::new().await;
    let user = world.user(1);
    let task = user.create(titled("x")).await.unwrap();
    let one = |field: &str, reason: &str| vec![(field.to_owned(), reason.to_owned())];
    assert!(user.create(titled(&"😀".repeat(200))).await.is_ok());
    assert_eq!(violations(user.create(titled(&"😀".repeat(201))).await), one("task.title", "TOO_LONG"));
    assert_eq!(violations(user.create(titled(" \u{2003} ")).await), one("task.title", "REQUIRED"));
    assert_eq!(violations(user.create(titled("a\0")).await), one("task.title", "INVALID_FORMAT"));
    assert_eq!(violations(user.create(CreateTaskRequest::default()).await), one("task", "REQUIRED"));

    for (path, reason) in
        [("id", "READ_ONLY"), ("create_time", "READ_ONLY"), ("owner", "UNKNOWN_FIELD"), ("*", "UNKNOWN_FIELD")]
    {
        assert_eq!(violations(user.update(update(task.clone(), &[path])).await), one("updateMask", reason));
    }
    let flood = vec!["title"; 10_000];
    assert_eq!(violations(user.update(update(task.clone(), &flood)).await), one("updateMask", "TOO_MANY"));

    for id in ["", "x", "01890000-0000-7000-8000-00000000000A", "{01890000-0000-7000-8000-00000000000a}"] {
        assert_eq!(violations(user.get(id).await).len(), 1, "{id}");
        let nameless = Task { id: id.into(), ..task.clone() };
        assert_eq!(violations(user.update(update(nameless, &["title"])).await)[0].0, "task.id");
    }
    for time in [(-62_135_596_801, 0), (253_402_300_800, 0), (0, -1), (0, 1_000_000_000)] {
        let due_time = Some(Timestamp { seconds: time.0, nanos: time.1 });
        let task = Some(Task { title: "x".into(), due_time, ..Default::default() });
        let answer = user.create(CreateTaskRequest { task, ..Default::default() }).await;
        assert_eq!(violations(answer), one("task.dueTime", "OUT_OF_RANGE"));
        let answer = user.list(ListTasksRequest { due_before: due_time, ..Default::default() }).await;
        assert_eq!(violations(answer), one("dueBefore", "OUT_OF_RANGE"));
    }
    let answer = user.list(ListTasksRequest { order_by: "title".into(), ..Default::default() }).await;
    assert_eq!(violations(answer), one("orderBy", "UNKNOWN_VALUE"));
    assert_eq!(user.get(&task.id).await.unwrap(), task);
}

#[tokio::test]
async fn r_037_an_owner_in_the_message_is_not_read() {
    let world = World::new().await;
    let (user, other) = (world.user(1), world.user(2));
    let task = user.create(titled("x")).await.unwrap();
    // The id of another's task makes no difference to a new one.
    let copy = CreateTaskRequest { task: Some(task.clone()), ..Default::default() };
    let copied = other.create(copy).await.unwrap();
    assert_ne!(copied.id, task.id);
    assert_eq!(user.get(&task.id).await.unwrap(), task);
}

#[tokio::test]
async fn r_053_r_054_pages_have_the_size_asked_for_and_tokens_fit_one_list_only() {
    let world = World::new().await;
    let (user, other) = (world.user(1), world.user(2));
    for number in 0..60 {
        world.tick();
        user.create(titled(&format!("task {number}"))).await.unwrap();
    }
    let size = async |page_size| {
        user.list(ListTasksRequest { page_size, ..Default::default() }).await.map(|page| page.tasks.len())
    };
    assert_eq!([size(0).await.unwrap(), size(1).await.unwrap(), size(i32::MAX).await.unwrap()], [50, 1, 60]);
    assert_eq!(violations(size(-1).await), [("pageSize".to_owned(), "OUT_OF_RANGE".to_owned())]);
    assert_eq!(violations(size(i32::MIN).await).len(), 1);

    let newest = ListTasksRequest { order_by: "create_time desc".into(), page_size: 7, ..Default::default() };
    let titles: Vec<_> = list(&user, newest.clone()).await.into_iter().map(|task| task.title).collect();
    assert_eq!(titles, (0..60).rev().map(|number| format!("task {number}")).collect::<Vec<_>>());

    let page_token = user.list(newest.clone()).await.unwrap().next_page_token;
    let next = ListTasksRequest { page_token: page_token.clone(), ..newest.clone() };
    let larger = user.list(ListTasksRequest { page_size: 9, ..next.clone() }).await.unwrap();
    assert_eq!((larger.tasks.len(), larger.tasks[0].title.as_str()), (9, "task 52"));
    let invalid = (Code::InvalidArgument, "PAGE_TOKEN_INVALID".to_owned());
    assert_eq!(refusal(other.list(next.clone()).await), invalid);
    for changed in [
        ListTasksRequest { order_by: "create_time".into(), ..next.clone() },
        ListTasksRequest { completed: Some(false), ..next.clone() },
        ListTasksRequest { show_deleted: true, ..next.clone() },
        ListTasksRequest { page_token: page_token[1..].to_owned(), ..next.clone() },
        ListTasksRequest { page_token: "x".into(), ..next.clone() },
    ] {
        assert_eq!(refusal(user.list(changed).await), invalid);
    }
}

#[tokio::test]
async fn r_056_what_looks_like_sql_is_text() {
    let world = World::new().await;
    let user = world.user(1);
    let nasty = ["'; DROP TABLE tasks; --", "100%", "a_b", "\"quoted\" OR 1=1", "\\", "a\u{301}*"];
    for text in nasty {
        let task = Some(Task { title: text.into(), labels: vec![text.into()], ..Default::default() });
        user.create(CreateTaskRequest { task, ..Default::default() }).await.unwrap();
    }
    for text in nasty {
        let labelled = list(&user, ListTasksRequest { label: text.into(), ..Default::default() }).await;
        assert_eq!(labelled.iter().map(|task| task.title.as_str()).collect::<Vec<_>>(), [text]);
        let found = list(&user, ListTasksRequest { query: text.into(), ..Default::default() }).await;
        assert_eq!(found.iter().map(|task| task.title.as_str()).collect::<Vec<_>>(), [text]);
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let mut world = World::new().await;
    let request = CreateTaskRequest { request_id: "r".into(), ..titled("kept") };
    let task = world.user(1).create(request.clone()).await.unwrap();
    let token = world.user(1).list(ListTasksRequest { page_size: 1, ..Default::default() }).await.unwrap();
    assert_eq!(token.next_page_token, "");
    world.restart().await;
    assert_eq!(world.user(1).get(&task.id).await.unwrap(), task);
    // R-065: a key is known after a restart, too.
    assert_eq!(world.user(1).create(request).await.unwrap(), task);
}

#[tokio::test]
async fn r_033_a_token_for_reading_can_not_write() {
    let world = World::new().await;
    let reader = world.user_with(1, "tasks:read");
    assert_eq!(refusal(reader.create(titled("x")).await), (Code::PermissionDenied, "SCOPE_MISSING".into()));
    assert!(reader.list(ListTasksRequest::default()).await.is_ok());
    let request = GetTaskRequest { task_id: "01890000-0000-7000-8000-00000000000a".into() };
    assert_eq!(refusal(reader.get(&request.task_id).await).1, "TASK_NOT_FOUND");
}

#[tokio::test]
async fn r_047_no_text_with_u_0000_reaches_a_store() {
    let world = World::new().await;
    let user = world.user(1);
    let made = user.create(titled("x")).await.unwrap();
    let bad = || "a\0b".to_owned();
    let invalid = |path: &str| [(path.to_owned(), "INVALID_FORMAT".to_owned())];
    let parts = [
        ("title", Task { title: bad(), ..Default::default() }),
        ("description", Task { title: "x".into(), description: bad(), ..Default::default() }),
        ("labels[1]", Task { title: "x".into(), labels: vec!["home".into(), bad()], ..Default::default() }),
    ];
    for (field, task) in parts {
        let create = CreateTaskRequest { task: Some(task.clone()), ..Default::default() };
        assert_eq!(violations(user.create(create).await), invalid(&format!("task.{field}")));
        let changed = Task { id: made.id.clone(), ..task };
        let answer = user.update(update(changed, &["title", "description", "labels"])).await;
        assert_eq!(violations(answer), invalid(&format!("task.{field}")));
    }
    let named = CreateTaskRequest { request_id: bad(), ..titled("x") };
    assert_eq!(violations(user.create(named).await), invalid("requestId"));
    let labelled = ListTasksRequest { label: bad(), ..Default::default() };
    assert_eq!(violations(user.list(labelled).await), invalid("label"));
    for text in [bad(), "\0".to_owned()] {
        // Compared or searched here, and never sent to a store.
        let searched = ListTasksRequest { query: text.clone(), ..Default::default() };
        assert_eq!(user.list(searched).await.unwrap().tasks, []);
        let stale = CompleteTaskRequest { etag: text.clone(), ..complete(&made) };
        assert_eq!(refusal(user.complete(stale).await), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
        let unknown = ListTasksRequest { page_token: text.clone(), ..Default::default() };
        assert_eq!(refusal(user.list(unknown).await), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".to_owned()));
    }
    assert_eq!(list(&user, ListTasksRequest::default()).await, [made]);
}
