//! What the service refuses, and how each refusal is told to a client.

use std::time::Duration;

use errand_changelog::Request;
use errand_proto::validation::Violation;
use tonic::Code;

use crate::{
    domain::{task::TaskId, undo::CHANGES},
    store,
};

/// Why a call was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields break rules that their contract can not say.
    #[error("the request breaks a rule")]
    Invalid(Vec<Violation>),
    /// The owner has no such task.
    #[error("there is no task {0}")]
    NotFound(TaskId),
    /// The task is deleted.
    #[error("task {0} is deleted")]
    Deleted(TaskId),
    /// The task is not deleted.
    #[error("task {0} is not deleted")]
    NotDeleted(TaskId),
    /// The task is another version than the caller knows.
    #[error("task {id} is not version {etag} any more")]
    EtagMismatch {
        /// The task.
        id: TaskId,
        /// The version that the caller knows.
        etag: String,
    },
    /// The request's id belongs to another request.
    #[error("request_id {0} was used for another request")]
    Reused(String),
    /// Others changed the tasks faster than this call could.
    #[error("the tasks of this call change too fast")]
    Contended,
    /// The log can not be followed from there.
    #[error("the changes after this cursor are not kept any more")]
    CursorExpired,
    /// Nothing was selected that could be undone.
    #[error("there are no changes of the last 30 days to undo here")]
    ChangesNotFound,
    /// More was selected than one call undoes.
    #[error("one call undoes at most {CHANGES} changes")]
    TooManyChanges,
    /// The owner was erased.
    #[error("the account of this token has been deleted")]
    Erased,
    /// A page token of ours that holds no place in a list, such as one of another release.
    #[error("page_token can not be used any more; start from the first page")]
    PageToken,
    /// A page token that is not ours or not for this call.
    #[error(transparent)]
    Chassis(#[from] errand_chassis::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// The refusal of a request whose id belongs to another one.
    pub(crate) fn reused(request: Option<&Request>) -> Self {
        Error::Reused(request.map(|request| request.id.clone()).unwrap_or_default())
    }
}

impl From<Error> for errand_chassis::Error {
    fn from(error: Error) -> Self {
        let said = error.to_string();
        match error {
            Error::Invalid(violations) => Self::invalid(violations),
            Error::NotFound(id) => about(Code::NotFound, "TASK_NOT_FOUND", said, id),
            Error::Deleted(id) => {
                about(Code::FailedPrecondition, "TASK_DELETED", format!("{said}; bring it back with UndeleteTask"), id)
            }
            Error::NotDeleted(id) => about(Code::AlreadyExists, "TASK_NOT_DELETED", said, id),
            Error::EtagMismatch { id, etag } => {
                let said = format!("{said}; get it again and decide anew");
                about(Code::Aborted, "ETAG_MISMATCH", said, id).with("etag", etag)
            }
            Error::Reused(request_id) => Self::new(
                Code::InvalidArgument,
                "IDEMPOTENCY_KEY_REUSED",
                format!("{said}; give every new request an id of its own"),
            )
            .with("request_id", request_id),
            Error::Contended => {
                Self::new(Code::ResourceExhausted, "STORAGE_BUSY", said).retry_after(Duration::from_millis(100))
            }
            Error::CursorExpired => Self::new(
                Code::FailedPrecondition,
                "CURSOR_EXPIRED",
                format!("{said}; list the tasks again and go on from the watch_cursor of that list"),
            ),
            Error::ChangesNotFound => Self::new(Code::NotFound, "CHANGES_NOT_FOUND", said),
            Error::TooManyChanges => Self::invalid(vec![Violation::new("range", "TOO_MANY", said)]),
            Error::Erased => Self::new(Code::Unauthenticated, "ACCOUNT_DELETED", said),
            Error::PageToken => Self::new(Code::InvalidArgument, "PAGE_TOKEN_INVALID", said),
            Error::Chassis(error) => error,
            Error::Store(error) => stored(&error),
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        errand_chassis::Error::from(error).into()
    }
}

fn about(code: Code, reason: &'static str, message: String, id: TaskId) -> errand_chassis::Error {
    errand_chassis::Error::new(code, reason, message).with("task_id", id).resource("errand.task.v1.Task", id)
}

fn stored(error: &store::Error) -> errand_chassis::Error {
    use errand_chassis::Error as Answer;
    match error {
        store::Error::Busy => {
            Answer::new(Code::ResourceExhausted, "STORAGE_BUSY", "too many calls are waiting; try again")
                .retry_after(Duration::from_millis(100))
        }
        store::Error::Full => Answer::new(
            Code::ResourceExhausted,
            "STORAGE_FULL",
            "the disk is full and nothing was written; reading still works",
        ),
        store::Error::Unavailable => {
            Answer::new(Code::Unavailable, "UNAVAILABLE", "the database can not be reached; nothing was written")
                .retry_after(Duration::from_secs(1))
        }
        store::Error::TimedOut => Answer::new(
            Code::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            "the database did not answer in time; nothing was written",
        ),
        store::Error::OutcomeUnknown => Answer::new(
            Code::Unavailable,
            "OUTCOME_UNKNOWN",
            "it is unknown whether the write was stored; repeat it with the same request_id",
        ),
        store::Error::NewerSchema { .. }
        | store::Error::BehindSchema { .. }
        | store::Error::ChangedMigration { .. }
        | store::Error::Inconsistent { .. }
        | store::Error::Constraint
        | store::Error::Engine(_) => Answer::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_refusal_has_its_code_and_reason() {
        let id = TaskId(Uuid::from_u128(1));
        let answers = [
            (Error::Invalid(vec![]), Code::InvalidArgument, "INVALID_FIELDS"),
            (Error::NotFound(id), Code::NotFound, "TASK_NOT_FOUND"),
            (Error::Deleted(id), Code::FailedPrecondition, "TASK_DELETED"),
            (Error::NotDeleted(id), Code::AlreadyExists, "TASK_NOT_DELETED"),
            (Error::EtagMismatch { id, etag: "1".into() }, Code::Aborted, "ETAG_MISMATCH"),
            (Error::PageToken, Code::InvalidArgument, "PAGE_TOKEN_INVALID"),
            (Error::Reused("r".into()), Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED"),
            (Error::Contended, Code::ResourceExhausted, "STORAGE_BUSY"),
            (Error::CursorExpired, Code::FailedPrecondition, "CURSOR_EXPIRED"),
            (Error::ChangesNotFound, Code::NotFound, "CHANGES_NOT_FOUND"),
            (Error::TooManyChanges, Code::InvalidArgument, "INVALID_FIELDS"),
            (Error::Erased, Code::Unauthenticated, "ACCOUNT_DELETED"),
            (Error::Store(store::Error::Busy), Code::ResourceExhausted, "STORAGE_BUSY"),
            (Error::Store(store::Error::Full), Code::ResourceExhausted, "STORAGE_FULL"),
            (Error::Store(store::Error::OutcomeUnknown), Code::Unavailable, "OUTCOME_UNKNOWN"),
            (Error::Store(store::Error::Engine("no such table: tasks".into())), Code::Internal, "INTERNAL"),
        ];
        for (error, code, reason) in answers {
            let answer = errand_chassis::Error::from(error);
            assert_eq!((answer.code(), answer.reason()), (code, reason));
            assert!(!answer.message().contains("table"), "{answer}");
        }
    }
}
