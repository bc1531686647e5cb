//! The built-in model: a deterministic reader of plain English.
//!
//! It is pure: no clock, no network, no memory. Every call reads the whole transcript again: what the
//! last message means ([`context`], [`intent`]), which reads have been made, which task is meant
//! ([`targets`], [`several`]), and answers with the one step that comes next. A turn does one thing, to
//! one task or to several, and every write carries the versions of the tasks that were seen, so that a
//! change by somebody else makes it fail instead of overwriting. Titles are data: they are compared and
//! quoted, never read as orders. Different things in one message are absent.

use async_trait::async_trait;
use jiff::Zoned;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde_json::{Value, json};
use uuid::Uuid;

use self::context::{Done, Exchange};
use self::intent::{Change, Correction, Intent, Reading, Talk};
use self::targets::{Found, Target, Task, Wanted};
use super::{Answer, Failure, Model, ModelError, Saying, Step, Transcript};
use crate::domain::tool::{ToolCall, ToolResult};

mod context;
mod dates;
mod intent;
mod reads;
mod replies;
mod several;
mod targets;
mod words;
mod writes;

/// The built-in model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planner;

/// Something, or the step that has to come before it: a read, a question, a refusal.
type Flow<T> = Result<T, Step>;

/// One turn while it is planned.
struct Turn<'t> {
    now: Zoned,
    last_turn: Option<Uuid>,
    past: &'t [Exchange<'t>],
    this: &'t Exchange<'t>,
}

// === impl Planner ===

#[async_trait]
impl Model for Planner {
    fn name(&self) -> &str {
        "planner"
    }

    async fn next(&self, transcript: &Transcript, _say: &mut Saying<'_>) -> Result<Answer, Failure> {
        Ok(self.plan(transcript)?.into())
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
        let turn = Turn { now, last_turn: transcript.last_turn, past, this };
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
            return reply(self.done(reading, call, done, result));
        }
        match &reading.intent {
            Intent::Add(draft) => self.add(draft, reading.tentative),
            Intent::AddSeveral(drafts) => self.add_several(drafts, reading.tentative),
            Intent::Group(group, change) => self.change_group(group, change, reading.tentative),
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

    /// Of several things said to be done those that are tasks.
    fn said(&self, wanted: &[Wanted]) -> Flow<Step> {
        let tasks = self.open(None)?;
        let mut fitting = wanted
            .iter()
            .map(|wanted| targets::find(&tasks, wanted))
            .filter(|found| matches!(found, Found::One(_) | Found::Several(_)));
        match (fitting.next(), fitting.next()) {
            (Some(Found::One(task)), None) => self.change(&Change::Complete, task, false),
            (Some(Found::Several(tasks)), None) => reply(replies::which(&tasks, &self.now)),
            (Some(first), Some(second)) => {
                let mut done = Vec::new();
                for found in [first, second].into_iter().chain(fitting) {
                    let Found::One(task) = found else { return reply(replies::several_commands()) };
                    done.push(task.clone());
                }
                self.change_all(&Change::Complete, &done, false)
            }
            (Some(_), None) => reply(replies::several_commands()),
            (None, _) => reply(replies::not_found(
                &wanted.first().map_or(String::new(), |first| first.said.clone()),
                Some(&Change::Complete),
            )),
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

    /// Takes back the last turn that changed something.
    fn undo(&self) -> Flow<Step> {
        match self.last_turn {
            Some(turn) => Ok(self.call("undo_turn", json!({ "turnId": turn.to_string() }))),
            None => reply(replies::no_undo()),
        }
    }

    /// What a write did.
    fn done(&self, reading: &Reading, call: &ToolCall, done: Done, result: Option<&ToolResult>) -> String {
        let answer = result.and_then(|result| result.outcome.as_ref().ok());
        if done == Done::Undo {
            return replies::undone(answer);
        }
        let mut tasks = self.this.written();
        if tasks.len() > 1 {
            return replies::changed_several(done, &tasks, &self.now);
        }
        let task = tasks.pop().unwrap_or_default();
        if done == Done::Add {
            let repeats = matches!(&reading.intent, Intent::Add(draft) if draft.repeats);
            return replies::added(&task, repeats, &self.now);
        }
        let seen = self.this.tasks().into_iter().find(|seen| seen.id == task.id);
        // An answer without a title still has to be told; what was read before knows it.
        let task = if task.title.is_empty() { seen.clone().unwrap_or(task) } else { task };
        let request = call.arguments.get("requests").and_then(|requests| requests.get(0)).unwrap_or(&call.arguments);
        let mask = request.get("updateMask").and_then(Value::as_str).unwrap_or_default();
        let change = match (&reading.intent, mask) {
            (Intent::Change(_, change) | Intent::Group(_, change), _) => Some(change.clone()),
            (_, "title") => Some(Change::Rename(task.title.clone())),
            (_, "dueTime") => Some(Change::Due(None)),
            (Intent::Correct(Correction { priority: Some(priority), .. }), _) => Some(Change::Priority(*priority)),
            _ => None,
        };
        replies::changed(done, change.as_ref(), seen.as_ref(), &task, &self.now)
    }
}

fn reply(text: String) -> Flow<Step> {
    Ok(Step::Reply(text))
}
