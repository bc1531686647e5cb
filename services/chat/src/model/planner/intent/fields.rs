//! Changes of single fields that start as an adding or a deleting would: "add a note to milk: two
//! litres", "remove the due date from the rent", "tag milk as shopping".

use jiff::Zoned;

use super::super::dates;
use super::super::words::{Clause, Kind};
use super::add::level;
use super::change::change;
use super::{Change, Intent, Reading, Verb, has_words};

/// Changes of single fields that start as an adding or a deleting would: "add a note to X".
pub(super) fn read(core: Clause<'_>, now: &Zoned) -> Option<Reading> {
    let to = |rest: Clause<'_>, wanted| Some(change(rest, Verb::Change, wanted));
    if let Some(rest) =
        core.eat(&["remove|clear|delete|drop|unset|take the|its|a? due? date|deadline|time from|of|for|on|off"])
    {
        return to(rest, Change::NoDue);
    }
    if core.eat(&["remove|clear|delete|drop|unset"]).is_some()
        && let Some(rest) =
            core.eat(&["remove|clear|delete|drop|unset"]).and_then(|rest| rest.eat_back(&["due date", "deadline"]))
        && has_words(rest)
    {
        return to(rest, Change::NoDue);
    }
    if let Some(rest) = core.eat(&[
        "add|set|put|give a|the|new? due date|day|time? of|:|for|on?",
        "add|set|put|give a|the|new? deadline of|:|for|on?",
    ]) && let Some((at, end)) = rest.find(&["to|for|on"])
        && let Some(due) = dates::only(rest.before(at), now)
    {
        return match due.problem {
            Some(problem) => Some(Reading::sure(Intent::Unusable(problem))),
            None => to(rest.after(end), Change::Due(due.when)),
        };
    }
    if core.eat(&["note|memo to self|myself"]).is_some() {
        return None;
    }
    let ranked = [
        "add|assign|give|put a|the? high|low|medium|top priority to|on|for",
        "add|assign|put priority high|low|medium to|on|for",
    ];
    if let Some(rest) = core.eat(&ranked) {
        return to(rest, Change::Priority(level(core.before(rest.from))?));
    }
    labelled(core).or_else(|| described(core))
}

fn labelled(core: Clause<'_>) -> Option<Reading> {
    let name = |clause: Clause<'_>| {
        let clause = clause.trim();
        let name = clause.only_quoted().unwrap_or(clause.raw()).trim_start_matches('#').trim();
        (!name.is_empty() && clause.len() <= 4).then(|| name.to_owned())
    };
    let is_tag = |clause: Clause<'_>| {
        clause.words().first().is_some_and(|word| word.kind == Kind::Tag && word.normal.parse::<u32>().is_err())
    };
    let put = core
        .eat(&["add|put|attach|set|give the|a|an? tag|label :?"])
        .or_else(|| core.eat(&["add|put|attach"]).filter(|rest| is_tag(*rest)));
    if let Some(rest) = put
        && let Some((at, end)) = rest.find(&["to|on|for"])
    {
        return Some(change(rest.after(end), Verb::Change, Change::Label(name(rest.before(at))?)));
    }
    let off = core
        .eat(&["remove|delete|drop|take|clear the|a|an? tag|label :?"])
        .or_else(|| core.eat(&["remove|delete|drop|take"]).filter(|rest| is_tag(*rest) && rest.len() > 2));
    if let Some(rest) = off
        && let Some((at, end)) = rest.find(&["from|off|of|on"])
    {
        return Some(change(rest.after(end), Verb::Change, Change::Unlabel(name(rest.before(at))?)));
    }
    let rest = core.eat(&["tag|label"])?;
    let (at, end) = rest
        .find(&["as|with"])
        .or_else(|| (rest.from..rest.to).find(|at| is_tag(rest.after(*at))).map(|at| (at, at)))?;
    Some(change(rest.before(at), Verb::Change, Change::Label(name(rest.after(end))?)))
}

fn described(core: Clause<'_>) -> Option<Reading> {
    const FIELD: &str = "note|notes|description|comment|details|detail|desc";
    let patterns = [
        format!(
            "add|attach|put|write|set|change|update|make|edit|leave|give a|an|the|some|this|new? {FIELD} to|for|on|of|about"
        ),
        format!("{FIELD} for|on|of|to|about"),
        "describe".to_owned(),
    ];
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    if let Some(rest) = core.eat(&patterns) {
        let marks: &[&str] = &["to? :", "saying|says|stating that|:?", "that says|:?", "as|to|with|- :?"];
        let (at, end) = marks.iter().find_map(|mark| rest.find(&[mark]))?;
        let text = rest.after(end);
        let text = text.only_quoted().unwrap_or(text.raw()).trim().to_owned();
        let object = rest.before(at);
        return (!text.is_empty() && has_words(object)).then(|| change(object, Verb::Change, Change::Describe(text)));
    }
    // "add note 'window seat' to the flight"
    if let Some(rest) = core.eat(&[&format!("add|attach|put|write a|the? {FIELD} :|saying?")])
        && let Some((at, end)) = rest.find(&["to|for|on"])
        && let Some(text) = rest.before(at).only_quoted()
    {
        return Some(change(rest.after(end), Verb::Change, Change::Describe(text.to_owned())));
    }
    // "add 'two litres' as a note to the milk task"
    let rest = core.eat(&["add|put|write"])?;
    let (at, end) = rest.find(&[&format!("as|to|in|into a|the? {FIELD} to|of|for|on")])?;
    let text = rest.before(at);
    let text = text.only_quoted().unwrap_or(text.raw()).trim().to_owned();
    (!text.is_empty()).then(|| change(rest.after(end), Verb::Change, Change::Describe(text)))
}
