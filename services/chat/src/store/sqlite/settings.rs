//! What owners set.

use errand_changelog::{Known, Origin, UserId};
use errand_storage::{Error, Outcome, sqlite::micros};
use rusqlite::{Connection, params};

use super::{
    NewChange, advance, append, blob, check_owner, inconsistent, is_erased, json, judge, parsed, remember, time,
};
use crate::{
    domain::rules::Settings,
    store::{NewSettings, Set},
};

pub(super) fn get(connection: &Connection, owner: UserId) -> Result<Settings, Error> {
    let mut statement =
        connection.prepare_cached("SELECT owner, rules, version, update_time FROM settings WHERE owner = ?1")?;
    let mut rows = statement.query(params![blob(owner)])?;
    let Some(row) = rows.next()? else { return Ok(Settings::default()) };
    check_owner("settings", owner, row.get(0)?, "settings")?;
    let rules: String = row.get(1)?;
    Ok(Settings {
        rules: parsed("settings", "rules", "settings", &rules)?,
        version: row.get(2)?,
        updated: Some(time(row, 3)?),
    })
}

pub(super) fn update(
    connection: &Connection,
    owner: UserId,
    new: &NewSettings,
    origin: &Origin,
) -> Result<Outcome<Set>, Error> {
    if is_erased(connection, owner)? {
        return Ok(Outcome::Discard(Set::Erased));
    }
    let request = origin.request.as_ref();
    match judge(connection, owner, request)? {
        Known::New => {}
        Known::Reused => return Ok(Outcome::Discard(Set::Reused)),
        Known::Replay(answer) => {
            let first = serde_json::from_slice(&answer).map_err(|_| inconsistent("requests", "answer", "settings"))?;
            return Ok(Outcome::Discard(Set::Done(first)));
        }
    }
    let before = get(connection, owner)?;
    if new.expected.is_some_and(|expected| expected != before.version) {
        return Ok(Outcome::Discard(Set::Stale));
    }
    let after = if new.rules == before.rules { before } else { store(connection, owner, new, &before, origin)? };
    remember(connection, owner, request, json(&after)?.as_bytes(), new.now)?;
    Ok(Outcome::Commit(Set::Done(after)))
}

/// Stores other rules and their change.
fn store(
    connection: &Connection,
    owner: UserId,
    new: &NewSettings,
    before: &Settings,
    origin: &Origin,
) -> Result<Settings, Error> {
    let seq = advance(connection, owner, 1)?;
    let updated = Some(errand_storage::sqlite::timestamp(micros(new.now))?);
    let after = Settings { rules: new.rules.clone(), version: seq, updated };
    connection
        .prepare_cached(
            "INSERT INTO settings (owner, rules, version, update_time) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (owner) DO UPDATE SET
                 rules = excluded.rules, version = excluded.version, update_time = excluded.update_time",
        )?
        .execute(params![blob(owner), json(&after.rules)?, seq, micros(new.now)])?;
    let (before, text) = (Some(json(before)?), Some(json(&after)?));
    let (kind, now) = ("update_settings", new.now);
    let change = NewChange { kind, conversation: None, turn: None, step: None, before, after: text, origin, now };
    append(connection, owner, seq, &change)?;
    Ok(after)
}
