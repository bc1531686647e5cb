//! The story that sells it, in one command:
//! `cargo test -p errand --test suite demo -- --nocapture`, and with roles apart `--test apart`.
//!
//! Fifty tasks. The assistant is told to delete everything and is stopped with a preview; confirmed
//! anyway; one UndoTurn brings all fifty back. A second client watches all of it live while what clients
//! call is killed and started again in between, and misses nothing. It is told twice: with the planner, and
//! with a language model, which is cut off in the middle of a sentence, too.
#![expect(clippy::print_stdout, reason = "a story is told")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use errand_model::{Dialect, Gate, ModelServer, Reply};
use errand_proto::{
    chat::{
        ApprovalDecision, ApprovalRequested, ApproveTurnRequest, ResumeTurnRequest, SendMessageRequest, TurnEvent,
        UndoTurnRequest, turn_event::Event as Step,
    },
    task::{Change, ChangeKind, ListTasksRequest, WatchTasksRequest, watch_tasks_response::Event},
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc, watch};
use tonic::{Status, Streaming};

use crate::{
    batch::create_all,
    sandbox::{Person, Sandbox},
};

/// One story at a time: whoever listens hears one.
static TELLING: Mutex<()> = Mutex::const_new(());

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

/// What a turn came to, as its events tell it.
#[derive(Debug, Default)]
struct Told {
    turn_id: String,
    conversation_id: String,
    last_seq: i32,
    question: Option<ApprovalRequested>,
    replied: Option<String>,
}

impl Told {
    /// Hears one event, and prints it.
    fn hear(&mut self, said: TurnEvent) {
        // Words that are being written have no number.
        assert!(said.seq == 0 || said.seq == self.last_seq + 1, "no event is missed, none comes twice: {said:?}");
        self.last_seq = self.last_seq.max(said.seq);
        (self.turn_id, self.conversation_id) = (said.turn_id, said.conversation_id);
        match said.event {
            Some(Step::TextDelta(delta)) => println!("  ... {}", delta.text),
            Some(Step::ToolsCalled(called)) => {
                let names: Vec<_> = called.tool_calls.into_iter().map(|call| call.name).collect();
                println!("  (it calls {})", names.join(", "));
            }
            Some(Step::ToolFinished(finished)) => {
                let error = finished.tool_call.unwrap().error;
                println!("  (that {})", if error.is_empty() { "is done" } else { "is not done yet: she is asked" });
            }
            Some(Step::ApprovalRequested(question)) => self.question = Some(question),
            Some(Step::Replied(replied)) => {
                println!("{}", replied.response);
                self.replied = Some(replied.response);
            }
            _ => {}
        }
    }

    /// Hears events until the stream ends, or breaks.
    async fn hear_all(&mut self, mut stream: Streaming<TurnEvent>) -> Result<(), Status> {
        while let Some(said) = stream.message().await? {
            self.hear(said);
        }
        Ok(())
    }
}

async fn say(person: &Person, content: &str) -> Streaming<TurnEvent> {
    let request = SendMessageRequest { content: content.to_owned(), ..Default::default() };
    person.chat().stream_message(person.request(request)).await.unwrap().into_inner()
}

/// Kills what clients call, starts it again, and signs in anew.
async fn struck(sandbox: &mut Sandbox, signed_in: &watch::Sender<Person>) -> Person {
    tokio::task::block_in_place(|| crate::shape::strike_the_edge(sandbox));
    println!("  (the edge was killed with -9 and started again)");
    let ann = sandbox.log_in("ann@example.com").await.unwrap();
    signed_in.send_replace(ann.clone());
    ann
}

/// Deletes everything and brings it back.
async fn story(sandbox: &mut Sandbox) -> watch::Sender<Person> {
    let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    let signed_in = watch::Sender::new(ann.clone());
    let mut watcher = Watcher::of(&ann, signed_in.subscribe()).await;
    create_all(&ann, TASKS).await;
    let all = watcher.sees(ChangeKind::Created, "made").await;
    let before = ann.list().await;
    println!("1. ann has {} tasks", before.len());

    println!("2. she says: delete everything");
    let mut stopped = Told::default();
    stopped.hear_all(say(&ann, "delete everything").await).await.unwrap();
    let (asked, question) = (stopped.replied.unwrap(), stopped.question.unwrap());
    assert!(asked.contains("50 of 50"), "{asked}");
    assert_eq!(question.affected.len(), TASKS);
    assert_eq!(ann.list().await, before, "nothing has happened yet");

    let ann = struck(sandbox, &signed_in).await;
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

    let ann = struck(sandbox, &signed_in).await;
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
    signed_in
}

/// A model that does what it is told, and pauses in its first sentence about what there is.
fn obedient(gate: &Arc<Gate>) -> ModelServer {
    let (gate, told) = (gate.clone(), AtomicUsize::new(0));
    let tasks = |listed: &Value| listed["tasks"].as_array().cloned().unwrap_or_default();
    ModelServer::start(Dialect::OpenAi, move |asked| match (asked.said(), asked.results().as_slice()) {
        (_, []) => Reply::call("list_tasks", json!({ "pageSize": 200 })),
        ("delete everything", [listed]) => {
            let one = |task: &Value| json!({ "taskId": task["id"], "etag": task["etag"] });
            Reply::call("delete_tasks", json!({ "requests": tasks(listed).iter().map(one).collect::<Vec<_>>() }))
        }
        (_, [listed]) => {
            let count = tasks(listed).len();
            match told.fetch_add(1, Ordering::Relaxed) {
                0 => Reply::Paused("You have ".to_owned(), gate.clone(), format!("{count} tasks.")),
                _ => Reply::Text(format!("You have {count} tasks.")),
            }
        }
        _ => Reply::text("Done."),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_delete_everything_is_stopped_confirmed_undone_and_watched_through_a_crash() {
    let _alone = TELLING.lock().await;
    println!("The story with the planner");
    story(&mut Sandbox::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_the_same_with_a_language_model_that_is_cut_off_in_the_middle_of_a_sentence() {
    let _alone = TELLING.lock().await;
    println!("The story with a language model");
    let gate = Arc::new(Gate::default());
    let model = obedient(&gate);
    let mut sandbox = Sandbox::with(&[("ERRAND_LLM_BASE_URL", &model.base_url()), ("ERRAND_LLM_MODEL", "scripted")]);
    let signed_in = story(&mut sandbox).await;

    let ann = signed_in.borrow().clone();
    println!("7. she says: what is on my list?");
    let (mut told, mut stream) = (Told::default(), say(&ann, "what is on my list?").await);
    loop {
        let said = stream.message().await.unwrap().unwrap();
        let is_writing = matches!(said.event, Some(Step::TextDelta(_)));
        told.hear(said);
        if is_writing {
            break;
        }
    }
    let ann = struck(&mut sandbox, &signed_in).await;
    assert!(told.hear_all(stream).await.is_err() && told.replied.is_none(), "cut off: {told:?}");
    gate.open();
    println!("8. ResumeTurn after event {}", told.last_seq);
    let resume = ResumeTurnRequest { turn_id: told.turn_id.clone(), after_seq: told.last_seq };
    told.hear_all(ann.chat().resume_turn(ann.request(resume)).await.unwrap().into_inner()).await.unwrap();
    assert_eq!(told.replied.as_deref(), Some("You have 50 tasks."));
    assert_eq!(ann.list().await.len(), TASKS);
}
