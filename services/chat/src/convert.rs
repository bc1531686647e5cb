//! Domain <-> contract.

pub(crate) mod events;
pub(crate) mod settings;

use errand_proto::{chat, validation::Violation};
use jiff::Timestamp;
use prost_types::{FieldMask, ListValue, Struct, Value as ProtoValue, value::Kind};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    app::{Answered, Change, Said, Undone},
    domain::{
        approval::Approval,
        conversation::{Conversation, Role},
        turn::{Event, Run, runs, weight},
        undo, usage,
    },
    error::Error,
};

/// How much of the tools' arguments and results one answer carries, in bytes: well below the
/// largest message. What goes beyond it is left out; that a tool was called is always said.
const ROOM: usize = 2 * 1024 * 1024;

/// How many tasks, and how many conflicts, taking a turn back answers: more than one call can touch.
const MOST_UNDONE: usize = 1000;

/// Counts what an answer may still carry.
#[derive(Debug)]
pub(crate) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(ROOM)
    }
}

/// An id in a request.
pub(crate) fn id(text: &str, field: &'static str) -> Result<Uuid, Error> {
    Uuid::try_parse(text).map_err(|_| Error::NoId(field))
}

/// What an update would change. Without a mask it is what has a value (AIP-134).
pub(crate) fn change(conversation: chat::Conversation, mask: Option<FieldMask>) -> Result<Change, Error> {
    let id = id(&conversation.id, "conversation.id")?;
    let mut sets_title = mask.is_none() && !conversation.title.is_empty();
    for path in mask.unwrap_or_default().paths {
        let (reason, description) = match path.as_str() {
            "title" | "*" => {
                sets_title = true;
                continue;
            }
            "id" | "etag" | "create_time" | "update_time" => ("READ_ONLY", "can not be changed by an update"),
            _ => ("UNKNOWN_FIELD", "is no field of a conversation"),
        };
        let path: String = path.chars().take(64).collect();
        return Err(Error::Invalid(vec![Violation::new("updateMask", reason, format!("{path} {description}"))]));
    }
    Ok(Change { id, etag: conversation.etag, title: sets_title.then_some(conversation.title) })
}

pub(crate) fn conversation(conversation: Conversation) -> chat::Conversation {
    chat::Conversation {
        id: conversation.id.to_string(),
        title: conversation.title,
        etag: format!("{:x}", conversation.version),
        create_time: Some(time(conversation.created)),
        update_time: Some(time(conversation.updated)),
    }
}

pub(crate) fn message(said: Said, room: &mut Room) -> chat::Message {
    let role = match said.message.role {
        Role::User => chat::Role::User,
        Role::Assistant => chat::Role::Assistant,
    };
    chat::Message {
        id: said.message.id.to_string(),
        conversation_id: said.message.conversation.to_string(),
        role: role.into(),
        content: said.message.content,
        turn_id: said.message.turn.to_string(),
        tool_calls: tool_calls(&said.events, room),
        create_time: Some(time(said.message.created)),
        usage: usage::spent(&said.events).map(events::usage),
    }
}

pub(crate) fn answer(answered: Answered) -> chat::SendMessageResponse {
    chat::SendMessageResponse {
        conversation_id: answered.conversation.to_string(),
        turn_id: answered.turn.to_string(),
        response: answered.text,
        tool_calls: tool_calls(&answered.events, &mut Room::default()),
        approval_requested: events::asked(&answered.events),
        usage: usage::spent(&answered.events).map(events::usage),
    }
}

/// A question that could be answered.
pub(crate) fn question(conversation: Uuid, approval: &Approval) -> chat::SendMessageResponse {
    chat::SendMessageResponse {
        conversation_id: conversation.to_string(),
        response: approval.preview.clone(),
        approval_requested: Some(events::requested(approval)),
        ..Default::default()
    }
}

/// What taking a turn back did, or would do.
pub(crate) fn undone(undone: &Undone) -> chat::UndoTurnResponse {
    let text = |task: &Value, field: &str| task.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let tasks = undone.result.get("tasks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let task = |task: &Value| chat::AffectedTask {
        task_id: text(task, "id"),
        title: text(task, "title"),
        etag: text(task, "etag"),
        changes: Vec::new(),
    };
    let conflict = |conflict: undo::Conflict<'_>| chat::UndoConflict {
        task_id: conflict.task.to_owned(),
        title: conflict.title.to_owned(),
        field: conflict.field.to_owned(),
        ours: Some(value(conflict.ours)),
        theirs: Some(value(conflict.theirs)),
    };
    chat::UndoTurnResponse {
        conversation_id: undone.conversation.to_string(),
        turn_id: undone.turn.map(|turn| turn.to_string()).unwrap_or_default(),
        response: undone.text.clone(),
        tasks: tasks.iter().take(MOST_UNDONE).map(task).collect(),
        conflicts: undo::conflicts(&undone.result).take(MOST_UNDONE).map(conflict).collect(),
    }
}

fn tool_calls(events: &[Event], room: &mut Room) -> Vec<chat::ToolCall> {
    runs(events).into_iter().map(|run| tool_call(run, room)).collect()
}

fn tool_call(run: Run<'_>, room: &mut Room) -> chat::ToolCall {
    let arguments = room.takes(&run.call.arguments);
    let (result, error) = match run.outcome {
        Some(Ok(result)) => (room.takes(result), String::new()),
        Some(Err(failure)) => (None, failure.reason.clone()),
        None => (None, String::new()),
    };
    chat::ToolCall { id: run.call.id.clone(), name: run.call.name.clone(), arguments, result, error }
}

impl Room {
    fn takes(&mut self, value: &Value) -> Option<Struct> {
        let left = self.0.checked_sub(weight(value))?;
        self.0 = left;
        value.as_object().map(object)
    }
}

fn object(fields: &Map<String, Value>) -> Struct {
    Struct { fields: fields.iter().map(|(key, item)| (key.clone(), value(item))).collect() }
}

fn value(value_: &Value) -> ProtoValue {
    let kind = match value_ {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(value).collect() }),
        Value::Object(fields) => Kind::StructValue(object(fields)),
    };
    ProtoValue { kind: Some(kind) }
}

fn time(time: Timestamp) -> prost_types::Timestamp {
    // Nanoseconds are never negative in protobuf, whatever side of the epoch it is.
    let nanos = time.as_nanosecond();
    prost_types::Timestamp {
        seconds: i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or_default(),
        nanos: i32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{
        policy::Judged,
        tool::{ToolCall, ToolFailure},
        turn::Answer,
    };

    fn called(outcomes: Vec<Result<Value, ToolFailure>>) -> Vec<Event> {
        let call = |n: usize| Judged {
            call: ToolCall { id: n.to_string(), name: "get_task".into(), arguments: json!({"taskId": "x"}) },
            refusal: None,
            waits: false,
        };
        let mut events = vec![Event::ModelAnswered(Answer::Calls((0..outcomes.len()).map(call).collect()))];
        let finished = |(n, outcome)| Event::ToolFinished { call_id: format!("{n}"), outcome };
        events.extend(outcomes.into_iter().enumerate().map(finished));
        events
    }

    #[test]
    fn a_call_says_what_it_did_or_why_it_failed() {
        let failure = ToolFailure { reason: "TASK_NOT_FOUND".into(), message: "no".into() };
        let calls =
            tool_calls(&called(vec![Ok(json!({"id": "x", "n": [1, null]})), Err(failure)]), &mut Room::default());
        assert_eq!((calls[0].error.as_str(), calls[1].error.as_str()), ("", "TASK_NOT_FOUND"));
        assert_eq!(calls[0].result.as_ref().unwrap().fields.len(), 2);
        assert_eq!(calls[1].result, None);
        assert!(calls.iter().all(|call| call.arguments.is_some()));
    }

    #[test]
    fn results_beyond_the_room_of_an_answer_are_left_out() {
        let large = || Ok(json!({"text": "x".repeat(ROOM / 2)}));
        let calls = tool_calls(&called(vec![large(), large(), Ok(json!({"id": "x"}))]), &mut Room::default());
        let kept: Vec<bool> = calls.iter().map(|call| call.result.is_some()).collect();
        assert_eq!(kept, [true, false, true]);
    }

    #[test]
    fn a_time_before_the_epoch_has_positive_nanoseconds() {
        let before = Timestamp::new(-1, -500_000_000).unwrap();
        assert_eq!(time(before), prost_types::Timestamp { seconds: -2, nanos: 500_000_000 });
    }
}
