//! Tasks in one SQLite file. Every method is one closure on the writer or a reader thread, and one
//! transaction; the statements are in `tasks`, `list` and `changes`.

mod changes;
mod list;
mod tasks;

use std::path::Path;

use async_trait::async_trait;
use errand_changelog::{Change, Origin, Request, Seq, UserId};
use errand_storage::{Error, Migration, Outcome};
use jiff::Timestamp;
use rusqlite::Connection;

use super::{Commit, Earlier, Page, Query, Step, Store};
use crate::domain::task::{Task, TaskId};

/// The schema, step by step.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "tasks",
    sql: include_str!("../../../../../migrations/task/sqlite/0001_tasks.sql"),
}];

/// A task store in a SQLite file.
#[derive(Debug, Clone)]
pub struct Sqlite(errand_storage::Sqlite);

impl Sqlite {
    /// Opens a file that was migrated.
    pub fn open(path: &Path) -> Result<Self, Error> {
        errand_storage::Sqlite::open(path, MIGRATIONS).map(Self)
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn get(&self, owner: UserId, id: TaskId) -> Result<Option<Task>, Error> {
        self.0.get(move |db| tasks::get(db, owner, id)).await
    }

    async fn look(
        &self,
        owner: UserId,
        id: TaskId,
        request: Option<Request>,
        now: Timestamp,
    ) -> Result<(Option<Task>, Earlier), Error> {
        let look = move |db: &Connection| {
            let earlier = changes::earlier(db, owner, request.as_ref(), now)?;
            Ok((tasks::get(db, owner, id)?, earlier))
        };
        self.0.get(look).await
    }

    async fn commit(&self, owner: UserId, origin: Origin, steps: Vec<Step>, now: Timestamp) -> Result<Commit, Error> {
        self.0.write(move |db| commit(db, owner, &origin, &steps, now)).await
    }

    async fn list(&self, owner: UserId, query: Query) -> Result<Page, Error> {
        self.0.read(move |db| list::page(db, owner, &query)).await
    }

    async fn changes(&self, owner: UserId, after: Seq, limit: usize) -> Result<Vec<Change<Task>>, Error> {
        self.0.read(move |db| changes::after(db, owner, after, limit)).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

/// The write door.
fn commit(
    db: &Connection,
    owner: UserId,
    origin: &Origin,
    steps: &[Step],
    now: Timestamp,
) -> Result<Outcome<Commit>, Error> {
    match changes::earlier(db, owner, origin.request.as_ref(), now)? {
        Earlier::New => {}
        Earlier::Replayed(answer) => return Ok(Outcome::Discard(Commit::Replayed(answer))),
        Earlier::Reused => return Ok(Outcome::Discard(Commit::Reused)),
    }
    for step in steps {
        if tasks::version(db, owner, step.task.id)? != step.expected {
            return Ok(Outcome::Discard(Commit::Stale));
        }
    }
    let head = changes::head(db, owner)?;
    let mut seq = head;
    let mut answer = Vec::with_capacity(steps.len());
    for step in steps {
        let mut task = step.task.clone();
        if let Some(difference) = &step.change {
            seq += 1;
            task.version = seq;
            tasks::put(db, owner, difference.before.as_ref(), &task)?;
            changes::append(db, owner, origin, difference, &task, now)?;
        }
        answer.push(task);
    }
    if seq > head {
        changes::set_head(db, owner, seq)?;
    }
    if let Some(request) = &origin.request {
        changes::remember(db, owner, request, &answer, now)?;
    }
    Ok(Outcome::Commit(Commit::Committed(answer)))
}
