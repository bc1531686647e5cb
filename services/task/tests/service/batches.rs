//! Many tasks in one call, all or nothing.

use errand_proto::task::{
    BatchCompleteTasksRequest, BatchCreateTasksRequest, BatchDeleteTasksRequest, BatchUpdateTasksRequest,
    ListChangesRequest, ListTasksRequest, NewTask, Task, TaskUpdate, TaskVersion,
};
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::{
    refusal, titled, violations,
    world::{User, World},
};

pub(crate) fn new(title: &str) -> NewTask {
    NewTask { task: Some(Task { title: title.to_owned(), ..Default::default() }) }
}

pub(crate) fn version(task: &Task) -> TaskVersion {
    TaskVersion { task_id: task.id.clone(), etag: task.etag.clone() }
}

pub(crate) async fn create(user: &User, request: BatchCreateTasksRequest) -> Result<Vec<Task>, Status> {
    Ok(user.client().batch_create_tasks(user.signed(request)).await?.into_inner().tasks)
}

pub(crate) async fn create_all(user: &User, count: usize) -> Vec<Task> {
    let requests = (0..count).map(|number| new(&format!("task {number}"))).collect();
    create(user, BatchCreateTasksRequest { requests, ..Default::default() }).await.unwrap()
}

async fn change(user: &User, requests: Vec<TaskUpdate>) -> Result<Vec<Task>, Status> {
    let request = BatchUpdateTasksRequest { requests, ..Default::default() };
    Ok(user.client().batch_update_tasks(user.signed(request)).await?.into_inner().tasks)
}

async fn complete(user: &User, requests: Vec<TaskVersion>) -> Result<Vec<Task>, Status> {
    let request = BatchCompleteTasksRequest { requests, ..Default::default() };
    Ok(user.client().batch_complete_tasks(user.signed(request)).await?.into_inner().tasks)
}

pub(crate) async fn delete(user: &User, requests: Vec<TaskVersion>, request_id: &str) -> Result<Vec<Task>, Status> {
    let request = BatchDeleteTasksRequest { requests, request_id: request_id.to_owned(), ..Default::default() };
    Ok(user.client().batch_delete_tasks(user.signed(request)).await?.into_inner().tasks)
}

async fn count(user: &User) -> usize {
    user.list(ListTasksRequest { page_size: 200, ..Default::default() }).await.unwrap().tasks.len()
}

async fn log_length(user: &User) -> usize {
    let request = ListChangesRequest { page_size: 200, ..Default::default() };
    user.client().list_changes(user.signed(request)).await.unwrap().into_inner().changes.len()
}

#[tokio::test]
async fn a_batch_makes_changes_completes_and_deletes_in_order() {
    let world = World::new().await;
    let user = world.user(1);
    let made = create_all(&user, 3).await;
    assert_eq!(made.iter().map(|task| task.title.as_str()).collect::<Vec<_>>(), ["task 0", "task 1", "task 2"]);
    let mut ids: Vec<_> = made.iter().map(|task| &task.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3);

    let update = |task: &Task, title: &str| TaskUpdate {
        task: Some(Task { title: title.to_owned(), ..task.clone() }),
        update_mask: Some(FieldMask { paths: vec!["title".to_owned()] }),
    };
    let changed = change(&user, vec![update(&made[2], "c"), update(&made[0], "a")]).await.unwrap();
    assert_eq!(changed.iter().map(|task| task.title.as_str()).collect::<Vec<_>>(), ["c", "a"]);
    let done = complete(&user, changed.iter().map(version).collect()).await.unwrap();
    assert!(done.iter().all(|task| task.completed));
    assert_eq!(complete(&user, done.iter().map(version).collect()).await.unwrap(), done, "twice changes nothing");
    let gone = delete(&user, vec![version(&done[0]), version(&made[1])], "").await.unwrap();
    assert!(gone.iter().all(|task| task.delete_time.is_some()));
    assert_eq!((count(&user).await, log_length(&user).await), (1, 3 + 2 + 2 + 2));
}

#[tokio::test]
async fn one_item_that_can_not_be_done_leaves_all_undone() {
    let world = World::new().await;
    let user = world.user(1);
    let made = create_all(&user, 3).await;
    let stale = TaskVersion { etag: "ffff".to_owned(), ..version(&made[2]) };
    let foreign = version(&world.user(2).create(titled("theirs")).await.unwrap());
    for (last, expected) in [(stale, (Code::Aborted, "ETAG_MISMATCH")), (foreign, (Code::NotFound, "TASK_NOT_FOUND"))] {
        let items = vec![version(&made[0]), version(&made[1]), last];
        let expected = (expected.0, expected.1.to_owned());
        assert_eq!(refusal(complete(&user, items.clone()).await), expected);
        assert_eq!(refusal(delete(&user, items, "r").await), expected);
    }
    assert_eq!((count(&user).await, log_length(&user).await), (3, 3));
    // A refusal is not remembered under its request id.
    delete(&user, made.iter().map(version).collect(), "r").await.unwrap();
}

#[tokio::test]
async fn everything_wrong_in_a_batch_is_told_with_its_place() {
    let world = World::new().await;
    let user = world.user(1);
    let requests = vec![new("good"), new(" "), new(&"x".repeat(201)), new("good"), new("")];
    let answer = create(&user, BatchCreateTasksRequest { requests, ..Default::default() }).await;
    assert_eq!(violations(answer), [("requests[2].task.title".to_owned(), "TOO_LONG".to_owned())], "by the contract");
    let requests = vec![new("good"), new(" "), NewTask { task: None }, new("")];
    let answer = create(&user, BatchCreateTasksRequest { requests, ..Default::default() }).await;
    assert_eq!(violations(answer), [("requests[2].task".to_owned(), "REQUIRED".to_owned())]);
    let requests = vec![new("good"), new(" "), new("")];
    let required = |at: &str| (at.to_owned(), "REQUIRED".to_owned());
    let answer = create(&user, BatchCreateTasksRequest { requests, ..Default::default() }).await;
    assert_eq!(violations(answer), [required("requests[1].task.title"), required("requests[2].task.title")]);

    let made = create_all(&user, 2).await;
    let twice = vec![version(&made[0]), version(&made[1]), version(&made[0])];
    let duplicate = |at: &str| [(at.to_owned(), "DUPLICATE".to_owned())];
    assert_eq!(violations(complete(&user, twice.clone()).await), duplicate("requests[2].taskId"));
    assert_eq!(violations(delete(&user, twice, "").await), duplicate("requests[2].taskId"));
    let update = TaskUpdate { task: Some(made[0].clone()), update_mask: None };
    assert_eq!(violations(change(&user, vec![update.clone(), update]).await), duplicate("requests[1].task.id"));
    assert_eq!(violations(complete(&user, vec![]).await), [required("requests")]);
    assert_eq!(count(&user).await, 2);
}

#[tokio::test]
async fn a_batch_has_at_most_1000_items() {
    let world = World::new().await;
    let user = world.user(1);
    let made = create_all(&user, 1000).await;
    let mut items: Vec<_> = made.iter().map(version).collect();
    items.push(version(&user.create(titled("one more")).await.unwrap()));
    let too_many = [("requests".to_owned(), "TOO_MANY".to_owned())];
    assert_eq!(violations(complete(&user, items.clone()).await), too_many);
    items.pop();
    assert_eq!(delete(&user, items, "").await.unwrap().len(), 1000);
    assert_eq!(count(&user).await, 1);
}

#[tokio::test]
async fn r_064_a_repeated_batch_gets_its_first_answer_and_happens_once() {
    let world = World::new().await;
    let user = world.user(1);
    let request =
        BatchCreateTasksRequest { requests: vec![new("a"), new("b")], request_id: "r".into(), validate_only: false };
    let first = create(&user, request.clone()).await.unwrap();
    delete(&user, vec![version(&first[0])], "").await.unwrap();
    assert_eq!(create(&user, request.clone()).await.unwrap(), first);
    let other = BatchCreateTasksRequest { requests: vec![new("a")], ..request };
    assert_eq!(refusal(create(&user, other).await), (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED".into()));
    assert_eq!(refusal(delete(&user, vec![version(&first[1])], "r").await).1, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(count(&user).await, 1);
}

#[tokio::test]
async fn a_batch_that_is_only_checked_changes_nothing() {
    let world = World::new().await;
    let user = world.user(1);
    let request =
        BatchCreateTasksRequest { requests: vec![new("a"), new("b")], validate_only: true, ..Default::default() };
    let would = create(&user, request).await.unwrap();
    assert!(would.iter().all(|task| task.id.is_empty() && task.etag.is_empty()));
    let made = create_all(&user, 2).await;
    let request = BatchDeleteTasksRequest {
        requests: made.iter().map(version).collect(),
        validate_only: true,
        ..Default::default()
    };
    let would = user.client().batch_delete_tasks(user.signed(request)).await.unwrap().into_inner().tasks;
    assert!(would.iter().all(|task| task.delete_time.is_some() && !task.id.is_empty()));
    assert_eq!((count(&user).await, log_length(&user).await), (2, 2));
}
