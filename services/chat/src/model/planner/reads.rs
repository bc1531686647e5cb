//! The reads of a turn: which list to ask for, how many pages, and which task is meant.
//!
//! A read that has not been made yet is answered as the step to take first, so the planner above reads
//! as if all tasks were there. Every search is bounded: a turn makes at most seven calls.

use serde_json::{Map, Value, json};

use super::intent::{Change, Filter, State};
use super::targets::{self, Found, Target, Task, Wanted};
use super::words::Text;
use super::{Flow, Turn, context, dates, replies, reply};
use crate::domain::tool::ToolCall;
use crate::model::Step;

const PAGE_SIZE: usize = 200;
/// Pages of a list that are read at most.
const LIST_PAGES: usize = 4;
/// Pages that are searched for the task that is meant.
const SEARCH_PAGES: usize = 3;
/// The longest search that the service takes.
const QUERY_LENGTH: usize = 200;

/// The tasks that a read has answered so far.
struct Scan {
    tasks: Vec<Task>,
    complete: bool,
}

// === impl Turn ===

impl Turn<'_> {
    pub(super) fn call(&self, tool: &str, arguments: Value) -> Step {
        let id = format!("call-{}", self.this.steps.len() + 1);
        Step::Call(vec![ToolCall { id, name: tool.to_owned(), arguments }])
    }

    /// One call of a tool that takes several requests.
    pub(super) fn batch(&self, tool: &str, requests: &[Value]) -> Step {
        self.call(tool, json!({ "requests": requests }))
    }

    /// Several calls of tools that take one request each.
    pub(super) fn calls(&self, requests: Vec<(&'static str, Value)>) -> Step {
        let first = self.this.steps.len() + 1;
        let call = |(index, (tool, arguments)): (usize, (&str, Value))| ToolCall {
            id: format!("call-{}", first + index),
            name: tool.to_owned(),
            arguments,
        };
        Step::Call(requests.into_iter().enumerate().map(call).collect())
    }

    /// The tasks that `list_tasks` answers to these arguments, or the call that is still to make.
    fn scan(&self, arguments: Map<String, Value>, pages: usize) -> Flow<Scan> {
        let wanted = shape(&Value::Object(arguments.clone()));
        let mut scan = Scan { tasks: Vec::new(), complete: true };
        let (mut read, mut last) = (0, None);
        for (call, result) in self.this.steps.iter().filter(|(call, _)| call.name == "list_tasks") {
            let Some(answer) = result.and_then(|result| result.outcome.as_ref().ok()) else { continue };
            if shape(&call.arguments) != wanted {
                continue;
            }
            for task in Task::read_all(answer) {
                if !scan.tasks.iter().any(|known| known.id == task.id) {
                    scan.tasks.push(task);
                }
            }
            let token = answer.get("nextPageToken").and_then(Value::as_str).filter(|token| !token.is_empty());
            last = Some((token, &call.arguments));
            read += 1;
        }
        match last {
            None => Err(self.call("list_tasks", Value::Object(arguments))),
            Some((Some(token), arguments)) if read < pages => {
                let mut arguments = arguments.clone();
                arguments["pageToken"] = json!(token);
                Err(self.call("list_tasks", arguments))
            }
            Some((token, _)) => {
                scan.complete = token.is_none();
                Ok(scan)
            }
        }
    }

    pub(super) fn open(&self, wanted: Option<&Wanted>) -> Flow<Vec<Task>> {
        let mut scan = self.scan(arguments(&[("completed", json!(false))]), SEARCH_PAGES)?;
        // With more open tasks than that the rest is searched by the longest word.
        if let Some(word) = wanted.and_then(Wanted::search_word).filter(|_| !scan.complete) {
            let more = self.scan(arguments(&[("completed", json!(false)), ("query", json!(word))]), 1)?;
            scan.tasks.extend(more.tasks);
        }
        Ok(unique(scan.tasks))
    }

    pub(super) fn completed(&self) -> Flow<Vec<Task>> {
        let order = ("orderBy", json!("update_time desc"));
        Ok(self.scan(arguments(&[("completed", json!(true)), order]), 1)?.tasks)
    }

    pub(super) fn deleted(&self) -> Flow<Vec<Task>> {
        let order = ("orderBy", json!("update_time desc"));
        let scan = self.scan(arguments(&[("showDeleted", json!(true)), order]), 2)?;
        Ok(scan.tasks.into_iter().filter(|task| task.deleted).collect())
    }

    pub(super) fn get(&self, id: &str) -> Flow<Task> {
        let known = self.this.steps.iter().find(|(call, _)| {
            call.name == "get_task" && call.arguments.get("taskId").and_then(Value::as_str) == Some(id)
        });
        let answer = known.and_then(|(_, result)| *result).and_then(|result| result.outcome.as_ref().ok());
        answer.and_then(Task::read).ok_or_else(|| self.call("get_task", json!({ "taskId": id })))
    }

    /// The task that is meant.
    pub(super) fn target(&self, target: &Target, change: Option<&Change>) -> Flow<Task> {
        match target {
            Target::Missing => Err(Step::Reply(replies::which_at_all())),
            Target::Id(id) => self.get(id),
            Target::It => match context::touched(self.past) {
                Some(touched) => self.target(&touched.target, change),
                None => Err(Step::Reply(replies::which_at_all())),
            },
            Target::Place(place) => match context::line(self.past, *place) {
                Ok(target) => self.target(&target, change),
                Err(length) => Err(Step::Reply(replies::no_such_place(length))),
            },
            Target::Title(title) => self.search(change, None, title, |tasks| {
                let same: Vec<&Task> = tasks.iter().filter(|task| task.title == *title).collect();
                match same.as_slice() {
                    [] => Found::Nothing,
                    [one] => Found::One(one),
                    _ => Found::Several(same),
                }
            }),
            Target::Line(line) => self.search(change, None, line, |tasks| self.on_line(line, tasks)),
            Target::Words(wanted) => {
                self.search(change, Some(wanted), &wanted.said, |tasks| targets::find(tasks, wanted))
            }
        }
    }

    /// The task that a line of a list shows: by its title, among twins by all that the line says.
    pub(super) fn on_line<'a>(&self, line: &str, tasks: &'a [Task]) -> Found<'a> {
        let shown = |task: &&Task| replies::shows(line, &task.title);
        let longest = tasks.iter().filter(shown).map(|task| task.title.len()).max().unwrap_or_default();
        let twins: Vec<&Task> = tasks.iter().filter(shown).filter(|task| task.title.len() == longest).collect();
        let alike: Vec<&Task> = twins.iter().copied().filter(|task| replies::line(task, &self.now) == line).collect();
        match (twins.as_slice(), alike.as_slice()) {
            ([], _) => Found::Nothing,
            ([one], _) | (_, [one]) => Found::One(one),
            _ => Found::Several(twins),
        }
    }

    /// Looks where such a task can be, in the order that fits what shall be done.
    fn search(
        &self,
        change: Option<&Change>,
        wanted: Option<&Wanted>,
        said: &str,
        find: impl for<'a> Fn(&'a [Task]) -> Found<'a>,
    ) -> Flow<Task> {
        let live = || -> Flow<Vec<Task>> {
            let mut tasks = self.open(wanted)?;
            tasks.extend(self.completed()?);
            Ok(unique(tasks))
        };
        let pools: [&dyn Fn() -> Flow<Vec<Task>>; 2] = match change {
            None | Some(Change::Delete) => [&live, &|| Ok(Vec::new())],
            Some(Change::Reopen) => [&|| self.completed(), &|| self.open(wanted)],
            Some(Change::Undelete) => [&|| self.deleted(), &live],
            Some(_) => [&|| self.open(wanted), &|| self.completed()],
        };
        let mut near: Option<Step> = None;
        for pool in pools {
            let tasks = pool()?;
            let found = find(&tasks);
            if !matches!(found, Found::One(_))
                && let Some(task) = wanted.and_then(|wanted| self.dated(wanted, &tasks))
            {
                return Ok(task.clone());
            }
            match found {
                Found::One(task) => return Ok(task.clone()),
                Found::Several(tasks) => return Err(Step::Reply(replies::which(&tasks, &self.now))),
                Found::Near(tasks) => {
                    near.get_or_insert_with(|| Step::Reply(replies::near(&tasks, &self.now)));
                }
                Found::Nothing => {}
            }
        }
        Err(near.unwrap_or_else(|| Step::Reply(replies::not_found(said, change))))
    }

    /// "the rent due friday": the only task with these words that is due then.
    fn dated<'a>(&self, wanted: &Wanted, tasks: &'a [Task]) -> Option<&'a Task> {
        let text = Text::read(&wanted.said);
        let clause = text.whole().trim_end();
        let (range, (from, to)) = dates::range(clause, &self.now)?;
        let words = clause.before(from).trim_end();
        let words = words.eat_back(&["task|one|item|todo? that|which is?", "task|one|item|todo"]).unwrap_or(words);
        if to != clause.to || from == clause.from && !clause.part(from, to).has(&["due|for|on"]) {
            return None;
        }
        let fits = |task: &&Task| {
            task.due.is_some_and(|due| {
                range.after.is_none_or(|after| due >= after) && range.before.is_none_or(|before| due < before)
            })
        };
        let then: Vec<Task> = tasks.iter().filter(fits).cloned().collect();
        let named = Wanted::of(words);
        let id = if named.is_plain() {
            let [only] = then.as_slice() else { return None };
            only.id.clone()
        } else {
            let Found::One(task) = targets::find(&then, &named) else { return None };
            task.id.clone()
        };
        tasks.iter().find(|task| task.id == id)
    }

    pub(super) fn list(&self, filter: &Filter) -> Flow<Step> {
        let (mut tasks, complete) = self.filtered(filter)?;
        if filter.next {
            tasks.truncate(1);
        }
        let tasks: Vec<&Task> = tasks.iter().collect();
        reply(replies::list(&tasks, filter, complete, &self.now))
    }

    /// The tasks that a filter picks, in the order of the service, and whether they are all.
    pub(super) fn filtered(&self, filter: &Filter) -> Flow<(Vec<Task>, bool)> {
        let mut wanted = Vec::new();
        match filter.state {
            State::Open => wanted.push(("completed", json!(false))),
            State::Done => wanted.push(("completed", json!(true))),
            State::All => {}
        }
        let range = filter.range.as_ref();
        if let Some(after) = range.and_then(|range| range.after) {
            wanted.push(("dueAfter", json!(after.to_string())));
        }
        let before = range.and_then(|range| range.before).or(filter.overdue.then(|| self.now.timestamp()));
        if let Some(before) = before {
            wanted.push(("dueBefore", json!(before.to_string())));
        }
        if before.is_some() || filter.next || filter.dated == Some(true) {
            wanted.push(("orderBy", json!("due_time")));
        }
        let words = filter.words.as_deref().map(|words| words.chars().take(QUERY_LENGTH).collect::<String>());
        let mut pages = LIST_PAGES;
        if let Some(words) = &words {
            pages = 3;
            let mut narrow = wanted.clone();
            narrow.push(("query", json!(words)));
            let scan = self.scan(arguments(&narrow), 2)?;
            let tasks = self.picked(filter, scan.tasks, None);
            if !tasks.is_empty() {
                return Ok((tasks, scan.complete));
            }
        }
        let scan = self.scan(arguments(&wanted), pages)?;
        Ok((self.picked(filter, scan.tasks, words.as_deref()), scan.complete))
    }

    fn picked(&self, filter: &Filter, tasks: Vec<Task>, words: Option<&str>) -> Vec<Task> {
        let fits = |task: &Task| {
            let label = |wanted: &String| task.labels.iter().any(|label| label.to_lowercase() == wanted.to_lowercase());
            task.is(filter.state)
                && !task.deleted
                && (!filter.overdue || (!task.completed && task.due.is_some_and(|due| due < self.now.timestamp())))
                && filter.dated.is_none_or(|dated| task.due.is_some() == dated)
                && filter.label.as_ref().is_none_or(label)
                && filter.priority.is_none_or(|priority| task.priority == priority.name())
                && words.is_none_or(|words| targets::mentions(task, words))
        };
        tasks.into_iter().filter(fits).collect()
    }
}

fn arguments(fields: &[(&str, Value)]) -> Map<String, Value> {
    let page = ("pageSize", json!(PAGE_SIZE));
    fields.iter().chain([&page]).map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// Arguments without what may differ between two pages of one list or two moments of one turn.
fn shape(arguments: &Value) -> Value {
    let mut shape = arguments.clone();
    if let Some(fields) = shape.as_object_mut() {
        fields.remove("pageToken");
        for bound in ["dueAfter", "dueBefore"] {
            if let Some(value) = fields.get_mut(bound) {
                *value = Value::Bool(true);
            }
        }
    }
    shape
}

fn unique(tasks: Vec<Task>) -> Vec<Task> {
    let mut known: Vec<Task> = Vec::new();
    for task in tasks {
        if !known.iter().any(|other| other.id == task.id) {
            known.push(task);
        }
    }
    known
}
