//! A turn: from what the user said to what the assistant answers, as a pure state machine.
//!
//! A turn is nothing but its events. [`next`] reads them and says what to do; whoever does it stores
//! the event that comes of it and asks again. So a turn can stop anywhere and go on later, in
//! another process, and nothing that was stored is done twice. What a turn costs is bounded: rounds
//! of the model, calls a round, calls that are made again, the length of the answer.

mod changed;
mod repeats;
mod words;

use std::borrow::Cow;

use errand_changelog::Seq;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    approval::{After, Approval, DECLINED, EXPIRED, GONE, Verdict},
    fault::Fault,
    policy::{self, Class, Judged},
    rules::Rules,
    tool::{ToolCall, ToolFailure},
    undo,
    usage::Usage,
};

use words::{NOTHING_SAID, stopped};

pub use changed::{has_changed, undone};
pub use words::{LONGEST_REPLY, replied, said};

/// How often the model is asked in one turn.
pub const MOST_ROUNDS: usize = 8;

/// How many calls of one answer of the model are looked at; the rest is dropped.
pub const MOST_CALLS: usize = 16;

/// The longest id or name of a call that is taken from the model, in bytes.
const LONGEST_NAME: usize = 64;

/// Arguments up to this weight are always taken from the model; every task fits.
const LIGHT_ARGUMENTS: usize = 16 * 1024;

/// How much heavier arguments may weigh in one turn, together; a thousand short tasks fit.
const HEAVIEST_ARGUMENTS: usize = 256 * 1024;

/// A result up to this weight is always kept.
const LIGHT_RESULT: usize = 16 * 1024;

/// How much heavier results may weigh in one turn, together.
const HEAVIEST_RESULTS: usize = 4 * 1024 * 1024;

/// How many conflicts of a heavy undo are kept.
const MOST_CONFLICTS: usize = 100;

const TOO_MANY_ROUNDS: &str =
    "I stopped here, because this took more steps than I may take at once. Tell me if I should go on.";

/// A turn as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Its id.
    pub id: Uuid,
    /// The conversation that it belongs to.
    pub conversation: Uuid,
    /// When the user spoke: "today" is read by this, however much later the turn goes on.
    pub started: Timestamp,
    /// Whether the user wants it to stop.
    pub is_cancelled: bool,
    /// How far the log of its owner went when this was read.
    pub head: Seq,
    /// What happened so far; the place in this list is the event's step.
    pub events: Vec<Event>,
}

/// Something that happened in a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The user spoke.
    Started {
        /// The user's message.
        message: Uuid,
        /// The IANA time zone to read days and times in.
        time_zone: String,
    },
    /// The model answered.
    ModelAnswered(Answer),
    /// What the answer before it has cost.
    Spent(Usage),
    /// A call was carried out, or refused.
    ToolFinished {
        /// Which one.
        call_id: String,
        /// What came of it.
        outcome: Result<Value, ToolFailure>,
    },
    /// The user is asked before a call runs.
    ApprovalRequested(Approval),
    /// The user's words were the answer to what an earlier turn asked.
    Answered {
        /// The turn that asked.
        asked_in: Uuid,
        /// The answer.
        verdict: Verdict,
    },
    /// The user's words were the wish to take a turn back.
    Undoing {
        /// The call that does it.
        call: ToolCall,
        /// Whether that turn was itself one that took something back.
        redoes: bool,
    },
    /// The user stopped the turn.
    Cancelled,
    /// The assistant answered the user. The turn is over.
    Replied {
        /// The assistant's message.
        message: Uuid,
        /// What it says.
        text: String,
        /// What the whole turn has cost; nothing when no model that costs something was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
    /// The model gave no answer. The turn is over.
    Failed {
        /// Why, for developers.
        reason: String,
        /// What kind of failure it is, for clients.
        #[serde(default)]
        fault: Fault,
    },
}

/// What the model answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Words for the user.
    Text(String),
    /// Calls, each judged.
    Calls(Vec<Judged>),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action<'a> {
    /// Ask the model.
    AskModel,
    /// Carry out a call. The step names it to the peer: however often it is tried, it has one effect.
    CallTool {
        /// The call.
        call: &'a ToolCall,
        /// The step of which its outcome will be the event; that of the first try, where nobody knows what came of that.
        step: usize,
    },
    /// Answer a call without carrying it out.
    Refuse {
        /// Which one.
        call_id: &'a str,
        /// Why.
        failure: &'a ToolFailure,
    },
    /// Bind a call to what it touches now, and ask the user.
    Prepare {
        /// The call.
        call: &'a ToolCall,
        /// Whether the user was asked before, and something has changed since.
        is_again: bool,
    },
    /// Answer the user.
    Reply(Cow<'a, str>),
    /// Nothing: the turn is over, or never began.
    Stop,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending<'a> {
    /// With this answer.
    Replied(&'a str),
    /// Without one, for this reason.
    Failed(&'a str, Fault),
}

/// One call of a turn and what came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run<'a> {
    /// The call.
    pub call: &'a ToolCall,
    /// What came of it; nothing yet when the turn stands before it.
    pub outcome: Option<&'a Result<Value, ToolFailure>>,
}

/// Says what to do after these events.
#[must_use]
pub fn next(events: &[Event]) -> Action<'_> {
    if !matches!(events.first(), Some(Event::Started { .. })) || ending(events).is_some() {
        return Action::Stop;
    }
    match events.iter().rev().find(|event| matches!(event, Event::Cancelled | Event::ApprovalRequested(_))) {
        Some(Event::Cancelled) => return Action::Reply(stopped(events).into()),
        Some(Event::ApprovalRequested(approval)) => return Action::Reply(approval.preview.as_str().into()),
        _ => {}
    }
    match events.get(1) {
        Some(Event::Answered { verdict, .. }) => return answered(verdict, events),
        Some(Event::Undoing { call, .. }) => {
            return match outcomes(events, &call.id).next() {
                None => Action::CallTool { call, step: events.len() },
                Some(outcome) => Action::Reply(undo::told(outcome).into()),
            };
        }
        _ => {}
    }
    let rounds = events.iter().filter(|event| matches!(event, Event::ModelAnswered(_))).count();
    let last = events.iter().rposition(|event| matches!(event, Event::ModelAnswered(_)));
    let (answer, finished) = match last.and_then(|at| Some((events.get(at)?, events.get(at + 1..)?))) {
        Some((Event::ModelAnswered(answer), finished)) => (answer, finished),
        _ => return Action::AskModel,
    };
    match answer {
        Answer::Text(text) => Action::Reply(text.as_str().into()),
        Answer::Calls(calls) if calls.is_empty() => Action::Reply(NOTHING_SAID.into()),
        Answer::Calls(calls) => {
            let mut open = calls.iter().filter(|judged| outcomes(finished, &judged.call.id).next().is_none());
            // What waits for the user comes last: it ends the turn.
            match open.clone().find(|judged| !judged.waits).or_else(|| open.next()) {
                Some(Judged { call, refusal: Some(failure), .. }) => Action::Refuse { call_id: &call.id, failure },
                Some(Judged { call, waits: true, .. }) => Action::Prepare { call, is_again: false },
                Some(Judged { call, .. }) => Action::CallTool { call, step: repeats::step(events, call, finished) },
                None if repeats::goes_on(events) => Action::Reply(repeats::told(events).into()),
                None if rounds < MOST_ROUNDS => Action::AskModel,
                None => Action::Reply(TOO_MANY_ROUNDS.into()),
            }
        }
    }
}

/// What to do in a turn that began with the answer to a question.
fn answered<'a>(verdict: &'a Verdict, events: &'a [Event]) -> Action<'a> {
    let approval = match verdict {
        Verdict::Approved(approval) => approval,
        Verdict::Declined => return Action::Reply(DECLINED.into()),
        Verdict::Expired => return Action::Reply(EXPIRED.into()),
    };
    let call = &approval.call;
    let mut outcomes = outcomes(events, &call.id);
    match (outcomes.next(), outcomes.next()) {
        (None, _) => Action::CallTool { call, step: events.len() },
        (Some(outcome), None) => match approval.after(outcome) {
            After::Say(text) => Action::Reply(text.into()),
            After::AskAgain => Action::Prepare { call, is_again: true },
        },
        // It could not be asked again.
        (Some(_), Some(_)) => Action::Reply(GONE.into()),
    }
}

/// How the turn of these events ended, if it did.
#[must_use]
pub fn ending(events: &[Event]) -> Option<Ending<'_>> {
    events.iter().rev().find_map(|event| match event {
        Event::Replied { text, .. } => Some(Ending::Replied(text)),
        Event::Failed { reason, fault } => Some(Ending::Failed(reason, *fault)),
        _ => None,
    })
}

/// The calls of these events, in order.
#[must_use]
pub fn runs(events: &[Event]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for event in events {
        match event {
            Event::ModelAnswered(Answer::Calls(calls)) => {
                runs.extend(calls.iter().map(|judged| Run { call: &judged.call, outcome: None }));
            }
            Event::Answered { verdict: Verdict::Approved(approval), .. } => {
                runs.push(Run { call: &approval.call, outcome: None });
            }
            Event::Undoing { call, .. } => runs.push(Run { call, outcome: None }),
            Event::ToolFinished { call_id, outcome } => {
                if let Some(run) = runs.iter_mut().find(|run| run.outcome.is_none() && run.call.id == *call_id) {
                    run.outcome = Some(outcome);
                }
            }
            _ => {}
        }
    }
    runs
}

/// The event of calls that the model asks for: bounded, each with an id of its own, each judged.
/// `undoable` is the turn that the user asked to take back.
#[must_use]
pub fn asked(
    events: &[Event],
    mut calls: Vec<ToolCall>,
    undoable: Option<Uuid>,
    classify: impl Fn(&str) -> Option<Class>,
) -> Event {
    calls.truncate(MOST_CALLS);
    let before: Vec<&Judged> = events.iter().flat_map(judged).collect();
    let mut taken: Vec<String> = before.iter().map(|judged| judged.call.id.clone()).collect();
    let heavy = |call: &ToolCall| weight(&call.arguments).saturating_sub(LIGHT_ARGUMENTS);
    let mut taken_on: usize = before.iter().map(|judged| heavy(&judged.call)).sum();
    for (index, call) in calls.iter_mut().enumerate() {
        if call.id.is_empty() || call.id.len() > LONGEST_NAME || taken.contains(&call.id) {
            call.id = format!("call-{}-{index}", events.len());
            while taken.contains(&call.id) {
                call.id.push('+');
            }
        }
        taken.push(call.id.clone());
        if call.name.len() > LONGEST_NAME {
            call.name = "…".to_owned();
        }
        taken_on += heavy(call);
        if taken_on > HEAVIEST_ARGUMENTS {
            // No tool takes that: the model is told that its arguments are wrong.
            taken_on -= heavy(call);
            call.arguments = Value::Null;
        }
    }
    // What was surely not done leaves room for another try, and what is not done again takes none.
    let runs = runs(events);
    let is_undone = |judged: &Judged| runs.iter().any(|run| run.call.id == judged.call.id && run.is_undone());
    let counted: Vec<&Judged> = before.iter().copied().filter(|judged| judged.waits || !is_undone(judged)).collect();
    let again: Vec<_> = calls.iter().map(|call| repeats::refusal(&runs, call)).collect();
    let new = calls.iter().zip(&again).filter(|(_, refusal)| refusal.is_none()).map(|(call, _)| call.clone()).collect();
    let mut judged = policy::judge(&counted, new, undoable, classify).into_iter();
    let of = |(call, refusal): (ToolCall, Option<ToolFailure>)| match refusal {
        None => judged.next(),
        refusal => Some(Judged { call, refusal, waits: false }),
    };
    Event::ModelAnswered(Answer::Calls(calls.into_iter().zip(again).filter_map(of).collect()))
}

/// The same event, where the rules for a tool make the verdict on it stricter.
#[must_use]
pub fn restricted(events: &[Event], event: Event, rules: &Rules, classify: impl Fn(&str) -> Option<Class>) -> Event {
    match event {
        Event::ModelAnswered(Answer::Calls(calls)) => {
            let before: Vec<&Judged> = events.iter().flat_map(judged).collect();
            Event::ModelAnswered(Answer::Calls(policy::restrict(&before, calls, rules, classify)))
        }
        event => event,
    }
}

/// The event of a call that was carried out. Heavy results are kept until they are too many; of what
/// a heavy write answered, the ids always are.
#[must_use]
pub fn finished(events: &[Event], call_id: &str, outcome: Result<Value, ToolFailure>) -> Event {
    let heavy = |outcome: &Result<Value, ToolFailure>| outcome.as_ref().map_or(0, weight).saturating_sub(LIGHT_RESULT);
    let runs = runs(events);
    let kept: usize = runs.iter().filter_map(|run| run.outcome).map(heavy).sum();
    let this = heavy(&outcome);
    let reads = runs.iter().rev().find(|run| run.call.id == call_id).is_none_or(|run| run.call.reads());
    let outcome = match outcome {
        Ok(_) if this > 0 && kept + this > HEAVIEST_RESULTS && reads => Err(ToolFailure {
            reason: "MESSAGE_TOO_LARGE".to_owned(),
            message: "the results of this turn are too large; ask for less".to_owned(),
        }),
        Ok(result) if this > 0 && kept + this > HEAVIEST_RESULTS => Ok(ids_only(&result)),
        outcome => outcome,
    };
    Event::ToolFinished { call_id: call_id.to_owned(), outcome }
}

/// How many tasks a result lists.
fn tasks(result: &Value) -> usize {
    result.get("tasks").and_then(Value::as_array).map_or(0, Vec::len)
}

fn ids_only(result: &Value) -> Value {
    let tasks = result.get("tasks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let ids: Vec<Value> = tasks.iter().filter_map(|task| Some(json!({ "id": task.get("id")? }))).collect();
    match result.get("conflicts").and_then(Value::as_array) {
        // What an undo left as it is, unless that is what is heavy.
        Some(conflicts) => {
            json!({ "tasks": ids, "conflicts": conflicts.iter().take(MOST_CONFLICTS).collect::<Vec<_>>() })
        }
        None => json!({ "tasks": ids }),
    }
}

/// About how many bytes a value takes when it is stored or sent.
#[must_use]
pub fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 12,
        Value::String(text) => 8 + text.len(),
        Value::Array(items) => 8 + items.iter().map(weight).sum::<usize>(),
        Value::Object(fields) => 8 + fields.iter().map(|(key, value)| 8 + key.len() + weight(value)).sum::<usize>(),
    }
}

fn judged(event: &Event) -> &[Judged] {
    match event {
        Event::ModelAnswered(Answer::Calls(calls)) => calls,
        _ => &[],
    }
}

fn outcomes<'a>(events: &'a [Event], id: &str) -> impl Iterator<Item = &'a Result<Value, ToolFailure>> {
    events.iter().filter_map(move |event| match event {
        Event::ToolFinished { call_id, outcome } if call_id == id => Some(outcome),
        _ => None,
    })
}

// === impl Run ===

impl Run<'_> {
    /// Whether the call was made and surely did nothing: its peer refused it for what it asked.
    fn is_undone(&self) -> bool {
        matches!(self.outcome, Some(Err(_))) && !self.is_in_doubt()
    }

    /// Whether the call has failed in a way that does not say whether it was done.
    fn is_in_doubt(&self) -> bool {
        const IN_DOUBT: [&str; 5] =
            ["OUTCOME_UNKNOWN", "DEADLINE_EXCEEDED", "UNAVAILABLE", "INTERNAL", "MESSAGE_TOO_LARGE"];
        matches!(self.outcome, Some(Err(failure)) if IN_DOUBT.contains(&failure.reason.as_str()))
    }
}

// === impl Turn ===

impl Turn {
    /// The IANA time zone that the turn is read in.
    #[must_use]
    pub fn time_zone(&self) -> &str {
        match self.events.first() {
            Some(Event::Started { time_zone, .. }) => time_zone,
            _ => "UTC",
        }
    }
}

// === impl Event ===

impl Event {
    /// The kind of change that the event is in the log.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Event::Started { .. } => "turn_started",
            Event::ModelAnswered(_) => "model_answered",
            Event::ToolFinished { .. } => "tool_finished",
            Event::ApprovalRequested(_) => "approval_requested",
            Event::Answered { .. } => "approval_answered",
            Event::Undoing { .. } => "undo_requested",
            Event::Cancelled => "turn_cancelled",
            Event::Replied { .. } => "turn_replied",
            Event::Failed { .. } => "turn_failed",
            Event::Spent(_) => "tokens_spent",
        }
    }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
