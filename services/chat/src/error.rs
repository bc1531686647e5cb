//! What can go wrong in the chat service, and how it leaves.

use std::time::Duration;

use errand_chassis::error::Error as Outgoing;
use errand_proto::validation::Violation;
use tonic::Code;
use uuid::Uuid;

use crate::{
    domain::{conversation::Blank, fault::Fault, tool::ToolFailure},
    store,
};

/// Why a call could not be answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is nothing to read in what the user says.
    #[error("content {0}")]
    Blank(#[from] Blank),
    /// Nobody knows this time zone.
    #[error("there is no time zone {0:?}")]
    TimeZoneUnknown(String),
    /// An id that is none, although the contract lets it pass.
    #[error("{0} is no id")]
    NoId(&'static str),
    /// A page token of ours that holds no place in a list, such as one of another release.
    #[error("page_token can not be used any more; start from the first page")]
    PageToken,
    /// There is no such conversation, or it is another user's.
    #[error("there is no conversation {0}")]
    ConversationNotFound(Uuid),
    /// There is no such turn, or it is another user's, or its events are not kept any more.
    #[error("there is no turn {0}")]
    TurnNotFound(Uuid),
    /// The turn is over.
    #[error("turn {0} is over")]
    TurnEnded(Uuid),
    /// The turn asked nothing.
    #[error("turn {0} ended without a question")]
    ApprovalNotFound(Uuid),
    /// The turn asked something else.
    #[error("turn {0} asked something else")]
    ApprovalMismatch(Uuid),
    /// The question is too old.
    #[error("that was asked more than ten minutes ago; nothing was done")]
    ApprovalExpired,
    /// The question is over.
    #[error("the question was answered, or something else was said since; nothing was done")]
    ApprovalEnded,
    /// A turn can not be taken back.
    #[error("turn {turn} can not be taken back: {}", failure.message)]
    NotUndone {
        /// The turn.
        turn: Uuid,
        /// What the task service said.
        failure: ToolFailure,
    },
    /// A required choice was not made.
    #[error("decision must be yes or no")]
    Undecided,
    /// The turn has fewer events.
    #[error("the turn has fewer events than after_seq says")]
    AfterSeq,
    /// The conversation has changed since the caller read it.
    #[error("conversation {conversation} has another version than {etag}")]
    EtagMismatch {
        /// The conversation.
        conversation: Uuid,
        /// The version that the caller knows.
        etag: String,
    },
    /// The settings have changed since the caller read them.
    #[error("the settings have another version than {0}")]
    SettingsMismatch(String),
    /// Fields of the request are wrong.
    #[error("some fields are wrong")]
    Invalid(Vec<Violation>),
    /// The owner was erased.
    #[error("the account does not exist any more")]
    Erased,
    /// A turn of the conversation is under way.
    #[error("the assistant is still at work in conversation {0}")]
    TurnInProgress(Uuid),
    /// The model gave no answer.
    #[error("turn {turn} failed: {reason}")]
    TurnFailed {
        /// The turn.
        turn: Uuid,
        /// Why, for the log.
        reason: String,
        /// What kind of failure it is.
        fault: Fault,
    },
    /// The token ran out while the assistant was at work.
    #[error("the access token ran out during turn {0}")]
    TokenRanOut(Uuid),
    /// The request id belongs to another request.
    #[error("the request id {0} was used before")]
    RequestReused(String),
    /// The user has spent what may be spent on the model on this day.
    #[error("the tokens of this day are spent")]
    BudgetSpent {
        /// How many seconds are left of it.
        left: u64,
    },
    /// As many turns are running as may run at once.
    #[error("too many turns are running")]
    Overloaded,
    /// The process is about to end.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// A task of ours ended without an answer.
    #[error("a task ended without an answer: {0}")]
    Lost(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The chassis refused it.
    #[error(transparent)]
    Chassis(#[from] Outgoing),
}

impl From<Error> for Outgoing {
    fn from(error: Error) -> Self {
        match error {
            Error::Blank(blank) => Outgoing::invalid(vec![Violation::new("content", "REQUIRED", blank.to_string())]),
            Error::TimeZoneUnknown(_) => Outgoing::invalid(vec![Violation::new(
                "timeZone",
                "UNKNOWN_VALUE",
                "must be an IANA time zone, such as Europe/Berlin",
            )]),
            Error::NoId(field) => {
                Outgoing::invalid(vec![Violation::new(field, "INVALID_FORMAT", "must be a UUID in lower case")])
            }
            Error::PageToken => Outgoing::new(Code::InvalidArgument, "PAGE_TOKEN_INVALID", error.to_string())
                .violation(Violation::new("pageToken", "INVALID_FORMAT", "must come from the page before, unchanged")),
            Error::ConversationNotFound(id) => Outgoing::new(
                Code::NotFound,
                "CONVERSATION_NOT_FOUND",
                format!("there is no conversation {id}"),
            )
            .with("conversation_id", id)
            .resource("errand.chat.v1.Conversation", id),
            Error::TurnNotFound(id) => Outgoing::new(Code::NotFound, "TURN_NOT_FOUND", error.to_string())
                .with("turn_id", id)
                .resource("errand.chat.v1.Turn", id),
            Error::TurnEnded(id) => {
                Outgoing::new(Code::FailedPrecondition, "TURN_ENDED", error.to_string()).with("turn_id", id)
            }
            Error::ApprovalNotFound(id) => {
                Outgoing::new(Code::FailedPrecondition, "APPROVAL_NOT_FOUND", error.to_string()).with("turn_id", id)
            }
            Error::ApprovalMismatch(id) => Outgoing::new(
                Code::FailedPrecondition,
                "APPROVAL_MISMATCH",
                format!("turn {id} asked something else; look at its question again"),
            )
            .with("turn_id", id),
            Error::ApprovalExpired => {
                Outgoing::new(Code::FailedPrecondition, "APPROVAL_EXPIRED", error.to_string())
            }
            Error::ApprovalEnded => Outgoing::new(Code::FailedPrecondition, "APPROVAL_ENDED", error.to_string()),
            Error::NotUndone { turn, failure } => not_undone(turn, &failure),
            Error::Undecided => Outgoing::invalid(vec![Violation::new("decision", "REQUIRED", "must be set")]),
            Error::AfterSeq => {
                Outgoing::invalid(vec![Violation::new("afterSeq", "OUT_OF_RANGE", error.to_string())])
            }
            Error::EtagMismatch { conversation, etag } => Outgoing::new(
                Code::Aborted,
                "ETAG_MISMATCH",
                "the conversation has changed since; get it again and decide anew",
            )
            .with("etag", etag)
            .resource("errand.chat.v1.Conversation", conversation),
            Error::SettingsMismatch(etag) => Outgoing::new(
                Code::Aborted,
                "ETAG_MISMATCH",
                "the settings have changed since; get them again and decide anew",
            )
            .with("etag", etag),
            Error::Invalid(violations) => Outgoing::invalid(violations),
            Error::Erased => Outgoing::new(Code::Unauthenticated, "ACCOUNT_DELETED", error.to_string()),
            Error::TurnInProgress(id) => Outgoing::new(
                Code::Aborted,
                "TURN_IN_PROGRESS",
                format!("the assistant is still answering in conversation {id}; say it again when it has"),
            )
            .with("conversation_id", id)
            .retry_after(Duration::from_secs(1)),
            Error::TurnFailed { turn, reason, fault } => {
                tracing::warn!(turn.id = %turn, reason, "a turn ended without an answer");
                failed(fault).with("turn_id", turn)
            }
            Error::TokenRanOut(turn) => Outgoing::new(
                Code::Unauthenticated,
                "TOKEN_EXPIRED",
                "the access token ran out while the assistant was at work; repeat the call with a new one and the same request_id, and it goes on",
            )
            .with("turn_id", turn),
            Error::RequestReused(id) => Outgoing::new(
                Code::InvalidArgument,
                "IDEMPOTENCY_KEY_REUSED",
                format!("the request_id {id} was used for another request; take a new one"),
            )
            .with("request_id", id)
            .violation(Violation::new("requestId", "DUPLICATE", "was used for another request")),
            Error::BudgetSpent { left } => Outgoing::new(
                Code::ResourceExhausted,
                "TOKEN_BUDGET_SPENT",
                "you have spent today's tokens of the language model; nothing was said, and the day ends at midnight UTC",
            )
            .retry_after(Duration::from_secs(left)),
            Error::Overloaded => Outgoing::new(
                Code::ResourceExhausted,
                "OVERLOADED",
                "the assistant has too much to do at the moment; try again shortly",
            )
            .retry_after(Duration::from_secs(1)),
            Error::ShuttingDown => Outgoing::new(
                Code::Unavailable,
                "SHUTTING_DOWN",
                "the service is shutting down; repeat the call with the same request_id",
            )
            .retry_after(Duration::from_secs(1)),
            Error::Lost(_) => Outgoing::internal(&error),
            Error::Store(error) => stored(&error),
            Error::Chassis(error) => error,
        }
    }
}

fn not_undone(turn: Uuid, failure: &ToolFailure) -> Outgoing {
    if failure.reason == "CHANGES_NOT_FOUND" {
        return Outgoing::new(
            Code::NotFound,
            "CHANGES_NOT_FOUND",
            format!("turn {turn} changed nothing in the last 30 days"),
        )
        .with("turn_id", turn);
    }
    if failure.reason == "SCOPE_MISSING" {
        let said = "taking a turn back needs a token that may change tasks, too";
        return Outgoing::new(Code::PermissionDenied, "SCOPE_MISSING", said).with("scope", "tasks:write");
    }
    tracing::warn!(turn.id = %turn, reason = failure.reason, "a turn could not be taken back");
    Outgoing::new(Code::Unavailable, "UNAVAILABLE", "the tasks can not be reached; nothing was taken back")
        .retry_after(Duration::from_secs(1))
}

/// What a turn without an answer is to its client. The turn is over: the same request gets the same.
fn failed(fault: Fault) -> Outgoing {
    match fault {
        Fault::Unavailable => Outgoing::new(
            Code::Unavailable,
            "TURN_FAILED",
            "the assistant could not answer; your message is kept: say it again with a new request_id",
        ),
        Fault::TimedOut => Outgoing::new(
            Code::DeadlineExceeded,
            "MODEL_TIMED_OUT",
            "the language model took too long; your message is kept: say it again with a new request_id",
        ),
        Fault::Busy => Outgoing::new(
            Code::ResourceExhausted,
            "MODEL_BUSY",
            "the language model has too much to do; your message is kept: say it again in a while, with a new request_id",
        )
        .retry_after(Duration::from_secs(10)),
    }
}

fn stored(error: &store::Error) -> Outgoing {
    match error {
        store::Error::Busy => Outgoing::new(
            Code::ResourceExhausted,
            "STORAGE_BUSY",
            "the database has too much to do at the moment; try again shortly",
        )
        .retry_after(Duration::from_secs(1)),
        store::Error::Full => {
            Outgoing::new(Code::ResourceExhausted, "STORAGE_FULL", "the disk is full; nothing was stored")
        }
        store::Error::Unavailable => {
            Outgoing::new(Code::Unavailable, "UNAVAILABLE", "the database can not be reached; nothing was stored")
                .retry_after(Duration::from_secs(1))
        }
        store::Error::TimedOut => Outgoing::new(
            Code::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            "the database did not answer in time; nothing was stored",
        ),
        store::Error::OutcomeUnknown => Outgoing::new(
            Code::Unavailable,
            "OUTCOME_UNKNOWN",
            "it is unknown whether this was stored; repeat the call with the same request_id",
        ),
        store::Error::NewerSchema { .. }
        | store::Error::BehindSchema { .. }
        | store::Error::ChangedMigration { .. }
        | store::Error::Inconsistent { .. }
        | store::Error::Constraint
        | store::Error::Engine(_) => Outgoing::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_code_and_reason() {
        let id = Uuid::nil();
        let not_undone = |reason: &str| {
            let failure = ToolFailure { reason: reason.to_owned(), message: "x".to_owned() };
            Error::NotUndone { turn: id, failure }
        };
        let failed = |fault| Error::TurnFailed { turn: id, reason: "x".into(), fault };
        for (error, code, reason) in [
            (Error::Blank(Blank), Code::InvalidArgument, "INVALID_FIELDS"),
            (Error::TimeZoneUnknown("Mars".into()), Code::InvalidArgument, "INVALID_FIELDS"),
            (Error::NoId("conversationId"), Code::InvalidArgument, "INVALID_FIELDS"),
            (Error::PageToken, Code::InvalidArgument, "PAGE_TOKEN_INVALID"),
            (Error::ConversationNotFound(id), Code::NotFound, "CONVERSATION_NOT_FOUND"),
            (Error::TurnNotFound(id), Code::NotFound, "TURN_NOT_FOUND"),
            (Error::TurnEnded(id), Code::FailedPrecondition, "TURN_ENDED"),
            (Error::ApprovalNotFound(id), Code::FailedPrecondition, "APPROVAL_NOT_FOUND"),
            (Error::ApprovalMismatch(id), Code::FailedPrecondition, "APPROVAL_MISMATCH"),
            (Error::ApprovalExpired, Code::FailedPrecondition, "APPROVAL_EXPIRED"),
            (Error::ApprovalEnded, Code::FailedPrecondition, "APPROVAL_ENDED"),
            (not_undone("CHANGES_NOT_FOUND"), Code::NotFound, "CHANGES_NOT_FOUND"),
            (not_undone("SCOPE_MISSING"), Code::PermissionDenied, "SCOPE_MISSING"),
            (not_undone("DEADLINE_EXCEEDED"), Code::Unavailable, "UNAVAILABLE"),
            (Error::Undecided, Code::InvalidArgument, "INVALID_FIELDS"),
            (Error::AfterSeq, Code::InvalidArgument, "INVALID_FIELDS"),
            (Error::EtagMismatch { conversation: id, etag: "1".into() }, Code::Aborted, "ETAG_MISMATCH"),
            (Error::SettingsMismatch("1".into()), Code::Aborted, "ETAG_MISMATCH"),
            (Error::Invalid(Vec::new()), Code::InvalidArgument, "INVALID_FIELDS"),
            (Error::Erased, Code::Unauthenticated, "ACCOUNT_DELETED"),
            (Error::TurnInProgress(id), Code::Aborted, "TURN_IN_PROGRESS"),
            (failed(Fault::Unavailable), Code::Unavailable, "TURN_FAILED"),
            (failed(Fault::TimedOut), Code::DeadlineExceeded, "MODEL_TIMED_OUT"),
            (failed(Fault::Busy), Code::ResourceExhausted, "MODEL_BUSY"),
            (Error::TokenRanOut(id), Code::Unauthenticated, "TOKEN_EXPIRED"),
            (Error::RequestReused("r".into()), Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED"),
            (Error::BudgetSpent { left: 5 }, Code::ResourceExhausted, "TOKEN_BUDGET_SPENT"),
            (Error::Overloaded, Code::ResourceExhausted, "OVERLOADED"),
            (Error::ShuttingDown, Code::Unavailable, "SHUTTING_DOWN"),
            (Error::Store(store::Error::Busy), Code::ResourceExhausted, "STORAGE_BUSY"),
            (Error::Store(store::Error::Full), Code::ResourceExhausted, "STORAGE_FULL"),
            (Error::Store(store::Error::Unavailable), Code::Unavailable, "UNAVAILABLE"),
            (Error::Store(store::Error::TimedOut), Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (Error::Store(store::Error::OutcomeUnknown), Code::Unavailable, "OUTCOME_UNKNOWN"),
            (Error::Store(store::Error::Constraint), Code::Internal, "INTERNAL"),
        ] {
            let out = Outgoing::from(error.clone());
            assert_eq!((out.code(), out.reason()), (code, reason), "{error}");
        }
    }

    #[test]
    fn an_error_of_the_engine_tells_the_client_nothing() {
        let out = Outgoing::from(Error::Store(store::Error::Engine("no such table: turns".into())));
        assert!(!out.message().contains("turns"));
    }
}
