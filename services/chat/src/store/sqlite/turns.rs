//! Turns, their events and who is at work on them.

use errand_changelog::{Known, Origin, Seq, UserId};
use errand_storage::{Error, Outcome, sqlite::micros};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{
    NewChange, advance, append as append_change, blob, by_assistant, check_owner, conversations, id, inconsistent,
    is_erased, json, judge, parsed, remember, texts, time, titles,
};
use crate::{
    domain::{
        conversation::{Message, Role},
        turn::{Event, Turn, ending},
        usage::{self, Spending},
    },
    store::{Appended, Begun, Cancel, Followed, History, Lease, NewEvents, NewTurn, Place, Reach, Renewed, Taken},
};

/// A turn without its events.
struct Head {
    conversation: Uuid,
    steps: usize,
    started: Timestamp,
    is_open: bool,
    is_cancelled: bool,
}

pub(super) fn start(
    connection: &Connection,
    owner: UserId,
    new: &NewTurn,
    origin: &Origin,
) -> Result<Outcome<Begun>, Error> {
    if is_erased(connection, owner)? {
        return Ok(Outcome::Discard(Begun::Erased));
    }
    let request = origin.request.as_ref();
    match judge(connection, owner, request)? {
        Known::New => {}
        Known::Reused => return Ok(Outcome::Discard(Begun::Reused)),
        Known::Replay(answer) => {
            let turn = Uuid::from_slice(&answer)
                .map_err(|_| inconsistent("requests", "answer", request.map_or("", |request| &request.id)))?;
            return Ok(Outcome::Discard(Begun::Replayed(turn)));
        }
    }
    if let Some(budget) = new.budget
        && spent(connection, owner, usage::day(new.now))? >= budget
    {
        return Ok(Outcome::Discard(Begun::Spent));
    }
    let conversation = new.place.conversation();
    let found = match new.place {
        Place::New(_) => None,
        Place::Existing(id) | Place::After { conversation: id, .. } => {
            match conversations::get(connection, owner, id)? {
                Some(found) => Some(found),
                None => return Ok(Outcome::Discard(Begun::ConversationUnknown)),
            }
        }
    };
    if let Place::After { turn, .. } = new.place {
        let last = conversations::newest_messages(connection, owner, conversation, 1)?;
        if !last.first().is_some_and(|last| last.turn == turn && last.role == Role::Assistant) {
            return Ok(Outcome::Discard(Begun::Moved));
        }
    }
    if let Some(turn) = open_turn(connection, owner, conversation)? {
        return Ok(Outcome::Discard(Begun::Busy(turn)));
    }

    let untitled = found.as_ref().is_some_and(|found| found.title.is_empty());
    let count = if found.is_none() || untitled { 3 } else { 2 };
    let mut seq = advance(connection, owner, count)?;
    match &found {
        None => {
            conversations::open(connection, owner, conversation, &new.content.title(), seq, origin, new.now)?;
        }
        Some(found) if untitled => {
            conversations::entitle(connection, owner, found, new.content.title(), seq, origin, new.now)?;
        }
        Some(_) => {}
    }
    if count == 3 {
        titles::mark(connection, owner, conversation, Some(seq))?;
        seq += 1;
    }
    let message = Message {
        id: new.message,
        conversation,
        turn: new.id,
        role: Role::User,
        content: new.content.as_str().to_owned(),
        created: new.now,
    };
    conversations::say(connection, owner, &message, seq, origin)?;
    begin(connection, owner, new, conversation)?;
    let event = Event::Started { message: new.message, time_zone: new.time_zone.clone() };
    store_event(connection, owner, (conversation, new.id), seq + 1, 0, &event, origin, new.now)?;
    remember(connection, owner, request, new.id.as_bytes(), new.now)?;
    Ok(Outcome::Commit(Begun::New))
}

pub(super) fn get(connection: &Connection, owner: UserId, id: Uuid) -> Result<Option<Turn>, Error> {
    // A turn that has let its events go is no turn any more.
    let Some(head) = head(connection, owner, id)?.filter(|head| head.steps > 0) else { return Ok(None) };
    let (events, _) = events(connection, owner, id, 0)?;
    if events.len() != head.steps {
        return Err(inconsistent("turns", "steps", &id.to_string()));
    }
    let Head { conversation, started, is_cancelled, .. } = head;
    Ok(Some(Turn { id, conversation, started, is_cancelled, head: super::head(connection, owner)?, events }))
}

pub(super) fn follow(
    connection: &Connection,
    owner: UserId,
    turn: Uuid,
    from: usize,
) -> Result<Option<Followed>, Error> {
    let Some(Head { conversation, steps, is_open, is_cancelled, .. }) =
        head(connection, owner, turn)?.filter(|head| head.steps > 0)
    else {
        return Ok(None);
    };
    let (events, _) = events(connection, owner, turn, from)?;
    // Who only asks how it goes has no use for it.
    let text = if is_open && from <= steps { texts::get(connection, owner, turn, steps)? } else { None };
    Ok(Some(Followed { conversation, events, is_open, is_cancelled, head: super::head(connection, owner)?, text }))
}

pub(super) fn cancel(
    connection: &Connection,
    owner: UserId,
    turn: Uuid,
    now: Timestamp,
    origin: &Origin,
) -> Result<Outcome<Cancel>, Error> {
    if is_erased(connection, owner)? {
        return Ok(Outcome::Discard(Cancel::Erased));
    }
    let request = origin.request.as_ref();
    match judge(connection, owner, request)? {
        Known::New => {}
        Known::Reused => return Ok(Outcome::Discard(Cancel::Reused)),
        Known::Replay(_) => return Ok(Outcome::Discard(Cancel::Kept)),
    }
    let head = match head(connection, owner, turn)? {
        None => return Ok(Outcome::Discard(Cancel::Unknown)),
        Some(head) if !head.is_open => return Ok(Outcome::Discard(Cancel::Over)),
        Some(head) => head,
    };
    if !head.is_cancelled {
        connection
            .prepare_cached("UPDATE turns SET cancel_time = ?3 WHERE owner = ?1 AND id = ?2")?
            .execute(params![blob(owner), turn.into_bytes(), micros(now)])?;
        let seq = advance(connection, owner, 1)?;
        let conversation = Some(head.conversation);
        let change = NewChange {
            kind: "cancel_turn",
            conversation,
            turn: Some(turn),
            step: None,
            before: None,
            after: None,
            origin,
            now,
        };
        append_change(connection, owner, seq, &change)?;
    }
    remember(connection, owner, request, turn.as_bytes(), now)?;
    Ok(Outcome::Commit(Cancel::Kept))
}

pub(super) fn append(
    connection: &Connection,
    owner: UserId,
    turn: Uuid,
    new: &NewEvents,
) -> Result<Outcome<Appended>, Error> {
    match head(connection, owner, turn)? {
        Some(head) if head.is_open && head.steps == new.from => {
            let reply = new.events.iter().find_map(|event| match event {
                Event::Replied { message, text, .. } => Some(Message {
                    id: *message,
                    conversation: head.conversation,
                    turn,
                    role: Role::Assistant,
                    content: text.clone(),
                    created: new.now,
                }),
                _ => None,
            });
            let origin = by_assistant(turn);
            let mut seq = advance(connection, owner, new.events.len() + usize::from(reply.is_some()))?;
            for (step, event) in (new.from..).zip(&new.events) {
                store_event(connection, owner, (head.conversation, turn), seq, step, event, &origin, new.now)?;
                seq += 1;
            }
            if let Some(reply) = &reply {
                conversations::say(connection, owner, reply, seq, &origin)?;
            }
            advance_turn(connection, owner, turn, new)?;
            texts::forget(connection, owner, turn)?;
            spend(connection, owner, usage::tokens(&new.events), new.now)?;
            if let Some(undone) = new.undone {
                connection
                    .prepare_cached("UPDATE turns SET has_changed = 0 WHERE owner = ?1 AND id = ?2")?
                    .execute(params![blob(owner), undone.into_bytes()])?;
            }
            let is_cancelled = head.is_cancelled;
            Ok(Outcome::Commit(Appended::Stored { head: super::head(connection, owner)?, is_cancelled }))
        }
        _ => Ok(Outcome::Discard(Appended::Lost)),
    }
}

pub(super) fn history(
    connection: &Connection,
    owner: UserId,
    conversation: Uuid,
    reach: Reach,
) -> Result<History, Error> {
    let messages = conversations::newest_messages(connection, owner, conversation, reach.messages)?;
    let mut turns = Vec::new();
    let mut read = 0;
    let ended = messages.iter().rev().filter(|message| message.role == Role::Assistant).map(|message| message.turn);
    for turn in ended.take(reach.turns) {
        let (events, length) = events(connection, owner, turn, 0)?;
        read += length;
        if read > reach.bytes && !turns.is_empty() {
            break;
        }
        turns.push((turn, events));
    }
    let last_turn = last_changed(connection, owner, conversation)?;
    Ok(History { messages, turns, last_turn, spending: spending(connection, owner)? })
}

pub(super) fn take_lease(
    connection: &Connection,
    owner: UserId,
    turn: Uuid,
    lease: Lease,
    now: Timestamp,
) -> Result<Outcome<Taken>, Error> {
    let taken = connection
        .prepare_cached(
            "UPDATE turns SET lease_holder = ?3, lease_until = ?4
             WHERE owner = ?1 AND id = ?2 AND end_time IS NULL
               AND (lease_holder IS NULL OR lease_holder = ?3 OR lease_until <= ?5)",
        )?
        .execute(params![
            blob(owner),
            turn.into_bytes(),
            lease.holder.into_bytes(),
            micros(lease.until),
            micros(now)
        ])?;
    if taken == 1 {
        return Ok(Outcome::Commit(Taken::Yes));
    }
    let is_open = head(connection, owner, turn)?.is_some_and(|head| head.is_open);
    Ok(Outcome::Discard(if is_open { Taken::Held } else { Taken::Over }))
}

pub(super) fn renew_lease(
    connection: &Connection,
    owner: UserId,
    turn: Uuid,
    lease: Lease,
) -> Result<Outcome<Renewed>, Error> {
    let renewed = connection
        .prepare_cached(
            "UPDATE turns SET lease_until = ?4
             WHERE owner = ?1 AND id = ?2 AND end_time IS NULL AND lease_holder = ?3
             RETURNING cancel_time IS NOT NULL",
        )?
        .query_row(params![blob(owner), turn.into_bytes(), lease.holder.into_bytes(), micros(lease.until)], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(match renewed {
        Some(is_cancelled) => Outcome::Commit(Renewed::Kept { is_cancelled }),
        None => Outcome::Discard(Renewed::Lost),
    })
}

pub(super) fn release_lease(
    connection: &Connection,
    owner: UserId,
    turn: Uuid,
    holder: Uuid,
) -> Result<Outcome<()>, Error> {
    let released = connection
        .prepare_cached(
            "UPDATE turns SET lease_holder = NULL, lease_until = NULL
             WHERE owner = ?1 AND id = ?2 AND lease_holder = ?3",
        )?
        .execute(params![blob(owner), turn.into_bytes(), holder.into_bytes()])?;
    Ok(if released == 1 { Outcome::Commit(()) } else { Outcome::Discard(()) })
}

/// The events of a turn from a step on, in order, and their length in bytes.
pub(super) fn events(
    connection: &Connection,
    owner: UserId,
    turn: Uuid,
    from: usize,
) -> Result<(Vec<Event>, usize), Error> {
    let mut statement = connection.prepare_cached(
        "SELECT owner, step, after FROM changes
         WHERE owner = ?1 AND turn = ?2 AND step IS NOT NULL AND step >= ?3 ORDER BY step",
    )?;
    let first = Seq::try_from(from).unwrap_or(Seq::MAX);
    let mut rows = statement.query(params![blob(owner), turn.into_bytes(), first])?;
    let (mut events, mut length) = (Vec::new(), 0);
    let key = turn.to_string();
    while let Some(row) = rows.next()? {
        check_owner("changes", owner, row.get(0)?, &key)?;
        let step: Seq = row.get(1)?;
        if usize::try_from(step) != Ok(from + events.len()) {
            return Err(inconsistent("changes", "step", &key));
        }
        let text: String = row.get(2)?;
        length += text.len();
        events.push(parsed("changes", "after", &key, &text)?);
    }
    Ok((events, length))
}

fn head(connection: &Connection, owner: UserId, turn: Uuid) -> Result<Option<Head>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT owner, conversation, steps, start_time, end_time IS NULL, cancel_time IS NOT NULL FROM turns
         WHERE owner = ?1 AND id = ?2",
    )?;
    let mut rows = statement.query(params![blob(owner), turn.into_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let key = turn.to_string();
    check_owner("turns", owner, row.get(0)?, &key)?;
    let steps: Seq = row.get(2)?;
    let steps = usize::try_from(steps).map_err(|_| inconsistent("turns", "steps", &key))?;
    Ok(Some(Head {
        conversation: id(row, 1)?,
        steps,
        started: time(row, 3)?,
        is_open: row.get(4)?,
        is_cancelled: row.get(5)?,
    }))
}

/// The newest turn of a conversation that is over and changed tasks.
fn last_changed(connection: &Connection, owner: UserId, conversation: Uuid) -> Result<Option<Uuid>, Error> {
    let found: Option<([u8; 16], [u8; 16])> = connection
        .prepare_cached(
            "SELECT owner, id FROM turns WHERE owner = ?1 AND conversation = ?2 AND has_changed = 1
               AND end_time IS NOT NULL ORDER BY start_time DESC, id DESC LIMIT 1",
        )?
        .query_row(params![blob(owner), conversation.into_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((found, id)) = found else { return Ok(None) };
    let id = Uuid::from_bytes(id);
    check_owner("turns", owner, found, &id.to_string())?;
    Ok(Some(id))
}

/// How many tokens the owner has spent on a day.
pub(super) fn spent(connection: &Connection, owner: UserId, day: i64) -> Result<u64, Error> {
    let spending = spending(connection, owner)?;
    Ok(if spending.day == day { spending.tokens } else { 0 })
}

/// What the owner has spent on the last day on which they have spent anything.
fn spending(connection: &Connection, owner: UserId) -> Result<Spending, Error> {
    let spent: Option<(i64, i64)> = connection
        .prepare_cached("SELECT spent_day, spent_tokens FROM heads WHERE owner = ?1")?
        .query_row(params![blob(owner)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (day, tokens) = spent.unwrap_or_default();
    Ok(Spending { day, tokens: tokens.try_into().unwrap_or(0) })
}

/// Counts what was spent.
pub(super) fn spend(connection: &Connection, owner: UserId, tokens: i64, now: Timestamp) -> Result<(), Error> {
    if tokens > 0 {
        connection
            .prepare_cached(
                "UPDATE heads SET spent_tokens = CASE WHEN spent_day = ?2 THEN spent_tokens ELSE 0 END + ?3,
                     spent_day = ?2
                 WHERE owner = ?1",
            )?
            .execute(params![blob(owner), usage::day(now), tokens])?;
    }
    Ok(())
}

fn open_turn(connection: &Connection, owner: UserId, conversation: Uuid) -> Result<Option<Uuid>, Error> {
    let found: Option<([u8; 16], [u8; 16])> = connection
        .prepare_cached("SELECT owner, id FROM turns WHERE owner = ?1 AND conversation = ?2 AND end_time IS NULL")?
        .query_row(params![blob(owner), conversation.into_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((found, id)) = found else { return Ok(None) };
    let id = Uuid::from_bytes(id);
    check_owner("turns", owner, found, &id.to_string())?;
    Ok(Some(id))
}

fn begin(connection: &Connection, owner: UserId, new: &NewTurn, conversation: Uuid) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO turns (owner, id, conversation, steps, start_time, end_time, lease_holder, lease_until)
             VALUES (?1, ?2, ?3, 1, ?4, NULL, ?5, ?6)",
        )?
        .execute(params![
            blob(owner),
            new.id.into_bytes(),
            conversation.into_bytes(),
            micros(new.now),
            new.lease.holder.into_bytes(),
            micros(new.lease.until),
        ])?;
    Ok(())
}

/// Counts the new events, and closes the turn when they end it.
fn advance_turn(connection: &Connection, owner: UserId, turn: Uuid, new: &NewEvents) -> Result<(), Error> {
    let steps = Seq::try_from(new.from + new.events.len()).map_err(|_| Error::Engine("too many steps".to_owned()))?;
    let ended = ending(&new.events).map(|_| micros(new.now));
    connection
        .prepare_cached(
            "UPDATE turns SET steps = ?3, end_time = ?4, has_changed = max(has_changed, ?5),
                 lease_holder = CASE WHEN ?4 IS NULL THEN lease_holder END,
                 lease_until = CASE WHEN ?4 IS NULL THEN lease_until END
             WHERE owner = ?1 AND id = ?2",
        )?
        .execute(params![blob(owner), turn.into_bytes(), steps, ended, new.has_changed])?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
fn store_event(
    connection: &Connection,
    owner: UserId,
    (conversation, turn): (Uuid, Uuid),
    seq: Seq,
    step: usize,
    event: &Event,
    origin: &Origin,
    now: Timestamp,
) -> Result<(), Error> {
    append_change(
        connection,
        owner,
        seq,
        &NewChange {
            kind: event.kind(),
            conversation: Some(conversation),
            turn: Some(turn),
            step: Some(step),
            before: None,
            after: Some(json(event)?),
            origin,
            now,
        },
    )
}
