//! The write of a turn: what is sent to make or change a task, and why it is not.
//!
//! Every change carries the version of the task that was seen. Limits are the contract's, asked here
//! so that the user is told in plain words.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::intent::{Change, Draft};
use super::targets::Task;
use super::{Flow, Turn, dates, replies, reply};
use crate::model::Step;

const TITLE_LENGTH: usize = 200;
const DESCRIPTION_LENGTH: usize = 1000;
const LABELS: usize = 20;
const LABEL_LENGTH: usize = 50;

// === impl Turn ===

impl Turn<'_> {
    pub(super) fn add(&self, draft: &Draft, tentative: bool) -> Flow<Step> {
        let (task, due) = self.new_task(draft)?;
        if tentative {
            return reply(replies::confirm_add(draft, due, &self.now));
        }
        Ok(self.batch("add_tasks", &[task]))
    }

    /// The request that makes a task, and when it will be due.
    pub(super) fn new_task(&self, draft: &Draft) -> Flow<(Value, Option<Timestamp>)> {
        let refused = |text: String| Err(Step::Reply(text));
        let Some(title) = &draft.title else { return refused(replies::ask_title()) };
        if title.chars().count() > TITLE_LENGTH {
            return refused(replies::too_long("title", TITLE_LENGTH));
        }
        let due = match &draft.when {
            Some(when) => match when.resolve(&self.now, None) {
                Ok(due) => Some(due),
                Err(problem) => return refused(replies::unusable(&problem, &self.now)),
            },
            None => None,
        };
        let mut task = Map::new();
        task.insert("title".to_owned(), json!(title));
        if let Some(description) = &draft.description {
            if description.chars().count() > DESCRIPTION_LENGTH {
                return refused(replies::too_long("description", DESCRIPTION_LENGTH));
            }
            task.insert("description".to_owned(), json!(description));
        }
        if let Some(priority) = draft.priority {
            task.insert("priority".to_owned(), json!(priority.name()));
        }
        if let Some(due) = due {
            task.insert("dueTime".to_owned(), json!(due.to_string()));
        }
        if !draft.labels.is_empty() {
            let mut labels: Vec<&String> = Vec::new();
            for label in &draft.labels {
                if !labels.contains(&label) {
                    labels.push(label);
                }
            }
            if labels.len() > LABELS || labels.iter().any(|label| label.chars().count() > LABEL_LENGTH) {
                return refused(replies::too_long("label", LABEL_LENGTH));
            }
            task.insert("labels".to_owned(), json!(labels));
        }
        Ok((json!({ "task": task }), due))
    }

    pub(super) fn change(&self, change: &Change, task: &Task, tentative: bool) -> Flow<Step> {
        let due = self.due(change, task)?;
        let (tool, request) = self.request(change, task, due)?;
        if tentative {
            return reply(replies::confirm(change, task, due, &self.now));
        }
        Ok(if tool.ends_with("tasks") { self.batch(tool, &[request]) } else { self.call(tool, request) })
    }

    /// When a task will be due after a change of that.
    pub(super) fn due(&self, change: &Change, task: &Task) -> Flow<Option<Timestamp>> {
        let refused = |text: String| Err(Step::Reply(text));
        Ok(match change {
            Change::Due(Some(when)) => {
                let zone = self.now.time_zone().clone();
                let usual = task.due.map(|due| due.to_zoned(zone).date()).filter(|day| *day >= self.now.date());
                match when.resolve(&self.now, usual) {
                    Ok(due) => Some(due),
                    Err(problem) => return refused(replies::unusable(&problem, &self.now)),
                }
            }
            Change::Shift(shift) => match self.shifted(shift, task) {
                Some(due) => Some(due),
                None => return refused(replies::out_of_calendar(&self.now)),
            },
            _ => None,
        })
    }

    /// The tool that changes the task and what it is given; a reply if it is so already or cannot be.
    pub(super) fn request(&self, change: &Change, task: &Task, due: Option<Timestamp>) -> Flow<(&'static str, Value)> {
        if task.deleted && !matches!(change, Change::Undelete | Change::Delete) {
            return Err(Step::Reply(replies::already(task, "is deleted")));
        }
        let already = |state: &str| Err(Step::Reply(replies::already(task, state)));
        let on_task = json!({ "taskId": task.id, "etag": task.etag });
        let update = |field: &str, value: Value| {
            let mut changed = json!({ "id": task.id, "etag": task.etag });
            if !value.is_null() {
                changed[field] = value;
            }
            Ok(("update_tasks", json!({ "task": changed, "updateMask": field })))
        };
        match change {
            Change::Complete if task.completed => already("is done already"),
            Change::Complete => Ok(("complete_tasks", on_task)),
            Change::Reopen if !task.completed => already("is still open"),
            Change::Reopen => Ok(("reopen_task", on_task)),
            Change::Delete if task.deleted => already("is deleted already"),
            Change::Delete => Ok(("delete_tasks", on_task)),
            Change::Undelete if !task.deleted => already("is not deleted"),
            Change::Undelete => Ok(("undelete_task", on_task)),
            Change::Rename(title) if title.is_empty() => Err(Step::Reply(replies::ask_new_title(task))),
            Change::Rename(title) if title.chars().count() > TITLE_LENGTH => {
                Err(Step::Reply(replies::too_long("title", TITLE_LENGTH)))
            }
            Change::Rename(title) if *title == task.title => already("is called that already"),
            Change::Rename(title) => update("title", json!(title)),
            Change::Due(None) => Err(Step::Reply(replies::ask_when(task))),
            Change::Due(Some(_)) | Change::Shift(_) if due == task.due => already("is due then already"),
            Change::Due(Some(_)) | Change::Shift(_) => update("dueTime", json!(due.map(|due| due.to_string()))),
            Change::NoDue if task.due.is_none() => already("has no due date"),
            Change::NoDue => update("dueTime", Value::Null),
            Change::Describe(text) if text.chars().count() > DESCRIPTION_LENGTH => {
                Err(Step::Reply(replies::too_long("description", DESCRIPTION_LENGTH)))
            }
            Change::Describe(text) => update("description", json!(text)),
            Change::Priority(priority) if task.priority == priority.name() => already("has that priority already"),
            Change::Priority(priority) => update("priority", json!(priority.name())),
            Change::Label(label) if task.labels.contains(label) => already("has that label already"),
            Change::Label(label) if task.labels.len() >= LABELS || label.chars().count() > LABEL_LENGTH => {
                Err(Step::Reply(replies::too_long("label", LABEL_LENGTH)))
            }
            Change::Label(label) => {
                let labels: Vec<&String> = task.labels.iter().chain([label]).collect();
                update("labels", json!(labels))
            }
            Change::Unlabel(label) => {
                let kept: Vec<&String> =
                    task.labels.iter().filter(|known| known.to_lowercase() != label.to_lowercase()).collect();
                if kept.len() == task.labels.len() {
                    already("has no such label")
                } else {
                    update("labels", json!(kept))
                }
            }
        }
    }

    /// The due time moved by a length of time; of a task without one, from now on.
    fn shifted(&self, shift: &dates::Shift, task: &Task) -> Option<Timestamp> {
        let zone = self.now.time_zone().clone();
        let from = match task.due {
            Some(due) => due.to_zoned(zone),
            None if shift.exact => self.now.clone(),
            None => self.now.date().to_datetime(dates::END_OF_DAY).to_zoned(zone).ok()?,
        };
        from.checked_add(shift.span).ok().map(|moved| moved.timestamp())
    }
}
