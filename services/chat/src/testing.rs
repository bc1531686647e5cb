//! What the tests of several modules need: a store in a folder of its own, a model that does as it
//! is told, and a task service that remembers who asked it for what.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use errand_changelog::{Actor, Fingerprint, Origin, Request as ChangeRequest, UserId};
use errand_chassis::{
    clock::{Clock, SystemClock},
    upstream::{Unreached, Upstream},
};
use errand_proto::task::{
    self, BatchCreateTasksRequest, BatchCreateTasksResponse, BatchDeleteTasksRequest, BatchDeleteTasksResponse,
    CompleteTaskRequest, CreateTaskRequest, DeleteTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse,
    ReopenTaskRequest, Task, UndeleteTaskRequest, UndoChangesRequest, UndoChangesResponse, UpdateTaskRequest,
    task_service_server::{TaskService, TaskServiceServer},
    undo_changes_request::Selection,
};
use errand_storage::postgres::Settings;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status, body::Body};
use tower::{ServiceExt, util::BoxCloneSyncService};
use uuid::Uuid;

use crate::{
    domain::tool::ToolCall,
    model::{Entry, Model, ModelError, Step, Transcript},
    store::{
        Store,
        postgres::Postgres,
        sqlite::{MIGRATIONS, Sqlite},
    },
};

pub(crate) const SEND: &str = "/errand.chat.v1.ChatService/SendMessage";

/// A database file that lives as long as this.
pub(crate) struct File {
    folder: tempfile::TempDir,
}

/// A database of a PostgreSQL server.
pub(crate) struct Server {
    database: errand_cluster::Database,
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

type Script = dyn Fn(&Transcript) -> Result<Step, ModelError> + Send + Sync;

/// Answers with what a function makes of the transcript.
pub(crate) struct Puppet {
    answer: Box<Script>,
    /// The transcripts that it read.
    pub(crate) read: Mutex<Vec<Transcript>>,
    /// A permit is taken for each answer.
    pub(crate) gate: Semaphore,
}

/// A task service without rules.
#[derive(Clone, Default)]
pub(crate) struct FakeTask(Arc<Mutex<Tasks>>);

#[derive(Default)]
pub(crate) struct Tasks {
    /// The tasks by the request that made them.
    pub(crate) made: BTreeMap<String, Task>,
    /// The requests of deletes, in order, repetitions too.
    pub(crate) deleted: Vec<String>,
    /// The tasks that batches took away, by the request that did it.
    pub(crate) taken: BTreeMap<String, Vec<Task>>,
    /// The turns that were taken back.
    pub(crate) undone: Vec<String>,
    /// The headers of every call.
    pub(crate) headers: Vec<http::HeaderMap>,
    /// What to refuse the next calls with.
    pub(crate) refusals: VecDeque<Status>,
    /// Whether every call is refused.
    pub(crate) is_down: bool,
    /// Whether no call is answered.
    pub(crate) hangs: bool,
    /// Whether calls that make tasks are carried out, but not answered.
    pub(crate) hangs_after: bool,
}

pub(crate) fn user(number: u128) -> UserId {
    UserId::from(Uuid::from_u128(number))
}

pub(crate) fn now() -> Timestamp {
    Timestamp::constant(1_795_251_600, 0)
}

/// A request with a name, and a body that it says.
pub(crate) fn named(id: &str, body: &str) -> Option<ChangeRequest> {
    Some(ChangeRequest { id: id.to_owned(), method: SEND, fingerprint: Fingerprint::of(SEND, body.as_bytes()) })
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
                call("a", "add_task", json!({"task": {"title": "milk"}})),
                call("b", "add_task", json!({"task": {"title": "eggs"}})),
            ]),
            2 => Step::Call(vec![call("c", "delete_task", json!({"taskId": Uuid::from_u128(9).to_string()}))]),
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
}

impl Clock for LateClock {
    fn now(&self) -> Timestamp {
        now() + self.0
    }

    fn id(&self) -> Uuid {
        SystemClock.id()
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
        let database = tokio::task::spawn_blocking(|| Some(errand_cluster::Cluster::shared()?.database()));
        let this = Self { database: database.await.expect("a database")? };
        let settings = this.settings("errand_migrate");
        errand_storage::postgres::migrate::up(&settings, &crate::SCHEMA).await.expect("a schema");
        Some(this)
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
                server.run("TRUNCATE chat.heads, chat.conversations, chat.messages, chat.turns, chat.changes, chat.requests").await;
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
        Self { answer: Box::new(answer), read: Mutex::default(), gate: Semaphore::new(Semaphore::MAX_PERMITS) }
    }

    /// A model that says the same every time.
    pub(crate) fn saying(text: &'static str) -> Self {
        Self::new(move |_| Ok(Step::Reply(text.to_owned())))
    }

    /// The same, but it answers only when the test adds a permit to its gate.
    pub(crate) fn waiting(self) -> Self {
        Self { gate: Semaphore::new(0), ..self }
    }

    pub(crate) fn asked(&self) -> usize {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[async_trait]
impl Model for Puppet {
    async fn next(&self, transcript: &Transcript) -> Result<Step, ModelError> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).push(transcript.clone());
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
        (self.answer)(transcript)
    }
}

impl Tasks {
    /// The tasks that are there.
    fn live(&self) -> Vec<Task> {
        self.made.values().cloned().collect()
    }
}

// === impl FakeTask ===

impl FakeTask {
    pub(crate) fn upstream(&self) -> Upstream {
        let service = TaskServiceServer::new(self.clone());
        BoxCloneSyncService::new(ServiceExt::<http::Request<Body>>::map_err(service, Unreached::new))
    }

    pub(crate) fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts this many tasks there.
    pub(crate) fn fill(&self, count: u128) {
        let mut tasks = self.tasks();
        for number in 1000..1000 + count {
            let id = Uuid::from_u128(number).to_string();
            let task = Task { id: id.clone(), title: format!("task {number}"), etag: "1".into(), ..Default::default() };
            tasks.made.insert(id, task);
        }
    }

    /// How many tasks were made.
    pub(crate) fn made(&self) -> usize {
        self.tasks().made.len()
    }

    /// How many calls arrived.
    pub(crate) fn calls(&self) -> usize {
        self.tasks().headers.len()
    }

    /// The requests of deletes, each once.
    pub(crate) fn deleted(&self) -> Vec<String> {
        let mut deleted = self.tasks().deleted.clone();
        deleted.dedup();
        deleted
    }

    async fn arrive<T>(&self, request: Request<T>) -> Result<T, Status> {
        let (metadata, _, message) = request.into_parts();
        let hangs = {
            let mut tasks = self.tasks();
            tasks.headers.push(metadata.into_headers());
            if let Some(refusal) = tasks.refusals.pop_front() {
                return Err(refusal);
            }
            if tasks.is_down {
                return Err(Status::unavailable("connection refused by 10.0.0.1"));
            }
            tasks.hangs
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok(message)
    }
}

/// A refusal as the real service sends it.
pub(crate) fn refusal(code: Code, reason: &'static str) -> Status {
    errand_chassis::Error::new(code, reason, "refused").into()
}

#[tonic::async_trait]
impl TaskService for FakeTask {
    async fn create_task(&self, request: Request<CreateTaskRequest>) -> Result<Response<Task>, Status> {
        let request = self.arrive(request).await?;
        let mut tasks = self.tasks();
        let id = Uuid::from_u128(100 + tasks.made.len() as u128).to_string();
        let task = Task { id, ..request.task.unwrap_or_default() };
        let first = tasks.made.entry(request.request_id).or_insert(task);
        Ok(Response::new(first.clone()))
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        self.arrive(request).await?;
        let tasks = self.tasks().made.values().cloned().collect();
        Ok(Response::new(ListTasksResponse { tasks, ..Default::default() }))
    }

    async fn delete_task(&self, request: Request<DeleteTaskRequest>) -> Result<Response<Task>, Status> {
        let request = self.arrive(request).await?;
        self.tasks().deleted.push(request.request_id);
        Ok(Response::new(Task { id: request.task_id, ..Default::default() }))
    }

    type WatchTasksStream = futures_util::stream::Empty<Result<task::WatchTasksResponse, Status>>;

    async fn batch_create_tasks(
        &self,
        request: Request<BatchCreateTasksRequest>,
    ) -> Result<Response<BatchCreateTasksResponse>, Status> {
        let request = self.arrive(request).await?;
        let (mut tasks, hangs) = (Vec::new(), self.tasks().hangs_after);
        for (at, new) in request.requests.into_iter().enumerate() {
            let mut made = self.tasks();
            let id = Uuid::from_u128(100 + made.made.len() as u128).to_string();
            let task = Task { id, etag: "1".to_owned(), ..new.task.unwrap_or_default() };
            tasks.push(made.made.entry(format!("{}/{at:04}", request.request_id)).or_insert(task).clone());
        }
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(BatchCreateTasksResponse { tasks }))
    }

    async fn batch_delete_tasks(
        &self,
        request: Request<BatchDeleteTasksRequest>,
    ) -> Result<Response<BatchDeleteTasksResponse>, Status> {
        let request = self.arrive(request).await?;
        let mut tasks = self.tasks();
        if let Some(taken) = tasks.taken.get(&request.request_id) {
            return Ok(Response::new(BatchDeleteTasksResponse { tasks: taken.clone() }));
        }
        let mut taken = Vec::new();
        for version in request.requests {
            let Some(task) = tasks.live().into_iter().find(|task| task.id == version.task_id) else {
                return Err(refusal(Code::NotFound, "TASK_NOT_FOUND"));
            };
            if !version.etag.is_empty() && version.etag != task.etag {
                return Err(refusal(Code::Aborted, "ETAG_MISMATCH"));
            }
            taken.push(task);
        }
        tasks.made.retain(|_, task| !taken.iter().any(|gone| gone.id == task.id));
        tasks.taken.insert(request.request_id, taken.clone());
        Ok(Response::new(BatchDeleteTasksResponse { tasks: taken }))
    }

    async fn undo_changes(
        &self,
        request: Request<UndoChangesRequest>,
    ) -> Result<Response<UndoChangesResponse>, Status> {
        let request = self.arrive(request).await?;
        let Some(Selection::TurnId(turn)) = request.selection else {
            return Err(refusal(Code::NotFound, "CHANGES_NOT_FOUND"));
        };
        let mut tasks = self.tasks();
        let back: Vec<Task> = tasks.taken.values().flatten().cloned().collect();
        tasks.taken.clear();
        tasks.made.extend(back.iter().map(|task| (task.id.clone(), task.clone())));
        tasks.undone.push(turn);
        Ok(Response::new(UndoChangesResponse { tasks: back, ..Default::default() }))
    }

    async fn batch_update_tasks(
        &self,
        request: Request<task::BatchUpdateTasksRequest>,
    ) -> Result<Response<task::BatchUpdateTasksResponse>, Status> {
        self.arrive(request).await?;
        Err(refusal(Code::NotFound, "TASK_NOT_FOUND"))
    }

    async fn batch_complete_tasks(
        &self,
        request: Request<task::BatchCompleteTasksRequest>,
    ) -> Result<Response<task::BatchCompleteTasksResponse>, Status> {
        self.arrive(request).await?;
        Err(refusal(Code::NotFound, "TASK_NOT_FOUND"))
    }

    async fn list_changes(
        &self,
        request: Request<task::ListChangesRequest>,
    ) -> Result<Response<task::ListChangesResponse>, Status> {
        self.arrive(request).await?;
        Ok(Response::new(task::ListChangesResponse::default()))
    }

    async fn watch_tasks(
        &self,
        request: Request<task::WatchTasksRequest>,
    ) -> Result<Response<Self::WatchTasksStream>, Status> {
        self.arrive(request).await?;
        Ok(Response::new(futures_util::stream::empty()))
    }

    async fn erase_me(
        &self,
        request: Request<task::EraseMeRequest>,
    ) -> Result<Response<task::EraseMeResponse>, Status> {
        self.arrive(request).await?;
        Ok(Response::new(task::EraseMeResponse {}))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<Response<Task>, Status> {
        self.arrive(request).await?;
        Err(refusal(Code::NotFound, "TASK_NOT_FOUND"))
    }

    async fn update_task(&self, request: Request<UpdateTaskRequest>) -> Result<Response<Task>, Status> {
        self.arrive(request).await?;
        Err(refusal(Code::NotFound, "TASK_NOT_FOUND"))
    }

    async fn complete_task(&self, request: Request<CompleteTaskRequest>) -> Result<Response<Task>, Status> {
        self.arrive(request).await?;
        Err(refusal(Code::NotFound, "TASK_NOT_FOUND"))
    }

    async fn reopen_task(&self, request: Request<ReopenTaskRequest>) -> Result<Response<Task>, Status> {
        self.arrive(request).await?;
        Err(refusal(Code::NotFound, "TASK_NOT_FOUND"))
    }

    async fn undelete_task(&self, request: Request<UndeleteTaskRequest>) -> Result<Response<Task>, Status> {
        self.arrive(request).await?;
        Err(refusal(Code::NotFound, "TASK_NOT_FOUND"))
    }
}
