//! What can go wrong in auth, and the one place where it becomes a code and a reason.

use std::time::Duration;

use errand_chassis::error::Error as Answer;
use errand_proto::validation::Violation;
use tonic::Code;
use uuid::Uuid;

use crate::{domain::Fault, keys, passwords, peers, store};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields break rules that the contract can not say.
    #[error("invalid fields: {0:?}")]
    Invalid(Vec<Fault>),
    /// A field of the update mask is not one that can be changed.
    #[error("the update mask names {path}")]
    Mask {
        /// What it names.
        path: String,
        /// Why that is wrong.
        reason: &'static str,
    },
    /// There is an account with this address.
    #[error("the address is taken")]
    EmailTaken,
    /// The address or the password is wrong; which, nobody is told.
    #[error("the credentials are wrong")]
    CredentialsInvalid,
    /// The password that ought to be the current one is not.
    #[error("the current password is wrong")]
    CurrentPasswordWrong,
    /// Too many attempts.
    #[error("too many attempts")]
    TooManyAttempts {
        /// When to try again.
        wait: Duration,
    },
    /// A refresh token that is none, or none any more.
    #[error("the refresh token is not valid")]
    RefreshTokenInvalid,
    /// A refresh token that was used before; its session has been ended.
    #[error("the refresh token was used before")]
    RefreshTokenReused,
    /// The user has no such session.
    #[error("no session {0}")]
    SessionNotFound(Uuid),
    /// The account is gone.
    #[error("the account is gone")]
    AccountDeleted,
    /// An operator disabled the account.
    #[error("the account is disabled")]
    AccountDisabled,
    /// The account changed since it was read.
    #[error("the account is at {current}")]
    EtagMismatch {
        /// Its etag now.
        current: String,
    },
    /// The request id stands for another request.
    #[error("the request id was used before")]
    RequestReused,
    /// Writers met again and again.
    #[error("writers met too often")]
    Contended,
    /// The page token is not one of this list.
    #[error(transparent)]
    Page(Answer),
    /// No hash.
    #[error(transparent)]
    Passwords(#[from] passwords::Error),
    /// No signature.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// No acknowledgement from another service.
    #[error(transparent)]
    Peers(#[from] peers::Error),
    /// No answer from the store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What was stored can not be read back.
    #[error("a stored answer can not be read")]
    Stored(#[from] serde_json::Error),
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(faults) => Answer::invalid(faults.into_iter().map(violation).collect()),
            Error::Mask { path, reason } => {
                let description = match reason {
                    "READ_ONLY" => format!("{path} can not be changed; change display_name or time_zone"),
                    "TOO_MANY" => "must name each field once".to_owned(),
                    _ => format!("{path} is no field of a user; name display_name or time_zone"),
                };
                Answer::invalid(vec![Violation::new("updateMask", reason, description)]).with("path", path)
            }
            Error::EmailTaken => Answer::new(
                Code::AlreadyExists,
                "EMAIL_TAKEN",
                "an account has this e-mail address; log in, or sign up with another",
            ),
            Error::CredentialsInvalid => {
                Answer::new(Code::Unauthenticated, "CREDENTIALS_INVALID", "the e-mail address or the password is wrong")
            }
            Error::CurrentPasswordWrong => {
                Answer::new(Code::Unauthenticated, "CREDENTIALS_INVALID", "current_password is wrong")
            }
            Error::TooManyAttempts { wait } => too_many(wait),
            Error::RefreshTokenInvalid => Answer::new(
                Code::Unauthenticated,
                "REFRESH_TOKEN_INVALID",
                "the refresh token is not valid, has expired, or its session has ended; log in",
            ),
            Error::RefreshTokenReused => Answer::new(
                Code::Unauthenticated,
                "REFRESH_TOKEN_REUSED",
                "the refresh token was used before; its session has been ended to be safe; log in",
            ),
            Error::SessionNotFound(id) => {
                Answer::new(Code::NotFound, "SESSION_NOT_FOUND", format!("there is no session {id}"))
                    .with("session_id", id)
                    .resource("session", id)
            }
            Error::AccountDeleted => Answer::new(Code::Unauthenticated, "ACCOUNT_DELETED", "the account is gone"),
            Error::AccountDisabled => Answer::new(
                Code::PermissionDenied,
                "ACCOUNT_DISABLED",
                "the account is disabled; ask whoever runs this service to enable it",
            ),
            Error::EtagMismatch { current } => Answer::new(
                Code::Aborted,
                "ETAG_MISMATCH",
                format!("the account has changed; its etag is {current} now: read it again and decide again"),
            )
            .with("etag", current),
            Error::RequestReused => Answer::new(
                Code::InvalidArgument,
                "IDEMPOTENCY_KEY_REUSED",
                "request_id was used for another request; take a new one",
            )
            .violation(Violation::new("requestId", "DUPLICATE", "stands for another request")),
            Error::Contended => busy("STORAGE_BUSY", "the account is being changed too often at once; try again"),
            Error::Page(answer) => answer,
            Error::Passwords(passwords::Error::Overloaded) => {
                busy("OVERLOADED", "too many sign-ins are waiting; try again in a moment")
            }
            Error::Store(error) | Error::Keys(keys::Error::Store(error)) => stored(&error),
            Error::Passwords(_) | Error::Keys(_) | Error::Peers(_) | Error::Stored(_) => Answer::internal(&error),
        }
    }
}

fn stored(error: &store::Error) -> Answer {
    match error {
        store::Error::Busy => busy("STORAGE_BUSY", "the store has too much to do; try again in a moment"),
        store::Error::Full => Answer::new(
            Code::ResourceExhausted,
            "STORAGE_FULL",
            "the store has no room left; nothing was changed; the operator has to make room",
        ),
        store::Error::Unavailable => {
            Answer::new(Code::Unavailable, "UNAVAILABLE", "the database can not be reached; nothing was changed")
                .retry_after(Duration::from_secs(1))
        }
        store::Error::TimedOut => Answer::new(
            Code::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            "the database did not answer in time; nothing was changed",
        ),
        store::Error::OutcomeUnknown => Answer::new(
            Code::Unavailable,
            "OUTCOME_UNKNOWN",
            "it is not known whether the change was stored; retry with the same request_id, or read first",
        ),
        store::Error::NewerSchema { .. }
        | store::Error::BehindSchema { .. }
        | store::Error::ChangedMigration { .. }
        | store::Error::Inconsistent { .. }
        | store::Error::Constraint
        | store::Error::Engine(_) => Answer::internal(error),
    }
}

fn too_many(wait: Duration) -> Answer {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let message = format!("too many attempts; wait {seconds} s and try again");
    Answer::new(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS", message).with("seconds", seconds).retry_after(wait)
}

fn busy(reason: &'static str, message: &'static str) -> Answer {
    Answer::new(Code::ResourceExhausted, reason, message).retry_after(Duration::from_secs(1))
}

fn violation(fault: Fault) -> Violation {
    Violation::new(fault.field, fault.rule.reason, fault.rule.description)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_code_and_its_reason() {
        let cases = [
            (Error::EmailTaken, Code::AlreadyExists, "EMAIL_TAKEN"),
            (Error::CredentialsInvalid, Code::Unauthenticated, "CREDENTIALS_INVALID"),
            (Error::CurrentPasswordWrong, Code::Unauthenticated, "CREDENTIALS_INVALID"),
            (Error::TooManyAttempts { wait: Duration::from_millis(1) }, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS"),
            (Error::RefreshTokenInvalid, Code::Unauthenticated, "REFRESH_TOKEN_INVALID"),
            (Error::RefreshTokenReused, Code::Unauthenticated, "REFRESH_TOKEN_REUSED"),
            (Error::SessionNotFound(Uuid::nil()), Code::NotFound, "SESSION_NOT_FOUND"),
            (Error::AccountDeleted, Code::Unauthenticated, "ACCOUNT_DELETED"),
            (Error::AccountDisabled, Code::PermissionDenied, "ACCOUNT_DISABLED"),
            (Error::EtagMismatch { current: "1".into() }, Code::Aborted, "ETAG_MISMATCH"),
            (Error::RequestReused, Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED"),
            (Error::Contended, Code::ResourceExhausted, "STORAGE_BUSY"),
            (passwords::Error::Overloaded.into(), Code::ResourceExhausted, "OVERLOADED"),
            (passwords::Error::Failed("x").into(), Code::Internal, "INTERNAL"),
            (keys::Error::Failed("x").into(), Code::Internal, "INTERNAL"),
            (peers::Error::Unknown.into(), Code::Internal, "INTERNAL"),
            (keys::Error::from(store::Error::Busy).into(), Code::ResourceExhausted, "STORAGE_BUSY"),
            (store::Error::Full.into(), Code::ResourceExhausted, "STORAGE_FULL"),
            (store::Error::OutcomeUnknown.into(), Code::Unavailable, "OUTCOME_UNKNOWN"),
            (
                store::Error::Inconsistent { table: "users", column: "owner", key: "secret".into() }.into(),
                Code::Internal,
                "INTERNAL",
            ),
            (Error::Mask { path: "id".into(), reason: "READ_ONLY" }, Code::InvalidArgument, "INVALID_FIELDS"),
            (Error::Mask { path: "x".into(), reason: "TOO_MANY" }, Code::InvalidArgument, "INVALID_FIELDS"),
            (Error::Mask { path: "x".into(), reason: "UNKNOWN_FIELD" }, Code::InvalidArgument, "INVALID_FIELDS"),
            (Error::Invalid(Vec::new()), Code::InvalidArgument, "INVALID_FIELDS"),
        ];
        for (error, code, reason) in cases {
            let said = error.to_string();
            let answer = Answer::from(error);
            assert_eq!((answer.code(), answer.reason()), (code, reason), "{said}");
            assert!(!answer.message().contains("secret"), "{}", answer.message());
        }
    }
}
