//! The conversation as the planner sees it: exchanges of a message, what was done about it and the
//! reply. What "it", "the second one", "yes" and the answer to a question mean is found here, from the
//! entries alone, because the planner keeps nothing.

use jiff::Zoned;

use super::dates;
use super::intent::{self, Change, Group, Intent, Reading, Talk};
use super::replies::{self, Question};
use super::targets::{self, Found, Place, Target, Task, Wanted};
use super::words::Text;
use crate::domain::tool::{ToolCall, ToolFailure, ToolResult};
use crate::model::{Entry, Transcript};

/// How far back a list or a task may lie.
const MEMORY: usize = 12;

/// A message of the user and everything up to the next one.
#[derive(Debug)]
pub(super) struct Exchange<'t> {
    /// What the user said.
    pub(super) message: &'t str,
    /// The calls, with their results as far as they are there.
    pub(super) steps: Vec<(&'t ToolCall, Option<&'t ToolResult>)>,
    /// The reply; empty while there is none.
    pub(super) reply: &'t str,
}

/// The task that was spoken of last.
#[derive(Debug)]
pub(super) struct Touched {
    /// How to find it.
    pub(super) target: Target,
    /// What was done to it; nothing if it was only shown.
    pub(super) verb: Option<Done>,
}

/// What a call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Made it.
    Add,
    /// Changed its fields.
    Update,
    /// Completed it.
    Complete,
    /// Reopened it.
    Reopen,
    /// Deleted it.
    Delete,
    /// Brought it back.
    Undelete,
    /// Took back what a turn did.
    Undo,
}

/// Reads the tool behind a write; nothing for a read. Conversations of old name tools that are not
/// offered any more.
pub(super) fn written(tool: &str) -> Option<Done> {
    Some(match tool {
        "add_task" | "add_tasks" => Done::Add,
        "update_task" | "update_tasks" => Done::Update,
        "complete_task" | "complete_tasks" => Done::Complete,
        "reopen_task" => Done::Reopen,
        "delete_task" | "delete_tasks" => Done::Delete,
        "undelete_task" => Done::Undelete,
        "undo_turn" => Done::Undo,
        _ => return None,
    })
}

// === impl Exchange ===

impl<'t> Exchange<'t> {
    /// Splits a transcript into exchanges, newest last.
    pub(super) fn of(transcript: &'t Transcript) -> Vec<Exchange<'t>> {
        let mut exchanges: Vec<Exchange<'t>> = Vec::new();
        for entry in &transcript.entries {
            match (entry, exchanges.last_mut()) {
                (Entry::User(message), _) => exchanges.push(Exchange { message, steps: Vec::new(), reply: "" }),
                (Entry::Assistant(reply), Some(last)) => last.reply = reply,
                (Entry::Call(call), Some(last)) => last.steps.push((call, None)),
                (Entry::Result(result), Some(last)) => {
                    let step = last.steps.iter_mut().find(|(call, found)| call.id == result.call_id && found.is_none());
                    if let Some((_, found)) = step {
                        *found = Some(result);
                    }
                }
                (_, None) => {}
            }
        }
        exchanges
    }

    /// The write of this exchange, if it has one, and what came of it.
    pub(super) fn write(&self) -> Option<(&'t ToolCall, Done, Option<&'t ToolResult>)> {
        self.steps.iter().find_map(|(call, result)| written(&call.name).map(|done| (*call, done, *result)))
    }

    /// The tasks that its reads and writes answered.
    pub(super) fn tasks(&self) -> Vec<Task> {
        let answers =
            self.steps.iter().filter_map(|(_, result)| result.and_then(|result| result.outcome.as_ref().ok()));
        answers.flat_map(Task::read_all).collect()
    }

    /// The tasks that its writes answered.
    pub(super) fn written(&self) -> Vec<Task> {
        let writes = self.steps.iter().filter(|(call, _)| written(&call.name).is_some());
        let answers = writes.filter_map(|(_, result)| result.and_then(|result| result.outcome.as_ref().ok()));
        answers.flat_map(Task::read_all).collect()
    }

    /// Why one of its calls failed, if one did.
    pub(super) fn failure(&self) -> Option<&'t ToolFailure> {
        self.steps.iter().find_map(|(_, result)| result.and_then(|result| result.outcome.as_ref().err()))
    }
}

/// What the last message of a conversation means, in the light of what was asked before it.
pub(super) fn interpret(exchanges: &[Exchange<'_>], now: &Zoned) -> Reading {
    let Some(last) = exchanges.len().checked_sub(1) else { return Reading::sure(Intent::Unknown) };
    // Back to where the chain of questions and answers began.
    let mut start = last;
    while start > 0 && last - start < MEMORY && Question::read(exchanges[start - 1].reply).is_some() {
        start -= 1;
    }
    let mut state = intent::read(exchanges[start].message, now);
    if let Some(reading) = follow_up(exchanges, last, now) {
        return reading;
    }
    for index in start + 1..=last {
        let fresh = intent::read(exchanges[index].message, now);
        let question = Question::read(exchanges[index - 1].reply);
        state = question
            .and_then(|question| answer(&state, question, &fresh, &exchanges[..index], exchanges[index].message, now))
            .unwrap_or(fresh);
    }
    state
}

/// "and for friday?" after a question about the list: the same question about that day.
fn follow_up(exchanges: &[Exchange<'_>], index: usize, now: &Zoned) -> Option<Reading> {
    const LEADS: &[&str] = &["and|ok|okay|so what|how about", "what|how about", "and for|on|about?"];
    let text = Text::read(exchanges[index].message);
    let clause = text.whole().trim();
    let rest = clause.eat(LEADS)?;
    let asks = text.whole().ends_with("?") || clause.eat(&["and? what|how about"]).is_some();
    if !asks || rest.is_empty() || rest.len() > 6 {
        return None;
    }
    let before = index.checked_sub(1)?;
    let previous = follow_up(exchanges, before, now).unwrap_or_else(|| intent::read(exchanges[before].message, now));
    let (Intent::List(old) | Intent::Count(old)) = &previous.intent else { return None };
    let (new, left) = intent::filter(rest, now);
    let mut filter = old.clone();
    let picks = new.range.is_some() || new.overdue || new.state != Default::default() || new.priority.is_some();
    match left {
        None if picks => {
            if new.range.is_some() || new.overdue {
                (filter.range, filter.overdue) = (new.range, new.overdue);
            }
            if new.state != filter.state && new.state != Default::default() {
                filter.state = new.state;
            }
            filter.priority = new.priority.or(filter.priority);
        }
        Some(words) if !picks && old.words.is_some() => filter.words = Some(words),
        _ => return None,
    }
    Some(Reading::sure(match previous.intent {
        Intent::Count(_) => Intent::Count(filter),
        _ => Intent::List(filter),
    }))
}

/// The request that a question was about, completed by its answer; nothing if the message is no answer.
fn answer(
    before: &Reading,
    question: Question,
    fresh: &Reading,
    past: &[Exchange<'_>],
    message: &str,
    now: &Zoned,
) -> Option<Reading> {
    match (&fresh.intent, question) {
        (Intent::Talk(Talk::No), _) => Some(Reading::sure(Intent::Talk(Talk::No))),
        (_, Question::Confirm) => confirm(before, fresh, message, now),
        (_, Question::Which) => which(before, fresh, past, message),
        // Nothing was found: other words may name the task, but they were not asked for.
        (_, Question::Retry) if plain(fresh) => {
            which(before, fresh, past, message).map(|reading| Reading { tentative: true, ..reading })
        }
        (_, Question::Retry) => None,
        (_, Question::Title) => titled(before, fresh, message, now),
        (_, Question::NewTitle) => plain(fresh).then(|| named(before, message)).flatten(),
        (_, Question::When) => {
            let text = Text::read(message);
            let due = dates::only(text.whole(), now)
                .or_else(|| plain(fresh).then(|| dates::at_end(text.whole(), now)).flatten().map(|(_, due)| due))?;
            if let Some(problem) = due.problem {
                return Some(Reading::sure(Intent::Unusable(problem)));
            }
            match &before.intent {
                Intent::Change(target, Change::Due(_)) => {
                    Some(Reading::sure(Intent::Change(target.clone(), Change::Due(due.when))))
                }
                _ => None,
            }
        }
    }
}

/// Whether a message is no command of its own.
fn plain(reading: &Reading) -> bool {
    matches!(reading.intent, Intent::Unknown | Intent::Pick(_) | Intent::Correct(_))
        || matches!(&reading.intent, Intent::Add(_) if reading.tentative)
        || matches!(reading.intent, Intent::Talk(Talk::Foreign | Talk::Elsewhere))
}

fn confirm(before: &Reading, fresh: &Reading, message: &str, now: &Zoned) -> Option<Reading> {
    let agreed = matches!(fresh.intent, Intent::Talk(Talk::Yes | Talk::Fine));
    let sure = Reading { tentative: false, ignored: None, ..before.clone() };
    if agreed {
        return Some(sure);
    }
    // "yes, tomorrow" and "yes, add it" agree too; "yes, and delete the other" is a command of its own.
    let text = Text::read(message);
    let whole = text.whole().trim();
    let polite =
        ["yes|yeah|yep|sure|ok|okay|yup , please? ,?", "yes|yeah|yep|sure|ok|okay|yup please? ,?", "please ,?"];
    let rest = whole.eat(&polite).unwrap_or(whole);
    if rest.is(&[
        "do|add|complete|delete|rename|reopen|move|change|mark|make|set it|that|this as? done? please?",
        "do so|it",
        "go ahead",
        "i do|did|would",
        "the|that one",
        "that one|is? right|correct?",
    ]) {
        return Some(sure);
    }
    let due = dates::only(rest, now).filter(|due| due.problem.is_none() && rest.from > whole.from)?;
    match sure.intent {
        Intent::Add(mut draft) => {
            draft.when = due.when;
            Some(Reading::sure(Intent::Add(draft)))
        }
        _ => None,
    }
}

fn which(before: &Reading, fresh: &Reading, past: &[Exchange<'_>], message: &str) -> Option<Reading> {
    let lines = past.last().map(|exchange| replies::lines(exchange.reply)).unwrap_or_default();
    let chosen = |target: Target| retarget(before, target);
    match &fresh.intent {
        Intent::Pick(place) if !lines.is_empty() => return chosen(Target::Place(*place)),
        Intent::Talk(Talk::Yes) if lines.len() == 1 => return chosen(Target::Place(Place::Nth(1))),
        Intent::Talk(Talk::Yes) if !lines.is_empty() => return Some(before.clone()),
        Intent::Many(_) if !lines.is_empty() => return all(before),
        Intent::Change(Target::Words(_) | Target::Place(_), _) => return None,
        _ => {}
    }
    let text = Text::read(message);
    let clause = text.whole().trim();
    if let Some(group @ (Group::Shown(_) | Group::Places(_) | Group::First(_) | Group::Last(_))) = intent::group(clause)
    {
        return grouped(before, group);
    }
    if !(plain(fresh) || matches!(fresh.intent, Intent::Show(_) | Intent::List(_))) || clause.len() > 12 {
        return None;
    }
    let words = clause
        .eat(&["i mean|meant", "yes|yeah|no|sorry|please ,?", "it's|its", "it is", "that|this is"])
        .unwrap_or(clause);
    let words = words.trim_start().eat(&["i mean|meant"]).unwrap_or(words);
    let picked = intent::target(words);
    if lines.is_empty() {
        return chosen(picked).filter(|_| plain(fresh));
    }
    let Target::Words(wanted) = picked else { return chosen(picked) };
    choose(&lines, &wanted).map_or_else(
        || chosen(Target::Words(wanted.clone())).filter(|_| plain(fresh)),
        |place| chosen(Target::Place(place)),
    )
}

/// The same request about all tasks of the question.
fn all(before: &Reading) -> Option<Reading> {
    grouped(before, Group::Shown(None))
}

fn grouped(before: &Reading, group: Group) -> Option<Reading> {
    match &before.intent {
        Intent::Change(_, change) | Intent::Group(_, change) => {
            Some(Reading::sure(Intent::Group(group, change.clone())))
        }
        _ => None,
    }
}

/// The line of a question that these words tell from the others.
fn choose(lines: &[String], wanted: &Wanted) -> Option<Place> {
    let options: Vec<Task> = lines
        .iter()
        .enumerate()
        .map(|(index, line)| Task { id: index.to_string(), title: line.clone(), ..Task::default() })
        .collect();
    match targets::find(&options, wanted) {
        Found::One(option) => option.id.parse::<usize>().ok().map(|index| Place::Nth(index + 1)),
        _ => None,
    }
}

/// The same request about another task.
fn retarget(before: &Reading, target: Target) -> Option<Reading> {
    let intent = match &before.intent {
        Intent::Change(_, change) => Intent::Change(target, change.clone()),
        Intent::Rename(ways) => {
            let (_, title) = ways.first()?;
            Intent::Change(target, Change::Rename(title.clone()))
        }
        Intent::Show(_) => Intent::Show(target),
        _ => return None,
    };
    Some(Reading::sure(intent))
}

/// "What should the task be called?" - the message is its title, with a day or labels if it has any.
fn titled(before: &Reading, fresh: &Reading, message: &str, now: &Zoned) -> Option<Reading> {
    let Intent::Add(draft) = &before.intent else { return None };
    if let Intent::Add(_) = &fresh.intent
        && !fresh.tentative
    {
        return None;
    }
    if let Intent::Change(..) | Intent::Rename(_) = &fresh.intent {
        // A title may sound like an order: then it is not carried out unasked.
        return Some(Reading { tentative: true, ..fresh.clone() });
    }
    if !plain(fresh) {
        return None;
    }
    let text = Text::read(message);
    let whole = text.whole();
    let words = whole
        .eat(&["it's|its called?", "call it :?", "it should be called?", "to", "the? title is|:"])
        .unwrap_or(whole);
    let (mut new, due) = match intent::draft(words, now, true) {
        Ok(read) => read,
        Err(problem) => return Some(Reading::sure(Intent::Unusable(problem))),
    };
    new.when = due.when.or_else(|| draft.when.clone());
    new.priority = new.priority.or(draft.priority);
    new.labels.splice(0..0, draft.labels.iter().cloned());
    new.description = new.description.or_else(|| draft.description.clone());
    Some(Reading::sure(Intent::Add(new)))
}

fn named(before: &Reading, message: &str) -> Option<Reading> {
    let text = Text::read(message);
    let whole = text.whole();
    let title = whole.only_quoted().map_or_else(|| super::words::tidy(message), super::words::tidy);
    match &before.intent {
        Intent::Change(target, Change::Rename(_)) if !title.is_empty() => {
            Some(Reading::sure(Intent::Change(target.clone(), Change::Rename(title))))
        }
        _ => None,
    }
}

/// The task that "it" means: the one that the latest exchange about a single task was about.
pub(super) fn touched(past: &[Exchange<'_>]) -> Option<Touched> {
    for exchange in past.iter().rev().take(MEMORY) {
        if let Some((call, done, result)) = exchange.write() {
            let mut made =
                result.and_then(|result| result.outcome.as_ref().ok()).map(Task::read_all).unwrap_or_default();
            let made = if made.len() == 1 { made.pop().map(|task| task.id) } else { None };
            let argument = || {
                let arguments = match call.arguments.get("requests").and_then(serde_json::Value::as_array) {
                    Some(requests) => requests.first().filter(|_| requests.len() == 1)?,
                    None => &call.arguments,
                };
                let id = arguments.get("taskId").or_else(|| arguments.get("task").and_then(|task| task.get("id")));
                id.and_then(serde_json::Value::as_str).map(str::to_owned)
            };
            if let Some(id) = made.or_else(argument) {
                return Some(Touched { target: Target::Id(id), verb: Some(done) });
            }
        }
        let lines = replies::lines(exchange.reply);
        match (lines.as_slice(), replies::about(exchange.reply)) {
            ([_], _) => {
                let target = line(std::slice::from_ref(exchange), Place::Nth(1)).unwrap_or(Target::Missing);
                return Some(Touched { target, verb: None });
            }
            ([_, _, ..], _) => return None,
            (_, Some((verb, title))) => {
                let known = exchange.tasks().into_iter().find(|task| task.title == title);
                let target = known.map_or(Target::Title(title), |task| Target::Id(task.id));
                return Some(Touched { target, verb });
            }
            _ => {}
        }
    }
    None
}

/// How long the last list is.
pub(super) fn listed(past: &[Exchange<'_>]) -> usize {
    let lines = past.iter().rev().take(MEMORY).map(|exchange| replies::lines(exchange.reply).len());
    lines.into_iter().find(|length| *length > 0).unwrap_or_default()
}

/// How many "they" are: as many as were shown last, all of them, with nothing done since.
pub(super) fn shown(past: &[Exchange<'_>]) -> Option<usize> {
    for exchange in past.iter().rev().take(MEMORY) {
        let length = replies::lines(exchange.reply).len();
        if length > 0 {
            return (!replies::is_cut(exchange.reply)).then_some(length);
        }
        if exchange.write().is_some() || replies::about(exchange.reply).is_some() {
            return None;
        }
    }
    None
}

/// The task at a place of the last list that was shown; an error says how long that list was.
pub(super) fn line(past: &[Exchange<'_>], place: Place) -> Result<Target, usize> {
    let shown = past.iter().rev().take(MEMORY).map(|exchange| (exchange, replies::lines(exchange.reply)));
    let Some((exchange, lines)) = shown.into_iter().find(|(_, lines)| !lines.is_empty()) else { return Err(0) };
    let index = match place {
        Place::Nth(number) => number.wrapping_sub(1),
        Place::Last => lines.len() - 1,
    };
    let Some(text) = lines.get(index) else { return Err(lines.len()) };
    let mut seen = Vec::new();
    let mut tasks = exchange.tasks();
    tasks.retain(|task| {
        let new = !seen.contains(&task.id);
        seen.push(task.id.clone());
        new && replies::shows(text, &task.title)
    });
    // The longest title that the line shows. Twins are in the order of their lines, if all were shown.
    let longest = tasks.iter().map(|task| task.title.len()).max().unwrap_or_default();
    tasks.retain(|task| task.title.len() == longest);
    let Some(title) = tasks.first().map(|task| task.title.clone()) else {
        return Ok(Target::Line(text.clone()));
    };
    let twin = |other: &&String| replies::shows(other, &title);
    let (before, shown) = (lines[..index].iter().filter(twin).count(), lines.iter().filter(twin).count());
    if tasks.len() != shown {
        return Ok(Target::Line(text.clone()));
    }
    tasks.get(before).map(|task| Target::Id(task.id.clone())).ok_or(lines.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_conversations_of_old_did_is_read_although_their_tools_are_not_offered_any_more() {
        for (tool, done) in [
            ("add_task", Done::Add),
            ("update_task", Done::Update),
            ("complete_task", Done::Complete),
            ("delete_task", Done::Delete),
        ] {
            assert_eq!(written(tool), Some(done));
            assert_eq!(crate::task_tools::classify(tool), None, "{tool}");
        }
        let id = Uuid::from_u128(1).to_string();
        let call = ToolCall { id: "a".into(), name: "add_task".into(), arguments: json!({"task": {"title": "milk"}}) };
        let made = json!({"id": id, "title": "milk", "etag": "1"});
        let result = ToolResult { call_id: "a".into(), outcome: Ok(made) };
        let entries =
            vec![Entry::User("add milk".into()), Entry::Call(call), Entry::Result(result), Entry::User("done".into())];
        let now = jiff::Timestamp::UNIX_EPOCH;
        let transcript = Transcript::new(now, "UTC", entries);
        let exchanges = Exchange::of(&transcript);
        assert_eq!(exchanges[0].written().len(), 1);
        assert!(matches!(exchanges[0].write(), Some((_, Done::Add, Some(_)))));
    }
}
