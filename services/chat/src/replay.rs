//! A conversation once more, with another model, and without doing anything.
//!
//! Each message of the user is answered again after the history as it was recorded. No tool is called: a call that was made in
//! the recording, too, has the result that it had then, and any other has none. What the models say is not compared, only
//! what they want to do.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    domain::{
        approval,
        conversation::{EXCHANGES, WITH_CALLS},
        policy::named_turn,
        tool::{APPROVAL_REQUIRED, ToolCall, ToolFailure, ToolResult},
        turn::{MOST_CALLS, MOST_ROUNDS},
        undo::{self, UNDO},
    },
    model::{Entry, Failure, Model, Step, Transcript, fallback},
};

/// What came of a call.
pub type Outcome = Result<Value, ToolFailure>;

/// What the user said, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// The turn.
    pub turn: Uuid,
    /// What the user said.
    pub said: String,
    /// When.
    pub at: Timestamp,
    /// The calls that were made, with what came of each; nothing where that was not kept.
    pub calls: Vec<(ToolCall, Option<Outcome>)>,
    /// What the assistant said at the end.
    pub answered: String,
}

/// What became of an exchange.
#[derive(Debug, Clone, PartialEq)]
pub enum Replayed {
    /// It was the user's own word, such as the answer to a question: no model has a part in it.
    OwnWord,
    /// What the other model wants to do.
    Calls(Vec<ToolCall>),
}

/// A line of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Line<'a> {
    /// Both want it.
    Both(&'a ToolCall),
    /// Only the recording has it.
    Recorded(&'a ToolCall),
    /// Only the other model wants it.
    Replayed(&'a ToolCall),
}

/// Has a model answer one exchange of a conversation again.
///
/// # Errors
/// When it gives no answer.
pub async fn replay(
    model: &dyn Model,
    exchanges: &[Exchange],
    at: usize,
    time_zone: &str,
) -> Result<Replayed, Failure> {
    let (Some(this), before) = (exchanges.get(at), exchanges.get(..at).unwrap_or_default()) else {
        return Ok(Replayed::OwnWord);
    };
    if is_own_word(this, before.last()) {
        return Ok(Replayed::OwnWord);
    }
    let mut transcript = Transcript {
        now: this.at,
        time_zone: time_zone.to_owned(),
        entries: history(before),
        last_turn: last_changed(before),
        left: None,
    };
    transcript.entries.push(Entry::User(this.said.clone()));
    let mut results = Results::of(this);
    let mut wanted = Vec::new();
    for _ in 0..MOST_ROUNDS {
        let Step::Call(mut calls) = model.next(&transcript, &mut |_: &str| {}).await?.step else { break };
        calls.truncate(MOST_CALLS);
        if calls.is_empty() {
            break;
        }
        // Ids of our own: a model's may be missing, or come twice.
        for (number, call) in (wanted.len()..).zip(&mut calls) {
            let mark = if call.id.starts_with(fallback::MARK) { fallback::MARK } else { "" };
            call.id = format!("{mark}replay-{number}");
        }
        transcript.entries.extend(calls.iter().cloned().map(Entry::Call));
        let outcomes: Vec<_> = calls.iter().map(|call| results.of_call(call)).collect();
        // It ends its turn.
        let waits =
            outcomes.iter().any(|outcome| matches!(outcome, Err(failure) if failure.reason == APPROVAL_REQUIRED));
        let result = |(call, outcome): (&ToolCall, _)| Entry::Result(ToolResult { call_id: call.id.clone(), outcome });
        transcript.entries.extend(calls.iter().zip(outcomes).map(result));
        wanted.append(&mut calls);
        if waits {
            break;
        }
    }
    Ok(Replayed::Calls(wanted))
}

/// What both want to do in order, and where they differ.
#[must_use]
pub fn compared<'a>(recorded: &'a [ToolCall], replayed: &'a [ToolCall]) -> Vec<Line<'a>> {
    // How many calls are alike from here on, at most.
    let width = replayed.len() + 1;
    let mut alike = vec![0_usize; (recorded.len() + 1) * width];
    let at = |alike: &[usize], a: usize, b: usize| alike.get(a * width + b).copied().unwrap_or_default();
    for (a, one) in recorded.iter().enumerate().rev() {
        for (b, other) in replayed.iter().enumerate().rev() {
            let most = if one.is_same(other) {
                at(&alike, a + 1, b + 1) + 1
            } else {
                at(&alike, a + 1, b).max(at(&alike, a, b + 1))
            };
            if let Some(place) = alike.get_mut(a * width + b) {
                *place = most;
            }
        }
    }
    let (mut a, mut b, mut lines) = (0, 0, Vec::new());
    loop {
        match (recorded.get(a), replayed.get(b)) {
            (Some(one), Some(other)) if one.is_same(other) => {
                lines.push(Line::Both(one));
                (a, b) = (a + 1, b + 1);
            }
            (Some(one), other) if other.is_none() || at(&alike, a + 1, b) >= at(&alike, a, b + 1) => {
                lines.push(Line::Recorded(one));
                a += 1;
            }
            (_, Some(other)) => {
                lines.push(Line::Replayed(other));
                b += 1;
            }
            _ => return lines,
        }
    }
}

/// What the recording knows of the results of calls.
struct Results<'a> {
    /// Each with whether it was given.
    calls: Vec<(&'a ToolCall, Option<&'a Outcome>, bool)>,
}

impl<'a> Results<'a> {
    fn of(exchange: &'a Exchange) -> Self {
        Self { calls: exchange.calls.iter().map(|(call, outcome)| (call, outcome.as_ref(), false)).collect() }
    }

    /// What a call had for a result when it was made. Each was made once; what only reads may be asked again.
    fn of_call(&mut self, call: &ToolCall) -> Outcome {
        let found = self.calls.iter_mut().filter(|(known, ..)| known.is_same(call));
        let Some((_, outcome, is_used)) =
            found.min_by_key(|(.., is_used)| *is_used).filter(|(.., used)| call.reads() || !*used)
        else {
            return Err(failure("NOT_REPLAYED", "this is a replay: no call is made that was not made before"));
        };
        *is_used = true;
        outcome.cloned().unwrap_or_else(|| Err(failure("NOT_RECORDED", "what came of this call was not kept")))
    }
}

fn failure(reason: &str, message: &str) -> ToolFailure {
    ToolFailure { reason: reason.to_owned(), message: message.to_owned() }
}

/// Whether no model has answered: the user answered a question, or took a turn back.
fn is_own_word(this: &Exchange, before: Option<&Exchange>) -> bool {
    let is_undo =
        matches!(this.calls.as_slice(), [(call, _)] if call.id == undo::call(Uuid::nil()).id && call.name == UNDO);
    let was_asked = before.is_some_and(|before| {
        let waits =
            |outcome: &Option<Outcome>| matches!(outcome, Some(Err(failure)) if failure.reason == APPROVAL_REQUIRED);
        before.calls.iter().any(|(_, outcome)| waits(outcome)) || is_approved(before)
    });
    (is_undo && undo::wanted(&this.said).is_some()) || (was_asked && approval::answers(&this.said))
}

/// Whether an exchange was a yes; it may have ended with another question.
fn is_approved(exchange: &Exchange) -> bool {
    exchange.calls.iter().any(|(call, _)| call.id.ends_with(approval::APPROVED))
}

/// The conversation as it was recorded, as far back as a model reads.
fn history(before: &[Exchange]) -> Vec<Entry> {
    let from = before.len().saturating_sub(EXCHANGES);
    let with_calls = before.len().saturating_sub(WITH_CALLS);
    let mut entries = Vec::new();
    for (number, exchange) in before.iter().enumerate().skip(from) {
        entries.push(Entry::User(exchange.said.clone()));
        if number >= with_calls {
            for (call, outcome) in &exchange.calls {
                entries.push(Entry::Call(call.clone()));
                if let Some(outcome) = outcome.clone() {
                    entries.push(Entry::Result(ToolResult { call_id: call.id.clone(), outcome }));
                }
            }
        }
        entries.push(Entry::Assistant(exchange.answered.clone()));
    }
    entries
}

/// The last turn that changed a task and was not taken back.
fn last_changed(before: &[Exchange]) -> Option<Uuid> {
    let (mut changed, mut undos): (Vec<Uuid>, HashSet<Uuid>) = Default::default();
    for exchange in before {
        let mut has_changed = false;
        for (call, outcome) in &exchange.calls {
            let Some(Ok(result)) = outcome else { continue };
            let tasks = result.get("tasks").and_then(Value::as_array).map_or(0, Vec::len);
            let touches = !call.reads() && (result.get("id").is_some() || tasks > 0);
            if call.name != UNDO {
                has_changed |= touches;
                continue;
            }
            let undone = named_turn(call);
            changed.retain(|turn| Some(*turn) != undone);
            // Taking back an undo is a change; an undo alone goes further back.
            has_changed |= touches && undone.is_some_and(|turn| undos.contains(&turn));
            undos.insert(exchange.turn);
        }
        if has_changed {
            changed.push(exchange.turn);
        }
    }
    changed.pop()
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
