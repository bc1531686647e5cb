//! The tables `heads`, `changes` and `requests`: the change log and its index by request.

use errand_changelog::{
    Actor, Change, Extent, Fingerprint, Known, Origin, REQUESTS_KEPT, Record, Request, Seq, UserId,
};
use errand_storage::{
    Error,
    sqlite::{micros, timestamp},
};
use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, Row, ToSql, params};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    domain::{task::Task, write::Kind},
    store::{Answer, Difference, Earlier, Log},
};

/// Answers too old to be known that one commit takes away.
const SWEPT: i64 = 8;

/// How far the owner's log goes.
pub(super) fn log(db: &Connection, owner: UserId) -> Result<Log, Error> {
    let mut statement = db.prepare_cached("SELECT epoch FROM log")?;
    let epoch = statement.query_row([], |row| row.get(0))?;
    let mut statement = db.prepare_cached("SELECT seq, compacted, erase_time FROM heads WHERE owner = ?1")?;
    let mut rows = statement.query(params![owner.as_uuid()])?;
    Ok(match rows.next()? {
        None => Log { extent: Extent { epoch, head: 0, compacted: 0 }, is_erased: false },
        Some(row) => Log {
            extent: Extent { epoch, head: row.get("seq")?, compacted: row.get("compacted")? },
            is_erased: row.get::<_, Option<i64>>("erase_time")?.is_some(),
        },
    })
}

/// Where the owner's log ends; nothing when the owner was erased.
pub(super) fn head(db: &Connection, owner: UserId) -> Result<Option<Seq>, Error> {
    let mut statement = db.prepare_cached("SELECT seq, erase_time FROM heads WHERE owner = ?1")?;
    let mut rows = statement.query(params![owner.as_uuid()])?;
    let Some(row) = rows.next()? else { return Ok(Some(0)) };
    let erased: Option<i64> = row.get("erase_time")?;
    Ok(if erased.is_none() { Some(row.get("seq")?) } else { None })
}

/// Moves the end of the owner's log.
pub(super) fn set_head(db: &Connection, owner: UserId, seq: Seq) -> Result<(), Error> {
    let mut statement = db.prepare_cached(
        "INSERT INTO heads (owner, seq) VALUES (?1, ?2) ON CONFLICT (owner) DO UPDATE SET seq = excluded.seq",
    )?;
    statement.execute(params![owner.as_uuid(), seq])?;
    Ok(())
}

/// Appends one change; the task's version is its place in the log. What is purged has no after.
pub(super) fn append(
    db: &Connection,
    owner: UserId,
    origin: &Origin,
    difference: &Difference,
    task: &Task,
    now: Timestamp,
) -> Result<(), Error> {
    let mut statement = db.prepare_cached(
        "INSERT INTO changes (owner, seq, time, actor, turn, request_id, kind, task, before, after)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let after = Some(task).filter(|_| difference.kind != Kind::Purge);
    statement.execute(params![
        owner.as_uuid(),
        task.version,
        micros(now),
        origin.actor.as_str(),
        origin.turn,
        origin.request.as_ref().map(|request| request.id.as_str()),
        difference.kind.as_str(),
        task.id.0,
        difference.before.as_ref().map(to_json).transpose()?,
        after.map(to_json).transpose()?,
    ])?;
    Ok(())
}

/// The changes after `after`, oldest first.
pub(super) fn after(db: &Connection, owner: UserId, after: Seq, limit: usize) -> Result<Vec<Change<Task>>, Error> {
    let statement = db.prepare_cached(
        "SELECT owner, seq, time, actor, turn, request_id, kind, before, after
         FROM changes WHERE owner = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    read(statement, owner, params![owner.as_uuid(), after, count(limit)])
}

/// The changes of a turn after `after`, oldest first.
pub(super) fn of_turn(
    db: &Connection,
    owner: UserId,
    turn: Uuid,
    after: Seq,
    limit: usize,
) -> Result<Vec<Change<Task>>, Error> {
    let statement = db.prepare_cached(
        "SELECT owner, seq, time, actor, turn, request_id, kind, before, after
         FROM changes INDEXED BY changes_by_turn
         WHERE owner = ?1 AND turn = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4",
    )?;
    read(statement, owner, params![owner.as_uuid(), turn, after, count(limit)])
}

/// The changes from `first` to `last`, oldest first.
pub(super) fn between(
    db: &Connection,
    owner: UserId,
    (first, last): (Seq, Seq),
    limit: usize,
) -> Result<Vec<Change<Task>>, Error> {
    let statement = db.prepare_cached(
        "SELECT owner, seq, time, actor, turn, request_id, kind, before, after
         FROM changes WHERE owner = ?1 AND seq >= ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4",
    )?;
    read(statement, owner, params![owner.as_uuid(), first, last, count(limit)])
}

fn read(
    mut statement: CachedStatement<'_>,
    owner: UserId,
    parameters: &[&dyn ToSql],
) -> Result<Vec<Change<Task>>, Error> {
    let mut rows = statement.query(parameters)?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        changes.push(change(row, owner)?);
    }
    Ok(changes)
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn change(row: &Row<'_>, owner: UserId) -> Result<Change<Task>, Error> {
    let seq: Seq = row.get("seq")?;
    let wrong = |column| Error::Inconsistent { table: "changes", column, key: format!("{owner}/{seq}") };
    if row.get::<_, Uuid>("owner")? != *owner.as_uuid() {
        return Err(wrong("owner"));
    }
    let task = |column: &'static str| -> Result<Option<Task>, Error> {
        let json: Option<String> = row.get(column)?;
        json.map(|json| from_json(json.as_bytes()).ok_or_else(|| wrong(column))).transpose()
    };
    Ok(Change {
        seq,
        time: timestamp(row.get("time")?).map_err(|_| wrong("time"))?,
        actor: Actor::parse(&row.get::<_, String>("actor")?).ok_or_else(|| wrong("actor"))?,
        turn: row.get("turn")?,
        request_id: row.get("request_id")?,
        kind: row.get("kind")?,
        before: task("before")?,
        after: task("after")?,
    })
}

/// What is known of a request; an answer that is too old is not.
pub(super) fn earlier(
    db: &Connection,
    owner: UserId,
    request: Option<&Request>,
    now: Timestamp,
) -> Result<Earlier, Error> {
    let Some(request) = request else { return Ok(Earlier::New) };
    let wrong = |column| Error::Inconsistent { table: "requests", column, key: format!("{owner}/{}", request.id) };
    let mut statement = db.prepare_cached(
        "SELECT method, fingerprint, answer FROM requests WHERE owner = ?1 AND request_id = ?2 AND time > ?3",
    )?;
    let mut rows = statement.query(params![owner.as_uuid(), request.id, oldest_kept(now)])?;
    let record = match rows.next()? {
        None => None,
        Some(row) => {
            let fingerprint: Vec<u8> = row.get("fingerprint")?;
            Some(Record {
                method: row.get("method")?,
                fingerprint: Fingerprint::from_bytes(&fingerprint).ok_or_else(|| wrong("fingerprint"))?,
                answer: row.get("answer")?,
            })
        }
    };
    Ok(match request.judge(record) {
        Known::New => Earlier::New,
        Known::Reused => Earlier::Reused,
        Known::Replay(answer) => Earlier::Replayed(from_json(&answer).ok_or_else(|| wrong("answer"))?),
    })
}

/// Keeps the first answer to a request, and lets a few go that are too old.
pub(super) fn remember(
    db: &Connection,
    owner: UserId,
    request: &Request,
    answer: &Answer,
    now: Timestamp,
) -> Result<(), Error> {
    let mut sweep = db.prepare_cached(
        "DELETE FROM requests WHERE owner = ?1 AND request_id IN (
             SELECT request_id FROM requests WHERE owner = ?1 AND time <= ?2 ORDER BY time LIMIT ?3)",
    )?;
    sweep.execute(params![owner.as_uuid(), oldest_kept(now), SWEPT])?;
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO requests (owner, request_id, method, fingerprint, answer, time)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let answer = to_json(answer)?.into_bytes();
    insert.execute(params![
        owner.as_uuid(),
        request.id,
        request.method,
        request.fingerprint.as_bytes(),
        answer,
        micros(now)
    ])?;
    Ok(())
}

fn oldest_kept(now: Timestamp) -> i64 {
    micros(now).saturating_sub(i64::try_from(REQUESTS_KEPT.as_micros()).unwrap_or(i64::MAX))
}

fn to_json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Engine(error.to_string()))
}

fn from_json<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    serde_json::from_slice(json).ok()
}
