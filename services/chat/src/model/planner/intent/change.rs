//! Changing one task: complete, reopen, rename, move, describe, rank, label, delete, bring back.

use jiff::Zoned;

use super::super::dates;
use super::super::targets::{Place, Target, Wanted};
use super::super::words::{Clause, Kind, tidy};
use super::add::level;
use super::{Change, Intent, Priority, Reading, Verb, group, has_words};

const DONE: &str = "completely|all|fully|now|already? done|complete|completed|finished|closed|ticked|checked";
const NOT_DONE: &str = "not done|complete|completed|finished|closed anymore|yet?";
const OPEN: &str = "undone|incomplete|unfinished|uncompleted|open|pending|active|todo|unchecked";
const NOUN: &str = "task|todo|item|reminder|errand|entry|one|thing";
const FROM_LIST: &[&str] = &[
    "from|off|on|in|of my|the|our|this todo|task|shopping|grocery|to? do? list|lists|tasks|todos",
    "again",
    "now",
    "already",
    "too",
    "then",
    "instead",
    "for me",
];

/// What a change is about: words, a place in a list, "it".
pub(in super::super) fn target(clause: Clause<'_>) -> Target {
    let rest = without_list(clause);
    if rest.is_empty() {
        return Target::Missing;
    }
    if let Some(quoted) = rest.only_quoted() {
        return Target::Words(Wanted::quoted(quoted));
    }
    if rest.is(&[
        "it|that|this",
        "that|this|the same|very? one|task|todo|item|reminder|thing",
        "the|my new|same|just|latest? task|todo|item|one",
    ]) {
        return Target::It;
    }
    if let Some(place) = place(rest) {
        return Target::Place(place);
    }
    if rest.is(&["a|an|one|some|my|another? of? my|the? task|tasks|todo|item|reminder|one|something"]) {
        return Target::Missing;
    }
    // "the task called X", "the one about X": a title in quotes anywhere names the task.
    let quoted: Vec<_> = rest.words().iter().filter(|word| word.kind == Kind::Quoted).collect();
    let prefix =
        format!("the|my|a|that|this? {NOUN} called|named|titled|about|to|for|with|of|where|that|regarding|:? i|says?");
    let stripped = rest.eat(&[prefix.as_str()]).filter(|rest| has_words(*rest)).unwrap_or(rest);
    if let ([only], Some(_)) = (quoted.as_slice(), rest.eat(&[prefix.as_str(), "the|my"]))
        && stripped.len() <= 3
    {
        return Target::Words(Wanted::quoted(rest.inner(only)));
    }
    Target::Words(Wanted::of(stripped))
}

/// Without "from my list" and the like at the end.
pub(super) fn without_list(clause: Clause<'_>) -> Clause<'_> {
    let mut rest = clause.trim();
    while let Some(shorter) = rest.eat_back(FROM_LIST).filter(|rest| !rest.is_empty()) {
        rest = shorter.trim();
    }
    rest
}

/// A place in a list: "the second one", "number 3", "#2", "the last".
pub(super) fn place(clause: Clause<'_>) -> Option<Place> {
    const ORDINALS: &[&str] = &[
        "first|1st",
        "second|2nd",
        "third|3rd",
        "fourth|4th",
        "fifth|5th",
        "sixth|6th",
        "seventh|7th",
        "eighth|8th",
        "ninth|9th",
        "tenth|10th",
    ];
    let rest = clause.trim();
    if let [word] = rest.words()
        && word.kind == Kind::Tag
    {
        return word.normal.parse().ok().map(Place::Nth);
    }
    let ending = format!("{NOUN}|option|choice? on|in|of|from? my|the|that? list?");
    for (index, names) in ORDINALS.iter().enumerate() {
        if rest.is(&[&format!("the|my|it's? {names} {ending}")]) {
            return Some(Place::Nth(index + 1));
        }
    }
    if rest.is(&[&format!("the|my|it's? last|bottom|final {ending}")]) {
        return Some(Place::Last);
    }
    if rest.is(&[&format!("the|my|it's? top {NOUN} {ending}")]) {
        return Some(Place::Nth(1));
    }
    let number =
        rest.eat(&["the|my? number|no|nr|task|item|todo|option|entry|position .?", "#", "the"]).unwrap_or(rest);
    let number = number.eat(&["number|#"]).unwrap_or(number).trim_end();
    let (value, end) = dates::count(number)?;
    (end == number.to).then_some(Place::Nth(value))
}

/// Whether several tasks are meant.
pub(super) fn many(clause: Clause<'_>) -> bool {
    let rest = clause.trim();
    if rest.only_quoted().is_some() {
        return false;
    }
    let number = "1|2|3|4|5|6|7|8|9|10|one|two|three|four|five";
    rest.eat(&[
        "everything|all|every|both|each|them|these|those|anything|any|whatever|several|multiple",
        "my|the|our? whole|entire|full|complete? todo|task|shopping? list|lists|tasks|todos|reminders|items|ones",
        "my|the|our? to do list|lists",
        "my|the|our? open|completed|done|finished|old|overdue|remaining|other|last|late|duplicate|due|today's|expired|closed|new|first|two|three? tasks|todos|items|ones|entries|reminders",
        "the|my rest|others|remaining",
        "the|my? first|last|next|other|top two|three|four|five|2|3|4|5|10|few|couple|half|ten",
        "the|my|these|those? two|three|four|five|2|3|4|5|ten|10 tasks|todos|items|of|ones|oldest|newest",
        "tasks|items|numbers|todos",
        "some|most|half of?",
    ])
    .is_some()
        || rest.eat(&[&format!("the|number|task|item? {number} ,|and|& number|task|item|the? {number}")]).is_some()
        || rest.eat(&["the? first|second|third|last|1st|2nd|3rd one? and the? second|third|fourth|last|2nd|3rd|4th"]).is_some()
        || rest.has(&["tasks|todos"]) && rest.eat(&["the|my? task|todo|item|one"]).is_none_or(|rest| rest.is_empty())
}

pub(super) fn change(rest: Clause<'_>, verb: Verb, change: Change) -> Reading {
    Reading::sure(match group::group(rest) {
        Some(group) => Intent::Group(group, change),
        None if many(rest) => Intent::Many(verb),
        None => Intent::Change(target(rest), change),
    })
}

/// A command that changes a task.
pub(super) fn read(core: Clause<'_>, now: &Zoned) -> Option<Reading> {
    reopen(core)
        .or_else(|| complete(core))
        .or_else(|| undelete(core))
        .or_else(|| rename(core, now))
        .or_else(|| rank(core))
        .or_else(|| moved(core, now))
        .or_else(|| delete(core))
}

fn complete(core: Clause<'_>) -> Option<Reading> {
    let done = |rest| Some(change(rest, Verb::Complete, Change::Complete));
    if core.is(&["done|completed|finished tasks|todos|items|ones|list", "complete list of? my? tasks?"]) {
        return None;
    }
    if core.is(&["i'm|i? am|all? done|finished"]) {
        return Some(Reading::sure(Intent::Change(Target::Missing, Change::Complete)));
    }
    if let Some(rest) = core.eat(&["mark|set|flag|put|tag|label|move|change|turn|update"]) {
        let ends = [format!("as|to {DONE} please?"), "as|to done".to_owned()];
        if let Some(rest) = rest.eat_back(&[&ends[0], &ends[1]]) {
            return done(rest.eat_back(&["status|state"]).unwrap_or(rest));
        }
        if core.eat(&["mark|flag"]).is_some() {
            if let Some(rest) = rest.eat_back(&[DONE]) {
                return done(rest);
            }
            if let Some(rest) = rest.eat(&[&format!("as {DONE} :?"), &format!("{DONE} :?"), "off"]) {
                return done(rest);
            }
        }
    }
    if let Some(rest) = core.eat(&["check|cross|tick|strike off|out"]) {
        return done(rest);
    }
    if let Some(rest) = core.eat(&["check|cross|tick|strike"])
        && let Some(rest) = rest.eat_back(&["off|out my|the? list?", "off of? my|the list", "off"])
    {
        return done(rest);
    }
    if let Some(rest) =
        core.eat(&["i'm|am|we're|are|all|i? am|all? done|finished|through with", "done|finished with|:"])
    {
        return done(rest);
    }
    if core.is(&["completed"]) {
        return None;
    }
    if let Some(rest) = core.eat(&["complete|completed|finished|accomplished"]) {
        return done(rest);
    }
    if let Some(rest) = core.eat(&["done"]).filter(|rest| has_words(*rest)) {
        return done(rest);
    }
    let rest = core.eat(&["finish|close|resolve|tick|check"])?;
    let list = rest.is(&["my|the? todo|task? list|tasks|todos"]);
    (has_words(rest) && !list).then(|| Reading { tentative: true, ..change(rest, Verb::Complete, Change::Complete) })
}

fn reopen(core: Clause<'_>) -> Option<Reading> {
    let open = |rest| Some(change(rest, Verb::Reopen, Change::Reopen));
    if let Some(rest) = core.eat(&["reopen|unmark|uncheck|untick|uncomplete|unfinish|reactivate|un-complete|un-check"])
    {
        let plain = rest.eat_back(&[&format!("as|from? {DONE}")]).unwrap_or(rest);
        return open(plain);
    }
    if let Some(rest) = core.eat(&["open"]).and_then(|rest| rest.eat_back(&["again", "back up"])) {
        return open(rest);
    }
    if let Some(rest) = core.eat(&["mark|set|flag|put|move|change|turn|update"]) {
        let ends = [
            format!("as|to|back? as|to? {NOT_DONE}"),
            format!("as|to|back? as|to? {OPEN} again|tasks?"),
            "back on|to|in my|the todo? list".to_owned(),
        ];
        let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
        if let Some(rest) = rest.eat_back(&ends).filter(|rest| has_words(*rest)) {
            // "mark as not done" keeps its "as"; "put milk back" is the list's, not a date's.
            return open(rest.eat_back(&["as|to|back"]).unwrap_or(rest));
        }
        let starts = [format!("as {NOT_DONE} :?"), format!("as {OPEN} :?")];
        if let Some(rest) = rest.eat(&[&starts[0], &starts[1]]) {
            return open(rest);
        }
    }
    None
}

fn delete(core: Clause<'_>) -> Option<Reading> {
    let gone = |rest| Some(change(rest, Verb::Delete, Change::Delete));
    if let Some(rest) =
        core.eat(&["delete|remove|erase|trash|discard|bin", "get rid of", "throw away|out", "dispose of"])
    {
        return gone(rest);
    }
    if let Some(rest) = core.eat(&["take|strike|scratch|cut"])
        && let Some(rest) = rest.eat_back(&["off|from|out of? my|the todo|task|shopping? list|lists"])
    {
        return gone(rest);
    }
    let rest = core
        .eat(&["cancel|drop|scrap|kill|clear|wipe|empty|purge|dump|ditch|nuke|destroy|reset|flush out?"])
        .filter(|rest| has_words(*rest))?;
    if rest.is(&["it all", "all? out", "list", "my|the database|account|data|slate"]) {
        return Some(Reading::sure(Intent::Many(Verb::Delete)));
    }
    let reading = change(rest, Verb::Delete, Change::Delete);
    // Several wait for a yes anyway.
    let alone = matches!(reading.intent, Intent::Change(..));
    Some(Reading { tentative: alone, ..reading })
}

fn undelete(core: Clause<'_>) -> Option<Reading> {
    let back = |rest| Some(change(rest, Verb::Undelete, Change::Undelete));
    if core.is(&[
        "undo|undid that|it|this|please? please?",
        "undo the|my|your? last|previous? change|action|thing|command|one|step|delete|deletion|completion|edit|update",
        "undo what you just? did",
        "take that|it back",
        "revert that|it|this?",
        "put|change that|it back",
        "undo deleting|completing that|it",
    ]) {
        return Some(Reading::sure(Intent::Undo));
    }
    if let Some(rest) = core.eat(&[
        "undelete|restore|recover|unremove",
        "bring|get|fetch back",
        "undo deleting",
        "undo the? deletion|delete|removal of",
    ]) {
        return back(rest);
    }
    let rest = core.eat(&["bring|get|put|want"])?.eat_back(&["back please?"])?;
    has_words(rest).then(|| back(rest)).flatten()
}

/// "rename X to Y" and "change X to Y"; what Y is decides what is changed.
fn rename(core: Clause<'_>, now: &Zoned) -> Option<Reading> {
    let named = core
        .eat(&[
            "rename|retitle",
            "change|update|edit|modify|correct|set the|its? title|name|text|wording of|for|on|from?",
        ])
        .map(|rest| (rest, true));
    let loose = || core.eat(&["change|update|edit|modify|correct|turn|switch"]).map(|rest| (rest, false));
    if let Some((at, end)) =
        core.find(&["should be called|named|titled", "should be renamed to", "is now called|named"])
        && at > core.from
    {
        let title = core.after(end).only_quoted().map_or_else(|| tidy(core.after(end).raw()), tidy);
        return Some(change(core.before(at), Verb::Change, Change::Rename(title)));
    }
    if let Some(rest) = core.eat(&["replace|swap"]).filter(|rest| rest.has(&["with|by|for"])) {
        return splits(rest, &["with|by|for"]);
    }
    if let Some(rest) = core.eat(&["make"]).filter(|rest| rest.has(&["say|read"])) {
        return splits(rest, &["say|read"]);
    }
    let (rest, only_title) = named.or_else(loose)?;
    if rest.eat(&["the? due|deadline|priority|date|time|description"]).is_some() && !only_title {
        return None;
    }
    let splitting: &[&str] = &[
        "'s|its? title|name to|as|:|into",
        "to be called|named",
        if only_title { "to" } else { "to say|read?" },
        "into|as",
        "→",
    ];
    let (at, end) = match rest.find(splitting) {
        Some(found) => found,
        None if only_title => {
            return Some(Reading::sure(Intent::Change(target(rest), Change::Rename(String::new()))));
        }
        None => return None,
    };
    let goal = rest.after(end);
    if !only_title {
        let object = rest.before(at);
        if many(object) {
            return Some(Reading::sure(Intent::Many(Verb::Change)));
        }
        if dates::only(goal, now).is_some() || goal.eat(&["be"]).is_some() || goal.is(&[DONE, OPEN, NOT_DONE]) {
            return None;
        }
        if goal.len() <= 3 && (goal.has(&["priority"]) || goal.is(&["urgent|important"])) {
            return Some(Reading::sure(Intent::Change(target(object), Change::Priority(level(goal)?))));
        }
    }
    let reading = splits(rest, splitting)?;
    // "change the meeting to friday or so" is likelier a day that was not understood than a title.
    let doubtful = !only_title && goal.only_quoted().is_none() && !dates::phrases(goal, now).is_empty();
    Some(Reading { tentative: doubtful, ..reading })
}

/// Every way to split "X to Y" where "to" stands more than once.
fn splits(rest: Clause<'_>, splitting: &[&str]) -> Option<Reading> {
    let mut found: Vec<(Target, String)> = Vec::new();
    let mut at = rest.from;
    while let Some((start, end)) = rest.after(at).find(splitting) {
        let (object, goal) = (rest.before(start), rest.after(end));
        if many(object) {
            return Some(Reading::sure(Intent::Many(Verb::Change)));
        }
        let title = goal.only_quoted().map_or_else(|| tidy(goal.raw()), tidy);
        if has_words(object) && !title.is_empty() {
            found.push((target(object), title));
        } else if has_words(object) && found.is_empty() {
            return Some(Reading::sure(Intent::Change(target(object), Change::Rename(String::new()))));
        }
        at = end;
        if found.len() >= 6 {
            break;
        }
    }
    match found.len() {
        0 => None,
        1 => found.pop().map(|(target, title)| Reading::sure(Intent::Change(target, Change::Rename(title)))),
        _ => Some(Reading::sure(Intent::Rename(found))),
    }
}

fn rank(core: Clause<'_>) -> Option<Reading> {
    let ranked = |rest: Clause<'_>, level| Some(change(rest, Verb::Change, Change::Priority(level)));
    if let Some(rest) = core.eat(&["prioritise|prioritize"]) {
        return ranked(rest, Priority::High);
    }
    if let Some(rest) = core.eat(&["deprioritise|deprioritize"]) {
        return ranked(rest, Priority::Low);
    }
    let rest = core.eat(&["set|change|make|mark|raise|lower|bump|update|give|flag|put|increase|decrease|move|turn"])?;
    if let Some(object) = rest.eat(&["the? priority of|on|for"]) {
        let level_at =
            object.find(&["to|as|at|:|=? a|the? high|highest|top|low|lowest|medium|normal|none|urgent|important|no"]);
        let Some((at, _)) = level_at else {
            let level = if core.eat(&["raise|increase|bump"]).is_some() {
                Priority::High
            } else {
                core.eat(&["lower|decrease|reduce"]).map(|_| Priority::Low)?
            };
            return Some(Reading { tentative: true, ..change(object, Verb::Change, Change::Priority(level)) });
        };
        return ranked(object.before(at), level(object.after(at))?);
    }
    if let Some(object) = rest.eat(&["high|low|medium|top|normal priority on|for|to"]) {
        return ranked(object, level(rest.before(object.from))?);
    }
    let ends: &[&str] = &[
        "'s? priority to|as|:|=? high|highest|top|low|lowest|medium|normal|none|no",
        "as|to|at|into|with|a|the? as|a|an|the|of|very? high|highest|top|low|lowest|medium|normal|no priority",
        "as|to|a? high-priority|low-priority|medium-priority",
        "as|to? not|less|more|really|very|super? urgent|important|critical",
    ];
    let object = rest.eat_back(ends).filter(|object| has_words(*object))?;
    let object = object.eat_back(&["as|to|a"]).unwrap_or(object);
    ranked(object, level(rest.after(object.to))?)
}

/// Moving: "move X to friday", "postpone X by a week", "set the deadline of X to 5pm".
fn moved(core: Clause<'_>, now: &Zoned) -> Option<Reading> {
    let clear = core.eat(&["move|reschedule|postpone|push|delay|shift|defer|snooze|extend|bring", "put off|back"]);
    let open = || core.eat(&["set|make|change|schedule|put|update|mark|give"]);
    let (rest, certain) = clear.map(|rest| (rest, true)).or_else(|| open().map(|rest| (rest, false)))?;
    let field = rest.eat(&[
        "the|its|a? due|new? date|deadline|time|day|due of|for|on|from|to",
        "the|a? due date|time|day|deadline of|for|on|to",
    ]);
    let fielded = field.is_some();
    let rest = field.unwrap_or(rest);
    if certain && let Some((start, shift)) = dates::shift(rest) {
        return Some(change(rest.before(start), Verb::Change, Change::Shift(shift)));
    }
    if rest.len() < 2 && !certain {
        return None;
    }
    if certain && let Some(due) = dates::only(rest, now).filter(|due| due.problem.is_none()) {
        // "move to friday" after something that was spoken of
        return rest.is_led().then(|| Reading::sure(Intent::Change(Target::It, Change::Due(due.when))));
    }
    let Some((start, due)) = dates::at_end(rest, now).filter(|(start, _)| *start > rest.from) else {
        let bare = rest.eat_back(&["to|until|till|for|back|later|another? time|day|date?"]).unwrap_or(rest);
        let asks = (certain && has_words(rest)) || fielded;
        return asks.then(|| change(bare, Verb::Change, Change::Due(None)));
    };
    let object = rest.before(start);
    let led = rest.part(start, start + 1).is(&["to|for|until|till|on|at|by|due|before|in|with|@|a|the|deadline"]);
    let object = object
        .eat_back(&[
            "to be",
            "so|that|and? it|it's|is? due|scheduled",
            "back|forward|out|over|up? to|until|till|for|on|due|by|from?",
        ])
        .unwrap_or(object);
    let object = object.eat_back(&["'s? due date|time|day", "deadline|due"]).unwrap_or(object);
    // "move dentist from monday to friday"
    let object = match dates::at_end(object, now) {
        Some((start, _)) if object.part(start, start + 1).is(&["from"]) => object.before(start),
        _ => object,
    };
    if !(certain || led || fielded) || !has_words(object) {
        return None;
    }
    Some(match due.problem {
        Some(problem) => Reading::sure(Intent::Unusable(problem)),
        None => change(object, Verb::Change, Change::Due(due.when)),
    })
}
