//! The tools in memory.
//!
//! The fake answers as the contract says and writes down every write in words ("add Buy milk due
//! 2026-11-12T23:59:59"), so that a test compares lines. Times are those of the user's zone.

use errand_chat::domain::tool::{ToolCall, ToolFailure};
use jiff::Timestamp;
use jiff::tz::TimeZone;
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

    /// A failure with this reason.
    pub(crate) fn failure(reason: &str) -> ToolFailure {
        ToolFailure { reason: reason.to_owned(), message: String::new() }
    }

    /// Puts the tasks back as they were.
    pub(crate) fn undo(&mut self, tasks: Vec<Value>) -> Value {
        let before = std::mem::replace(&mut self.tasks, tasks);
        let same = |index: &usize| before.get(*index) == self.tasks.get(*index);
        let changed: Vec<usize> = (0..self.tasks.len()).filter(|index| !same(index)).collect();
        let changed: Vec<Value> = changed
            .into_iter()
            .map(|index| {
                let etag = json!(self.etag());
                self.tasks[index]["etag"] = etag;
                self.tasks[index].clone()
            })
            .collect();
        self.effects.push("undo".to_owned());
        json!({ "tasks": changed })
    }

    fn etag(&mut self) -> String {
        self.version += 1;
        format!("{:x}", self.version)
    }

    pub(crate) fn run(&mut self, call: &ToolCall) -> Result<Value, ToolFailure> {
        self.calls.push(call.clone());
        match call.name.as_str() {
            "list_tasks" => Ok(self.list(&call.arguments)),
            "get_task" => {
                let wanted = &call.arguments["taskId"];
                self.tasks.iter().find(|task| &task["id"] == wanted).cloned().ok_or_else(|| failure("TASK_NOT_FOUND"))
            }
            "add_tasks" | "update_tasks" | "complete_tasks" | "delete_tasks" => self.batch(call),
            _ => self.write(&call.name, &call.arguments),
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

    /// All or nothing.
    fn batch(&mut self, call: &ToolCall) -> Result<Value, ToolFailure> {
        let requests = call.arguments["requests"].as_array().cloned().unwrap();
        assert!(!requests.is_empty(), "a batch of nothing");
        let name = call.name.strip_suffix('s').unwrap();
        let before = (self.tasks.clone(), self.effects.len());
        let mut tasks = Vec::new();
        for request in &requests {
            match if name == "add_task" { Ok(self.add(&request["task"])) } else { self.write(name, request) } {
                Ok(task) => tasks.push(task),
                Err(failure) => {
                    self.tasks = before.0;
                    self.effects.truncate(before.1);
                    return Err(failure);
                }
            }
        }
        Ok(json!({ "tasks": tasks }))
    }

    fn write(&mut self, name: &str, arguments: &Value) -> Result<Value, ToolFailure> {
        let updates = name == "update_task";
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
        match (name, deleted) {
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
        self.effects.push(match name {
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

fn failure(reason: &str) -> ToolFailure {
    Fake::failure(reason)
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
