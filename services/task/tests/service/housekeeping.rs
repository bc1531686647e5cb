//! What is let go in time, with a clock that is moved.

use errand_proto::task::{Change, ChangeKind, ListChangesRequest, ListChangesResponse, Task};
use jiff::SignedDuration;
use tonic::{Code, Status};

use crate::{
    complete, delete, refusal, titled, update,
    world::{User, World},
};

const DAY: SignedDuration = SignedDuration::from_hours(24);

async fn changes(user: &User, cursor: &str, page_size: i32) -> Result<ListChangesResponse, Status> {
    let request = ListChangesRequest { cursor: cursor.to_owned(), page_size, ..Default::default() };
    Ok(user.client().list_changes(user.signed(request)).await?.into_inner())
}

async fn log(user: &User) -> Vec<Change> {
    changes(user, "", 200).await.unwrap().changes
}

fn kinds(changes: &[Change]) -> Vec<ChangeKind> {
    changes.iter().map(Change::kind).collect()
}

#[tokio::test]
async fn a_task_is_purged_30_days_after_it_was_deleted_and_the_log_says_so() {
    let world = World::new().await;
    let user = world.user(1);
    let (kept, gone) = (user.create(titled("kept")).await.unwrap(), user.create(titled("gone")).await.unwrap());
    world.clock.advance(DAY);
    world.user(1).delete(delete(&gone)).await.unwrap();
    world.clock.advance(DAY * 30 - SignedDuration::from_secs(1));
    world.tidy().await;
    let user = world.user(1);
    assert!(user.get(&gone.id).await.unwrap().delete_time.is_some());
    world.tick();
    world.tidy().await;
    world.tidy().await;
    assert_eq!(refusal(user.get(&gone.id).await), (Code::NotFound, "TASK_NOT_FOUND".into()));
    assert_eq!(user.get(&kept.id).await.unwrap(), kept);
    let last = log(&user).await.pop().unwrap();
    assert_eq!((last.kind(), last.task_id.as_str(), last.after.clone()), (ChangeKind::Purged, gone.id.as_str(), None));
    assert_eq!(last.before.unwrap().title, "gone");
}

#[tokio::test]
async fn the_newest_change_of_a_live_task_outlives_the_others() {
    let world = World::new().await;
    let user = world.user(1);
    let first = user.create(titled("first")).await.unwrap();
    let second = user.create(titled("second")).await.unwrap();
    user.update(update(Task { title: "renamed".into(), ..second.clone() }, &["title"])).await.unwrap();
    let begin = log(&user).await[0].cursor.clone();
    world.clock.advance(DAY * 31);
    let user = world.user(1);
    let done = user.complete(complete(&first)).await.unwrap();
    world.tidy().await;
    let left = log(&user).await;
    assert_eq!(kinds(&left), [ChangeKind::Created, ChangeKind::Updated, ChangeKind::Completed][1..]);
    assert_eq!(left[1].after.as_ref(), Some(&done));

    // Whoever stood below the mark missed something; whoever begins anew did not.
    let expired = (Code::FailedPrecondition, "CURSOR_EXPIRED".to_owned());
    assert_eq!(refusal(changes(&user, &begin, 0).await), expired);
    let page = changes(&user, "", 1).await.unwrap();
    assert!(page.more);
    let rest = changes(&user, &page.next_cursor, 1).await.unwrap();
    assert_eq!((kinds(&rest.changes), rest.more), (vec![ChangeKind::Completed], false));
    assert_eq!(changes(&user, &rest.next_cursor, 1).await.unwrap().changes, []);

    // What was kept goes when it is the newest no more.
    world.clock.advance(DAY * 31);
    world.user(1).delete(delete(&second)).await.unwrap();
    world.clock.advance(DAY * 31);
    world.tidy().await;
    world.clock.advance(DAY * 31);
    world.tidy().await;
    let left = log(&world.user(1)).await;
    assert_eq!(kinds(&left), [ChangeKind::Completed], "one live task, one change");
    let user = world.user(1);
    assert_eq!(refusal(changes(&user, &page.next_cursor, 1).await), expired);
}

#[tokio::test]
async fn the_answer_to_a_request_is_kept_for_seven_days() {
    let world = World::new().await;
    let request = errand_proto::task::CreateTaskRequest { request_id: "r".into(), ..titled("x") };
    let first = world.user(1).create(request.clone()).await.unwrap();
    world.clock.advance(DAY * 7 - SignedDuration::from_secs(1));
    world.tidy().await;
    assert_eq!(world.user(1).create(request.clone()).await.unwrap(), first);
    world.tick();
    world.tidy().await;
    assert_eq!(world.rows().await[3], ("requests", 0));
    assert_ne!(world.user(1).create(request).await.unwrap().id, first.id);
}

#[tokio::test]
async fn r_109_a_clock_that_was_put_back_lets_nothing_go() {
    let world = World::new().await;
    let user = world.user(1);
    let task = user.create(titled("x")).await.unwrap();
    user.delete(delete(&task)).await.unwrap();
    world.clock.advance(-DAY * 365);
    world.tidy().await;
    assert_eq!(world.rows().await, [("changes", 2), ("heads", 1), ("labels", 0), ("requests", 0), ("tasks", 1)]);
}
