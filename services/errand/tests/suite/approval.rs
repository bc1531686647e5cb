//! The demo: "delete everything" is stopped, "yes" does it, "undo" brings it all back.

use errand_proto::{
    chat::SendMessageResponse,
    task::{BatchCreateTasksRequest, NewTask, Task, UpdateTaskRequest},
};

use crate::sandbox::{Person, Sandbox};

async fn fill(person: &Person, count: usize) -> Vec<Task> {
    let new = |number| NewTask { task: Some(Task { title: format!("chore {number}"), ..Default::default() }) };
    let request = BatchCreateTasksRequest { requests: (0..count).map(new).collect(), ..Default::default() };
    person.tasks().batch_create_tasks(person.request(request)).await.unwrap().into_inner().tasks
}

fn asks_for(answer: &SendMessageResponse, count: i32, total: i32) {
    let asked = answer.approval_requested.as_ref().unwrap_or_else(|| panic!("{answer:?}"));
    assert_eq!((asked.tool.as_str(), asked.total), ("delete_tasks", total));
    assert_eq!(i32::try_from(asked.affected.len()).unwrap(), count);
    assert!(asked.preview.contains(&format!("{count} of {total} tasks")), "{}", asked.preview);
    assert_eq!((asked.preview.as_str(), asked.hash.len()), (answer.response.as_str(), 64));
    assert!(asked.affected.iter().all(|task| !task.task_id.is_empty() && !task.etag.is_empty()));
}

#[tokio::test]
async fn fifty_tasks_are_deleted_only_after_a_yes_and_one_undo_brings_them_back() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let before = fill(&ann, 50).await;
    let asked = ann.say("", "delete everything").await;
    asks_for(&asked, 50, 50);
    assert_eq!(ann.list().await.len(), 50);

    // The question outlives the process.
    sandbox.kill_and_restart();
    let ann = sandbox.log_in(&ann.user.email).await.unwrap();
    let chat = asked.conversation_id;
    let done = ann.say(&chat, "yes").await;
    assert!(done.response.starts_with("Deleted 50 tasks."), "{}", done.response);
    assert_eq!(done.tool_calls.len(), 1);
    assert!(ann.list().await.is_empty());

    let undone = ann.say(&chat, "undo").await;
    let mut after = ann.list().await;
    assert_eq!(after.len(), 50, "{}", undone.response);
    after.sort_by(|a, b| a.id.cmp(&b.id));
    let titles = |tasks: &[Task]| tasks.iter().map(|task| task.title.clone()).collect::<Vec<_>>();
    let mut before = before;
    before.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(titles(&after), titles(&before));
}

#[tokio::test]
async fn no_deletes_nothing_and_yes_afterwards_neither() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    fill(&ann, 3).await;
    let asked = ann.say("", "delete everything").await;
    asks_for(&asked, 3, 3);
    let chat = asked.conversation_id;
    assert!(ann.say(&chat, "no").await.tool_calls.is_empty());
    ann.say(&chat, "yes").await;
    assert_eq!(ann.list().await.len(), 3);
}

#[tokio::test]
async fn a_task_that_changes_before_the_yes_is_asked_for_again() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let tasks = fill(&ann, 3).await;
    let asked = ann.say("", "delete everything").await;
    let chat = asked.conversation_id;
    let renamed = Task { id: tasks[1].id.clone(), title: "changed meanwhile".to_owned(), ..Default::default() };
    let update = UpdateTaskRequest { task: Some(renamed), ..Default::default() };
    ann.tasks().update_task(ann.request(update)).await.unwrap();
    let again = ann.say(&chat, "yes").await;
    asks_for(&again, 3, 3);
    assert!(again.response.contains("changed meanwhile"), "{}", again.response);
    assert_eq!(ann.list().await.len(), 3, "all or nothing");
    assert!(ann.say(&chat, "yes").await.response.starts_with("Deleted 3 tasks."));
    assert!(ann.list().await.is_empty());
}

#[tokio::test]
async fn completing_more_than_five_tasks_waits_for_a_yes_and_five_do_not() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    fill(&ann, 6).await;
    let asked = ann.say("", "complete everything").await;
    let what = asked.approval_requested.as_ref().unwrap_or_else(|| panic!("{asked:?}"));
    assert_eq!((what.tool.as_str(), what.affected.len()), ("complete_tasks", 6));
    assert!(ann.list().await.iter().all(|task| !task.completed));
    ann.say(&asked.conversation_id, "yes, please").await;
    assert!(ann.list().await.iter().all(|task| task.completed));
    ann.say(&asked.conversation_id, "undo that").await;
    assert!(ann.list().await.iter().all(|task| !task.completed));
}
