//! Where tasks are kept, as the rest of the service sees it.
//!
//! There is one write door, [`Store::commit`]. Rules are decided before it, in `domain`; the door
//! compares versions, writes, appends to the change log and remembers the request, all in one
//! transaction. Every method takes the owner first; none can reach another owner's rows. The one
//! exception is [`Store::untidy`], which tells housekeeping whose turn it is and shows no content.

use std::fmt;

use async_trait::async_trait;
use errand_changelog::{Change, Extent, Hints, Origin, Request, Seq, UserId};
pub use errand_storage::Error;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{
    filter::{Filter, Order, Position},
    task::{Task, TaskId},
    undo::Conflict,
    write::Kind,
};

pub mod postgres;
pub mod sqlite;

#[cfg(test)]
mod conformance;

/// A task store.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// A task, also a deleted one.
    async fn get(&self, owner: UserId, id: TaskId) -> Result<Option<Task>, Error>;

    /// What is to be known before tasks are written: the tasks, and whether the request was answered
    /// already. `now` decides which answers are too old to be known.
    async fn look(
        &self,
        owner: UserId,
        ids: Vec<TaskId>,
        request: Option<Request>,
        now: Timestamp,
    ) -> Result<(Vec<Option<Task>>, Earlier), Error>;

    /// What is to be known before changes are taken back, on one snapshot. At most `limit` changes.
    async fn look_back(
        &self,
        owner: UserId,
        selection: Selection,
        request: Option<Request>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Back, Error>;

    /// The write door: all steps or none.
    async fn commit(&self, owner: UserId, origin: Origin, plan: Plan, now: Timestamp) -> Result<Commit, Error>;

    /// A page of a list. It reads at most [`READ_AT_MOST`] tasks, so that a filter that few tasks
    /// pass ends with a short page and a place to go on.
    async fn list(&self, owner: UserId, query: Query) -> Result<Page, Error>;

    /// How far the owner's log goes.
    async fn log(&self, owner: UserId) -> Result<Log, Error>;

    /// The changes after `after`, oldest first, at most `limit`, of one turn if so wanted; and the
    /// log on the same snapshot.
    async fn changes(
        &self,
        owner: UserId,
        after: Seq,
        turn: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<Change<Task>>, Log), Error>;

    /// Closes the owner's door for good and takes away a part of what there is; false while there
    /// is more.
    async fn erase(&self, owner: UserId, now: Timestamp) -> Result<bool, Error>;

    /// The next owners after `after`, in an order of the store's, that have something older than
    /// `ages`; and where to go on.
    async fn untidy(&self, after: Option<UserId>, ages: Ages) -> Result<(Vec<UserId>, Option<UserId>), Error>;

    /// The owner's tasks that were deleted at `before` or earlier, at most `limit`.
    async fn expired(&self, owner: UserId, before: Timestamp, limit: usize) -> Result<Vec<Task>, Error>;

    /// Lets go of a part of the changes made at `before` or earlier, except the newest of each live
    /// task; false while there is more.
    async fn compact(&self, owner: UserId, before: Timestamp) -> Result<bool, Error>;

    /// Lets go of a part of the requests answered at `before` or earlier; false while there is more.
    async fn forget(&self, owner: UserId, before: Timestamp) -> Result<bool, Error>;

    /// Wakes who follows a log. Hinted once a change is durable, whoever wrote it.
    fn hints(&self) -> &Hints;

    /// Finishes what is queued and lets the database go.
    async fn close(&self);
}

/// Tasks that one page of a list reads at most.
pub const READ_AT_MOST: usize = 1000;

/// What a commit is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The tasks, in the order of the answer.
    pub steps: Vec<Step>,
    /// What an undo leaves as it is; goes into the answer.
    pub conflicts: Vec<Conflict>,
}

/// A task that is written, or only answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The version that the task must have; nothing when it must not exist.
    pub expected: Option<Seq>,
    /// The task as it will be, or as it was last when it is purged; the door gives a changed one its
    /// version.
    pub task: Task,
    /// What changes; nothing when the task is so already and only takes part in the answer.
    pub change: Option<Difference>,
}

/// What the change log needs beside the new task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The word for it.
    pub kind: Kind,
    /// The task as it was.
    pub before: Option<Task>,
}

/// What a call is answered with, as it is kept for a repetition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The tasks of all steps as they are after them.
    pub tasks: Vec<Task>,
    /// What an undo left as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
}

/// What a commit came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// Done and durable.
    Committed(Answer),
    /// The request was answered before, with this; nothing was written.
    Replayed(Answer),
    /// The request's id belongs to another request; nothing was written.
    Reused,
    /// A task is not the version that was expected; nothing was written.
    Stale,
    /// The owner was erased; nothing was written and nothing will be.
    Erased,
}

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Earlier {
    /// It is new, or has no id.
    New,
    /// It was answered with this.
    Replayed(Answer),
    /// Its id belongs to another request.
    Reused,
}

/// An owner's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Where it begins and ends.
    pub extent: Extent,
    /// Whether the owner was erased.
    pub is_erased: bool,
}

/// Changes to be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All of one turn.
    Turn(Uuid),
    /// From the first to the last, both included.
    Range(Seq, Seq),
}

/// What is to be known before changes are taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Back {
    /// What is known of the request.
    pub earlier: Earlier,
    /// The log.
    pub log: Log,
    /// The selected changes, in order.
    pub changes: Vec<Change<Task>>,
    /// The tasks that they touched, as they are; without those that are gone.
    pub tasks: Vec<Task>,
}

/// What housekeeping looks for: something that happened then or earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// Tasks that were deleted.
    pub deleted: Timestamp,
    /// Changes.
    pub changed: Timestamp,
    /// Requests that were answered.
    pub answered: Timestamp,
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
    /// The log on the same snapshot; for a first page only.
    pub log: Option<Log>,
}

impl From<Vec<Step>> for Plan {
    fn from(steps: Vec<Step>) -> Self {
        Self { steps, conflicts: Vec::new() }
    }
}

impl From<Vec<Task>> for Answer {
    fn from(tasks: Vec<Task>) -> Self {
        Self { tasks, conflicts: Vec::new() }
    }
}
