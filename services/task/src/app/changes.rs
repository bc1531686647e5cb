//! Reading the change log page by page.

use errand_changelog::{Change, Cursor, Seq, UserId};
use errand_chassis::page_token::page_size;
use uuid::Uuid;

use super::{App, live};
use crate::{domain::task::Task, error::Error};

/// A page of the log.
#[derive(Debug)]
pub(crate) struct Follow {
    /// The changes, oldest first, each with the cursor after it.
    pub(crate) changes: Vec<(Change<Task>, Cursor)>,
    /// Where to go on.
    pub(crate) next: Cursor,
    /// Whether there are more already.
    pub(crate) more: bool,
}

impl App {
    /// The owner's changes after a cursor, or from the oldest that is kept; of one turn if so wanted.
    pub(crate) async fn changes(
        &self,
        owner: UserId,
        cursor: Option<Cursor>,
        turn: Option<Uuid>,
        size: i32,
    ) -> Result<Follow, Error> {
        let size = page_size(size);
        let after = cursor.map_or(0, |cursor| cursor.seq);
        let (mut changes, log) = self.store.changes(owner, after, turn, size + 1).await?;
        let extent = live(log)?.extent;
        if cursor.is_some_and(|cursor| !extent.fits(&cursor)) {
            return Err(Error::CursorExpired);
        }
        let more = changes.len() > size;
        changes.truncate(size);
        let last: Option<Seq> = changes.last().map(|change| change.seq);
        // At the end of the log, however few of its changes were asked for.
        let next = if more { last.map_or(extent.end(), |seq| extent.after(seq)) } else { extent.end() };
        let changes = changes.into_iter().map(|change| {
            let cursor = extent.after(change.seq);
            (change, cursor)
        });
        Ok(Follow { changes: changes.collect(), next, more })
    }
}
