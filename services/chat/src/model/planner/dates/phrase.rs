//! One expression of a day or a time: "tomorrow", "on friday", "in two hours", "half past five".
//!
//! Each reader takes the place where an expression may start and answers where it ends and what it
//! means. Nothing here decides whether the expression says when a task is due.

use jiff::civil::{Date, Time, Weekday};
use jiff::{Span, ToSpan, Zoned};

use super::time::{clock, hours, part, part_named};
use super::{Lead, Part, Phrase, Problem, When};
use crate::model::planner::words::Clause;

/// What an expression means and where it ends; `solid` as in [`Phrase`].
pub(super) struct Piece {
    pub(super) to: usize,
    pub(super) meaning: Result<When, Problem>,
    pub(super) solid: bool,
}

const STRONG: &[&str] = &[
    "with|having a|the? due|deadline date|day|time? of|on|by|at|for|is|:|=?",
    "a|the due|deadline date|day|time? of|on|by|at|for|is|:|=?",
    "and? it? is|it's due on|by|at|before|in?",
    "that|which is|are due on|by|at|before|in?",
    "due date|day|time? on|by|at|before|until|for|of|is|:|=?",
    "deadline date? on|by|at|for|of|is|:|=?",
    "no|not later than",
    "on or before",
    "on|at|by|before|until|till|@",
];

const WEEKDAYS: &[(&str, &str, Weekday)] = &[
    ("monday", "mon", Weekday::Monday),
    ("tuesday", "tue|tues", Weekday::Tuesday),
    ("wednesday", "wed|weds", Weekday::Wednesday),
    ("thursday", "thu|thur|thurs", Weekday::Thursday),
    ("friday", "fri", Weekday::Friday),
    ("saturday", "sat", Weekday::Saturday),
    ("sunday", "sun", Weekday::Sunday),
];

const MONTHS: &[&str] = &[
    "january|jan",
    "february|feb",
    "march|mar",
    "april|apr",
    "may",
    "june|jun",
    "july|jul",
    "august|aug",
    "september|sep|sept",
    "october|oct",
    "november|nov",
    "december|dec",
];

const NUMBERS: &[&str] = &[
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];

/// Every expression of a day or time in a text, in order, none inside another.
pub(in super::super) fn phrases(clause: Clause<'_>, now: &Zoned) -> Vec<Phrase> {
    let mut found = Vec::new();
    let mut at = clause.from;
    while at < clause.to {
        match phrase(clause, at, now) {
            Some(phrase) => {
                at = phrase.to;
                found.push(phrase);
            }
            None => at += 1,
        }
    }
    found
}

fn phrase(clause: Clause<'_>, at: usize, now: &Zoned) -> Option<Phrase> {
    let never = ["every", "each", "last", "past", "previous", "black", "good", "usa", "any"];
    if at > clause.from && never.contains(&clause.normal(at - 1)) {
        return None;
    }
    let (lead, start) = match STRONG.iter().find_map(|pattern| clause.fits(at, pattern)) {
        Some(end) => (Lead::Strong, end),
        None => match clause.fits(at, "for|to|from") {
            Some(end) => (Lead::Weak, end),
            None => (Lead::Bare, at),
        },
    };
    let hour_follows =
        start > at && matches!(clause.normal(start - 1), "at" | "@" | "by" | "until" | "till" | "before");
    let piece = relative(clause, start, now)
        .or_else(|| day(clause, start, lead, now))
        .or_else(|| hours(clause, start, hour_follows))
        .or_else(|| part(clause, start, now))?;
    Some(Phrase { from: at, to: piece.to, meaning: piece.meaning, lead, solid: piece.solid })
}

pub(super) fn sure(to: usize, when: When) -> Option<Piece> {
    Some(Piece { to, meaning: Ok(when), solid: true })
}

pub(super) fn loose(to: usize, when: When) -> Option<Piece> {
    Some(Piece { to, meaning: Ok(when), solid: false })
}

// === Distances ===

/// "in two hours", "3 days from now", "a week from monday".
fn relative(clause: Clause<'_>, at: usize, now: &Zoned) -> Option<Piece> {
    if let Some(start) = clause.fits(at, "in|within the? next?") {
        let (span, exact, to) = distance(clause, start)?;
        return sure(to, later(now, span, exact)?);
    }
    let (span, exact, to) = distance(clause, at)?;
    if let Some(end) = clause.fits(to, "from now|today") {
        return sure(end, later(now, span, exact)?);
    }
    let start = clause.fits(to, "from|after")?;
    let base = day(clause, start, Lead::Strong, now)?;
    let from = base.meaning.ok()?.day?;
    sure(base.to, When::on(from.checked_add(span).ok()?))
}

fn later(now: &Zoned, span: Span, exact: bool) -> Option<When> {
    let then = now.checked_add(span).ok()?;
    Some(if exact { When { instant: Some(then.timestamp()), ..When::default() } } else { When::on(then.date()) })
}

/// A length of time: its span, whether it counts in hours or minutes, and where it ends.
pub(super) fn distance(clause: Clause<'_>, at: usize) -> Option<(Span, bool, usize)> {
    if let Some(end) = clause.fits(at, "half an hour").or_else(|| clause.fits(at, "half hour")) {
        return Some((30.minutes(), true, end));
    }
    if let Some(end) = clause.fits(at, "an|one hour and a half") {
        return Some((90.minutes(), true, end));
    }
    if let Some((count, unit)) = glued(clause.normal(at)) {
        return span(count, unit).map(|(span, exact)| (span, exact, at + 1));
    }
    let (count, end) = number(clause, at)?;
    if let Some(end) = clause.fits(end, "and a half hours") {
        return Some(((count * 60 + 30).minutes(), true, end));
    }
    let (span, exact) = span(count, clause.normal(end))?;
    Some((span, exact, end + 1))
}

/// "30min", "2h", "3d".
fn glued(word: &str) -> Option<(i64, &str)> {
    let digits = word.find(|sign: char| !sign.is_ascii_digit()).filter(|end| (1..4).contains(end))?;
    Some((word[..digits].parse().ok()?, &word[digits..]))
}

fn span(count: i64, unit: &str) -> Option<(Span, bool)> {
    Some(match unit {
        "minute" | "minutes" | "min" | "mins" => (count.minutes(), true),
        "hour" | "hours" | "hr" | "hrs" | "h" => (count.hours(), true),
        "day" | "days" | "d" => (count.days(), false),
        "week" | "weeks" | "wk" | "wks" => (count.weeks(), false),
        "fortnight" => ((count * 2).weeks(), false),
        "month" | "months" => (count.months(), false),
        "year" | "years" => (count.years(), false),
        _ => return None,
    })
}

/// A count, in digits or as a word.
pub(super) fn number(clause: Clause<'_>, at: usize) -> Option<(i64, usize)> {
    if let Some(end) = clause.fits(at, "a? couple of?") {
        return Some((2, end));
    }
    let word = clause.normal(at);
    if word.len() <= 3 && !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some((word.parse().ok()?, at + 1));
    }
    let count = match word {
        "a" | "an" => 1,
        "thirty" => 30,
        "forty" => 40,
        "fifty" => 50,
        "sixty" => 60,
        "ninety" => 90,
        _ => i64::try_from(NUMBERS.iter().position(|number| *number == word)?).ok()?,
    };
    Some((count, at + 1))
}

// === Days ===

fn day(clause: Clause<'_>, at: usize, lead: Lead, now: &Zoned) -> Option<Piece> {
    let mut piece = named_day(clause, at, lead, now).or_else(|| calendar_day(clause, at, lead, now))?;
    // "friday morning", "tomorrow night", "tomorrow in the evening"
    if let Some(end) = clause.fits(piece.to, "in? the? morning|afternoon|evening|night")
        && let Ok(when) = &mut piece.meaning
    {
        when.part = part_named(clause.normal(end - 1));
        piece.to = end;
    }
    Some(piece)
}

fn named_day(clause: Clause<'_>, at: usize, lead: Lead, now: &Zoned) -> Option<Piece> {
    let today = now.date();
    let plus = |days: i64| today.saturating_add(days.days());
    let first = clause.normal(at);
    match first {
        "today" => return sure(at + 1, When::on(today)),
        "tonight" => return sure(at + 1, When { day: Some(today), part: Some(Part::Night), ..When::default() }),
        "tomorrow" => return sure(at + 1, When::on(plus(1))),
        "eod" | "cob" => return sure(at + 1, When::on(today)),
        _ => {}
    }
    if let Some(end) = clause.fits(at, "the? day after tomorrow") {
        return sure(end, When::on(plus(2)));
    }
    if let Some(end) = clause.fits(at, "the? end of the? day|today") {
        return sure(end, When::on(today));
    }
    let weekday = i64::from(today.weekday().to_monday_zero_offset());
    if let Some(end) = clause.fits(at, "the? end of the|this? week|month|year") {
        return sure(end, When::on(end_of(clause.normal(end - 1), today)));
    }
    if let Some(end) = clause.fits(at, "next week") {
        // "next week on friday" and "next week friday" name a day of that week.
        let monday = plus(7 - weekday);
        let start = clause.fits(end, "on").unwrap_or(end);
        return match weekday_named(clause, start, true) {
            Some((day, end)) => sure(end, When::on(monday.saturating_add(i64::from(day).days()))),
            None => sure(end, When::on(monday)),
        };
    }
    if let Some(end) = clause.fits(at, "next month") {
        return sure(end, When::on(today.first_of_month().saturating_add(1.month())));
    }
    if let Some(end) = clause.fits(at, "next year") {
        return sure(end, When::on(today.first_of_year().saturating_add(1.year())));
    }
    if let Some(end) = clause.fits(at, "next weekend") {
        return sure(end, When::on(plus(7 - weekday + 5)));
    }
    if let Some(end) = clause.fits(at, "this|the? coming? weekend") {
        let piece = if end > at + 1 { sure } else { loose };
        return piece(end, When::on(if weekday >= 5 { today } else { plus(5 - weekday) }));
    }
    weekday_day(clause, at, lead, now)
}

/// The last day of this week, month or year.
fn end_of(unit: &str, today: Date) -> Date {
    match unit {
        "month" => today.last_of_month(),
        "year" => today.last_of_year(),
        _ => today.saturating_add((6 - i64::from(today.weekday().to_monday_zero_offset())).days()),
    }
}

fn weekday_day(clause: Clause<'_>, at: usize, lead: Lead, now: &Zoned) -> Option<Piece> {
    let today = now.date();
    let here = i64::from(today.weekday().to_monday_zero_offset());
    let plus = |days: i64| today.saturating_add(days.days());
    if let Some((day, end)) = clause.fits(at, "next").and_then(|start| weekday_named(clause, start, true)) {
        return sure(end, When::on(plus(7 - here + i64::from(day))));
    }
    let this = clause.fits(at, "this coming?").or_else(|| clause.fits(at, "the? coming"));
    if let Some((day, end)) = this.and_then(|start| weekday_named(clause, start, true)) {
        return sure(end, When::on(plus((i64::from(day) - here).rem_euclid(7))));
    }
    let time_follows = clock(clause, at + 1, false).is_some() || clause.fits(at + 1, "at|@").is_some();
    let (day, end) = weekday_named(clause, at, lead == Lead::Strong || time_follows)?;
    if let Some(end) = clause.fits(end, "next week") {
        return sure(end, When::on(plus(7 - here + i64::from(day))));
    }
    let ahead = (i64::from(day) - here).rem_euclid(7);
    loose(end, When::on(plus(if ahead == 0 { 7 } else { ahead })))
}

/// A weekday as days after Monday. Abbreviations are words of their own ("sun", "sat"), so they count
/// only where a day is expected.
fn weekday_named(clause: Clause<'_>, at: usize, short: bool) -> Option<(i8, usize)> {
    let word = clause.normal(at);
    let (_, _, day) = WEEKDAYS.iter().find(|(full, abbreviations, _)| {
        *full == word || (short && abbreviations.split('|').any(|name| name == word))
    })?;
    Some((day.to_monday_zero_offset(), at + 1))
}

/// A day of the calendar: 2027-04-15, April 15, 15th of April 2027, the 15th, 15/4, 15.4.2027.
fn calendar_day(clause: Clause<'_>, at: usize, lead: Lead, now: &Zoned) -> Option<Piece> {
    let word = clause.normal(at);
    if let Some(piece) = numeric_day(clause, at, word, now) {
        return Some(piece);
    }
    let today = now.date();
    if let Some(month) = month_named(word) {
        let start = clause.fits(at + 1, "the").unwrap_or(at + 1);
        let (day, _) = day_number(clause.normal(start))?;
        let (year, end) = year(clause, start + 1);
        return Some(dated(clause, at, end, (year, month, day), today));
    }
    let start = clause.fits(at, "the").unwrap_or(at);
    let (day, ordinal) = day_number(clause.normal(start))?;
    let of = clause.fits(start + 1, "of").unwrap_or(start + 1);
    if let Some(month) = month_named(clause.normal(of)) {
        let (year, end) = year(clause, of + 1);
        return Some(dated(clause, at, end, (year, month, day), today));
    }
    // "the 15th" alone is a day only where one is expected: "on the 15th", "by the 15th".
    if !ordinal || lead != Lead::Strong {
        return None;
    }
    let coming = (0..3).filter_map(|months| {
        let month = today.first_of_month().saturating_add(i64::from(months).months());
        Date::new(month.year(), month.month(), day).ok()
    });
    let found = coming.into_iter().find(|date| *date > today);
    let meaning = found.map(When::on).ok_or_else(|| Problem::NoSuch(clause.part(start, start + 1).raw().to_owned()));
    Some(Piece { to: start + 1, meaning, solid: true })
}

fn month_named(word: &str) -> Option<i8> {
    let index = MONTHS.iter().position(|names| names.split('|').any(|name| name == word))?;
    i8::try_from(index + 1).ok()
}

/// A number of a day, and whether it is written as an ordinal.
fn day_number(word: &str) -> Option<(i8, bool)> {
    let digits = word.trim_end_matches(|sign: char| sign.is_ascii_alphabetic());
    let ending = &word[digits.len()..];
    let ordinal = matches!(ending, "st" | "nd" | "rd" | "th");
    if digits.is_empty() || digits.len() > 2 || !(ordinal || ending.is_empty()) {
        return None;
    }
    Some((digits.parse().ok()?, ordinal)).filter(|(day, _)| (1..=31).contains(day))
}

fn year(clause: Clause<'_>, at: usize) -> (Option<i16>, usize) {
    let start = clause.fits(at, ",").unwrap_or(at);
    let word = clause.normal(start);
    match word.parse::<i16>() {
        Ok(year) if word.len() == 4 && (1970..2200).contains(&year) => (Some(year), start + 1),
        _ => (None, at),
    }
}

fn dated(clause: Clause<'_>, at: usize, to: usize, (year, month, day): (Option<i16>, i8, i8), today: Date) -> Piece {
    let date = match year {
        Some(year) => Date::new(year, month, day).ok(),
        // Without a year the coming one; four years are enough to meet a 29 February.
        None => (0..5).filter_map(|more| Date::new(today.year() + more, month, day).ok()).find(|date| *date >= today),
    };
    let meaning = date.map(When::on).ok_or_else(|| Problem::NoSuch(clause.part(at, to).raw().to_owned()));
    Piece { to, meaning, solid: true }
}

fn numeric_day(clause: Clause<'_>, at: usize, word: &str, now: &Zoned) -> Option<Piece> {
    let (day_text, time_text) = word.split_once('t').map_or((word, None), |(day, time)| (day, Some(time)));
    let separator = day_text.chars().find(|sign| matches!(sign, '-' | '/' | '.'))?;
    let parts: Vec<&str> = day_text.split(separator).collect();
    if parts.iter().any(|part| part.is_empty() || part.len() > 4 || !part.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let numbers: Vec<i16> = parts.iter().filter_map(|part| part.parse().ok()).collect();
    let no_such = || Problem::NoSuch(clause.part(at, at + 1).raw().to_owned());
    let small = |number: i16| i8::try_from(number).unwrap_or(i8::MAX);
    let meaning = match (separator, numbers.as_slice()) {
        ('-' | '/', [year, month, day]) if parts[0].len() == 4 => {
            let date = Date::new(*year, small(*month), small(*day)).map_err(|_| no_such());
            let time = time_text.map(|text| text.parse::<Time>().map_err(|_| no_such())).transpose();
            date.and_then(|date| {
                Ok(When { day: Some(date), ..time?.map_or_else(When::default, |time| When::at(time, false)) })
            })
        }
        ('.', [day, month, year]) if parts[2].len() == 4 => {
            Date::new(*year, small(*month), small(*day)).map(When::on).map_err(|_| no_such())
        }
        ('/', [a, b]) => slashed(*a, *b, None, now.date()).ok_or_else(no_such).and_then(|day| day),
        ('/', [a, b, year]) if parts[2].len() == 4 => {
            slashed(*a, *b, Some(*year), now.date()).ok_or_else(no_such).and_then(|day| day)
        }
        _ => return None,
    };
    Some(Piece { to: at + 1, meaning, solid: separator != '/' || numbers.len() == 3 })
}

/// 4/15 and 15/4 are plain; 4/5 is not, and is asked about.
fn slashed(a: i16, b: i16, year: Option<i16>, today: Date) -> Option<Result<When, Problem>> {
    let (month, day) = match (a, b) {
        (1..=12, 1..=12) if a != b => return Some(Err(Problem::TwoWays(format!("{a}/{b}")))),
        (1..=12, _) => (a, b),
        _ => (b, a),
    };
    let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    let date = match year {
        Some(year) => Date::new(year, month, day).ok(),
        None => (0..5).filter_map(|more| Date::new(today.year() + more, month, day).ok()).find(|date| *date >= today),
    };
    date.map(|date| Ok(When::on(date)))
}
