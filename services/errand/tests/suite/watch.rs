//! Following the log from outside: live, through restarts and signals, by thousands at once.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use errand_proto::task::{
    Actor, Change, ListChangesRequest, ListTasksRequest, WatchTasksRequest, WatchTasksResponse,
    task_service_client::TaskServiceClient, watch_tasks_response::Event,
};
use prost::Message;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tonic::{Code, Status, Streaming};

use crate::{
    batch::{create_all, delete_all},
    sandbox::{Person, Sandbox, reason, refused, rounds, with_token},
    wire::{envelopes, framed, http1, unweb},
};

type Stream = Streaming<WatchTasksResponse>;

const WATCH: &str = "/errand.task.v1.TaskService/WatchTasks";

async fn watch(person: &Person, cursor: &str) -> Result<Stream, Status> {
    let request = WatchTasksRequest { cursor: cursor.to_owned() };
    Ok(person.tasks().watch_tasks(person.request(request)).await?.into_inner())
}

async fn watch_cursor(person: &Person) -> String {
    let request = person.request(ListTasksRequest::default());
    person.tasks().list_tasks(request).await.unwrap().into_inner().watch_cursor
}

async fn next(stream: &mut Stream) -> Change {
    match stream.next().await.unwrap().unwrap().event.unwrap() {
        Event::Change(change) => change,
        Event::Handover(handover) => panic!("{handover:?}"),
    }
}

#[tokio::test]
async fn what_the_assistant_and_the_user_do_is_seen_live_in_another_client() {
    let sandbox = Sandbox::start();
    sandbox.sign_up_as("ann@example.com").await.unwrap();
    let (writer, reader) =
        (sandbox.log_in("ann@example.com").await.unwrap(), sandbox.log_in("ann@example.com").await.unwrap());
    // The headers come at once, although nothing has happened yet.
    let mut stream = tokio::time::timeout(Duration::from_secs(10), watch(&reader, "")).await.unwrap().unwrap();
    let mine = writer.create("by hand").await;
    let change = next(&mut stream).await;
    assert_eq!((change.actor(), change.turn_id.as_str(), change.after), (Actor::User, "", Some(mine)));
    writer.say("", "add buy milk").await;
    let change = next(&mut stream).await;
    assert_eq!((change.actor(), change.after.unwrap().title.as_str()), (Actor::Assistant, "buy milk"));
    assert!(!change.turn_id.is_empty());
    // Nobody from outside can speak for the assistant.
    let mut request = writer.request(errand_proto::task::CreateTaskRequest {
        task: Some(errand_proto::task::Task { title: "forged".into(), ..Default::default() }),
        ..Default::default()
    });
    request.metadata_mut().insert("x-errand-turn", change.turn_id.parse().unwrap());
    writer.tasks().create_task(request).await.unwrap();
    assert_eq!(next(&mut stream).await.actor(), Actor::User);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_104_a_watcher_follows_through_kills_and_misses_nothing() {
    let mut sandbox = Sandbox::start();
    sandbox.sign_up_as("ann@example.com").await.unwrap();
    let mut cursor = watch_cursor(&sandbox.log_in("ann@example.com").await.unwrap()).await;
    let (mut seen, acknowledged) = (Vec::new(), Arc::new(Mutex::new(Vec::new())));
    for round in 0..rounds(3, 20) {
        let ann = sandbox.log_in("ann@example.com").await.unwrap();
        let writer = {
            let (ann, acknowledged) = (ann.clone(), acknowledged.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    let title = format!("{round}.{number}");
                    match ann.try_create(&title, &title).await {
                        Ok(task) => acknowledged.lock().unwrap().push(task.id),
                        Err(_) => return,
                    }
                }
            })
        };
        let mut stream = watch(&ann, &cursor).await.unwrap();
        for _ in 0..30 + round * 7 {
            let change = next(&mut stream).await;
            cursor = change.cursor;
            seen.push(change.task_id);
        }
        sandbox.kill();
        writer.await.unwrap();
        sandbox.start_again();
    }
    let ann = sandbox.log_in("ann@example.com").await.unwrap();
    let last = ann.create("last").await.id;
    let mut stream = watch(&ann, &cursor).await.unwrap();
    while seen.last() != Some(&last) {
        seen.push(next(&mut stream).await.task_id);
    }
    let once: BTreeSet<_> = seen.iter().collect();
    assert_eq!(once.len(), seen.len(), "nothing is seen twice");
    assert!(acknowledged.lock().unwrap().iter().all(|id| once.contains(id)), "nothing acknowledged is missed");
    let listed: Vec<_> = ann.list().await.into_iter().map(|task| task.id).collect();
    assert_eq!(listed, seen, "in the order in which it happened");
}

#[tokio::test]
async fn r_114_on_term_a_watch_ends_with_a_handover_and_goes_on_in_the_next_process() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    let mut stream = watch(&ann, "").await.unwrap();
    let tasks = create_all(&ann, 50).await;
    assert_eq!(next(&mut stream).await.task_id, tasks[0].id);
    sandbox.signal("TERM");
    let mut read = 1;
    let handover = loop {
        match stream.next().await.unwrap().unwrap().event.unwrap() {
            Event::Change(_) => read += 1,
            Event::Handover(handover) => break handover,
        }
    };
    assert!(stream.next().await.is_none(), "the end is no error");
    assert_eq!(sandbox.exit_code(), Some(0));
    sandbox.start_again();
    let ann = sandbox.log_in("ann@example.com").await.unwrap();
    delete_all(&ann, &tasks[..1]).await;
    let mut stream = watch(&ann, &handover.cursor).await.unwrap();
    for task in &tasks[read..] {
        assert_eq!(next(&mut stream).await.task_id, task.id);
    }
    assert!(next(&mut stream).await.after.unwrap().delete_time.is_some());
}

/// Waits until the service says in its log that it has begun to answer a watch.
async fn until_watched(sandbox: &Sandbox) {
    let is_answer = |line: &str| line.contains("answered") && line.contains("WatchTasks");
    while !sandbox.log().lines().any(is_answer) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_over_grpc_web_carries_the_same_events() {
    for text in [false, true] {
        let mut sandbox = Sandbox::start();
        let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
        let cursor = watch_cursor(&ann).await;
        let titles: Vec<_> = create_all(&ann, 3).await.into_iter().map(|task| task.title).collect();
        let (address, token) = (sandbox.address, ann.token().to_owned());
        let reading = tokio::task::spawn_blocking(move || {
            let message = framed(&WatchTasksRequest { cursor }.encode_to_vec());
            let kind = if text { "application/grpc-web-text" } else { "application/grpc-web+proto" };
            let body = if text {
                use base64::Engine;
                base64::engine::general_purpose::STANDARD.encode(&message).into_bytes()
            } else {
                message
            };
            let bearer = format!("Bearer {token}");
            let headers = [("content-type", kind), ("accept", kind), ("authorization", bearer.as_str())];
            unweb(http1(address, &format!("POST {WATCH}"), &headers, &body), text)
        });
        until_watched(&sandbox).await;
        assert_eq!(sandbox.stop(), Some(0));
        let web = reading.await.unwrap();
        assert_eq!(web.code(), 0);
        let events: Vec<_> = web
            .messages
            .iter()
            .map(|message| WatchTasksResponse::decode(message.as_slice()).unwrap().event.unwrap())
            .collect();
        let changed = events.iter().filter_map(|event| match event {
            Event::Change(change) => change.after.as_ref().map(|task| task.title.clone()),
            Event::Handover(_) => None,
        });
        assert!(matches!(events.last(), Some(Event::Handover(_))));
        let changed: Vec<_> = changed.collect();
        assert!(titles.starts_with(&changed), "{changed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_over_connect_carries_the_same_events_in_protobuf_and_in_json() {
    for is_json in [false, true] {
        let mut sandbox = Sandbox::start();
        let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
        let cursor = watch_cursor(&ann).await;
        let titles: Vec<_> = create_all(&ann, 3).await.into_iter().map(|task| task.title).collect();
        let (address, token) = (sandbox.address, ann.token().to_owned());
        let (kind, message) = if is_json {
            ("application/connect+json", json!({"cursor": cursor}).to_string().into_bytes())
        } else {
            ("application/connect+proto", WatchTasksRequest { cursor }.encode_to_vec())
        };
        let reading = tokio::task::spawn_blocking(move || {
            let bearer = format!("Bearer {token}");
            let headers = [("content-type", kind), ("authorization", bearer.as_str())];
            http1(address, &format!("POST {WATCH}"), &headers, &framed(&message))
        });
        until_watched(&sandbox).await;
        assert_eq!(sandbox.stop(), Some(0));
        let answer = reading.await.unwrap();
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, kind));
        let (messages, end) = envelopes(&answer);
        assert_eq!(end, json!({}), "the end is no error");
        let events = messages.iter().map(|message| match is_json {
            true => serde_json::from_slice(message).unwrap(),
            false => errand_proto::json::from_bytes("errand.task.v1.WatchTasksResponse", message).unwrap(),
        });
        let events: Vec<serde_json::Value> = events.collect();
        assert!(events.last().unwrap()["handover"]["cursor"].is_string());
        let changed = events.iter().filter_map(|event| event["change"]["after"]["title"].as_str());
        let changed: Vec<_> = changed.map(str::to_owned).collect();
        assert!(titles.starts_with(&changed), "{changed:?}");
    }
}

#[tokio::test]
async fn a_cursor_of_another_server_is_expired() {
    let (here, there) = (Sandbox::start(), Sandbox::start());
    let (ann, bob) = (here.sign_up().await, there.sign_up().await);
    let cursor = watch_cursor(&bob).await;
    assert_eq!(reason(watch(&ann, &cursor).await.map(drop)), refused(Code::FailedPrecondition, "CURSOR_EXPIRED"));
    let request = ann.request(ListChangesRequest { cursor, ..Default::default() });
    let answer = ann.tasks().list_changes(request).await;
    assert_eq!(reason(answer), refused(Code::FailedPrecondition, "CURSOR_EXPIRED"));
    let answer = watch(&ann, "tomorrow").await.map(drop);
    assert_eq!(reason(answer), refused(Code::InvalidArgument, "INVALID_FIELDS"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_113_thousands_of_streams_are_fed_in_little_memory_and_calls_go_on_beside_them() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let (watchers, events) = (rounds(1_000, 10_000), 20);
    let mut watching = JoinSet::new();
    let mut client = ann.tasks();
    for number in 0..watchers {
        // As many streams as a connection may have, less those of calls beside them.
        if number % 90 == 0 {
            client = TaskServiceClient::new(sandbox.channel().await);
        }
        let request = with_token(WatchTasksRequest::default(), ann.token());
        let mut stream = client.watch_tasks(request).await.unwrap().into_inner();
        watching.spawn(async move {
            let mut ids = Vec::new();
            while ids.len() < events {
                ids.push(next(&mut stream).await.task_id);
            }
            (ids, stream)
        });
    }
    let mut expected = Vec::new();
    for number in 0..events {
        expected.push(ann.create(&format!("event {number}")).await.id);
    }
    let seen = watching.join_all().await;
    assert_eq!(seen.len(), watchers);
    assert!(seen.iter().all(|(ids, _)| *ids == expected), "each sees every change once and in order");
    let kib = sandbox.resident();
    assert!(kib < 256 * 1024, "{kib} KiB with {watchers} watchers");
}
