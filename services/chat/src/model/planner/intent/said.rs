//! Things said rather than ordered: "I bought milk", "the rent is not paid yet", "it is urgent",
//! "actually make that oat milk".

use jiff::Zoned;

use super::super::dates;
use super::super::targets::{Target, Wanted, base_of_past, base_of_told, stem};
use super::super::words::{Clause, tidy};
use super::talk::Opening;
use super::{Change, Correction, Intent, Reading, Verb, add, change, group, has_words};

const DONE: &str = "done|complete|completed|finished|sorted|handled|settled|ready|closed|over";
const IS: &str =
    "is|are|was|were|got|gets|'s|has|have been? now|already|all|both|finally|completely|just? all|both|been?";
const LATELY: &[&str] = &[
    "already|yesterday|finally|earlier|again|now|too|today|recently|successfully|btw",
    "just now",
    "this morning|afternoon|evening|week",
    "last night|week",
    "a minute|moment|while|hour ago",
    "by the way",
    "for you",
    "as well",
    "off my list",
];

/// What somebody can have done with a task and not have finished it.
const NOT_DOING: &[&str] = &[
    "need",
    "want",
    "forget",
    "try",
    "plan",
    "hope",
    "think",
    "decide",
    "promise",
    "start",
    "begin",
    "add",
    "create",
    "miss",
    "lose",
    "fail",
    "skip",
    "cancel",
    "delete",
    "remove",
    "say",
    "tell",
    "ask",
    "like",
    "love",
    "hate",
    "feel",
    "know",
    "be",
    "see",
    "hear",
    "notice",
    "wonder",
    "worry",
    "mean",
    "delay",
    "postpone",
    "move",
    "have",
    "agree",
    "consider",
    "remember",
    "believe",
    "stop",
    "rename",
    "change",
    "name",
    "schedule",
    "understand",
    "expect",
    "refuse",
    "wait",
    "bore",
    "tire",
    "confuse",
    "excite",
    "interest",
];

/// Whether having done this means that it is finished.
pub(super) fn finishes(verb: &str) -> bool {
    !NOT_DOING.iter().any(|other| stem(other) == stem(verb))
}

/// Reads a statement.
pub(super) fn read(core: Clause<'_>, opening: &Opening<'_>, now: &Zoned) -> Option<Reading> {
    let question =
        core.eat(&["is|are|was|were|do|does|did|has|have|can|could|will|would|what|which|who|when|why|how|what's"]);
    if question.is_some() && core.eat(&["have|has|did|had"]).is_none() {
        return None;
    }
    not_done(core).or_else(|| correction(core, opening, now)).or_else(|| state(core, now)).or_else(|| did(core))
}

/// "X is not done yet", "I haven't paid the rent".
fn not_done(core: Clause<'_>) -> Option<Reading> {
    let core = core.eat_back(&["yet|anymore|actually|though", "after all", "any more", "so far"]).unwrap_or(core);
    if let Some(object) = core.eat(&[&format!("it's|that's still? not {DONE}"), "it's|that's still open"])
        && object.is_empty()
    {
        return Some(Reading::sure(Intent::Change(Target::It, Change::Reopen)));
    }
    let ends = [
        format!("is|are|was|were|'s actually|really|still? not actually|really|yet|quite? {DONE}"),
        format!("isn't|aren't|wasn't|weren't actually|really|quite? {DONE}"),
        "is|are still open|undone|pending|unfinished|incomplete".to_owned(),
        "is|are still not done".to_owned(),
        "hasn't|haven't been done|completed|finished|paid|bought|sent|made".to_owned(),
        format!("not {DONE}"),
    ];
    let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
    if let Some(object) = core.eat_back(&ends).filter(|object| has_words(*object)) {
        return Some(reopened(object, false));
    }
    // "the rent isn't paid": the participle belongs to the task's own verb.
    if let Some((at, end)) = core.find(&["isn't|aren't|wasn't|hasn't been?", "is|are|was still? not", "has not been"])
        && at > core.from
        && let [word] = core.after(end).words()
        && let Some(verb) = base_of_past(&word.normal)
    {
        return Some(Reading::sure(Intent::Change(
            Target::Words(Wanted::said(&verb, core.before(at))),
            Change::Reopen,
        )));
    }
    let rest = core.eat(&[
        "i|we haven't|didn't|never actually|really|even? yet?",
        "i|we have|did not actually|really|even? yet?",
        "i|we have yet to",
    ])?;
    let verb = rest.normal(rest.from);
    let verb = base_of_past(verb).unwrap_or_else(|| verb.to_owned());
    let object = rest.after(rest.from + 1);
    let wanted = if has_words(object) { Wanted::said(&verb, object) } else { return None };
    Some(Reading::tentative(Intent::Change(Target::Words(wanted), Change::Reopen)))
}

fn reopened(object: Clause<'_>, tentative: bool) -> Reading {
    Reading { tentative, ..change::change(object, Verb::Reopen, Change::Reopen) }
}

/// "make that oat milk", "I meant friday", "no, oat milk".
fn correction(core: Clause<'_>, opening: &Opening<'_>, now: &Zoned) -> Option<Reading> {
    let made = core
        .eat(&[
            "make|change it|that|this to|into?",
            "i meant|mean to say|write",
            "i meant|mean",
            "it|that|this should be|say|read|have been",
        ])
        .filter(|rest| has_words(*rest));
    let rest = made.or_else(|| opening.corrects.then_some(core))?;
    let rest = rest.eat_back(&["instead", "rather"]).unwrap_or(rest);
    let rest = rest.eat_back(&["i meant", "not"]).unwrap_or(rest);
    if rest.eat(&["to"]).is_some() || !has_words(rest) || rest.len() > 20 || (made.is_none() && rest.len() > 6) {
        return None;
    }
    if made.is_none() && (did(core).is_some() || state(core, now).is_some()) {
        return None;
    }
    let due = dates::only(rest, now);
    if let Some(problem) = due.as_ref().and_then(|due| due.problem.clone()) {
        return Some(Reading::sure(Intent::Unusable(problem)));
    }
    let when = due.and_then(|due| due.when);
    let priority = if rest.len() <= 3 && rest.has(&["priority", "urgent|important"]) { add::level(rest) } else { None };
    let words = rest.only_quoted().map_or_else(|| tidy(rest.raw()), tidy);
    let tentative = made.is_none() && when.is_none() && priority.is_none();
    Some(Reading { intent: Intent::Correct(Correction { words, when, priority }), tentative, ignored: None })
}

/// "at 5pm" alone: perhaps when the task of the last exchange is due.
pub(super) fn moment(core: Clause<'_>, now: &Zoned) -> Option<Reading> {
    let due = dates::only(core, now).filter(|due| due.problem.is_none())?;
    let correction = Correction { words: String::new(), when: due.when, priority: None };
    Some(Reading::tentative(Intent::Correct(correction)))
}

/// "X is done", "it's urgent", "the report is due on friday".
fn state(core: Clause<'_>, now: &Zoned) -> Option<Reading> {
    let core = core.eat_back(LATELY).filter(|rest| has_words(*rest)).unwrap_or(core);
    let it = core.eat(&["it's|that's|this|it|that is|are|was?"]);
    if let Some(rest) = it {
        let rest = rest.eat(&["now|already|all|finally|very|really|super|actually|also?"]).unwrap_or(rest);
        if rest.is(&[DONE]) {
            return Some(Reading::sure(Intent::Change(Target::It, Change::Complete)));
        }
        if rest.len() <= 3 && rest.has(&["urgent|important|priority|critical"]) {
            return add::level(rest).map(|level| Reading::sure(Intent::Change(Target::It, Change::Priority(level))));
        }
        let due = rest.eat(&["due|for|on"]).and_then(|_| dates::only(rest, now));
        if let Some(due) = due {
            return Some(Reading::sure(match due.problem {
                Some(problem) => Intent::Unusable(problem),
                None => Intent::Change(Target::It, Change::Due(due.when)),
            }));
        }
    }
    for ends in [format!("{IS} {DONE}"), format!("can|could|may|should be {DONE}")] {
        if let Some(object) = core.eat_back(&[&ends]).filter(|object| has_words(*object)) {
            return Some(completed(object, None));
        }
    }
    if core.eat(&["i|we|you|he|she|they|well|got|get|have|had|has"]).is_none()
        && let Some(object) = core.eat_back(&["done|completed|finished|✓|✔|✅"]).filter(|object| has_words(*object))
    {
        return Some(completed(object, None));
    }
    if let Some((at, end)) = core.find(&["is|are|was|has|have been|now|already|finally? been?"])
        && at > core.from
    {
        let (object, rest) = (core.before(at), core.after(end));
        if let [word] = rest.words()
            && let Some(verb) = base_of_past(&word.normal).filter(|verb| finishes(verb))
        {
            return Some(completed(object, Some(&verb)));
        }
        if rest.len() <= 3 && rest.has(&["urgent|important|critical", "high|low|medium priority"]) {
            let level = add::level(rest)?;
            return Some(Reading::tentative(Intent::Change(change::target(object), Change::Priority(level))));
        }
        if let Some(due) = rest.eat(&["due|scheduled|moved|postponed"]).and_then(|_| dates::only(rest, now)) {
            let due = due.when.filter(|_| due.problem.is_none())?;
            return Some(Reading::tentative(Intent::Change(change::target(object), Change::Due(Some(due)))));
        }
    }
    if let [.., last] = core.words()
        && core.eat(&["i|we|you|he|she|they|it|not|no|get|got|have|has"]).is_none()
        && core.len() > 1
        && let Some(verb) = base_of_past(&last.normal).filter(|verb| finishes(verb) && !core.has(&["by|a|an|be"]))
    {
        // "rent paid"
        let object = core.before(core.to - 1).trim_end();
        return Some(Reading { tentative: core.normal(core.to - 2) != ":", ..completed(object, Some(&verb)) });
    }
    None
}

fn completed(object: Clause<'_>, verb: Option<&str>) -> Reading {
    if let Some(group) = group::told(object, verb) {
        // "everything is done" is said lightly; it is asked about.
        let tentative = matches!(group, group::Group::Picked(_));
        return Reading { intent: Intent::Group(group, Change::Complete), tentative, ignored: None };
    }
    if change::many(object) {
        return Reading::sure(Intent::Many(Verb::Complete));
    }
    let target = match (change::target(object), verb) {
        (Target::Words(_), Some(verb)) => Target::Words(Wanted::said(verb, object)),
        (target, _) => target,
    };
    Reading::sure(Intent::Change(target, Change::Complete))
}

/// "I bought milk", "just paid the rent", "got the report done".
fn did(core: Clause<'_>) -> Option<Reading> {
    let mut core = core;
    while let Some(shorter) = core.eat_back(LATELY).filter(|rest| has_words(*rest)) {
        core = shorter.trim_end();
    }
    const ADVERB: &str = "just|already|also|finally|recently|successfully|now?";
    let subject = core.eat(&[&format!("i|we have|had? {ADVERB} {ADVERB}"), &format!("i've|we've {ADVERB} {ADVERB}")]);
    let rest = subject.or_else(|| core.eat(&["just|already|finally|also"])).unwrap_or(core);
    if rest.eat(&["almost|nearly|half|partly|probably|maybe|not|never|only"]).is_some() {
        return None;
    }
    if let Some(object) = rest.eat(&[
        "took|taken care of",
        "dealt with",
        "did|done|do with?",
        "got done with",
        "got through",
        "finished up? with?",
        "completed",
        "wrapped up",
        "checked|ticked|crossed off",
    ]) {
        return has_words(object).then(|| completed(object, None));
    }
    if let Some(object) =
        rest.eat(&["got|have|had"]).and_then(|rest| rest.eat_back(&["done|finished|completed|sorted"]))
    {
        return has_words(object).then(|| completed(object, None));
    }
    if let Some(object) = rest.eat(&["had"]).filter(|object| has_words(*object)) {
        return Some(Reading { tentative: true, ..completed(object, None) });
    }
    let told = subject.is_some() || rest.from > core.from;
    let first = rest.normal(rest.from);
    let verb = if told { base_of_told(first) } else { base_of_past(first) }?;
    let unfinished =
        |part: &Clause<'_>| part.len() > 1 && base_of_past(part.normal(part.from)).is_some_and(|verb| !finishes(&verb));
    if finishes(&verb) && group::split(rest).iter().skip(1).any(unfinished) {
        return Some(Reading::sure(Intent::SeveralCommands));
    }
    if !finishes(&verb) || rest.has(&["if|but|because|almost|not|tomorrow|instead|half|part"]) {
        return None;
    }
    let object = rest.after(rest.from + 1);
    let object =
        object.eat(&["up|off|out|back|with|to|for|at|by|on|in"]).filter(|rest| has_words(*rest)).unwrap_or(object);
    has_words(object).then(|| completed(object, Some(&verb)))
}
