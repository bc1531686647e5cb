//! The tools in memory, and a conversation over them.
//!
//! The fake answers as the contract says and writes down every write in words ("add Buy milk due
//! 2026-11-12T23:59:59"), so that a test compares lines. Times are those of the user's zone.

use errand_chat::domain::tool::{ToolCall, ToolFailure, ToolResult};
use errand_chat::model::planner::Planner;
use errand_chat::model::{Entry, Step, Transcript};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

/// Wednesday, 11 November 2026, 10:00 in Berlin.
pub(crate) const NOW: &str = "2026-11-11T09:00:00Z";
pub(crate) const ZONE: &str = "Europe/Berlin";

/// The tools over a table of tasks.
pub(crate) struct Fake {
    pub(crate) tasks: Vec<Value>,
    pub(crate) effects: Vec<String>,
    pub(crate) calls: Vec<ToolCall>,
    /// Changes the task that the next write is about before it arrives.
    pub(crate) meddle: bool,
    version: u32,
}

/// A conversation of a user with the planner.
pub(crate) struct Talk {
    pub(crate) fake: Fake,
    pub(crate) entries: Vec<Entry>,
    pub(crate) now: Timestamp,
    pub(crate) zone: String,
    /// Whether earlier turns keep their calls and results in the transcript.
    pub(crate) remembers_calls: bool,
}

impl Fake {
    /// Tasks in short form: `Buy milk`, `x Pay rent` (done), `- Old one` (deleted), then `@2026-11-13` or
    /// `@2026-11-13T14:00`, `!high`, `#label` and `| description`.
    pub(crate) fn with(tasks: &[&str]) -> Self {
        let mut fake = Fake { tasks: Vec::new(), effects: Vec::new(), calls: Vec::new(), meddle: false, version: 0 };
        for (index, line) in tasks.iter().enumerate() {
            let (line, description) = line.split_once(" | ").unwrap_or((line, ""));
            let (line, done) = line.strip_prefix("x ").map_or((line, false), |rest| (rest, true));
            let (line, deleted) = line.strip_prefix("- ").map_or((line, false), |rest| (rest, true));
            let mut task = json!({ "id": id(index), "createTime": NOW });
            let mut title = Vec::new();
            for word in line.split(' ') {
                match word.chars().next() {
                    Some('@') => task["dueTime"] = json!(utc(&word[1..])),
                    Some('!') if word.len() > 1 => {
                        task["priority"] = json!(format!("PRIORITY_{}", word[1..].to_uppercase()));
                    }
                    Some('#') => {
                        let mut labels = task["labels"].as_array().cloned().unwrap_or_default();
                        labels.push(json!(&word[1..]));
                        task["labels"] = json!(labels);
                    }
                    _ => title.push(word),
                }
            }
            task["title"] = json!(title.join(" "));
            if done {
                task["completed"] = json!(true);
            }
            if deleted {
                task["deleteTime"] = json!(NOW);
            }
            if !description.is_empty() {
                task["description"] = json!(description);
            }
            task["etag"] = json!(fake.etag());
            fake.tasks.push(task);
        }
        fake
    }

    fn etag(&mut self) -> String {
        self.version += 1;
        format!("{:x}", self.version)
    }

    fn run(&mut self, call: &ToolCall) -> Result<Value, ToolFailure> {
        self.calls.push(call.clone());
        match call.name.as_str() {
            "list_tasks" => Ok(self.list(&call.arguments)),
            "get_task" => {
                let wanted = &call.arguments["taskId"];
                self.tasks.iter().find(|task| &task["id"] == wanted).cloned().ok_or_else(|| failure("TASK_NOT_FOUND"))
            }
            "add_task" => Ok(self.add(&call.arguments["task"])),
            _ => self.write(call),
        }
    }

    fn list(&self, arguments: &Value) -> Value {
        let size = usize::try_from(arguments["pageSize"].as_u64().unwrap_or(50).clamp(1, 200)).unwrap();
        let start: usize = arguments["pageToken"].as_str().map_or(0, |token| token.parse().unwrap());
        let time = |value: &Value| value.as_str().map(|text| text.parse::<Timestamp>().unwrap());
        let fits = |task: &&Value| {
            let done = task["completed"].as_bool().unwrap_or(false);
            let text = format!("{} {}", task["title"], task["description"]).to_lowercase();
            let due = time(&task["dueTime"]);
            (arguments["showDeleted"] == json!(true) || task.get("deleteTime").is_none())
                && arguments["completed"].as_bool().is_none_or(|wanted| wanted == done)
                && arguments["query"]
                    .as_str()
                    .is_none_or(|query| query.to_lowercase().split_whitespace().all(|word| text.contains(word)))
                && time(&arguments["dueAfter"]).is_none_or(|after| due.is_some_and(|due| due >= after))
                && time(&arguments["dueBefore"]).is_none_or(|before| due.is_some_and(|due| due < before))
        };
        let mut found: Vec<&Value> = self.tasks.iter().filter(fits).collect();
        if arguments["orderBy"] == json!("due_time") {
            found.sort_by_key(|task| time(&task["dueTime"]).unwrap_or(Timestamp::MAX));
        }
        let page: Vec<&Value> = found.iter().skip(start).take(size).copied().collect();
        let mut answer = json!({});
        if !page.is_empty() {
            answer["tasks"] = json!(page);
        }
        if start + size < found.len() {
            answer["nextPageToken"] = json!((start + size).to_string());
        }
        answer
    }

    fn add(&mut self, wanted: &Value) -> Value {
        let mut task = wanted.clone();
        task["id"] = json!(id(self.tasks.len()));
        task["etag"] = json!(self.etag());
        let mut line = format!("add {}", text(&task["title"]));
        for (field, name) in
            [("dueTime", "due"), ("priority", "priority"), ("labels", "labels"), ("description", "about")]
        {
            match &task[field] {
                Value::Null => {}
                Value::String(value) if field == "dueTime" => line += &format!(" {name} {}", local(value)),
                Value::Array(values) => {
                    line += &format!(" {name} {}", values.iter().map(text).collect::<Vec<_>>().join(","));
                }
                value => line += &format!(" {name} {}", text(value)),
            }
        }
        self.effects.push(line);
        self.tasks.push(task.clone());
        task
    }

    fn write(&mut self, call: &ToolCall) -> Result<Value, ToolFailure> {
        let arguments = &call.arguments;
        let updates = call.name == "update_task";
        let (id, etag) = if updates {
            (&arguments["task"]["id"], &arguments["task"]["etag"])
        } else {
            (&arguments["taskId"], &arguments["etag"])
        };
        assert!(etag.is_string(), "a write carries the version that was seen: {arguments}");
        let index = self.tasks.iter().position(|task| &task["id"] == id).ok_or_else(|| failure("TASK_NOT_FOUND"))?;
        if std::mem::take(&mut self.meddle) {
            self.tasks[index]["etag"] = json!("meddled");
        }
        let deleted = self.tasks[index].get("deleteTime").is_some();
        match (call.name.as_str(), deleted) {
            ("undelete_task", false) => return Err(failure("TASK_NOT_DELETED")),
            ("undelete_task", true) | (_, false) => {}
            ("delete_task", true) => return Err(failure("TASK_NOT_FOUND")),
            (_, true) => return Err(failure("TASK_DELETED")),
        }
        if &self.tasks[index]["etag"] != etag {
            return Err(failure("ETAG_MISMATCH"));
        }
        let version = json!(self.etag());
        let task = &mut self.tasks[index];
        let title = text(&task["title"]);
        task["etag"] = version;
        self.effects.push(match call.name.as_str() {
            "complete_task" => {
                task["completed"] = json!(true);
                format!("complete {title}")
            }
            "reopen_task" => {
                task["completed"] = json!(false);
                format!("reopen {title}")
            }
            "delete_task" => {
                task["deleteTime"] = json!(NOW);
                format!("delete {title}")
            }
            "undelete_task" => {
                task.as_object_mut().unwrap().remove("deleteTime");
                format!("undelete {title}")
            }
            "update_task" => {
                let field = arguments["updateMask"].as_str().unwrap();
                let value = arguments["task"][field].clone();
                task[field] = value.clone();
                if value.is_null() {
                    task.as_object_mut().unwrap().remove(field);
                }
                let value = match &value {
                    Value::String(time) if field == "dueTime" => local(time),
                    Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
                    Value::Null => "none".to_owned(),
                    other => text(other),
                };
                format!("{field} of {title}: {value}")
            }
            other => panic!("no such tool: {other}"),
        });
        Ok(task.clone())
    }
}

impl Talk {
    pub(crate) fn with(tasks: &[&str]) -> Self {
        Talk {
            fake: Fake::with(tasks),
            entries: Vec::new(),
            now: NOW.parse().unwrap(),
            zone: ZONE.to_owned(),
            remembers_calls: true,
        }
    }

    /// Says something and answers with the reply.
    pub(crate) fn say(&mut self, message: &str) -> String {
        self.entries.push(Entry::User(message.to_owned()));
        let start = self.entries.len();
        let mut ids = Vec::new();
        let writes = self.fake.effects.len();
        for _round in 0..8 {
            let transcript = Transcript { now: self.now, time_zone: self.zone.clone(), entries: self.entries.clone(), last_turn: None };
            match Planner.plan(&transcript).unwrap() {
                Step::Reply(reply) => {
                    assert!(!reply.trim().is_empty());
                    assert!(self.fake.effects.len() <= writes + 1, "more than one write: {:?}", self.fake.effects);
                    if !self.remembers_calls {
                        self.entries.truncate(start);
                    }
                    self.entries.push(Entry::Assistant(reply.clone()));
                    self.now = self.now.checked_add(7.seconds()).unwrap();
                    return reply;
                }
                Step::Call(calls) => {
                    assert_eq!(calls.len(), 1, "one call at a time");
                    for call in calls {
                        assert_eq!(call.id, format!("call-{}", ids.len() + 1));
                        ids.push(call.id.clone());
                        let outcome = self.fake.run(&call);
                        self.entries.push(Entry::Result(ToolResult { call_id: call.id.clone(), outcome }));
                        let result = self.entries.pop().unwrap();
                        self.entries.push(Entry::Call(call));
                        self.entries.push(result);
                    }
                }
            }
        }
        panic!("no reply after 8 rounds to {message:?}: {:?}", self.fake.calls);
    }
}

fn failure(reason: &str) -> ToolFailure {
    ToolFailure { reason: reason.to_owned(), message: String::new() }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn id(index: usize) -> String {
    format!("01980000-0000-7000-8000-{index:012x}")
}

fn utc(local: &str) -> String {
    let full = if local.contains('T') { format!("{local}:00") } else { format!("{local}T23:59:59") };
    let time: jiff::civil::DateTime = full.parse().unwrap();
    time.to_zoned(TimeZone::get(ZONE).unwrap()).unwrap().timestamp().to_string()
}

fn local(utc: &str) -> String {
    let time: Timestamp = utc.parse().unwrap();
    time.to_zoned(TimeZone::get(ZONE).unwrap()).datetime().to_string()
}
