//! What the planner says about several tasks at once.

use jiff::{Timestamp, Zoned};
use serde_json::Value;

use super::{CONFIRM, count, moment, numbered, quoted};
use crate::model::planner::context::Done;
use crate::model::planner::intent::{Change, Draft};
use crate::model::planner::targets::Task;

/// Whether a list was too long to be shown whole.
pub(in super::super) fn is_cut(reply: &str) -> bool {
    reply.lines().last().is_some_and(|line| line.starts_with("and ") && line.ends_with(" more."))
}

/// Asks before making several tasks.
pub(in super::super) fn confirm_add_several(drafts: &[Draft], due: Option<Timestamp>, now: &Zoned) -> String {
    let due = due.map(|due| format!(" (due {})", moment(due, now))).unwrap_or_default();
    let titles: Vec<String> = drafts.iter().filter_map(|draft| draft.title.as_deref()).map(quoted).collect();
    format!("{CONFIRM}add {}: {}{due}?", count(drafts.len(), ""), titles.join(", "))
}

/// Asks before changing several tasks.
pub(in super::super) fn confirm_several(change: &Change, tasks: &[&Task], now: &Zoned) -> String {
    let what = match change {
        Change::Complete => "mark as done",
        Change::Reopen => "open again",
        Change::Delete => "delete",
        Change::Undelete => "bring back",
        _ => "change",
    };
    format!("{CONFIRM}{what} these {}?\n{}", count(tasks.len(), ""), numbered(tasks, now))
}

/// Several tasks were made or changed.
pub(in super::super) fn changed_several(done: Done, tasks: &[Task], now: &Zoned) -> String {
    let number = count(tasks.len(), "");
    let head = match done {
        Done::Add => format!("Added {number}:"),
        Done::Complete => format!("Done: {number}."),
        Done::Reopen => format!("Open again: {number}."),
        Done::Delete => format!("Deleted {number}. Say undo to bring them back."),
        Done::Undelete => format!("Brought back {number}."),
        Done::Update | Done::Undo => format!("Changed {number}:"),
    };
    format!("{head}\n{}", numbered(&tasks.iter().collect::<Vec<_>>(), now))
}

/// A turn was taken back, but for what somebody else has changed since.
pub(in super::super) fn undone(answer: Option<&Value>) -> String {
    let length = |name: &str| answer.and_then(|answer| answer.get(name)).and_then(Value::as_array).map_or(0, Vec::len);
    let what = match length("tasks") {
        0 => "Nothing was left to take back".to_owned(),
        1 => "Taken back: the task is as it was before".to_owned(),
        number => format!("Taken back: {number} tasks are as they were before"),
    };
    match length("conflicts") {
        0 => format!("{what}."),
        1 => format!("{what}. One thing was changed since and stays as it is."),
        number => format!("{what}. {number} things were changed since and stay as they are."),
    }
}

/// One of several named tasks is not there.
pub(in super::super) fn missing(said: &str, change: &Change) -> String {
    let kind = match change {
        Change::Reopen => "completed",
        Change::Undelete => "deleted",
        Change::Delete => "such",
        _ => "open",
    };
    let said: String = said.chars().take(100).collect();
    format!(
        "There is no {kind} task that fits {}, so nothing was changed. Say “list my tasks” to see them.",
        quoted(&said)
    )
}

/// One of several names fits more than one task.
pub(in super::super) fn not_one(said: &str, tasks: &[&Task], now: &Zoned) -> String {
    let said: String = said.chars().take(100).collect();
    let tasks: Vec<&Task> = tasks.iter().copied().take(5).collect();
    format!(
        "More than one task fits {}, so nothing was changed. Name it in full:\n{}",
        quoted(&said),
        numbered(&tasks, now)
    )
}
