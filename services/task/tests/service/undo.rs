//! Taking changes back through the service.

use errand_chassis::access::TURN_HEADER;
use errand_proto::task::{
    BatchDeleteTasksRequest, Change, ChangeKind, ChangeRange, ListChangesRequest, ListTasksRequest, Task,
    UndoChangesRequest, UndoChangesResponse, undo_changes_request::Selection,
};
use jiff::SignedDuration;
use prost_types::value::Kind;
use tonic::{Code, Request, Status};

use crate::{
    batches::{create_all, version},
    refusal, titled, update, violations,
    world::{User, World},
};

const TURN: &str = "01890000-0000-7000-8000-000000000001";

fn turn(id: &str) -> UndoChangesRequest {
    UndoChangesRequest { selection: Some(Selection::TurnId(id.to_owned())), ..Default::default() }
}

fn range(first: &Change, last: &Change) -> UndoChangesRequest {
    let range = ChangeRange { first_cursor: first.cursor.clone(), last_cursor: last.cursor.clone() };
    UndoChangesRequest { selection: Some(Selection::Range(range)), ..Default::default() }
}

async fn undo(user: &User, request: UndoChangesRequest) -> Result<UndoChangesResponse, Status> {
    Ok(user.client().undo_changes(user.signed(request)).await?.into_inner())
}

/// As the assistant does it, in a turn.
fn in_turn<T>(mut request: Request<T>) -> Request<T> {
    request.metadata_mut().insert(TURN_HEADER, TURN.parse().unwrap());
    request
}

async fn delete_in_turn(user: &User, tasks: &[Task]) {
    let request = BatchDeleteTasksRequest { requests: tasks.iter().map(version).collect(), ..Default::default() };
    user.client().batch_delete_tasks(in_turn(user.signed(request))).await.unwrap();
}

async fn changes(user: &User) -> Vec<Change> {
    let request = ListChangesRequest { page_size: 200, ..Default::default() };
    user.client().list_changes(user.signed(request)).await.unwrap().into_inner().changes
}

async fn count(user: &User) -> usize {
    user.list(ListTasksRequest { page_size: 200, ..Default::default() }).await.unwrap().tasks.len()
}

#[tokio::test]
async fn one_call_brings_back_all_that_a_turn_deleted() {
    let world = World::new().await;
    let user = world.user(1);
    let made = create_all(&user, 50).await;
    delete_in_turn(&user, &made).await;
    assert_eq!(count(&user).await, 0);

    let preview = undo(&user, UndoChangesRequest { validate_only: true, ..turn(TURN) }).await.unwrap();
    assert_eq!((preview.tasks.len(), preview.conflicts.len(), count(&user).await), (50, 0, 0));
    assert!(preview.tasks.iter().all(|task| task.delete_time.is_none() && task.etag.is_empty()));

    let request = UndoChangesRequest { request_id: "u".into(), ..turn(TURN) };
    let done = undo(&user, request.clone()).await.unwrap();
    assert_eq!((done.tasks.len(), count(&user).await), (50, 50));
    assert_eq!(undo(&user, request).await.unwrap(), done, "a repetition gets the first answer");
    assert_eq!(undo(&user, turn(TURN)).await.unwrap(), UndoChangesResponse::default(), "nothing is left");

    // The undo is a change like any other, and can be taken back.
    let log = changes(&user).await;
    let (first, last) = (&log[100], &log[149]);
    assert_eq!((first.kind(), last.kind(), log.len()), (ChangeKind::Undeleted, ChangeKind::Undeleted, 150));
    undo(&user, range(first, last)).await.unwrap();
    assert_eq!(count(&user).await, 0);
}

#[tokio::test]
async fn what_somebody_else_wrote_stays_and_is_reported() {
    let world = World::new().await;
    let user = world.user(1);
    let task = user.create(titled("milk")).await.unwrap();
    let renamed = Task { title: "oat milk".into(), description: "two".into(), ..task.clone() };
    let request = in_turn(user.signed(update(renamed, &["title", "description"])));
    user.client().update_task(request).await.unwrap();
    user.update(update(Task { title: "mine".into(), id: task.id.clone(), ..Default::default() }, &["title"]))
        .await
        .unwrap();
    let request = UndoChangesRequest { request_id: "u".into(), ..turn(TURN) };
    let done = undo(&user, request.clone()).await.unwrap();
    assert_eq!((done.tasks[0].title.as_str(), done.tasks[0].description.as_str()), ("mine", ""));
    let [conflict] = done.conflicts.as_slice() else { panic!("{done:?}") };
    let text = |text: &str| Some(Kind::StringValue(text.to_owned()));
    assert_eq!((conflict.task_id.as_str(), conflict.field.as_str()), (task.id.as_str(), "title"));
    assert_eq!(conflict.ours.clone().unwrap().kind, text("milk"));
    assert_eq!(conflict.theirs.clone().unwrap().kind, text("mine"));
    assert_eq!(undo(&user, request).await.unwrap(), done, "the conflicts are part of the answer that is kept");
}

#[tokio::test]
async fn what_can_not_be_selected_is_refused() {
    let world = World::new().await;
    let user = world.user(1);
    let made = create_all(&user, 2).await;
    delete_in_turn(&user, &made).await;
    let log = changes(&user).await;
    let missing = (Code::NotFound, "CHANGES_NOT_FOUND".to_owned());
    assert_eq!(refusal(undo(&user, turn("01890000-0000-7000-8000-00000000ffff")).await), missing);
    assert_eq!(refusal(undo(&world.user(2), turn(TURN)).await), missing, "another owner's turn is unknown");
    let expired = (Code::FailedPrecondition, "CURSOR_EXPIRED".to_owned());
    assert_eq!(refusal(undo(&world.user(2), range(&log[0], &log[1])).await), expired);

    let field = |name: &str, reason: &str| [(name.to_owned(), reason.to_owned())];
    assert_eq!(violations(undo(&user, UndoChangesRequest::default()).await), field("turnId", "REQUIRED"));
    assert_eq!(violations(undo(&user, turn("x")).await), field("turnId", "INVALID_FORMAT"));
    let bad = Change { cursor: "x".into(), ..log[0].clone() };
    assert_eq!(violations(undo(&user, range(&bad, &log[1])).await), field("range.firstCursor", "INVALID_FORMAT"));
    assert_eq!(violations(undo(&user, range(&log[1], &log[0])).await), field("range.lastCursor", "OUT_OF_RANGE"));

    world.clock.advance(SignedDuration::from_hours(30 * 24 + 1));
    assert_eq!(refusal(undo(&world.user(1), turn(TURN)).await), missing, "the window is 30 days");
}

#[tokio::test]
async fn r_076_an_undo_beside_other_writers_is_whole() {
    let world = World::new().await;
    let user = world.user(1);
    let made = create_all(&user, 20).await;
    delete_in_turn(&user, &made).await;
    let undoing = {
        let user = user.clone();
        tokio::spawn(async move { undo(&user, turn(TURN)).await })
    };
    let mut others = tokio::task::JoinSet::new();
    for number in 0..20 {
        let user = user.clone();
        others.spawn(async move { user.create(titled(&format!("other {number}"))).await.unwrap() });
    }
    others.join_all().await;
    assert_eq!(undoing.await.unwrap().unwrap().tasks.len(), 20);
    assert_eq!(count(&user).await, 40);
}
