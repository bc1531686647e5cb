//! Tasks in PostgreSQL. Every method is one statement and one round trip; the statements are in
//! `tasks`, `list`, `changes` and `housekeeping`, what writes is a function of the migrations.
//!
//! A read names its owner to the policies of row level security in a CTE that the rest of the
//! statement joins laterally, so that it is evaluated first. Its rows are compared with the owner all
//! the same.

mod changes;
mod housekeeping;
mod list;
mod tasks;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use errand_changelog::{Change, Hints, Origin, Request, Seq, UserId};
use errand_storage::{
    Error, Migration, Postgres as Database, Ready, Schema,
    postgres::{
        Settings, Statement, Time,
        wake::{Heads, Wake},
    },
};
use jiff::Timestamp;
use sqlx::Row as _;
use uuid::Uuid;

use super::{Ages, Answer, Back, Commit, Earlier, Log, Page, Plan, Query, Selection, Step, Store};
use crate::domain::{
    task::{Task, TaskId},
    write::Kind,
};

/// The schema, step by step.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "tasks",
        sql: include_str!("../../../../../migrations/task/postgres/0001_tasks.sql"),
    },
    Migration {
        version: 2,
        name: "changes",
        sql: include_str!("../../../../../migrations/task/postgres/0002_changes.sql"),
    },
];

/// How far the logs of some owners go. An erased one is further than any.
const HEADS: &str = "SELECT owner, CASE WHEN erase_time IS NULL THEN seq ELSE 9223372036854775807 END AS seq
     FROM task.heads WHERE owner = ANY ($1)";

/// A task store in a PostgreSQL database.
#[derive(Debug, Clone)]
pub struct Postgres {
    database: Database,
    hints: Hints,
    wake: Wake,
}

/// Hints of other replicas, for those who listen here.
struct Elsewhere(Hints);

impl Postgres {
    /// Opens a database that was migrated.
    pub async fn open(settings: &Settings, schema: &Schema) -> Result<Self, Error> {
        let database = Database::open(settings, schema).await?;
        let hints = Hints::default();
        let wake = Wake::start(&database, HEADS, Arc::new(Elsewhere(hints.clone())));
        Ok(Self { database, hints, wake })
    }

    /// Follows whether the database takes writes.
    #[must_use]
    pub fn ready(&self) -> Ready {
        self.database.ready()
    }

    /// How many statements were sent so far.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.database.statements()
    }

    /// Wakes who follows the owner's log, here and elsewhere.
    fn hint(&self, owner: UserId, seq: Seq) {
        self.hints.hint(owner, seq);
        self.wake.tell(*owner.as_uuid(), seq);
    }
}

#[async_trait]
impl Store for Postgres {
    async fn get(&self, owner: UserId, id: TaskId) -> Result<Option<Task>, Error> {
        tasks::get(&self.database, owner, id).await
    }

    async fn look(
        &self,
        owner: UserId,
        ids: Vec<TaskId>,
        request: Option<Request>,
        now: Timestamp,
    ) -> Result<(Vec<Option<Task>>, Earlier), Error> {
        tasks::look(&self.database, owner, &ids, request.as_ref(), now).await
    }

    async fn look_back(
        &self,
        owner: UserId,
        selection: Selection,
        request: Option<Request>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Back, Error> {
        changes::look_back(&self.database, owner, selection, request.as_ref(), limit, now).await
    }

    async fn commit(&self, owner: UserId, origin: Origin, plan: Plan, now: Timestamp) -> Result<Commit, Error> {
        let outcome = commit(&self.database, owner, &origin, plan, now).await?;
        if let Commit::Committed(answer) = &outcome
            && let Some(newest) = answer.tasks.iter().map(|task| task.version).max()
        {
            self.hint(owner, newest);
        }
        Ok(outcome)
    }

    async fn list(&self, owner: UserId, query: Query) -> Result<Page, Error> {
        list::page(&self.database, owner, &query).await
    }

    async fn log(&self, owner: UserId) -> Result<Log, Error> {
        changes::log(&self.database, owner).await
    }

    async fn changes(
        &self,
        owner: UserId,
        after: Seq,
        turn: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<Change<Task>>, Log), Error> {
        match turn {
            None => changes::after(&self.database, owner, after, limit).await,
            Some(turn) => changes::of_turn(&self.database, owner, turn, after, limit).await,
        }
    }

    async fn erase(&self, owner: UserId, now: Timestamp) -> Result<bool, Error> {
        let all_gone = housekeeping::erase(&self.database, owner, now).await?;
        // Whoever watches is told that there is nothing to watch any more.
        self.hint(owner, Seq::MAX);
        Ok(all_gone)
    }

    async fn untidy(&self, after: Option<UserId>, ages: Ages) -> Result<(Vec<UserId>, Option<UserId>), Error> {
        housekeeping::untidy(&self.database, after, &ages).await
    }

    async fn expired(&self, owner: UserId, before: Timestamp, limit: usize) -> Result<Vec<Task>, Error> {
        tasks::expired(&self.database, owner, before, limit).await
    }

    async fn compact(&self, owner: UserId, before: Timestamp) -> Result<bool, Error> {
        housekeeping::compact(&self.database, owner, before).await
    }

    async fn forget(&self, owner: UserId, before: Timestamp) -> Result<bool, Error> {
        housekeeping::forget(&self.database, owner, before).await
    }

    fn hints(&self) -> &Hints {
        &self.hints
    }

    async fn close(&self) {
        self.database.close().await;
    }
}

/// The write door.
async fn commit(db: &Database, owner: UserId, origin: &Origin, plan: Plan, now: Timestamp) -> Result<Commit, Error> {
    let request = origin.request.as_ref();
    let steps = &plan.steps;
    let change = |step: &'_ Step| step.change.as_ref().map(|change| change.kind);
    let mut places = Vec::with_capacity(steps.len());
    let mut changed: Seq = 0;
    for step in steps {
        places.push(step.change.is_some().then(|| {
            changed += 1;
            changed
        }));
    }
    let before = |step: &'_ Step| step.change.as_ref()?.before.as_ref().map(changes::to_json);
    let befores = steps.iter().map(|step| before(step).transpose()).collect::<Result<Vec<_>, _>>()?;
    let tasks = steps.iter().map(|step| changes::to_json(&step.task)).collect::<Result<Vec<_>, _>>()?;
    let labels = |step: &'_ Step| tasks::relabelled(step).as_ref().map(changes::to_json);
    let labels = steps.iter().map(|step| labels(step).transpose()).collect::<Result<Vec<_>, _>>()?;
    let statement = Statement::new(
        "commit",
        "SELECT outcome, head, method, fingerprint, answer::text AS answer
         FROM task.commit_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
             $13::text[]::jsonb[], $14::text[]::jsonb[], $15::text[]::jsonb[], $16::jsonb)",
    )
    .bind(owner.as_uuid())
    .bind(Time(now))
    .bind(origin.actor.as_str())
    .bind(origin.turn)
    .bind(request.map(|request| request.id.as_str()))
    .bind(request.map(|request| request.method))
    .bind(request.map(|request| request.fingerprint.as_bytes().as_slice()))
    .bind(changes::oldest_kept(now))
    .bind(steps.iter().map(|step| step.task.id.0).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.expected).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| change(step).map(Kind::as_str)).collect::<Vec<_>>())
    .bind(places.as_slice())
    .bind(befores)
    .bind(tasks)
    .bind(Some(labels).filter(|labels| labels.iter().any(Option::is_some)))
    .bind(changes::to_json(&plan.conflicts)?);
    let rows = db.write(statement).await?;
    let [row] = rows.as_slice() else { return Err(Error::Engine("a write has no outcome".to_owned())) };
    let outcome: &str = row.try_get("outcome")?;
    match (outcome, request) {
        ("committed", _) => {
            let head: Seq = row.try_get("head")?;
            let tasks = plan.steps.into_iter().zip(places).map(|(step, place)| {
                let version = place.map_or(step.task.version, |place| head + place);
                Task { version, ..step.task }
            });
            Ok(Commit::Committed(Answer { tasks: tasks.collect(), conflicts: plan.conflicts }))
        }
        ("known", Some(request)) => Ok(match changes::judge(row, owner, request)? {
            Earlier::Replayed(answer) => Commit::Replayed(answer),
            Earlier::New | Earlier::Reused => Commit::Reused,
        }),
        ("stale", _) => Ok(Commit::Stale),
        ("erased", _) => Ok(Commit::Erased),
        _ => Err(Error::Engine(format!("a write came to {outcome}"))),
    }
}

// === impl Elsewhere ===

impl Heads for Elsewhere {
    fn awaited(&self) -> Vec<Uuid> {
        self.0.awaited().iter().map(|owner| *owner.as_uuid()).collect()
    }

    fn found(&self, owner: Uuid, seq: i64) {
        self.0.hint(UserId::from(owner), seq);
    }
}
