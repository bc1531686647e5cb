//! The tables `heads`, `changes` and `requests`: the change log and its index by request.

use std::collections::BTreeMap;

use errand_changelog::{Actor, Change, Extent, Fingerprint, Known, REQUESTS_KEPT, Record, Request, Seq, UserId};
use errand_storage::{
    Error, Postgres,
    postgres::{Statement, Time},
};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

use super::tasks;
use crate::{
    domain::task::{Task, TaskId},
    store::{Back, Earlier, Log, Selection},
};

/// Of an owner, who may have none.
pub(super) const LOG: &str = "SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
     FROM task.log l LEFT JOIN task.heads h ON h.owner = $1";

/// The log comes with every row, and with one more where there is no change.
pub(super) const AFTER: &str = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
     SELECT log.epoch, log.head, log.compacted, log.erase_time,
            c.owner AS change_owner, c.seq, c.time, c.actor, c.turn, c.request_id, c.kind,
            c.before::text AS before, c.after::text AS after
     FROM me
     CROSS JOIN LATERAL (
         SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
         FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
     LEFT JOIN LATERAL (
         SELECT * FROM task.changes
         WHERE owner = me.owner AND seq > $2 ORDER BY seq LIMIT $3) c ON true";

/// As `AFTER`.
pub(super) const OF_TURN: &str = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
     SELECT log.epoch, log.head, log.compacted, log.erase_time,
            c.owner AS change_owner, c.seq, c.time, c.actor, c.turn, c.request_id, c.kind,
            c.before::text AS before, c.after::text AS after
     FROM me
     CROSS JOIN LATERAL (
         SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
         FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
     LEFT JOIN LATERAL (
         SELECT * FROM task.changes
         WHERE owner = me.owner AND turn = $2 AND seq > $3 ORDER BY seq LIMIT $4) c ON true";

/// As `AFTER`; each change comes with its task, and the answer to the request with the first.
pub(super) const BACK_AT_TURN: &str =
    "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
     SELECT log.epoch, log.head, log.compacted, log.erase_time, r.method, r.fingerprint,
            CASE WHEN c.place IS NULL OR c.place = 1 THEN r.answer::text END AS answer,
            c.owner AS change_owner, c.seq, c.time, c.actor, c.turn, c.request_id, c.kind,
            c.before::text AS before, c.after::text AS after,
            t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
            t.create_time, t.update_time, t.complete_time, t.delete_time
     FROM me
     CROSS JOIN LATERAL (
         SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
         FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
     LEFT JOIN LATERAL (
         SELECT method, fingerprint, answer, time FROM task.requests
         WHERE owner = me.owner AND request_id = $2 OFFSET 0) r ON r.time > $3
     LEFT JOIN LATERAL (
         SELECT *, row_number() OVER (ORDER BY seq) AS place FROM task.changes
         WHERE owner = me.owner AND turn = $5 ORDER BY seq LIMIT $4) c ON true
     LEFT JOIN LATERAL (
         SELECT * FROM task.tasks WHERE owner = me.owner AND id = c.task OFFSET 0) t ON true";

/// As `BACK_AT_TURN`.
pub(super) const BACK_AT_RANGE: &str =
    "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
     SELECT log.epoch, log.head, log.compacted, log.erase_time, r.method, r.fingerprint,
            CASE WHEN c.place IS NULL OR c.place = 1 THEN r.answer::text END AS answer,
            c.owner AS change_owner, c.seq, c.time, c.actor, c.turn, c.request_id, c.kind,
            c.before::text AS before, c.after::text AS after,
            t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
            t.create_time, t.update_time, t.complete_time, t.delete_time
     FROM me
     CROSS JOIN LATERAL (
         SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
         FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
     LEFT JOIN LATERAL (
         SELECT method, fingerprint, answer, time FROM task.requests
         WHERE owner = me.owner AND request_id = $2 OFFSET 0) r ON r.time > $3
     LEFT JOIN LATERAL (
         SELECT *, row_number() OVER (ORDER BY seq) AS place FROM task.changes
         WHERE owner = me.owner AND seq >= $5 AND seq <= $6 ORDER BY seq LIMIT $4) c ON true
     LEFT JOIN LATERAL (
         SELECT * FROM task.tasks WHERE owner = me.owner AND id = c.task OFFSET 0) t ON true";

/// How far the owner's log goes.
pub(super) async fn log(db: &Postgres, owner: UserId) -> Result<Log, Error> {
    let statement = Statement::new("log", LOG);
    log_of(&db.read(statement.bind(owner.as_uuid())).await?)
}

/// The changes after `after`, oldest first, and the log.
pub(super) async fn after(
    db: &Postgres,
    owner: UserId,
    after: Seq,
    limit: usize,
) -> Result<(Vec<Change<Task>>, Log), Error> {
    let statement = Statement::new("changes", AFTER);
    let rows = db.read(statement.bind(owner.to_string()).bind(after).bind(count(limit))).await?;
    Ok((changes(&rows, owner)?, log_of(&rows)?))
}

/// The changes of a turn after `after`, oldest first, and the log.
pub(super) async fn of_turn(
    db: &Postgres,
    owner: UserId,
    turn: Uuid,
    after: Seq,
    limit: usize,
) -> Result<(Vec<Change<Task>>, Log), Error> {
    let statement = Statement::new("changes_of_turn", OF_TURN);
    let rows = db.read(statement.bind(owner.to_string()).bind(turn).bind(after).bind(count(limit))).await?;
    Ok((changes(&rows, owner)?, log_of(&rows)?))
}

/// What is to be known before changes are taken back: each change comes with its task as it is.
pub(super) async fn look_back(
    db: &Postgres,
    owner: UserId,
    selection: Selection,
    request: Option<&Request>,
    limit: usize,
    now: Timestamp,
) -> Result<Back, Error> {
    let statement = match selection {
        Selection::Turn(turn) => Statement::new("look_back_at_turn", BACK_AT_TURN)
            .bind(owner.to_string())
            .bind(request.map(|request| request.id.as_str()))
            .bind(oldest_kept(now))
            .bind(count(limit))
            .bind(turn),
        Selection::Range(first, last) => Statement::new("look_back_at_range", BACK_AT_RANGE)
            .bind(owner.to_string())
            .bind(request.map(|request| request.id.as_str()))
            .bind(oldest_kept(now))
            .bind(count(limit))
            .bind(first)
            .bind(last),
    };
    let rows = db.read(statement).await?;
    let mut touched = BTreeMap::<TaskId, Task>::new();
    for row in &rows {
        if row.try_get::<Option<Uuid>, _>("id")?.is_some() {
            let task = tasks::task(row, owner)?;
            touched.insert(task.id, task);
        }
    }
    Ok(Back {
        earlier: earlier(&rows, owner, request)?,
        log: log_of(&rows)?,
        changes: changes(&rows, owner)?,
        tasks: touched.into_values().collect(),
    })
}

/// The log, which comes with every row of an answer.
pub(super) fn log_of(rows: &[PgRow]) -> Result<Log, Error> {
    let wrong = |column| Error::Inconsistent { table: "log", column, key: "1".to_owned() };
    let row = rows.first().ok_or_else(|| wrong("epoch"))?;
    let erased: Option<Time> = row.try_get("erase_time")?;
    Ok(Log {
        extent: Extent {
            epoch: row.try_get("epoch")?,
            head: row.try_get::<Option<Seq>, _>("head")?.unwrap_or_default(),
            compacted: row.try_get::<Option<Seq>, _>("compacted")?.unwrap_or_default(),
        },
        is_erased: erased.is_some(),
    })
}

/// The changes of an answer; a row may have none.
fn changes(rows: &[PgRow], owner: UserId) -> Result<Vec<Change<Task>>, Error> {
    let mut changes = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(seq) = row.try_get("seq")? {
            changes.push(change(row, owner, seq)?);
        }
    }
    Ok(changes)
}

fn change(row: &PgRow, owner: UserId, seq: Seq) -> Result<Change<Task>, Error> {
    let wrong = |column| Error::Inconsistent { table: "changes", column, key: format!("{owner}/{seq}") };
    if row.try_get::<Uuid, _>("change_owner")? != *owner.as_uuid() {
        return Err(wrong("owner"));
    }
    let task = |column: &'static str| -> Result<Option<Task>, Error> {
        let json: Option<&str> = row.try_get(column)?;
        json.map(|json| serde_json::from_str(json).map_err(|_| wrong(column))).transpose()
    };
    let Time(time) = row.try_get("time").map_err(|_| wrong("time"))?;
    Ok(Change {
        seq,
        time,
        actor: Actor::parse(row.try_get("actor")?).ok_or_else(|| wrong("actor"))?,
        turn: row.try_get("turn")?,
        request_id: row.try_get("request_id")?,
        kind: row.try_get("kind")?,
        before: task("before")?,
        after: task("after")?,
    })
}

/// What is known of a request, from the first row of an answer.
pub(super) fn earlier(rows: &[PgRow], owner: UserId, request: Option<&Request>) -> Result<Earlier, Error> {
    let (Some(row), Some(request)) = (rows.first(), request) else { return Ok(Earlier::New) };
    match row.try_get::<Option<&str>, _>("method")? {
        None => Ok(Earlier::New),
        Some(_) => judge(row, owner, request),
    }
}

/// What a request is beside the one that was answered under its id.
pub(super) fn judge(row: &PgRow, owner: UserId, request: &Request) -> Result<Earlier, Error> {
    let wrong = |column| Error::Inconsistent { table: "requests", column, key: format!("{owner}/{}", request.id) };
    let record = Record {
        method: row.try_get("method")?,
        fingerprint: Fingerprint::from_bytes(row.try_get("fingerprint")?).ok_or_else(|| wrong("fingerprint"))?,
        answer: row.try_get::<String, _>("answer").map_err(|_| wrong("answer"))?.into_bytes(),
    };
    Ok(match request.judge(Some(record)) {
        Known::New => Earlier::New,
        Known::Reused => Earlier::Reused,
        Known::Replay(answer) => Earlier::Replayed(serde_json::from_slice(&answer).map_err(|_| wrong("answer"))?),
    })
}

/// Answers of then and earlier are not known any more.
pub(super) fn oldest_kept(now: Timestamp) -> Time {
    tasks::time(now.checked_sub(REQUESTS_KEPT).unwrap_or(now))
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Engine(error.to_string()))
}

pub(super) fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
