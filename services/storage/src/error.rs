//! What can go wrong below a store, told apart as far as a caller can act on it.

use rusqlite::{ErrorCode, ffi};

/// Why a statement, a transaction or an opening failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The queue is full, the database is locked by another process, or it was closed.
    #[error("the database is busy")]
    Busy,
    /// The server can not be reached at the moment; nothing was written.
    #[error("the database can not be reached")]
    Unavailable,
    /// The statement ran longer than the server lets one; nothing was written.
    #[error("the statement took too long")]
    TimedOut,
    /// There is no room on the disk; nothing was written.
    #[error("the disk is full")]
    Full,
    /// The commit failed in a way that leaves open whether it will be found after a restart.
    #[error("it is unknown whether the write was stored")]
    OutcomeUnknown,
    /// The file was migrated by a newer program.
    #[error("the database has schema version {found}, this program knows {known}: run a newer one")]
    NewerSchema {
        /// The version in the file.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The file was not migrated yet.
    #[error("the database has schema version {found}, this program needs {known}: run `errand migrate`")]
    BehindSchema {
        /// The version in the file.
        found: u32,
        /// The version that this program needs.
        known: u32,
    },
    /// A migration that was applied is not the one that this program knows by that version.
    #[error("migration {version} is not the one that was applied to the database")]
    ChangedMigration {
        /// Its version.
        version: u32,
    },
    /// A row breaks an invariant.
    #[error("inconsistent row in {table}: {column} of {key}")]
    Inconsistent {
        /// Where it is.
        table: &'static str,
        /// What is wrong.
        column: &'static str,
        /// Which row it is.
        key: String,
    },
    /// A unique key is taken.
    #[error("a unique key is taken")]
    Constraint,
    /// Anything else that the engine says; for the log, never for a client.
    #[error("database engine: {0}")]
    Engine(String),
}

impl Error {
    /// One word, for traces.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
            Self::Full => "full",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::NewerSchema { .. } | Self::BehindSchema { .. } | Self::ChangedMigration { .. } => "schema",
            Self::Inconsistent { .. } => "inconsistent",
            Self::Constraint => "constraint",
            Self::Engine(_) => "engine",
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(failure, _) = &error else {
            return Error::Engine(error.to_string());
        };
        match (failure.code, failure.extended_code) {
            // The wal-index could not grow: that is the disk, too.
            (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => Error::Full,
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => Error::Busy,
            (_, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => Error::Constraint,
            _ => Error::Engine(error.to_string()),
        }
    }
}

impl From<sqlx::Error> for Error {
    /// What a failed statement means when the connection is there still. What a lost connection means
    /// depends on what was asked: [`crate::postgres`] decides it, and here nothing was written.
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else {
            return match error {
                sqlx::Error::Io(_) | sqlx::Error::Tls(_) => Self::Unavailable,
                _ => Self::Engine(error.to_string()),
            };
        };
        let code = database.code().unwrap_or_default();
        match &*code {
            "23505" => Self::Constraint,
            // Cancelled, which the server does when its time is over.
            "57014" => Self::TimedOut,
            "53100" => Self::Full,
            // No memory, no connection left, a lock that was waited for too long, a conflict that lasts.
            "53200" | "53300" | "55P03" | "40001" | "40P01" => Self::Busy,
            // Shutting down, crashed, starting; a standby, which takes no writes.
            "57P01" | "57P02" | "57P03" | "25006" => Self::Unavailable,
            code if code.starts_with("08") => Self::Unavailable,
            code => Self::Engine(format!("{code}: {}", database.message())),
        }
    }
}
