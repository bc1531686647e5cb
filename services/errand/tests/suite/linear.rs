//! Battery 2.6: whether what many clients were told about a task can have happened one after the other.
//!
//! A history is a list of calls, each with the moments at which it began and ended. It is linearizable when its calls
//! can be put in one order that keeps the order of those that did not overlap, and in which each answer is what a
//! single task would have answered. The search is that of Wing and Gong, with remembered dead ends (Lowe).

use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::{AtomicU64, Ordering},
};

use errand_proto::task::{GetTaskRequest, Task, UpdateTaskRequest};
use tonic::Code;

use crate::sandbox::{Person, Sandbox, reason, refused, rounds};

/// What a client asked of one task, and what it was told.
#[derive(Debug, Clone)]
enum Call {
    /// It read this title.
    Read(String),
    /// It wrote this title, whatever there was.
    Wrote(String),
    /// It wrote the second title because the first was there.
    Swapped(String, String),
    /// It was told that this title is not there.
    Refused(String),
}

#[derive(Debug, Clone)]
struct Operation {
    call: Call,
    began: u64,
    ended: u64,
}

impl Call {
    /// What the task's title is after the call, if it can have been answered so.
    fn apply<'a>(&'a self, title: &'a str) -> Option<&'a str> {
        match self {
            Call::Read(seen) => (seen == title).then_some(title),
            Call::Wrote(new) => Some(new),
            Call::Swapped(old, new) => (old == title).then_some(new),
            Call::Refused(old) => (old != title).then_some(title),
        }
    }
}

/// Whether these calls, at most 128, can have happened one after the other.
fn is_linearizable(start: &str, history: &[Operation]) -> bool {
    assert!(history.len() <= 128);
    search(start, history, 0, &mut HashSet::new())
}

fn search<'a>(title: &'a str, history: &'a [Operation], done: u128, dead: &mut HashSet<(u128, &'a str)>) -> bool {
    let open = || history.iter().enumerate().filter(|(index, _)| done & (1 << index) == 0);
    // What began after another ended can not come before it.
    let Some(first_end) = open().map(|(_, operation)| operation.ended).min() else { return true };
    for (index, operation) in open().filter(|(_, operation)| operation.began <= first_end) {
        if let Some(next) = operation.call.apply(title) {
            let done = done | 1 << index;
            if dead.insert((done, next)) && search(next, history, done, dead) {
                return true;
            }
        }
    }
    false
}

#[test]
fn the_checker_knows_what_can_have_happened() {
    let operation = |call, began, ended| Operation { call, began, ended };
    let (read, wrote) = (|title: &str| Call::Read(title.into()), |title: &str| Call::Wrote(title.into()));
    let swapped = |old: &str, new: &str| Call::Swapped(old.into(), new.into());
    // A read that overlaps a write may see either.
    for seen in ["a", "b"] {
        assert!(is_linearizable("a", &[operation(wrote("b"), 1, 4), operation(read(seen), 2, 3)]));
    }
    // One that begins after the write was acknowledged may not see what was before.
    assert!(!is_linearizable("a", &[operation(wrote("b"), 1, 2), operation(read("a"), 3, 4)]));
    // Nor may two reads after each other see a write come and go.
    let there_and_back = [operation(wrote("b"), 1, 8), operation(read("b"), 2, 3), operation(read("a"), 4, 5)];
    assert!(!is_linearizable("a", &there_and_back));
    // Of two swaps of the same value one is refused.
    let both = [operation(swapped("a", "b"), 1, 4), operation(swapped("a", "c"), 2, 3)];
    assert!(!is_linearizable("a", &both));
    let one = [operation(swapped("a", "b"), 1, 4), operation(Call::Refused("a".into()), 2, 3)];
    assert!(is_linearizable("a", &one));
    assert!(!is_linearizable("a", &[operation(Call::Refused("a".into()), 1, 2)]));
}

/// Reads, writes and swaps of tasks at random, noted with their times.
async fn live(
    ann: Person,
    client: u64,
    tasks: Vec<Task>,
    clock: std::sync::Arc<AtomicU64>,
    steps: usize,
) -> Vec<(String, Operation)> {
    let mut random = client.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut known: BTreeMap<String, Task> = tasks.iter().map(|task| (task.id.clone(), task.clone())).collect();
    let mut history = Vec::new();
    for step in 0..steps {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let id = tasks[(random >> 8) as usize % tasks.len()].id.clone();
        let title = format!("{client}.{step}");
        let update = |etag: String| {
            let task = Task { id: id.clone(), title: title.clone(), etag, ..Default::default() };
            ann.request(UpdateTaskRequest { task: Some(task), ..Default::default() })
        };
        let before = known[&id].clone();
        let began = clock.fetch_add(1, Ordering::SeqCst);
        let (call, now) = match random % 3 {
            0 => {
                let get = ann.request(GetTaskRequest { task_id: id.clone() });
                let task = ann.tasks().get_task(get).await.unwrap().into_inner();
                (Call::Read(task.title.clone()), task)
            }
            1 => {
                let task = ann.tasks().update_task(update(String::new())).await.unwrap().into_inner();
                (Call::Wrote(title), task)
            }
            _ => match ann.tasks().update_task(update(before.etag.clone())).await {
                Ok(task) => (Call::Swapped(before.title, title), task.into_inner()),
                Err(status) => {
                    assert_eq!(reason(Err::<(), _>(status)), refused(Code::Aborted, "ETAG_MISMATCH"));
                    (Call::Refused(before.title.clone()), before)
                }
            },
        };
        let ended = clock.fetch_add(1, Ordering::SeqCst);
        known.insert(id.clone(), now);
        history.push((id, Operation { call, began, ended }));
    }
    history
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_076_what_twenty_clients_were_told_of_ten_tasks_can_have_happened_one_after_the_other() {
    let sandbox = Sandbox::start();
    for round in 0..rounds(2, 40) {
        let ann = sandbox.sign_up().await;
        let mut tasks = Vec::new();
        for number in 0..10 {
            tasks.push(ann.create(&format!("start {number}")).await);
        }
        let clock = std::sync::Arc::new(AtomicU64::new(1));
        let mut clients = Vec::new();
        for client in 0..20 {
            // Connections of their own, so that calls meet in the service and not in the client.
            let person = Person { channel: sandbox.channel().await, ..ann.clone() };
            let seed = round as u64 * 20 + client + 1;
            clients.push(tokio::spawn(live(person, seed, tasks.clone(), clock.clone(), 30)));
        }
        let mut histories: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
        for client in clients {
            for (id, operation) in client.await.unwrap() {
                histories.entry(id).or_default().push(operation);
            }
        }
        for task in &tasks {
            // All of it: what is left out may have been seen by what is in.
            let mut history = histories.remove(&task.id).unwrap_or_default();
            history.sort_by_key(|operation| operation.began);
            assert!(is_linearizable(&task.title, &history), "{history:#?}");
        }
    }
}
