//! What operators do to an account that is not theirs: rows of `users` and the sessions that end with it.

use errand_changelog::{Origin, UserId};
use errand_storage::{Outcome, sqlite::micros};
use jiff::Timestamp;
use rusqlite::{Connection, named_params};
use uuid::Uuid;

use super::{Result, accounts, append, sessions, take_places};
use crate::{
    domain::{
        Subject,
        account::{Account, PasswordHash},
        session::Ending,
    },
    store::{DISABLE, ENABLE, RESET_PASSWORD},
};

pub(super) fn reset_password(
    connection: &Connection,
    owner: UserId,
    hash: &PasswordHash,
    origin: &Origin,
    now: Timestamp,
) -> Result<Outcome<bool>> {
    let Some(before) = accounts::account(connection, owner)? else { return Ok(Outcome::Discard(false)) };
    let how = (RESET_PASSWORD, Ending::PasswordReset);
    accounts::replace_password(connection, &before, hash, Uuid::nil(), how, origin, now)?;
    Ok(Outcome::Commit(true))
}

pub(super) fn set_disabled(
    connection: &Connection,
    owner: UserId,
    disabled: bool,
    origin: &Origin,
    now: Timestamp,
) -> Result<Outcome<Option<bool>>> {
    let Some(before) = accounts::account(connection, owner)? else { return Ok(Outcome::Discard(None)) };
    if before.disable_time.is_some() == disabled {
        return Ok(Outcome::Discard(Some(false)));
    }
    let seq = take_places(connection, owner, 1)?;
    let after = Account {
        version: seq,
        update_time: now.max(before.update_time),
        disable_time: disabled.then_some(now),
        ..before.clone()
    };
    let mut statement = connection.prepare_cached(
        "UPDATE users SET disable_time = :disable_time, version = :version, update_time = :update_time
         WHERE owner = :owner",
    )?;
    statement.execute(named_params! {
        ":owner": owner.as_uuid(),
        ":disable_time": after.disable_time.map(micros),
        ":version": seq,
        ":update_time": micros(after.update_time),
    })?;
    let (before, after) = (Subject::Account(before), Subject::Account(after));
    let kind = if disabled { DISABLE } else { ENABLE };
    append(connection, owner, seq, kind, (Some(&before), Some(&after)), origin, now)?;
    if !disabled {
        for session in sessions::list(connection, owner, None, usize::MAX, Timestamp::MIN)? {
            sessions::remove(connection, owner, &session, Ending::Disabled, origin, now)?;
        }
    }
    Ok(Outcome::Commit(Some(true)))
}
