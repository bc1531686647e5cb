//! The tables `tasks` and `labels`: a row, and reading one.

use std::collections::HashMap;

use errand_changelog::{Request, UserId};
use errand_storage::{
    Error, Postgres,
    postgres::{Statement, Time},
};
use jiff::Timestamp;
use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

use super::changes;
use crate::{
    domain::{
        filter::NOT_DUE,
        task::{Description, DueTime, Labels, Priority, Task, TaskId, Title},
    },
    store::{Earlier, Step},
};

/// Of an owner and an id.
pub(super) const GET: &str = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
     SELECT t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
            t.create_time, t.update_time, t.complete_time, t.delete_time
     FROM me CROSS JOIN LATERAL (
         SELECT * FROM task.tasks WHERE owner = me.owner AND id = $2 OFFSET 0) t";

/// An answer may be long: it comes with the first row only.
pub(super) const LOOK: &str = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
     SELECT t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
            t.create_time, t.update_time, t.complete_time, t.delete_time,
            r.method, r.fingerprint,
            CASE WHEN t.place IS NULL OR t.place = 1 THEN r.answer::text END AS answer
     FROM me
     LEFT JOIN LATERAL (
         SELECT method, fingerprint, answer, time FROM task.requests
         WHERE owner = me.owner AND request_id = $3 OFFSET 0) r ON r.time > $4
     LEFT JOIN LATERAL (
         SELECT found.*, row_number() OVER () AS place
         FROM unnest($2) AS wanted (id)
         CROSS JOIN LATERAL (
             SELECT * FROM task.tasks WHERE owner = me.owner AND id = wanted.id OFFSET 0) found) t ON true";

/// In the order in which they were deleted.
pub(super) const EXPIRED: &str = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
     SELECT t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
            t.create_time, t.update_time, t.complete_time, t.delete_time
     FROM me CROSS JOIN LATERAL (
         SELECT * FROM task.tasks
         WHERE owner = me.owner AND delete_time <= $2 ORDER BY delete_time LIMIT $3) t";

/// Before the year -4000.
const EARLIEST: Timestamp = Timestamp::constant(-200_000_000_000, 0);

/// A task, also a deleted one.
pub(super) async fn get(db: &Postgres, owner: UserId, id: TaskId) -> Result<Option<Task>, Error> {
    let statement = Statement::new("get_task", GET);
    let rows = db.read(statement.bind(owner.to_string()).bind(id.0)).await?;
    rows.first().map(|row| task(row, owner)).transpose()
}

/// Tasks in the order of `ids`, and what is known of a request.
pub(super) async fn look(
    db: &Postgres,
    owner: UserId,
    ids: &[TaskId],
    request: Option<&Request>,
    now: Timestamp,
) -> Result<(Vec<Option<Task>>, Earlier), Error> {
    let statement = Statement::new("look_at_tasks", LOOK)
        .bind(owner.to_string())
        .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
        .bind(request.map(|request| request.id.as_str()))
        .bind(changes::oldest_kept(now));
    let rows = db.read(statement).await?;
    let earlier = changes::earlier(&rows, owner, request)?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        if row.try_get::<Option<Uuid>, _>("id")?.is_some() {
            let task = task(row, owner)?;
            found.insert(task.id, task);
        }
    }
    Ok((ids.iter().map(|id| found.get(id).cloned()).collect(), earlier))
}

/// Tasks that were deleted at `before` or earlier.
pub(super) async fn expired(db: &Postgres, owner: UserId, before: Timestamp, limit: usize) -> Result<Vec<Task>, Error> {
    let statement = Statement::new("expired_tasks", EXPIRED);
    let statement = statement.bind(owner.to_string()).bind(time(before)).bind(changes::count(limit));
    db.read(statement).await?.iter().map(|row| task(row, owner)).collect()
}

/// The label rows that a step gives its task; nothing when they stay as they are. They are for live
/// tasks only, and go with a task that is purged.
pub(super) fn relabelled(step: &Step) -> Option<Labels> {
    let listed = |task: &Task| if task.is_deleted() { Labels::default() } else { task.labels.clone() };
    let change = step.change.as_ref()?;
    let (old, new) = (change.before.as_ref().map(listed).unwrap_or_default(), listed(&step.task));
    (old != new).then_some(new)
}

/// A time as PostgreSQL can keep it, whose own begin later than ours.
pub(super) fn time(time: Timestamp) -> Time {
    Time(time.max(EARLIEST))
}

/// The task of a row, which must be the owner's.
pub(super) fn task(row: &PgRow, owner: UserId) -> Result<Task, Error> {
    let id: Uuid = row.try_get("id")?;
    let wrong = |column| Error::Inconsistent { table: "tasks", column, key: id.to_string() };
    if row.try_get::<Uuid, _>("owner")? != *owner.as_uuid() {
        return Err(wrong("owner"));
    }
    let time = |column| -> Result<Timestamp, Error> {
        let Time(time) = row.try_get(column).map_err(|_| wrong(column))?;
        Ok(time)
    };
    let moment = |column| -> Result<Option<Timestamp>, Error> {
        let moment: Option<Time> = row.try_get(column).map_err(|_| wrong(column))?;
        Ok(moment.map(|Time(time)| time))
    };
    let due: i64 = row.try_get("due_time")?;
    let labels = serde_json::from_str(row.try_get("labels")?).map_err(|_| wrong("labels"))?;
    Ok(Task {
        id: TaskId(id),
        version: row.try_get("version")?,
        title: Title::stored(row.try_get("title")?),
        description: Description::stored(row.try_get("description")?),
        priority: Priority::from_number(row.try_get("priority")?).ok_or_else(|| wrong("priority"))?,
        due_time: (due != NOT_DUE).then(|| DueTime::stored(due)),
        labels: Labels::stored(labels),
        create_time: time("create_time")?,
        update_time: time("update_time")?,
        complete_time: moment("complete_time")?,
        delete_time: moment("delete_time")?,
    })
}
