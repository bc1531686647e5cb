//! Titles that are made for conversations, in the place of the start of what was said first.

use errand_changelog::{Seq, UserId};
use errand_storage::{Error, Outcome};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{advance, blob, by_assistant, check_owner, conversations, is_erased, turns};
use crate::{domain::usage, store::NewTitle};

/// Whether a better title than the draft may be made, and for which version.
pub(super) fn draft(
    connection: &Connection,
    owner: UserId,
    conversation: Uuid,
    budget: Option<u64>,
    now: Timestamp,
) -> Result<Option<Seq>, Error> {
    if let Some(budget) = budget
        && turns::spent(connection, owner, usage::day(now))? >= budget
    {
        return Ok(None);
    }
    let found: Option<([u8; 16], Seq)> = connection
        .prepare_cached("SELECT owner, drafted FROM conversations WHERE owner = ?1 AND id = ?2 AND drafted = version")?
        .query_row(params![blob(owner), conversation.into_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((found, draft)) = found else { return Ok(None) };
    check_owner("conversations", owner, found, &conversation.to_string())?;
    Ok(Some(draft))
}

/// Gives a conversation a title in the place of the draft, if that is still its title.
pub(super) fn entitle(connection: &Connection, owner: UserId, new: &NewTitle) -> Result<Outcome<()>, Error> {
    if is_erased(connection, owner)? {
        return Ok(Outcome::Discard(()));
    }
    turns::spend(connection, owner, usage::counted(new.spent), new.now)?;
    let is_draft = draft(connection, owner, new.conversation, None, new.now)? == Some(new.draft);
    let before = conversations::get(connection, owner, new.conversation)?;
    if let (true, Some(before), Some(title)) = (is_draft, before, &new.title)
        && *title != before.title
    {
        let seq = advance(connection, owner, 1)?;
        let origin = by_assistant(new.turn);
        conversations::entitle(connection, owner, &before, title.clone(), seq, &origin, new.now)?;
    }
    Ok(Outcome::Commit(()))
}

/// Says whether the title of a conversation, as it is now, is a draft.
pub(super) fn mark(
    connection: &Connection,
    owner: UserId,
    conversation: Uuid,
    draft: Option<Seq>,
) -> Result<(), Error> {
    connection
        .prepare_cached("UPDATE conversations SET drafted = ?3 WHERE owner = ?1 AND id = ?2 AND drafted IS NOT ?3")?
        .execute(params![blob(owner), conversation.into_bytes(), draft])?;
    Ok(())
}
