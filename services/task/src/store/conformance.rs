//! What every task store must do, written against `dyn Store` and run on each engine.

mod door;
mod history;
mod lists;
mod upkeep;

use std::sync::Arc;

use errand_changelog::{Actor, Origin, Request, UserId};
use errand_cluster::{Cluster, Database};
use errand_storage::postgres::Settings;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::{Answer, Commit, Difference, Page, Query, Step, Store, postgres, sqlite};
use crate::domain::{
    filter::{Filter, Order},
    task::{Description, DueTime, Labels, Priority, Task, TaskId, Title},
    write::{Applied, Draft, Patch, Refusal, Write, apply},
};

/// An engine under test, on a database of its own.
struct Engine {
    name: &'static str,
    store: Arc<dyn Store>,
    _folder: Option<TempDir>,
}

/// Every engine that there is: PostgreSQL where it is installed.
async fn engines() -> Vec<Engine> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("task.db");
    errand_storage::migrate::up(&path, sqlite::MIGRATIONS).unwrap();
    let store = Arc::new(sqlite::Sqlite::open(&path).unwrap());
    let mut engines = vec![Engine { name: "sqlite", store, _folder: Some(folder) }];
    if let Some((store, _)) = server().await {
        engines.push(Engine { name: "postgres", store: Arc::new(store), _folder: None });
    }
    engines
}

/// A store on a fresh database of PostgreSQL.
pub(super) async fn server() -> Option<(postgres::Postgres, Database)> {
    let database = Cluster::shared()?.database();
    let settings = |role| Settings::new(database.url(role).into());
    errand_storage::postgres::migrate::up(&settings("errand_migrate"), &crate::SCHEMA).await.unwrap();
    let store = postgres::Postgres::open(&settings("errand_task"), &crate::SCHEMA).await.unwrap();
    Some((store, database))
}

pub(super) fn user(number: u128) -> UserId {
    UserId::from(Uuid::from_u128(number))
}

pub(super) fn id(number: u128) -> TaskId {
    // Scattered, so that the order of ids says nothing about the order of creation.
    TaskId(Uuid::from_u128(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
}

/// Seconds after nine o'clock.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::constant(1_795_251_600, 0) + SignedDuration::from_secs(seconds)
}

pub(super) fn by_user() -> Origin {
    Origin { actor: Actor::User, turn: None, request: None }
}

pub(super) fn requested(request_id: &str, body: &str) -> Origin {
    let method = "/errand.task.v1.TaskService/CreateTask";
    Origin { request: Some(Request::new(request_id, method, body.as_bytes())), ..by_user() }
}

pub(super) fn draft(title: &str) -> Draft {
    Draft {
        title: Title::new(title).unwrap(),
        description: Description::default(),
        priority: Priority::None,
        due_time: None,
        labels: Labels::default(),
    }
}

pub(super) fn due(seconds: i64) -> Option<DueTime> {
    Some(DueTime::new(seconds, 0).unwrap())
}

pub(super) fn labels(labels: &[&str]) -> Labels {
    Labels::new(labels.iter().map(ToString::to_string).collect()).unwrap()
}

pub(super) fn renamed(title: &str) -> Write {
    Write::Patch(Patch { title: Some(Title::new(title).unwrap()), ..Patch::default() })
}

/// The step that a write comes to.
pub(super) fn step(id: TaskId, before: Option<Task>, write: &Write, now: Timestamp) -> Result<Step, Refusal> {
    let expected = before.as_ref().map(|before| before.version);
    Ok(match apply(id, before.as_ref(), write, None, now)? {
        Applied::Changed(task) => Step { expected, task, change: Some(Difference { kind: write.kind(), before }) },
        Applied::Unchanged(task) => Step { expected, task, change: None },
    })
}

/// Reads, decides and commits as `app` does, until nobody was faster.
pub(super) async fn act(
    store: &dyn Store,
    owner: UserId,
    id: TaskId,
    write: &Write,
    now: Timestamp,
) -> Result<Task, Refusal> {
    loop {
        let before = store.get(owner, id).await.unwrap();
        let step = step(id, before, write, now)?;
        match store.commit(owner, by_user(), vec![step].into(), now).await.unwrap() {
            Commit::Committed(mut answer) => return Ok(answer.tasks.remove(0)),
            Commit::Stale => {}
            other => panic!("a write without a request came to {other:?}"),
        }
    }
}

pub(super) async fn create(store: &dyn Store, owner: UserId, id: TaskId, draft: Draft, now: Timestamp) -> Task {
    act(store, owner, id, &Write::Create(draft), now).await.unwrap()
}

/// All pages of a list.
pub(super) async fn walk(store: &dyn Store, owner: UserId, filter: &Filter, order: Order, size: usize) -> Vec<Task> {
    let (mut tasks, mut after) = (Vec::new(), None);
    loop {
        let query = Query { filter: filter.clone(), order, after, size };
        let Page { tasks: mut page, next, log: _ } = store.list(owner, query).await.unwrap();
        assert!(page.len() <= size);
        tasks.append(&mut page);
        match next {
            None => return tasks,
            Some(next) => {
                assert!(after != Some(next), "a page does not go on");
                after = Some(next);
            }
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
