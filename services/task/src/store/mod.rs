//! Where tasks are kept, as the rest of the service sees it.
//!
//! There is one write door, [`Store::commit`]. Rules are decided before it, in `domain`; the door
//! compares versions, writes, appends to the change log and remembers the request, all in one
//! transaction. Every method takes the owner first; none can reach another owner's rows.

use std::fmt;

use async_trait::async_trait;
use errand_changelog::{Change, Origin, Request, Seq, UserId};
pub use errand_storage::Error;
use jiff::Timestamp;

use crate::domain::{
    filter::{Filter, Order, Position},
    task::{Task, TaskId},
};

pub mod sqlite;

#[cfg(test)]
mod conformance;

/// A task store.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// A task, also a deleted one.
    async fn get(&self, owner: UserId, id: TaskId) -> Result<Option<Task>, Error>;

    /// What is to be known before a task is written: the task, and whether the request was answered
    /// already. `now` decides which answers are too old to be known.
    async fn look(
        &self,
        owner: UserId,
        id: TaskId,
        request: Option<Request>,
        now: Timestamp,
    ) -> Result<(Option<Task>, Earlier), Error>;

    /// The write door: all steps or none.
    async fn commit(&self, owner: UserId, origin: Origin, steps: Vec<Step>, now: Timestamp) -> Result<Commit, Error>;

    /// A page of a list. It reads at most [`READ_AT_MOST`] tasks, so that a filter that few tasks
    /// pass ends with a short page and a place to go on.
    async fn list(&self, owner: UserId, query: Query) -> Result<Page, Error>;

    /// The changes after `after`, oldest first, at most `limit`.
    async fn changes(&self, owner: UserId, after: Seq, limit: usize) -> Result<Vec<Change<Task>>, Error>;

    /// Finishes what is queued and lets the database go.
    async fn close(&self);
}

/// Tasks that one page of a list reads at most.
pub const READ_AT_MOST: usize = 1000;

/// A task that is written, or only answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The version that the task must have; nothing when it must not exist.
    pub expected: Option<Seq>,
    /// The task as it will be; the door gives a changed one its version.
    pub task: Task,
    /// What changes; nothing when the task is so already and only takes part in the answer.
    pub change: Option<Difference>,
}

/// What the change log needs beside the new task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The word for it.
    pub kind: &'static str,
    /// The task as it was.
    pub before: Option<Task>,
}

/// What a commit came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// Done and durable: the tasks of all steps as they are now.
    Committed(Vec<Task>),
    /// The request was answered before, with these tasks; nothing was written.
    Replayed(Vec<Task>),
    /// The request's id belongs to another request; nothing was written.
    Reused,
    /// A task is not the version that was expected; nothing was written.
    Stale,
}

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Earlier {
    /// It is new, or has no id.
    New,
    /// It was answered with these tasks.
    Replayed(Vec<Task>),
    /// Its id belongs to another request.
    Reused,
}

/// Asks for a page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What its tasks have in common.
    pub filter: Filter,
    /// How it is sorted.
    pub order: Order,
    /// The place after which the page begins.
    pub after: Option<Position>,
    /// How many tasks it has at most.
    pub size: usize,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its tasks.
    pub tasks: Vec<Task>,
    /// Where the next page begins; nothing when this is the last.
    pub next: Option<Position>,
}
