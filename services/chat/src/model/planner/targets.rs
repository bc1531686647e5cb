//! Which task is meant: words laid against titles.
//!
//! A task is taken without asking only when every word that was said fits it and no other task fits
//! as well. Near misses are offered, never taken.

use serde_json::Value;

use super::intent::{Priority, State};
use super::words::{Clause, Kind, Text};

mod stems;

pub(super) use stems::{base_of_past, base_of_told, stem, stems};

/// A task as the tools answer it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Task {
    /// Its id.
    pub(super) id: String,
    /// Its title.
    pub(super) title: String,
    /// Its description.
    pub(super) description: String,
    /// Whether it is done.
    pub(super) completed: bool,
    /// Whether it is deleted.
    pub(super) deleted: bool,
    /// Its priority, as in the contract.
    pub(super) priority: String,
    /// When it is due.
    pub(super) due: Option<jiff::Timestamp>,
    /// Its labels.
    pub(super) labels: Vec<String>,
    /// Its version.
    pub(super) etag: String,
}

/// Whom a command is about.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// The task that these words fit.
    Words(Wanted),
    /// The task at this place of the last list.
    Place(Place),
    /// The task with this id.
    Id(String),
    /// The task with exactly this title.
    Title(String),
    /// The task that this line of a list shows.
    Line(String),
    /// The task that was spoken of last.
    It,
    /// Nothing was named.
    Missing,
}

/// A place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Counted from 1.
    Nth(usize),
    /// The last one.
    Last,
}

/// Words that name a task.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// What was said, for replies.
    pub(super) said: String,
    /// The words that must be in the title, as stems.
    must: Vec<String>,
    /// The words that may be in it and decide between equals.
    may: Vec<String>,
    /// The verb of "I bought milk".
    verb: Option<String>,
    /// Whether the title was quoted.
    quoted: bool,
    /// Whether it was "a" thing, not "the" thing.
    indefinite: bool,
}

/// What a search among tasks found.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// Exactly one fits.
    One(&'a Task),
    /// Several fit.
    Several(Vec<&'a Task>),
    /// None fits, but these come near.
    Near(Vec<&'a Task>),
    /// Nothing.
    Nothing,
}

/// Words that help to point but are seldom part of a title.
const POINTING: &[&str] = &[
    "the", "my", "a", "an", "this", "that", "these", "those", "our", "of", "to", "for", "about", "with", "in", "on",
    "at", "from", "and", "please", "it", "is", "i", "me", "off", "up", "out", "by", "was", "been", "have", "had",
    "some", "all", "called", "named", "titled", "you", "your", "we", "do", "just", "already", "now",
];
const GENERAL: &[&str] = &[
    "task",
    "todo",
    "item",
    "reminder",
    "errand",
    "entry",
    "one",
    "thing",
    "appointment",
    "stuff",
    "job",
    "chore",
    "list",
    "again",
    "number",
];

// === impl Wanted ===

impl Wanted {
    /// The task that a phrase names.
    pub(super) fn of(clause: Clause<'_>) -> Self {
        let said = clause.trim().raw().to_owned();
        let words: Vec<String> = clause
            .words()
            .iter()
            .filter(|word| word.kind != Kind::Mark)
            .flat_map(|word| words(clause.inner(word)))
            .collect();
        let pointing = |word: &String| POINTING.contains(&word.as_str());
        let general = |word: &String| GENERAL.contains(&word.as_str());
        let mut must: Vec<String> =
            words.iter().filter(|word| !pointing(word) && !general(word)).map(|word| stem(word)).collect();
        let mut may: Vec<String> = words.iter().filter(|word| general(word)).map(|word| stem(word)).collect();
        if must.is_empty() {
            // "delete the reminder about it": then the pointing words are all there is.
            must = words.iter().filter(|word| general(word)).map(|word| stem(word)).collect();
            may = Vec::new();
        }
        // Of pointing words alone only a title that is exactly that is meant.
        must.dedup();
        let indefinite = matches!(words.first().map(String::as_str), Some("a" | "an" | "some"));
        Wanted { said, must, may, verb: None, quoted: false, indefinite }
    }

    /// A quoted title.
    pub(super) fn quoted(title: &str) -> Self {
        let text = Text::read(title);
        Wanted { said: title.to_owned(), quoted: true, ..Wanted::of(text.whole()) }
    }

    /// The task that somebody says to have done: "bought" and "milk".
    pub(super) fn said(verb: &str, object: Clause<'_>) -> Self {
        let mut wanted = Wanted::of(object);
        let verb = stem(verb);
        wanted.may.push(verb.clone());
        wanted.verb = Some(verb);
        wanted
    }

    /// Whether somebody told that it was done, rather than ordered something.
    pub(super) fn is_told(&self) -> bool {
        self.verb.is_some()
    }

    /// The longest word, as the user wrote it, to search by.
    pub(super) fn search_word(&self) -> Option<String> {
        let longest = words(&self.said).into_iter().filter(|word| self.must.contains(&stem(word)));
        longest.max_by_key(|word| word.chars().count())
    }

    /// Whether it says more than "the task" or "it".
    pub(super) fn is_plain(&self) -> bool {
        self.must.is_empty() || self.must.iter().all(|word| GENERAL.iter().any(|general| stem(general) == *word))
    }

    fn fits(&self, title: &Title) -> bool {
        !self.must.is_empty() && self.must.iter().all(|word| title.has(word))
    }

    /// Whether the title says exactly this: "I bought milk" is all of "Buy milk".
    fn is_all_of(&self, title: &Title) -> bool {
        let plain = |word: &&String| !POINTING.contains(&word.as_str());
        let said: Vec<&String> = self.verb.iter().chain(&self.must).collect();
        self.may.len() == usize::from(self.verb.is_some()) && title.stems.iter().filter(plain).eq(said.iter().copied())
    }

    /// Whether the title begins with another deed than the one that was said: "called the dentist"
    /// is not "pay the dentist", and who made "a dentist appointment" has not been there.
    fn contradicts(&self, title: &Title) -> bool {
        let (Some(verb), Some(first)) = (&self.verb, title.stems.first()) else { return false };
        if verb == "do" || title.stems.iter().any(|word| word == verb || stems::alike(word, verb)) {
            return false;
        }
        stems::is_deed(first) || self.indefinite
    }
}

/// The stems of a title.
struct Title {
    stems: Vec<String>,
    lower: String,
}

impl Title {
    fn of(title: &str) -> Self {
        Title { stems: stems(title), lower: title.to_lowercase() }
    }

    fn has(&self, word: &str) -> bool {
        self.stems.iter().any(|stem| stem == word || stems::same_name(stem, word))
            || (!word.is_ascii() && self.lower.contains(word))
    }
}

/// The words of a text in lower case, without what stands between them.
fn words(text: &str) -> Vec<String> {
    stems::split(text)
}

/// Looks for the task that is wanted.
pub(super) fn find<'a>(tasks: &'a [Task], wanted: &Wanted) -> Found<'a> {
    let exact: Vec<&Task> = tasks.iter().filter(|task| same(&task.title, &wanted.said)).collect();
    // What somebody told to have done is weighed with its verb below.
    if let Some(found) = one_or_several(&exact).filter(|_| !wanted.is_told()) {
        return found;
    }
    let titles: Vec<(&Task, Title)> = tasks.iter().map(|task| (task, Title::of(&task.title))).collect();
    let fitting: Vec<&(&Task, Title)> = titles.iter().filter(|(_, title)| wanted.fits(title)).collect();
    if let [(task, _)] = titles.iter().filter(|(_, title)| wanted.is_all_of(title)).collect::<Vec<_>>().as_slice() {
        return Found::One(task);
    }
    let also = |title: &Title, word: &str| title.has(word) || title.stems.iter().any(|stem| stems::alike(stem, word));
    let more = |title: &Title| wanted.may.iter().filter(|word| also(title, word)).count();
    let best = fitting.iter().map(|(_, title)| more(title)).max().unwrap_or(0);
    let top: Vec<&&(&Task, Title)> = fitting.iter().filter(|(_, title)| more(title) == best).collect();
    if !exact.is_empty() && fitting.len() > 1 {
        return Found::Several(fitting.iter().map(|(task, _)| *task).collect());
    }
    match top.as_slice() {
        [] => near(&titles, wanted),
        [(task, title)] if !wanted.contradicts(title) && (best > 0 || fitting.len() == 1) => Found::One(task),
        [(task, title)] if wanted.contradicts(title) && fitting.len() == 1 => Found::Near(vec![task]),
        _ => Found::Several(fitting.iter().map(|(task, _)| *task).collect()),
    }
}

fn near<'a>(titles: &[(&'a Task, Title)], wanted: &Wanted) -> Found<'a> {
    if wanted.quoted && wanted.must.len() > 3 {
        return Found::Nothing;
    }
    let score = |title: &Title| {
        wanted
            .must
            .iter()
            .filter(|word| title.has(word) || title.stems.iter().any(|stem| stems::mistyped(stem, word)))
            .count()
    };
    let best = titles.iter().map(|(_, title)| score(title)).max().unwrap_or(0);
    if best == 0 || best * 2 < wanted.must.len() {
        return Found::Nothing;
    }
    Found::Near(titles.iter().filter(|(_, title)| score(title) == best).map(|(task, _)| *task).take(10).collect())
}

fn one_or_several<'a>(tasks: &[&'a Task]) -> Option<Found<'a>> {
    match tasks {
        [] => None,
        [one] => Some(Found::One(one)),
        several => Some(Found::Several(several.to_vec())),
    }
}

/// Whether two titles are the same but for case, articles and punctuation.
pub(super) fn same(a: &str, b: &str) -> bool {
    let plain = |text: &str| -> Vec<String> {
        words(text).into_iter().filter(|word| !matches!(word.as_str(), "the" | "a" | "an" | "my")).collect()
    };
    let (a_words, b_words) = (plain(a), plain(b));
    if a_words.is_empty() { a.trim() == b.trim() } else { a_words == b_words }
}

/// Whether all words of a search are in a task.
pub(super) fn mentions(task: &Task, search: &str) -> bool {
    let text = Text::read(search);
    let wanted = Wanted::of(text.whole());
    wanted.fits(&Title::of(&format!("{} {}", task.title, task.description)))
}

// === impl Task ===

impl Task {
    /// Reads a task from a tool's answer; nothing if it has no id.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = text("id");
        let labels = value.get("labels").and_then(Value::as_array).into_iter().flatten();
        (!id.is_empty()).then(|| Task {
            id,
            title: text("title"),
            description: text("description"),
            completed: value.get("completed").and_then(Value::as_bool).unwrap_or_default(),
            deleted: value.get("deleteTime").is_some_and(|time| !time.is_null()),
            priority: text("priority"),
            due: value.get("dueTime").and_then(Value::as_str).and_then(|time| time.parse().ok()),
            labels: labels.filter_map(Value::as_str).map(str::to_owned).collect(),
            etag: text("etag"),
        })
    }

    /// The tasks of a list's answer, or the one task of any other answer.
    pub(super) fn read_all(value: &Value) -> Vec<Self> {
        match value.get("tasks").and_then(Value::as_array) {
            Some(tasks) => tasks.iter().filter_map(Task::read).collect(),
            None => Task::read(value).into_iter().collect(),
        }
    }

    /// Whether it is in this state.
    pub(super) fn is(&self, state: State) -> bool {
        match state {
            State::Open => !self.completed,
            State::Done => self.completed,
            State::All => true,
        }
    }
}

// === impl Priority ===

impl Priority {
    /// Its name in the contract.
    pub(super) fn name(self) -> &'static str {
        match self {
            Priority::None => "PRIORITY_NONE",
            Priority::Low => "PRIORITY_LOW",
            Priority::Medium => "PRIORITY_MEDIUM",
            Priority::High => "PRIORITY_HIGH",
        }
    }

    /// How a reply says it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Priority::None => "no",
            Priority::Low => "low",
            Priority::Medium => "medium",
            Priority::High => "high",
        }
    }
}

/// Whether a word names something that can be done: "buy", "call".
pub(super) fn is_deed(word: &str) -> bool {
    stems::is_deed(&stem(word))
}

/// A title after a correction: "buy milk" and "oat milk" make "buy oat milk"; words that begin with a
/// deed of their own, or share nothing with a title that begins with none, replace it whole.
pub(super) fn corrected(title: &str, words: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (title.split_whitespace().collect(), words.split_whitespace().collect());
    let (Some(first), Some(start)) = (old.first(), new.first()) else { return words.to_owned() };
    let deed = |word: &str| stems::is_deed(&stem(&word.to_lowercase()));
    if deed(start) || !deed(first) || old.len() < 2 {
        return words.to_owned();
    }
    // What both end with is kept once: the new words stand where the old ending began.
    let alike = |(a, b): &(&&str, &&str)| a.to_lowercase() == b.to_lowercase();
    let shared = old.iter().rev().zip(new.iter().rev()).take_while(alike).count();
    if shared > 0 && shared < old.len() {
        return format!("{} {words}", old[..old.len() - shared].join(" "));
    }
    format!("{first} {words}")
}
