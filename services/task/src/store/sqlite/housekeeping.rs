//! What is let go: what is too old, and everything of an owner who leaves. Each function does one
//! part of its work, small enough for other writes to pass in between, and says whether it is done.

use errand_changelog::{Seq, UserId};
use errand_storage::{Error, sqlite::micros};
use jiff::Timestamp;
use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::store::Ages;

/// Rows that one part takes away at most, of each table.
const PART: i64 = 500;
/// Owners that one look at who is untidy goes by.
const OWNERS: i64 = 1000;

/// The next owners with something older than `ages`, and where to go on.
pub(super) fn untidy(
    db: &Connection,
    after: Option<UserId>,
    ages: &Ages,
) -> Result<(Vec<UserId>, Option<UserId>), Error> {
    let mut statement = db.prepare_cached(
        "SELECT h.owner AS owner,
                EXISTS (SELECT 1 FROM tasks t INDEXED BY tasks_by_delete_time
                        WHERE t.owner = h.owner AND t.delete_time <= ?3)
                OR (SELECT c.time <= ?4 FROM changes c
                    WHERE c.owner = h.owner AND c.seq > h.compacted ORDER BY c.seq LIMIT 1)
                OR EXISTS (SELECT 1 FROM requests r INDEXED BY requests_by_time
                           WHERE r.owner = h.owner AND r.time <= ?5) AS untidy
         FROM heads h WHERE h.owner > ?1 ORDER BY h.owner LIMIT ?2",
    )?;
    // The empty blob comes before every owner.
    let after = after.map(|owner| owner.as_uuid().as_bytes().to_vec()).unwrap_or_default();
    let (deleted, changed, answered) = (micros(ages.deleted), micros(ages.changed), micros(ages.answered));
    let mut rows = statement.query(params![after, OWNERS, deleted, changed, answered])?;
    let (mut untidy, mut last, mut seen) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        let owner = UserId::from(row.get::<_, Uuid>("owner")?);
        seen += 1;
        last = Some(owner);
        // Nothing is said of an owner whose log has nothing left above its mark.
        if row.get::<_, Option<bool>>("untidy")? == Some(true) {
            untidy.push(owner);
        }
    }
    Ok((untidy, last.filter(|_| seen == OWNERS)))
}

/// Moves the mark over changes of `before` or earlier, and lets go of those that are not the newest
/// of a live task.
pub(super) fn compact(db: &Connection, owner: UserId, before: Timestamp) -> Result<bool, Error> {
    let mut statement = db.prepare_cached("SELECT compacted FROM heads WHERE owner = ?1 AND erase_time IS NULL")?;
    let mut rows = statement.query(params![owner.as_uuid()])?;
    let Some(row) = rows.next()? else { return Ok(true) };
    let mark: Seq = row.get("compacted")?;
    let mut statement =
        db.prepare_cached("SELECT seq, time FROM changes WHERE owner = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3")?;
    let mut rows = statement.query(params![owner.as_uuid(), mark, PART])?;
    let (mut moved, mut read) = (mark, 0);
    while let Some(row) = rows.next()? {
        // In order of the log, not of time: a clock may have been put back.
        if row.get::<_, i64>("time")? > micros(before) {
            break;
        }
        moved = row.get("seq")?;
        read += 1;
    }
    if moved == mark {
        return Ok(true);
    }
    // What was kept below the mark as a task's newest is the newest no more. A change says which
    // one it follows: the version of the task before it.
    let mut statement = db.prepare_cached(
        "DELETE FROM changes WHERE owner = ?1 AND seq IN (
             SELECT json_extract(before, '$.version') FROM changes
             WHERE owner = ?1 AND seq > ?2 AND seq <= ?3 AND before IS NOT NULL)",
    )?;
    statement.execute(params![owner.as_uuid(), mark, moved])?;
    let mut statement = db.prepare_cached(
        "DELETE FROM changes WHERE owner = ?1 AND seq > ?2 AND seq <= ?3 AND NOT EXISTS (
             SELECT 1 FROM tasks t
             WHERE t.owner = ?1 AND t.id = changes.task AND t.version = changes.seq AND t.deleted = 0)",
    )?;
    statement.execute(params![owner.as_uuid(), mark, moved])?;
    let mut statement = db.prepare_cached("UPDATE heads SET compacted = ?2 WHERE owner = ?1")?;
    statement.execute(params![owner.as_uuid(), moved])?;
    Ok(read < PART)
}

/// Lets go of answers of `before` or earlier.
pub(super) fn forget(db: &Connection, owner: UserId, before: Timestamp) -> Result<bool, Error> {
    let mut statement = db.prepare_cached(
        "DELETE FROM requests WHERE owner = ?1 AND request_id IN (
             SELECT request_id FROM requests WHERE owner = ?1 AND time <= ?2 ORDER BY time LIMIT ?3)",
    )?;
    let gone = statement.execute(params![owner.as_uuid(), micros(before), PART])?;
    Ok(i64::try_from(gone).is_ok_and(|gone| gone < PART))
}

/// Leaves a tombstone, and takes away a part of everything else.
pub(super) fn erase(db: &Connection, owner: UserId, now: Timestamp) -> Result<bool, Error> {
    let mut statement = db.prepare_cached(
        "INSERT INTO heads (owner, seq, erase_time) VALUES (?1, 0, ?2)
         ON CONFLICT (owner) DO UPDATE SET erase_time = coalesce(erase_time, excluded.erase_time)",
    )?;
    statement.execute(params![owner.as_uuid(), micros(now)])?;
    let mut gone = 0;
    for sql in [
        "DELETE FROM requests WHERE owner = ?1 AND request_id IN (
             SELECT request_id FROM requests WHERE owner = ?1 LIMIT ?2)",
        "DELETE FROM changes WHERE owner = ?1 AND seq IN (SELECT seq FROM changes WHERE owner = ?1 LIMIT ?2)",
        // Label rows go with their task.
        "DELETE FROM tasks WHERE owner = ?1 AND id IN (SELECT id FROM tasks WHERE owner = ?1 LIMIT ?2)",
    ] {
        gone += db.prepare_cached(sql)?.execute(params![owner.as_uuid(), PART])?;
    }
    Ok(gone == 0)
}
