//! One call takes back what the assistant did, seen live in a second client.

use errand_proto::task::{
    Actor, Change, ChangeKind, ChangeRange, ListChangesRequest, ListTasksRequest, UndoChangesRequest,
    UndoChangesResponse, WatchTasksRequest, undo_changes_request::Selection, watch_tasks_response::Event,
};
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use crate::{
    batch::{create_all, delete_all},
    sandbox::{Person, Sandbox, reason, refused},
};

async fn undo(person: &Person, request: UndoChangesRequest) -> Result<UndoChangesResponse, Status> {
    Ok(person.tasks().undo_changes(person.request(request)).await?.into_inner())
}

fn turn(id: &str) -> UndoChangesRequest {
    UndoChangesRequest { selection: Some(Selection::TurnId(id.to_owned())), ..Default::default() }
}

fn range(first: &Change, last: &Change) -> UndoChangesRequest {
    let range = ChangeRange { first_cursor: first.cursor.clone(), last_cursor: last.cursor.clone() };
    UndoChangesRequest { selection: Some(Selection::Range(range)), ..Default::default() }
}

async fn changes(person: &Person, turn_id: &str) -> Vec<Change> {
    let (mut changes, mut cursor) = (Vec::new(), String::new());
    loop {
        let request = ListChangesRequest { cursor, turn_id: turn_id.to_owned(), ..Default::default() };
        let page = person.tasks().list_changes(person.request(request)).await.unwrap().into_inner();
        changes.extend(page.changes);
        cursor = page.next_cursor;
        if !page.more {
            return changes;
        }
    }
}

#[tokio::test]
async fn what_a_turn_did_is_found_in_the_log_and_taken_back_by_its_id() {
    let sandbox = Sandbox::start();
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    ann.create("mine").await;
    ann.say("", "add buy milk").await;
    let log = changes(&ann, "").await;
    let [_, by_assistant] = log.as_slice() else { panic!("{log:?}") };
    assert_eq!((by_assistant.actor(), by_assistant.kind()), (Actor::Assistant, ChangeKind::Created));
    let id = &by_assistant.turn_id;
    assert_eq!(changes(&ann, id).await, std::slice::from_ref(by_assistant));
    assert_eq!(changes(&bob, id).await, []);
    assert_eq!(reason(undo(&bob, turn(id)).await), refused(Code::NotFound, "CHANGES_NOT_FOUND"));
    let done = undo(&ann, turn(id)).await.unwrap();
    assert_eq!((done.tasks.len(), done.conflicts.len()), (1, 0));
    assert_eq!(ann.titles().await, ["mine"]);
}

#[tokio::test]
async fn fifty_tasks_deleted_come_back_with_one_call_while_another_client_watches_through_a_restart() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    let made = create_all(&ann, 50).await;
    let request = ann.request(ListTasksRequest::default());
    let mut cursor = ann.tasks().list_tasks(request).await.unwrap().into_inner().watch_cursor;
    delete_all(&ann, &made).await;
    assert_eq!(ann.list().await, []);

    let mut seen = Vec::new();
    for (restart, until) in [(true, 20), (true, 70), (false, 100)] {
        let ann = sandbox.log_in("ann@example.com").await.unwrap();
        if seen.len() == 20 {
            let log = changes(&ann, "").await;
            let preview = UndoChangesRequest { validate_only: true, ..range(&log[50], &log[99]) };
            assert_eq!(undo(&ann, preview).await.unwrap().tasks.len(), 50);
            assert_eq!(ann.list().await, [], "a preview changes nothing");
            let request = UndoChangesRequest { request_id: "undo".into(), ..range(&log[50], &log[99]) };
            let done = undo(&ann, request.clone()).await.unwrap();
            assert_eq!((done.tasks.len(), done.conflicts.len()), (50, 0));
            assert_eq!(undo(&ann, request).await.unwrap(), done);
        }
        let request = ann.request(WatchTasksRequest { cursor: cursor.clone() });
        let mut stream = ann.tasks().watch_tasks(request).await.unwrap().into_inner();
        while seen.len() < until {
            let Some(Event::Change(change)) = stream.next().await.unwrap().unwrap().event else { panic!() };
            cursor = change.cursor.clone();
            seen.push((change.kind(), change.task_id));
        }
        if restart {
            sandbox.kill_and_restart();
        }
    }
    let expected = [ChangeKind::Deleted, ChangeKind::Undeleted]
        .into_iter()
        .flat_map(|kind| made.iter().map(move |task| (kind, task.id.clone())));
    assert_eq!(seen, expected.collect::<Vec<_>>());
    let back = sandbox.log_in("ann@example.com").await.unwrap().titles().await;
    assert_eq!(back, made.into_iter().map(|task| task.title).collect::<Vec<_>>());
}
