//! Several tasks to be made at once: "add milk, eggs and bread".
//!
//! A title may itself have commas and an "and" in it, so a text is parted only where it can hardly be
//! one title: quoted pieces, an announcement ("add three tasks: ..."), a list of three short things.
//! "Bread and butter" stays one task, and so does "buy milk, eggs and bread": one errand.

use jiff::Zoned;

use super::super::targets;
use super::super::words::{Clause, Kind, Text, tidy};
use super::{Draft, Intent, Reading, Verb, add, group, has_words};

/// The start of several tasks that are announced as such.
const ANNOUNCED: &[&str] = &[
    "add|create|make|insert me? the|these|those|some|several|following|multiple|a|couple|few|two|three|four|five|many|more? following|of|few|couple? of? new? tasks|todos|items|reminders|things",
    "add|create|insert these|those|all the? following|of? this|these|those? :",
    "add|create|insert the following :",
    "new? tasks|todos :",
];
/// The most words that are looked at.
const MOST_WORDS: usize = 200;
/// The longest thing of a list, in words.
const LONGEST: usize = 6;

/// What follows an announcement of several tasks.
pub(super) fn announced(core: Clause<'_>) -> Option<Clause<'_>> {
    core.eat(ANNOUNCED)
}

/// Reads several tasks that are announced as such.
pub(super) fn read(core: Clause<'_>, now: &Zoned) -> Option<Reading> {
    let rest = announced(core)?;
    let rest = rest.eat(&["to|on my|the list|todo|tasks list? :", "called|named|titled :?", ":|-"]).unwrap_or(rest);
    if !has_words(rest) {
        return Some(Reading::sure(Intent::Many(Verb::Add)));
    }
    let reading = add::finish(rest, add::Due::default(), now, true);
    let Intent::Add(draft) = &reading.intent else { return Some(reading) };
    let titles = titles(draft.title.as_deref().unwrap_or_default());
    Some(match titles.len() {
        0 => Reading::sure(Intent::Many(Verb::Add)),
        1 => reading,
        _ => Reading::sure(Intent::AddSeveral(each(draft, titles))),
    })
}

/// The tasks that a title stands for, if it can hardly be one title.
pub(super) fn parted(draft: &Draft, words: Clause<'_>) -> Option<Vec<Draft>> {
    let title = draft.title.as_deref()?;
    let quoted = |word: &&super::super::words::Word| word.kind == Kind::Quoted;
    if words.words().iter().filter(quoted).any(|word| tidy(words.inner(word)) == title) {
        return None;
    }
    let text = Text::read(title);
    if text.words.len() > MOST_WORDS {
        return None;
    }
    let parts = group::split(text.whole());
    let all_quoted = parts.iter().all(|part| part.only_quoted().is_some());
    (parts.len() > 1 && (all_quoted || is_list(text.whole(), &parts))).then(|| each(draft, titles(title)))
}

fn is_list(whole: Clause<'_>, parts: &[Clause<'_>]) -> bool {
    let commas = whole.words().iter().filter(|word| matches!(word.normal.as_str(), "," | ";")).count();
    let plain = |part: &Clause<'_>| {
        part.len() <= LONGEST
            && !part
                .has(&["with|for|to|about|of|from|between|at|by|on|in|into|:|(|-|if|because|so|that|who|which|when"])
            && part.eat(&["the|then|not|no|don't|maybe|or|his|her|their|it|its|it's|he|she|they|etc|please"]).is_none()
    };
    let deeds = parts.iter().filter(|part| part.len() > 1 && targets::is_deed(part.normal(part.from))).count();
    if commas == 0 {
        return false;
    }
    if deeds == parts.len() {
        return parts.iter().all(|part| part.len() <= LONGEST);
    }
    let first = parts.first().is_some_and(|part| part.len() > 1 && targets::is_deed(part.normal(part.from)));
    parts.len() > 2 && !first && parts.iter().all(plain)
}

fn titles(text: &str) -> Vec<String> {
    let text = Text::read(text);
    let title = |part: &Clause<'_>| {
        let part = part.trim_start().eat(&["a|an"]).filter(|rest| has_words(*rest)).unwrap_or(*part);
        part.only_quoted().map_or_else(|| tidy(part.raw()), tidy)
    };
    group::split(text.whole()).iter().map(title).filter(|title| !title.is_empty()).collect()
}

fn each(draft: &Draft, titles: Vec<String>) -> Vec<Draft> {
    titles.into_iter().map(|title| Draft { title: Some(title), ..draft.clone() }).collect()
}
