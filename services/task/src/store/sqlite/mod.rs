//! Tasks in one SQLite file. Every method is one closure on the writer or a reader thread, and one
//! transaction; the statements are in `tasks`, `list` and `changes`.

mod changes;
mod housekeeping;
mod list;
mod tasks;

use std::{collections::BTreeSet, path::Path};

use async_trait::async_trait;
use errand_changelog::{Change, Hints, Origin, Request, Seq, UserId};
use errand_storage::{Error, Migration, Outcome, Ready, Sqlite as Database};
use jiff::Timestamp;
use rusqlite::Connection;
use uuid::Uuid;

use super::{Ages, Answer, Back, Commit, Earlier, Log, Page, Plan, Query, Selection, Store};
use crate::domain::{
    task::{Task, TaskId},
    write::Kind,
};

/// The schema, step by step.
pub const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "tasks", sql: include_str!("../../../../../migrations/task/sqlite/0001_tasks.sql") },
    Migration {
        version: 2,
        name: "changes",
        sql: include_str!("../../../../../migrations/task/sqlite/0002_changes.sql"),
    },
];

/// Tasks that are read by their ids where they are asked for; more of them are a reader thread's work.
const FEW: usize = 8;

/// A task store in a SQLite file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    database: Database,
    hints: Hints,
}

impl Sqlite {
    /// Opens a file that was migrated.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { database: Database::open(path, MIGRATIONS)?, hints: Hints::default() })
    }

    /// Follows whether writes find room.
    #[must_use]
    pub fn ready(&self) -> Ready {
        self.database.ready()
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn get(&self, owner: UserId, id: TaskId) -> Result<Option<Task>, Error> {
        self.database.get(move |db| tasks::get(db, owner, id)).await
    }

    async fn look(
        &self,
        owner: UserId,
        ids: Vec<TaskId>,
        request: Option<Request>,
        now: Timestamp,
    ) -> Result<(Vec<Option<Task>>, Earlier), Error> {
        let ids_are_few = ids.len() <= FEW;
        let look = move |db: &Connection| {
            let earlier = changes::earlier(db, owner, request.as_ref(), now)?;
            let tasks = ids.iter().map(|id| tasks::get(db, owner, *id)).collect::<Result<_, _>>()?;
            Ok((tasks, earlier))
        };
        if ids_are_few { self.database.get(look).await } else { self.database.read(look).await }
    }

    async fn look_back(
        &self,
        owner: UserId,
        selection: Selection,
        request: Option<Request>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Back, Error> {
        let look = move |db: &Connection| {
            let earlier = changes::earlier(db, owner, request.as_ref(), now)?;
            let changes = match selection {
                Selection::Turn(turn) => changes::of_turn(db, owner, turn, 0, limit)?,
                Selection::Range(first, last) => changes::between(db, owner, (first, last), limit)?,
            };
            let touched = changes.iter().filter_map(|change| change.before.as_ref().or(change.after.as_ref()));
            let touched: BTreeSet<TaskId> = touched.map(|task| task.id).collect();
            let tasks = touched.into_iter().filter_map(|id| tasks::get(db, owner, id).transpose());
            Ok(Back { earlier, log: changes::log(db, owner)?, tasks: tasks.collect::<Result<_, _>>()?, changes })
        };
        self.database.read(look).await
    }

    async fn commit(&self, owner: UserId, origin: Origin, plan: Plan, now: Timestamp) -> Result<Commit, Error> {
        let outcome = self.database.write(move |db| commit(db, owner, &origin, &plan, now)).await?;
        if let Commit::Committed(answer) = &outcome
            && let Some(newest) = answer.tasks.iter().map(|task| task.version).max()
        {
            self.hints.hint(owner, newest);
        }
        Ok(outcome)
    }

    async fn list(&self, owner: UserId, query: Query) -> Result<Page, Error> {
        self.database.read(move |db| list::page(db, owner, &query)).await
    }

    async fn log(&self, owner: UserId) -> Result<Log, Error> {
        self.database.read(move |db| changes::log(db, owner)).await
    }

    async fn changes(
        &self,
        owner: UserId,
        after: Seq,
        turn: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<Change<Task>>, Log), Error> {
        let read = move |db: &Connection| {
            let changes = match turn {
                None => changes::after(db, owner, after, limit)?,
                Some(turn) => changes::of_turn(db, owner, turn, after, limit)?,
            };
            Ok((changes, changes::log(db, owner)?))
        };
        self.database.read(read).await
    }

    async fn erase(&self, owner: UserId, now: Timestamp) -> Result<bool, Error> {
        let all_gone = self.database.write(move |db| housekeeping::erase(db, owner, now).map(Outcome::Commit)).await?;
        // Whoever watches is told that there is nothing to watch any more.
        self.hints.hint(owner, Seq::MAX);
        Ok(all_gone)
    }

    async fn untidy(&self, after: Option<UserId>, ages: Ages) -> Result<(Vec<UserId>, Option<UserId>), Error> {
        self.database.read(move |db| housekeeping::untidy(db, after, &ages)).await
    }

    async fn expired(&self, owner: UserId, before: Timestamp, limit: usize) -> Result<Vec<Task>, Error> {
        self.database.read(move |db| tasks::expired(db, owner, before, limit)).await
    }

    async fn compact(&self, owner: UserId, before: Timestamp) -> Result<bool, Error> {
        self.database.write(move |db| housekeeping::compact(db, owner, before).map(Outcome::Commit)).await
    }

    async fn forget(&self, owner: UserId, before: Timestamp) -> Result<bool, Error> {
        self.database.write(move |db| housekeeping::forget(db, owner, before).map(Outcome::Commit)).await
    }

    fn hints(&self) -> &Hints {
        &self.hints
    }

    async fn close(&self) {
        self.database.close().await;
    }
}

/// The write door.
fn commit(
    db: &Connection,
    owner: UserId,
    origin: &Origin,
    plan: &Plan,
    now: Timestamp,
) -> Result<Outcome<Commit>, Error> {
    let Some(head) = changes::head(db, owner)? else { return Ok(Outcome::Discard(Commit::Erased)) };
    match changes::earlier(db, owner, origin.request.as_ref(), now)? {
        Earlier::New => {}
        Earlier::Replayed(answer) => return Ok(Outcome::Discard(Commit::Replayed(answer))),
        Earlier::Reused => return Ok(Outcome::Discard(Commit::Reused)),
    }
    for step in &plan.steps {
        if tasks::version(db, owner, step.task.id)? != step.expected {
            return Ok(Outcome::Discard(Commit::Stale));
        }
    }
    let mut seq = head;
    let mut tasks = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let mut task = step.task.clone();
        if let Some(difference) = &step.change {
            seq += 1;
            task.version = seq;
            match difference.kind {
                Kind::Purge => tasks::remove(db, owner, task.id)?,
                _ => tasks::put(db, owner, difference.before.as_ref(), &task)?,
            }
            changes::append(db, owner, origin, difference, &task, now)?;
        }
        tasks.push(task);
    }
    if seq > head {
        changes::set_head(db, owner, seq)?;
    }
    let answer = Answer { tasks, conflicts: plan.conflicts.clone() };
    if let Some(request) = &origin.request {
        changes::remember(db, owner, request, &answer, now)?;
    }
    Ok(Outcome::Commit(Commit::Committed(answer)))
}
