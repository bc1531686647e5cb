//! The story that sells it, in one command:
//! `cargo test -p errand --test suite demo -- --nocapture`, and with roles apart `--test apart`.
//!
//! Fifty tasks. The assistant is told to delete everything and is stopped with a preview; confirmed
//! anyway; one UndoTurn brings all fifty back. A second client watches all of it live while what clients
//! call is killed and started again in between, and misses nothing.
#![expect(clippy::print_stdout, reason = "a story is told")]

use std::collections::BTreeSet;

use errand_proto::{
    chat::{ApprovalDecision, ApproveTurnRequest, UndoTurnRequest},
    task::{Change, ChangeKind, ListTasksRequest, WatchTasksRequest, watch_tasks_response::Event},
};
use tokio::sync::{mpsc, watch};

use crate::{
    batch::create_all,
    sandbox::{Person, Sandbox},
};

const TASKS: usize = 50;

/// A second client: it follows the log, and where its stream ends it goes on from there.
struct Watcher {
    changes: mpsc::Receiver<Change>,
}

impl Watcher {
    /// Follows as whoever is signed in now.
    async fn of(person: &Person, mut now: watch::Receiver<Person>) -> Self {
        let request = person.request(ListTasksRequest::default());
        let mut cursor = person.tasks().list_tasks(request).await.unwrap().into_inner().watch_cursor;
        let (tell, changes) = mpsc::channel(4 * TASKS);
        tokio::spawn(async move {
            loop {
                let person = now.borrow_and_update().clone();
                let request = person.request(WatchTasksRequest { cursor: cursor.clone() });
                if let Ok(stream) = person.tasks().watch_tasks(request).await {
                    let mut stream = stream.into_inner();
                    while let Ok(Some(seen)) = stream.message().await {
                        match seen.event {
                            Some(Event::Change(change)) => {
                                cursor.clone_from(&change.cursor);
                                if tell.send(change).await.is_err() {
                                    return;
                                }
                            }
                            Some(Event::Handover(handover)) => cursor = handover.cursor,
                            None => {}
                        }
                    }
                    println!("  (the watcher's stream ended; it goes on from where it was)");
                }
                if now.changed().await.is_err() {
                    return;
                }
            }
        });
        Self { changes }
    }

    /// The next changes, all of one kind: the tasks that they are of.
    async fn sees(&mut self, kind: ChangeKind, what: &str) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for _ in 0..TASKS {
            let change = self.changes.recv().await.unwrap();
            assert_eq!(change.kind(), kind, "{change:?}");
            ids.insert(change.task_id);
        }
        println!("  the watcher saw {} tasks {what}", ids.len());
        assert_eq!(ids.len(), TASKS);
        ids
    }
}

/// Kills what clients call, starts it again, and signs in anew.
async fn struck(sandbox: &mut Sandbox, signed_in: &watch::Sender<Person>) -> Person {
    tokio::task::block_in_place(|| crate::shape::strike_the_edge(sandbox));
    println!("  (the edge was killed with -9 and started again)");
    let ann = sandbox.log_in("ann@example.com").await.unwrap();
    signed_in.send_replace(ann.clone());
    ann
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_delete_everything_is_stopped_confirmed_undone_and_watched_through_a_crash() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    let signed_in = watch::Sender::new(ann.clone());
    let mut watcher = Watcher::of(&ann, signed_in.subscribe()).await;
    create_all(&ann, TASKS).await;
    let all = watcher.sees(ChangeKind::Created, "made").await;
    let before = ann.list().await;
    println!("1. ann has {} tasks", before.len());

    println!("2. she says: delete everything");
    let stopped = ann.say("", "delete everything").await;
    println!("{}", stopped.response);
    assert!(stopped.response.contains("50 of 50"), "{}", stopped.response);
    let question = stopped.approval_requested.clone().unwrap();
    assert_eq!(question.affected.len(), TASKS);
    assert_eq!(ann.list().await, before, "nothing has happened yet");

    let ann = struck(&mut sandbox, &signed_in).await;
    println!("3. ApproveTurn with the hash of that question, {}...", &question.hash[..12]);
    let decision = ApprovalDecision::Approve.into();
    let approve = ApproveTurnRequest { turn_id: stopped.turn_id, hash: question.hash, decision, ..Default::default() };
    let confirmed = ann.chat().approve_turn(ann.request(approve)).await.unwrap().into_inner();
    println!("{}", confirmed.response);
    assert!(ann.list().await.is_empty());
    assert_eq!(watcher.sees(ChangeKind::Deleted, "go").await, all, "the watcher missed nothing");

    let undo = UndoTurnRequest { turn_id: confirmed.turn_id, validate_only: true, ..Default::default() };
    let preview = ann.chat().undo_turn(ann.request(undo.clone())).await.unwrap().into_inner();
    println!("4. UndoTurn, only to be checked: {}", preview.response);
    assert!(ann.list().await.is_empty());

    let ann = struck(&mut sandbox, &signed_in).await;
    let undo = UndoTurnRequest { validate_only: false, ..undo };
    let undone = ann.chat().undo_turn(ann.request(undo)).await.unwrap().into_inner();
    println!("5. UndoTurn: {}", undone.response);
    assert_eq!((undone.tasks.len(), undone.conflicts.len()), (TASKS, 0));
    assert_eq!(watcher.sees(ChangeKind::Undeleted, "come back").await, all);
    let after = ann.list().await;
    assert_eq!(after.len(), TASKS);
    for (was, is) in before.iter().zip(&after) {
        assert_eq!((&was.id, &was.title, &is.delete_time), (&is.id, &is.title, &None));
    }
    println!("6. ann has {} tasks, each as it was", after.len());
}
