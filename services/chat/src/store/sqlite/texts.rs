//! What models have written of answers that are not whole yet.

use errand_changelog::{Seq, UserId};
use errand_storage::{Error, Outcome};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{blob, check_owner, id, inconsistent};
use crate::store::Text;

/// Keeps a text, while the turn stands before its step and is the holder's to work on.
pub(super) fn keep(
    connection: &Connection,
    owner: UserId,
    turn: Uuid,
    holder: Uuid,
    text: &Text,
) -> Result<Outcome<bool>, Error> {
    let step = Seq::try_from(text.step).map_err(|_| Error::Engine("too many steps".to_owned()))?;
    let kept = connection
        .prepare_cached(
            "INSERT INTO texts (owner, turn, step, id, content)
             SELECT owner, id, steps, ?5, ?6 FROM turns
             WHERE owner = ?1 AND id = ?2 AND end_time IS NULL AND steps = ?4 AND lease_holder = ?3
             ON CONFLICT (owner, turn) DO UPDATE SET step = excluded.step, id = excluded.id, content = excluded.content",
        )?
        .execute(params![
            blob(owner),
            turn.into_bytes(),
            holder.into_bytes(),
            step,
            text.id.into_bytes(),
            text.content
        ])?;
    Ok(if kept == 1 { Outcome::Commit(true) } else { Outcome::Discard(false) })
}

/// What was kept of the answer that will have this step.
pub(super) fn get(connection: &Connection, owner: UserId, turn: Uuid, step: usize) -> Result<Option<Text>, Error> {
    let mut statement =
        connection.prepare_cached("SELECT owner, step, id, content FROM texts WHERE owner = ?1 AND turn = ?2")?;
    let mut rows = statement.query(params![blob(owner), turn.into_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let key = turn.to_string();
    check_owner("texts", owner, row.get(0)?, &key)?;
    let found: Seq = row.get(1)?;
    let found = usize::try_from(found).map_err(|_| inconsistent("texts", "step", &key))?;
    if found != step {
        return Ok(None);
    }
    Ok(Some(Text { step, id: id(row, 2)?, content: row.get(3)? }))
}

/// Lets go of what was written of an answer, once it is stored.
pub(super) fn forget(connection: &Connection, owner: UserId, turn: Uuid) -> Result<(), Error> {
    connection
        .prepare_cached("DELETE FROM texts WHERE owner = ?1 AND turn = ?2")?
        .execute(params![blob(owner), turn.into_bytes()])?;
    Ok(())
}
