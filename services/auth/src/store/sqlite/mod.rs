//! The store on SQLite: `app`'s one implementation for a machine of its own.
//!
//! One file; every method is one closure on the writer thread or a reader thread. Statements are
//! whole and literal. What two of the tables share stands here: reading ids and times, and
//! appending to the log.

mod accounts;
mod erasures;
mod keys;
mod operators;
mod sessions;

use std::path::Path;

use async_trait::async_trait;
use errand_changelog::{Actor, Change, Origin, Record, Seq, UserId};
use errand_storage::{Migration, Outcome, Ready, Sqlite as Engine, sqlite::micros};
use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params};
use uuid::Uuid;

use super::{Before, Beginning, Claimed, Committed, Costs, Error, Held, Opening, SealedKey, Store};
use crate::domain::{
    Subject,
    account::{Account, PasswordHash},
    session::{Ending, Session},
};

/// The schema, step by step.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "accounts",
        sql: include_str!("../../../../../migrations/auth/sqlite/0001_accounts.sql"),
    },
    Migration {
        version: 2,
        name: "erasures",
        sql: include_str!("../../../../../migrations/auth/sqlite/0002_erasures.sql"),
    },
    Migration {
        version: 3,
        name: "operators",
        sql: include_str!("../../../../../migrations/auth/sqlite/0003_operators.sql"),
    },
];

/// Auth's SQLite file.
#[derive(Debug, Clone)]
pub struct Sqlite(Engine);

/// What a method comes to.
type Result<T> = std::result::Result<T, Error>;

impl Sqlite {
    /// Opens a file that has been migrated.
    ///
    /// # Errors
    /// When there is none, or its schema is not the one that this program knows.
    pub fn open(path: &Path) -> Result<Self> {
        Engine::open(path, MIGRATIONS).map(Self)
    }

    /// Follows whether writes find room.
    #[must_use]
    pub fn ready(&self) -> Ready {
        self.0.ready()
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn owner_of_email(&self, key: &str) -> Result<Option<UserId>> {
        let key = key.to_owned();
        self.0.get(move |connection| accounts::owner_of_email(connection, &key)).await
    }

    async fn owner_of_session(&self, id: Uuid) -> Result<Option<UserId>> {
        self.0.get(move |connection| sessions::owner_of_session(connection, id)).await
    }

    async fn signing_keys(&self) -> Result<Vec<SealedKey>> {
        self.0.read(keys::all).await
    }

    async fn add_signing_key(&self, key: SealedKey, others_end: Timestamp, newest: Option<&str>) -> Result<bool> {
        let newest = newest.map(str::to_owned);
        self.0.write(move |connection| keys::add(connection, &key, others_end, newest.as_deref())).await
    }

    async fn accounts(&self, after: &str, limit: usize) -> Result<Vec<Account>> {
        let after = after.to_owned();
        self.0.read(move |connection| accounts::list(connection, &after, limit)).await
    }

    async fn costs(&self) -> Result<Costs> {
        self.0.read(accounts::costs).await
    }

    async fn claim_erasures(&self, now: Timestamp, limit: usize) -> Result<Claimed> {
        self.0.write(move |connection| erasures::claim(connection, now, limit)).await
    }

    async fn tidy(&self, now: Timestamp, limit: usize) -> Result<bool> {
        self.0.write(move |connection| tidy(connection, now, limit)).await
    }

    async fn sign_up(&self, owner: UserId, beginning: Beginning, origin: Origin) -> Result<Option<Account>> {
        self.0.write(move |connection| accounts::sign_up(connection, owner, &beginning, &origin)).await
    }

    async fn account(&self, owner: UserId, request: Option<&str>) -> Result<Before> {
        let request = request.map(str::to_owned);
        let read = move |connection: &Connection| {
            Ok(Before {
                account: accounts::account(connection, owner)?,
                record: request.as_deref().map(|id| record(connection, owner, id)).transpose()?.flatten(),
            })
        };
        self.0.get(read).await
    }

    async fn credential(&self, owner: UserId) -> Result<Option<(Account, PasswordHash)>> {
        self.0.get(move |connection| accounts::credential(connection, owner)).await
    }

    async fn update(&self, owner: UserId, after: Account, origin: Origin, now: Timestamp) -> Result<Committed> {
        self.0.write(move |connection| accounts::update(connection, owner, &after, &origin, now)).await
    }

    async fn change_password(
        &self,
        owner: UserId,
        verified: PasswordHash,
        hash: PasswordHash,
        keep: Uuid,
        origin: Origin,
        now: Timestamp,
    ) -> Result<bool> {
        let write = move |connection: &Connection| {
            accounts::change_password(connection, owner, (&verified, &hash), keep, &origin, now)
        };
        self.0.write(write).await
    }

    async fn reset_password(&self, owner: UserId, hash: PasswordHash, origin: Origin, now: Timestamp) -> Result<bool> {
        self.0.write(move |connection| operators::reset_password(connection, owner, &hash, &origin, now)).await
    }

    async fn set_disabled(
        &self,
        owner: UserId,
        disabled: bool,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Option<bool>> {
        self.0.write(move |connection| operators::set_disabled(connection, owner, disabled, &origin, now)).await
    }

    async fn close_account(
        &self,
        owner: UserId,
        verified: PasswordHash,
        services: &[&'static str],
        now: Timestamp,
    ) -> Result<bool> {
        let services = services.to_vec();
        self.0.write(move |connection| accounts::close(connection, owner, &verified, &services, now)).await
    }

    async fn finish_erasure(&self, owner: UserId, service: &str) -> Result<()> {
        let service = service.to_owned();
        let write = move |connection: &Connection| erasures::finish(connection, owner, &service).map(Outcome::Commit);
        self.0.write(write).await
    }

    async fn open_session(
        &self,
        owner: UserId,
        opening: Opening,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Option<Account>> {
        self.0.write(move |connection| sessions::open(connection, owner, &opening, &origin, now)).await
    }

    async fn session(&self, owner: UserId, id: Uuid) -> Result<Option<(Held, Account)>> {
        self.0.get(move |connection| sessions::session(connection, owner, id)).await
    }

    async fn rotate(&self, owner: UserId, next: Held) -> Result<bool> {
        self.0.write(move |connection| sessions::rotate(connection, owner, &next)).await
    }

    async fn end_session(
        &self,
        owner: UserId,
        id: Uuid,
        ending: Ending,
        origin: Origin,
        now: Timestamp,
    ) -> Result<bool> {
        self.0.write(move |connection| sessions::end(connection, owner, id, ending, &origin, now)).await
    }

    async fn sessions(&self, owner: UserId, after: Option<Uuid>, limit: usize, now: Timestamp) -> Result<Vec<Session>> {
        self.0.read(move |connection| sessions::list(connection, owner, after, limit, now)).await
    }

    async fn changes(&self, owner: UserId, after: Seq, limit: usize) -> Result<Vec<Change<Subject>>> {
        self.0.read(move |connection| changes(connection, owner, after, limit)).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

// === the log ===

/// Takes the next `count` places of the owner's log; the first of them.
fn take_places(connection: &Connection, owner: UserId, count: Seq) -> Result<Seq> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO heads (owner, seq) VALUES (:owner, :count)
         ON CONFLICT (owner) DO UPDATE SET seq = seq + excluded.seq
         RETURNING seq",
    )?;
    let last: Seq =
        statement.query_row(named_params! { ":owner": owner.as_uuid(), ":count": count }, |row| row.get(0))?;
    Ok(last - count + 1)
}

/// Appends a change at a place that was taken.
fn append(
    connection: &Connection,
    owner: UserId,
    seq: Seq,
    kind: &str,
    (before, after): (Option<&Subject>, Option<&Subject>),
    origin: &Origin,
    now: Timestamp,
) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO changes (owner, seq, time, actor, turn, request_id, kind, before, after)
         VALUES (:owner, :seq, :time, :actor, :turn, :request_id, :kind, :before, :after)",
    )?;
    statement.execute(named_params! {
        ":owner": owner.as_uuid(),
        ":seq": seq,
        ":time": micros(now),
        ":actor": origin.actor.as_str(),
        ":turn": origin.turn,
        ":request_id": origin.request.as_ref().map(|request| &request.id),
        ":kind": kind,
        ":before": before.map(to_json).transpose()?,
        ":after": after.map(to_json).transpose()?,
    })?;
    Ok(())
}

fn changes(connection: &Connection, owner: UserId, after: Seq, limit: usize) -> Result<Vec<Change<Subject>>> {
    let mut statement = connection.prepare_cached(
        "SELECT owner, seq, time, actor, turn, request_id, kind, before, after
         FROM changes WHERE owner = :owner AND seq > :after ORDER BY seq LIMIT :limit",
    )?;
    let mut rows =
        statement.query(named_params! { ":owner": owner.as_uuid(), ":after": after, ":limit": bounded(limit) })?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        check_owner(row, owner, "changes")?;
        let actor: String = row.get("actor")?;
        changes.push(Change {
            seq: row.get("seq")?,
            time: time(row, "time")?,
            actor: Actor::parse(&actor).ok_or_else(|| inconsistent("changes", "actor", owner))?,
            turn: row.get("turn")?,
            request_id: row.get("request_id")?,
            kind: row.get("kind")?,
            before: subject(row, "before", owner)?,
            after: subject(row, "after", owner)?,
        });
    }
    Ok(changes)
}

fn subject(row: &Row<'_>, column: &'static str, owner: UserId) -> Result<Option<Subject>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|_| inconsistent("changes", column, owner))).transpose()
}

// === requests ===

/// What is kept of a request.
fn record(connection: &Connection, owner: UserId, id: &str) -> Result<Option<Record>> {
    let mut statement = connection.prepare_cached(
        "SELECT owner, method, fingerprint, answer FROM requests WHERE owner = :owner AND request_id = :request_id",
    )?;
    let mut rows = statement.query(named_params! { ":owner": owner.as_uuid(), ":request_id": id })?;
    let Some(row) = rows.next()? else { return Ok(None) };
    check_owner(row, owner, "requests")?;
    let fingerprint: Vec<u8> = row.get("fingerprint")?;
    Ok(Some(Record {
        method: row.get("method")?,
        fingerprint: errand_changelog::Fingerprint::from_bytes(&fingerprint)
            .ok_or_else(|| inconsistent("requests", "fingerprint", owner))?,
        answer: row.get("answer")?,
    }))
}

/// Keeps the first answer to a request.
fn keep(connection: &Connection, owner: UserId, origin: &Origin, answer: &[u8], now: Timestamp) -> Result<()> {
    let Some(request) = &origin.request else { return Ok(()) };
    let mut statement = connection.prepare_cached(
        "INSERT INTO requests (owner, request_id, method, fingerprint, answer, time)
         VALUES (:owner, :request_id, :method, :fingerprint, :answer, :time)",
    )?;
    statement.execute(named_params! {
        ":owner": owner.as_uuid(),
        ":request_id": request.id,
        ":method": request.method,
        ":fingerprint": request.fingerprint.as_bytes(),
        ":answer": answer,
        ":time": micros(now),
    })?;
    Ok(())
}

/// Drops requests of anybody that were kept long enough.
fn forget(connection: &Connection, now: Timestamp, limit: usize) -> Result<usize> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM requests WHERE (owner, request_id) IN
         (SELECT owner, request_id FROM requests WHERE time < :before LIMIT :limit)",
    )?;
    let before = now.saturating_sub(errand_changelog::REQUESTS_KEPT).unwrap_or(Timestamp::MIN);
    Ok(statement.execute(named_params! { ":before": micros(before), ":limit": bounded(limit) })?)
}

fn tidy(connection: &Connection, now: Timestamp, limit: usize) -> Result<Outcome<bool>> {
    let dropped = sessions::drop_expired(connection, now, limit)?
        + forget(connection, now, limit)?
        + keys::drop_retired(connection, now)?;
    Ok(if dropped > 0 { Outcome::Commit(true) } else { Outcome::Discard(false) })
}

// === columns ===

/// A row that leaves the store is the asked owner's, or an error.
fn check_owner(row: &Row<'_>, owner: UserId, table: &'static str) -> Result<()> {
    let found: Uuid = row.get("owner")?;
    if found == *owner.as_uuid() { Ok(()) } else { Err(inconsistent(table, "owner", owner)) }
}

fn time(row: &Row<'_>, column: &str) -> Result<Timestamp> {
    errand_storage::sqlite::timestamp(row.get(column)?)
}

fn inconsistent(table: &'static str, column: &'static str, owner: UserId) -> Error {
    Error::Inconsistent { table, column, key: owner.to_string() }
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Engine(error.to_string()))
}

fn bounded(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
