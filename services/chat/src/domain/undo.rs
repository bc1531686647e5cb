//! Taking a turn back because the user says so: which words say that, and what is said then.
//!
//! Like the answer to a question it is read here, and no model has a part in it. What the words mean
//! is one call of one tool, which a model can ask for, too, when the user's words are longer than these.

use std::fmt::Write;

use serde_json::{Value, json};
use uuid::Uuid;

use super::tool::{ToolCall, ToolFailure};

/// The tool that takes back what a turn did.
pub const UNDO: &str = "undo_turn";

/// How many conflicts are told in words.
const TOLD: usize = 10;

/// How much of a value is told in words, in characters.
const SHORT: usize = 60;

/// Which turn the user wants to be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The last one that changed something.
    Last,
    /// This one.
    Turn(Uuid),
}

/// A field that was not taken back, because somebody else wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict<'a> {
    /// The task.
    pub task: &'a str,
    /// Its title; empty when it is gone for good.
    pub title: &'a str,
    /// The field.
    pub field: &'a str,
    /// What the undo would have made of it.
    pub ours: &'a Value,
    /// What it is.
    pub theirs: &'a Value,
}

/// What somebody says who wants this turn to be taken back.
#[must_use]
pub fn words_for(turn: Uuid) -> String {
    format!("Undo turn {turn}")
}

/// The turn that these words, and nothing else in them, ask to take back.
#[must_use]
pub fn wanted(said: &str) -> Option<Wanted> {
    let said = said.to_lowercase().replace('\u{2019}', "'");
    let words: Vec<&str> = said
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|word| !word.is_empty() && *word != "please")
        .collect();
    match words.as_slice() {
        ["undo", "turn", id] => Uuid::try_parse(id).ok().map(Wanted::Turn),
        ["undo" | "revert"]
        | ["undo" | "revert", "it" | "that" | "this"]
        | ["undo" | "revert", "the", "last", "turn" | "change" | "changes" | "one" | "step" | "action"]
        | ["undo" | "revert", "last" | "that" | "the" | "this", "turn" | "change" | "changes" | "step" | "action"]
        | ["undo", "what", "you", "did"]
        | ["undo", "what", "you", "just", "did"]
        | ["take", "it" | "that" | "this", "back"] => Some(Wanted::Last),
        _ => None,
    }
}

/// The call that takes a turn back.
#[must_use]
pub fn call(turn: Uuid) -> ToolCall {
    ToolCall { id: "undo".to_owned(), name: UNDO.to_owned(), arguments: json!({ "turnId": turn.to_string() }) }
}

/// What stays as it is, as the task service says it.
pub fn conflicts(result: &Value) -> impl Iterator<Item = Conflict<'_>> {
    let listed = result.get("conflicts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    listed.iter().filter_map(|conflict| {
        Some(Conflict {
            task: text(conflict, "taskId")?,
            title: text(conflict, "taskTitle").unwrap_or_default(),
            field: text(conflict, "field")?,
            ours: conflict.get("ours").unwrap_or(&Value::Null),
            theirs: conflict.get("theirs").unwrap_or(&Value::Null),
        })
    })
}

/// What the user gets to read after it.
#[must_use]
pub fn told(outcome: &Result<Value, ToolFailure>) -> String {
    match outcome {
        Ok(result) => done(result, false),
        Err(failure) if failure.reason == "CHANGES_NOT_FOUND" => {
            "There is nothing of that to take back: it changed nothing, or it is older than 30 days.".to_owned()
        }
        Err(failure) => format!(
            "That did not work ({}). As far as I know nothing was taken back; say \"undo\" to try again.",
            failure.reason
        ),
    }
}

/// What the user gets to read before it.
#[must_use]
pub fn foretold(result: &Value) -> String {
    done(result, true)
}

fn done(result: &Value, is_preview: bool) -> String {
    let count = result.get("tasks").and_then(Value::as_array).map_or(0, Vec::len);
    let mut said = match (count, is_preview) {
        (0, _) => "Nothing is left to take back.".to_owned(),
        (1, false) => "Taken back: one task is as it was before.".to_owned(),
        (_, false) => format!("Taken back: {count} tasks are as they were before."),
        (1, true) => "One task would be as it was before.".to_owned(),
        (_, true) => format!("{count} tasks would be as they were before."),
    };
    let conflicts: Vec<_> = conflicts(result).collect();
    if conflicts.is_empty() {
        return said;
    }
    let stays = if is_preview { "would stay" } else { "stays" };
    let _ = write!(said, " What was changed since {stays} as it is:");
    for conflict in conflicts.iter().take(TOLD) {
        let _ = write!(said, "\n- {}", line(conflict));
    }
    if conflicts.len() > TOLD {
        let _ = write!(said, "\nand {} more.", conflicts.len() - TOLD);
    }
    said
}

/// One conflict in words.
fn line(conflict: &Conflict<'_>) -> String {
    if conflict.title.is_empty() && conflict.field == "deleted" {
        return format!("the task {} is gone for good", conflict.task);
    }
    let (title, field) = (shown(&Value::from(conflict.title)), conflict.field.replace('_', " "));
    let theirs = shown(conflict.theirs);
    match conflict.ours {
        Value::Null => format!("{title} is not deleted, because its {field} was set to {theirs}"),
        ours => format!("{title}: its {field} is {theirs}, not {} as before", shown(ours)),
    }
}

/// A value in words.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => return "nothing".to_owned(),
        Value::Bool(true) => return "yes".to_owned(),
        Value::Bool(false) => return "no".to_owned(),
        Value::String(text) if text.is_empty() => return "empty".to_owned(),
        value => value.to_string(),
    };
    match text.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_that_say_nothing_else_take_a_turn_back() {
        for said in [
            "undo",
            "Undo!",
            "please undo that",
            "Undo the last change.",
            "take that back",
            "revert it",
            "Undo what you did",
        ] {
            assert_eq!(wanted(said), Some(Wanted::Last), "{said}");
        }
        let turn = Uuid::from_u128(7);
        assert_eq!(wanted(&words_for(turn)), Some(Wanted::Turn(turn)));
        for said in [
            "",
            "undo the milk",
            "don't undo",
            "undo turn",
            "undo turn x",
            "undo and delete everything",
            "undo all of it",
        ] {
            assert_eq!(wanted(said), None, "{said}");
        }
    }

    #[test]
    fn what_was_changed_since_is_told_task_by_task_and_field_by_field() {
        let result = json!({
            "tasks": [{"id": "a"}, {"id": "b"}],
            "conflicts": [
                {"taskId": "c", "taskTitle": "oat milk", "field": "title", "ours": "milk", "theirs": "oat milk"},
                {"taskId": "d", "taskTitle": "bread", "field": "completed", "ours": null, "theirs": true},
                {"taskId": "e", "field": "deleted", "ours": false, "theirs": true},
            ],
        });
        let expected = "Taken back: 2 tasks are as they were before. What was changed since stays as it is:\n\
                        - \"oat milk\": its title is \"oat milk\", not \"milk\" as before\n\
                        - \"bread\" is not deleted, because its completed was set to yes\n\
                        - the task e is gone for good";
        assert_eq!(told(&Ok(result.clone())), expected);
        assert!(
            foretold(&result).starts_with("2 tasks would be as they were before. What was changed since would stay")
        );
        assert_eq!(told(&Ok(json!({}))), "Nothing is left to take back.");
    }

    #[test]
    fn what_can_not_be_taken_back_says_so() {
        let failed = |reason: &str| told(&Err(ToolFailure { reason: reason.into(), message: String::new() }));
        assert!(failed("CHANGES_NOT_FOUND").starts_with("There is nothing of that to take back"));
        assert!(failed("UNAVAILABLE").contains("UNAVAILABLE"));
    }

    #[test]
    fn many_and_long_conflicts_are_cut() {
        let conflict = json!({"taskId": "c", "taskTitle": "t".repeat(200), "field": "title", "ours": "x", "theirs": "y".repeat(900)});
        let told = told(&Ok(json!({"tasks": [], "conflicts": vec![conflict; 25]})));
        assert!(told.ends_with("\nand 15 more."), "{told}");
        assert!(told.len() < 3_000, "{}", told.len());
    }
}
