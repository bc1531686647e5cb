//! Decides: reads what there is, asks `domain`, and goes through the store's write door.

mod changes;
mod housekeeping;
mod undo;
mod watch;

use std::sync::Arc;

use errand_changelog::{Origin, UserId};
use errand_chassis::{
    clock::Clock,
    drain::Drain,
    page_token::{PageTokens, page_size},
};

use crate::{
    domain::{
        filter::{Filter, Order, Position},
        task::{Task, TaskId},
        write::{Applied, Refusal, Write, apply},
    },
    error::Error,
    store::{Answer, Commit, Difference, Earlier, Log, Plan, Query, Step, Store},
};

pub(crate) use changes::Follow;
pub(crate) use undo::{Between, Taken};
pub(crate) use watch::{Encode, Watched, Watcher};

use watch::Watches;

/// How often a write decides anew because others were faster. Each time somebody else's write went
/// through, so this is reached only when a crowd writes to one task without etags.
const TRIES: usize = 200;

/// What the service can do.
#[derive(Debug)]
pub(crate) struct App {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    pages: PageTokens,
    drain: Drain,
    watches: Watches,
}

/// One of the tasks that a write is about.
#[derive(Debug)]
pub(crate) struct Command {
    /// The task; nothing makes a new one.
    pub(crate) target: Option<TaskId>,
    /// What to do.
    pub(crate) write: Write,
    /// The version that the caller wants to change.
    pub(crate) etag: Option<String>,
}

/// What a write came to, in the order of its commands.
#[derive(Debug)]
pub(crate) enum Written {
    /// The tasks as they are.
    Done(Vec<Task>),
    /// The tasks as they would be, had the call not asked to check only.
    Would(Vec<Task>),
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
    /// A service over a store. `encode` is how a change goes out to watchers.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        pages: PageTokens,
        drain: Drain,
        encode: Encode,
    ) -> Self {
        let watches = Watches::new(store.clone(), encode);
        Self { store, clock, pages, drain, watches }
    }

    /// One task, also a deleted one.
    pub(crate) async fn get(&self, owner: UserId, id: TaskId) -> Result<Task, Error> {
        self.store.get(owner, id).await?.ok_or(Error::NotFound(id))
    }

    /// One write of one task or of many, all or nothing. No task may be named twice.
    pub(crate) async fn write(
        &self,
        owner: UserId,
        origin: Origin,
        commands: &[Command],
        validate_only: bool,
    ) -> Result<Written, Error> {
        let request = origin.request.as_ref();
        let is_new = commands.iter().all(|command| command.target.is_none());
        for _ in 0..TRIES {
            let now = self.clock.now();
            let ids: Vec<_> =
                commands.iter().map(|command| command.target.unwrap_or_else(|| TaskId(self.clock.id()))).collect();
            // A new task has nothing to look at: the door alone finds out about its request.
            let (before, earlier) = if is_new && !validate_only {
                (vec![None; ids.len()], Earlier::New)
            } else {
                self.store.look(owner, ids.clone(), origin.request.clone(), now).await?
            };
            match earlier {
                Earlier::New => {}
                Earlier::Replayed(answer) => return Ok(Written::Done(answer.tasks)),
                Earlier::Reused => return Err(Error::reused(request)),
            }
            let mut steps = Vec::with_capacity(commands.len());
            for ((command, id), before) in commands.iter().zip(ids).zip(before) {
                let etag = command.etag.as_deref();
                let applied = apply(id, before.as_ref(), &command.write, etag, now);
                let expected = before.as_ref().map(|before| before.version);
                steps.push(match applied.map_err(|refusal| refused(refusal, id, etag))? {
                    Applied::Unchanged(task) => Step { expected, task, change: None },
                    Applied::Changed(task) => {
                        Step { expected, task, change: Some(Difference { kind: command.write.kind(), before }) }
                    }
                });
            }
            if validate_only {
                return Ok(Written::Would(steps.into_iter().map(|step| step.task).collect()));
            }
            if request.is_none() && steps.iter().all(|step| step.change.is_none()) {
                return Ok(Written::Done(steps.into_iter().map(|step| step.task).collect()));
            }
            if let Some(answer) = self.commit(owner, &origin, steps.into(), now).await? {
                return Ok(Written::Done(answer.tasks));
            }
        }
        Err(Error::Contended)
    }

    /// Through the write door. Nothing when others were faster.
    async fn commit(
        &self,
        owner: UserId,
        origin: &Origin,
        plan: Plan,
        now: jiff::Timestamp,
    ) -> Result<Option<Answer>, Error> {
        match self.store.commit(owner, origin.clone(), plan, now).await? {
            Commit::Committed(answer) | Commit::Replayed(answer) => Ok(Some(answer)),
            Commit::Reused => Err(Error::reused(origin.request.as_ref())),
            Commit::Stale => Ok(None),
            Commit::Erased => Err(Error::Erased),
        }
    }

    /// A page of the owner's tasks, the token of the next one, empty when there is none, and with
    /// the first page a cursor from which the list can be watched.
    pub(crate) async fn list(&self, owner: UserId, list: List<'_>) -> Result<(Vec<Task>, String, String), Error> {
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
        let watch = page.log.map(live).transpose()?.map(|log| log.extent.end().to_string());
        Ok((page.tasks, next.unwrap_or_default(), watch.unwrap_or_default()))
    }

    /// Takes away everything of an owner, for good. Can be repeated.
    pub(crate) async fn erase(&self, owner: UserId) -> Result<(), Error> {
        let now = self.clock.now();
        while !self.store.erase(owner, now).await? {}
        Ok(())
    }

    /// Finishes what is under way and closes the store.
    pub(crate) async fn close(&self) {
        self.store.close().await;
    }
}

/// The log of an owner who was not erased.
fn live(log: Log) -> Result<Log, Error> {
    if log.is_erased { Err(Error::Erased) } else { Ok(log) }
}

fn refused(refusal: Refusal, id: TaskId, etag: Option<&str>) -> Error {
    match refusal {
        Refusal::NotFound => Error::NotFound(id),
        Refusal::Deleted => Error::Deleted(id),
        Refusal::NotDeleted => Error::NotDeleted(id),
        Refusal::EtagMismatch => Error::EtagMismatch { id, etag: etag.unwrap_or_default().to_owned() },
        // Only a new id can be taken, and only by a clash that the next try does not repeat.
        Refusal::Taken => Error::Contended,
    }
}
