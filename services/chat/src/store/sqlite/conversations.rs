//! Conversations and messages.

use errand_changelog::{Known, Origin, Seq, UserId};
use errand_storage::{Error, Outcome, sqlite::micros};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::{
    NewChange, advance, append, blob, check_owner, id, inconsistent, is_erased, json, judge, parsed, remember, time,
    titles, turns,
};
use crate::{
    domain::conversation::{Conversation, Message, Role},
    store::{Created, Deleted, Edit, NewConversation, Page, Said, Updated},
};

pub(super) fn create(
    connection: &Connection,
    owner: UserId,
    new: &NewConversation,
    origin: &Origin,
) -> Result<Outcome<Created>, Error> {
    if is_erased(connection, owner)? {
        return Ok(Outcome::Discard(Created::Erased));
    }
    let request = origin.request.as_ref();
    match judge(connection, owner, request)? {
        Known::New => {}
        Known::Reused => return Ok(Outcome::Discard(Created::Reused)),
        Known::Replay(answer) => {
            return Ok(Outcome::Discard(Created::Opened(first_answer(answer, new.id)?)));
        }
    }
    let seq = advance(connection, owner, 1)?;
    let conversation = open(connection, owner, new.id, &new.title, seq, origin, new.now)?;
    remember(connection, owner, request, json(&conversation)?.as_bytes(), new.now)?;
    Ok(Outcome::Commit(Created::Opened(conversation)))
}

/// Stores a new conversation and its change.
pub(super) fn open(
    connection: &Connection,
    owner: UserId,
    id: Uuid,
    title: &str,
    seq: Seq,
    origin: &Origin,
    now: jiff::Timestamp,
) -> Result<Conversation, Error> {
    // What is answered now must be what is read later, so the time is cut as it is stored.
    let now = errand_storage::sqlite::timestamp(micros(now))?;
    let conversation = Conversation { id, seq, title: title.to_owned(), version: seq, created: now, updated: now };
    connection
        .prepare_cached(
            "INSERT INTO conversations (owner, id, seq, title, version, create_time, update_time)
             VALUES (?1, ?2, ?3, ?4, ?3, ?5, ?5)",
        )?
        .execute(params![blob(owner), id.into_bytes(), seq, title, micros(now)])?;
    let after = Some(json(&conversation)?);
    log(connection, owner, seq, "create_conversation", id, (None, after), origin, now)?;
    Ok(conversation)
}

/// Changes a title.
pub(super) fn update(
    connection: &Connection,
    owner: UserId,
    id: Uuid,
    edit: &Edit,
    origin: &Origin,
) -> Result<Outcome<Updated>, Error> {
    if is_erased(connection, owner)? {
        return Ok(Outcome::Discard(Updated::Erased));
    }
    let request = origin.request.as_ref();
    match judge(connection, owner, request)? {
        Known::New => {}
        Known::Reused => return Ok(Outcome::Discard(Updated::Reused)),
        Known::Replay(answer) => return Ok(Outcome::Discard(Updated::Done(first_answer(answer, id)?))),
    }
    let Some(before) = get(connection, owner, id)? else { return Ok(Outcome::Discard(Updated::Unknown)) };
    if edit.expected.is_some_and(|expected| expected != before.version) {
        return Ok(Outcome::Discard(Updated::Stale));
    }
    let after = if edit.title == before.title {
        before
    } else {
        let seq = advance(connection, owner, 1)?;
        entitle(connection, owner, &before, edit.title.clone(), seq, origin, edit.now)?
    };
    // What its user has said is no draft, not even where it says the same.
    titles::mark(connection, owner, id, None)?;
    remember(connection, owner, request, json(&after)?.as_bytes(), edit.now)?;
    Ok(Outcome::Commit(Updated::Done(after)))
}

/// Takes a conversation away, with what was said in it and what the log holds of it. That it is
/// gone is all that the log keeps.
pub(super) fn delete(
    connection: &Connection,
    owner: UserId,
    id: Uuid,
    now: jiff::Timestamp,
    origin: &Origin,
) -> Result<Outcome<Deleted>, Error> {
    if is_erased(connection, owner)? {
        return Ok(Outcome::Discard(Deleted::Erased));
    }
    let request = origin.request.as_ref();
    match judge(connection, owner, request)? {
        Known::New => {}
        Known::Reused => return Ok(Outcome::Discard(Deleted::Reused)),
        Known::Replay(_) => return Ok(Outcome::Discard(Deleted::Done)),
    }
    let Some(before) = get(connection, owner, id)? else { return Ok(Outcome::Discard(Deleted::Unknown)) };
    for sql in [
        "DELETE FROM changes WHERE owner = ?1 AND conversation = ?2",
        // Messages and turns go with it.
        "DELETE FROM conversations WHERE owner = ?1 AND id = ?2",
    ] {
        connection.prepare_cached(sql)?.execute(params![blob(owner), id.into_bytes()])?;
    }
    let seq = advance(connection, owner, 1)?;
    let before = Some(json(&Conversation { title: String::new(), ..before })?);
    log(connection, owner, seq, "delete_conversation", id, (before, None), origin, now)?;
    remember(connection, owner, request, &[], now)?;
    Ok(Outcome::Commit(Deleted::Done))
}

/// Gives a conversation a title.
pub(super) fn entitle(
    connection: &Connection,
    owner: UserId,
    before: &Conversation,
    title: String,
    seq: Seq,
    origin: &Origin,
    now: jiff::Timestamp,
) -> Result<Conversation, Error> {
    let now = errand_storage::sqlite::timestamp(micros(now))?;
    let after = Conversation { title, version: seq, updated: now, ..before.clone() };
    connection
        .prepare_cached(
            "UPDATE conversations SET title = ?3, version = ?4, update_time = ?5 WHERE owner = ?1 AND id = ?2",
        )?
        .execute(params![blob(owner), before.id.into_bytes(), after.title, seq, micros(now)])?;
    let states = (Some(json(before)?), Some(json(&after)?));
    log(connection, owner, seq, "entitle_conversation", before.id, states, origin, now)?;
    Ok(after)
}

/// Appends the change of a conversation.
#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
fn log(
    connection: &Connection,
    owner: UserId,
    seq: Seq,
    kind: &'static str,
    id: Uuid,
    (before, after): (Option<String>, Option<String>),
    origin: &Origin,
    now: jiff::Timestamp,
) -> Result<(), Error> {
    let change = NewChange { kind, conversation: Some(id), turn: None, step: None, before, after, origin, now };
    append(connection, owner, seq, &change)
}

fn first_answer(answer: Vec<u8>, id: Uuid) -> Result<Conversation, Error> {
    let key = id.to_string();
    let first = String::from_utf8(answer).map_err(|_| inconsistent("requests", "answer", &key))?;
    parsed("requests", "answer", &key, &first)
}

pub(super) fn get(connection: &Connection, owner: UserId, id: Uuid) -> Result<Option<Conversation>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT owner, id, seq, title, version, create_time, update_time FROM conversations WHERE owner = ?1 AND id = ?2",
    )?;
    let mut rows = statement.query(params![blob(owner), id.into_bytes()])?;
    rows.next()?.map(|row| conversation(row, owner)).transpose()
}

pub(super) fn list(
    connection: &Connection,
    owner: UserId,
    after: Option<Seq>,
    size: usize,
) -> Result<Page<Conversation>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT owner, id, seq, title, version, create_time, update_time FROM conversations
         WHERE owner = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
    )?;
    let mut rows = statement.query(params![blob(owner), after.unwrap_or(Seq::MAX), limit(size)])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(conversation(row, owner)?);
    }
    let more = items.len() > size;
    items.truncate(size);
    Ok(Page { items, more })
}

pub(super) fn messages(
    connection: &Connection,
    owner: UserId,
    conversation: Uuid,
    after: Option<Seq>,
    size: usize,
    bytes: usize,
) -> Result<Option<Page<Said>>, Error> {
    if get(connection, owner, conversation)?.is_none() {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(
        "SELECT owner, conversation, seq, id, turn, role, content, create_time FROM messages
         WHERE owner = ?1 AND conversation = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4",
    )?;
    let mut rows = statement.query(params![blob(owner), conversation.into_bytes(), after.unwrap_or(0), limit(size)])?;
    let mut page = Page { items: Vec::new(), more: false };
    let mut held = 0;
    while let Some(row) = rows.next()? {
        if page.items.len() == size || held > bytes {
            page.more = true;
            break;
        }
        let (seq, message) = message(row, owner)?;
        held += message.content.len();
        let events = match message.role {
            Role::User => Vec::new(),
            Role::Assistant => {
                let (events, length) = turns::events(connection, owner, message.turn, 0)?;
                held += length;
                events
            }
        };
        page.items.push(Said { seq, message, events });
    }
    Ok(Some(page))
}

/// The newest messages of a conversation, oldest first.
pub(super) fn newest_messages(
    connection: &Connection,
    owner: UserId,
    conversation: Uuid,
    size: usize,
) -> Result<Vec<Message>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT owner, conversation, seq, id, turn, role, content, create_time FROM messages
         WHERE owner = ?1 AND conversation = ?2 ORDER BY seq DESC LIMIT ?3",
    )?;
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![blob(owner), conversation.into_bytes(), size])?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        messages.push(message(row, owner)?.1);
    }
    messages.reverse();
    Ok(messages)
}

/// Stores a new message and its change.
pub(super) fn say(
    connection: &Connection,
    owner: UserId,
    message: &Message,
    seq: Seq,
    origin: &Origin,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO messages (owner, conversation, seq, id, turn, role, content, create_time)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            blob(owner),
            message.conversation.into_bytes(),
            seq,
            message.id.into_bytes(),
            message.turn.into_bytes(),
            message.role.as_str(),
            message.content,
            micros(message.created),
        ])?;
    let after = Some(json(message)?);
    let now = message.created;
    append(
        connection,
        owner,
        seq,
        &NewChange {
            kind: "create_message",
            conversation: Some(message.conversation),
            turn: origin.turn,
            step: None,
            before: None,
            after,
            origin,
            now,
        },
    )
}

fn conversation(row: &Row<'_>, owner: UserId) -> Result<Conversation, Error> {
    let id = id(row, 1)?;
    check_owner("conversations", owner, row.get(0)?, &id.to_string())?;
    Ok(Conversation {
        id,
        seq: row.get(2)?,
        title: row.get(3)?,
        version: row.get(4)?,
        created: time(row, 5)?,
        updated: time(row, 6)?,
    })
}

fn message(row: &Row<'_>, owner: UserId) -> Result<(Seq, Message), Error> {
    let message = id(row, 3)?;
    let key = message.to_string();
    check_owner("messages", owner, row.get(0)?, &key)?;
    let role: String = row.get(5)?;
    let message = Message {
        id: message,
        conversation: id(row, 1)?,
        turn: id(row, 4)?,
        role: Role::parse(&role).ok_or_else(|| inconsistent("messages", "role", &key))?,
        content: row.get(6)?,
        created: time(row, 7)?,
    };
    Ok((row.get(2)?, message))
}

/// One more than a page holds tells whether there is another.
fn limit(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1)
}
