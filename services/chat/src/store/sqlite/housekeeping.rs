//! What is let go: what is too old, and everything of an owner who leaves. Each call does one part of
//! its work, small enough for other writes to pass in between, and says whether it is done.

use errand_changelog::UserId;
use errand_storage::{Error, sqlite::micros};
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::blob;
use crate::store::Ages;

/// Rows that one part takes away at most, of each table.
const PART: i64 = 500;
/// Turns whose events one part takes away at most.
const TURNS: i64 = 50;

pub(super) fn tidy(connection: &Connection, ages: &Ages) -> Result<bool, Error> {
    let forgotten = connection
        .prepare_cached(
            "DELETE FROM requests WHERE (owner, request_id) IN (
                 SELECT owner, request_id FROM requests WHERE time <= ?1 ORDER BY time LIMIT ?2)",
        )?
        .execute(params![micros(ages.answered), PART])?;
    let compacted = connection
        .prepare_cached(
            "DELETE FROM changes WHERE (owner, seq) IN (
                 SELECT owner, seq FROM changes WHERE step IS NULL AND time <= ?1 ORDER BY time LIMIT ?2)",
        )?
        .execute(params![micros(ages.changed), PART])?;
    let old = "SELECT owner, id FROM turns WHERE end_time IS NOT NULL AND steps > 0 AND end_time <= ?1
               ORDER BY end_time LIMIT ?2";
    let turns: Vec<([u8; 16], [u8; 16])> = connection
        .prepare_cached(old)?
        .query_map(params![micros(ages.changed), TURNS], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (owner, turn) in &turns {
        for sql in [
            "DELETE FROM changes WHERE owner = ?1 AND turn = ?2 AND step IS NOT NULL",
            // Nothing that is 30 days old can be taken back.
            "UPDATE turns SET steps = 0, has_changed = 0 WHERE owner = ?1 AND id = ?2",
        ] {
            connection.prepare_cached(sql)?.execute(params![owner, turn])?;
        }
    }
    Ok(forgotten == 0 && compacted == 0 && turns.is_empty())
}

/// Leaves a tombstone, and takes away a part of everything else.
pub(super) fn erase(connection: &Connection, owner: UserId, now: Timestamp) -> Result<bool, Error> {
    connection
        .prepare_cached(
            "INSERT INTO heads (owner, seq, erase_time) VALUES (?1, 0, ?2)
             ON CONFLICT (owner) DO UPDATE SET erase_time = coalesce(erase_time, excluded.erase_time)",
        )?
        .execute(params![blob(owner), micros(now)])?;
    let mut gone = connection.prepare_cached("DELETE FROM settings WHERE owner = ?1")?.execute(params![blob(owner)])?;
    for sql in [
        "DELETE FROM requests WHERE owner = ?1 AND request_id IN (
             SELECT request_id FROM requests WHERE owner = ?1 LIMIT ?2)",
        "DELETE FROM changes WHERE owner = ?1 AND seq IN (SELECT seq FROM changes WHERE owner = ?1 LIMIT ?2)",
        "DELETE FROM messages WHERE owner = ?1 AND (conversation, seq) IN (
             SELECT conversation, seq FROM messages WHERE owner = ?1 LIMIT ?2)",
        "DELETE FROM turns WHERE owner = ?1 AND id IN (SELECT id FROM turns WHERE owner = ?1 LIMIT ?2)",
    ] {
        gone += connection.prepare_cached(sql)?.execute(params![blob(owner), PART])?;
    }
    if gone == 0 {
        gone = connection
            .prepare_cached(
                "DELETE FROM conversations WHERE owner = ?1 AND id IN (
                     SELECT id FROM conversations WHERE owner = ?1 LIMIT ?2)",
            )?
            .execute(params![blob(owner), PART])?;
    }
    Ok(gone == 0)
}
