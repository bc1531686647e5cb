//! The service through its whole stack, token check and contract included, without a socket.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may be blunt")]

mod batches;
mod erasure;
mod housekeeping;
mod requests;
mod tasks;
mod undo;
mod watch;
mod world;

use requests::{complete, delete, refusal, titled, undelete, update, violations};

/// Whether tasks are kept in PostgreSQL.
const ON_A_SERVER: bool = false;
