//! Turns, their events and who is at work on them.

use errand_changelog::{Origin, Seq, UserId};
use errand_storage::{
    Error, Postgres as Database,
    postgres::{Statement, Time},
};
use jiff::Timestamp;
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    BY_ASSISTANT, Door, Postgres, check_owner, conversations, count, door, inconsistent, json, one, parsed, texts,
};
use crate::{
    domain::{
        turn::{Event, Turn, ending},
        usage::{self, Spending},
    },
    store::{Appended, Begun, Cancel, Followed, History, Lease, NewEvents, NewTurn, Place, Reach, Renewed, Taken},
};

const START: &str = "SELECT code, head, method, fingerprint, answer FROM chat.start_turn_v4(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";

const CANCEL: &str =
    "SELECT code, head, method, fingerprint, answer FROM chat.cancel_turn_v1($1, $2, $3, $4, $5, $6, $7)";

const APPEND: &str = "SELECT is_stored, is_cancelled, head
    FROM chat.append_v3($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

/// A turn with its events from a step on, what was kept of the answer that comes next, and how far the owner's log goes.
const TURN: &str = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
    SELECT t.*, h.seq AS head, e.owners, e.numbers, e.events, x.*
    FROM me
    CROSS JOIN LATERAL (
        SELECT t.owner, t.id, t.conversation, t.steps, t.start_time, t.end_time IS NULL AS is_open,
            t.cancel_time IS NOT NULL AS is_cancelled
        FROM chat.turns t WHERE t.owner = me.owner AND t.id = $2 AND t.steps > 0 OFFSET 0
    ) t
    LEFT JOIN LATERAL (SELECT h.seq FROM chat.heads h WHERE h.owner = me.owner OFFSET 0) h ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(o.owner) AS owners, array_agg(o.step) AS numbers, array_agg(o.after) AS events
        FROM (
            SELECT c.owner, c.step, c.after FROM chat.changes c
            WHERE c.owner = me.owner AND c.turn = t.id AND c.step IS NOT NULL AND c.step >= $3 ORDER BY c.step
        ) o
    ) e ON true
    LEFT JOIN LATERAL (
        SELECT x.owner AS text_owner, x.step AS text_step, x.id AS text_id, x.content AS text FROM chat.texts x
        WHERE x.owner = me.owner AND x.turn = t.id AND x.step = t.steps AND t.is_open AND t.steps >= $3 OFFSET 0
    ) x ON true";

/// The newest messages, the events of the newest turns among them as far as they are light enough,
/// and the newest turn that can be taken back. There is one row at least.
const HISTORY: &str = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner),
    said AS MATERIALIZED (
        SELECT m.* FROM me CROSS JOIN LATERAL (
            SELECT m.owner, m.conversation, m.seq, m.id, m.turn, m.role, m.content, m.create_time
            FROM chat.messages m
            WHERE m.owner = me.owner AND m.conversation = $2 ORDER BY m.seq DESC LIMIT $3
        ) m
    ),
    ended AS MATERIALIZED (
        SELECT n.turn, n.number, sum(l.length) OVER (ORDER BY n.number) AS read
        FROM (
            SELECT s.turn, row_number() OVER (ORDER BY s.seq DESC) AS number FROM said s
            WHERE s.role = 'assistant' ORDER BY s.seq DESC LIMIT $4
        ) n
        CROSS JOIN me
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(octet_length(c.after)), 0) AS length FROM chat.changes c
            WHERE c.owner = me.owner AND c.turn = n.turn AND c.step IS NOT NULL OFFSET 0
        ) l
    )
    SELECT s.*, e.number, h.owners, h.numbers, h.events, t.owner AS last_owner, t.id AS last_turn,
        d.owner AS head_owner, d.spent_day, d.spent_tokens
    FROM me
    LEFT JOIN LATERAL (
        SELECT d.owner, d.spent_day, d.spent_tokens FROM chat.heads d WHERE d.owner = me.owner OFFSET 0
    ) d ON true
    LEFT JOIN LATERAL (
        SELECT t.owner, t.id FROM chat.turns t
        WHERE t.owner = me.owner AND t.conversation = $2 AND t.has_changed AND t.end_time IS NOT NULL
        ORDER BY t.start_time DESC, t.id DESC LIMIT 1
    ) t ON true
    LEFT JOIN said s ON true
    LEFT JOIN ended e ON s.role = 'assistant' AND e.turn = s.turn AND (e.number = 1 OR e.read <= $5)
    LEFT JOIN LATERAL (
        SELECT array_agg(o.owner) AS owners, array_agg(o.step) AS numbers, array_agg(o.after) AS events
        FROM (
            SELECT c.owner, c.step, c.after FROM chat.changes c
            WHERE c.owner = me.owner AND c.turn = e.turn AND c.step IS NOT NULL ORDER BY c.step
        ) o
    ) h ON true";

const TAKE_LEASE: &str = "SELECT chat.take_lease_v1($1, $2, $3, $4, $5) AS taken";

const RENEW_LEASE: &str = "SELECT is_kept, is_cancelled FROM chat.renew_lease_v1($1, $2, $3, $4)";

const RELEASE_LEASE: &str = "SELECT chat.release_lease_v1($1, $2, $3)";

// === impl Postgres ===

impl Postgres {
    pub(super) async fn start(&self, owner: UserId, new: &NewTurn, origin: &Origin) -> Result<Begun, Error> {
        let conversation = new.place.conversation();
        let after = match new.place {
            Place::After { turn, .. } => Some(turn),
            Place::Existing(_) | Place::New(_) => None,
        };
        let event = Event::Started { message: new.message, time_zone: new.time_zone.clone() };
        let statement = door("start_turn", START, owner, origin)
            .bind(new.id)
            .bind(conversation)
            .bind(matches!(new.place, Place::New(_)))
            .bind(new.content.title())
            .bind(new.message)
            .bind(new.content.as_str())
            .bind(event.kind())
            .bind(json(&event)?)
            .bind(new.lease.holder)
            .bind(Time(new.lease.until))
            .bind(Time(new.now))
            .bind(after)
            .bind(new.budget.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX)))
            .bind(usage::day(new.now));
        let turn = |bytes: &[u8]| {
            Uuid::from_slice(bytes).map_err(|_| inconsistent("requests", "answer", &conversation.to_string()))
        };
        match self.pass(owner, origin, statement).await? {
            Door::Done(_) => Ok(Begun::New),
            Door::Replayed(answer) => Ok(Begun::Replayed(turn(&answer)?)),
            Door::Reused => Ok(Begun::Reused),
            Door::Refused(refusal) => match refusal.code.as_str() {
                "erased" => Ok(Begun::Erased),
                "unknown" => Ok(Begun::ConversationUnknown),
                "busy" => Ok(Begun::Busy(turn(&refusal.about)?)),
                "moved" => Ok(Begun::Moved),
                "spent" => Ok(Begun::Spent),
                _ => Err(refusal.unexpected()),
            },
        }
    }

    pub(super) async fn cancel(
        &self,
        owner: UserId,
        turn: Uuid,
        now: Timestamp,
        origin: &Origin,
    ) -> Result<Cancel, Error> {
        let statement = door("cancel_turn", CANCEL, owner, origin).bind(turn).bind(Time(now));
        match self.pass(owner, origin, statement).await? {
            Door::Done(_) | Door::Replayed(_) => Ok(Cancel::Kept),
            Door::Reused => Ok(Cancel::Reused),
            Door::Refused(refusal) => match refusal.code.as_str() {
                "erased" => Ok(Cancel::Erased),
                "unknown" => Ok(Cancel::Unknown),
                "over" => Ok(Cancel::Over),
                _ => Err(refusal.unexpected()),
            },
        }
    }

    pub(super) async fn store_events(&self, owner: UserId, turn: Uuid, new: &NewEvents) -> Result<Appended, Error> {
        let kinds: Vec<&str> = new.events.iter().map(Event::kind).collect();
        let events = new.events.iter().map(json).collect::<Result<Vec<_>, _>>()?;
        let reply = new.events.iter().find_map(|event| match event {
            Event::Replied { message, text, .. } => Some((*message, text.as_str())),
            _ => None,
        });
        let statement = Statement::new("append", APPEND)
            .bind(*owner.as_uuid())
            .bind(turn)
            .bind(count(new.from))
            .bind(BY_ASSISTANT)
            .bind(kinds)
            .bind(events)
            .bind(reply.map(|(message, _)| message))
            .bind(reply.map(|(_, text)| text))
            .bind(ending(&new.events).is_some())
            .bind(new.has_changed)
            .bind(new.undone)
            .bind(Time(new.now))
            .bind(usage::tokens(&new.events))
            .bind(usage::day(new.now));
        let row = one(self.database.write(statement).await?)?;
        if !row.try_get::<bool, _>("is_stored")? {
            return Ok(Appended::Lost);
        }
        let head: Seq = row.try_get("head")?;
        self.tell(owner, head);
        Ok(Appended::Stored { head, is_cancelled: row.try_get("is_cancelled")? })
    }
}

pub(super) async fn get(database: &Database, owner: UserId, id: Uuid) -> Result<Option<Turn>, Error> {
    let statement = Statement::new("get_turn", TURN).bind(owner.to_string()).bind(id).bind(0_i64);
    let rows = database.read(statement).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let key = id.to_string();
    check_owner("turns", owner, row.try_get("owner")?, &key)?;
    let events = events(row, owner, id, 0)?;
    let steps: i64 = row.try_get("steps")?;
    if count(events.len()) != steps {
        return Err(inconsistent("turns", "steps", &key));
    }
    Ok(Some(Turn {
        id,
        conversation: row.try_get("conversation")?,
        started: super::time(row, "start_time")?,
        is_cancelled: row.try_get("is_cancelled")?,
        head: head(row)?,
        events,
    }))
}

pub(super) async fn follow(
    database: &Database,
    owner: UserId,
    turn: Uuid,
    from: usize,
) -> Result<Option<Followed>, Error> {
    let statement = Statement::new("follow_turn", TURN).bind(owner.to_string()).bind(turn).bind(count(from));
    let rows = database.read(statement).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    check_owner("turns", owner, row.try_get("owner")?, &turn.to_string())?;
    Ok(Some(Followed {
        conversation: row.try_get("conversation")?,
        events: events(row, owner, turn, from)?,
        is_open: row.try_get("is_open")?,
        is_cancelled: row.try_get("is_cancelled")?,
        head: head(row)?,
        text: texts::of(row, owner, turn)?,
    }))
}

pub(super) async fn history(
    database: &Database,
    owner: UserId,
    conversation: Uuid,
    reach: Reach,
) -> Result<History, Error> {
    let statement = Statement::new("history", HISTORY)
        .bind(owner.to_string())
        .bind(conversation)
        .bind(count(reach.messages))
        .bind(count(reach.turns))
        .bind(count(reach.bytes));
    let rows = database.read(statement).await?;
    let (mut messages, mut turns, mut last_turn) = (Vec::new(), Vec::new(), None);
    let mut spending = Spending::default();
    for row in &rows {
        if let Some(day) = row.try_get("spent_day")? {
            check_owner("heads", owner, row.try_get("head_owner")?, &owner.to_string())?;
            let tokens: i64 = row.try_get("spent_tokens")?;
            spending = Spending { day, tokens: tokens.try_into().unwrap_or(0) };
        }
        let last: Option<Uuid> = row.try_get("last_turn")?;
        if let Some(last) = last {
            check_owner("turns", owner, row.try_get("last_owner")?, &last.to_string())?;
            last_turn = Some(last);
        }
        if row.try_get::<Option<Uuid>, _>("id")?.is_none() {
            continue;
        }
        let (seq, message) = conversations::message(row, owner)?;
        if let Some(number) = row.try_get::<Option<i64>, _>("number")? {
            turns.push((number, (message.turn, events(row, owner, message.turn, 0)?)));
        }
        messages.push((seq, message));
    }
    messages.sort_unstable_by_key(|(seq, _)| *seq);
    turns.sort_unstable_by_key(|(number, _)| *number);
    Ok(History {
        messages: messages.into_iter().map(|(_, message)| message).collect(),
        turns: turns.into_iter().map(|(_, turn)| turn).collect(),
        last_turn,
        spending,
    })
}

pub(super) async fn take_lease(
    database: &Database,
    owner: UserId,
    turn: Uuid,
    lease: Lease,
    now: Timestamp,
) -> Result<Taken, Error> {
    let statement = Statement::new("take_lease", TAKE_LEASE)
        .bind(*owner.as_uuid())
        .bind(turn)
        .bind(lease.holder)
        .bind(Time(lease.until))
        .bind(Time(now));
    let taken: String = one(database.write(statement).await?)?.try_get("taken")?;
    match taken.as_str() {
        "taken" => Ok(Taken::Yes),
        "held" => Ok(Taken::Held),
        "over" => Ok(Taken::Over),
        other => Err(Error::Engine(format!("taking a lease answered {other:?}"))),
    }
}

pub(super) async fn renew_lease(
    database: &Database,
    owner: UserId,
    turn: Uuid,
    lease: Lease,
) -> Result<Renewed, Error> {
    let statement = Statement::new("renew_lease", RENEW_LEASE)
        .bind(*owner.as_uuid())
        .bind(turn)
        .bind(lease.holder)
        .bind(Time(lease.until));
    let row = one(database.write(statement).await?)?;
    Ok(match row.try_get("is_kept")? {
        true => Renewed::Kept { is_cancelled: row.try_get("is_cancelled")? },
        false => Renewed::Lost,
    })
}

pub(super) async fn release_lease(database: &Database, owner: UserId, turn: Uuid, holder: Uuid) -> Result<(), Error> {
    let statement = Statement::new("release_lease", RELEASE_LEASE).bind(*owner.as_uuid()).bind(turn).bind(holder);
    database.write(statement).await.map(drop)
}

fn head(row: &PgRow) -> Result<Seq, Error> {
    let head: Option<Seq> = row.try_get("head")?;
    Ok(head.unwrap_or_default())
}

/// The events of a turn from a step on, which a row holds in arrays.
pub(super) fn events(row: &PgRow, owner: UserId, turn: Uuid, from: usize) -> Result<Vec<Event>, Error> {
    let owners: Vec<Uuid> = row.try_get::<Option<_>, _>("owners")?.unwrap_or_default();
    let steps: Vec<i64> = row.try_get::<Option<_>, _>("numbers")?.unwrap_or_default();
    let texts: Vec<String> = row.try_get::<Option<_>, _>("events")?.unwrap_or_default();
    let key = turn.to_string();
    let mut events = Vec::with_capacity(texts.len());
    for ((found, step), text) in owners.into_iter().zip(steps).zip(&texts) {
        check_owner("changes", owner, found, &key)?;
        if usize::try_from(step) != Ok(from + events.len()) {
            return Err(inconsistent("changes", "step", &key));
        }
        events.push(parsed("changes", "after", &key, text)?);
    }
    Ok(events)
}

/// The reads, to be explained.
#[cfg(test)]
pub(super) fn reads(owner: UserId, conversation: Uuid, turn: Uuid) -> Vec<(&'static str, Statement)> {
    let explain = |sql: &'static str| Statement::new("explain", super::explained(sql)).bind(owner.to_string());
    vec![
        (TURN, explain(TURN).bind(turn).bind(0_i64)),
        (TURN, explain(TURN).bind(turn).bind(i64::MAX)),
        (HISTORY, explain(HISTORY).bind(conversation).bind(50_i64).bind(5_i64).bind(1000_i64)),
    ]
}
