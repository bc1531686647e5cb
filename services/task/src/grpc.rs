//! errand.task.v1.TaskService: decodes, calls `app`, encodes.

use std::mem::take;

use errand_changelog::{Fingerprint, Origin, Request as ChangeRequest, UserId};
use errand_chassis::access::caller;
use errand_proto::task::{
    CompleteTaskRequest, CreateTaskRequest, DeleteTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse,
    ReopenTaskRequest, Task, UndeleteTaskRequest, UpdateTaskRequest, task_service_server::TaskService,
};
use prost::Message;
use tonic::{Request, Response, Status};

use crate::{
    app::{App, Command, List},
    convert,
    domain::write::Write,
};

const CREATE: &str = "/errand.task.v1.TaskService/CreateTask";
const LIST: &str = "/errand.task.v1.TaskService/ListTasks";
const UPDATE: &str = "/errand.task.v1.TaskService/UpdateTask";
const COMPLETE: &str = "/errand.task.v1.TaskService/CompleteTask";
const REOPEN: &str = "/errand.task.v1.TaskService/ReopenTask";
const DELETE: &str = "/errand.task.v1.TaskService/DeleteTask";
const UNDELETE: &str = "/errand.task.v1.TaskService/UndeleteTask";

/// The service as tonic calls it; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Service(pub(crate) std::sync::Arc<App>);

#[tonic::async_trait]
impl TaskService for Service {
    async fn create_task(&self, request: Request<CreateTaskRequest>) -> Result<Response<Task>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, CREATE, request_id, &request);
        let write = Write::Create(convert::draft(request.task.unwrap_or_default())?);
        self.write(owner, origin, Command { target: None, write, etag: None, validate_only }).await
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
        let (tasks, next_page_token) = self.0.list(owner, list).await?;
        let tasks = tasks.iter().map(convert::to_proto).collect();
        Ok(Response::new(ListTasksResponse { tasks, next_page_token }))
    }

    async fn update_task(&self, request: Request<UpdateTaskRequest>) -> Result<Response<Task>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, UPDATE, request_id, &request);
        let task = request.task.unwrap_or_default();
        let (target, etag) = (Some(convert::task_id(&task.id, "task.id")?), given(task.etag.clone()));
        let write = Write::Patch(convert::patch(task, request.update_mask.as_ref())?);
        self.write(owner, origin, Command { target, write, etag, validate_only }).await
    }

    async fn complete_task(&self, request: Request<CompleteTaskRequest>) -> Result<Response<Task>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, COMPLETE, request_id, &request);
        let (target, etag) = (Some(convert::task_id(&request.task_id, "taskId")?), given(request.etag));
        self.write(owner, origin, Command { target, write: Write::Complete, etag, validate_only }).await
    }

    async fn reopen_task(&self, request: Request<ReopenTaskRequest>) -> Result<Response<Task>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, REOPEN, request_id, &request);
        let (target, etag) = (Some(convert::task_id(&request.task_id, "taskId")?), given(request.etag));
        self.write(owner, origin, Command { target, write: Write::Reopen, etag, validate_only }).await
    }

    async fn delete_task(&self, request: Request<DeleteTaskRequest>) -> Result<Response<Task>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, DELETE, request_id, &request);
        let (target, etag) = (Some(convert::task_id(&request.task_id, "taskId")?), given(request.etag));
        self.write(owner, origin, Command { target, write: Write::Delete, etag, validate_only }).await
    }

    async fn undelete_task(&self, request: Request<UndeleteTaskRequest>) -> Result<Response<Task>, Status> {
        let (owner, origin, mut request) = arrive(request)?;
        let (request_id, validate_only) = (take(&mut request.request_id), take(&mut request.validate_only));
        let origin = named(&origin, UNDELETE, request_id, &request);
        let (target, etag) = (Some(convert::task_id(&request.task_id, "taskId")?), given(request.etag));
        self.write(owner, origin, Command { target, write: Write::Undelete, etag, validate_only }).await
    }
}

impl Service {
    async fn write(&self, owner: UserId, origin: Origin, command: Command) -> Result<Response<Task>, Status> {
        let written = self.0.write(owner, origin, command).await?;
        Ok(Response::new(convert::written(&written)))
    }
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
    let request = given(request_id).map(|id| ChangeRequest {
        id,
        method,
        fingerprint: Fingerprint::of(method, &canonical.encode_to_vec()),
    });
    Origin { actor: origin.actor, turn: origin.turn, request }
}

/// A text that was set.
fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
