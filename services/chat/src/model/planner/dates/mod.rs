//! Days and times in plain English.
//!
//! [`phrases`] finds every expression of a day or a time and where it stands; [`in_title`] decides
//! which of them belong to the title that they stand in and which say when it is due; [`When`] becomes
//! an instant only in [`When::resolve`]. What one expression means is read in [`phrase`]; ranges for
//! lists and shifts ("by two days") in [`range`]. The clock is an argument.
//!
//! The rules: a day without a time is the last second of that day; a time that is past already today
//! means tomorrow; "next week" is next Monday; "next friday" is the Friday of next week; a bare
//! weekday is the coming one.

use jiff::civil::{Date, Time, time};
use jiff::{Timestamp, ToSpan, Zoned};

use super::words::{Clause, Kind};

mod phrase;
mod range;
mod time;

pub(super) use phrase::phrases;
pub(super) use range::{Range, Shift, range, shift};

/// The last second of a day: what a day without a time means.
pub(super) const END_OF_DAY: Time = time(23, 59, 59, 0);

/// When something is due, as far as it was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct When {
    /// The day.
    pub(super) day: Option<Date>,
    /// The time of day.
    pub(super) clock: Option<Clock>,
    /// Morning, evening and the like.
    pub(super) part: Option<Part>,
    /// An instant ("in two hours").
    pub(super) instant: Option<Timestamp>,
}

/// A time of day as it was said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Clock {
    /// Hour and minute.
    pub(super) time: Time,
    /// Whether morning or evening was left open, as in "at 5".
    pub(super) vague: bool,
}

/// A part of the day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// Nine o'clock unless a time is said.
    Morning,
    /// Three o'clock.
    Afternoon,
    /// Six o'clock.
    Evening,
    /// Until the end of the day.
    Night,
}

/// What is wrong with a day or time.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Problem {
    /// It can be read in two ways, as 4/5 can.
    TwoWays(String),
    /// There is no such day or time, as 30 February.
    NoSuch(String),
    /// Two different days or times are named.
    Several,
    /// It is past already.
    Past(Timestamp),
}

/// An expression of a day or time and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Phrase {
    /// Its first word, a preposition included.
    pub(super) from: usize,
    /// The word after its last.
    pub(super) to: usize,
    /// What it means.
    pub(super) meaning: Result<When, Problem>,
    /// How it is led in.
    pub(super) lead: Lead,
    /// Whether it says when without any preposition, wherever it stands, as "tomorrow" does.
    pub(super) solid: bool,
}

/// How an expression is led in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// Not at all.
    Bare,
    /// By a word with other uses too: "for".
    Weak,
    /// By a word that fits a time: on, at, by, due.
    Strong,
}

// === impl When ===

impl When {
    fn on(day: Date) -> Self {
        When { day: Some(day), ..When::default() }
    }

    fn at(time: Time, vague: bool) -> Self {
        When { clock: Some(Clock { time, vague }), ..When::default() }
    }

    /// Both together, unless they contradict each other.
    pub(super) fn and(&self, other: &When) -> Result<When, Problem> {
        fn one<T: Clone + PartialEq>(a: &Option<T>, b: &Option<T>) -> Result<Option<T>, Problem> {
            match (a, b) {
                (Some(a), Some(b)) if a != b => Err(Problem::Several),
                _ => Ok(a.clone().or_else(|| b.clone())),
            }
        }
        let both = When {
            day: one(&self.day, &other.day)?,
            clock: one(&self.clock, &other.clock)?,
            part: one(&self.part, &other.part)?,
            instant: one(&self.instant, &other.instant)?,
        };
        let crossed = both.instant.is_some() && (both.day.is_some() || both.clock.is_some() || both.part.is_some());
        if crossed { Err(Problem::Several) } else { Ok(both) }
    }

    /// The time of day that was said, if one was.
    fn time(&self) -> Option<Time> {
        let part = self.part;
        let Some(Clock { time: said, vague }) = self.clock else {
            return match part? {
                Part::Morning => Some(time(9, 0, 0, 0)),
                Part::Afternoon => Some(time(15, 0, 0, 0)),
                Part::Evening => Some(time(18, 0, 0, 0)),
                Part::Night => None,
            };
        };
        let later = match part {
            Some(Part::Morning) => false,
            Some(_) => true,
            None => (1..8).contains(&said.hour()),
        };
        let shifted = if vague && later && said.hour() < 12 { said.hour() + 12 } else { said.hour() };
        Some(time(shifted, said.minute(), said.second(), 0))
    }

    /// The instant that is meant. `usual` is the day for a time without one, when it is not today.
    pub(super) fn resolve(&self, now: &Zoned, usual: Option<Date>) -> Result<Timestamp, Problem> {
        if let Some(instant) = self.instant {
            return Ok(instant);
        }
        let today = now.date();
        let time = self.time();
        let day = self.day.or(usual).unwrap_or(today);
        let mut due = instant(day, time.unwrap_or(END_OF_DAY), now)?;
        if due <= now.timestamp() && day == today {
            due = instant(tomorrow(today), time.unwrap_or(END_OF_DAY), now)?;
        }
        if due <= now.timestamp() { Err(Problem::Past(due)) } else { Ok(due) }
    }
}

fn tomorrow(day: Date) -> Date {
    day.saturating_add(1.day())
}

/// The instant of a local day and time.
pub(super) fn instant(day: Date, time: Time, now: &Zoned) -> Result<Timestamp, Problem> {
    day.to_datetime(time)
        .to_zoned(now.time_zone().clone())
        .map(|zoned| zoned.timestamp())
        .map_err(|_| Problem::NoSuch(day.to_string()))
}

/// When the text is due, and which words say so.
#[derive(Clone, Debug, Default)]
pub(super) struct Due {
    /// The day or time that was said.
    pub(super) when: Option<When>,
    /// Where it stands.
    pub(super) gone: Vec<(usize, usize)>,
    /// What is wrong with it.
    pub(super) problem: Option<Problem>,
}

/// Finds in a title what says when it is due. `gone` are words that are not part of the title anyway.
pub(super) fn in_title(clause: Clause<'_>, now: &Zoned, gone: &[(usize, usize)]) -> Due {
    let found = phrases(clause, now);
    let mut taken = vec![false; found.len()];
    let skippable = |at: usize| {
        gone.iter().any(|(from, to)| (*from..*to).contains(&at))
            || clause.after(at).words().first().is_some_and(|word| word.kind == Kind::Mark)
    };
    let mut end = clause.to;
    for (index, phrase) in found.iter().enumerate().rev() {
        while end > phrase.to && skippable(end - 1) {
            end -= 1;
        }
        if end == phrase.to {
            taken[index] = true;
            end = phrase.from;
        }
    }
    let mut start = clause.from;
    for (index, phrase) in found.iter().enumerate() {
        while start < phrase.from && skippable(start) {
            start += 1;
        }
        let closed = matches!(clause.normal(phrase.to), "," | ":" | "-" | "–");
        if start == phrase.from && (phrase.solid || phrase.lead == Lead::Strong || closed) {
            taken[index] = true;
            start = phrase.to;
        }
        let sure = phrase.lead == Lead::Strong || (phrase.solid && phrase.lead == Lead::Bare);
        let beside = index > 0 && taken[index - 1] && found[index - 1].to == phrase.from;
        taken[index] |= sure || beside;
    }
    collect(found.into_iter().zip(taken).filter(|(_, taken)| *taken).map(|(phrase, _)| phrase))
}

/// Joins expressions to one.
pub(super) fn collect(found: impl Iterator<Item = Phrase>) -> Due {
    let mut due = Due::default();
    for phrase in found {
        due.gone.push((phrase.from, phrase.to));
        let joined = phrase.meaning.and_then(|when| match &due.when {
            Some(before) => before.and(&when),
            None => Ok(when),
        });
        match joined {
            Ok(when) => due.when = Some(when),
            Err(problem) => due.problem = due.problem.or(Some(problem)),
        }
    }
    due
}

/// The expressions that a text ends with, one after another: where they start and what they say.
pub(super) fn at_end(clause: Clause<'_>, now: &Zoned) -> Option<(usize, Due)> {
    let clause = clause.trim_end();
    let mut start = clause.to;
    let mut last: Vec<Phrase> = Vec::new();
    for phrase in phrases(clause, now).into_iter().rev() {
        let gap = clause.part(phrase.to, start);
        if !gap.words().iter().all(|word| word.kind == Kind::Mark) {
            break;
        }
        let joined = collect(last.iter().cloned().chain([phrase.clone()]));
        if joined.problem == Some(Problem::Several) {
            break;
        }
        start = phrase.from;
        last.insert(0, phrase);
    }
    (!last.is_empty()).then(|| (start, collect(last.into_iter())))
}

/// The day or time that a text is, as a whole.
pub(super) fn only(clause: Clause<'_>, now: &Zoned) -> Option<Due> {
    let clause = clause.trim();
    at_end(clause, now).filter(|(start, _)| *start == clause.from).map(|(_, due)| due)
}

/// A plain count that a text starts with, and the word after it.
pub(super) fn count(clause: Clause<'_>) -> Option<(usize, usize)> {
    let word = clause.normal(clause.from);
    let digits = !word.is_empty() && word.len() <= 3 && word.bytes().all(|byte| byte.is_ascii_digit());
    let named = phrase::number(clause, clause.from).filter(|_| !matches!(word, "a" | "an"));
    let (count, end) = if digits { (word.parse().ok()?, clause.from + 1) } else { named? };
    usize::try_from(count).ok().map(|count| (count, end))
}
