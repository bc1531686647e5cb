//! Lists by filter and order out of SQLite, against the same rules over a vector.

#![no_main]

use std::{cell::Cell, sync::LazyLock};

use arbitrary::Arbitrary;
use errand_changelog::{Actor, Origin, Seq, UserId};
use errand_task::{
    SCHEMA,
    domain::{
        filter::{Filter, Key, Order, Words},
        task::{Description, DueTime, Labels, Priority, Task, TaskId, Title},
        write::Kind,
    },
    store::{Commit, Difference, Query, Step, Store, sqlite::Sqlite},
};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

/// Tasks, and what is asked of them.
#[derive(Debug, Arbitrary)]
struct Asked<'a> {
    tasks: Vec<Given<'a>>,
    completed: Option<bool>,
    due_after: Option<i8>,
    due_before: Option<i8>,
    label: Option<&'a str>,
    query: &'a str,
    show_deleted: bool,
    key: u8,
    descending: bool,
    size: u8,
    order_by: &'a str,
}

/// A task.
#[derive(Debug, Arbitrary)]
struct Given<'a> {
    title: &'a str,
    description: &'a str,
    labels: Vec<&'a str>,
    due: Option<i8>,
    created: u8,
    updated: u8,
    is_completed: bool,
    is_deleted: bool,
}

/// Files in a folder that goes with the process.
struct Home {
    runtime: tokio::runtime::Runtime,
    store: Sqlite,
    _folder: tempfile::TempDir,
}

static HOME: LazyLock<Home> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("task.db");
    errand_storage::migrate::up(&file, SCHEMA.sqlite).expect("it can be migrated");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    Home { runtime, store: Sqlite::open(&file).expect("it opens"), _folder: folder }
});

thread_local! {
    static OWNERS: Cell<u128> = const { Cell::new(1) };
}

fuzz_target!(|asked: Asked| {
    let order = Order::parse(asked.order_by);
    if let Some(order) = order {
        let words: Vec<_> = asked.order_by.split(' ').filter(|word| !word.is_empty()).collect();
        assert!(words.len() <= 2 && order.descending == (words.get(1) == Some(&"desc")), "{:?}", asked.order_by);
    }
    let key = [Key::CreateTime, Key::DueTime, Key::UpdateTime][usize::from(asked.key) % 3];
    let order = order.filter(|_| !asked.order_by.is_empty()).unwrap_or(Order { key, descending: asked.descending });
    let filter = Filter {
        completed: asked.completed,
        due_after: asked.due_after.and_then(due),
        due_before: asked.due_before.and_then(due),
        label: asked.label.map(str::to_owned).filter(|label| !label.is_empty()),
        words: Words::of(asked.query),
        show_deleted: asked.show_deleted,
    };
    let tasks: Vec<Task> = asked.tasks.iter().take(24).enumerate().filter_map(|(at, given)| task(at, given)).collect();
    HOME.runtime.block_on(list(tasks, &filter, order, usize::from(asked.size % 8) + 1));
});

async fn list(tasks: Vec<Task>, filter: &Filter, order: Order, size: usize) {
    // Everybody has their own tasks, and nobody sees those of the runs before.
    let number = OWNERS.get();
    OWNERS.set(number + 1);
    let (owner, now) = (UserId::from(Uuid::from_u128(number)), time(255));
    let mut tasks = if tasks.is_empty() { tasks } else { store(owner, tasks, now).await };
    tasks.retain(|task| filter.matches(task));
    tasks.sort_by_key(|task| order.position(task));
    if order.descending {
        tasks.reverse();
    }
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let query = Query { filter: filter.clone(), order, after, size };
        let page = HOME.store.list(owner, query).await.expect("it can be listed");
        assert!(page.tasks.len() <= size);
        listed.extend(page.tasks);
        assert!(listed.len() <= tasks.len(), "there is an end");
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, tasks);
    while !HOME.store.erase(owner, now).await.expect("it can be erased") {}
}

async fn store(owner: UserId, tasks: Vec<Task>, now: Timestamp) -> Vec<Task> {
    let origin = Origin { actor: Actor::User, turn: None, request: None };
    let step = |task| Step { expected: None, task, change: Some(Difference { kind: Kind::Create, before: None }) };
    let plan = tasks.into_iter().map(step).collect::<Vec<_>>().into();
    match HOME.store.commit(owner, origin, plan, now).await.expect("it can be stored") {
        Commit::Committed(answer) => answer.tasks,
        other => panic!("{other:?}"),
    }
}

fn task(at: usize, given: &Given) -> Option<Task> {
    let created = time(given.created);
    let updated = time(given.updated).max(created);
    Some(Task {
        id: TaskId(Uuid::from_u128(at as u128 + 1)),
        version: Seq::default(),
        title: Title::new(given.title).ok()?,
        description: Description::new(given.description).ok()?,
        priority: Priority::default(),
        due_time: given.due.and_then(due),
        labels: Labels::new(given.labels.iter().map(|label| (*label).to_owned()).collect()).ok()?,
        create_time: created,
        update_time: updated,
        complete_time: given.is_completed.then_some(updated),
        delete_time: given.is_deleted.then_some(updated),
    })
}

fn time(seconds: u8) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + i64::from(seconds)).expect("a time")
}

fn due(seconds: i8) -> Option<DueTime> {
    DueTime::new(seconds.into(), 0).ok()
}
