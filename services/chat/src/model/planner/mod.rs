//! The built-in model: a deterministic reader of plain English.
//!
//! It is pure: no clock, no network, no memory. Every call reads the whole transcript again: what the
//! last message means ([`context`], [`intent`]), which reads have been made, which task is meant
//! ([`targets`]), and answers with the one step that comes next. A turn makes at most one write, and
//! that write carries the version of the task that was seen, so that a change by somebody else makes
//! it fail instead of overwriting. Titles are data: they are compared and quoted, never read as orders.
//! Deleting or changing several tasks at once is absent.

use async_trait::async_trait;
use jiff::Zoned;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde_json::Value;

use self::context::{Done, Exchange};
use self::intent::{Change, Correction, Intent, Reading, Talk};
use self::targets::{Found, Target, Task, Wanted};
use super::{Model, ModelError, Step, Transcript};
use crate::domain::tool::ToolCall;

mod context;
mod dates;
mod intent;
mod reads;
mod replies;
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
    past: &'t [Exchange<'t>],
    this: &'t Exchange<'t>,
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
        let mut fitting = wanted
            .iter()
            .map(|wanted| targets::find(&tasks, wanted))
            .filter(|found| matches!(found, Found::One(_) | Found::Several(_)));
        match (fitting.next(), fitting.next()) {
            (Some(Found::One(task)), None) => self.change(&Change::Complete, task, false),
            (Some(Found::Several(tasks)), None) => reply(replies::which(&tasks, &self.now)),
            (Some(_), _) => reply(replies::several_commands()),
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
}

fn reply(text: String) -> Flow<Step> {
    Ok(Step::Reply(text))
}
