//! Looking without touching: lists, counts, searches and questions about one task.

use jiff::Zoned;

use super::super::dates;
use super::super::targets::{Target, Wanted, base_of_past};
use super::super::words::{Clause, Kind};
use super::{Filter, Intent, Reading, State, add, change, has_words};

const TASKS: &str = "tasks|task|todos|todo|list|lists|reminders|errands|agenda|to-dos|items|things|stuff|anything|something|everything|plate|schedule|calendar|chores|assignments|deadlines";
/// Words of a question about the list that pick nothing out.
const PLAIN: &[&str] = &[
    "me",
    "us",
    "my",
    "the",
    "a",
    "an",
    "of",
    "on",
    "in",
    "at",
    "for",
    "to",
    "do",
    "does",
    "did",
    "i",
    "we",
    "have",
    "has",
    "had",
    "need",
    "is",
    "are",
    "am",
    "be",
    "been",
    "was",
    "there",
    "that",
    "which",
    "what",
    "what's",
    "these",
    "those",
    "this",
    "it",
    "its",
    "with",
    "and",
    "please",
    "right",
    "now",
    "currently",
    "still",
    "so",
    "far",
    "got",
    "get",
    "gotta",
    "should",
    "must",
    "can",
    "could",
    "will",
    "would",
    "you",
    "supposed",
    "going",
    "coming",
    "up",
    "upcoming",
    "happening",
    "planned",
    "scheduled",
    "set",
    "full",
    "whole",
    "entire",
    "complete",
    "current",
    "look",
    "like",
    "tell",
    "give",
    "show",
    "list",
    "see",
    "out",
    "by",
    "from",
    "i've",
    "i'm",
    "marked",
    "as",
    "due",
    "first",
    "tasks",
    "task",
    "todos",
    "todo",
    "lists",
    "reminders",
    "errands",
    "agenda",
    "items",
    "item",
    "things",
    "thing",
    "stuff",
    "anything",
    "something",
    "plate",
    "schedule",
    "calendar",
    "chores",
    "else",
    "any",
    "some",
    "ones",
    "one",
    "yet",
    "already",
    "today's",
    "exist",
    "exists",
    "saved",
    "read",
    "back",
    "again",
    "once",
    "more",
    "only",
    "most",
    "just",
    "deadlines",
    "assignments",
    "about",
    "many",
    "how",
    "number",
    "count",
    "total",
    "we've",
    "time",
    "work",
    "working",
    "wait",
    "waiting",
    "deal",
    "focus",
    "be",
    "day",
    "date",
    "dates",
    "status",
];

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
        return if has_words(object) && !plain { show(object) } else { None };
    }
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
    let (mut filter, left) = filter(core, now);
    if let Some(rest) = ordered {
        if rest.is_empty() {
            return core.is(&["list", "show me?", "display"]).then_some(Intent::List(filter));
        }
        return match left {
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
        };
    }
    if asked.is_some() {
        let own = core.eat(&[
            "do|did|have|am i|we",
            "is|are there",
            "any|anything|which",
            "what|what's|which|tell me? tasks|todos|is|are|do|have|did|should|needs|must|can|i|on|next|left|due|overdue|the",
            "what's",
        ]);
        own?;
        let about = noun
            || picks(&filter)
            || core.has(&["do|done|finish|next|left|overdue|due|finished|completed|first|up|on"]);
        return match left {
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
        };
    }
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

fn picks(filter: &Filter) -> bool {
    filter.overdue
        || filter.range.is_some()
        || filter.dated.is_some()
        || filter.label.is_some()
        || filter.priority.is_some()
        || filter.words.is_some()
        || filter.next
        || filter.state != State::Open
}

/// Which tasks a text picks out, and the words that it left over.
pub(in super::super) fn filter(clause: Clause<'_>, now: &Zoned) -> (Filter, Option<String>) {
    let mut filter = Filter::default();
    let mut gone = Vec::new();
    words(clause, &mut filter, &mut gone);
    label(clause, &mut filter, &mut gone);
    let mut take = |patterns: &[&str]| -> bool {
        let found =
            clause.find(patterns).filter(|(from, _)| !gone.iter().any(|(start, end)| (*start..*end).contains(from)));
        gone.extend(found);
        found.is_some()
    };
    take(&["without|not deleting|completing|changing|touching them|it|anything|any|one?"]);
    filter.overdue = take(&["past their? due date?", "overdue|late|behind|missed|expired"]);
    if take(&[
        "without|no|lacking a|any? due? date|dates|deadline|deadlines",
        "with no due? date|dates|deadline|deadlines",
        "that have no due? date|deadline",
        "undated",
    ]) {
        filter.dated = Some(false);
    } else if take(&["with a|any? due dates|date", "with a|any? deadline|deadlines"]) {
        filter.dated = Some(true);
    }
    filter.next = take(&["do|up|on|come|comes next", "next up|task|thing|todo|one", "'s next"])
        || clause.is(&["what's|what is? next on? my? list?", "what is next"]);
    if filter.next {
        take(&["next"]);
    }
    let done = take(&["not|un|isn't|aren't|haven't|yet|still? not done|completed|finished|complete"]);
    if !done {
        if take(&[
            "not done|completed|finished|complete",
            "to be done",
            "needs doing|done",
            "need to get done",
            "get done|finished",
        ]) {
            filter.state = State::Open;
        } else if take(&[
            "completed|done|finished|closed|accomplished|ticked|checked off?",
            "did i do|finish|complete|get",
        ]) || clause.has(&["what did i do|finish|complete"])
        {
            filter.state = State::Done;
        } else if take(&["open|pending|active|incomplete|remaining|left|unfinished|undone|outstanding|todo"]) {
            filter.state = State::Open;
        } else if clause.has(&["all|every|everything|each"]) {
            filter.state = State::All;
        }
    }
    take(&["all|every|everything|each"]);
    if let Some((from, to)) = clause.find(&[
        "high|highest|top|low|lowest|medium|normal priority",
        "high-priority|low-priority",
        "urgent|important",
    ]) {
        filter.priority = add::level(clause.part(from, to));
        gone.push((from, to));
    }
    let taken = gone.clone();
    if let Some((range, place)) =
        dates::range(clause, now).filter(|(_, (from, _))| !taken.iter().any(|(a, b)| (*a..*b).contains(from)))
    {
        filter.range = Some(range);
        gone.push(place);
    }
    let left: Vec<&str> = (clause.from..clause.to)
        .filter(|at| !gone.iter().any(|(from, to)| (*from..*to).contains(at)))
        .filter_map(|at| clause.part(at, at + 1).words().first())
        .filter(|word| word.kind != Kind::Mark && !PLAIN.contains(&word.normal.as_str()))
        .map(|word| clause.inner(word))
        .collect();
    (filter, (!left.is_empty()).then(|| left.join(" ")))
}

/// "about milk", "containing milk".
fn words(clause: Clause<'_>, filter: &mut Filter, gone: &mut Vec<(usize, usize)>) {
    const ABOUT: &[&str] = &[
        "that|which? contain|contains|containing|mention|mentions|mentioning|matching|match|include|includes|including the? word|words|text|phrase?",
        "with the? word|words|text|phrase in|:?",
        "that|which are|is|have|has|start to? do|with? with|about",
        "about|regarding|concerning|like|named|called|titled",
        "related to",
        "that|which has|have",
        "with",
    ];
    let Some((from, start)) = clause.find(ABOUT) else { return };
    let mut rest = clause.after(start);
    if rest.is(&["anything|something|everything"]) {
        return;
    }
    if rest.eat(&["no|a|the|any|high|low|medium? due|deadline|priority|tag|label", "high|low|medium|top"]).is_some() {
        return;
    }
    rest =
        rest.eat_back(&["in it|them|the|its|their title|titles|name|names|description?", "in it|them"]).unwrap_or(rest);
    if !has_words(rest)
        || rest.words().first().is_some_and(|word| word.kind == Kind::Tag)
        || rest.is(&["me|my? tasks|list|that|it"])
    {
        return;
    }
    filter.words = Some(rest.only_quoted().unwrap_or(rest.trim().raw()).to_owned());
    gone.push((from, clause.to));
}

fn label(clause: Clause<'_>, filter: &mut Filter, gone: &mut Vec<(usize, usize)>) {
    for at in clause.from..clause.to {
        if clause.part(at, at + 1).words().first().is_some_and(|word| word.kind == Kind::Tag) {
            filter.label = Some(clause.part(at, at + 1).raw().trim_start_matches('#').to_owned());
            gone.push((at, at + 1));
            return;
        }
    }
    let found = clause.find(&[
        "that|which? are|is? tagged|labelled|labeled as|with?",
        "with the? tag|label",
        "in the? category",
    ]);
    if let Some((from, start)) = found
        && let Some(word) = clause.after(start).words().first()
    {
        filter.label = Some(clause.inner(word).to_owned());
        gone.push((from, start + 1));
    }
}
