//! Spans of days, for lists ("due this week"), and shifts ("by two days").

use jiff::civil::{Date, Time};
use jiff::{Span, Timestamp, ToSpan, Zoned};

use super::{Clause, instant};

/// From when until before when; either end may be open.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Range {
    /// The first instant.
    pub(in super::super) after: Option<Timestamp>,
    /// The first instant that is too late.
    pub(in super::super) before: Option<Timestamp>,
    /// How a reply names it.
    pub(in super::super) name: String,
}

/// A shift of a due time.
#[derive(Clone, Debug)]
pub(in super::super) struct Shift {
    /// How far; negative is earlier.
    pub(in super::super) span: Span,
    /// Whether it counts in hours or minutes.
    pub(in super::super) exact: bool,
}

/// The days that a text names anywhere, and the words that name them.
pub(in super::super) fn range(clause: Clause<'_>, now: &Zoned) -> Option<(Range, (usize, usize))> {
    let today = now.date();
    let weekday = i64::from(today.weekday().to_monday_zero_offset());
    let monday = today.saturating_sub(weekday.days());
    let leads = "that|which? is|are|have|has|be? due|scheduled|planned? for|on|by|in|at|until?";
    let named: &[(&str, Date, i64)] = &[
        ("this week|week's", monday, 7),
        ("the week", monday, 7),
        ("next week|week's", monday.saturating_add(7.days()), 7),
        ("this|the? weekend", monday.saturating_add(5.days()), 2),
        ("next weekend", monday.saturating_add(12.days()), 2),
        ("yesterday", today.saturating_sub(1.day()), 1),
        ("today|today's", today, 1),
        ("tonight", today, 1),
        ("tomorrow|tomorrow's", today.saturating_add(1.day()), 1),
    ];
    for at in clause.from..clause.to {
        let start = clause.fits(at, leads).unwrap_or(at);
        let strict = clause.fits(start, "before");
        let start = strict.unwrap_or(start);
        if let Some((span, exact, end)) =
            clause.fits(start, "the? next|coming").and_then(|next| super::phrase::distance(clause, next))
        {
            let until = now.checked_add(span).ok()?;
            let before = if exact { until.timestamp() } else { midnight(until.date().saturating_add(1.day()), now)? };
            let name = format!("due in the {}", clause.part(end - 2, end).raw());
            return Some((Range { after: Some(now.timestamp()), before: Some(before), name }, (at, end)));
        }
        for (pattern, first, days) in named {
            if let Some(end) = clause.fits(start, pattern) {
                let name = clause.part(start, end).raw().to_lowercase().replace("'s", "").replace("’s", "");
                return whole_days(*first, first.saturating_add(days.days()), &name, strict.is_some(), now)
                    .map(|range| (range, (at, end)));
            }
        }
        if let Some(end) = clause.fits(start, "this|next month|month's") {
            let this = today.first_of_month();
            let next = this.saturating_add(1.month());
            let (first, name) =
                if clause.normal(start) == "this" { (this, "this month") } else { (next, "next month") };
            return whole_days(first, first.saturating_add(1.month()), name, strict.is_some(), now)
                .map(|range| (range, (at, end)));
        }
    }
    let phrase = super::phrases(clause, now)
        .into_iter()
        .find(|phrase| phrase.meaning.as_ref().is_ok_and(|when| when.day.is_some() || when.instant.is_some()))?;
    let when = phrase.meaning.ok()?;
    let day = when.day.or_else(|| when.instant.map(|at| at.to_zoned(now.time_zone().clone()).date()))?;
    let upto = clause.part(phrase.from, phrase.to);
    let open = upto.has(&["before", "by", "until|till"]);
    let days = if upto.has(&["before"]) { 0 } else { 1 };
    let end = midnight(day.saturating_add(i64::from(days).days()), now)?;
    let after = if open { None } else { Some(midnight(day, now)?) };
    let from = (clause.from..phrase.from).rev().find(|at| clause.fits(*at, leads) == Some(phrase.from));
    let name = if open { format!("due {}", upto.raw()) } else { format!("due {}", bare(upto).raw()) };
    Some((Range { after, before: Some(end), name }, (from.unwrap_or(phrase.from), phrase.to)))
}

fn bare(clause: Clause<'_>) -> Clause<'_> {
    clause.eat(&["due on|by|at|for?", "for|on|at|by"]).filter(|rest| !rest.is_empty()).unwrap_or(clause)
}

fn whole_days(first: Date, end: Date, name: &str, strict: bool, now: &Zoned) -> Option<Range> {
    if strict {
        let before = Some(midnight(first, now)?);
        return Some(Range { after: None, before, name: format!("due before {name}") });
    }
    let (after, before) = (Some(midnight(first, now)?), Some(midnight(end, now)?));
    Some(Range { after, before, name: format!("due {name}") })
}

fn midnight(day: Date, now: &Zoned) -> Option<Timestamp> {
    instant(day, Time::midnight(), now).ok()
}

/// A shift at the end of a text, "by two days" or "a week later", and where it starts.
pub(in super::super) fn shift(clause: Clause<'_>) -> Option<(usize, Shift)> {
    let clause = clause.trim_end();
    (clause.from..clause.to).find_map(|at| {
        let start = clause.fits(at, "back|out by?").or_else(|| clause.fits(at, "by")).unwrap_or(at);
        let led = start > at;
        let (span, exact, end) = super::phrase::distance(clause, start)?;
        let (end, earlier, trailed) = match clause.normal(end) {
            "later" | "back" | "out" => (end + 1, false, true),
            "earlier" | "sooner" => (end + 1, true, true),
            _ => (end, false, false),
        };
        let span = if earlier { span.negate() } else { span };
        (end == clause.to && (led || trailed)).then_some((at, Shift { span, exact }))
    })
}
