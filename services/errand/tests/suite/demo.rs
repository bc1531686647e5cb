//! The story that sells it, in one command:
//! `cargo test -p errand --test suite demo -- --nocapture`.
//!
//! Fifty tasks. The assistant is told to delete everything and is stopped with a preview; confirmed
//! anyway; one undo brings all fifty back. A second client watches all of it while the process is
//! killed and started again in between, and misses nothing.

use std::collections::BTreeSet;

use errand_proto::task::{Change, ChangeKind, ListTasksRequest, WatchTasksRequest, watch_tasks_response::Event};

use crate::{
    batch::create_all,
    sandbox::{Person, Sandbox},
};

const TASKS: usize = 50;

/// A client that follows the log from a cursor.
struct Watcher {
    cursor: String,
}

impl Watcher {
    async fn new(person: &Person) -> Self {
        let request = person.request(ListTasksRequest::default());
        Self { cursor: person.tasks().list_tasks(request).await.unwrap().into_inner().watch_cursor }
    }

    /// The next changes, in order, over a stream of its own.
    async fn see(&mut self, person: &Person, count: usize) -> Vec<Change> {
        let request = person.request(WatchTasksRequest { cursor: self.cursor.clone() });
        let mut stream = person.tasks().watch_tasks(request).await.unwrap().into_inner();
        let mut changes = Vec::new();
        while changes.len() < count {
            match stream.message().await.unwrap().unwrap().event.unwrap() {
                Event::Change(change) => changes.push(change),
                Event::Handover(handover) => panic!("{handover:?}"),
            }
        }
        self.cursor = changes.last().unwrap().cursor.clone();
        changes
    }
}

fn ids(changes: &[Change], kind: ChangeKind) -> BTreeSet<String> {
    assert!(changes.iter().all(|change| change.kind() == kind), "{:?}", changes[0]);
    changes.iter().map(|change| change.task_id.clone()).collect()
}

#[tokio::test]
async fn demo_delete_everything_is_stopped_confirmed_undone_and_watched_through_a_crash() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    let mut watcher = Watcher::new(&ann).await;
    create_all(&ann, TASKS).await;
    let all = ids(&watcher.see(&ann, TASKS).await, ChangeKind::Created);
    let before = ann.list().await;
    println!("{} tasks", before.len());

    println!("> delete everything");
    let stopped = ann.say("", "delete everything").await;
    println!("{}", stopped.response);
    assert!(stopped.response.contains("50 of 50"), "{}", stopped.response);
    assert_eq!(ann.list().await, before, "nothing has happened yet");

    // The question is on the disk: it survives a process that is killed.
    sandbox.kill_and_restart();
    println!("(killed and started again)");
    let ann = sandbox.log_in("ann@example.com").await.unwrap();
    println!("> yes");
    let confirmed = ann.say(&stopped.conversation_id, "yes").await;
    println!("{}", confirmed.response);
    assert!(ann.list().await.is_empty());
    assert_eq!(ids(&watcher.see(&ann, TASKS).await, ChangeKind::Deleted), all, "the watcher missed nothing");

    sandbox.kill_and_restart();
    println!("(killed and started again)");
    let ann = sandbox.log_in("ann@example.com").await.unwrap();
    println!("> undo");
    let undone = ann.say(&stopped.conversation_id, "undo").await;
    println!("{}", undone.response);
    assert_eq!(ids(&watcher.see(&ann, TASKS).await, ChangeKind::Undeleted), all);
    let after = ann.list().await;
    assert_eq!(after.len(), TASKS);
    for (was, is) in before.iter().zip(&after) {
        assert_eq!((&was.id, &was.title, &is.delete_time), (&is.id, &is.title, &None));
    }
    println!("{} tasks", after.len());
}
