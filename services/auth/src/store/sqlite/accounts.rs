//! Accounts: rows of `users` and `emails`.

use errand_changelog::{Origin, UserId};
use errand_storage::{Outcome, sqlite::micros};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use uuid::Uuid;

use super::{
    Result, append, bounded, check_owner, erasures, inconsistent, keep, record, sessions, take_places, time, to_json,
};
use crate::{
    domain::{
        Subject,
        account::{Account, PasswordHash},
        session::Ending,
    },
    store::{Beginning, Committed, Costs},
};

pub(super) fn owner_of_email(connection: &Connection, key: &str) -> Result<Option<UserId>> {
    let mut statement = connection.prepare_cached("SELECT owner FROM emails WHERE key = :key")?;
    let owner: Option<Uuid> = statement.query_row(named_params! { ":key": key }, |row| row.get("owner")).optional()?;
    Ok(owner.map(UserId::from))
}

pub(super) fn account(connection: &Connection, owner: UserId) -> Result<Option<Account>> {
    Ok(credential(connection, owner)?.map(|(account, _)| account))
}

pub(super) fn credential(connection: &Connection, owner: UserId) -> Result<Option<(Account, PasswordHash)>> {
    let mut statement = connection.prepare_cached(
        "SELECT owner, email, password_hash, display_name, time_zone, version, create_time, update_time, disable_time
         FROM users WHERE owner = :owner",
    )?;
    let mut rows = statement.query(named_params! { ":owner": owner.as_uuid() })?;
    let Some(row) = rows.next()? else { return Ok(None) };
    check_owner(row, owner, "users")?;
    Ok(Some((decode(row, owner)?, PasswordHash::new(row.get("password_hash")?))))
}

pub(super) fn sign_up(
    connection: &Connection,
    owner: UserId,
    beginning: &Beginning,
    origin: &Origin,
) -> Result<Outcome<Option<Account>>> {
    let now = beginning.account.update_time;
    let seq = take_places(connection, owner, if beginning.held.is_some() { 2 } else { 1 })?;
    let account = Account { id: owner, version: seq, ..beginning.account.clone() };
    let mut statement = connection.prepare_cached(
        "INSERT INTO users (owner, email, password_hash, display_name, time_zone, version, create_time, update_time)
         VALUES (:owner, :email, :password_hash, :display_name, :time_zone, :version, :create_time, :update_time)",
    )?;
    statement.execute(named_params! {
        ":owner": owner.as_uuid(),
        ":email": account.email,
        ":password_hash": beginning.password.as_str(),
        ":display_name": account.display_name,
        ":time_zone": account.time_zone,
        ":version": account.version,
        ":create_time": micros(account.create_time),
        ":update_time": micros(account.update_time),
    })?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO emails (key, owner, imported) VALUES (:key, :owner, :imported) ON CONFLICT (key) DO NOTHING",
    )?;
    let address =
        named_params! { ":key": beginning.email_key, ":owner": owner.as_uuid(), ":imported": beginning.imported };
    if statement.execute(address)? == 0 {
        return Ok(Outcome::Discard(None));
    }
    let (user, kind) = (Subject::Account(account.clone()), beginning.kind());
    append(connection, owner, seq, kind, (None, Some(&user)), origin, now)?;
    if let Some(held) = &beginning.held {
        sessions::insert(connection, owner, held)?;
        let session = Subject::Session(held.session.clone());
        append(connection, owner, seq + 1, "log_in", (None, Some(&session)), origin, now)?;
    }
    Ok(Outcome::Commit(Some(account)))
}

pub(super) fn update(
    connection: &Connection,
    owner: UserId,
    after: &Account,
    origin: &Origin,
    now: Timestamp,
) -> Result<Outcome<Committed>> {
    if let Some(request) = &origin.request
        && let Some(record) = record(connection, owner, &request.id)?
    {
        return Ok(Outcome::Discard(Committed::Known(record)));
    }
    let Some(before) = account(connection, owner)?.filter(|before| before.version == after.version) else {
        return Ok(Outcome::Discard(Committed::Stale));
    };
    let mut after = Account { id: owner, ..after.clone() };
    if after != before {
        after.version = take_places(connection, owner, 1)?;
        let mut statement = connection.prepare_cached(
            "UPDATE users SET display_name = :display_name, time_zone = :time_zone, version = :version,
             update_time = :update_time WHERE owner = :owner",
        )?;
        statement.execute(named_params! {
            ":owner": owner.as_uuid(),
            ":display_name": after.display_name,
            ":time_zone": after.time_zone,
            ":version": after.version,
            ":update_time": micros(after.update_time),
        })?;
        let (before, now_is) = (Subject::Account(before), Subject::Account(after.clone()));
        append(connection, owner, after.version, "update_me", (Some(&before), Some(&now_is)), origin, now)?;
    }
    keep(connection, owner, origin, to_json(&after)?.as_bytes(), now)?;
    Ok(Outcome::Commit(Committed::Done(after)))
}

pub(super) fn change_password(
    connection: &Connection,
    owner: UserId,
    (verified, hash): (&PasswordHash, &PasswordHash),
    stays: Uuid,
    origin: &Origin,
    now: Timestamp,
) -> Result<Outcome<bool>> {
    let Some((before, _)) = credential(connection, owner)?.filter(|(_, current)| current == verified) else {
        return Ok(Outcome::Discard(false));
    };
    let how = ("change_password", Ending::PasswordChanged);
    replace_password(connection, &before, hash, stays, how, origin, now)?;
    Ok(Outcome::Commit(true))
}

/// Puts a hash in the place of another and ends every session but one.
pub(super) fn replace_password(
    connection: &Connection,
    before: &Account,
    hash: &PasswordHash,
    stays: Uuid,
    (kind, ending): (&str, Ending),
    origin: &Origin,
    now: Timestamp,
) -> Result<()> {
    let owner = before.id;
    let seq = take_places(connection, owner, 1)?;
    let after = Account { version: seq, update_time: now.max(before.update_time), ..before.clone() };
    let mut statement = connection.prepare_cached(
        "UPDATE users SET password_hash = :password_hash, version = :version, update_time = :update_time
         WHERE owner = :owner",
    )?;
    statement.execute(named_params! {
        ":owner": owner.as_uuid(),
        ":password_hash": hash.as_str(),
        ":version": seq,
        ":update_time": micros(after.update_time),
    })?;
    replaced(connection, owner)?;
    let (before, after) = (Subject::Account(before.clone()), Subject::Account(after));
    append(connection, owner, seq, kind, (Some(&before), Some(&after)), origin, now)?;
    for session in sessions::list(connection, owner, None, usize::MAX, now)? {
        if session.id != stays {
            sessions::remove(connection, owner, &session, ending, origin, now)?;
        }
    }
    Ok(())
}

/// Takes down that an account has a hash of ours.
pub(super) fn replaced(connection: &Connection, owner: UserId) -> Result<()> {
    let mut statement =
        connection.prepare_cached("UPDATE emails SET imported = NULL WHERE owner = :owner AND imported IS NOT NULL")?;
    statement.execute(named_params! { ":owner": owner.as_uuid() })?;
    Ok(())
}

pub(super) fn costs(connection: &Connection) -> Result<Costs> {
    let mut statement = connection.prepare_cached(
        "SELECT imported, count(*) AS number, (SELECT count(*) FROM emails) AS accounts
         FROM emails WHERE imported IS NOT NULL GROUP BY imported ORDER BY imported",
    )?;
    let mut rows = statement.query([])?;
    let mut costs = Costs::default();
    while let Some(row) = rows.next()? {
        costs.accounts = row.get::<_, i64>("accounts")?.unsigned_abs();
        costs.imported.push((row.get("imported")?, row.get::<_, i64>("number")?.unsigned_abs()));
    }
    Ok(costs)
}

pub(super) fn close(
    connection: &Connection,
    owner: UserId,
    verified: &PasswordHash,
    services: &[&'static str],
    now: Timestamp,
) -> Result<Outcome<bool>> {
    if credential(connection, owner)?.is_none_or(|(_, current)| current != *verified) {
        return Ok(Outcome::Discard(false));
    }
    // In the order of the foreign keys; what refers to a session goes with it.
    for table in [
        "DELETE FROM emails WHERE owner = :owner",
        "DELETE FROM sessions WHERE owner = :owner",
        "DELETE FROM users WHERE owner = :owner",
        "DELETE FROM requests WHERE owner = :owner",
        "DELETE FROM changes WHERE owner = :owner",
        "DELETE FROM heads WHERE owner = :owner",
    ] {
        connection.prepare_cached(table)?.execute(named_params! { ":owner": owner.as_uuid() })?;
    }
    for service in services {
        erasures::add(connection, owner, service, now)?;
    }
    Ok(Outcome::Commit(true))
}

pub(super) fn list(connection: &Connection, after: &str, limit: usize) -> Result<Vec<Account>> {
    let mut statement = connection.prepare_cached(
        "SELECT users.owner, email, display_name, time_zone, version, create_time, update_time, disable_time
         FROM emails JOIN users ON users.owner = emails.owner WHERE key > :after ORDER BY key LIMIT :limit",
    )?;
    let mut rows = statement.query(named_params! { ":after": after, ":limit": bounded(limit) })?;
    let mut accounts = Vec::new();
    while let Some(row) = rows.next()? {
        let owner: Uuid = row.get("owner")?;
        accounts.push(decode(row, UserId::from(owner))?);
    }
    Ok(accounts)
}

/// The account in a row that has its columns.
pub(super) fn decode(row: &Row<'_>, owner: UserId) -> Result<Account> {
    let version = row.get("version")?;
    if version < 1 {
        return Err(inconsistent("users", "version", owner));
    }
    let disable_time: Option<i64> = row.get("disable_time")?;
    Ok(Account {
        id: owner,
        email: row.get("email")?,
        display_name: row.get("display_name")?,
        time_zone: row.get("time_zone")?,
        version,
        create_time: time(row, "create_time")?,
        update_time: time(row, "update_time")?,
        disable_time: disable_time.map(errand_storage::sqlite::timestamp).transpose()?,
    })
}
