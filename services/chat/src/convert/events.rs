//! The events of a turn as they are sent: one for each that is stored, numbered from one.

use errand_proto::chat::{self, turn_event};
use uuid::Uuid;

use super::{Room, time, tool_call, value};
use crate::{
    app::Words,
    domain::{
        approval::{Approval, Changed, Verdict, question},
        turn::{Answer, Event, Run},
        usage::Usage,
    },
};

/// An event of a turn.
pub(crate) fn event(turn: Uuid, conversation: Uuid, step: usize, event: Event) -> chat::TurnEvent {
    chat::TurnEvent {
        turn_id: turn.to_string(),
        conversation_id: conversation.to_string(),
        seq: number(step.saturating_add(1)),
        event: Some(what(event)),
    }
}

/// Words of an answer that is not whole yet: no event that has a number.
pub(crate) fn words(turn: Uuid, conversation: Uuid, words: Words) -> chat::TurnEvent {
    let delta = chat::TextDelta { text: words.text, offset: number(words.offset) };
    chat::TurnEvent {
        turn_id: turn.to_string(),
        conversation_id: conversation.to_string(),
        seq: 0,
        event: Some(turn_event::Event::TextDelta(delta)),
    }
}

/// What was spent.
pub(crate) fn usage(usage: Usage) -> chat::Usage {
    let tokens = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    chat::Usage { prompt_tokens: tokens(usage.prompt), completion_tokens: tokens(usage.completion) }
}

/// The end of a stream that goes on after this many events.
pub(crate) fn handover(turn: Uuid, after: usize) -> chat::TurnEvent {
    let turn_id = turn.to_string();
    let handover = chat::Handover { turn_id: turn_id.clone(), after_seq: number(after) };
    chat::TurnEvent { turn_id, event: Some(turn_event::Event::Handover(handover)), ..Default::default() }
}

/// The question that a turn ended with.
pub(crate) fn asked(events: &[Event]) -> Option<chat::ApprovalRequested> {
    question(events).map(requested)
}

fn what(event: Event) -> turn_event::Event {
    match event {
        Event::Started { message, time_zone } => {
            turn_event::Event::Started(chat::TurnStarted { message_id: message.to_string(), time_zone })
        }
        Event::ModelAnswered(Answer::Text(text)) => turn_event::Event::Text(chat::TurnText { text }),
        Event::ModelAnswered(Answer::Calls(calls)) => {
            let mut room = Room::default();
            let run = |call| Run { call, outcome: None };
            let tool_calls = calls.iter().map(|judged| tool_call(run(&judged.call), &mut room)).collect();
            turn_event::Event::ToolsCalled(chat::ToolsCalled { tool_calls })
        }
        Event::Undoing { call, .. } => {
            let tool_calls = vec![tool_call(Run { call: &call, outcome: None }, &mut Room::default())];
            turn_event::Event::ToolsCalled(chat::ToolsCalled { tool_calls })
        }
        Event::ToolFinished { call_id, outcome } => {
            let (result, error) = match &outcome {
                Ok(result) => (Room::default().takes(result), String::new()),
                Err(failure) => (None, failure.reason.clone()),
            };
            let tool_call = chat::ToolCall { id: call_id, result, error, ..Default::default() };
            turn_event::Event::ToolFinished(chat::ToolFinished { tool_call: Some(tool_call) })
        }
        Event::ApprovalRequested(approval) => turn_event::Event::ApprovalRequested(requested(&approval)),
        Event::Answered { asked_in, verdict } => {
            let verdict = match verdict {
                Verdict::Approved(_) => chat::ApprovalVerdict::Approved,
                Verdict::Declined => chat::ApprovalVerdict::Declined,
                Verdict::Expired => chat::ApprovalVerdict::Expired,
            };
            let asked_turn_id = asked_in.to_string();
            turn_event::Event::ApprovalAnswered(chat::ApprovalAnswered { asked_turn_id, verdict: verdict.into() })
        }
        Event::Cancelled => turn_event::Event::Cancelled(chat::TurnCancelled {}),
        Event::Replied { message, text, usage: spent } => turn_event::Event::Replied(chat::Replied {
            message_id: message.to_string(),
            response: text,
            usage: spent.map(usage),
        }),
        Event::Spent(spent) => turn_event::Event::Usage(usage(spent)),
        // A stream ends with an error instead.
        Event::Failed { .. } => turn_event::Event::Text(chat::TurnText::default()),
    }
}

pub(super) fn requested(approval: &Approval) -> chat::ApprovalRequested {
    let affected = approval.affected.iter().map(|affected| chat::AffectedTask {
        task_id: affected.id.clone(),
        title: affected.title.clone(),
        etag: affected.etag.clone(),
        changes: affected.changes.iter().map(changed).collect(),
    });
    chat::ApprovalRequested {
        tool: approval.call.name.clone(),
        preview: approval.preview.clone(),
        affected: affected.collect(),
        total: number(approval.total),
        hash: approval.hash.clone(),
        expire_time: Some(time(approval.expires)),
    }
}

fn changed(changed: &Changed) -> chat::FieldChange {
    let (before, after) = (Some(value(&changed.before)), Some(value(&changed.after)));
    chat::FieldChange { field: changed.field.clone(), before, after }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
