//! Signing keys: rows of `signing_keys`. They belong to nobody, so nothing here takes an owner.

use errand_storage::{Outcome, sqlite::micros};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, named_params};

use super::{Result, time};
use crate::store::SealedKey;

pub(super) fn all(connection: &Connection) -> Result<Vec<SealedKey>> {
    let mut statement = connection.prepare_cached(
        "SELECT kid, create_time, not_before, not_after, sealed FROM signing_keys ORDER BY not_before, kid",
    )?;
    let mut rows = statement.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let not_after: Option<i64> = row.get("not_after")?;
        keys.push(SealedKey {
            kid: row.get("kid")?,
            create_time: time(row, "create_time")?,
            not_before: time(row, "not_before")?,
            not_after: not_after.map(errand_storage::sqlite::timestamp).transpose()?,
            sealed: row.get("sealed")?,
        });
    }
    Ok(keys)
}

pub(super) fn add(
    connection: &Connection,
    key: &SealedKey,
    others_end: Timestamp,
    newest: Option<&str>,
) -> Result<Outcome<bool>> {
    let mut statement = connection.prepare_cached("SELECT kid FROM signing_keys WHERE not_after IS NULL")?;
    let found: Option<String> = statement.query_row([], |row| row.get("kid")).optional()?;
    if found.as_deref() != newest {
        return Ok(Outcome::Discard(false));
    }
    let mut statement =
        connection.prepare_cached("UPDATE signing_keys SET not_after = :not_after WHERE not_after IS NULL")?;
    statement.execute(named_params! { ":not_after": micros(others_end) })?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO signing_keys (kid, create_time, not_before, not_after, sealed)
         VALUES (:kid, :create_time, :not_before, :not_after, :sealed)",
    )?;
    statement.execute(named_params! {
        ":kid": key.kid,
        ":create_time": micros(key.create_time),
        ":not_before": micros(key.not_before),
        ":not_after": key.not_after.map(micros),
        ":sealed": key.sealed,
    })?;
    Ok(Outcome::Commit(true))
}

pub(super) fn drop_retired(connection: &Connection, now: Timestamp) -> Result<usize> {
    let mut statement = connection.prepare_cached("DELETE FROM signing_keys WHERE not_after <= :now")?;
    Ok(statement.execute(named_params! { ":now": micros(now) })?)
}
