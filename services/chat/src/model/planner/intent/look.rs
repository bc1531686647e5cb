//! Looking without touching: lists, counts, searches and questions about one task.

use jiff::Zoned;

use super::super::targets::{Target, Wanted, base_of_past};
use super::super::words::Clause;
use super::filter::{filter, picks};
use super::{Filter, Intent, Reading, State, change, has_words};

pub(super) const TASKS: &str = "tasks|task|todos|todo|list|lists|reminders|errands|agenda|to-dos|items|things|stuff|anything|something|everything|plate|schedule|calendar|chores|assignments|deadlines";
/// Reads a question or an order to show something.
pub(super) fn read(core: Clause<'_>, now: &Zoned) -> Option<Reading> {
    let intent = count(core, now).or_else(|| search(core, now)).or_else(|| one(core)).or_else(|| list(core, now))?;
    Some(Reading::sure(intent))
}

fn count(core: Clause<'_>, now: &Zoned) -> Option<Intent> {
    let rest = core.eat(&[
        "how many",
        "count of? up?",
        "what's|what is? the? total? number of",
        "the? total? number of",
        "tell me how many",
    ])?;
    let (mut filter, left) = filter(rest, now);
    let about_tasks = rest.has(&[TASKS])
        || rest.has(&["do i have", "have i", "did i", "due|overdue|done|left|open|completed|finished", "are there"]);
    if !about_tasks {
        return None;
    }
    filter.words = filter.words.or(left);
    Some(Intent::Count(filter))
}

/// "find milk", "search for the report".
fn search(core: Clause<'_>, now: &Zoned) -> Option<Intent> {
    let rest = core.eat(&[
        "find|search|locate|look me? for|up|in|through? for? my|the|all|any|every? tasks|task|todos|list? for|about|with|containing|that|which|named|called|:? contain|contains|mention|mentions|containing|about|called|match?",
        "filter my|the? tasks|list? by|for|with",
    ]);
    let rest = rest.filter(|rest| has_words(*rest))?;
    let (mut filter, left) = filter(rest, now);
    if filter.words.is_none() && left.is_none() && !picks(&filter) {
        return None;
    }
    filter.words = filter.words.or(left);
    if filter.state == State::Open && !rest.has(&["open|pending|unfinished|incomplete"]) {
        filter.state = State::All;
    }
    Some(Intent::List(filter))
}

/// A question about one task: "when is the dentist due?", "is the milk done?", "describe X".
fn one(core: Clause<'_>) -> Option<Intent> {
    let show = |rest: Clause<'_>| Some(Intent::Show(change::target(rest)));
    let about = core.eat(&[
        "details|detail|info|information of|for|on|about",
        "show|give|tell|get me|us? the|all|more? details|detail|info|information|status|description|notes of|for|on|about",
        "tell me more? about",
        "describe",
        "what's|what is? the|its? current? due? date|deadline|priority|status|description|state|time|note|notes of|for|on|about",
        "what's|what are? the? details|notes of|for|on|about",
        "what do|does you know about",
        "what about",
        "what's|what is? the? status of|on|with",
    ]);
    if let Some(rest) = about.filter(|rest| has_words(*rest)) {
        return if change::many(rest) { None } else { show(rest) };
    }
    let numbered = core
        .eat(&["what's|which|what is? the?", "show|display|describe me? the?"])
        .filter(|rest| change::place(*rest).is_some());
    if let Some(rest) = numbered {
        return show(rest);
    }
    let when = core.eat(&[
        "when is|are|was|does|do|did|must|should|'s i|we? need|have? to?",
        "when's",
        "what time|day|date is|are|was|does|do|'s|should i|we? need|have? to?",
        "by when is|are|do|must i? need|have? to?",
    ]);
    if let Some(rest) = when.filter(|rest| has_words(*rest)) {
        let rest =
            rest.eat_back(&["due|scheduled|happening|planned|supposed", "to be done|finished|due"]).unwrap_or(rest);
        return if has_words(rest) && !change::many(rest) { show(rest) } else { None };
    }
    if let Some(rest) = core.eat(&["is|are|was|were"]) {
        return whether(rest);
    }
    deed(core)
}

/// "is the milk bought?", "is the dentist overdue?"
fn whether(rest: Clause<'_>) -> Option<Intent> {
    let show = |rest: Clause<'_>| Some(Intent::Show(change::target(rest)));
    if let Some((last, words)) = rest.words().split_last()
        && let Some(verb) = base_of_past(&last.normal).filter(|verb| verb != "do")
        && words.len() < 8
        && !rest.has(&[TASKS])
    {
        return Some(Intent::Show(Target::Words(Wanted::said(&verb, rest.before(rest.to - 1)))));
    }
    let object = rest.eat_back(&[
        "already|all|still|really|not? done|completed|complete|finished|open|overdue|late|due|pending|urgent|important yet|already|now?",
        "on|in my|the todo? list",
        "high|low|medium priority",
    ])?;
    let plain = object.is(&[
        "there anything|something|any|tasks",
        "anything|everything|all|any|all? of? my? tasks|there",
        "there",
    ]) || change::many(object);
    if has_words(object) && !plain { show(object) } else { None }
}

/// "did I pay the rent?"
fn deed(core: Clause<'_>) -> Option<Intent> {
    let rest = core.eat(&["did|have|has i|we already|ever|just|not?", "have i|we already|ever? been", "was i"])?;
    let verb = rest.normal(rest.from);
    let object = rest.after(rest.from + 1);
    if rest.is(&["done|finished|completed|do|finish|complete anything|something|everything|today|yesterday|already?"])
        || !has_words(object)
        || change::many(object)
    {
        return None;
    }
    if object.has(&[TASKS]) && !object.has(&["the"]) {
        return None;
    }
    let verb = base_of_past(verb).unwrap_or_else(|| verb.to_owned());
    Some(Intent::Show(Target::Words(Wanted::said(&verb, object))))
}

fn list(core: Clause<'_>, now: &Zoned) -> Option<Intent> {
    let noun = core.has(&[TASKS]);
    let ordered = core.eat(&[
        "list|show|display|view|see|print|read|give|get|check|pull|bring|fetch|present|output me|us? up|out|over|back?",
    ]);
    let asked = core.eat(&[
        "what|what's|which|where|where's|any|anything|am|do|does|is|are|have|has|did|who|tell|remind me? what|which?",
    ]);
    let (filter, left) = filter(core, now);
    if let Some(rest) = ordered {
        return order(core, rest, filter, left, noun);
    }
    if asked.is_some() {
        return question(core, filter, left, noun);
    }
    bare(core, filter, left)
}

/// "show my open tasks"
fn order(core: Clause<'_>, rest: Clause<'_>, mut filter: Filter, left: Option<String>, noun: bool) -> Option<Intent> {
    if rest.is_empty() {
        return core.is(&["list", "show me?", "display"]).then_some(Intent::List(filter));
    }
    match left {
        None if noun || picks(&filter) || rest.is(&["all|everything|them|it all?"]) => Some(Intent::List(filter)),
        Some(words) if rest.has(&["tasks|todos|reminders|items|errands|ones|everything|anything"]) => {
            filter.words = filter.words.or(Some(words));
            Some(Intent::List(filter))
        }
        // "show me the dentist task" is about one; "get milk" and "check the oven" are things to do.
        _ if core.eat(&["show|display|view|see|list"]).is_some() || rest.has(&["task|todo"]) => {
            Some(Intent::Show(change::target(rest)))
        }
        _ => None,
    }
}

/// "what is due today?"
fn question(core: Clause<'_>, mut filter: Filter, left: Option<String>, noun: bool) -> Option<Intent> {
    let own = core.eat(&[
        "do|did|have|am i|we",
        "is|are there",
        "any|anything|which",
        "what|what's|which|tell me? tasks|todos|is|are|do|have|did|should|needs|must|can|i|on|next|left|due|overdue|the",
        "what's",
    ]);
    own?;
    let about =
        noun || picks(&filter) || core.has(&["do|done|finish|next|left|overdue|due|finished|completed|first|up|on"]);
    match left {
        None if about => Some(Intent::List(filter)),
        Some(words)
            if core
                .eat(&[
                    "do i|we have|need|still",
                    "is|are there a|an|any|some? task|tasks|todo|reminder|anything",
                    "what|which tasks|todos|reminders",
                    "any tasks|task|reminders|todos",
                ])
                .is_some() =>
        {
            filter.words = filter.words.or(Some(words));
            Some(Intent::List(filter))
        }
        _ => None,
    }
}

/// "overdue tasks"
fn bare(core: Clause<'_>, mut filter: Filter, left: Option<String>) -> Option<Intent> {
    // A bare "my tasks", "overdue", "tasks for friday".
    let bare = core.eat(&[&format!("my|the|our|all|open|completed|done|finished|overdue|today's|tomorrow's|pending|active|remaining|high|low|urgent|important|{TASKS}")]).is_some()
        || core.is(&["today|overdue|tomorrow", "this|next week", "next task?", "up next", "whats? next"]);
    let clear = core.has(&["tasks|todos|list|agenda|reminders|overdue|errands"]) || core.len() <= 2;
    match left {
        None if bare && clear => Some(Intent::List(filter)),
        Some(words) if bare && core.has(&["tasks|todos|reminders"]) && filter.words.is_none() && core.len() <= 5 => {
            filter.words = Some(words);
            Some(Intent::List(filter))
        }
        None if bare && filter.words.is_some() && core.has(&["tasks|todos|reminders"]) => Some(Intent::List(filter)),
        _ => None,
    }
}
