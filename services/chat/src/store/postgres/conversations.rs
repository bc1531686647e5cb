//! Conversations and messages.

use errand_changelog::{Origin, Seq, UserId};
use errand_storage::{
    Error, Postgres as Database,
    postgres::{Statement, Time},
};
use jiff::Timestamp;
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::{Door, Postgres, check_owner, count, door, inconsistent, parsed, time, turns};
use crate::{
    domain::conversation::{Conversation, Message, Role},
    store::{Created, Deleted, Edit, NewConversation, Page, Said, Updated},
};

const CREATE: &str =
    "SELECT code, head, method, fingerprint, answer FROM chat.create_conversation_v1($1, $2, $3, $4, $5, $6, $7, $8)";

const UPDATE: &str = "SELECT code, head, method, fingerprint, answer
    FROM chat.update_conversation_v2($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const DELETE: &str =
    "SELECT code, head, method, fingerprint, answer FROM chat.delete_conversation_v1($1, $2, $3, $4, $5, $6, $7)";

const GET: &str = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
    SELECT t.* FROM me CROSS JOIN LATERAL (
        SELECT c.owner, c.id, c.seq, c.title, c.version, c.create_time, c.update_time FROM chat.conversations c
        WHERE c.owner = me.owner AND c.id = $2 OFFSET 0
    ) t";

const LIST: &str = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
    SELECT t.* FROM me CROSS JOIN LATERAL (
        SELECT c.owner, c.id, c.seq, c.title, c.version, c.create_time, c.update_time FROM chat.conversations c
        WHERE c.owner = me.owner AND c.seq < $2 ORDER BY c.seq DESC LIMIT $3
    ) t";

/// A page of messages with the events of the turns that they ended, up to the message with which the
/// page has grown beyond its bytes. One more row than fits says that there is more. Without
/// messages there is one row, so that an empty conversation is not an unknown one.
const MESSAGES: &str = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
    SELECT p.owner, p.conversation, p.seq, p.id, p.turn, p.role, p.content, p.create_time, p.fits,
        e.owners, e.numbers, e.events
    FROM me
    CROSS JOIN LATERAL (
        SELECT c.owner FROM chat.conversations c WHERE c.owner = me.owner AND c.id = $2 OFFSET 0
    ) c
    LEFT JOIN LATERAL (
        SELECT l.*,
            row_number() OVER (ORDER BY l.seq) <= $5 AND coalesce(
                sum(l.length) OVER (ORDER BY l.seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) <= $6 AS fits
        FROM (
            SELECT m.*, octet_length(m.content) + coalesce(s.length, 0) AS length
            FROM (
                SELECT m.owner, m.conversation, m.seq, m.id, m.turn, m.role, m.content, m.create_time
                FROM chat.messages m
                WHERE m.owner = me.owner AND m.conversation = $2 AND m.seq > $3 ORDER BY m.seq LIMIT $4
            ) m
            LEFT JOIN LATERAL (
                SELECT sum(octet_length(h.after)) AS length FROM chat.changes h
                WHERE m.role = 'assistant' AND h.owner = me.owner AND h.turn = m.turn AND h.step IS NOT NULL
            ) s ON true
        ) l OFFSET 0
    ) p ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(o.owner) AS owners, array_agg(o.step) AS numbers, array_agg(o.after) AS events
        FROM (
            SELECT h.owner, h.step, h.after FROM chat.changes h
            WHERE p.fits AND p.role = 'assistant' AND h.owner = me.owner AND h.turn = p.turn AND h.step IS NOT NULL
            ORDER BY h.step
        ) o
    ) e ON true";

// === impl Postgres ===

impl Postgres {
    pub(super) async fn create(&self, owner: UserId, new: &NewConversation, origin: &Origin) -> Result<Created, Error> {
        let statement = door("create_conversation", CREATE, owner, origin).bind(new.id).bind(&*new.title);
        match self.pass(owner, origin, statement.bind(Time(new.now))).await? {
            Door::Done(answer) | Door::Replayed(answer) => Ok(Created::Opened(answered(&answer, new.id)?)),
            Door::Reused => Ok(Created::Reused),
            Door::Refused(refusal) => match refusal.code.as_str() {
                "erased" => Ok(Created::Erased),
                _ => Err(refusal.unexpected()),
            },
        }
    }

    /// Changes a title.
    pub(super) async fn update(&self, owner: UserId, id: Uuid, edit: &Edit, origin: &Origin) -> Result<Updated, Error> {
        let statement = door("update_conversation", UPDATE, owner, origin)
            .bind(id)
            .bind(edit.expected)
            .bind(&*edit.title)
            .bind(Time(edit.now));
        match self.pass(owner, origin, statement).await? {
            Door::Done(answer) | Door::Replayed(answer) => Ok(Updated::Done(answered(&answer, id)?)),
            Door::Reused => Ok(Updated::Reused),
            Door::Refused(refusal) => match refusal.code.as_str() {
                "erased" => Ok(Updated::Erased),
                "unknown" => Ok(Updated::Unknown),
                "stale" => Ok(Updated::Stale),
                _ => Err(refusal.unexpected()),
            },
        }
    }

    /// Takes a conversation away, with what was said in it and what the log holds of it. That it is
    /// gone is all that the log keeps.
    pub(super) async fn delete(
        &self,
        owner: UserId,
        id: Uuid,
        now: Timestamp,
        origin: &Origin,
    ) -> Result<Deleted, Error> {
        let statement = door("delete_conversation", DELETE, owner, origin).bind(id).bind(Time(now));
        match self.pass(owner, origin, statement).await? {
            Door::Done(_) | Door::Replayed(_) => Ok(Deleted::Done),
            Door::Reused => Ok(Deleted::Reused),
            Door::Refused(refusal) => match refusal.code.as_str() {
                "erased" => Ok(Deleted::Erased),
                "unknown" => Ok(Deleted::Unknown),
                _ => Err(refusal.unexpected()),
            },
        }
    }
}

pub(super) async fn get(database: &Database, owner: UserId, id: Uuid) -> Result<Option<Conversation>, Error> {
    let statement = Statement::new("get_conversation", GET).bind(owner.to_string()).bind(id);
    database.read(statement).await?.first().map(|row| conversation(row, owner)).transpose()
}

pub(super) async fn list(
    database: &Database,
    owner: UserId,
    after: Option<Seq>,
    size: usize,
) -> Result<Page<Conversation>, Error> {
    let statement = Statement::new("list_conversations", LIST)
        .bind(owner.to_string())
        .bind(after.unwrap_or(Seq::MAX))
        .bind(limit(size));
    let rows = database.read(statement).await?;
    let mut items = rows.iter().map(|row| conversation(row, owner)).collect::<Result<Vec<_>, _>>()?;
    // They come in this order; nothing promises it.
    items.sort_unstable_by_key(|conversation| std::cmp::Reverse(conversation.seq));
    let more = items.len() > size;
    items.truncate(size);
    Ok(Page { items, more })
}

pub(super) async fn messages(
    database: &Database,
    owner: UserId,
    conversation: Uuid,
    after: Option<Seq>,
    size: usize,
    bytes: usize,
) -> Result<Option<Page<Said>>, Error> {
    let statement = Statement::new("list_messages", MESSAGES)
        .bind(owner.to_string())
        .bind(conversation)
        .bind(after.unwrap_or(0))
        .bind(limit(size))
        .bind(count(size))
        .bind(count(bytes));
    let rows = database.read(statement).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut page = Page { items: Vec::new(), more: false };
    for row in &rows {
        let fits: Option<bool> = row.try_get("fits")?;
        match fits {
            None => {}
            Some(false) => page.more = true,
            Some(true) => {
                let (seq, message) = message(row, owner)?;
                let events = turns::events(row, owner, message.turn, 0)?;
                page.items.push(Said { seq, message, events });
            }
        }
    }
    page.items.sort_unstable_by_key(|said| said.seq);
    Ok(Some(page))
}

/// The conversation that a door answered with.
fn answered(answer: &[u8], id: Uuid) -> Result<Conversation, Error> {
    let key = id.to_string();
    let text = std::str::from_utf8(answer).map_err(|_| inconsistent("requests", "answer", &key))?;
    parsed("requests", "answer", &key, text)
}

fn conversation(row: &PgRow, owner: UserId) -> Result<Conversation, Error> {
    let id: Uuid = row.try_get("id")?;
    check_owner("conversations", owner, row.try_get("owner")?, &id.to_string())?;
    Ok(Conversation {
        id,
        seq: row.try_get("seq")?,
        title: row.try_get("title")?,
        version: row.try_get("version")?,
        created: time(row, "create_time")?,
        updated: time(row, "update_time")?,
    })
}

pub(super) fn message(row: &PgRow, owner: UserId) -> Result<(Seq, Message), Error> {
    let id: Uuid = row.try_get("id")?;
    let key = id.to_string();
    check_owner("messages", owner, row.try_get("owner")?, &key)?;
    let role: String = row.try_get("role")?;
    let message = Message {
        id,
        conversation: row.try_get("conversation")?,
        turn: row.try_get("turn")?,
        role: Role::parse(&role).ok_or_else(|| inconsistent("messages", "role", &key))?,
        content: row.try_get("content")?,
        created: time(row, "create_time")?,
    };
    Ok((row.try_get("seq")?, message))
}

/// One more than a page holds tells whether there is another.
fn limit(size: usize) -> i64 {
    count(size).saturating_add(1)
}

/// The reads, to be explained.
#[cfg(test)]
pub(super) fn reads(owner: UserId, id: Uuid) -> Vec<(&'static str, Statement)> {
    let explain = |sql: &'static str| Statement::new("explain", super::explained(sql)).bind(owner.to_string());
    vec![
        (GET, explain(GET).bind(id)),
        (LIST, explain(LIST).bind(Seq::MAX).bind(21_i64)),
        (MESSAGES, explain(MESSAGES).bind(id).bind(0_i64).bind(21_i64).bind(20_i64).bind(1000_i64)),
    ]
}
