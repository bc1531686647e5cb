//! Making a task: "add ...", "remind me to ...", "put ... on my list".
//!
//! After such a start everything is title, whatever verbs are in it; only days, times, priorities,
//! labels and a description are taken out.

use jiff::Zoned;

use super::super::dates::{self, Lead};
use super::super::words::{Clause, Kind, Word, tidy};
use super::talk::Opening;
use super::{Draft, Intent, Priority, Reading, change, fields, has_words, items, look};

pub(super) use super::super::dates::Due;

/// What may stand between the verb and the title: "add a task called".
const NEW_TASK: &[&str] = &[
    "add|create|make|insert|enter|log|record|save|register|put|start me? a|an|another|one|the|my? new|quick|small|little|simple|single|more? task|todo|item|entry|errand|reminder in|on|to|into my|the todo|task? list|lists",
    "add|create|make|insert|enter|log|record|save|register|open|start me? a|an|another|one|the|my? new|quick|small|little|simple|single|more? task|todo|item|entry|errand|reminder",
    "add|create|make|insert|enter a|an|another|one|the|my? new? to do item|task|entry?",
    "set me? up|in|down? a|an|another|one|the? new|quick? reminder|alarm",
    "a? new task|todo|item|entry|errand|reminder",
    "task|todo|reminder :|-",
    "to do :|-",
    "another|one more? task|todo|reminder|one :",
    "add|create|make|insert another|one more? task|todo|reminder|one|thing :",
    "add|create|insert something|sth|one more|new|else? :",
];
/// Starts that lead straight to the title.
const START: &[&str] = &[
    "add|insert the|this following? :",
    "add|insert also? :?",
    "note|memo to self|myself :|-|,|that|to?",
    "make|take a|me? quick|mental? note to|that|of|:",
    "write|jot|note|put down that?",
    "don't|never forget to|about|that?",
    "don't|never let me|us forget to|about|that?",
    "do not forget to|about|that?",
    "do not let me|us forget to|about|that?",
    "remember to|that|about?",
    "i|we need|have|want to remember to|about?",
    "schedule a|an|the?",
];
const REMIND: &[&str] = &["remind|ping|nudge|alert me|us|myself", "give me a reminder|nudge", "set me? a|an? reminder"];
/// Duties: a task unless something else is meant by the rest.
const DUTY: &[&str] = &[
    "i|we also|really|just? need|have|ought|got|needed also? to",
    "i've|we've also|really? got to",
    "i|we gotta|must|needa",
    "i|we also|really? have got to",
    "i'll have|need to",
];
const LIST: &[&str] = &[
    "to|on|in|onto|into my|the|our|this todo|task|tasks|shopping|grocery|groceries|errand|errands|reminder? list|lists|tasks|todos|todo|agenda|reminders",
    "to|on|in|onto|into my|the|our|this to do list|lists?",
    "as a|an|another|my? new? task|todo|reminder|item",
];

/// Whether a sentence starts as one that makes a task.
pub(super) fn starts(core: Clause<'_>) -> bool {
    core.eat(NEW_TASK).or_else(|| core.eat(START)).or_else(|| core.eat(REMIND)).or_else(|| core.eat(DUTY)).is_some()
        || core.eat(&["put"]).is_some() && core.has(LIST)
}

/// Reads a sentence that makes a task.
pub(super) fn read(core: Clause<'_>, opening: &Opening<'_>, now: &Zoned) -> Option<Reading> {
    if let Some(reading) = items::read(core, now) {
        return Some(reading);
    }
    // "tomorrow I need to ...", "by friday, remind me to ..."
    let (before, core) = leading(core, now, true);
    if let Some(rest) = core.eat(DUTY) {
        return duty(rest, before, opening, now);
    }
    if let Some((level, rest)) = ranked(core) {
        return Some(with_priority(after_noun(rest, before, now), level));
    }
    if let Some(rest) = core.eat(NEW_TASK) {
        return Some(after_noun(rest, before, now));
    }
    if let Some(rest) = core.eat(REMIND) {
        let (due, rest) = leading(rest, now, false);
        let rest = rest.eat(&["to|about|of|that|:|,", "i need|have to"]).unwrap_or(rest);
        let rest = rest.eat(&["i|we need|have to", "the"]).unwrap_or(rest);
        return Some(finish(rest, merge(before, due), now, false));
    }
    // "put taxes back on my list" is no new task.
    if core.eat(&["put"]).is_some() && core.has(&["back on|to|in|onto"]) {
        return None;
    }
    if core.eat(&["put|place|throw|stick"]).is_some() && core.has(LIST) {
        return core.eat(&["put|place|throw|stick"]).map(|rest| finish(rest, before, now, false));
    }
    let rest = core.eat(START)?;
    // "schedule it for friday" moves a task.
    if core.eat(&["schedule"]).is_some() && (rest.has(&["task", "it|that|this"]) || dates::at_end(rest, now).is_none())
    {
        return None;
    }
    let rest = if opening.requested { rest.eat_back(&["for me"]).unwrap_or(rest) } else { rest };
    Some(finish(rest, before, now, false))
}

/// "I need to ...": a task, unless the rest speaks of the list itself.
fn duty(rest: Clause<'_>, before: Due, opening: &Opening<'_>, now: &Zoned) -> Option<Reading> {
    if !has_words(rest) {
        return None;
    }
    if starts(rest) {
        return read(rest, opening, now);
    }
    if rest.eat(&["remember to|about", "remember"]).is_some() {
        return rest.eat(&["remember to|about?"]).map(|rest| finish(rest, before, now, false));
    }
    let speaks_of_tasks = rest.has(&["task|tasks|todo|todos", "my|the list"]);
    if speaks_of_tasks && let Some(reading) = fields::read(rest, now).or_else(|| change::read(rest, now)) {
        return Some(reading);
    }
    if let Some(reading) = look::read(rest, now) {
        return Some(reading);
    }
    if let Some(question) = rest.eat(&["know|see|hear|check", "find out"]).and_then(|rest| look::read(rest, now)) {
        return Some(question);
    }
    let idle = ["know|see|hear|say|tell|ask|think|go|leave|stop"];
    if rest.eat(&idle).is_some_and(|rest| !has_words(rest)) || rest.eat(&["know|say", "tell|ask you"]).is_some() {
        return None;
    }
    Some(finish(rest, before, now, false))
}

/// "add a high priority task": the priority and what follows.
fn ranked(core: Clause<'_>) -> Option<(Priority, Clause<'_>)> {
    let rest = core.eat(&["add|create|make|insert|enter|set me? a|an|another|one|the? new?", "a|an? new"])?;
    let after = rest.eat(&[
        "very|super|really? urgent|important|critical",
        "high|top|highest|low|lowest|medium|normal priority",
        "high-priority|low-priority|medium-priority",
    ])?;
    let level = level(rest.before(after.from))?;
    after.eat(&["new? task|todo|item|reminder|errand|entry"]).map(|rest| (level, rest))
}

fn with_priority(mut reading: Reading, level: Priority) -> Reading {
    if let Intent::Add(draft) = &mut reading.intent {
        draft.priority = Some(level);
    }
    reading
}

/// What follows "add a task": a day, "called", "to", the title.
fn after_noun(rest: Clause<'_>, before: Due, now: &Zoned) -> Reading {
    let (due, rest) = leading(rest, now, false);
    let described = rest.eat(&[
        "with|of|at|having a|the? high|highest|top|low|lowest|medium|normal priority",
        "that|which is urgent|important",
    ]);
    if let Some(after) = described.filter(|after| has_words(*after))
        && let Some(level) = level(rest.before(after.from))
    {
        return with_priority(after_noun(after, merge(before, due), now), level);
    }
    let named = rest.eat(&[
        "that|which? is? called|named|titled|saying|says|labelled|labeled :|as?",
        "with the? title|name|text of|:|=?",
        "title|name :|=",
    ]);
    let explicit = named.is_some();
    let rest = named
        .or_else(|| rest.eat(&[":|-|,|to", "that i|we need|have|should to?", "for|about me? to", "for|about|that"]))
        .unwrap_or(rest);
    let rest = if explicit { rest } else { rest.eat(&[":", "to"]).unwrap_or(rest) };
    finish(rest, merge(before, due), now, explicit)
}

/// Days and times that a text starts with, when the text goes on after them.
fn leading<'t>(clause: Clause<'t>, now: &Zoned, any: bool) -> (Due, Clause<'t>) {
    let mut taken = Vec::new();
    let mut rest = clause;
    for phrase in dates::phrases(clause, now) {
        if phrase.from != rest.trim_start().from {
            break;
        }
        rest = clause.after(phrase.to);
        taken.push(phrase);
    }
    let goes_on = if any {
        let after = rest.trim_start();
        starts(after)
    } else {
        rest.eat(&["to|:|,|about|that|called|named|titled|-", "i need|have"]).is_some()
    };
    let firm = taken.iter().any(|phrase| phrase.solid || phrase.lead != Lead::Bare) || goes_on;
    if taken.is_empty() || !goes_on || !firm {
        return (Due::default(), clause);
    }
    let rest = if any { rest.trim_start() } else { rest };
    (dates::collect(taken.into_iter()), rest)
}

fn merge(a: Due, b: Due) -> Due {
    let mut due = Due { problem: a.problem.or(b.problem), ..Due::default() };
    match (a.when, b.when) {
        (Some(a), Some(b)) => match a.and(&b) {
            Ok(when) => due.when = Some(when),
            Err(problem) => due.problem = Some(problem),
        },
        (a, b) => due.when = a.or(b),
    }
    due
}

pub(super) fn finish(rest: Clause<'_>, before: Due, now: &Zoned, explicit: bool) -> Reading {
    match draft(rest, now, explicit) {
        Ok((mut draft, due)) => {
            let due = merge(before, due);
            draft.when = due.when;
            if let Some(problem) = due.problem {
                return Reading::sure(Intent::Unusable(problem));
            }
            if let Some(drafts) = items::parted(&draft, rest).filter(|_| !explicit) {
                return Reading::sure(Intent::AddSeveral(drafts));
            }
            // "add bread and complete milk": a title seldom goes on with such an order.
            let order = ["and|then complete|reopen|undelete"];
            let tentative = !explicit && rest.has(&order) && rest.eat(&order).is_none();
            Reading { intent: Intent::Add(draft), tentative, ignored: None }
        }
        Err(problem) => Reading::sure(Intent::Unusable(problem)),
    }
}

/// Reads a task from the words that describe it. `explicit` says that its title was announced.
pub(in super::super) fn draft(clause: Clause<'_>, now: &Zoned, explicit: bool) -> Result<(Draft, Due), dates::Problem> {
    let mut draft = Draft { repeats: repeats(clause), ..Draft::default() };
    let mut gone = Vec::new();
    let clause = description(clause, &mut draft);
    labels(clause, &mut draft, &mut gone);
    if let Some(place) = clause.find(LIST) {
        gone.push(place);
    }
    if let Some((priority, place)) = priority(clause, &gone) {
        draft.priority = Some(priority);
        gone.push(place);
    }
    let due = dates::in_title(clause, now, &gone);
    let kept = gone.clone();
    gone.extend(due.gone.iter().copied());
    let mut title = title(clause, &gone);
    // "the meeting is at 5"
    if let Some(shorter) =
        title.strip_suffix(" is").or_else(|| title.strip_suffix(" are")).filter(|_| due.when.is_some())
    {
        title = shorter.to_owned();
    }
    if title.is_empty() && explicit && !due.gone.is_empty() {
        // "a task called tomorrow"
        title = self::title(clause, &kept);
        draft.title = Some(title).filter(|title| !title.is_empty());
        return Ok((draft, Due::default()));
    }
    let empty = ["it", "that", "this", "something", "one", "them"];
    draft.title = Some(title).filter(|title| !title.is_empty() && (explicit || !empty.contains(&title.as_str())));
    match due.problem {
        Some(problem) => Err(problem),
        None => Ok((draft, due)),
    }
}

/// What is left of a text when everything else has been taken out.
fn title(clause: Clause<'_>, gone: &[(usize, usize)]) -> String {
    let kept: Vec<usize> = (clause.from..clause.to)
        .filter(|at| !gone.iter().any(|(from, to)| (*from..*to).contains(at)))
        .filter(|at| clause.part(*at, at + 1).words().first().is_some_and(is_title))
        .collect();
    if let [only] = kept.as_slice()
        && let Some(quoted) = clause.part(*only, only + 1).only_quoted()
    {
        return tidy(quoted);
    }
    let first = kept.first().copied().unwrap_or(clause.from);
    // "a, b and c" keeps its "a".
    let skip = matches!(clause.normal(first), "a" | "an" | "to") && kept.get(1) == Some(&(first + 1));
    let start = if skip { first + 1 } else { first };
    clause.after(start).without(gone)
}

/// Whether a title can begin with this: a word or a picture, but no punctuation.
fn is_title(word: &Word) -> bool {
    word.kind != Kind::Mark || word.normal.chars().any(|sign| !sign.is_ascii() && !is_punctuation(sign))
}

fn is_punctuation(sign: char) -> bool {
    matches!(sign, '\u{a1}'..='\u{bf}' | '\u{2010}'..='\u{206f}' | '\u{3000}'..='\u{303f}' | '\u{fe00}'..='\u{fe0f}')
}

fn repeats(clause: Clause<'_>) -> bool {
    clause.has(&[
        "every|each other|second|single? day|week|month|year|morning|evening|night|afternoon|hour|weekday|weekend|monday|tuesday|wednesday|thursday|friday|saturday|sunday",
        "daily|weekly|monthly|yearly",
        "every",
    ])
}

/// Cuts a description off the end.
fn description<'t>(clause: Clause<'t>, draft: &mut Draft) -> Clause<'t> {
    let Some((at, start)) = clause.find(&[
        "with|and the|a|an? description|note|notes|details|comment of|saying|that|: says?",
        "with|and the|a? description|note|notes|details",
        "description|notes|note|details :",
    ]) else {
        return clause;
    };
    if at == clause.from {
        return clause;
    }
    let words = clause.after(start).trim_start();
    let (text, rest) = match words.words().first() {
        Some(first) if first.kind == Kind::Quoted => (words.inner(first), words.after(words.from + 1)),
        _ => (words.raw(), words.after(words.to)),
    };
    if text.trim().is_empty() || has_words(rest) {
        return clause;
    }
    draft.description = Some(text.trim().to_owned());
    clause.before(at)
}

fn labels(clause: Clause<'_>, draft: &mut Draft, gone: &mut Vec<(usize, usize)>) {
    for at in clause.from..clause.to {
        let tag = clause.part(at, at + 1);
        if let [word] = tag.words()
            && word.kind == Kind::Tag
            && !word.normal.bytes().all(|byte| byte.is_ascii_digit())
        {
            draft.labels.push(tag.raw().trim_start_matches('#').to_owned());
            gone.push((at, at + 1));
        }
    }
    let Some((from, mut at)) = clause.find(&[
        "and? tagged|labelled|labeled as|with|:?",
        "and? with|under the|a? tag|tags|label|labels :?",
        "and? tag|label it as|with|:?",
    ]) else {
        return;
    };
    let mut names = Vec::new();
    while let Some(word) = clause.after(at).words().first() {
        if word.kind == Kind::Mark && word.normal != "," {
            break;
        }
        if word.kind != Kind::Tag && !matches!(word.normal.as_str(), "and" | ",") {
            let joined = names.is_empty() || matches!(clause.normal(at - 1), "and" | ",");
            if !joined {
                break;
            }
            names.push(clause.inner(word).to_owned());
        }
        at += 1;
    }
    if !names.is_empty() {
        draft.labels.extend(names);
        gone.push((from, at));
    }
    draft.labels.dedup();
}

/// A priority that is said beside the title, and where.
pub(super) fn priority(clause: Clause<'_>, gone: &[(usize, usize)]) -> Option<(Priority, (usize, usize))> {
    const LEVEL: &str = "high|highest|top|low|lowest|medium|normal|no|high-priority|low-priority|medium-priority";
    let leads = "and? make|with|at|as|on|in|it's|is|of|has|to? it|a|an|the?";
    for at in clause.from..clause.to {
        for pattern in [
            format!("{leads} {LEVEL} priority"),
            format!("{LEVEL} priority"),
            "high-priority|low-priority|medium-priority".to_owned(),
        ] {
            if let Some(end) = clause.fits(at, &pattern) {
                return level(clause.part(at, end)).map(|level| (level, (at, end)));
            }
        }
        if let Some(end) = clause
            .fits(at, ",|with|and? priority :|=|is|of|to|set? to? high|highest|low|lowest|medium|normal|none|urgent")
        {
            return level(clause.part(at, end)).map(|level| (level, (at, end)));
        }
    }
    let mut last = clause.to;
    while last > clause.from
        && (clause.part(last - 1, last).trim().is_empty()
            || gone.iter().any(|(from, to)| (*from..*to).contains(&(last - 1))))
    {
        last -= 1;
    }
    let upto = clause.before(last);
    let closing = [
        "and? it's|its|is|it|this|that|thats|that's is? very|really|super? urgent|important|critical",
        "and? urgently|asap|p1",
        ", urgent|important",
        "urgent",
        "as soon as possible",
    ];
    for pattern in closing {
        if let Some(rest) = upto.eat_back(&[pattern]).filter(|rest| has_words(*rest)) {
            return Some((Priority::High, (rest.to, last)));
        }
    }
    let opening = clause
        .eat(&["urgent|asap|important :|,|!|-", "an? urgent", "very? urgently|urgent"])
        .filter(|rest| has_words(*rest));
    opening.map(|rest| (Priority::High, (clause.from, rest.from)))
}

/// The level that a phrase with a priority in it names.
pub(super) fn level(phrase: Clause<'_>) -> Option<Priority> {
    let table: &[(&str, Priority)] = &[
        ("not|less urgent|important", Priority::None),
        ("no longer urgent|important", Priority::None),
        ("high|highest|top|urgent|important|critical|high-priority|asap|max|maximum", Priority::High),
        ("low|lowest|low-priority|minor|unimportant|min|minimum", Priority::Low),
        ("medium|normal|medium-priority|middle|moderate|mid", Priority::Medium),
        ("no|none|zero", Priority::None),
    ];
    table.iter().find(|(pattern, _)| phrase.has(&[pattern])).map(|(_, level)| *level)
}

/// Something that sounds like a thing to do but was not asked to be added: it is offered.
pub(super) fn wish(core: Clause<'_>, now: &Zoned) -> Option<Reading> {
    const THINGS: &str = "buy|get|call|ring|phone|email|mail|text|message|write|send|pay|book|order|fix|clean|wash|cook|bake|finish|prepare|pick|drop|return|visit|meet|go|take|bring|water|feed|walk|read|study|learn|practice|check|review|renew|cancel|file|print|sign|submit|plan|organize|organise|repair|replace|install|paint|mow|vacuum|iron|pack|unpack|post|ask|tell|invite|contact|schedule|arrange|do|make|collect|fetch|grab|purchase|sell|update|charge|study|research|find|apply|register|attend|start|build|draft|proofread|backup|upload|download|wrap|donate";
    let rest = core
        .eat(&["i|we still need|have to", "i|we need|want also? a|an|some|more?", "i'm out of", "i am out of"])
        .filter(|rest| has_words(*rest));
    let event = core.eat(&["i|we have a|an|my", "i've|we've a|an|my", "there's|there is a|an"]);
    if let Some(reading) =
        event.filter(|rest| dates::at_end(*rest, now).is_some()).map(|rest| finish(rest, Due::default(), now, false))
    {
        return Some(Reading { tentative: true, ..reading });
    }
    let verb = core.eat(&[THINGS]).filter(|rest| has_words(*rest));
    let words = rest.or(verb.map(|_| core))?;
    let to_me =
        core.eat(&["tell|ask|give|bring|make|write|read|send|find|get|play|sing me|us", "go away|to"]).is_some();
    if words.len() > 25 || words.ends_with("?") || to_me {
        return None;
    }
    let mut reading = finish(words, Due::default(), now, false);
    reading.tentative = true;
    matches!(reading.intent, Intent::Add(_) | Intent::AddSeveral(_)).then_some(reading)
}
