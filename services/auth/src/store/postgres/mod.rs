//! The store on PostgreSQL: `app`'s one implementation for several replicas.
//!
//! Every method is one statement: reads set the owner and look in the same statement, writes call one
//! function that a migration made. What the tables share stands here: reading ids and times, the log
//! and the requests.

mod accounts;
mod erasures;
mod keys;
mod operators;
mod sessions;

use async_trait::async_trait;
use errand_changelog::{Actor, Change, Fingerprint, Origin, Record, Seq, UserId};
use errand_storage::{
    Migration, Postgres as Engine, Ready, Schema,
    postgres::{Settings, Statement, Time},
};
use jiff::Timestamp;
use sqlx::{Row as _, postgres::PgRow};
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
        sql: include_str!("../../../../../migrations/auth/postgres/0001_accounts.sql"),
    },
    Migration {
        version: 2,
        name: "erasures",
        sql: include_str!("../../../../../migrations/auth/postgres/0002_erasures.sql"),
    },
    Migration {
        version: 3,
        name: "operators",
        sql: include_str!("../../../../../migrations/auth/postgres/0003_operators.sql"),
    },
];

/// Auth's PostgreSQL schema.
#[derive(Debug, Clone)]
pub struct Postgres(Engine);

/// What a method comes to.
type Result<T> = std::result::Result<T, Error>;

impl Postgres {
    /// Connects to a database that has been migrated.
    ///
    /// # Errors
    /// When it can not be reached, or its schema is not the one that this program knows.
    pub async fn open(settings: &Settings, schema: &Schema) -> Result<Self> {
        Engine::open(settings, schema).await.map(Self)
    }

    /// Follows whether the database can be reached.
    #[must_use]
    pub fn ready(&self) -> Ready {
        self.0.ready()
    }

    /// How many statements were sent so far.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.0.statements()
    }
}

#[async_trait]
impl Store for Postgres {
    async fn owner_of_email(&self, key: &str) -> Result<Option<UserId>> {
        accounts::owner_of_email(&self.0, key).await
    }

    async fn owner_of_session(&self, id: Uuid) -> Result<Option<UserId>> {
        sessions::owner_of_session(&self.0, id).await
    }

    async fn signing_keys(&self) -> Result<Vec<SealedKey>> {
        keys::all(&self.0).await
    }

    async fn add_signing_key(&self, key: SealedKey, others_end: Timestamp, newest: Option<&str>) -> Result<bool> {
        keys::add(&self.0, &key, others_end, newest).await
    }

    async fn accounts(&self, after: &str, limit: usize) -> Result<Vec<Account>> {
        operators::list(&self.0, after, limit).await
    }

    async fn costs(&self) -> Result<Costs> {
        accounts::costs(&self.0).await
    }

    async fn claim_erasures(&self, now: Timestamp, limit: usize) -> Result<Claimed> {
        erasures::claim(&self.0, now, limit).await
    }

    async fn tidy(&self, now: Timestamp, limit: usize) -> Result<bool> {
        tidy(&self.0, now, limit).await
    }

    async fn sign_up(&self, owner: UserId, beginning: Beginning, origin: Origin) -> Result<Option<Account>> {
        accounts::sign_up(&self.0, owner, &beginning, &origin).await
    }

    async fn account(&self, owner: UserId, request: Option<&str>) -> Result<Before> {
        accounts::account(&self.0, owner, request).await
    }

    async fn credential(&self, owner: UserId) -> Result<Option<(Account, PasswordHash)>> {
        accounts::credential(&self.0, owner).await
    }

    async fn update(&self, owner: UserId, after: Account, origin: Origin, now: Timestamp) -> Result<Committed> {
        accounts::update(&self.0, owner, after, &origin, now).await
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
        let how = ("change_password", Ending::PasswordChanged);
        accounts::replace_password(&self.0, owner, (Some(&verified), &hash), keep, how, &origin, now).await
    }

    async fn reset_password(&self, owner: UserId, hash: PasswordHash, origin: Origin, now: Timestamp) -> Result<bool> {
        operators::reset_password(&self.0, owner, &hash, &origin, now).await
    }

    async fn set_disabled(
        &self,
        owner: UserId,
        disabled: bool,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Option<bool>> {
        operators::set_disabled(&self.0, owner, disabled, &origin, now).await
    }

    async fn close_account(
        &self,
        owner: UserId,
        verified: PasswordHash,
        services: &[&'static str],
        now: Timestamp,
    ) -> Result<bool> {
        accounts::close(&self.0, owner, &verified, services, now).await
    }

    async fn finish_erasure(&self, owner: UserId, service: &str) -> Result<()> {
        erasures::finish(&self.0, owner, service).await
    }

    async fn open_session(
        &self,
        owner: UserId,
        opening: Opening,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Option<Account>> {
        sessions::open(&self.0, owner, &opening, &origin, now).await
    }

    async fn session(&self, owner: UserId, id: Uuid) -> Result<Option<(Held, Account)>> {
        sessions::session(&self.0, owner, id).await
    }

    async fn rotate(&self, owner: UserId, next: Held) -> Result<bool> {
        sessions::rotate(&self.0, owner, &next).await
    }

    async fn end_session(
        &self,
        owner: UserId,
        id: Uuid,
        ending: Ending,
        origin: Origin,
        now: Timestamp,
    ) -> Result<bool> {
        sessions::end(&self.0, owner, id, ending, &origin, now).await
    }

    async fn sessions(&self, owner: UserId, after: Option<Uuid>, limit: usize, now: Timestamp) -> Result<Vec<Session>> {
        sessions::list(&self.0, owner, after, limit, now).await
    }

    async fn changes(&self, owner: UserId, after: Seq, limit: usize) -> Result<Vec<Change<Subject>>> {
        changes(&self.0, owner, after, limit).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

// === the log ===

async fn changes(engine: &Engine, owner: UserId, after: Seq, limit: usize) -> Result<Vec<Change<Subject>>> {
    let statement = Statement::new(
        "list_changes",
        "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
         SELECT t.* FROM me CROSS JOIN LATERAL (
             SELECT owner, seq, time, actor, turn, request_id, kind, before::text, after::text
             FROM auth.changes WHERE owner = me.owner AND seq > $2 ORDER BY seq LIMIT $3 OFFSET 0) t",
    );
    let rows = engine.read(statement.bind(owner.to_string()).bind(after).bind(bounded(limit))).await?;
    let change = |row: &PgRow| {
        check_owner(row, owner, "changes")?;
        let actor: String = row.try_get("actor")?;
        Ok(Change {
            seq: row.try_get("seq")?,
            time: time(row, "time")?,
            actor: Actor::parse(&actor).ok_or_else(|| inconsistent("changes", "actor", owner))?,
            turn: row.try_get("turn")?,
            request_id: row.try_get("request_id")?,
            kind: row.try_get("kind")?,
            before: subject(row, "before", owner)?,
            after: subject(row, "after", owner)?,
        })
    };
    rows.iter().map(change).collect()
}

fn subject(row: &PgRow, column: &'static str, owner: UserId) -> Result<Option<Subject>> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|_| inconsistent("changes", column, owner))).transpose()
}

/// Gives the next three parameters their values: who acted, in which turn, for which request.
fn from(statement: Statement, origin: &Origin) -> Statement {
    let request = origin.request.as_ref().map(|request| request.id.clone());
    statement.bind(origin.actor.as_str()).bind(origin.turn).bind(request)
}

// === requests ===

/// What is kept of a request, in a row that may have it.
fn record(row: &PgRow, owner: UserId) -> Result<Option<Record>> {
    let Some(fingerprint) = row.try_get::<Option<Vec<u8>>, _>("fingerprint")? else { return Ok(None) };
    let method: String = row.try_get("method")?;
    let answer: Vec<u8> = row.try_get("answer")?;
    let fingerprint =
        Fingerprint::from_bytes(&fingerprint).ok_or_else(|| inconsistent("requests", "fingerprint", owner))?;
    Ok(Some(Record { method, fingerprint, answer }))
}

async fn tidy(engine: &Engine, now: Timestamp, limit: usize) -> Result<bool> {
    let before = now.saturating_sub(errand_changelog::REQUESTS_KEPT).unwrap_or(Timestamp::MIN);
    let statement = Statement::new("tidy", "SELECT auth.tidy_v1($1, $2, $3) AS dropped");
    let rows = engine.write(statement.bind(Time(now)).bind(Time(before)).bind(bounded(limit))).await?;
    only(&rows)?.try_get("dropped").map_err(Error::from)
}

// === columns ===

/// The row of a function that answers one.
fn only(rows: &[PgRow]) -> Result<&PgRow> {
    rows.first().ok_or_else(|| Error::Engine("a function answered nothing".to_owned()))
}

/// A row that leaves the store is the asked owner's, or an error.
fn check_owner(row: &PgRow, owner: UserId, table: &'static str) -> Result<()> {
    let found: Uuid = row.try_get("owner")?;
    if found == *owner.as_uuid() { Ok(()) } else { Err(inconsistent(table, "owner", owner)) }
}

fn time(row: &PgRow, column: &str) -> Result<Timestamp> {
    Ok(row.try_get::<Time, _>(column)?.0)
}

fn inconsistent(table: &'static str, column: &'static str, owner: UserId) -> Error {
    Error::Inconsistent { table, column, key: owner.to_string() }
}

fn bounded(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
