//! Changes, cursors, undo and the events of a stream.

use bytes::{BufMut, BytesMut};
use errand_changelog::{Actor, Change, Cursor};
use errand_proto::{
    task::{self as proto, undo_changes_request::Selection, watch_tasks_response::Event},
    validation::Violation,
};
use prost::Message;
use prost_types::{Value, value::Kind as ValueKind};
use uuid::Uuid;

use super::{instant, to_proto, would};
use crate::{
    app::{Between, Follow, Taken},
    domain::{
        task::Task,
        undo::{self, Conflict, Field},
        write::Kind,
    },
    error::Error,
};

// === in ===

/// The cursor in a request's field; nothing when it is empty.
pub(crate) fn cursor(text: &str, field: &str) -> Result<Option<Cursor>, Error> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            let description = "must be a cursor of an earlier answer, unchanged";
            Error::Invalid(vec![Violation::new(field, "INVALID_FORMAT", description)])
        }),
    }
}

/// The turn in a request's field; nothing when it is empty.
pub(crate) fn turn(text: &str) -> Result<Option<Uuid>, Error> {
    match text {
        "" => Ok(None),
        text => Uuid::try_parse(text).map(Some).map_err(|_| {
            Error::Invalid(vec![Violation::new("turnId", "INVALID_FORMAT", "must be a UUID in lower case")])
        }),
    }
}

/// What is to be undone.
pub(crate) fn selection(selection: Option<&Selection>) -> Result<Between, Error> {
    let required = |field, description| Error::Invalid(vec![Violation::new(field, "REQUIRED", description)]);
    match selection {
        None => Err(required("turnId", "turnId or range must be set")),
        Some(Selection::TurnId(text)) => {
            turn(text)?.map(Between::Turn).ok_or_else(|| required("turnId", "must not be empty"))
        }
        Some(Selection::Range(range)) => {
            let end = |text: &str, field| {
                cursor(text, field)?.ok_or_else(|| required(field, "must be the cursor of a change"))
            };
            let first = end(&range.first_cursor, "range.firstCursor")?;
            let last = end(&range.last_cursor, "range.lastCursor")?;
            if first.seq > last.seq {
                let description = "must not come before firstCursor";
                return Err(Error::Invalid(vec![Violation::new("range.lastCursor", "OUT_OF_RANGE", description)]));
            }
            Ok(Between::Cursors(first, last))
        }
    }
}

// === out ===

/// A page of the log.
pub(crate) fn page(follow: &Follow) -> proto::ListChangesResponse {
    proto::ListChangesResponse {
        changes: follow.changes.iter().map(|(change, cursor)| to_change(change, *cursor)).collect(),
        next_cursor: follow.next.to_string(),
        more: follow.more,
    }
}

/// Appends the message of a change, as a stream sends it.
pub(crate) fn change_event(change: &Change<Task>, cursor: Cursor, to: &mut BytesMut) {
    event(Event::Change(to_change(change, cursor)), to);
}

/// Appends the message with which a stream ends.
pub(crate) fn handover_event(cursor: Cursor, to: &mut BytesMut) {
    event(Event::Handover(proto::Handover { cursor: cursor.to_string() }), to);
}

/// A message as gRPC frames it: not compressed, its length, its bytes.
fn event(event: Event, to: &mut BytesMut) {
    let message = proto::WatchTasksResponse { event: Some(event) }.encode_to_vec();
    to.reserve(message.len() + 5);
    to.put_u8(0);
    to.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    to.put_slice(&message);
}

fn to_change(change: &Change<Task>, cursor: Cursor) -> proto::Change {
    let actor = match change.actor {
        Actor::User => proto::Actor::User,
        Actor::Assistant => proto::Actor::Assistant,
    };
    let kind = match Kind::parse(&change.kind) {
        Some(Kind::Create) => proto::ChangeKind::Created,
        Some(Kind::Update) => proto::ChangeKind::Updated,
        Some(Kind::Complete) => proto::ChangeKind::Completed,
        Some(Kind::Reopen) => proto::ChangeKind::Reopened,
        Some(Kind::Delete) => proto::ChangeKind::Deleted,
        Some(Kind::Undelete) => proto::ChangeKind::Undeleted,
        Some(Kind::Purge) => proto::ChangeKind::Purged,
        None => proto::ChangeKind::Unspecified,
    };
    let task = change.after.as_ref().or(change.before.as_ref());
    proto::Change {
        cursor: cursor.to_string(),
        change_time: Some(instant(change.time)),
        actor: actor.into(),
        turn_id: change.turn.map(|turn| turn.to_string()).unwrap_or_default(),
        request_id: change.request_id.clone().unwrap_or_default(),
        kind: kind.into(),
        task_id: task.map(|task| task.id.to_string()).unwrap_or_default(),
        before: change.before.as_ref().map(to_proto),
        after: change.after.as_ref().map(to_proto),
    }
}

/// What an undo did.
pub(crate) fn taken(taken: &Taken) -> proto::UndoChangesResponse {
    let (tasks, conflicts) = match taken {
        Taken::Done(answer) => (answer.tasks.iter().map(to_proto).collect(), &answer.conflicts),
        Taken::Would(answer) => (answer.tasks.iter().map(would).collect(), &answer.conflicts),
    };
    proto::UndoChangesResponse { tasks, conflicts: conflicts.iter().map(conflict).collect() }
}

fn conflict(conflict: &Conflict) -> proto::Conflict {
    let field = match conflict.field {
        Field::Title => "title",
        Field::Description => "description",
        Field::Priority => "priority",
        Field::DueTime => "due_time",
        Field::Labels => "labels",
        Field::Completed => "completed",
        Field::Deleted => "deleted",
    };
    proto::Conflict {
        task_id: conflict.task.to_string(),
        field: field.to_owned(),
        ours: Some(value(&conflict.ours)),
        theirs: Some(value(&conflict.theirs)),
        task_title: conflict.title.clone(),
    }
}

/// A value as JSON has it.
fn value(value: &undo::Value) -> Value {
    let text = |text: &str| ValueKind::StringValue(text.to_owned());
    let kind = match value {
        undo::Value::Nothing => ValueKind::NullValue(0),
        undo::Value::Flag(flag) => ValueKind::BoolValue(*flag),
        undo::Value::Text(words) => text(words),
        undo::Value::Priority(priority) => text(super::priority_name(*priority).as_str_name()),
        undo::Value::Time(due) => {
            let (seconds, nanos) = due.parts();
            text(&prost_types::Timestamp { seconds, nanos }.to_string())
        }
        undo::Value::Labels(labels) => {
            let values = labels.as_slice().iter().map(|label| Value { kind: Some(text(label)) }).collect();
            ValueKind::ListValue(prost_types::ListValue { values })
        }
    };
    Value { kind: Some(kind) }
}
