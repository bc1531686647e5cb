//! errand.task.v1.TaskService: decodes, calls `app`, encodes.

mod watch;

use std::mem::take;

use errand_changelog::{Origin, Request as ChangeRequest, UserId};
use errand_chassis::{access::caller, replay};
use errand_proto::task::{
    BatchCompleteTasksRequest, BatchCompleteTasksResponse, BatchCreateTasksRequest, BatchCreateTasksResponse,
    BatchDeleteTasksRequest, BatchDeleteTasksResponse, BatchUpdateTasksRequest, BatchUpdateTasksResponse,
    CompleteTaskRequest, CreateTaskRequest, DeleteTaskRequest, EraseMeRequest, EraseMeResponse, GetTaskRequest,
    ListChangesRequest, ListChangesResponse, ListTasksRequest, ListTasksResponse, ReopenTaskRequest, Task, TaskVersion,
    UndeleteTaskRequest, UndoChangesRequest, UndoChangesResponse, UpdateTaskRequest, WatchTasksRequest,
    task_service_server::TaskService,
};
use prost::Message;
use tonic::{Request, Response, Status};

use crate::{
    app::{App, Command, List},
    convert::{self, changes, given},
    domain::write::Write,
    error::Error,
};

pub(crate) use watch::Shared;

const CREATE: &str = "/errand.task.v1.TaskService/CreateTask";
const LIST: &str = "/errand.task.v1.TaskService/ListTasks";
const UPDATE: &str = "/errand.task.v1.TaskService/UpdateTask";
const COMPLETE: &str = "/errand.task.v1.TaskService/CompleteTask";
const REOPEN: &str = "/errand.task.v1.TaskService/ReopenTask";
const DELETE: &str = "/errand.task.v1.TaskService/DeleteTask";
const UNDELETE: &str = "/errand.task.v1.TaskService/UndeleteTask";
const BATCH_CREATE: &str = "/errand.task.v1.TaskService/BatchCreateTasks";
const BATCH_UPDATE: &str = "/errand.task.v1.TaskService/BatchUpdateTasks";
const BATCH_COMPLETE: &str = "/errand.task.v1.TaskService/BatchCompleteTasks";
const BATCH_DELETE: &str = "/errand.task.v1.TaskService/BatchDeleteTasks";
const UNDO: &str = "/errand.task.v1.TaskService/UndoChanges";

/// The service as tonic calls it; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Service(pub(crate) std::sync::Arc<App>);

#[tonic::async_trait]
impl TaskService for Service {
    type WatchTasksStream = watch::Events;

    async fn create_task(&self, request: Request<CreateTaskRequest>) -> Result<Response<Task>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, CREATE, request_id, &request);
        self.write(owner, origin, convert::create(request.task, "task")?, validate_only).await
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<Response<Task>, Status> {
        let (owner, _, request) = arrive(request)?;
        let task = self.0.get(owner, convert::task_id(&request.task_id, "taskId")?).await?;
        Ok(Response::new(convert::to_proto(&task)))
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        let (owner, _, mut request) = arrive(request)?;
        let (page_size, page_token) = (take(&mut request.page_size), take(&mut request.page_token));
        let arguments = request.encode_to_vec();
        let (filter, order) = convert::filter(&request)?;
        let list = List { filter, order, page_size, page_token: &page_token, bound_to: (LIST, &arguments) };
        let (tasks, next_page_token, watch_cursor) = self.0.list(owner, list).await?;
        let tasks = tasks.iter().map(convert::to_proto).collect();
        Ok(Response::new(ListTasksResponse { tasks, next_page_token, watch_cursor }))
    }

    async fn update_task(&self, request: Request<UpdateTaskRequest>) -> Result<Response<Task>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, UPDATE, request_id, &request);
        let command = convert::update(request.task, request.update_mask.as_ref(), "task", "updateMask")?;
        self.write(owner, origin, command, validate_only).await
    }

    async fn complete_task(&self, request: Request<CompleteTaskRequest>) -> Result<Response<Task>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, COMPLETE, request_id, &request);
        let command = convert::act(&request.task_id, request.etag, Write::Complete, "taskId")?;
        self.write(owner, origin, command, validate_only).await
    }

    async fn reopen_task(&self, request: Request<ReopenTaskRequest>) -> Result<Response<Task>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, REOPEN, request_id, &request);
        let command = convert::act(&request.task_id, request.etag, Write::Reopen, "taskId")?;
        self.write(owner, origin, command, validate_only).await
    }

    async fn delete_task(&self, request: Request<DeleteTaskRequest>) -> Result<Response<Task>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, DELETE, request_id, &request);
        let command = convert::act(&request.task_id, request.etag, Write::Delete, "taskId")?;
        self.write(owner, origin, command, validate_only).await
    }

    async fn undelete_task(&self, request: Request<UndeleteTaskRequest>) -> Result<Response<Task>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, UNDELETE, request_id, &request);
        let command = convert::act(&request.task_id, request.etag, Write::Undelete, "taskId")?;
        self.write(owner, origin, command, validate_only).await
    }

    async fn batch_create_tasks(
        &self,
        request: Request<BatchCreateTasksRequest>,
    ) -> Result<Response<BatchCreateTasksResponse>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, BATCH_CREATE, request_id, &request);
        let commands = convert::batch(request.requests, |new, at| convert::create(new.task, &format!("{at}.task")))?;
        self.write_all(owner, origin, &commands, validate_only, |tasks| BatchCreateTasksResponse { tasks }).await
    }

    async fn batch_update_tasks(
        &self,
        request: Request<BatchUpdateTasksRequest>,
    ) -> Result<Response<BatchUpdateTasksResponse>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, BATCH_UPDATE, request_id, &request);
        let commands = convert::batch(request.requests, |update, at| {
            let mask = update.update_mask.as_ref();
            convert::update(update.task, mask, &format!("{at}.task"), &format!("{at}.updateMask"))
        })?;
        self.write_all(owner, origin, &commands, validate_only, |tasks| BatchUpdateTasksResponse { tasks }).await
    }

    async fn batch_complete_tasks(
        &self,
        request: Request<BatchCompleteTasksRequest>,
    ) -> Result<Response<BatchCompleteTasksResponse>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, BATCH_COMPLETE, request_id, &request);
        let commands = act_on_all(request.requests, &Write::Complete)?;
        self.write_all(owner, origin, &commands, validate_only, |tasks| BatchCompleteTasksResponse { tasks }).await
    }

    async fn batch_delete_tasks(
        &self,
        request: Request<BatchDeleteTasksRequest>,
    ) -> Result<Response<BatchDeleteTasksResponse>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, BATCH_DELETE, request_id, &request);
        let commands = act_on_all(request.requests, &Write::Delete)?;
        self.write_all(owner, origin, &commands, validate_only, |tasks| BatchDeleteTasksResponse { tasks }).await
    }

    async fn list_changes(
        &self,
        request: Request<ListChangesRequest>,
    ) -> Result<Response<ListChangesResponse>, Status> {
        let (owner, _, request) = arrive(request)?;
        let (cursor, turn) = (changes::cursor(&request.cursor, "cursor")?, changes::turn(&request.turn_id)?);
        let page = self.0.changes(owner, cursor, turn, request.page_size).await?;
        Ok(Response::new(changes::page(&page)))
    }

    async fn watch_tasks(
        &self,
        request: Request<WatchTasksRequest>,
    ) -> Result<Response<Self::WatchTasksStream>, Status> {
        let until = caller(&request)?.expires;
        let (owner, _, request) = arrive(request)?;
        let watcher = self.0.watch(owner, changes::cursor(&request.cursor, "cursor")?, until).await?;
        Ok(watch::answer(watcher))
    }

    async fn undo_changes(
        &self,
        request: Request<UndoChangesRequest>,
    ) -> Result<Response<UndoChangesResponse>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, UNDO, request_id, &request);
        let between = changes::selection(request.selection.as_ref())?;
        let replayed = replay::of(origin.request.as_ref());
        let taken = self.0.undo(owner, origin, between, validate_only).await?;
        Ok(replay::answer(changes::taken(&taken), replayed))
    }

    async fn erase_me(&self, request: Request<EraseMeRequest>) -> Result<Response<EraseMeResponse>, Status> {
        let (owner, ..) = arrive(request)?;
        self.0.erase(owner).await?;
        Ok(Response::new(EraseMeResponse {}))
    }
}

impl Service {
    async fn write(
        &self,
        owner: UserId,
        origin: Origin,
        command: Command,
        validate_only: bool,
    ) -> Result<Response<Task>, Status> {
        let first = |tasks: Vec<Task>| tasks.into_iter().next().unwrap_or_default();
        self.write_all(owner, origin, &[command], validate_only, first).await
    }

    async fn write_all<T>(
        &self,
        owner: UserId,
        origin: Origin,
        commands: &[Command],
        validate_only: bool,
        answer: impl FnOnce(Vec<Task>) -> T,
    ) -> Result<Response<T>, Status> {
        let replayed = replay::of(origin.request.as_ref());
        let written = self.0.write(owner, origin, commands, validate_only).await?;
        Ok(replay::answer(answer(convert::written(&written)), replayed))
    }
}

fn act_on_all(versions: Vec<TaskVersion>, write: &Write) -> Result<Vec<Command>, Error> {
    convert::batch(versions, |version, at| {
        convert::act(&version.task_id, version.etag, write.clone(), &format!("{at}.taskId"))
    })
}

/// Who calls, by whose hand, and what they ask for.
fn arrive<T>(request: Request<T>) -> Result<(UserId, Origin, T), Status> {
    let caller = caller(&request)?;
    let (owner, origin) = (caller.user, Origin { actor: caller.actor, turn: caller.turn, request: None });
    Ok((owner, origin, request.into_inner()))
}

/// Names the request, when the caller did. `canonical` is the message without its id, and without
/// `validate_only`: to check a request is to ask what that request would do.
fn named(origin: &Origin, method: &'static str, request_id: String, canonical: &impl Message) -> Origin {
    let request = given(request_id).map(|id| ChangeRequest::new(id, method, &canonical.encode_to_vec()));
    Origin { actor: origin.actor, turn: origin.turn, request }
}
