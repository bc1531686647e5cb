//! Which tool calls run by themselves.
//!
//! Reads do. So does a write of a single task, which can be undone; but no turn changes more than
//! [`MOST_TASKS`] tasks or takes away more than one: what goes beyond that would need the user's
//! word, and until there is a way to ask for it, it is refused. This does not trust the model: it
//! counts what the calls touch. A batch is judged whole, so that nothing is left half done.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tool::{ToolCall, ToolFailure};

/// How many tasks one turn may change.
pub const MOST_TASKS: usize = 5;

/// How many tasks one turn may take away.
pub const MOST_TAKEN_AWAY: usize = 1;

/// What a tool can do to the user's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing.
    Read,
    /// Makes or changes one task.
    Write,
    /// Takes a task away.
    Destructive,
}

/// A call that the model asked for, and whether it may run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The call.
    pub call: ToolCall,
    /// Why it may not run; nothing when it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<ToolFailure>,
}

/// What a call would touch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// The task of this id.
    Task(String),
    /// A task that the call of this id makes, or that it does not name.
    Unnamed(String),
}

/// Judges the calls of one answer of the model, after those that were judged before in the turn.
#[must_use]
pub fn judge(before: &[&Judged], calls: Vec<ToolCall>, classify: impl Fn(&str) -> Option<Class>) -> Vec<Judged> {
    let allowed: Vec<&ToolCall> =
        before.iter().filter(|judged| judged.refusal.is_none()).map(|judged| &judged.call).collect();
    let is_change = |class: Class| class != Class::Read;
    let is_removal = |class: Class| class == Class::Destructive;
    let changed = targets(&allowed, &classify, is_change);
    let removed = targets(&allowed, &classify, is_removal);
    let asked: Vec<&ToolCall> = calls.iter().collect();
    let too_many_changes = changed.union(&targets(&asked, &classify, is_change)).count() > MOST_TASKS;
    let too_many_removals = removed.union(&targets(&asked, &classify, is_removal)).count() > MOST_TAKEN_AWAY;
    calls
        .into_iter()
        .map(|call| {
            let target = target(&call);
            let refusal = match classify(&call.name) {
                None => Some(unknown(&call.name)),
                Some(Class::Destructive) if too_many_removals && !removed.contains(&target) => Some(needs_approval()),
                Some(Class::Write | Class::Destructive) if too_many_changes && !changed.contains(&target) => {
                    Some(needs_approval())
                }
                Some(_) => None,
            };
            Judged { call, refusal }
        })
        .collect()
}

fn targets(
    calls: &[&ToolCall],
    classify: impl Fn(&str) -> Option<Class>,
    counts: impl Fn(Class) -> bool,
) -> BTreeSet<Target> {
    calls.iter().filter(|call| classify(&call.name).is_some_and(&counts)).map(|call| target(call)).collect()
}

fn target(call: &ToolCall) -> Target {
    let named = ["taskId", "task_id"].iter().find_map(|key| call.arguments.get(key));
    let id = named.or_else(|| call.arguments.get("task")?.get("id")).and_then(Value::as_str);
    match id {
        // Ids are lower case; an id in another spelling is refused by the task service.
        Some(id) if !id.is_empty() => Target::Task(id.to_owned()),
        _ => Target::Unnamed(call.id.clone()),
    }
}

fn unknown(name: &str) -> ToolFailure {
    // The name is the model's: it is cut, and never taken for more than data.
    let name: String = name.chars().take(64).collect();
    ToolFailure { reason: "TOOL_UNKNOWN".to_owned(), message: format!("there is no tool {name:?}") }
}

fn needs_approval() -> ToolFailure {
    ToolFailure {
        reason: "APPROVAL_REQUIRED".to_owned(),
        message: format!(
            "without the user's approval one turn may change at most {MOST_TASKS} tasks and delete at most one; none of these calls was made"
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn classify(name: &str) -> Option<Class> {
        match name {
            "list_tasks" => Some(Class::Read),
            "add_task" | "update_task" | "complete_task" => Some(Class::Write),
            "delete_task" => Some(Class::Destructive),
            _ => None,
        }
    }

    fn call(id: usize, name: &str, task: &str) -> ToolCall {
        let arguments = match name {
            "add_task" => json!({"task": {"title": "a"}}),
            "update_task" => json!({"task": {"id": task}}),
            _ => json!({"taskId": task}),
        };
        ToolCall { id: id.to_string(), name: name.to_owned(), arguments }
    }

    fn verdicts(before: &[Judged], calls: Vec<ToolCall>) -> Vec<Option<String>> {
        let before: Vec<&Judged> = before.iter().collect();
        judge(&before, calls, classify).into_iter().map(|judged| judged.refusal.map(|refusal| refusal.reason)).collect()
    }

    fn denied() -> Option<String> {
        Some("APPROVAL_REQUIRED".to_owned())
    }

    #[test]
    fn a_read_and_a_single_write_run_by_themselves() {
        let calls = vec![call(0, "list_tasks", ""), call(1, "update_task", "a"), call(2, "delete_task", "b")];
        assert_eq!(verdicts(&[], calls), [None, None, None]);
    }

    #[test]
    fn r_122_deleting_two_tasks_is_refused_whole() {
        let calls = vec![call(0, "delete_task", "a"), call(1, "list_tasks", ""), call(2, "delete_task", "b")];
        assert_eq!(verdicts(&[], calls), [denied(), None, denied()]);
    }

    #[test]
    fn r_122_deleting_another_task_later_in_the_turn_is_refused() {
        let before = judge(&[], vec![call(0, "delete_task", "a")], classify);
        assert_eq!(verdicts(&before, vec![call(1, "delete_task", "b")]), [denied()]);
        assert_eq!(verdicts(&before, vec![call(1, "delete_task", "a")]), [None], "the same one may be tried again");
        assert_eq!(verdicts(&before, vec![call(1, "complete_task", "b")]), [None]);
    }

    #[test]
    fn r_122_a_sixth_task_is_not_changed() {
        let calls = |count: usize| (0..count).map(|n| call(n, "add_task", "")).collect::<Vec<_>>();
        assert_eq!(verdicts(&[], calls(5)), vec![None; 5]);
        assert_eq!(verdicts(&[], calls(6)), vec![denied(); 6]);
        let before = judge(&[], calls(5), classify);
        assert_eq!(verdicts(&before, vec![call(9, "complete_task", "x")]), [denied()]);
    }

    #[test]
    fn r_120_an_unknown_tool_is_refused() {
        assert_eq!(verdicts(&[], vec![call(0, "rm -rf", "a")]), [Some("TOOL_UNKNOWN".to_owned())]);
    }

    proptest! {
        #[test]
        fn r_122_no_turn_goes_beyond_the_limits_whatever_the_model_asks(
            rounds in prop::collection::vec(prop::collection::vec((0..5usize, 0..9u8), 0..12), 0..8),
        ) {
            let names = ["list_tasks", "add_task", "update_task", "delete_task", "nonsense"];
            let mut before: Vec<Judged> = Vec::new();
            let mut id = 0;
            for round in rounds {
                let calls = round.into_iter().map(|(name, task)| { id += 1; call(id, names[name], &task.to_string()) }).collect();
                let judged = judge(&before.iter().collect::<Vec<_>>(), calls, classify);
                before.extend(judged);
            }
            let run: Vec<&ToolCall> = before.iter().filter(|j| j.refusal.is_none()).map(|j| &j.call).collect();
            prop_assert!(targets(&run, classify, |class| class != Class::Read).len() <= MOST_TASKS);
            prop_assert!(targets(&run, classify, |class| class == Class::Destructive).len() <= MOST_TAKEN_AWAY);
        }
    }
}
