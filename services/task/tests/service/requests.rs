//! Requests in short, and what is wrong with an answer.

use errand_proto::{
    google::rpc,
    status::error_info,
    task::{CompleteTaskRequest, CreateTaskRequest, DeleteTaskRequest, Task, UndeleteTaskRequest, UpdateTaskRequest},
};
use prost::Message;
use prost_types::FieldMask;
use tonic::{Code, Status};

pub(crate) fn titled(title: &str) -> CreateTaskRequest {
    CreateTaskRequest { task: Some(Task { title: title.to_owned(), ..Default::default() }), ..Default::default() }
}

pub(crate) fn update(task: Task, paths: &[&str]) -> UpdateTaskRequest {
    let update_mask = Some(FieldMask { paths: paths.iter().map(ToString::to_string).collect() });
    UpdateTaskRequest { task: Some(task), update_mask, ..Default::default() }
}

pub(crate) fn complete(task: &Task) -> CompleteTaskRequest {
    CompleteTaskRequest { task_id: task.id.clone(), ..Default::default() }
}

pub(crate) fn delete(task: &Task) -> DeleteTaskRequest {
    DeleteTaskRequest { task_id: task.id.clone(), ..Default::default() }
}

pub(crate) fn undelete(task: &Task) -> UndeleteTaskRequest {
    UndeleteTaskRequest { task_id: task.id.clone(), ..Default::default() }
}

pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), error_info(&status).unwrap().reason)
}

pub(crate) fn violations<T: std::fmt::Debug>(answer: Result<T, Status>) -> Vec<(String, String)> {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let details = rpc::Status::decode(status.details()).unwrap().details;
    let bad = details.iter().find(|any| any.type_url.ends_with("BadRequest")).unwrap();
    let bad = rpc::BadRequest::decode(bad.value.as_slice()).unwrap();
    bad.field_violations.into_iter().map(|violation| (violation.field, violation.reason)).collect()
}
