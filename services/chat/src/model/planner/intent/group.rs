//! Several tasks in one command: "milk and eggs", "the first two", "1 and 3", "both", "all completed
//! tasks". Only what was said is read here; which tasks that makes is found later, with the tasks at
//! hand.

use super::super::dates;
use super::super::targets::{Place, Target, Wanted, base_of_told};
use super::super::words::{Clause, Kind};
use super::{change, has_words, said};

/// More than one task.
#[derive(Clone, Debug)]
pub(in super::super) enum Group {
    /// Each named on its own; all the words together may still be one title.
    Named {
        /// What all the words together name.
        whole: Target,
        /// What each part names.
        parts: Vec<Target>,
    },
    /// These places of the last list.
    Places(Vec<Place>),
    /// So many from the start of the last list.
    First(usize),
    /// So many from the end of the last list.
    Last(usize),
    /// All that were shown or made last, as many as were said.
    Shown(Option<usize>),
    /// All that these words pick out.
    Picked(String),
}

const NOUNS: &str = "tasks|ones|items|todos|entries|things|reminders|of";
/// The most words that name several tasks.
const LONGEST: usize = 60;
/// Words that set something apart: then it is not plain which tasks are meant.
const EXCEPT: &str = "except|but|besides|without|excluding|apart|other|others|not|unless|rest|remaining|random|most|some|half|several|multiple|duplicate|duplicates|old|oldest|newest|then|neither|nor|or";

/// Reads several tasks; nothing if only one is named, or it is not plain which.
pub(in super::super) fn group(clause: Clause<'_>) -> Option<Group> {
    told(clause, None)
}

/// As [`group`], for what somebody told to have done: "bought" and "milk and eggs".
pub(super) fn told(clause: Clause<'_>, verb: Option<&str>) -> Option<Group> {
    let rest = change::without_list(clause);
    if rest.only_quoted().is_some() || rest.len() > LONGEST {
        return None;
    }
    if let Some(group) = shown(rest).or_else(|| counted(rest)) {
        return Some(group);
    }
    if rest.has(&[EXCEPT]) {
        return None;
    }
    let listed = rest.eat(&["both|also|all :?", "numbers|number|nos|items|tasks|todos"]).unwrap_or(rest);
    let parts = split(listed);
    if parts.len() > 1 {
        let places: Vec<Place> = parts.iter().filter_map(|part| change::place(*part)).collect();
        if places.len() == parts.len() {
            return Some(Group::Places(places));
        }
        let whole = one(listed, verb);
        if !change::many(listed) {
            let parts = parts.iter().enumerate().map(|(index, part)| named(*part, verb, index)).collect();
            return Some(Group::Named { whole, parts });
        }
    }
    change::many(rest).then(|| Group::Picked(rest.raw().to_owned()))
}

fn one(clause: Clause<'_>, verb: Option<&str>) -> Target {
    match (change::target(clause), verb) {
        (Target::Words(_), Some(verb)) => Target::Words(Wanted::said(verb, clause)),
        (target, _) => target,
    }
}

/// A part of a list of things; a later one may bring its own verb: "and paid the rent".
fn named(part: Clause<'_>, verb: Option<&str>, index: usize) -> Target {
    let own = verb.filter(|_| index > 0 && part.len() > 1).and_then(|_| {
        let part = part.eat(&["i've|i|also|then just|also?"]).filter(|rest| rest.len() > 1).unwrap_or(part);
        let verb = base_of_told(part.normal(part.from)).filter(|verb| said::finishes(verb))?;
        Some(Target::Words(Wanted::said(&verb, part.after(part.from + 1))))
    });
    own.unwrap_or_else(|| one(part, verb))
}

/// "both", "them", "all three".
fn shown(rest: Clause<'_>) -> Option<Group> {
    const ALL: &str = "both|all|each|them|these|those|they|everything";
    if rest.is(&[
        "both|all of? them|these|those|it? all|both|too?",
        "them|these|those|they|each all|both|too?",
        "each one? of? them|these|those?",
        "the whole|entire|full lot|bunch",
        "both|these|those ones|tasks|items|of?",
        "these|those tasks|ones|items",
    ]) {
        let two = rest.has(&["both"]).then_some(2);
        return (!rest.is(&["all", "each"]) || two.is_none()).then_some(Group::Shown(two));
    }
    let counted = rest.eat(&[&format!("{ALL} of? the?"), "the"])?;
    let (number, end) = dates::count(counted)?;
    let after = counted.after(end).trim_end();
    let ends = after.is_empty() || after.is(&[&format!("{NOUNS} them|these|those?"), "of them|these|those"]);
    (ends && number > 1).then_some(Group::Shown(Some(number)))
}

/// "the first two", "my last three tasks".
fn counted(rest: Clause<'_>) -> Option<Group> {
    let first = rest.eat(&["the|my? first|top"]).map(|rest| (rest, true));
    let (after, first) = first.or_else(|| rest.eat(&["the|my? last|final|bottom"]).map(|rest| (rest, false)))?;
    let couple = after.eat(&["couple of?", "pair of?"]).map(|rest| (2, rest));
    let number = || dates::count(after).map(|(number, end)| (number, after.after(end)));
    let (number, tail) = couple.or_else(number)?;
    let tail = tail.trim_end();
    let ends = tail.is_empty() || tail.is(&[&format!("{NOUNS} of? them|these|those|my|the? list|tasks?")]);
    (ends && number > 1).then_some(if first { Group::First(number) } else { Group::Last(number) })
}

/// The parts of "a, b and c". A quoted piece is never parted.
pub(super) fn split(clause: Clause<'_>) -> Vec<Clause<'_>> {
    const BETWEEN: &[&str] =
        &["as well as", ", and also?", ", plus", "and also", "and|plus|also", ",|;|&|+ and|plus|also?"];
    let mut parts = Vec::new();
    let (mut start, mut at) = (clause.from, clause.from);
    while at < clause.to {
        if clause.line_before(at) && at > start {
            parts.push(clause.part(start, at));
            start = at;
        }
        let end = BETWEEN.iter().find_map(|between| clause.fits(at, between)).filter(|end| *end > at);
        match end {
            Some(end) => {
                parts.push(clause.part(start, at));
                (start, at) = (end, end);
            }
            None => at += 1,
        }
    }
    parts.push(clause.part(start, clause.to));
    parts.retain(|part| {
        has_words(*part) || part.words().iter().any(|word| word.kind == Kind::Mark && !word.normal.is_ascii())
    });
    parts
}
