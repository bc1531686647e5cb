//! A task service that remembers who asked it for what.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use errand_chassis::upstream::{Unreached, Upstream};
use errand_proto::task::{
    self, BatchCreateTasksRequest, BatchCreateTasksResponse, BatchDeleteTasksRequest, BatchDeleteTasksResponse,
    CompleteTaskRequest, CreateTaskRequest, DeleteTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse,
    ReopenTaskRequest, Task, UndeleteTaskRequest, UndoChangesRequest, UndoChangesResponse, UpdateTaskRequest,
    task_service_server::{TaskService, TaskServiceServer},
    undo_changes_request::Selection,
};
use tonic::{Code, Request, Response, Status, body::Body};
use tower::{ServiceExt, util::BoxCloneSyncService};
use uuid::Uuid;

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
        // A repetition may come after requests of others.
        deleted.sort();
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
        tasks.deleted.push(request.request_id.clone());
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
        if back.is_empty() && tasks.undone.is_empty() {
            return Err(refusal(Code::NotFound, "CHANGES_NOT_FOUND"));
        }
        if request.validate_only {
            return Ok(Response::new(UndoChangesResponse { tasks: back, ..Default::default() }));
        }
        // Taking back an undo takes everything away again.
        let gone = if back.is_empty() { std::mem::take(&mut tasks.made) } else { BTreeMap::new() };
        let gone: Vec<Task> = gone.into_values().collect();
        tasks.taken.clear();
        tasks.made.extend(back.iter().map(|task| (task.id.clone(), task.clone())));
        if !gone.is_empty() {
            tasks.taken.insert(request.request_id, gone.clone());
        }
        tasks.undone.push(turn);
        Ok(Response::new(UndoChangesResponse {
            tasks: if back.is_empty() { gone } else { back },
            ..Default::default()
        }))
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
