//! What the model is given to read: the conversation so far, then this turn.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{
    domain::{
        approval::Verdict,
        conversation::Role,
        tool::ToolResult,
        turn::{Answer, Event, Turn},
    },
    model::{Entry, Transcript},
    store::History,
};

/// Writes the transcript of a turn whose user has so many tokens left. The history ends with the message that began the
/// turn.
#[must_use]
pub(super) fn transcript(history: &History, turn: &Turn, left: Option<u64>) -> Transcript {
    let done: HashMap<Uuid, &[Event]> = history.turns.iter().map(|(id, events)| (*id, events.as_slice())).collect();
    let mut entries = Vec::new();
    for message in &history.messages {
        match message.role {
            Role::User => entries.push(Entry::User(message.content.clone())),
            Role::Assistant => {
                entries.extend(done.get(&message.turn).into_iter().flat_map(|events| calls(events)));
                entries.push(Entry::Assistant(message.content.clone()));
            }
        }
    }
    entries.extend(calls(&turn.events));
    let (now, time_zone) = (turn.started, turn.time_zone().to_owned());
    Transcript { now, time_zone, entries, last_turn: history.last_turn, left }
}

/// The calls and results of a turn, in the order in which they happened.
fn calls(events: &[Event]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for event in events {
        match event {
            Event::ModelAnswered(Answer::Calls(calls)) => {
                entries.extend(calls.iter().map(|judged| Entry::Call(judged.call.clone())));
            }
            Event::Answered { verdict: Verdict::Approved(approval), .. } => {
                entries.push(Entry::Call(approval.call.clone()));
            }
            Event::Undoing { call, .. } => entries.push(Entry::Call(call.clone())),
            Event::ToolFinished { call_id, outcome } => {
                entries.push(Entry::Result(ToolResult { call_id: call_id.clone(), outcome: outcome.clone() }));
            }
            _ => {}
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::domain::{conversation::Message, policy::Judged, tool::ToolCall, usage::Spending};

    fn message(role: Role, turn: u128, content: &str) -> Message {
        Message {
            id: Uuid::nil(),
            conversation: Uuid::nil(),
            turn: Uuid::from_u128(turn),
            role,
            content: content.to_owned(),
            created: Timestamp::UNIX_EPOCH,
        }
    }

    fn called(id: &str) -> Vec<Event> {
        let call = ToolCall { id: id.to_owned(), name: "list_tasks".to_owned(), arguments: json!({}) };
        vec![
            Event::Started { message: Uuid::nil(), time_zone: "Asia/Tokyo".to_owned() },
            Event::ModelAnswered(Answer::Calls(vec![Judged { call, refusal: None, waits: false }])),
            Event::ToolFinished { call_id: id.to_owned(), outcome: Ok(json!({"tasks": []})) },
        ]
    }

    #[test]
    fn what_was_done_stands_between_what_was_said() {
        let history = History {
            messages: vec![
                message(Role::User, 1, "hello"),
                message(Role::Assistant, 1, "hi"),
                message(Role::User, 2, "list"),
                message(Role::Assistant, 2, "nothing"),
                message(Role::User, 3, "the first one"),
            ],
            turns: vec![(Uuid::from_u128(2), called("a"))],
            last_turn: Some(Uuid::from_u128(2)),
            spending: Spending::default(),
        };
        let turn = Turn {
            id: Uuid::from_u128(3),
            conversation: Uuid::nil(),
            started: Timestamp::UNIX_EPOCH,
            is_cancelled: false,
            head: 0,
            events: called("b"),
        };
        let transcript = transcript(&history, &turn, Some(7));
        let read: Vec<String> = transcript
            .entries
            .iter()
            .map(|entry| match entry {
                Entry::User(text) => format!("user {text}"),
                Entry::Assistant(text) => format!("assistant {text}"),
                Entry::Call(call) => format!("call {}", call.id),
                Entry::Result(result) => format!("result {}", result.call_id),
            })
            .collect();
        let expected = [
            "user hello",
            "assistant hi",
            "user list",
            "call a",
            "result a",
            "assistant nothing",
            "user the first one",
            "call b",
            "result b",
        ];
        assert_eq!(read, expected);
        assert_eq!(
            (transcript.time_zone.as_str(), transcript.last_turn, transcript.left),
            ("Asia/Tokyo", Some(Uuid::from_u128(2)), Some(7))
        );
    }
}
