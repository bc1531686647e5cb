//! What the user wants: a message becomes one [`Reading`].
//!
//! Patterns only, in a fixed order; no task is looked at here. A command counts only at the start of
//! a clause (after greetings and polite words), so command words inside titles mean nothing. What is
//! doubtful is marked [`Reading::tentative`] and asked about before anything is written; what is
//! refused, asked or imagined ("don't ...", "what if ...") is never a command.

use jiff::Zoned;

use super::dates::{self, Problem, Range, Shift, When};
use super::targets::{Place, Target, Wanted};
use super::words::{Clause, Kind, Text};

mod add;
mod change;
mod fields;
mod filter;
mod foreign;
mod group;
mod items;
mod look;
mod said;
mod talk;

pub(super) use add::draft;
pub(super) use change::target;
pub(super) use filter::filter;
pub(super) use group::{Group, group};

/// What a message means.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// What is wanted.
    pub(super) intent: Intent,
    /// Whether it must be confirmed before anything is written.
    pub(super) tentative: bool,
    /// A part of the message that was not understood.
    pub(super) ignored: Option<String>,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub(super) enum Intent {
    /// Make a task.
    Add(Draft),
    /// Make several tasks.
    AddSeveral(Vec<Draft>),
    /// Change one task.
    Change(Target, Change),
    /// Change several tasks in the same way.
    Group(Group, Change),
    /// Rename one task; where "to" stands more than once, each way to split the sentence.
    Rename(Vec<(Target, String)>),
    /// Complete those of these that are there: several sentences told what was done.
    Said(Vec<Wanted>),
    /// Mend what was just written: "actually make that oat milk".
    Correct(Correction),
    /// Take back what was just done.
    Undo,
    /// Show tasks.
    List(Filter),
    /// Say how many there are.
    Count(Filter),
    /// Show one task.
    Show(Target),
    /// Do something to several tasks, but it is not plain to which.
    Many(Verb),
    /// More than one command in one message.
    SeveralCommands,
    /// A day or time that cannot be used.
    Unusable(Problem),
    /// Words that ask for nothing to be done.
    Talk(Talk),
    /// Only a place: "the second one".
    Pick(Place),
    /// Nothing that is understood.
    Unknown,
}

/// A task to be made.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    /// Its title, if one was said.
    pub(super) title: Option<String>,
    /// Its description.
    pub(super) description: Option<String>,
    /// Its priority.
    pub(super) priority: Option<Priority>,
    /// Its labels.
    pub(super) labels: Vec<String>,
    /// When it is due.
    pub(super) when: Option<When>,
    /// Whether it was asked to repeat, which tasks cannot.
    pub(super) repeats: bool,
}

/// A change of one task.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Mark it as done.
    Complete,
    /// Mark it as not done.
    Reopen,
    /// Call it this.
    Rename(String),
    /// Move it; without a time, ask when.
    Due(Option<When>),
    /// Move it by a length of time.
    Shift(Shift),
    /// Take its due time away.
    NoDue,
    /// Describe it so.
    Describe(String),
    /// Give it a priority.
    Priority(Priority),
    /// Put a label on it.
    Label(String),
    /// Take a label off it.
    Unlabel(String),
    /// Delete it.
    Delete,
    /// Bring it back.
    Undelete,
}

/// The words of a correction, and when they say.
#[derive(Clone, Debug)]
pub(super) struct Correction {
    /// The new words, without a day or time.
    pub(super) words: String,
    /// The new day or time, if the correction is nothing else.
    pub(super) when: Option<When>,
    /// The new priority, if the correction is nothing else.
    pub(super) priority: Option<Priority>,
}

/// How much a task matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    /// Not at all.
    None,
    /// Can wait.
    Low,
    /// Matters.
    Medium,
    /// Comes first.
    High,
}

/// Which tasks to show.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// Open ones, done ones or all.
    pub(super) state: State,
    /// Only those past their due time.
    pub(super) overdue: bool,
    /// Only those due then.
    pub(super) range: Option<Range>,
    /// Only those without (false) or with (true) a due time.
    pub(super) dated: Option<bool>,
    /// Only those with this label.
    pub(super) label: Option<String>,
    /// Only those with this priority.
    pub(super) priority: Option<Priority>,
    /// Only those with these words.
    pub(super) words: Option<String>,
    /// Only the next one.
    pub(super) next: bool,
}

/// Whether open or done tasks are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Those still to do.
    #[default]
    Open,
    /// Those that are done.
    Done,
    /// Both.
    All,
}

/// What is done to several tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Completing.
    Complete,
    /// Reopening.
    Reopen,
    /// Deleting.
    Delete,
    /// Bringing back.
    Undelete,
    /// Anything else.
    Change,
    /// Adding.
    Add,
}

/// Words that ask for nothing to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    /// "hi"
    Greeting,
    /// "thanks"
    Thanks,
    /// "bye"
    Bye,
    /// "how are you"
    HowAreYou,
    /// "who are you"
    Who,
    /// "help", "what can you do"
    Help,
    /// "how do I delete a task?"
    HowTo,
    /// "ok", "great"
    Fine,
    /// "yes"
    Yes,
    /// "no", "never mind"
    No,
    /// "don't delete it"
    Negated,
    /// "what if I deleted it"
    Imagined,
    /// Something that has nothing to do with tasks.
    Elsewhere,
    /// Another language.
    Foreign,
}

impl Reading {
    /// A reading that is beyond doubt.
    pub(super) fn sure(intent: Intent) -> Self {
        Reading { intent, tentative: false, ignored: None }
    }

    /// A reading that has to be confirmed.
    pub(super) fn tentative(intent: Intent) -> Self {
        Reading { intent, tentative: true, ignored: None }
    }

    fn is_unknown(&self) -> bool {
        matches!(self.intent, Intent::Unknown)
    }

    fn is_talk(&self) -> bool {
        matches!(self.intent, Intent::Talk(_))
    }
}

/// Reads a message.
pub(super) fn read(message: &str, now: &Zoned) -> Reading {
    let text = Text::read(message);
    let whole = text.whole();
    if whole.is_empty() {
        return Reading::sure(Intent::Unknown);
    }
    let sentences = sentences(whole);
    let readings: Vec<(Clause<'_>, Reading)> =
        sentences.iter().take(20).map(|sentence| (*sentence, clause(*sentence, now))).collect();
    let wanted: Vec<Reading> = readings
        .iter()
        .map(|(_, reading)| reading)
        .filter(|reading| !reading.is_unknown() && !reading.is_talk())
        .cloned()
        .collect();
    let mut wanted = joined(wanted);
    let refused = readings
        .iter()
        .find(|(_, reading)| matches!(reading.intent, Intent::Talk(Talk::Negated | Talk::Imagined | Talk::HowTo)));
    match (wanted.len(), refused) {
        (0, Some((_, refused))) => return refused.clone(),
        (1, None) => {
            let mut one = wanted.remove(0);
            let rest = readings.iter().find(|(_, reading)| reading.is_unknown());
            one.ignored = rest.map(|(sentence, _)| sentence.raw().trim().to_owned());
            return one;
        }
        (0, None) => {}
        _ => return Reading::sure(Intent::SeveralCommands),
    }
    let unknown = readings.iter().any(|(_, reading)| reading.is_unknown());
    if unknown && foreign::is_foreign(whole) {
        return Reading::sure(Intent::Talk(Talk::Foreign));
    }
    // Of several sentences of small talk the last one that is not a mere greeting is answered.
    let talk = readings.iter().rev().map(|(_, reading)| reading);
    if unknown {
        return Reading::sure(Intent::Unknown);
    }
    let mut spoken: Vec<&Reading> = talk.collect();
    spoken.sort_by_key(|reading| matches!(reading.intent, Intent::Talk(Talk::Greeting | Talk::Fine | Talk::Thanks)));
    spoken.first().map_or_else(|| Reading::sure(Intent::Unknown), |reading| (*reading).clone())
}

/// Joins sentences that belong together: what is said of a task that was just told to be made, and
/// several things that were done, of which one may be a task.
fn joined(readings: Vec<Reading>) -> Vec<Reading> {
    let told: Vec<Wanted> = readings
        .iter()
        .filter_map(|reading| match &reading.intent {
            Intent::Change(Target::Words(wanted), Change::Complete) if wanted.is_told() => Some(wanted.clone()),
            _ => None,
        })
        .collect();
    if told.len() > 1 && told.len() == readings.len() {
        return vec![Reading::sure(Intent::Said(told))];
    }
    let mut joined: Vec<Reading> = Vec::new();
    for reading in readings {
        if let Some(Reading { intent: Intent::Add(draft), .. }) = joined.last_mut() {
            match reading.intent {
                Intent::Change(Target::It, Change::Priority(priority)) => draft.priority = Some(priority),
                Intent::Change(Target::It, Change::Due(Some(when))) if draft.when.is_none() => draft.when = Some(when),
                Intent::Change(Target::It, Change::Label(label)) => draft.labels.push(label),
                _ => joined.push(reading),
            }
        } else {
            joined.push(reading);
        }
    }
    joined
}

/// Splits a text into sentences. A full stop ends one only where a new one can begin.
fn sentences<'t>(whole: Clause<'t>) -> Vec<Clause<'t>> {
    let short =
        ["dr", "mr", "mrs", "ms", "st", "no", "vs", "etc", "e.g", "i.e", "a.m", "p.m", "prof", "jr", "sr", "approx"];
    let mut found = Vec::new();
    let mut start = whole.from;
    // "add these: a; b" and a list with a line for each are one sentence.
    let listing = talk::opening(whole.trim()).core.and_then(items::announced).is_some();
    for at in whole.from..whole.to {
        let ends = match whole.normal(at) {
            "." | "!" | "?" => whole.gap_before(at + 1),
            ";" => whole.gap_before(at + 1) && !listing,
            _ => false,
        };
        let inside = at > whole.from && short.contains(&whole.normal(at - 1)) && whole.normal(at) == ".";
        let broken = whole.line_before(at + 1) && at + 1 < whole.to && !listing;
        if (ends && !inside) || broken {
            found.push(whole.part(start, at + 1));
            start = at + 1;
        }
    }
    found.push(whole.part(start, whole.to));
    found.retain(|part| !part.trim().is_empty());
    if found.is_empty() { vec![whole] } else { found }
}

/// Reads one sentence.
fn clause(sentence: Clause<'_>, now: &Zoned) -> Reading {
    let asked = sentence.ends_with("?");
    let opening = talk::opening(sentence.trim());
    let Some(core) = opening.core else {
        return opening.talk.map_or_else(|| Reading::sure(Intent::Unknown), |talk| Reading::sure(Intent::Talk(talk)));
    };
    let core = core
        .eat_back(&[", please", ", thanks", ", thank you", "please", ", ok", ", okay", "will you", "would you", "then"])
        .filter(|rest| !rest.is_empty())
        .map_or(core, |rest| rest.trim_end());
    let mut reading = command(core, &opening, now);
    // A statement with a question mark is a question: it is never carried out unasked.
    let writes = matches!(
        reading.intent,
        Intent::Add(_)
            | Intent::AddSeveral(_)
            | Intent::Change(..)
            | Intent::Group(..)
            | Intent::Rename(_)
            | Intent::Correct(_)
    );
    if ((asked && !opening.requested) || opening.doubtful) && writes {
        reading.tentative = true;
    }
    reading
}

fn command(core: Clause<'_>, opening: &talk::Opening<'_>, now: &Zoned) -> Reading {
    if let Some(talk) = talk::refusal(core, opening.requested) {
        return Reading::sure(Intent::Talk(talk));
    }
    if let Some(talk) = talk::whole(core) {
        return Reading::sure(Intent::Talk(talk));
    }
    if let Some(place) = change::place(core) {
        return Reading::sure(Intent::Pick(place));
    }
    if several(core, now) {
        return Reading::sure(Intent::SeveralCommands);
    }
    let found = fields::read(core, now)
        .or_else(|| add::read(core, opening, now))
        .or_else(|| change::read(core, now))
        .or_else(|| look::read(core, now))
        .or_else(|| said::read(core, opening, now))
        .or_else(|| add::wish(core, now))
        .or_else(|| said::moment(core, now))
        .or_else(|| {
            talk::question(core).filter(|_| !foreign::is_foreign(core)).map(|talk| Reading::sure(Intent::Talk(talk)))
        });
    found.unwrap_or_else(|| {
        if foreign::is_foreign(core) {
            Reading::sure(Intent::Talk(Talk::Foreign))
        } else {
            Reading::sure(Intent::Unknown)
        }
    })
}

/// Whether a second command follows in the same sentence. After "add" only another "add" counts,
/// because a title may hold any other verb.
fn several(core: Clause<'_>, now: &Zoned) -> bool {
    const JOINS: &[&str] = &["and then", "and also", "and", ", then", ", and", "then", "but", ",", ";", "plus", "also"];
    const VERBS: &[&str] = &[
        "add|create",
        "remind me",
        "delete|remove|erase",
        "complete|finish",
        "mark|check|tick",
        "rename|reschedule|move|postpone",
        "list|show",
        "reopen|undelete|restore",
    ];
    let adds = add::starts(core);
    (core.from + 1..core.to).any(|at| {
        let Some(end) = JOINS.iter().find_map(|join| core.fits(at, join)) else { return false };
        let rest = core.after(end);
        // "on friday, add ..."
        if at < core.from + 8 && dates::only(core.before(at), now).is_some() {
            return false;
        }
        if adds {
            let again = rest.eat(&["add|create a|an|another|the|new? "]).is_some()
                || rest.eat(&["remind me to|about", "add|create", "another task|one|reminder"]).is_some();
            return again && !rest.is_empty();
        }
        let own = rest.eat(VERBS).is_some_and(|rest| !rest.trim().is_empty());
        own && change::read(rest, now)
            .or_else(|| look::read(rest, now))
            .or_else(|| add::starts(rest).then(|| Reading::sure(Intent::Unknown)))
            .is_some()
    })
}

/// Whether the words from here on are an object and not the end of a sentence.
fn has_words(clause: Clause<'_>) -> bool {
    clause.words().iter().any(|word| word.kind != Kind::Mark)
}
