//! Services that still hold data of a user who is gone: rows of `erasures`.

use errand_changelog::UserId;
use errand_storage::{Outcome, sqlite::micros};
use jiff::Timestamp;
use rusqlite::{Connection, named_params};
use uuid::Uuid;

use super::{Result, bounded};
use crate::{domain::erasure::Erasure, store::Claimed};

pub(super) fn add(connection: &Connection, owner: UserId, service: &str, now: Timestamp) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO erasures (owner, service, tries, next_time) VALUES (:owner, :service, 0, :next_time)",
    )?;
    statement.execute(named_params! {
        ":owner": owner.as_uuid(),
        ":service": service,
        ":next_time": micros(now),
    })?;
    Ok(())
}

pub(super) fn claim(connection: &Connection, now: Timestamp, limit: usize) -> Result<Outcome<Claimed>> {
    let due = due(connection, now, limit)?;
    let mut statement = connection.prepare_cached(
        "UPDATE erasures SET tries = :tries, next_time = :next_time WHERE owner = :owner AND service = :service",
    )?;
    for erasure in &due {
        statement.execute(named_params! {
            ":owner": erasure.owner.as_uuid(),
            ":service": erasure.service,
            ":tries": erasure.tries.saturating_add(1),
            ":next_time": micros(erasure.next_time(now)),
        })?;
    }
    let mut statement = connection.prepare_cached("SELECT min(next_time) AS next_time FROM erasures")?;
    let next: Option<i64> = statement.query_row([], |row| row.get("next_time"))?;
    let next = next.map(errand_storage::sqlite::timestamp).transpose()?;
    let claimed = Claimed { due, next };
    Ok(if claimed.due.is_empty() { Outcome::Discard(claimed) } else { Outcome::Commit(claimed) })
}

pub(super) fn finish(connection: &Connection, owner: UserId, service: &str) -> Result<()> {
    let mut statement =
        connection.prepare_cached("DELETE FROM erasures WHERE owner = :owner AND service = :service")?;
    statement.execute(named_params! { ":owner": owner.as_uuid(), ":service": service })?;
    Ok(())
}

fn due(connection: &Connection, now: Timestamp, limit: usize) -> Result<Vec<Erasure>> {
    let mut statement = connection.prepare_cached(
        "SELECT owner, service, tries FROM erasures WHERE next_time <= :now ORDER BY next_time LIMIT :limit",
    )?;
    let mut rows = statement.query(named_params! { ":now": micros(now), ":limit": bounded(limit) })?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        let owner: Uuid = row.get("owner")?;
        due.push(Erasure { owner: UserId::from(owner), service: row.get("service")?, tries: row.get("tries")? });
    }
    Ok(due)
}
