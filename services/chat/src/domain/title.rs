//! Titles that conversations are given: the start of what was said first, and what a model makes of it.
//!
//! Both are untrusted text: one line, no markup, nothing that the contract refuses in a title.

/// How long a title is that is made here, in characters.
pub const CHARACTERS: usize = 60;

/// How far back a title is cut so that its last word stays whole, in characters.
const WORD: usize = 20;

/// How much of a text is looked at, in characters: what is longer is no title.
const LOOKED_AT: usize = 2000;

/// The longest tag that is taken for one, in characters.
const TAG: usize = 200;

/// The title of a conversation that begins with these words: their start.
#[must_use]
pub fn drafted(said: &str) -> String {
    let said: String = said.chars().take(LOOKED_AT).collect();
    let plain = cut(&plain(&said));
    // Of what is nothing but markup some stays.
    if plain.is_empty() { cut(&one_line(&said)) } else { plain }
}

/// The title that a model answered with; nothing when there is none in it.
#[must_use]
pub fn made(answer: &str) -> Option<String> {
    let answer: String = answer.chars().take(LOOKED_AT).collect();
    let line = answer.lines().map(plain).find(|line| line.chars().any(char::is_alphanumeric))?;
    let line = ["title:", "Title:", "TITLE:"].iter().find_map(|start| line.strip_prefix(start)).unwrap_or(&line);
    let quotes = ['"', '\'', '“', '”', '„', '‘', '’', '«', '»', '「', '」'];
    let bare = line.trim().trim_end_matches(['.', '。']).trim_matches(quotes).trim().trim_end_matches(['.', '。']);
    let title = cut(bare.trim());
    title.chars().any(char::is_alphanumeric).then_some(title)
}

/// What the contract refuses in a title: control characters, line separators, bidirectional
/// overrides.
pub(super) fn breaks_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if breaks_line(c) { ' ' } else { c }).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text on one line without its markup.
fn plain(text: &str) -> String {
    let is_hidden = |c: &char| matches!(c, '\u{AD}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2060}' | '\u{FEFF}');
    let seen: String = text.chars().filter(|c| !is_hidden(c)).collect();
    let line = one_line(&without_links(&without_tags(&seen)));
    let line = line.replace("**", "").replace("__", "").replace('`', "");
    let line = line.trim_start_matches(['#', '>', ' ']);
    let line = ["- ", "* ", "• "].iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or(line);
    let emphasized = |mark| line.strip_prefix(mark).and_then(|rest: &str| rest.strip_suffix(mark));
    let line = emphasized('*').or_else(|| emphasized('_')).unwrap_or(line);
    one_line(line)
}

/// Without tags such as `<b>` and `<a href="...">`; a comparison such as `a < b` stays.
fn without_tags(text: &str) -> String {
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        left.push_str(before);
        match tag.char_indices().take(TAG).find(|(_, c)| *c == '>') {
            Some((end, _)) if is_tag(tag.get(1..end).unwrap_or_default()) => {
                left.push(' ');
                rest = tag.get(end + 1..).unwrap_or_default();
            }
            _ => {
                left.push('<');
                rest = tag.get(1..).unwrap_or_default();
            }
        }
    }
    left.push_str(rest);
    left
}

fn is_tag(inside: &str) -> bool {
    let inside = inside.strip_prefix('/').unwrap_or(inside);
    let (name, attributes) = inside.split_once(char::is_whitespace).unwrap_or((inside, ""));
    let attributes = attributes.trim();
    let name = name.strip_suffix('/').unwrap_or(name);
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && (attributes.is_empty() || attributes == "/" || attributes.contains('='))
}

/// Without addresses of links and pictures: `[words](address)` is `words`.
fn without_links(text: &str) -> String {
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, words, after)) = link(rest) {
        left.push_str(before);
        left.push_str(words);
        rest = after;
    }
    left.push_str(rest);
    left
}

/// The first link: what is before it, its words, and what is after it.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let middle = text.find("](")?;
    let start = text.get(..middle)?.rfind('[')?;
    let end = middle + text.get(middle..)?.find(')')?;
    let before = text.get(..start)?;
    Some((before.strip_suffix('!').unwrap_or(before), text.get(start + 1..middle)?, text.get(end + 1..)?))
}

/// The start of a line, up to the end of a word where one is near.
fn cut(line: &str) -> String {
    let Some((end, _)) = line.char_indices().nth(CHARACTERS) else { return line.to_owned() };
    let start = line.get(..end).unwrap_or_default();
    let is_whole = line.get(end..).is_some_and(|rest| rest.starts_with(' '));
    let word =
        start.rfind(' ').filter(|at| !is_whole && start.get(*at..).map_or(0, |tail| tail.chars().count()) <= WORD);
    let start = word.and_then(|at| start.get(..at)).unwrap_or(start);
    // What joins letters joins nothing at the end.
    format!("{}…", start.trim_end_matches([' ', '\u{200C}', '\u{200D}']))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_draft_is_the_start_of_the_first_message_on_one_line_up_to_the_end_of_a_word() {
        assert_eq!(drafted("  add buy milk\n tomorrow "), "add buy milk tomorrow");
        assert_eq!(drafted(&"é".repeat(60)), "é".repeat(60));
        assert_eq!(drafted(&"é".repeat(61)), format!("{}…", "é".repeat(60)), "one long word is cut");
        assert_eq!(drafted(&format!("{} b", "a".repeat(60))), format!("{}…", "a".repeat(60)));
        let long = "remind me to call the plumber about the kitchen sink before Friday evening";
        assert_eq!(drafted(long), "remind me to call the plumber about the kitchen sink before…");
        assert_eq!(drafted(&format!("a {}", "b".repeat(80))), format!("a {}…", "b".repeat(58)));
    }

    #[test]
    fn a_title_holds_nothing_that_the_contract_refuses_in_one() {
        assert_eq!(drafted("a\u{2028}b\u{202e}c\u{2066}d\te"), "a b c d e");
        assert_eq!(made("\u{202e}a\0b\u{7}\u{200b}c").unwrap(), "a b c");
    }

    #[test]
    fn markup_is_left_out_and_what_only_looks_like_it_stays() {
        for (text, title) in [
            ("# **Buy** `milk` and __eggs__", "Buy milk and eggs"),
            ("> - [the shop](http://evil.example/x) is <b>closed</b>", "the shop is closed"),
            ("![x](data:1)look <a href='http://evil.example'>here</a><br/>", "xlook here"),
            ("<script>alert(1)</script>", "alert(1)"),
            ("if a < b and c > d, 2*3 snake_case [x] (y)", "if a < b and c > d, 2*3 snake_case [x] (y)"),
            ("a<b c>d", "a<b c>d"),
            ("*", "*"),
            ("<b>", "<b>"),
        ] {
            assert_eq!(drafted(text), title);
        }
    }

    #[test]
    fn the_title_in_an_answer_is_its_first_line_with_words() {
        for (answer, title) in [
            ("Weekly groceries", Some("Weekly groceries")),
            ("\n\n**Title: “Weekly groceries.”**\nI hope you like it!", Some("Weekly groceries")),
            ("\"Wöchentlicher Einkauf\".", Some("Wöchentlicher Einkauf")),
            ("買い物リスト。", Some("買い物リスト")),
            ("", None),
            ("... \n ** \n", None),
            ("\u{200b}\u{202e}", None),
        ] {
            assert_eq!(made(answer).as_deref(), title, "{answer:?}");
        }
        assert!(made(&"word ".repeat(100_000)).unwrap().chars().count() <= CHARACTERS + 1);
    }

    proptest! {
        #[test]
        fn whatever_it_is_made_of_a_title_is_one_that_the_contract_takes(text in "(\\PC|[\\x00-\\x20<>\\[\\]()*_`#\u{202e}\u{2028}\u{200d}]){0,300}") {
            for title in [Some(drafted(&text)), made(&text)].into_iter().flatten() {
                prop_assert!(title.chars().count() <= CHARACTERS + 1);
                prop_assert!(!title.chars().any(breaks_line));
                prop_assert_eq!(title.trim(), &title);
            }
            prop_assert_eq!(text.chars().any(|c| !c.is_whitespace() && !breaks_line(c)), !drafted(&text).is_empty());
        }
    }
}
