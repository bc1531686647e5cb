//! Decides: reads what there is, asks `domain`, and goes through the store's write door.

use std::sync::Arc;

use errand_changelog::{Origin, UserId};
use errand_chassis::{
    clock::Clock,
    page_token::{PageTokens, page_size},
};

use crate::{
    domain::{
        filter::{Filter, Order, Position},
        task::{Task, TaskId},
        write::{Applied, Refusal, Write, apply},
    },
    error::Error,
    store::{Commit, Difference, Earlier, Query, Step, Store},
};

/// How often a write decides anew because others were faster. Each time somebody else's write went
/// through, so this is reached only when a crowd writes to one task without etags.
const TRIES: usize = 200;

/// What the service can do.
#[derive(Debug)]
pub(crate) struct App {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    pages: PageTokens,
}

/// A write as a caller asks for it.
#[derive(Debug)]
pub(crate) struct Command {
    /// The task; nothing makes a new one.
    pub(crate) target: Option<TaskId>,
    /// What to do.
    pub(crate) write: Write,
    /// The version that the caller wants to change.
    pub(crate) etag: Option<String>,
    /// Whether to check only.
    pub(crate) validate_only: bool,
}

/// What a write came to.
#[derive(Debug)]
pub(crate) enum Written {
    /// The task as it is.
    Done(Task),
    /// The task as it would be, had the call not asked to check only.
    Would(Task),
}

/// A list as a caller asks for it.
#[derive(Debug)]
pub(crate) struct List<'r> {
    /// What its tasks have in common.
    pub(crate) filter: Filter,
    /// How it is sorted.
    pub(crate) order: Order,
    /// How many tasks to answer; 0 leaves it to us.
    pub(crate) page_size: i32,
    /// The token of the page before; empty for the first page.
    pub(crate) page_token: &'r str,
    /// The rpc, and its arguments but the two above: what the token is bound to.
    pub(crate) bound_to: (&'static str, &'r [u8]),
}

impl App {
    /// A service over a store.
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, pages: PageTokens) -> Self {
        Self { store, clock, pages }
    }

    /// One task, also a deleted one.
    pub(crate) async fn get(&self, owner: UserId, id: TaskId) -> Result<Task, Error> {
        self.store.get(owner, id).await?.ok_or(Error::NotFound(id))
    }

    /// One write. All writing rpcs meet here.
    pub(crate) async fn write(&self, owner: UserId, origin: Origin, command: Command) -> Result<Written, Error> {
        let Command { target, write, etag, validate_only } = command;
        let request = origin.request.as_ref();
        let mut id = target.unwrap_or_else(|| TaskId(self.clock.id()));
        for _ in 0..TRIES {
            let now = self.clock.now();
            // A new task has nothing to look at: the door alone finds out about its request.
            let (before, earlier) = if target.is_some() || validate_only {
                self.store.look(owner, id, origin.request.clone(), now).await?
            } else {
                (None, Earlier::New)
            };
            match earlier {
                Earlier::New => {}
                Earlier::Replayed(tasks) => return answer(tasks),
                Earlier::Reused => return Err(Error::reused(request)),
            }
            let applied = apply(id, before.as_ref(), &write, etag.as_deref(), now);
            let step = match applied.map_err(|refusal| refused(refusal, id, etag.as_deref())) {
                Ok(Applied::Changed(task)) if validate_only => return Ok(Written::Would(task)),
                Ok(Applied::Unchanged(task)) if validate_only || request.is_none() => return Ok(Written::Done(task)),
                Ok(Applied::Unchanged(task)) => Step { expected: Some(task.version), task, change: None },
                Ok(Applied::Changed(task)) => Step {
                    expected: before.as_ref().map(|before| before.version),
                    task,
                    change: Some(Difference { kind: write.kind(), before }),
                },
                Err(error) => return Err(error),
            };
            match self.store.commit(owner, origin.clone(), vec![step], now).await? {
                Commit::Committed(tasks) | Commit::Replayed(tasks) => return answer(tasks),
                Commit::Reused => return Err(Error::reused(request)),
                Commit::Stale if target.is_none() => id = TaskId(self.clock.id()),
                Commit::Stale => {}
            }
        }
        Err(Error::Contended(id))
    }

    /// A page of the owner's tasks, and the token of the next one, empty when there is none.
    pub(crate) async fn list(&self, owner: UserId, list: List<'_>) -> Result<(Vec<Task>, String), Error> {
        let List { filter, order, page_size: size, page_token, bound_to: (method, arguments) } = list;
        let after = match page_token {
            "" => None,
            token => {
                let position = self.pages.open(owner, method, arguments, token)?;
                Some(Position::from_bytes(&position).ok_or(Error::PageToken)?)
            }
        };
        let page = self.store.list(owner, Query { filter, order, after, size: page_size(size) }).await?;
        let next = page.next.map(|position| self.pages.seal(owner, method, arguments, &position.to_bytes()));
        Ok((page.tasks, next.unwrap_or_default()))
    }

    /// Finishes what is under way and closes the store.
    pub(crate) async fn close(&self) {
        self.store.close().await;
    }
}

/// The one task of a single write's answer.
fn answer(tasks: Vec<Task>) -> Result<Written, Error> {
    let missing = || crate::store::Error::Engine("an answer without its task".to_owned());
    Ok(Written::Done(tasks.into_iter().next().ok_or_else(missing)?))
}

fn refused(refusal: Refusal, id: TaskId, etag: Option<&str>) -> Error {
    match refusal {
        Refusal::NotFound => Error::NotFound(id),
        Refusal::Deleted => Error::Deleted(id),
        Refusal::NotDeleted => Error::NotDeleted(id),
        Refusal::EtagMismatch => Error::EtagMismatch { id, etag: etag.unwrap_or_default().to_owned() },
        // Only a new id can be taken, and only by a clash that the next try does not repeat.
        Refusal::Taken => Error::Contended(id),
    }
}
