//! What the tests of several modules need: a store in a place of its own on either engine, a model that
//! does as it is told, and a task service.

mod task;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use errand_changelog::{Actor, Origin, Request as ChangeRequest, UserId};
use errand_chassis::clock::{Clock, SystemClock};
use errand_cluster::{Cluster, Database};
use errand_storage::postgres::Settings;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    domain::{tool::ToolCall, usage::Usage},
    model::{Answer, Entry, Failure, Model, ModelError, Saying, Step, Transcript},
    store::{
        Store,
        postgres::Postgres,
        sqlite::{MIGRATIONS, Sqlite},
    },
};

pub(crate) use task::{FakeTask, Tasks, refusal};

pub(crate) const SEND: &str = "/errand.chat.v1.ChatService/SendMessage";

/// A database file that lives as long as this.
pub(crate) struct File {
    folder: tempfile::TempDir,
}

/// A database of a PostgreSQL server.
pub(crate) struct Server {
    database: Database,
}

/// Where a test keeps its data, on either engine.
pub(crate) enum Kept {
    File(File),
    Server(Server),
}

/// A clock that stands still, but whose ids are those of a real one: a test has several processes.
#[derive(Debug)]
pub(crate) struct StillClock;

/// The same, this much later: by then a lease has run out.
#[derive(Debug)]
pub(crate) struct LateClock(pub(crate) SignedDuration);

pub(crate) type Script = dyn Fn(&Transcript) -> Result<Step, ModelError> + Send + Sync;

/// What is made of what was said first and what was answered.
pub(crate) type Titler = fn(&str, &str) -> Result<Step, ModelError>;

/// Answers with what a function makes of the transcript.
pub(crate) struct Puppet {
    pub(crate) answer: Box<Script>,
    /// The transcripts that it read.
    pub(crate) read: Mutex<Vec<Transcript>>,
    /// A permit is taken for each answer.
    pub(crate) gate: Semaphore,
    /// What is said while the answer is being written, and a permit is taken for each piece.
    pub(crate) pieces: Vec<&'static str>,
    pub(crate) pen: Semaphore,
    /// What each answer and each title cost.
    pub(crate) cost: Option<Usage>,
    /// What it calls conversations; nothing when it makes no titles.
    pub(crate) title: Option<Titler>,
}

pub(crate) fn user(number: u128) -> UserId {
    UserId::from(Uuid::from_u128(number))
}

pub(crate) fn now() -> Timestamp {
    Timestamp::constant(1_795_251_600, 0)
}

/// A request with a name, and a body that it says.
pub(crate) fn named(id: &str, body: &str) -> Option<ChangeRequest> {
    Some(ChangeRequest::new(id, SEND, body.as_bytes()))
}

pub(crate) fn by_user(request: Option<ChangeRequest>) -> Origin {
    Origin { actor: Actor::User, turn: None, request }
}

pub(crate) fn call(id: &str, name: &str, arguments: Value) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments }
}

/// The results that the model has seen in the turn under way.
pub(crate) fn results(transcript: &Transcript) -> usize {
    let of_this_turn = transcript.entries.iter().rev().take_while(|entry| !matches!(entry, Entry::User(_)));
    of_this_turn.filter(|entry| matches!(entry, Entry::Result(_))).count()
}

/// A model that adds a task, deletes one, and then says so.
pub(crate) fn busy_model() -> Puppet {
    Puppet::new(|transcript| {
        Ok(match results(transcript) {
            0 => Step::Call(vec![
                call("a", "add_tasks", json!({"requests": [{"task": {"title": "milk"}}]})),
                call("b", "add_tasks", json!({"requests": [{"task": {"title": "eggs"}}]})),
            ]),
            2 => {
                let requests = [json!({"taskId": Uuid::from_u128(9).to_string()})];
                Step::Call(vec![call("c", "delete_tasks", json!({"requests": requests}))])
            }
            _ => Step::Reply("Done.".to_owned()),
        })
    })
}

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        now()
    }

    fn id(&self) -> Uuid {
        SystemClock.id()
    }

    fn passed(&self) -> Duration {
        SystemClock.passed()
    }
}

impl Clock for LateClock {
    fn now(&self) -> Timestamp {
        now() + self.0
    }

    fn id(&self) -> Uuid {
        SystemClock.id()
    }

    fn passed(&self) -> Duration {
        SystemClock.passed()
    }
}

// === impl File ===

impl File {
    pub(crate) fn new() -> Self {
        let file = Self { folder: tempfile::tempdir().expect("a folder") };
        errand_storage::migrate::up(&file.path(), MIGRATIONS).expect("a schema");
        file
    }

    pub(crate) async fn make() -> Option<Self> {
        Some(Self::new())
    }

    pub(crate) async fn connect(&self) -> Sqlite {
        self.open()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("chat.db")
    }

    pub(crate) fn open(&self) -> Sqlite {
        Sqlite::open(&self.path()).expect("a store")
    }
}

// === impl Server ===

impl Server {
    /// A database with the schema; none where PostgreSQL is not installed.
    pub(crate) async fn make() -> Option<Self> {
        let cluster = tokio::task::spawn_blocking(Cluster::shared).await.expect("a server")?;
        Some(Self::on(cluster).await)
    }

    /// A database of this server with the schema.
    pub(crate) async fn on(cluster: &Cluster) -> Self {
        let this = Self { database: cluster.database() };
        let settings = this.settings("errand_migrate");
        errand_storage::postgres::migrate::up(&settings, &crate::SCHEMA).await.expect("a schema");
        this
    }

    /// How to reach it as this role.
    pub(crate) fn settings(&self, role: &str) -> Settings {
        Settings { connections: 4, ..Settings::new(self.database.url(role).into()) }
    }

    pub(crate) async fn connect(&self) -> Postgres {
        Postgres::open(&self.settings("errand_chat"), &crate::SCHEMA).await.expect("a store")
    }

    /// A store that can or can not listen for what other processes do.
    pub(crate) async fn behind(&self, pooler: bool) -> Postgres {
        let settings = Settings { pooler, ..self.settings("errand_chat") };
        Postgres::open(&settings, &crate::SCHEMA).await.expect("a store")
    }

    /// A store with one connection, so that every statement meets the same plans.
    pub(crate) async fn alone(&self) -> Postgres {
        let settings = Settings { connections: 1, ..self.settings("errand_chat") };
        Postgres::open(&settings, &crate::SCHEMA).await.expect("a store")
    }

    /// What a statement of a superuser prints.
    pub(crate) async fn run(&self, sql: &str) -> String {
        let (database, sql) = (self.database.clone(), sql.to_owned());
        tokio::task::spawn_blocking(move || database.run(&sql)).await.expect("an answer")
    }
}

// === impl Kept ===

impl Kept {
    /// One on each engine that there is.
    pub(crate) async fn each() -> Vec<Self> {
        [Some(Self::File(File::new())), Server::make().await.map(Self::Server)].into_iter().flatten().collect()
    }

    /// The same without anything in it.
    pub(crate) async fn emptied(self) -> Self {
        match self {
            Self::File(_) => Self::File(File::new()),
            Self::Server(server) => {
                server.run("TRUNCATE chat.heads, chat.conversations, chat.messages, chat.turns, chat.texts, chat.changes, chat.requests, chat.settings").await;
                Self::Server(server)
            }
        }
    }

    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::File(file) => Arc::new(file.open()),
            Self::Server(server) => Arc::new(server.connect().await),
        }
    }
}

// === impl Puppet ===

impl Puppet {
    pub(crate) fn new(answer: impl Fn(&Transcript) -> Result<Step, ModelError> + Send + Sync + 'static) -> Self {
        Self {
            answer: Box::new(answer),
            read: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            pieces: Vec::new(),
            pen: Semaphore::new(0),
            cost: None,
            title: None,
        }
    }

    /// A model that says the same every time.
    pub(crate) fn saying(text: &'static str) -> Self {
        Self::new(move |_| Ok(Step::Reply(text.to_owned())))
    }

    /// The same, but it answers only when the test adds a permit to its gate.
    pub(crate) fn waiting(self) -> Self {
        Self { gate: Semaphore::new(0), ..self }
    }

    fn costs(&self, answer: Result<Step, ModelError>) -> Result<Answer, Failure> {
        match answer {
            Ok(step) => Ok(Answer { usage: self.cost, ..step.into() }),
            Err(error) => Err(Failure { error, usage: self.cost }),
        }
    }

    pub(crate) fn asked(&self) -> usize {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[async_trait]
impl Model for Puppet {
    async fn next(&self, transcript: &Transcript, say: &mut Saying<'_>) -> Result<Answer, Failure> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).push(transcript.clone());
        for piece in &self.pieces {
            if let Ok(permit) = self.pen.acquire().await {
                permit.forget();
            }
            say(piece);
        }
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
        self.costs((self.answer)(transcript))
    }

    fn length(&self, transcript: &Transcript) -> Option<usize> {
        self.cost.map(|_| transcript.entries.len())
    }

    fn makes_titles(&self) -> bool {
        self.title.is_some()
    }

    async fn title(&self, said: &str, answered: &str) -> Result<Answer, Failure> {
        let title = self.title.ok_or(ModelError::NothingToAnswer)?;
        self.costs(title(said, answered))
    }
}
