//! What one replica knows, every other one shows: watches and turns across processes.

use std::{net::SocketAddr, time::Duration};

use errand_proto::{
    chat::{CancelTurnRequest, ResumeTurnRequest, SendMessageRequest, TurnEvent, turn_event::Event as Turn},
    task::{ListTasksRequest, WatchTasksRequest, watch_tasks_response::Event},
};
use tonic::{Streaming, transport::Endpoint};

use crate::{
    lock::{Held, until_waiting},
    sandbox::{Person, Sandbox, rounds},
    shape::Role,
};

/// The same person at another door.
async fn at(person: &Person, address: SocketAddr) -> Person {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    Person { channel, ..person.clone() }
}

/// The same person at each replica of a role.
async fn both(sandbox: &Sandbox, person: &Person, role: Role) -> (Person, Person) {
    let places = sandbox.places(role);
    (at(person, sandbox.at(places[0])).await, at(person, sandbox.at(places[1])).await)
}

async fn watch_across(environment: &[(&str, &str)]) {
    let sandbox = Sandbox::with(environment);
    let ann = sandbox.sign_up().await;
    let (one, other) = both(&sandbox, &ann, Role::Task).await;
    for (writer, reader) in [(&one, &other), (&other, &one)] {
        let cursor = reader.tasks().list_tasks(reader.request(ListTasksRequest::default())).await.unwrap();
        let request = reader.request(WatchTasksRequest { cursor: cursor.into_inner().watch_cursor });
        let mut stream = reader.tasks().watch_tasks(request).await.unwrap().into_inner();
        for number in 0..rounds(10, 1_000) {
            let task = writer.create(&format!("task {number}")).await;
            let next = tokio::time::timeout(Duration::from_secs(20), stream.message()).await;
            let Some(Event::Change(change)) = next.unwrap().unwrap().unwrap().event else { panic!() };
            assert_eq!(change.after, Some(task));
        }
    }
}

#[tokio::test]
async fn a_watch_at_one_task_shows_what_another_wrote() {
    watch_across(&[]).await;
}

#[tokio::test]
async fn a_watch_shows_what_another_wrote_where_nothing_can_be_listened_to() {
    watch_across(&[("ERRAND_DATABASE_POOLER", "true")]).await;
}

fn message(content: &str, request_id: &str) -> SendMessageRequest {
    SendMessageRequest { content: content.to_owned(), request_id: request_id.to_owned(), ..Default::default() }
}

async fn next(stream: &mut Streaming<TurnEvent>) -> TurnEvent {
    tokio::time::timeout(Duration::from_secs(60), stream.message()).await.unwrap().unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_one_chat_runs_is_followed_at_the_other() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let (one, other) = both(&sandbox, &ann, Role::Chat).await;
    let held = tokio::task::block_in_place(|| Held::table(&sandbox, "task.tasks"));
    let request = one.request(message("add buy milk", "one"));
    let mut first = one.chat().stream_message(request).await.unwrap().into_inner();
    let started = next(&mut first).await;
    let request = other.request(ResumeTurnRequest { turn_id: started.turn_id.clone(), after_seq: 0 });
    let mut second = other.chat().resume_turn(request).await.unwrap().into_inner();
    assert_eq!(next(&mut second).await, started);
    drop(held);
    loop {
        let (here, there) = (next(&mut first).await, next(&mut second).await);
        assert_eq!(here, there);
        if let Some(Turn::Replied(replied)) = here.event {
            assert!(replied.response.contains("buy milk"));
            break;
        }
    }
    assert_eq!(ann.titles().await, ["buy milk"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_one_chat_runs_is_cancelled_through_the_other() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let (one, other) = both(&sandbox, &ann, Role::Chat).await;
    let held = tokio::task::block_in_place(|| Held::table(&sandbox, "task.tasks"));
    let request = one.request(message("add buy milk", "one"));
    let mut stream = one.chat().stream_message(request).await.unwrap().into_inner();
    let started = next(&mut stream).await;
    until_waiting(&sandbox, "task", 1).await;
    let cancel = CancelTurnRequest { turn_id: started.turn_id, ..Default::default() };
    let cancelling = tokio::spawn(async move { other.chat().cancel_turn(other.request(cancel)).await });
    let mut last = started.event;
    let end = tokio::time::timeout(Duration::from_secs(60), async {
        while let Some(event) = stream.message().await.unwrap() {
            last = event.event;
        }
    });
    let asked = async {
        while sandbox.stored("chat", "SELECT 1 FROM turns WHERE cancel_time IS NOT NULL").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), asked).await.is_ok());
    // What was asked of the tasks before may still be done; nothing after it.
    tokio::task::block_in_place(|| drop(held));
    assert!(end.await.is_ok());
    assert!(cancelling.await.unwrap().is_ok());
    let Some(Turn::Replied(last)) = last else { panic!("{last:?}") };
    assert!(last.response.starts_with("Stopped."), "{last:?}");
    assert!(ann.list().await.len() <= 1);
}

/// Follows the log until a task of this title is made, over as many streams as it takes: the ids of the tasks, and how
/// often a stream was handed over.
async fn follow(person: Person, mut cursor: String, until: &str) -> (Vec<String>, usize) {
    let (mut ids, mut handovers) = (Vec::new(), 0);
    loop {
        let request = person.request(WatchTasksRequest { cursor: cursor.clone() });
        let mut stream = person.tasks().watch_tasks(request).await.unwrap().into_inner();
        while let Some(event) = stream.message().await.unwrap() {
            match event.event.unwrap() {
                Event::Change(change) => {
                    cursor = change.cursor;
                    ids.push(change.task_id);
                    if change.after.unwrap().title == until {
                        return (ids, handovers);
                    }
                }
                Event::Handover(handover) => {
                    cursor = handover.cursor;
                    handovers += 1;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_115_a_watch_goes_on_through_a_rollout_and_misses_nothing() {
    let mut sandbox = Sandbox::with(&[("ERRAND_SHUTDOWN_DELAY", "300ms")]);
    let ann = sandbox.sign_up().await;
    let list = ann.tasks().list_tasks(ann.request(ListTasksRequest::default())).await.unwrap().into_inner();
    let following = tokio::spawn(follow(ann.clone(), list.watch_cursor, "last"));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writing = {
        let ann = ann.clone();
        tokio::spawn(async move {
            let mut ids = Vec::new();
            while !*stopped.borrow() {
                ids.push(ann.create(&format!("task {}", ids.len())).await.id);
            }
            ids.push(ann.create("last").await.id);
            ids
        })
    };
    for place in sandbox.places(Role::Task) {
        tokio::task::block_in_place(|| {
            sandbox.processes[place].signal("TERM");
            assert_eq!(sandbox.processes[place].wait(), Some(0));
            sandbox.start_one(place);
        });
    }
    stop.send(true).unwrap();
    let written = writing.await.unwrap();
    let (seen, handovers) = following.await.unwrap();
    assert_eq!(seen, written, "every change once and in order");
    assert!(handovers >= 1, "the stream was handed over");
}
