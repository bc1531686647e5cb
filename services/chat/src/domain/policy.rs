//! Which tool calls run by themselves.
//!
//! Reads do. So does a write of a few tasks, which can be undone; but no turn changes more than
//! [`MOST_TASKS`] tasks or takes away more than one by itself: a call that goes beyond that waits for
//! the user's word, and so does one beyond [`MOST_WRITES`], however few tasks they are of. Taking back what the last turn did runs when the user's own words ask for it, and
//! only then. This does not trust the model: it counts what the calls touch. A call is judged whole,
//! so that nothing is left half done.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{
    rules::{Rule, Rules},
    tool::{APPROVAL_REQUIRED, ToolCall, ToolFailure},
};

/// How many tasks one turn may change by itself.
pub const MOST_TASKS: usize = 5;

/// How many writes of a task one turn may make by itself.
pub const MOST_WRITES: usize = MOST_TASKS;

/// How many tasks one turn may take away by itself.
pub const MOST_TAKEN_AWAY: usize = 1;

/// What a tool can do to the user's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing.
    Read,
    /// Makes or changes tasks.
    Write,
    /// Takes tasks away.
    Destructive,
    /// Takes back what a turn did.
    Undo,
}

/// A call that the model asked for, and whether it may run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The call.
    pub call: ToolCall,
    /// Why it may not run; nothing when it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<ToolFailure>,
    /// Whether it waits for the user's word.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
}

/// What a call would touch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// The task of this id.
    Task(String),
    /// A task that the call of this id makes, or that it does not name.
    Unnamed(String, usize),
}

/// What may happen to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Runs,
    Waits,
}

/// Judges the calls of one answer of the model, after those that were judged before in the turn.
/// `undoable` is the turn that the user asked to take back.
#[must_use]
pub fn judge(
    before: &[&Judged],
    calls: Vec<ToolCall>,
    undoable: Option<Uuid>,
    classify: impl Fn(&str) -> Option<Class>,
) -> Vec<Judged> {
    let allowed =
        || before.iter().filter(|judged| judged.refusal.is_none() && !judged.waits).map(|judged| &judged.call);
    let is_change = |class: Class| matches!(class, Class::Write | Class::Destructive);
    let is_removal = |class: Class| class == Class::Destructive;
    let is_undo = |call: &ToolCall| classify(&call.name) == Some(Class::Undo);
    let changed = targets(allowed(), &classify, is_change);
    let removed = targets(allowed(), &classify, is_removal);
    let too_many_changes = changed.union(&targets(&calls, &classify, is_change)).count() > MOST_TASKS;
    // The same few tasks written over and over are many writes, too.
    let writes = |calls: &mut dyn Iterator<Item = &ToolCall>| -> usize {
        calls.filter(|call| classify(&call.name).is_some_and(is_change)).map(|call| touched(call).len()).sum()
    };
    let too_many_writes = writes(&mut allowed()) + writes(&mut calls.iter()) > MOST_WRITES;
    let too_many_removals = removed.union(&targets(&calls, &classify, is_removal)).count() > MOST_TAKEN_AWAY;
    let verdict = |call: &ToolCall, class: Class| {
        let touched = touched(call);
        match class {
            Class::Destructive if too_many_removals && !touched.is_subset(&removed) => Verdict::Waits,
            Class::Write | Class::Destructive if too_many_changes && !touched.is_subset(&changed) => Verdict::Waits,
            Class::Write | Class::Destructive if too_many_writes => Verdict::Waits,
            _ => Verdict::Runs,
        }
    };
    let waiting = |call: &&ToolCall| classify(&call.name).is_some_and(|class| verdict(call, class) == Verdict::Waits);
    // One question a turn: several calls would be several.
    let asks_once = calls.iter().filter(waiting).count() == 1 && !before.iter().any(|judged| judged.waits);
    let undoes_alone = allowed().all(|call| classify(&call.name) == Some(Class::Read))
        && calls.iter().filter(|call| classify(&call.name) != Some(Class::Read)).count() == 1;
    let outcomes: Vec<_> = calls
        .iter()
        .map(|call| match classify(&call.name) {
            None => (Some(unknown(&call.name)), false),
            Some(_) if is_undo(call) => {
                let asked_for = undoable.is_some_and(|turn| named_turn(call) == Some(turn));
                if asked_for && undoes_alone { (None, false) } else { (Some(not_asked_for()), false) }
            }
            Some(class) => match verdict(call, class) {
                Verdict::Runs => (None, false),
                Verdict::Waits if asks_once => (None, true),
                Verdict::Waits => (Some(needs_approval()), false),
            },
        })
        .collect();
    calls.into_iter().zip(outcomes).map(|(call, (refusal, waits))| Judged { call, refusal, waits }).collect()
}

/// Makes what was judged stricter, where the rules for a tool say so.
#[must_use]
pub fn restrict(
    before: &[&Judged],
    judged: Vec<Judged>,
    rules: &Rules,
    classify: impl Fn(&str) -> Option<Class>,
) -> Vec<Judged> {
    let would_wait = |judged: &Judged| judged.waits || is_asked_for(judged, rules);
    let asks_once =
        judged.iter().filter(|judged| would_wait(judged)).count() == 1 && !before.iter().any(|judged| judged.waits);
    let stricter = |judged: Judged| match rules.rule(&judged.call.name) {
        Rule::Deny if classify(&judged.call.name).is_some() => {
            Judged { refusal: Some(denied(&judged.call.name)), waits: false, ..judged }
        }
        Rule::Approve if is_asked_for(&judged, rules) && asks_once => Judged { waits: true, ..judged },
        Rule::Approve if is_asked_for(&judged, rules) => Judged { refusal: Some(needs_approval()), ..judged },
        _ => judged,
    };
    judged.into_iter().map(stricter).collect()
}

/// Whether a call would run, but for a rule that wants the user to be asked.
fn is_asked_for(judged: &Judged, rules: &Rules) -> bool {
    judged.refusal.is_none() && !judged.waits && rules.rule(&judged.call.name) == Rule::Approve
}

/// What a call is answered with while it waits for the user's word.
#[must_use]
pub fn waiting() -> ToolFailure {
    ToolFailure {
        reason: APPROVAL_REQUIRED.to_owned(),
        message: "the user is asked first; nothing was done yet".to_owned(),
    }
}

fn targets<'a>(
    calls: impl IntoIterator<Item = &'a ToolCall>,
    classify: impl Fn(&str) -> Option<Class>,
    counts: impl Fn(Class) -> bool,
) -> BTreeSet<Target> {
    calls.into_iter().filter(|call| classify(&call.name).is_some_and(&counts)).flat_map(touched).collect()
}

/// What one call touches: each task that it names, and one for each that it does not.
fn touched(call: &ToolCall) -> BTreeSet<Target> {
    let target = |(index, item): (usize, &Value)| match task_id(item) {
        // Ids are lower case; an id in another spelling is refused by the task service.
        Some(id) => Target::Task(id.to_owned()),
        None => Target::Unnamed(call.id.clone(), index),
    };
    match call.arguments.get("requests") {
        Some(Value::Array(items)) => items.iter().enumerate().map(target).collect(),
        _ => BTreeSet::from([target((0, &call.arguments))]),
    }
}

/// The id of the task that a request names.
#[must_use]
pub fn task_id(request: &Value) -> Option<&str> {
    let named = ["taskId", "task_id"].iter().find_map(|key| request.get(key));
    named.or_else(|| request.get("task")?.get("id")).and_then(Value::as_str).filter(|id| !id.is_empty())
}

/// The turn that a call names, when it names nothing else.
#[must_use]
pub fn named_turn(call: &ToolCall) -> Option<Uuid> {
    let fields = call.arguments.as_object().filter(|fields| fields.len() == 1)?;
    let id = ["turnId", "turn_id"].iter().find_map(|key| fields.get(*key))?.as_str()?;
    Uuid::try_parse(id).ok()
}

fn unknown(name: &str) -> ToolFailure {
    // The name is the model's: it is cut, and never taken for more than data.
    let name: String = name.chars().take(64).collect();
    ToolFailure { reason: "TOOL_UNKNOWN".to_owned(), message: format!("there is no tool {name:?}") }
}

fn denied(tool: &str) -> ToolFailure {
    ToolFailure {
        reason: "TOOL_DENIED".to_owned(),
        message: format!("{tool} may not be used here; the user's or the operator's settings say so"),
    }
}

fn needs_approval() -> ToolFailure {
    ToolFailure {
        reason: APPROVAL_REQUIRED.to_owned(),
        message: format!(
            "without the user's approval one turn may change at most {MOST_TASKS} tasks and delete at most one; none of \
             these calls was made. Make it one call for all of these tasks, then the user is asked"
        ),
    }
}

fn not_asked_for() -> ToolFailure {
    ToolFailure {
        reason: APPROVAL_REQUIRED.to_owned(),
        message:
            "only the last turn that changed something can be taken back, by itself, and when the user asks for it"
                .to_owned(),
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
