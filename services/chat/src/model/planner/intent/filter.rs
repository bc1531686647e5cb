//! Which tasks a question or a command picks out: open or done, due when, about what.

use jiff::Zoned;

use super::super::dates;
use super::super::words::{Clause, Kind};
use super::{Filter, State, add, has_words};

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

/// Whether it leaves any task out.
pub(super) fn picks(filter: &Filter) -> bool {
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
    state(clause, &mut filter, &mut take);
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

/// Open, done or all.
fn state(clause: Clause<'_>, filter: &mut Filter, take: &mut impl FnMut(&[&str]) -> bool) {
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
