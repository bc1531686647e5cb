//! Several tasks at once: which they are, and the one call that makes or changes them.
//!
//! All or nothing: if one of the named tasks cannot be found, nothing is changed and the user is told
//! which one it was. Whether so many may be changed without asking is not decided here but by the
//! policy over every model.

use super::context;
use super::intent::{self, Change, Draft, Group, State, Verb};
use super::targets::{self, Found, Place, Target, Task, Wanted};
use super::words::Text;
use super::{Flow, Turn, replies, reply};
use crate::model::Step;

/// How many calls for one task each are made at once.
const CALLS: usize = 5;

// === impl Turn ===

impl Turn<'_> {
    /// Makes several tasks.
    pub(super) fn add_several(&self, drafts: &[Draft], tentative: bool) -> Flow<Step> {
        let mut requests = Vec::new();
        for draft in drafts {
            let (request, due) = self.new_task(draft)?;
            requests.push((request, due));
        }
        if tentative {
            let due = requests.first().and_then(|(_, due)| *due);
            return reply(replies::confirm_add_several(drafts, due, &self.now));
        }
        Ok(self.batch("add_tasks", &requests.into_iter().map(|(request, _)| request).collect::<Vec<_>>()))
    }

    /// Changes all tasks of a group in the same way.
    pub(super) fn change_group(&self, group: &Group, change: &Change, tentative: bool) -> Flow<Step> {
        if matches!(change, Change::Rename(_) | Change::Describe(_) | Change::Due(None)) {
            return reply(replies::many(Verb::Change));
        }
        let tasks = self.members(group, change)?;
        if let [task] = tasks.as_slice() {
            return self.change(change, task, tentative);
        }
        self.change_all(change, &tasks, tentative)
    }

    /// Changes several tasks; those that are so already are left alone.
    pub(super) fn change_all(&self, change: &Change, tasks: &[Task], tentative: bool) -> Flow<Step> {
        let (mut requests, mut left, mut changed) = (Vec::new(), None, Vec::new());
        for task in tasks {
            match self.due(change, task).and_then(|due| self.request(change, task, due)) {
                Ok(request) => {
                    requests.push(request);
                    changed.push(task);
                }
                Err(step) => left = Some(step),
            }
        }
        let Some((tool, _)) = requests.first() else {
            return left.map_or_else(|| reply(replies::many(verb_of(change))), Ok);
        };
        let single = matches!(change, Change::Reopen | Change::Undelete);
        if tentative || (single && requests.len() > CALLS) {
            return if single && requests.len() > CALLS {
                reply(replies::many(verb_of(change)))
            } else {
                reply(replies::confirm_several(change, &changed, &self.now))
            };
        }
        if single {
            return Ok(self.calls(requests));
        }
        Ok(self.batch(tool, &requests.into_iter().map(|(_, request)| request).collect::<Vec<_>>()))
    }

    /// The tasks of a group, each once.
    fn members(&self, group: &Group, change: &Change) -> Flow<Vec<Task>> {
        let places = |places: Vec<Place>| self.at_places(&places, change);
        let tasks = match group {
            Group::Named { whole, parts } => self.named(whole, parts, change),
            Group::Places(wanted) => places(wanted.clone()),
            Group::First(number) => places((1..=*number).map(Place::Nth).collect()),
            Group::Last(number) => {
                let length = context::listed(self.past);
                let first = (length + 1)
                    .checked_sub(*number)
                    .filter(|first| *first > 0)
                    .ok_or_else(|| Step::Reply(replies::no_such_place(length)))?;
                places((first..=length).map(Place::Nth).collect())
            }
            Group::Shown(number) => {
                let length = context::shown(self.past).ok_or_else(|| Step::Reply(replies::many(verb_of(change))))?;
                if number.is_some_and(|number| number != length) {
                    return Err(Step::Reply(replies::no_such_place(length)));
                }
                places((1..=length).map(Place::Nth).collect())
            }
            Group::Picked(said) => self.all_of(said, change),
        }?;
        let mut unique: Vec<Task> = Vec::new();
        for task in tasks {
            if !unique.iter().any(|known| known.id == task.id) {
                unique.push(task);
            }
        }
        Ok(unique)
    }

    /// The tasks among which those that shall be changed so are looked for.
    fn pool(&self, change: &Change) -> Flow<Vec<Task>> {
        match change {
            Change::Reopen => self.completed(),
            Change::Undelete => self.deleted(),
            Change::Delete => {
                let mut tasks = self.open(None)?;
                tasks.extend(self.completed()?);
                Ok(tasks)
            }
            _ => self.open(None),
        }
    }

    /// "milk and eggs": one title with an "and" in it, or several tasks.
    fn named(&self, whole: &Target, parts: &[Target], change: &Change) -> Flow<Vec<Task>> {
        let pool = self.pool(change)?;
        if let Target::Words(wanted) = whole
            && let Found::One(task) = targets::find(&pool, wanted)
        {
            return Ok(vec![task.clone()]);
        }
        let mut tasks = Vec::new();
        let mut problem = None;
        for part in parts {
            match part {
                Target::Words(wanted) => match targets::find(&pool, wanted) {
                    Found::One(task) => tasks.push(task.clone()),
                    Found::Several(fitting) => {
                        problem.get_or_insert(replies::not_one(&wanted.said, &fitting, &self.now));
                    }
                    _ => {
                        problem.get_or_insert(replies::missing(&wanted.said, change));
                    }
                },
                other => tasks.push(self.target(other, Some(change))?),
            }
        }
        match problem {
            Some(problem) if tasks.is_empty() => match whole {
                Target::Words(_) => Err(self.target(whole, Some(change)).err().unwrap_or(Step::Reply(problem))),
                _ => Err(Step::Reply(problem)),
            },
            Some(problem) => Err(Step::Reply(problem)),
            None => Ok(tasks),
        }
    }

    /// The tasks at these places of the last list.
    fn at_places(&self, places: &[Place], change: &Change) -> Flow<Vec<Task>> {
        let mut found = Vec::new();
        for place in places {
            let target =
                context::line(self.past, *place).map_err(|length| Step::Reply(replies::no_such_place(length)))?;
            found.push(target);
        }
        let mut pool = self.pool(change)?;
        if !matches!(change, Change::Delete | Change::Reopen | Change::Undelete) {
            pool.extend(self.completed()?);
        }
        found
            .iter()
            .map(|target| match target {
                Target::Id(id) => match pool.iter().find(|task| task.id == *id) {
                    Some(task) => Ok(task.clone()),
                    None => self.get(id),
                },
                Target::Line(line) => match self.on_line(line, &pool) {
                    Found::One(task) => Ok(task.clone()),
                    _ => Err(Step::Reply(replies::missing(line, change))),
                },
                other => self.target(other, Some(change)),
            })
            .collect()
    }

    /// "all completed tasks", "everything due today"; or a title that begins like that.
    fn all_of(&self, said: &str, change: &Change) -> Flow<Vec<Task>> {
        let text = Text::read(said);
        let clause = text.whole();
        let refused = || Step::Reply(replies::many(verb_of(change)));
        if matches!(change, Change::Undelete) {
            return Err(refused());
        }
        let (mut filter, left) = intent::filter(clause, &self.now);
        let names_tasks = clause.has(&["tasks|todos|items|reminders|ones|things|entries|errands|chores"]);
        if left.is_some() && !names_tasks {
            return self.titled(said, change);
        }
        if let Some(task) = self.pool(change)?.iter().find(|task| targets::same(&task.title, said)) {
            return Ok(vec![task.clone()]);
        }
        if filter.next || (left.is_some() && filter.words.is_some()) {
            return Err(refused());
        }
        filter.words = filter.words.or(left);
        match change {
            Change::Reopen => filter.state = State::Done,
            Change::Delete => {}
            _ if filter.state == State::All => filter.state = State::Open,
            _ => {}
        }
        let (tasks, _) = self.filtered(&filter)?;
        if tasks.is_empty() {
            return Err(Step::Reply(replies::list(&[], &filter, true, &self.now)));
        }
        Ok(tasks)
    }

    /// A title that begins with "all" or "every".
    fn titled(&self, said: &str, change: &Change) -> Flow<Vec<Task>> {
        let text = Text::read(said);
        let pool = self.pool(change)?;
        let exact: Vec<&Task> = pool.iter().filter(|task| targets::same(&task.title, said)).collect();
        let every: Vec<&str> = ["all", "every", "each", "everything", "any", "both"]
            .into_iter()
            .filter(|word| text.whole().eat(&[word]).is_some())
            .collect();
        let begins = |task: &Task| {
            let title = Text::read(&task.title);
            title.whole().has(&every)
        };
        match (exact.as_slice(), targets::find(&pool, &Wanted::of(text.whole()))) {
            ([task], _) => Ok(vec![(*task).clone()]),
            (_, Found::One(task)) if begins(task) => Ok(vec![task.clone()]),
            _ => Err(Step::Reply(replies::many(verb_of(change)))),
        }
    }
}

/// The verb of a change, for replies.
pub(super) fn verb_of(change: &Change) -> Verb {
    match change {
        Change::Complete => Verb::Complete,
        Change::Reopen => Verb::Reopen,
        Change::Delete => Verb::Delete,
        Change::Undelete => Verb::Undelete,
        _ => Verb::Change,
    }
}
