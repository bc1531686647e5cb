//! Many tasks in one call: all or nothing, also against each other and over crashes.

use errand_proto::task::{
    BatchCompleteTasksRequest, BatchCreateTasksRequest, BatchDeleteTasksRequest, NewTask, Task, TaskVersion,
};
use tonic::{Code, Status};

use crate::sandbox::{Person, Sandbox, reason, refusal, refused, rounds};

fn new(title: String) -> NewTask {
    NewTask { task: Some(Task { title, ..Default::default() }) }
}

fn version(task: &Task) -> TaskVersion {
    TaskVersion { task_id: task.id.clone(), etag: task.etag.clone() }
}

async fn try_create(person: &Person, count: usize, request_id: &str) -> Result<Vec<Task>, Status> {
    let requests = (0..count).map(|number| new(format!("task {number}"))).collect();
    let request = BatchCreateTasksRequest { requests, request_id: request_id.to_owned(), ..Default::default() };
    Ok(person.tasks().batch_create_tasks(person.request(request)).await?.into_inner().tasks)
}

pub(crate) async fn create_all(person: &Person, count: usize) -> Vec<Task> {
    try_create(person, count, "").await.unwrap()
}

async fn try_delete(person: &Person, tasks: &[Task]) -> Result<Vec<Task>, Status> {
    let request = BatchDeleteTasksRequest { requests: tasks.iter().map(version).collect(), ..Default::default() };
    Ok(person.tasks().batch_delete_tasks(person.request(request)).await?.into_inner().tasks)
}

pub(crate) async fn delete_all(person: &Person, tasks: &[Task]) -> Vec<Task> {
    try_delete(person, tasks).await.unwrap()
}

#[tokio::test]
async fn a_thousand_tasks_are_made_and_deleted_in_one_call_each() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let tasks = create_all(&ann, 1000).await;
    assert_eq!(ann.list().await, tasks);
    delete_all(&ann, &tasks).await;
    assert_eq!(ann.list().await, []);
    let requests = (0..1001).map(|number| new(number.to_string())).collect();
    let request = ann.request(BatchCreateTasksRequest { requests, ..Default::default() });
    let answer = refusal(ann.tasks().batch_create_tasks(request).await);
    assert_eq!((answer.reason.as_str(), answer.fields), ("INVALID_FIELDS", vec!["requests".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_064_fifty_equal_batches_at_once_happen_once() {
    let sandbox = Sandbox::start();
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let ann = ann.clone();
            tokio::spawn(async move { try_create(&ann, 20, "key").await.unwrap() })
        })
        .collect();
    let listing = {
        let ann = ann.clone();
        tokio::spawn(async move { ann.list().await.len() })
    };
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    assert!([0, 20].contains(&listing.await.unwrap()), "a list sees all of a batch or nothing");
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(ann.list().await, answers[0]);
    let reused = refused(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(reason(try_create(&ann, 21, "key").await), reused);
    // the key of another user is another key.
    assert_eq!(try_create(&bob, 21, "key").await.unwrap().len(), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_072_of_many_batches_with_the_same_etags_one_wins() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    for _ in 0..rounds(5, 50) {
        let tasks = create_all(&ann, 10).await;
        let calls: Vec<_> = (0..16)
            .map(|number| {
                let (ann, mut tasks) = (ann.clone(), tasks.clone());
                tokio::spawn(async move {
                    // In another order each, so that they would meet in the middle.
                    tasks.rotate_left(number % 10);
                    let requests = tasks.iter().map(version).collect();
                    let request = BatchCompleteTasksRequest { requests, ..Default::default() };
                    ann.tasks().batch_complete_tasks(ann.request(request)).await.map(|answer| answer.into_inner().tasks)
                })
            })
            .collect();
        let mut won = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(done) => {
                    assert!(done.iter().all(|task| task.completed));
                    won += 1;
                }
                answer => assert_eq!(reason(answer), refused(Code::Aborted, "ETAG_MISMATCH")),
            }
        }
        assert_eq!(won, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_104_a_batch_that_a_crash_interrupts_is_whole_or_not_there() {
    let mut sandbox = Sandbox::start();
    sandbox.sign_up_as("ann@example.com").await.unwrap();
    let mut acknowledged = 0;
    for round in 0..rounds(4, 40) {
        let ann = sandbox.log_in("ann@example.com").await.unwrap();
        let writer = {
            let ann = ann.clone();
            tokio::spawn(async move {
                for number in 0.. {
                    if try_create(&ann, 100, &format!("{round}.{number}")).await.is_err() {
                        return number;
                    }
                }
                0
            })
        };
        while ann.list().await.len() < acknowledged + 200 + round * 30 {}
        sandbox.kill();
        acknowledged += writer.await.unwrap() * 100;
        sandbox.start_again();
        let ann = sandbox.log_in("ann@example.com").await.unwrap();
        let count = ann.list().await.len();
        assert_eq!(count % 100, 0);
        assert!(count >= acknowledged, "{count} of {acknowledged}");
        acknowledged = count;
    }
}

#[tokio::test]
async fn a_batch_with_somebody_elses_task_is_as_one_with_a_task_that_does_not_exist() {
    let sandbox = Sandbox::start();
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    let mine = create_all(&ann, 2).await;
    let theirs = bob.create("theirs").await;
    let mixed = [mine[0].clone(), theirs.clone(), mine[1].clone()];
    assert_eq!(reason(try_delete(&ann, &mixed).await), refused(Code::NotFound, "TASK_NOT_FOUND"));
    assert_eq!(ann.list().await, mine);
    assert_eq!(bob.list().await, [theirs]);
}
