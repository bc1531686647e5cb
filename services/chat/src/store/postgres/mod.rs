//! The store on PostgreSQL: whole statements, one per method. A read is one statement that opens the
//! owner's rows to itself; a write is one call of a function that the migrations make, with the steps
//! of the write door in the same order as on every engine.
//!
//! Several processes work on one database, so a lease that is found may be somebody's: it runs out
//! or is given back, and is never cleared.

mod conversations;
mod housekeeping;
mod settings;
mod texts;
mod titles;
mod turns;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use errand_changelog::{Actor, Fingerprint, Hints, Known, Origin, Record, Request, Seq, UserId};
use errand_storage::{
    Error, Migration, Postgres as Database, Ready, Schema,
    postgres::{
        Settings, Statement, Time,
        wake::{Heads, Wake},
    },
};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    Ages, Appended, Begun, Cancel, Created, Deleted, Edit, Followed, History, Lease, NewConversation, NewEvents,
    NewSettings, NewTitle, NewTurn, Page, Reach, Renewed, Said, Set, Store, Taken, Text, Updated,
};
use crate::domain::{conversation::Conversation, rules, turn::Turn};

/// The schema `chat` of the database.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "conversations",
        sql: include_str!("../../../../../migrations/chat/postgres/0001_conversations.sql"),
    },
    Migration {
        version: 2,
        name: "lifecycle",
        sql: include_str!("../../../../../migrations/chat/postgres/0002_lifecycle.sql"),
    },
    Migration {
        version: 3,
        name: "answers",
        sql: include_str!("../../../../../migrations/chat/postgres/0003_answers.sql"),
    },
    Migration {
        version: 4,
        name: "spending",
        sql: include_str!("../../../../../migrations/chat/postgres/0004_spending.sql"),
    },
    Migration {
        version: 5,
        name: "settings",
        sql: include_str!("../../../../../migrations/chat/postgres/0005_settings.sql"),
    },
    Migration {
        version: 6,
        name: "titles",
        sql: include_str!("../../../../../migrations/chat/postgres/0006_titles.sql"),
    },
    Migration {
        version: 7,
        name: "texts",
        sql: include_str!("../../../../../migrations/chat/postgres/0007_texts.sql"),
    },
];

/// How far the logs of these owners go.
const HEADS: &str = "SELECT owner, seq FROM chat.heads WHERE owner = ANY ($1)";

/// Conversations and turns in a PostgreSQL database.
#[derive(Debug, Clone)]
pub struct Postgres {
    database: Database,
    hints: Hints,
    /// Tells other processes.
    wake: Arc<Wake>,
    /// The owner after whom letting go goes on.
    tidied: Arc<Mutex<Uuid>>,
}

/// What other processes tell is for whom somebody here waits.
struct Waiting(Hints);

/// What a door says.
enum Door {
    /// It is done, and this is the answer.
    Done(Vec<u8>),
    /// It was done before, and this was the answer.
    Replayed(Vec<u8>),
    /// The request id belongs to another request.
    Reused,
    /// Nothing was written.
    Refused(Refusal),
}

/// Why a door wrote nothing.
struct Refusal {
    code: String,
    about: Vec<u8>,
}

// === impl Postgres ===

impl Postgres {
    /// Connects to a database whose schema is at the newest of [`MIGRATIONS`].
    ///
    /// # Errors
    /// When it is not, or can not be reached.
    pub async fn open(settings: &Settings, schema: &Schema) -> Result<Self, Error> {
        let database = Database::open(settings, schema).await?;
        let hints = Hints::default();
        let wake = Wake::start(&database, HEADS, Arc::new(Waiting(hints.clone())));
        Ok(Self { database, hints, wake: Arc::new(wake), tidied: Arc::default() })
    }

    /// Follows whether the database takes writes.
    #[must_use]
    pub fn ready(&self) -> Ready {
        self.database.ready()
    }

    /// How many statements were sent.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.database.statements()
    }

    /// Wakes who follows the owner's log, here and elsewhere.
    fn tell(&self, owner: UserId, head: Seq) {
        self.hints.hint(owner, head);
        self.wake.tell(*owner.as_uuid(), head);
    }

    /// Goes through a door.
    async fn pass(&self, owner: UserId, origin: &Origin, statement: Statement) -> Result<Door, Error> {
        let row = one(self.database.write(statement).await?)?;
        let code: String = row.try_get("code")?;
        let answer: Option<Vec<u8>> = row.try_get("answer")?;
        let answer = answer.unwrap_or_default();
        match code.as_str() {
            "done" => {
                if let Some(head) = row.try_get("head")? {
                    self.tell(owner, head);
                }
                Ok(Door::Done(answer))
            }
            "known" => known(&row, origin.request.as_ref(), answer),
            _ => Ok(Door::Refused(Refusal { code, about: answer })),
        }
    }
}

#[async_trait]
impl Store for Postgres {
    async fn create_conversation(&self, owner: UserId, new: NewConversation, origin: Origin) -> Result<Created, Error> {
        self.create(owner, &new, &origin).await
    }

    async fn conversation(&self, owner: UserId, id: Uuid) -> Result<Option<Conversation>, Error> {
        conversations::get(&self.database, owner, id).await
    }

    async fn conversations(&self, owner: UserId, after: Option<Seq>, size: usize) -> Result<Page<Conversation>, Error> {
        conversations::list(&self.database, owner, after, size).await
    }

    async fn messages(
        &self,
        owner: UserId,
        conversation: Uuid,
        after: Option<Seq>,
        size: usize,
        bytes: usize,
    ) -> Result<Option<Page<Said>>, Error> {
        conversations::messages(&self.database, owner, conversation, after, size, bytes).await
    }

    async fn start_turn(&self, owner: UserId, new: NewTurn, origin: Origin) -> Result<Begun, Error> {
        self.start(owner, &new, &origin).await
    }

    async fn turn(&self, owner: UserId, id: Uuid) -> Result<Option<Turn>, Error> {
        turns::get(&self.database, owner, id).await
    }

    async fn append(&self, owner: UserId, turn: Uuid, new: NewEvents) -> Result<Appended, Error> {
        self.store_events(owner, turn, &new).await
    }

    async fn follow(&self, owner: UserId, turn: Uuid, from: usize) -> Result<Option<Followed>, Error> {
        turns::follow(&self.database, owner, turn, from).await
    }

    async fn cancel_turn(&self, owner: UserId, turn: Uuid, now: Timestamp, origin: Origin) -> Result<Cancel, Error> {
        self.cancel(owner, turn, now, &origin).await
    }

    async fn update_conversation(&self, owner: UserId, id: Uuid, edit: Edit, origin: Origin) -> Result<Updated, Error> {
        self.update(owner, id, &edit, &origin).await
    }

    async fn draft(
        &self,
        owner: UserId,
        conversation: Uuid,
        budget: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<Seq>, Error> {
        titles::draft(&self.database, owner, conversation, budget, now).await
    }

    async fn entitle(&self, owner: UserId, new: NewTitle) -> Result<(), Error> {
        self.entitle_draft(owner, &new).await
    }

    async fn delete_conversation(
        &self,
        owner: UserId,
        id: Uuid,
        now: Timestamp,
        origin: Origin,
    ) -> Result<Deleted, Error> {
        self.delete(owner, id, now, &origin).await
    }

    async fn settings(&self, owner: UserId) -> Result<rules::Settings, Error> {
        settings::get(&self.database, owner).await
    }

    async fn update_settings(&self, owner: UserId, new: NewSettings, origin: Origin) -> Result<Set, Error> {
        self.set(owner, &new, &origin).await
    }

    async fn erase(&self, owner: UserId, now: Timestamp) -> Result<bool, Error> {
        housekeeping::erase(&self.database, owner, now).await
    }

    async fn tidy(&self, ages: Ages) -> Result<bool, Error> {
        housekeeping::tidy(&self.database, &self.tidied, ages).await
    }

    fn hints(&self) -> &Hints {
        &self.hints
    }

    async fn history(&self, owner: UserId, conversation: Uuid, reach: Reach) -> Result<History, Error> {
        turns::history(&self.database, owner, conversation, reach).await
    }

    async fn take_lease(&self, owner: UserId, turn: Uuid, lease: Lease, now: Timestamp) -> Result<Taken, Error> {
        turns::take_lease(&self.database, owner, turn, lease, now).await
    }

    async fn renew_lease(&self, owner: UserId, turn: Uuid, lease: Lease) -> Result<Renewed, Error> {
        turns::renew_lease(&self.database, owner, turn, lease).await
    }

    async fn keep_text(&self, owner: UserId, turn: Uuid, holder: Uuid, text: Text) -> Result<bool, Error> {
        texts::keep(&self.database, owner, turn, holder, &text).await
    }

    async fn release_lease(&self, owner: UserId, turn: Uuid, holder: Uuid) -> Result<(), Error> {
        turns::release_lease(&self.database, owner, turn, holder).await
    }

    async fn close(&self) {
        self.database.close().await;
    }
}

// === impl Waiting ===

impl Heads for Waiting {
    fn awaited(&self) -> Vec<Uuid> {
        self.0.awaited().into_iter().map(|owner| *owner.as_uuid()).collect()
    }

    fn found(&self, owner: Uuid, seq: i64) {
        self.0.hint(UserId::from(owner), seq);
    }
}

// === impl Refusal ===

impl Refusal {
    /// A code that this program does not know.
    fn unexpected(&self) -> Error {
        Error::Engine(format!("a door answered {:?}", self.code))
    }
}

// === the write door ===

/// A door with the values that all of them begin with.
fn door(name: &'static str, sql: &'static str, owner: UserId, origin: &Origin) -> Statement {
    let request = origin.request.as_ref();
    Statement::new(name, sql)
        .bind(*owner.as_uuid())
        .bind(request.map(|request| request.id.as_str()))
        .bind(request.map(|request| request.method))
        .bind(request.map(|request| request.fingerprint.as_bytes().as_slice()))
        .bind(origin.actor.as_str())
}

/// Judges a request by what is kept of it.
fn known(row: &PgRow, request: Option<&Request>, answer: Vec<u8>) -> Result<Door, Error> {
    let Some(request) = request else { return Err(inconsistent("requests", "request_id", "")) };
    let fingerprint: Vec<u8> = row.try_get("fingerprint")?;
    let fingerprint =
        Fingerprint::from_bytes(&fingerprint).ok_or_else(|| inconsistent("requests", "fingerprint", &request.id))?;
    Ok(match request.judge(Some(Record { method: row.try_get("method")?, fingerprint, answer })) {
        Known::Replay(answer) => Door::Replayed(answer),
        Known::Reused | Known::New => Door::Reused,
    })
}

/// What a runner's steps are said to come from.
const BY_ASSISTANT: &str = Actor::Assistant.as_str();

// === rows ===

/// The row that a function answers with.
fn one(rows: Vec<PgRow>) -> Result<PgRow, Error> {
    rows.into_iter().next().ok_or_else(|| Error::Engine("a function answered nothing".to_owned()))
}

/// Every row that leaves the store is checked against the owner that was asked for.
fn check_owner(table: &'static str, asked: UserId, found: Uuid, key: &str) -> Result<(), Error> {
    if found == *asked.as_uuid() { Ok(()) } else { Err(inconsistent(table, "owner", key)) }
}

fn inconsistent(table: &'static str, column: &'static str, key: &str) -> Error {
    Error::Inconsistent { table, column, key: key.to_owned() }
}

fn time(row: &PgRow, column: &str) -> Result<Timestamp, Error> {
    let Time(time) = row.try_get(column)?;
    Ok(time)
}

/// A number of rows or bytes.
fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Engine(format!("encoding a row failed: {error}")))
}

fn parsed<T: DeserializeOwned>(table: &'static str, column: &'static str, key: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|_| inconsistent(table, column, key))
}

#[cfg(test)]
fn explained(sql: &'static str) -> &'static str {
    format!("EXPLAIN (COSTS OFF) {sql}").leak()
}

#[cfg(test)]
mod tests;
