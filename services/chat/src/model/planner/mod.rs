//! The built-in model: a deterministic reader of plain English.
//!
//! It is pure: no clock, no network, no memory. Every call reads the whole transcript again: what the
//! last message means ([`context`], [`intent`]), which reads have been made, which task is meant
//! ([`targets`]), and answers with the one step that comes next. A turn makes at most one write, and
//! that write carries the version of the task that was seen, so that a change by somebody else makes
//! it fail instead of overwriting. Titles are data: they are compared and quoted, never read as orders.
//! Deleting or changing several tasks at once is absent.

use async_trait::async_trait;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value, json};

use self::context::{Done, Exchange};
use self::intent::{Change, Correction, Draft, Filter, Intent, Reading, State, Talk};
use self::targets::{Found, Target, Task, Wanted};
use super::{Model, ModelError, Step, Transcript};
use crate::domain::tool::ToolCall;

mod context;
mod dates;
mod intent;
mod replies;
mod targets;
mod words;

const PAGE_SIZE: usize = 200;
/// Pages of a list that are read at most.
const LIST_PAGES: usize = 4;
/// Pages that are searched for the task that is meant.
const SEARCH_PAGES: usize = 3;
const TITLE_LENGTH: usize = 200;
const DESCRIPTION_LENGTH: usize = 1000;
const LABELS: usize = 20;
const LABEL_LENGTH: usize = 50;

/// The built-in model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planner;

/// Something, or the step that has to come before it: a read, a question, a refusal.
type Flow<T> = Result<T, Step>;

/// One turn while it is planned.
struct Turn<'t> {
    now: Zoned,
    past: &'t [Exchange<'t>],
    this: &'t Exchange<'t>,
}

/// The tasks that a read has answered so far.
struct Scan {
    tasks: Vec<Task>,
    complete: bool,
}

// === impl Planner ===

#[async_trait]
impl Model for Planner {
    async fn next(&self, transcript: &Transcript) -> Result<Step, ModelError> {
        self.plan(transcript)
    }
}

impl Planner {
    /// The next step of the transcript's last turn. The same transcript always gives the same step.
    pub fn plan(&self, transcript: &Transcript) -> Result<Step, ModelError> {
        let zone = TimeZoneDatabase::bundled().get(&transcript.time_zone).unwrap_or(TimeZone::UTC);
        let now = transcript.now.to_zoned(zone);
        let exchanges = Exchange::of(transcript);
        let (this, past) = exchanges.split_last().ok_or(ModelError::NothingToAnswer)?;
        let reading = context::interpret(&exchanges, &now);
        let turn = Turn { now, past, this };
        let step = turn.next(&reading).unwrap_or_else(|step| step);
        Ok(match (step, &reading.ignored) {
            (Step::Reply(text), Some(part)) if replies::Question::read(&text).is_none() => {
                Step::Reply(text + &replies::ignored(part))
            }
            (step, _) => step,
        })
    }
}

// === impl Turn ===

impl Turn<'_> {
    fn next(&self, reading: &Reading) -> Flow<Step> {
        if let Some(failure) = self.this.failure() {
            return reply(replies::failure(failure, self.this.write().is_some()));
        }
        if let Some((call, done, result)) = self.this.write() {
            let task = result.and_then(|result| result.outcome.as_ref().ok()).and_then(Task::read);
            return reply(self.done(reading, call, done, task.unwrap_or_default()));
        }
        match &reading.intent {
            Intent::Add(draft) => self.add(draft, reading.tentative),
            Intent::Change(target, change) => {
                let task = self.target(target, Some(change))?;
                self.change(change, &task, reading.tentative)
            }
            Intent::Rename(ways) => self.rename(ways, reading.tentative),
            Intent::Said(wanted) => self.said(wanted),
            Intent::Correct(correction) => self.correct(correction, reading.tentative),
            Intent::Undo => self.undo(),
            Intent::List(filter) => self.list(filter),
            Intent::Count(filter) => {
                let (tasks, complete) = self.filtered(filter)?;
                reply(replies::counted(tasks.len(), filter, complete))
            }
            Intent::Show(target) => reply(replies::shown(&self.target(target, None)?, &self.now)),
            Intent::Many(verb) => reply(replies::many(*verb)),
            Intent::SeveralCommands => reply(replies::several_commands()),
            Intent::Unusable(problem) => reply(replies::unusable(problem, &self.now)),
            Intent::Talk(Talk::Foreign) => reply(replies::foreign()),
            Intent::Talk(talk) => reply(replies::talk(*talk)),
            Intent::Pick(_) => reply(replies::picked()),
            Intent::Unknown => reply(replies::unknown()),
        }
    }

    // --- Calls ---

    fn call(&self, tool: &str, arguments: Value) -> Step {
        let id = format!("call-{}", self.this.steps.len() + 1);
        Step::Call(vec![ToolCall { id, name: tool.to_owned(), arguments }])
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

    fn open(&self, wanted: Option<&Wanted>) -> Flow<Vec<Task>> {
        let mut scan = self.scan(arguments(&[("completed", json!(false))]), SEARCH_PAGES)?;
        // With more open tasks than that the rest is searched by the longest word.
        if let Some(word) = wanted.and_then(Wanted::search_word).filter(|_| !scan.complete) {
            let more = self.scan(arguments(&[("completed", json!(false)), ("query", json!(word))]), 1)?;
            scan.tasks.extend(more.tasks);
        }
        Ok(unique(scan.tasks))
    }

    fn completed(&self) -> Flow<Vec<Task>> {
        let order = ("orderBy", json!("update_time desc"));
        Ok(self.scan(arguments(&[("completed", json!(true)), order]), 1)?.tasks)
    }

    fn deleted(&self) -> Flow<Vec<Task>> {
        let order = ("orderBy", json!("update_time desc"));
        let scan = self.scan(arguments(&[("showDeleted", json!(true)), order]), 2)?;
        Ok(scan.tasks.into_iter().filter(|task| task.deleted).collect())
    }

    fn get(&self, id: &str) -> Flow<Task> {
        let known = self.this.steps.iter().find(|(call, _)| {
            call.name == "get_task" && call.arguments.get("taskId").and_then(Value::as_str) == Some(id)
        });
        let answer = known.and_then(|(_, result)| *result).and_then(|result| result.outcome.as_ref().ok());
        answer.and_then(Task::read).ok_or_else(|| self.call("get_task", json!({ "taskId": id })))
    }

    // --- Which task ---

    /// The task that is meant.
    fn target(&self, target: &Target, change: Option<&Change>) -> Flow<Task> {
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
    fn on_line<'a>(&self, line: &str, tasks: &'a [Task]) -> Found<'a> {
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
            match find(&tasks) {
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

    // --- Writes ---

    fn add(&self, draft: &Draft, tentative: bool) -> Flow<Step> {
        let Some(title) = &draft.title else { return reply(replies::ask_title()) };
        if title.chars().count() > TITLE_LENGTH {
            return reply(replies::too_long("title", TITLE_LENGTH));
        }
        let due = match &draft.when {
            Some(when) => match when.resolve(&self.now, None) {
                Ok(due) => Some(due),
                Err(problem) => return reply(replies::unusable(&problem, &self.now)),
            },
            None => None,
        };
        if tentative {
            return reply(replies::confirm_add(draft, due, &self.now));
        }
        let mut task = Map::new();
        task.insert("title".to_owned(), json!(title));
        if let Some(description) = &draft.description {
            if description.chars().count() > DESCRIPTION_LENGTH {
                return reply(replies::too_long("description", DESCRIPTION_LENGTH));
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
                return reply(replies::too_long("label", LABEL_LENGTH));
            }
            task.insert("labels".to_owned(), json!(labels));
        }
        Ok(self.call("add_task", json!({ "task": task })))
    }

    fn change(&self, change: &Change, task: &Task, tentative: bool) -> Flow<Step> {
        if task.deleted && !matches!(change, Change::Undelete | Change::Delete) {
            return reply(replies::already(task, "is deleted"));
        }
        let due = match change {
            Change::Due(Some(when)) => {
                let zone = self.now.time_zone().clone();
                let usual = task.due.map(|due| due.to_zoned(zone).date()).filter(|day| *day >= self.now.date());
                match when.resolve(&self.now, usual) {
                    Ok(due) => Some(due),
                    Err(problem) => return reply(replies::unusable(&problem, &self.now)),
                }
            }
            Change::Shift(shift) => match self.shifted(shift, task) {
                Some(due) => Some(due),
                None => return reply(replies::out_of_calendar(&self.now)),
            },
            _ => None,
        };
        let step = self.write(change, task, due)?;
        if tentative {
            return reply(replies::confirm(change, task, due, &self.now));
        }
        Ok(step)
    }

    /// The call that changes the task; a reply if it is so already or cannot be.
    fn write(&self, change: &Change, task: &Task, due: Option<Timestamp>) -> Flow<Step> {
        let already = |state: &str| Err(Step::Reply(replies::already(task, state)));
        let on_task = json!({ "taskId": task.id, "etag": task.etag });
        let update = |field: &str, value: Value| {
            let mut changed = json!({ "id": task.id, "etag": task.etag });
            if !value.is_null() {
                changed[field] = value;
            }
            Ok(self.call("update_task", json!({ "task": changed, "updateMask": field })))
        };
        match change {
            Change::Complete if task.completed => already("is done already"),
            Change::Complete => Ok(self.call("complete_task", on_task)),
            Change::Reopen if !task.completed => already("is still open"),
            Change::Reopen => Ok(self.call("reopen_task", on_task)),
            Change::Delete if task.deleted => already("is deleted already"),
            Change::Delete => Ok(self.call("delete_task", on_task)),
            Change::Undelete if !task.deleted => already("is not deleted"),
            Change::Undelete => Ok(self.call("undelete_task", on_task)),
            Change::Rename(title) if title.is_empty() => reply(replies::ask_new_title(task)).and_then(Err),
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
                if kept.len() == task.labels.len() { already("has no such label") } else { update("labels", json!(kept)) }
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

    /// "rename A to B to C": the way to split it whose first part names a task.
    fn rename(&self, ways: &[(Target, String)], tentative: bool) -> Flow<Step> {
        let tasks = self.open(None)?;
        let mut fitting: Vec<(&Task, &String)> = Vec::new();
        let mut exact = None;
        for (target, title) in ways {
            let found = match target {
                Target::Words(wanted) => targets::find(&tasks, wanted),
                _ => continue,
            };
            if let Found::One(task) = found {
                if let Target::Words(wanted) = target
                    && targets::same(&task.title, &wanted.said)
                {
                    exact = Some((task, title));
                }
                fitting.push((task, title));
            }
        }
        let only = if let [only] = fitting.as_slice() { Some(*only) } else { None };
        match exact.or(only) {
            Some((task, title)) => self.change(&Change::Rename(title.clone()), task, tentative),
            // The first "to" is the likely one; where it does not settle it, quotes have to.
            None => match ways.first() {
                Some((target, title)) => {
                    let change = Change::Rename(title.clone());
                    let task = self.target(target, Some(&change))?;
                    self.change(&change, &task, true)
                }
                None => reply(replies::unknown()),
            },
        }
    }

    /// Of several things said to be done the one that is a task, if it is only one.
    fn said(&self, wanted: &[Wanted]) -> Flow<Step> {
        let tasks = self.open(None)?;
        let mut fitting = wanted.iter().map(|wanted| targets::find(&tasks, wanted)).filter(|found| {
            matches!(found, Found::One(_) | Found::Several(_))
        });
        match (fitting.next(), fitting.next()) {
            (Some(Found::One(task)), None) => self.change(&Change::Complete, task, false),
            (Some(Found::Several(tasks)), None) => reply(replies::which(&tasks, &self.now)),
            (Some(_), _) => reply(replies::several_commands()),
            (None, _) => reply(replies::not_found(&wanted.first().map_or(String::new(), |first| first.said.clone()), Some(&Change::Complete))),
        }
    }

    /// "actually make that oat milk": mends the task that the last exchange made or changed.
    fn correct(&self, correction: &Correction, tentative: bool) -> Flow<Step> {
        let last = self.past.len().checked_sub(1).map(|last| &self.past[last..]);
        let touched = last.and_then(context::touched).filter(|touched| {
            matches!(touched.verb, Some(Done::Add | Done::Update)) || (touched.verb.is_none() && !tentative)
        });
        let Some(touched) = touched else { return reply(replies::unknown()) };
        let task = self.target(&touched.target, None)?;
        let change = if let Some(when) = &correction.when {
            Change::Due(Some(when.clone()))
        } else if let Some(priority) = correction.priority {
            Change::Priority(priority)
        } else {
            Change::Rename(targets::corrected(&task.title, &correction.words))
        };
        self.change(&change, &task, tentative)
    }

    /// Takes back the last write, as far as one call can.
    fn undo(&self) -> Flow<Step> {
        let written = self.past.iter().rev().take(6).find(|exchange| {
            exchange.write().is_some_and(|(_, _, result)| result.is_some_and(|result| result.outcome.is_ok()))
                || replies::about(exchange.reply).is_some_and(|(done, _)| done.is_some())
        });
        let touched = written.and_then(|exchange| context::touched(std::slice::from_ref(exchange)));
        let Some(touched) = touched else { return reply(replies::no_undo(None)) };
        let change = match touched.verb {
            Some(Done::Delete) => Change::Undelete,
            Some(Done::Complete) => Change::Reopen,
            Some(Done::Reopen) => Change::Complete,
            Some(Done::Add | Done::Undelete) => Change::Delete,
            Some(Done::Update) => return reply(replies::no_undo(Some(&self.target(&touched.target, None)?))),
            None => return reply(replies::no_undo(None)),
        };
        let task = self.target(&touched.target, Some(&change))?;
        self.change(&change, &task, false)
    }

    /// What a write did.
    fn done(&self, reading: &Reading, call: &ToolCall, done: Done, task: Task) -> String {
        if done == Done::Add {
            let repeats = matches!(&reading.intent, Intent::Add(draft) if draft.repeats);
            return replies::added(&task, repeats, &self.now);
        }
        let seen = self.this.tasks().into_iter().find(|seen| seen.id == task.id);
        // An answer without a title still has to be told; what was read before knows it.
        let task = if task.title.is_empty() { seen.clone().unwrap_or(task) } else { task };
        let mask = call.arguments.get("updateMask").and_then(Value::as_str).unwrap_or_default();
        let change = match (&reading.intent, mask) {
            (Intent::Change(_, change), _) => Some(change.clone()),
            (_, "title") => Some(Change::Rename(task.title.clone())),
            (_, "dueTime") => Some(Change::Due(None)),
            (Intent::Correct(Correction { priority: Some(priority), .. }), _) => Some(Change::Priority(*priority)),
            _ => None,
        };
        replies::changed(done, change.as_ref(), seen.as_ref(), &task, &self.now)
    }

    // --- Lists ---

    fn list(&self, filter: &Filter) -> Flow<Step> {
        let (mut tasks, complete) = self.filtered(filter)?;
        if filter.next {
            tasks.truncate(1);
        }
        let tasks: Vec<&Task> = tasks.iter().collect();
        reply(replies::list(&tasks, filter, complete, &self.now))
    }

    /// The tasks that a filter picks, in the order of the service, and whether they are all.
    fn filtered(&self, filter: &Filter) -> Flow<(Vec<Task>, bool)> {
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
        let words = filter.words.as_deref().map(|words| words.chars().take(TITLE_LENGTH).collect::<String>());
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

fn reply(text: String) -> Flow<Step> {
    Ok(Step::Reply(text))
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
