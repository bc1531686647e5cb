//! Taking changes back, through the same door as every other write.

use std::collections::BTreeMap;

use errand_changelog::{Cursor, Extent, Origin, UserId};
use uuid::Uuid;

use super::{App, TRIES, live};
use crate::{
    domain::undo::{CHANGES, WINDOW, undo},
    error::Error,
    store::{Answer, Back, Difference, Earlier, Plan, Selection, Step},
};

/// The changes to be taken back, as a caller names them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Between {
    /// All of one turn.
    Turn(Uuid),
    /// From the change of the first cursor to that of the last.
    Cursors(Cursor, Cursor),
}

/// What an undo came to.
#[derive(Debug)]
pub(crate) enum Taken {
    /// The tasks as they are, and what stays.
    Done(Answer),
    /// The same, had the call not asked to check only.
    Would(Answer),
}

impl App {
    /// Takes changes back.
    pub(crate) async fn undo(
        &self,
        owner: UserId,
        origin: Origin,
        between: Between,
        validate_only: bool,
    ) -> Result<Taken, Error> {
        let selection = match between {
            Between::Turn(turn) => Selection::Turn(turn),
            Between::Cursors(first, last) => Selection::Range(first.seq, last.seq),
        };
        for _ in 0..TRIES {
            let now = self.clock.now();
            let request = origin.request.clone();
            // One more than is taken back, to see that there is one more.
            let back = self.store.look_back(owner, selection, request, CHANGES + 1, now).await?;
            let Back { earlier, log, changes, tasks } = back;
            let extent = live(log)?.extent;
            match earlier {
                Earlier::New => {}
                Earlier::Replayed(answer) => return Ok(Taken::Done(answer)),
                Earlier::Reused => return Err(Error::reused(origin.request.as_ref())),
            }
            if let Between::Cursors(first, last) = between
                && !(covers(&extent, &first) && covers(&extent, &last))
            {
                return Err(Error::CursorExpired);
            }
            if changes.len() > CHANGES {
                return Err(Error::TooManyChanges);
            }
            // All or nothing: half a turn taken back is a state that nobody wanted.
            if changes.first().is_none_or(|first| now.duration_since(first.time) > WINDOW) {
                return Err(Error::ChangesNotFound);
            }
            let today: BTreeMap<_, _> = tasks.into_iter().map(|task| (task.id, task)).collect();
            let undone = undo(&changes, &today, now);
            let steps = undone.tasks.into_iter().map(|undone| Step {
                expected: Some(undone.before.version),
                task: undone.after,
                change: Some(Difference { kind: undone.kind, before: Some(undone.before) }),
            });
            let plan = Plan { steps: steps.collect(), conflicts: undone.conflicts };
            if validate_only || (origin.request.is_none() && plan.steps.is_empty()) {
                let tasks = plan.steps.into_iter().map(|step| step.task).collect();
                return Ok(Taken::Would(Answer { tasks, conflicts: plan.conflicts }));
            }
            if let Some(answer) = self.commit(owner, &origin, plan, now).await? {
                return Ok(Taken::Done(answer));
            }
        }
        Err(Error::Contended)
    }
}

/// Whether the change before a cursor is surely there.
fn covers(extent: &Extent, cursor: &Cursor) -> bool {
    cursor.epoch == extent.epoch && (extent.compacted + 1..=extent.head).contains(&cursor.seq)
}
