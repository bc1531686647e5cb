//! Everything that the planner says, in one place, and what its own replies can be asked later: which
//! list was shown, which question was put.
//!
//! Titles are other people's words: they stand in quotation marks or in a numbered line, and no reply
//! begins with one, so that a title cannot pass for a question of the planner.

use jiff::civil::Weekday;
use jiff::{Timestamp, ToSpan, Zoned};

use super::context::Done;
use super::dates::{END_OF_DAY, Problem};
use super::intent::{Change, Draft, Filter, State, Verb};
use super::targets::Task;

mod several;
mod talk;

pub(super) use several::{changed_several, confirm_add_several, confirm_several, is_cut, missing, not_one, undone};
pub(super) use talk::{failure, foreign, talk, unknown};

/// How many tasks a list shows.
pub(super) const SHOWN: usize = 20;

const WHICH: &str = "Which task do you mean?";
const NEAR: &str = "I am not sure which task you mean.";
const NOT_FOUND: &str = "I found no ";
const CONFIRM: &str = "Should I ";
const TITLE: &str = "What should the task be called?";
const NEW_TITLE: &str = "What should be the new title of ";
const WHEN: &str = "When should it be due: ";

/// A question that the planner put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Which task is meant.
    Which,
    /// None was found: other words may be tried.
    Retry,
    /// Whether to do it.
    Confirm,
    /// What the new task is called.
    Title,
    /// What the task shall be called.
    NewTitle,
    /// When it shall be due.
    When,
}

// === impl Question ===

impl Question {
    /// The question that a reply put, if it put one.
    pub(super) fn read(reply: &str) -> Option<Self> {
        let questions = [
            (WHICH, Question::Which),
            (NEAR, Question::Which),
            (NOT_FOUND, Question::Retry),
            (CONFIRM, Question::Confirm),
            (TITLE, Question::Title),
            (NEW_TITLE, Question::NewTitle),
            (WHEN, Question::When),
        ];
        questions.into_iter().find(|(start, _)| reply.starts_with(start)).map(|(_, question)| question)
    }
}

// === Reading replies ===

/// The numbered lines of a reply, without their numbers.
pub(super) fn lines(reply: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in reply.lines() {
        let number = format!("{}. ", found.len() + 1);
        if let Some(text) = line.strip_prefix(&number) {
            found.push(text.to_owned());
        }
    }
    found
}

/// Whether a numbered line shows the task with this title.
pub(super) fn shows(line: &str, title: &str) -> bool {
    !title.is_empty() && line.strip_prefix(title).is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
}

/// The line that shows a task.
pub(super) fn line(task: &Task, now: &Zoned) -> String {
    with_facts(&task.title, task, now)
}

/// The task that a reply was about, by its title, and what had been done.
pub(super) fn about(reply: &str) -> Option<(Option<Done>, String)> {
    let starts: &[(&str, Option<Done>)] = &[
        ("Added “", Some(Done::Add)),
        ("Done: “", Some(Done::Complete)),
        ("Open again: “", Some(Done::Reopen)),
        ("Renamed “", Some(Done::Update)),
        ("Changed “", Some(Done::Update)),
        ("Deleted “", Some(Done::Delete)),
        ("Brought back “", Some(Done::Undelete)),
        ("Here it is: “", None),
        ("Nothing to change: “", None),
        (WHEN, None),
        (NEW_TITLE, None),
        ("Should I mark “", None),
        ("Should I open “", None),
        ("Should I rename “", None),
        ("Should I change “", None),
        ("Should I delete “", None),
        ("Should I bring back “", None),
    ];
    let (start, done) = starts.iter().find(|(start, _)| reply.starts_with(start))?;
    let rest = reply[start.len()..].lines().next()?.trim_start_matches('“');
    let renamed = (*start == "Renamed “").then(|| rest.split_once("” to “").map(|(_, new)| new)).flatten();
    let rest = renamed.unwrap_or_else(|| rest.split("” to “").next().unwrap_or(rest));
    let end = rest.rfind('”')?;
    Some((*done, rest[..end].to_owned()))
}

// === Parts ===

fn quoted(title: &str) -> String {
    format!("“{title}”")
}

/// A moment as people say it: "tomorrow 17:00", "Friday", "15 April 2027".
pub(super) fn moment(at: Timestamp, now: &Zoned) -> String {
    let then = at.to_zoned(now.time_zone().clone());
    let (day, today) = (then.date(), now.date());
    let away = today.until(day).map_or(i32::MAX, |span| span.get_days());
    let name = match away {
        0 => "today".to_owned(),
        1 => "tomorrow".to_owned(),
        -1 => "yesterday".to_owned(),
        2..=6 => weekday(day.weekday()).to_owned(),
        _ if day.year() == today.year() => {
            format!("{} {} {}", &weekday(day.weekday())[..3], day.day(), month(day.month()))
        }
        _ => format!("{} {} {}", day.day(), month(day.month()), day.year()),
    };
    if then.time() == END_OF_DAY { name } else { format!("{name} {:02}:{:02}", then.hour(), then.minute()) }
}

fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

fn month(month: i8) -> &'static str {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    usize::try_from(month - 1).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or("")
}

/// What there is to know about a task beside its title: "due tomorrow 17:00, high priority, #home".
fn facts(task: &Task, now: &Zoned) -> Vec<String> {
    let mut facts = Vec::new();
    if task.completed {
        facts.push("done".to_owned());
    }
    if let Some(due) = task.due {
        let late = due < now.timestamp() && !task.completed;
        facts.push(format!("{} {}", if late { "overdue since" } else { "due" }, moment(due, now)));
    }
    match task.priority.as_str() {
        "PRIORITY_HIGH" => facts.push("high priority".to_owned()),
        "PRIORITY_MEDIUM" => facts.push("medium priority".to_owned()),
        "PRIORITY_LOW" => facts.push("low priority".to_owned()),
        _ => {}
    }
    facts.extend(task.labels.iter().map(|label| format!("#{label}")));
    facts
}

fn with_facts(title: &str, task: &Task, now: &Zoned) -> String {
    let facts = facts(task, now);
    if facts.is_empty() { title.to_owned() } else { format!("{title} ({})", facts.join(", ")) }
}

fn numbered(tasks: &[&Task], now: &Zoned) -> String {
    let shown = tasks.iter().take(SHOWN).enumerate();
    let mut text: Vec<String> = shown.map(|(index, task)| format!("{}. {}", index + 1, line(task, now))).collect();
    if tasks.len() > SHOWN {
        text.push(format!("and {} more.", tasks.len() - SHOWN));
    }
    text.join("\n")
}

fn count(number: usize, kind: &str) -> String {
    let tasks = if number == 1 { "task" } else { "tasks" };
    let kind = if kind.is_empty() { String::new() } else { format!("{kind} ") };
    match number {
        0 => format!("no {kind}tasks"),
        1 => format!("one {kind}{tasks}"),
        _ => format!("{number} {kind}{tasks}"),
    }
}

// === Lists ===

/// What a filter picks: an adjective and what follows "tasks".
fn kind(filter: &Filter) -> (String, String) {
    let mut before: Vec<&str> = Vec::new();
    if filter.overdue {
        before.push("overdue");
    } else {
        match filter.state {
            State::Open => before.push("open"),
            State::Done => before.push("completed"),
            State::All => {}
        }
    }
    let level = filter.priority.map(|priority| format!("{}-priority", priority.word()));
    before.extend(level.as_deref());
    let mut after = Vec::new();
    after.extend(filter.range.as_ref().map(|range| range.name.clone()));
    match filter.dated {
        Some(true) => after.push("with a due date".to_owned()),
        Some(false) => after.push("without a due date".to_owned()),
        None => {}
    }
    after.extend(filter.label.as_ref().map(|label| format!("tagged #{label}")));
    after.extend(filter.words.as_ref().map(|words| format!("about {}", quoted(words))));
    let after = if after.is_empty() { String::new() } else { format!(" {}", after.join(" ")) };
    (before.join(" "), after)
}

/// A list of tasks.
pub(super) fn list(tasks: &[&Task], filter: &Filter, complete: bool, now: &Zoned) -> String {
    let (kind, after) = kind(filter);
    if tasks.is_empty() {
        let hint = if filter.state == State::Open && after.is_empty() && kind == "open" {
            " Say for example: add buy milk tomorrow."
        } else {
            ""
        };
        return format!("You have no {}tasks{after}.{hint}", if kind.is_empty() { kind } else { format!("{kind} ") });
    }
    if filter.next {
        return format!("Next is:\n{}", numbered(tasks, now));
    }
    let more = if complete { "" } else { "at least " };
    format!("You have {more}{}{after}:\n{}", count(tasks.len(), &kind), numbered(tasks, now))
}

/// How many there are.
pub(super) fn counted(number: usize, filter: &Filter, complete: bool) -> String {
    let (kind, after) = kind(filter);
    let more = if complete { "" } else { "at least " };
    format!("You have {more}{}{after}.", count(number, &kind))
}

/// One task with everything about it.
pub(super) fn shown(task: &Task, now: &Zoned) -> String {
    let mut facts = facts(task, now);
    if !task.completed {
        facts.insert(0, "open".to_owned());
    }
    let about = if task.description.is_empty() {
        String::new()
    } else {
        format!("\n{}", task.description.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    format!("Here it is: {} ({}){about}", quoted(&task.title), facts.join(", "))
}

// === Questions ===

/// Several tasks fit.
pub(super) fn which(tasks: &[&Task], now: &Zoned) -> String {
    format!("{WHICH} Say its number or more of its title.\n{}", numbered(tasks, now))
}

/// Only near misses were found.
pub(super) fn near(tasks: &[&Task], now: &Zoned) -> String {
    let ask = if tasks.len() == 1 { "Is it this one?" } else { "Is it one of these?" };
    format!("{NEAR} {ask}\n{}", numbered(tasks, now))
}

/// No task was named.
pub(super) fn which_at_all() -> String {
    format!("{WHICH} Tell me a part of its title.")
}

/// The new task has no title yet.
pub(super) fn ask_title() -> String {
    TITLE.to_owned()
}

/// The task needs a new title.
pub(super) fn ask_new_title(task: &Task) -> String {
    format!("{NEW_TITLE}{}?", quoted(&task.title))
}

/// The task needs a new due time.
pub(super) fn ask_when(task: &Task) -> String {
    format!("{WHEN}{}? Say for example: tomorrow, friday 17:00, in 3 days.", quoted(&task.title))
}

/// Asks before making a task.
pub(super) fn confirm_add(draft: &Draft, due: Option<Timestamp>, now: &Zoned) -> String {
    let due = due.map(|due| format!(" (due {})", moment(due, now))).unwrap_or_default();
    format!("{CONFIRM}add a task called {}{due}?", quoted(draft.title.as_deref().unwrap_or_default()))
}

/// Asks before changing a task.
pub(super) fn confirm(change: &Change, task: &Task, due: Option<Timestamp>, now: &Zoned) -> String {
    let title = quoted(&task.title);
    let what = match change {
        Change::Complete => format!("mark {title} as done"),
        Change::Reopen => format!("open {title} again"),
        Change::Rename(new) => format!("rename {title} to {}", quoted(new)),
        Change::Delete => format!("delete {title}"),
        Change::Undelete => format!("bring back {title}"),
        Change::Priority(priority) => format!("change {title} to {} priority", priority.word()),
        Change::Due(_) | Change::Shift(_) | Change::NoDue => {
            format!("change {title} to be due {}", due.map_or_else(|| "at no time".to_owned(), |due| moment(due, now)))
        }
        Change::Describe(_) => format!("change {title} and its description"),
        Change::Label(label) => format!("change {title} and tag it #{label}"),
        Change::Unlabel(label) => format!("change {title} and take #{label} off"),
    };
    format!("{CONFIRM}{what}?")
}

// === What was done ===

/// A task was made.
pub(super) fn added(task: &Task, repeats: bool, now: &Zoned) -> String {
    let once = if repeats { " I cannot repeat tasks, so it is there once." } else { "" };
    format!("Added {}.{once}", with_facts(&quoted(&task.title), task, now))
}

/// A task was changed. `before` is the task as it was, if it was seen.
pub(super) fn changed(done: Done, change: Option<&Change>, before: Option<&Task>, task: &Task, now: &Zoned) -> String {
    let title = quoted(&task.title);
    match (done, change) {
        (Done::Add | Done::Undo, _) => added(task, false, now),
        (Done::Complete, _) => format!("Done: {title}."),
        (Done::Reopen, _) => format!("Open again: {title}."),
        (Done::Delete, _) => format!("Deleted {title}. Say undo to bring it back."),
        (Done::Undelete, _) => format!("Brought back {title}."),
        (Done::Update, Some(Change::Rename(_))) => {
            let old = before.map_or("it", |task| task.title.as_str());
            format!("Renamed {} to {title}.", quoted(old))
        }
        (Done::Update, Some(Change::Due(_) | Change::Shift(_) | Change::NoDue)) => match task.due {
            Some(due) => format!("Changed {title}: it is now due {}.", moment(due, now)),
            None => format!("Changed {title}: it has no due date now."),
        },
        (Done::Update, Some(Change::Describe(_))) => format!("Changed {title}: the description is saved."),
        (Done::Update, Some(Change::Priority(priority))) => {
            format!("Changed {title}: it has {} priority now.", priority.word())
        }
        (Done::Update, Some(Change::Label(label))) => format!("Changed {title}: it is tagged #{label} now."),
        (Done::Update, Some(Change::Unlabel(label))) => format!("Changed {title}: #{label} is off it."),
        (Done::Update, _) => format!("Changed {title}."),
    }
}

/// The task is so already.
pub(super) fn already(task: &Task, state: &str) -> String {
    format!("Nothing to change: {} {state}.", quoted(&task.title))
}

/// A title is too long.
pub(super) fn too_long(what: &str, most: usize) -> String {
    format!("The {what} is too long: it can have {most} characters. Nothing was changed.")
}

// === What was not done ===

/// No task fits.
pub(super) fn not_found(said: &str, change: Option<&Change>) -> String {
    let kind = match change {
        Some(Change::Complete) => "open task",
        Some(Change::Reopen) => "completed task",
        Some(Change::Undelete) => "deleted task",
        _ => "task",
    };
    let said: String = said.chars().take(100).collect();
    format!("{NOT_FOUND}{kind} that fits {}. Nothing was changed. Say “list my tasks” to see them.", quoted(&said))
}

/// The place is not in the list.
pub(super) fn no_such_place(length: usize) -> String {
    match length {
        0 => "I have not shown you a list yet. Say “list my tasks” first, or tell me a part of the title.".to_owned(),
        1 => "The last list had only one task.".to_owned(),
        _ => format!("The last list had only {length} tasks."),
    }
}

/// A place was named, but not what to do.
pub(super) fn picked() -> String {
    "What should I do with it? Say for example: complete the first one, delete number 2, move the last one to friday."
        .to_owned()
}

/// It is not plain which tasks are meant.
pub(super) fn many(verb: Verb) -> String {
    let example = match verb {
        Verb::Complete => "complete milk and eggs, complete the first two, complete everything due today",
        Verb::Reopen => "reopen milk and eggs, reopen the first two",
        Verb::Delete => "delete milk and eggs, delete the first two, delete all completed tasks",
        Verb::Undelete => "bring back milk and eggs, bring back the first two",
        Verb::Change => "move milk and eggs to friday, move everything due today to tomorrow",
        Verb::Add => "add milk, eggs and bread",
    };
    format!(
        "I am not sure which tasks you mean, so nothing was changed. Say for example: {example}. \
         If that was a title, put it in quotes."
    )
}

/// More than one command.
pub(super) fn several_commands() -> String {
    "That is more than one thing, and I do one at a time. Nothing was changed: please say them one after another."
        .to_owned()
}

/// A day or time that cannot be used.
pub(super) fn unusable(problem: &Problem, now: &Zoned) -> String {
    match problem {
        Problem::TwoWays(said) => {
            let (a, b) = said.split_once('/').unwrap_or((said, said));
            let day = |month: &str, day: &str| {
                let month_name = month.parse().map(self::month).unwrap_or("");
                format!("{day} {month_name}")
            };
            format!(
                "I can read {said} as {} or as {}. Please name the month. Nothing was changed.",
                day(a, b),
                day(b, a)
            )
        }
        Problem::NoSuch(said) => format!("There is no {}. Nothing was changed.", quoted(said)),
        Problem::Several => "I see more than one day or time in that. Please name one. Nothing was changed.".to_owned(),
        Problem::Past(at) => {
            format!("That is past already ({}). Please name a time to come. Nothing was changed.", moment(*at, now))
        }
    }
}

/// There is nothing to take back.
pub(super) fn no_undo() -> String {
    "There is nothing that I could take back. Nothing was changed.".to_owned()
}

/// A part of the message was left aside.
pub(super) fn ignored(part: &str) -> String {
    let part: String = part.chars().take(100).collect();
    format!("\nI did not understand {} and did nothing about it.", quoted(&part))
}

/// The far end of the calendar was reached.
pub(super) fn out_of_calendar(now: &Zoned) -> String {
    let year = now.date().saturating_add(1.year()).year();
    format!("That day is out of my calendar. Say for example: 15 april {year}. Nothing was changed.")
}
