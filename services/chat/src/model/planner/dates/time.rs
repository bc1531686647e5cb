//! Times of the day: "5pm", "17:30", "half past five", "noon", "this evening".

use jiff::Zoned;
use jiff::civil::{Time, time};

use super::phrase::{Piece, loose, number, sure};
use super::{END_OF_DAY, Part, Problem, When};
use crate::model::planner::words::{Clause, Kind};

/// A time of day, or the first of a range: "3pm to 4pm".
pub(super) fn hours(clause: Clause<'_>, at: usize, bare: bool) -> Option<Piece> {
    let first = clock(clause, at, bare)?;
    let second = clause.fits(first.to, "to|-|–|until|till").and_then(|start| clock(clause, start, true));
    Some(Piece { to: second.map_or(first.to, |second| second.to), ..first })
}

/// A time of day. A bare number is one only where a time is expected: "at 5".
pub(super) fn clock(clause: Clause<'_>, at: usize, bare: bool) -> Option<Piece> {
    let word = clause.normal(at);
    match word {
        "noon" | "midday" => return sure(at + 1, When::at(time(12, 0, 0, 0), false)),
        "midnight" => return sure(at + 1, When::at(END_OF_DAY, false)),
        _ => {}
    }
    for (pattern, minutes) in [("half past", 30), ("a? quarter past|after", 15), ("a? quarter to|before", -15)] {
        if let Some(start) = clause.fits(at, pattern) {
            let (hour, end) = number(clause, start).filter(|(hour, _)| (1..=12).contains(hour))?;
            let minute = (hour % 12) * 60 + minutes;
            // On a clock face: a quarter to one is 12:45.
            let hour = i8::try_from(minute.rem_euclid(720) / 60).ok().map(|hour| if hour == 0 { 12 } else { hour })?;
            let said = time(hour, i8::try_from(minute.rem_euclid(60)).ok()?, 0, 0);
            return with_half(clause, end, said, true);
        }
    }
    if clause.after(at).words().first()?.kind != Kind::Word {
        return None;
    }
    let digits = word.find(|sign: char| !(sign.is_ascii_digit() || sign == ':')).unwrap_or(word.len());
    let (number_text, ending) = word.split_at(digits);
    let no_such = |to: usize| {
        let text = clause.part(at, to).raw().to_owned();
        Some(Piece { to, meaning: Err(Problem::NoSuch(text)), solid: true })
    };
    let (hour_text, minute_text) = number_text.split_once(':').map_or((number_text, None), |(h, m)| (h, Some(m)));
    let half_follows = half(ending).is_some() || (ending.is_empty() && half(clause.normal(at + 1)).is_some());
    let o_clock = clause.fits(at + 1, "o'clock|oclock");
    let hour = match number(clause, at) {
        Some((hour, _)) if ending.len() == word.len() && !matches!(word, "a" | "an") => hour,
        _ => hour_text.parse::<i64>().ok().filter(|_| hour_text.len() <= 2)?,
    };
    let minute: i64 = match minute_text {
        Some(text) if text.len() == 2 => text.parse().ok()?,
        Some(_) => return None,
        None => 0,
    };
    if !(minute_text.is_some() || half_follows || o_clock.is_some() || (bare && (1..=24).contains(&hour))) {
        return None;
    }
    if !(ending.is_empty() || half(ending).is_some() || ending.len() == word.len()) {
        return None;
    }
    let end = o_clock.unwrap_or(at + 1);
    if (hour, minute) == (24, 0) && !half_follows {
        return sure(end, When::at(END_OF_DAY, false));
    }
    if hour > 23 || minute > 59 || (half_follows && !(1..=12).contains(&hour)) {
        return no_such(end);
    }
    let said = time(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0);
    if let Some(late) = half(ending) {
        return sure(end, When::at(halved(said, late), false));
    }
    // "05:30" and "17:30" are written on the 24-hour clock, "5:30" leaves it open.
    let vague = !(hour_text.starts_with('0') || hour > 12 || hour == 0);
    with_half(clause, end, said, vague)
}

/// A time with "am" or "pm" after it, if one is there.
fn with_half(clause: Clause<'_>, at: usize, said: Time, vague: bool) -> Option<Piece> {
    match half(clause.normal(at)) {
        Some(late) => {
            let dot = clause.normal(at).contains('.').then(|| clause.fits(at + 1, ".")).flatten();
            sure(dot.unwrap_or(at + 1), When::at(halved(said, late), false))
        }
        None => {
            let when = When::at(said, vague);
            match clause.fits(at, "in the morning|afternoon|evening").or_else(|| clause.fits(at, "at night")) {
                Some(end) => sure(end, When { part: part_named(clause.normal(end - 1)), ..when }),
                None => loose(at, when),
            }
        }
    }
}

/// Whether a word is "pm" (true) or "am" (false).
fn half(word: &str) -> Option<bool> {
    match word {
        "pm" | "p.m" => Some(true),
        "am" | "a.m" => Some(false),
        _ => None,
    }
}

fn halved(said: Time, late: bool) -> Time {
    time(said.hour() % 12 + if late { 12 } else { 0 }, said.minute(), 0, 0)
}

pub(super) fn part_named(word: &str) -> Option<Part> {
    match word {
        "morning" => Some(Part::Morning),
        "afternoon" => Some(Part::Afternoon),
        "evening" => Some(Part::Evening),
        "night" => Some(Part::Night),
        _ => None,
    }
}

/// "this evening", "in the morning".
pub(super) fn part(clause: Clause<'_>, at: usize, now: &Zoned) -> Option<Piece> {
    if let Some(end) = clause.fits(at, "this morning|afternoon|evening") {
        let part = part_named(clause.normal(end - 1));
        return sure(end, When { day: Some(now.date()), part, ..When::default() });
    }
    let end = clause.fits(at, "in the morning|afternoon|evening")?;
    sure(end, When { part: part_named(clause.normal(end - 1)), ..When::default() })
}
