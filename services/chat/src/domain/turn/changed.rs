//! What a turn has done to the user's tasks, as its events say it.

use serde_json::Value;
use uuid::Uuid;

use super::{
    super::{policy, tool::ToolCall, undo::UNDO},
    Event, runs, tasks,
};

/// Whether one of the newest events, from this step on, says that a task was changed. Taking back what
/// a turn did does not count: to undo once more is to go further back. Taking that back counts.
#[must_use]
pub fn has_changed(events: &[Event], from: usize) -> bool {
    let redoes = matches!(events.get(1), Some(Event::Undoing { redoes: true, .. }));
    successes(events, from).any(|(call, result)| {
        !call.reads() && (call.name != UNDO || redoes) && (result.get("id").is_some() || tasks(result) > 0)
    })
}

/// How many tasks the calls of a turn say they have changed.
pub(super) fn count(events: &[Event]) -> usize {
    let changed = successes(events, 0).filter(|(call, _)| !call.reads());
    changed.map(|(_, result)| if result.get("id").is_some() { 1 } else { tasks(result) }).sum()
}

/// The turn that one of the newest events, from this step on, says was taken back.
#[must_use]
pub fn undone(events: &[Event], from: usize) -> Option<Uuid> {
    successes(events, from).filter(|(call, _)| call.name == UNDO).find_map(|(call, _)| policy::named_turn(call))
}

/// The calls that the newest events, from this step on, say have succeeded.
fn successes(events: &[Event], from: usize) -> impl Iterator<Item = (&ToolCall, &Value)> {
    let runs = runs(events);
    events.iter().skip(from).filter_map(move |event| match event {
        Event::ToolFinished { call_id, outcome: Ok(result) } => {
            runs.iter().rev().find(|run| run.call.id == *call_id).map(|run| (run.call, result))
        }
        _ => None,
    })
}
