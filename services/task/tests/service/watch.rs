//! Following the log: pages, streams, cursors, and many who watch at once.

use std::time::Duration;

use errand_proto::task::{
    Change, ChangeKind, ListChangesRequest, ListChangesResponse, ListTasksRequest, WatchTasksRequest,
    WatchTasksResponse, watch_tasks_response::Event,
};
use jiff::SignedDuration;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tonic::{Code, Status, Streaming};

use crate::{
    batches::create_all,
    complete, refusal, titled, violations,
    world::{User, World},
};

type Stream = Streaming<WatchTasksResponse>;

async fn try_watch(user: &User, cursor: &str) -> Result<Stream, Status> {
    let request = user.signed(WatchTasksRequest { cursor: cursor.to_owned() });
    Ok(user.client().watch_tasks(request).await?.into_inner())
}

pub(crate) async fn watch(user: &User, cursor: &str) -> Stream {
    try_watch(user, cursor).await.unwrap()
}

pub(crate) async fn next(stream: &mut Stream) -> Change {
    match stream.next().await.unwrap().unwrap().event.unwrap() {
        Event::Change(change) => change,
        Event::Handover(handover) => panic!("{handover:?}"),
    }
}

/// The cursor of the handover with which a stream ends.
async fn end(stream: &mut Stream) -> String {
    let Some(Event::Handover(handover)) = stream.next().await.unwrap().unwrap().event else { panic!("no handover") };
    assert!(stream.next().await.is_none(), "a handover is the last event, and all is well");
    handover.cursor
}

async fn changes(user: &User, cursor: &str, page_size: i32) -> Result<ListChangesResponse, Status> {
    let request = ListChangesRequest { cursor: cursor.to_owned(), page_size, ..Default::default() };
    Ok(user.client().list_changes(user.signed(request)).await?.into_inner())
}

pub(crate) fn title(change: &Change) -> &str {
    change.after.as_ref().map_or("", |task| task.title.as_str())
}

#[tokio::test]
async fn a_watcher_sees_what_happens_from_now_on() {
    let world = World::new().await;
    let user = world.user(1);
    user.create(titled("before")).await.unwrap();
    let mut stream = watch(&user, "").await;
    world.user(2).create(titled("somebody else's")).await.unwrap();
    let task = user.create(titled("live")).await.unwrap();
    let change = next(&mut stream).await;
    assert_eq!((change.kind(), change.after.as_ref(), &change.before), (ChangeKind::Created, Some(&task), &None));
    assert_eq!(change.task_id, task.id);
    let done = user.complete(complete(&task)).await.unwrap();
    let change = next(&mut stream).await;
    assert_eq!((change.kind(), change.before, change.after), (ChangeKind::Completed, Some(task), Some(done)));
}

#[tokio::test]
async fn a_list_and_its_watch_have_no_hole_between_them() {
    let world = World::new().await;
    let user = world.user(1);
    create_all(&user, 3).await;
    let page = user.list(ListTasksRequest { page_size: 2, ..Default::default() }).await.unwrap();
    let second = ListTasksRequest { page_size: 2, page_token: page.next_page_token, ..Default::default() };
    assert_eq!(user.list(second).await.unwrap().watch_cursor, "", "only the first page says where to watch from");
    create_all(&user, 2).await;
    let mut stream = watch(&user, &page.watch_cursor).await;
    for expected in ["task 0", "task 1"] {
        assert_eq!(title(&next(&mut stream).await), expected);
    }
    let polled = changes(&user, &page.watch_cursor, 0).await.unwrap();
    assert_eq!((polled.changes.len(), polled.more), (2, false));
    assert_eq!(changes(&user, &polled.next_cursor, 0).await.unwrap().next_cursor, polled.next_cursor);
}

#[tokio::test]
async fn a_drain_ends_a_watch_with_a_place_to_go_on() {
    let mut world = World::new().await;
    let user = world.user(1);
    let (mut idle, mut busy) = (watch(&user, "").await, watch(&user, "").await);
    user.create(titled("one")).await.unwrap();
    assert_eq!(title(&next(&mut busy).await), "one");
    world.drain.begin();
    let cursor = end(&mut busy).await;
    // Who has not read yet is told where they are, not where the log is.
    let behind = end(&mut idle).await;
    let late = end(&mut watch(&user, &cursor).await).await;
    assert_eq!(late, cursor);
    user.create(titled("two")).await.unwrap();
    world.restart().await;
    let user = world.user(1);
    assert_eq!(title(&next(&mut watch(&user, &cursor).await).await), "two");
    let mut stream = watch(&user, &behind).await;
    assert_eq!(title(&next(&mut stream).await), "one");
    assert_eq!(title(&next(&mut stream).await), "two");
}

#[tokio::test]
async fn a_watch_ends_when_its_token_does() {
    let world = World::new().await;
    let user = world.user(1);
    // 40 ms of the token are left, on a clock that stands.
    world.clock.advance(SignedDuration::from_millis(15 * 60 * 1000 - 40));
    let mut stream = watch(&user, "").await;
    let cursor = end(&mut stream).await;
    watch(&world.user(1), &cursor).await;
}

#[tokio::test]
async fn a_watch_with_a_deadline_ends_with_it() {
    let world = World::new().await;
    let user = world.user(1);
    let mut request = user.signed(WatchTasksRequest::default());
    request.set_timeout(Duration::from_millis(50));
    let mut stream = user.client().watch_tasks(request).await.unwrap().into_inner();
    let expected = (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned());
    assert_eq!(refusal(stream.next().await.unwrap()), expected);
}

#[tokio::test]
async fn a_cursor_that_does_not_fit_is_refused() {
    let (world, elsewhere) = (World::new().await, World::new().await);
    let (user, other) = (world.user(1), elsewhere.user(1));
    create_all(&user, 3).await;
    create_all(&other, 5).await;
    let expired = (Code::FailedPrecondition, "CURSOR_EXPIRED".to_owned());
    let of_another_log = changes(&other, "", 0).await.unwrap().next_cursor;
    let end = changes(&user, "", 0).await.unwrap().next_cursor;
    let past_the_head = end.replace("0000000000000003", "0000000000000004");
    for cursor in [&of_another_log, &past_the_head] {
        assert_eq!(refusal(changes(&user, cursor, 0).await), expired);
        assert_eq!(refusal(try_watch(&user, cursor).await.map(drop)), expired);
    }
    let invalid = [("cursor".to_owned(), "INVALID_FORMAT".to_owned())];
    for cursor in ["x", &end[1..], &end.to_uppercase(), &"é".repeat(32)] {
        assert_eq!(violations(changes(&user, cursor, 0).await), invalid, "{cursor}");
        assert_eq!(violations(try_watch(&user, cursor).await.map(drop)), invalid, "{cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_watcher_delays_nobody_and_misses_nothing() {
    let world = World::new().await;
    let user = world.user(1);
    let (mut slow, mut fast) = (watch(&user, "").await, watch(&user, "").await);
    // Far more than what is kept in memory, while the slow one reads nothing.
    for _ in 0..5 {
        create_all(&user, 1000).await;
        for number in 0..1000 {
            assert_eq!(title(&next(&mut fast).await), format!("task {number}"));
        }
    }
    for number in 0..5000 {
        assert_eq!(title(&next(&mut slow).await), format!("task {}", number % 1000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r_113_thousands_of_watchers_see_every_change_once_and_in_order() {
    #[expect(clippy::disallowed_methods, reason = "the size of the run")]
    let full = std::env::var("ERRAND_BATTERY").is_ok_and(|size| size == "full");
    let watchers = if full { 10_000 } else { 1_000 };
    let world = World::new().await;
    let user = world.user(1);
    let mut watching = JoinSet::new();
    for _ in 0..watchers {
        let mut stream = watch(&user, "").await;
        watching.spawn(async move {
            let mut titles = Vec::new();
            while titles.len() < 60 {
                titles.push(title(&next(&mut stream).await).to_owned());
            }
            titles
        });
    }
    let mut expected = Vec::new();
    for number in 0..20 {
        expected.push(user.create(titled(&format!("single {number}"))).await.unwrap().title);
        expected.extend(create_all(&user, 2).await.into_iter().map(|task| task.title));
    }
    let seen = watching.join_all().await;
    assert_eq!(seen.len(), watchers);
    assert!(seen.iter().all(|titles| *titles == expected));
}

#[test]
fn a_watcher_that_reconnects_at_random_points_sees_every_change_exactly_once_and_in_order() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 30, failure_persistence: None, ..Config::default() });
    // How many tasks each write makes, and after how many changes each stream is dropped.
    let strategy = (vec(1usize..150, 1..8), vec(0usize..120, 1..8), any::<bool>());
    let result = runner.run(&strategy, |(writes, drops, polls)| {
        runtime.block_on(async {
            let world = World::new().await;
            let user = world.user(1);
            let mut cursor = user.list(ListTasksRequest::default()).await.unwrap().watch_cursor;
            let total: usize = writes.iter().sum();
            let writer = {
                let user = user.clone();
                tokio::spawn(async move {
                    let mut made = Vec::new();
                    for count in writes {
                        made.extend(create_all(&user, count).await.into_iter().map(|task| task.id));
                    }
                    made
                })
            };
            let (mut seen, mut drops) = (Vec::new(), drops.into_iter());
            while seen.len() < total {
                let count = drops.next().unwrap_or(usize::MAX).min(total - seen.len());
                if polls && count % 2 == 1 {
                    let page = changes(&user, &cursor, 7).await.unwrap();
                    seen.extend(page.changes.into_iter().map(|change| change.task_id));
                    cursor = page.next_cursor;
                    continue;
                }
                let mut stream = watch(&user, &cursor).await;
                for _ in 0..count {
                    let change = next(&mut stream).await;
                    cursor = change.cursor;
                    seen.push(change.task_id);
                }
            }
            prop_assert_eq!(seen, writer.await.unwrap());
            Ok(())
        })
    });
    result.unwrap();
}
