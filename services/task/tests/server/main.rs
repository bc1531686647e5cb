//! The same as `service`, on PostgreSQL, and what is so only there: several replicas on one database,
//! and statements that are counted.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may be blunt")]

#[path = "../service/batches.rs"]
mod batches;
#[path = "../service/erasure.rs"]
mod erasure;
#[path = "../service/housekeeping.rs"]
mod housekeeping;
#[path = "../service/requests.rs"]
mod requests;
#[path = "../service/tasks.rs"]
mod tasks;
#[path = "../service/undo.rs"]
mod undo;
#[path = "../service/watch.rs"]
mod watch;
#[path = "../service/world.rs"]
mod world;

mod replicas;
mod statements;

use requests::{complete, delete, refusal, titled, undelete, update, violations};

/// Whether tasks are kept in PostgreSQL.
const ON_A_SERVER: bool = true;
