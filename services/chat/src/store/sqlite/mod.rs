//! The store on SQLite: one file, whole statements, the steps of the write door in the same order
//! as on every engine.
//!
//! The data folder is held by one process, so leases that are found when it opens belong to
//! runners that are gone: they are cleared.

mod conversations;
mod housekeeping;
mod settings;
mod texts;
mod titles;
mod turns;

use std::path::Path;

use async_trait::async_trait;
use errand_changelog::{Actor, Fingerprint, Hints, Known, Origin, Record, Request, Seq, UserId};
use errand_storage::{
    Error, Migration, Outcome, Sqlite as Database,
    sqlite::{micros, timestamp},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    Ages, Appended, Begun, Cancel, Created, Deleted, Edit, Followed, History, Lease, NewConversation, NewEvents,
    NewSettings, NewTitle, NewTurn, Page, Reach, Renewed, Said, Set, Store, Taken, Text, Updated,
};
use crate::domain::{conversation::Conversation, rules::Settings, turn::Turn};

/// The schema of the file.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "conversations",
        sql: include_str!("../../../../../migrations/chat/sqlite/0001_conversations.sql"),
    },
    Migration {
        version: 2,
        name: "lifecycle",
        sql: include_str!("../../../../../migrations/chat/sqlite/0002_lifecycle.sql"),
    },
    Migration {
        version: 3,
        name: "answers",
        sql: include_str!("../../../../../migrations/chat/sqlite/0003_answers.sql"),
    },
    Migration {
        version: 4,
        name: "spending",
        sql: include_str!("../../../../../migrations/chat/sqlite/0004_spending.sql"),
    },
    Migration {
        version: 5,
        name: "settings",
        sql: include_str!("../../../../../migrations/chat/sqlite/0005_settings.sql"),
    },
    Migration {
        version: 6,
        name: "titles",
        sql: include_str!("../../../../../migrations/chat/sqlite/0006_titles.sql"),
    },
    Migration { version: 7, name: "texts", sql: include_str!("../../../../../migrations/chat/sqlite/0007_texts.sql") },
];

/// Conversations and turns in a SQLite file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    database: Database,
    hints: Hints,
}

/// A change as it is appended.
struct NewChange<'a> {
    kind: &'static str,
    conversation: Option<Uuid>,
    turn: Option<Uuid>,
    step: Option<usize>,
    before: Option<String>,
    after: Option<String>,
    origin: &'a Origin,
    now: Timestamp,
}

// === impl Sqlite ===

impl Sqlite {
    /// Follows whether writes find room.
    #[must_use]
    pub fn ready(&self) -> errand_storage::Ready {
        self.database.ready()
    }

    /// Opens a file that is at the newest of [`MIGRATIONS`].
    ///
    /// # Errors
    /// When it is not, or the engine says so.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let database = Database::open(path, MIGRATIONS)?;
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute(
            "UPDATE turns SET lease_holder = NULL, lease_until = NULL WHERE end_time IS NULL AND lease_holder IS NOT NULL",
            [],
        )?;
        Ok(Self { database, hints: Hints::default() })
    }

    /// Writes, and wakes who follows the owner's log once that is durable.
    async fn change<T, F>(&self, owner: UserId, mut work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<Outcome<T>, Error> + Send + 'static,
    {
        let (answer, head) = self
            .database
            .write(move |connection| {
                Ok(match work(connection)? {
                    Outcome::Commit(answer) => Outcome::Commit((answer, head(connection, owner)?)),
                    Outcome::Discard(answer) => Outcome::Discard((answer, 0)),
                })
            })
            .await?;
        self.hints.hint(owner, head);
        Ok(answer)
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn create_conversation(&self, owner: UserId, new: NewConversation, origin: Origin) -> Result<Created, Error> {
        self.change(owner, move |connection| conversations::create(connection, owner, &new, &origin)).await
    }

    async fn conversation(&self, owner: UserId, id: Uuid) -> Result<Option<Conversation>, Error> {
        self.database.get(move |connection| conversations::get(connection, owner, id)).await
    }

    async fn conversations(&self, owner: UserId, after: Option<Seq>, size: usize) -> Result<Page<Conversation>, Error> {
        self.database.read(move |connection| conversations::list(connection, owner, after, size)).await
    }

    async fn messages(
        &self,
        owner: UserId,
        conversation: Uuid,
        after: Option<Seq>,
        size: usize,
        bytes: usize,
    ) -> Result<Option<Page<Said>>, Error> {
        self.database
            .read(move |connection| conversations::messages(connection, owner, conversation, after, size, bytes))
            .await
    }

    async fn start_turn(&self, owner: UserId, new: NewTurn, origin: Origin) -> Result<Begun, Error> {
        self.change(owner, move |connection| turns::start(connection, owner, &new, &origin)).await
    }

    async fn turn(&self, owner: UserId, id: Uuid) -> Result<Option<Turn>, Error> {
        self.database.get(move |connection| turns::get(connection, owner, id)).await
    }

    async fn append(&self, owner: UserId, turn: Uuid, new: NewEvents) -> Result<Appended, Error> {
        self.change(owner, move |connection| turns::append(connection, owner, turn, &new)).await
    }

    async fn follow(&self, owner: UserId, turn: Uuid, from: usize) -> Result<Option<Followed>, Error> {
        self.database.get(move |connection| turns::follow(connection, owner, turn, from)).await
    }

    async fn cancel_turn(&self, owner: UserId, turn: Uuid, now: Timestamp, origin: Origin) -> Result<Cancel, Error> {
        self.change(owner, move |connection| turns::cancel(connection, owner, turn, now, &origin)).await
    }

    async fn update_conversation(&self, owner: UserId, id: Uuid, edit: Edit, origin: Origin) -> Result<Updated, Error> {
        self.change(owner, move |connection| conversations::update(connection, owner, id, &edit, &origin)).await
    }

    async fn draft(
        &self,
        owner: UserId,
        conversation: Uuid,
        budget: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<Seq>, Error> {
        self.database.get(move |connection| titles::draft(connection, owner, conversation, budget, now)).await
    }

    async fn entitle(&self, owner: UserId, new: NewTitle) -> Result<(), Error> {
        self.change(owner, move |connection| titles::entitle(connection, owner, &new)).await
    }

    async fn delete_conversation(
        &self,
        owner: UserId,
        id: Uuid,
        now: Timestamp,
        origin: Origin,
    ) -> Result<Deleted, Error> {
        self.change(owner, move |connection| conversations::delete(connection, owner, id, now, &origin)).await
    }

    async fn settings(&self, owner: UserId) -> Result<Settings, Error> {
        self.database.get(move |connection| settings::get(connection, owner)).await
    }

    async fn update_settings(&self, owner: UserId, new: NewSettings, origin: Origin) -> Result<Set, Error> {
        self.change(owner, move |connection| settings::update(connection, owner, &new, &origin)).await
    }

    async fn erase(&self, owner: UserId, now: Timestamp) -> Result<bool, Error> {
        self.database.write(move |connection| housekeeping::erase(connection, owner, now).map(Outcome::Commit)).await
    }

    async fn tidy(&self, ages: Ages) -> Result<bool, Error> {
        self.database.write(move |connection| housekeeping::tidy(connection, &ages).map(Outcome::Commit)).await
    }

    fn hints(&self) -> &Hints {
        &self.hints
    }

    async fn history(&self, owner: UserId, conversation: Uuid, reach: Reach) -> Result<History, Error> {
        self.database.read(move |connection| turns::history(connection, owner, conversation, reach)).await
    }

    async fn take_lease(&self, owner: UserId, turn: Uuid, lease: Lease, now: Timestamp) -> Result<Taken, Error> {
        self.database.write(move |connection| turns::take_lease(connection, owner, turn, lease, now)).await
    }

    async fn renew_lease(&self, owner: UserId, turn: Uuid, lease: Lease) -> Result<Renewed, Error> {
        self.database.write(move |connection| turns::renew_lease(connection, owner, turn, lease)).await
    }

    async fn keep_text(&self, owner: UserId, turn: Uuid, holder: Uuid, text: Text) -> Result<bool, Error> {
        self.database.write(move |connection| texts::keep(connection, owner, turn, holder, &text)).await
    }

    async fn release_lease(&self, owner: UserId, turn: Uuid, holder: Uuid) -> Result<(), Error> {
        self.database.write(move |connection| turns::release_lease(connection, owner, turn, holder)).await
    }

    async fn close(&self) {
        self.database.close().await;
    }
}

// === the write door ===

/// What the request turns out to be.
fn judge(connection: &Connection, owner: UserId, request: Option<&Request>) -> Result<Known, Error> {
    let Some(request) = request else { return Ok(Known::New) };
    let record = connection
        .prepare_cached("SELECT owner, method, fingerprint, answer FROM requests WHERE owner = ?1 AND request_id = ?2")?
        .query_row(params![blob(owner), request.id], |row| {
            Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, String>(1)?, row.get::<_, Vec<u8>>(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((found, method, fingerprint, answer)) = record else { return Ok(Known::New) };
    check_owner("requests", owner, found, &request.id)?;
    let fingerprint =
        Fingerprint::from_bytes(&fingerprint).ok_or_else(|| inconsistent("requests", "fingerprint", &request.id))?;
    Ok(request.judge(Some(Record { method, fingerprint, answer })))
}

/// Keeps the first answer to a request.
fn remember(
    connection: &Connection,
    owner: UserId,
    request: Option<&Request>,
    answer: &[u8],
    now: Timestamp,
) -> Result<(), Error> {
    let Some(request) = request else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT INTO requests (owner, request_id, method, fingerprint, answer, time) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            blob(owner),
            request.id,
            request.method,
            request.fingerprint.as_bytes().as_slice(),
            answer,
            micros(now),
        ])?;
    Ok(())
}

/// Whether the owner was erased: then nothing is written any more.
fn is_erased(connection: &Connection, owner: UserId) -> Result<bool, Error> {
    let found = connection
        .prepare_cached("SELECT owner, erase_time IS NOT NULL FROM heads WHERE owner = ?1")?
        .query_row(params![blob(owner)], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get(1)?)))
        .optional()?;
    let Some((found, is_erased)) = found else { return Ok(false) };
    check_owner("heads", owner, found, "head")?;
    Ok(is_erased)
}

/// How far the owner's log goes.
fn head(connection: &Connection, owner: UserId) -> Result<Seq, Error> {
    let head = connection
        .prepare_cached("SELECT seq FROM heads WHERE owner = ?1")?
        .query_row(params![blob(owner)], |row| row.get(0))
        .optional()?;
    Ok(head.unwrap_or_default())
}

/// Moves the head of the owner's log by `count` changes and answers the seq of the first of them.
fn advance(connection: &Connection, owner: UserId, count: usize) -> Result<Seq, Error> {
    let count = Seq::try_from(count).map_err(|_| Error::Engine("too many changes".to_owned()))?;
    let head: Seq = connection
        .prepare_cached(
            "INSERT INTO heads (owner, seq) VALUES (?1, ?2)
             ON CONFLICT (owner) DO UPDATE SET seq = seq + excluded.seq
             RETURNING seq",
        )?
        .query_row(params![blob(owner), count], |row| row.get(0))?;
    Ok(head - count + 1)
}

fn append(connection: &Connection, owner: UserId, seq: Seq, change: &NewChange<'_>) -> Result<(), Error> {
    let step = change.step.map(Seq::try_from).transpose().map_err(|_| Error::Engine("too many steps".to_owned()))?;
    connection
        .prepare_cached(
            "INSERT INTO changes (owner, seq, time, actor, turn, step, request_id, kind, before, after, conversation)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            blob(owner),
            seq,
            micros(change.now),
            change.origin.actor.as_str(),
            change.turn.map(Uuid::into_bytes),
            step,
            change.origin.request.as_ref().map(|request| request.id.as_str()),
            change.kind,
            change.before.as_deref(),
            change.after.as_deref(),
            change.conversation.map(Uuid::into_bytes),
        ])?;
    Ok(())
}

/// The origin of what a runner stores.
fn by_assistant(turn: Uuid) -> Origin {
    Origin { actor: Actor::Assistant, turn: Some(turn), request: None }
}

// === rows ===

fn blob(owner: UserId) -> [u8; 16] {
    owner.as_uuid().into_bytes()
}

/// Every row that leaves the store is checked against the owner that was asked for.
fn check_owner(table: &'static str, asked: UserId, found: [u8; 16], key: &str) -> Result<(), Error> {
    if found == blob(asked) { Ok(()) } else { Err(inconsistent(table, "owner", key)) }
}

fn inconsistent(table: &'static str, column: &'static str, key: &str) -> Error {
    Error::Inconsistent { table, column, key: key.to_owned() }
}

fn id(row: &Row<'_>, column: usize) -> Result<Uuid, Error> {
    Ok(Uuid::from_bytes(row.get(column)?))
}

fn time(row: &Row<'_>, column: usize) -> Result<Timestamp, Error> {
    timestamp(row.get(column)?)
}

fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Engine(format!("encoding a row failed: {error}")))
}

fn parsed<T: DeserializeOwned>(table: &'static str, column: &'static str, key: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|_| inconsistent(table, column, key))
}

#[cfg(test)]
mod tests;
