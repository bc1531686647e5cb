//! Sessions: rows of `sessions` and `session_owners`.

use errand_changelog::{Origin, UserId};
use errand_storage::{Outcome, sqlite::micros};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use uuid::Uuid;

use super::{Result, accounts, append, bounded, check_owner, inconsistent, take_places, time};
use crate::{
    domain::{
        Subject,
        account::{Account, PasswordHash},
        session::{self, Ending, Session},
    },
    store::{Held, Opening},
};

pub(super) fn owner_of_session(connection: &Connection, id: Uuid) -> Result<Option<UserId>> {
    let mut statement = connection.prepare_cached("SELECT owner FROM session_owners WHERE id = :id")?;
    let owner: Option<Uuid> = statement.query_row(named_params! { ":id": id }, |row| row.get("owner")).optional()?;
    Ok(owner.map(UserId::from))
}

pub(super) fn open(
    connection: &Connection,
    owner: UserId,
    opening: &Opening,
    origin: &Origin,
    now: Timestamp,
) -> Result<Outcome<Option<Account>>> {
    let Some((account, current)) = accounts::credential(connection, owner)? else { return Ok(Outcome::Discard(None)) };
    if current != opening.verified || account.disable_time.is_some() {
        return Ok(Outcome::Discard(None));
    }
    if let Some(hash) = &opening.upgraded {
        upgrade(connection, owner, hash)?;
    }
    let open = list(connection, owner, None, usize::MAX, now)?;
    for oldest in open.iter().skip(session::MOST - 1) {
        remove(connection, owner, oldest, Ending::Crowded, origin, now)?;
    }
    insert(connection, owner, &opening.held)?;
    let seq = take_places(connection, owner, 1)?;
    let opened = Subject::Session(opening.held.session.clone());
    append(connection, owner, seq, "log_in", (None, Some(&opened)), origin, now)?;
    Ok(Outcome::Commit(Some(account)))
}

pub(super) fn session(connection: &Connection, owner: UserId, id: Uuid) -> Result<Option<(Held, Account)>> {
    let Some(held) = held(connection, owner, id)? else { return Ok(None) };
    // The foreign key promises an account for each session.
    let account = accounts::account(connection, owner)?.ok_or_else(|| inconsistent("sessions", "owner", owner))?;
    Ok(Some((held, account)))
}

pub(super) fn rotate(connection: &Connection, owner: UserId, next: &Held) -> Result<Outcome<bool>> {
    let mut statement = connection.prepare_cached(
        "UPDATE sessions SET generation = :generation, secret_hash = :secret_hash, refresh_time = :refresh_time,
         expire_time = :expire_time WHERE owner = :owner AND id = :id AND generation = :generation - 1
         AND EXISTS (SELECT 1 FROM users WHERE users.owner = :owner AND disable_time IS NULL)",
    )?;
    let changed = statement.execute(named_params! {
        ":owner": owner.as_uuid(),
        ":id": next.session.id,
        ":generation": next.session.generation,
        ":secret_hash": next.secret_hash,
        ":refresh_time": micros(next.session.refresh_time),
        ":expire_time": micros(next.session.expire_time),
    })?;
    Ok(if changed == 1 { Outcome::Commit(true) } else { Outcome::Discard(false) })
}

pub(super) fn end(
    connection: &Connection,
    owner: UserId,
    id: Uuid,
    ending: Ending,
    origin: &Origin,
    now: Timestamp,
) -> Result<Outcome<bool>> {
    let Some(held) = held(connection, owner, id)? else { return Ok(Outcome::Discard(false)) };
    remove(connection, owner, &held.session, ending, origin, now)?;
    Ok(Outcome::Commit(true))
}

/// Drops expired sessions of anybody; their look-ups go with them.
pub(super) fn drop_expired(connection: &Connection, now: Timestamp, limit: usize) -> Result<usize> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM sessions WHERE (owner, id) IN
         (SELECT owner, id FROM sessions WHERE expire_time <= :now LIMIT :limit)",
    )?;
    Ok(statement.execute(named_params! { ":now": micros(now), ":limit": bounded(limit) })?)
}

pub(super) fn list(
    connection: &Connection,
    owner: UserId,
    after: Option<Uuid>,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Session>> {
    // Ids are made in order of time, so the newest is the greatest.
    let mut statement = connection.prepare_cached(
        "SELECT owner, id, generation, user_agent, ip_address, create_time, refresh_time, expire_time
         FROM sessions WHERE owner = :owner AND id < :after AND expire_time > :now ORDER BY id DESC LIMIT :limit",
    )?;
    let mut rows = statement.query(named_params! {
        ":owner": owner.as_uuid(),
        ":after": after.unwrap_or(Uuid::max()),
        ":now": micros(now),
        ":limit": bounded(limit),
    })?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next()? {
        check_owner(row, owner, "sessions")?;
        sessions.push(decode(row)?);
    }
    Ok(sessions)
}

/// Puts a session and its look-up.
pub(super) fn insert(connection: &Connection, owner: UserId, held: &Held) -> Result<()> {
    let session = &held.session;
    let mut statement = connection.prepare_cached(
        "INSERT INTO sessions (owner, id, generation, secret_hash, user_agent, ip_address, create_time, refresh_time,
         expire_time) VALUES (:owner, :id, :generation, :secret_hash, :user_agent, :ip_address, :create_time,
         :refresh_time, :expire_time)",
    )?;
    statement.execute(named_params! {
        ":owner": owner.as_uuid(),
        ":id": session.id,
        ":generation": session.generation,
        ":secret_hash": held.secret_hash,
        ":user_agent": session.user_agent,
        ":ip_address": session.ip_address,
        ":create_time": micros(session.create_time),
        ":refresh_time": micros(session.refresh_time),
        ":expire_time": micros(session.expire_time),
    })?;
    let mut statement = connection.prepare_cached("INSERT INTO session_owners (id, owner) VALUES (:id, :owner)")?;
    statement.execute(named_params! { ":id": session.id, ":owner": owner.as_uuid() })?;
    Ok(())
}

/// Takes a session away, its look-up with it, and says so in the log.
pub(super) fn remove(
    connection: &Connection,
    owner: UserId,
    session: &Session,
    ending: Ending,
    origin: &Origin,
    now: Timestamp,
) -> Result<()> {
    let mut statement = connection.prepare_cached("DELETE FROM sessions WHERE owner = :owner AND id = :id")?;
    statement.execute(named_params! { ":owner": owner.as_uuid(), ":id": session.id })?;
    let seq = take_places(connection, owner, 1)?;
    let ended = Subject::Session(session.clone());
    append(connection, owner, seq, ending.as_str(), (Some(&ended), None), origin, now)
}

/// A better hash of the same password is no change that anybody could see.
fn upgrade(connection: &Connection, owner: UserId, hash: &PasswordHash) -> Result<()> {
    let mut statement =
        connection.prepare_cached("UPDATE users SET password_hash = :password_hash WHERE owner = :owner")?;
    statement.execute(named_params! { ":owner": owner.as_uuid(), ":password_hash": hash.as_str() })?;
    accounts::replaced(connection, owner)
}

fn held(connection: &Connection, owner: UserId, id: Uuid) -> Result<Option<Held>> {
    let mut statement = connection.prepare_cached(
        "SELECT owner, id, generation, secret_hash, user_agent, ip_address, create_time, refresh_time, expire_time
         FROM sessions WHERE owner = :owner AND id = :id",
    )?;
    let mut rows = statement.query(named_params! { ":owner": owner.as_uuid(), ":id": id })?;
    let Some(row) = rows.next()? else { return Ok(None) };
    check_owner(row, owner, "sessions")?;
    Ok(Some(Held { session: decode(row)?, secret_hash: row.get("secret_hash")? }))
}

fn decode(row: &Row<'_>) -> Result<Session> {
    Ok(Session {
        id: row.get("id")?,
        generation: row.get("generation")?,
        user_agent: row.get("user_agent")?,
        ip_address: row.get("ip_address")?,
        create_time: time(row, "create_time")?,
        refresh_time: time(row, "refresh_time")?,
        expire_time: time(row, "expire_time")?,
    })
}
