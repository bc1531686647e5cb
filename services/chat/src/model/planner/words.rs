//! A message as words: what stands where, in a form that patterns can be laid against.
//!
//! The text itself is never changed: every word knows its place in it, so that a title is always cut
//! from what the user wrote. A quoted piece is one word that no pattern matches; that is what makes
//! quoting safe. Patterns are plain: words with alternatives `a|b`, optional ones end in `?`. What
//! the words mean is not known here.

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters and digits, with the signs inside them: `don't`, `17:30`, `2027-04-15`.
    Word,
    /// Something in quotation marks.
    Quoted,
    /// `#label`.
    Tag,
    /// A single punctuation mark or symbol.
    Mark,
}

/// One word and its place in the text.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// What it is.
    pub(super) kind: Kind,
    /// Where it starts, in bytes.
    pub(super) start: usize,
    /// Where it ends, in bytes.
    pub(super) end: usize,
    /// The form that patterns see: lower case, straight apostrophes, usual misspellings mended;
    /// empty for a quoted piece.
    pub(super) normal: String,
}

/// A text and its words.
#[derive(Clone, Debug)]
pub(super) struct Text<'t> {
    /// The text as it was written.
    pub(super) raw: &'t str,
    /// Its words in order.
    pub(super) words: Vec<Word>,
}

/// A run of words of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clause<'t> {
    text: &'t Text<'t>,
    /// The first word.
    pub(super) from: usize,
    /// The word after the last.
    pub(super) to: usize,
}

const QUOTES: &[(char, &str)] =
    &[('"', "\"”“"), ('“', "”\"“"), ('„', "“”\""), ('«', "»"), ('\'', "'’"), ('‘', "’'"), ('`', "`")];

// === impl Text ===

impl<'t> Text<'t> {
    /// Splits a text into words.
    pub(super) fn read(raw: &'t str) -> Self {
        let mut words = Vec::new();
        let mut at = 0;
        while let Some(first) = raw[at..].chars().next() {
            let end = if first.is_whitespace() {
                at + first.len_utf8()
            } else {
                let word = quoted(raw, at).unwrap_or_else(|| plain(raw, at, first));
                let end = word.end;
                words.push(word);
                end
            };
            at = end;
        }
        Text { raw, words }
    }

    /// All of it.
    pub(super) fn whole(&'t self) -> Clause<'t> {
        Clause { text: self, from: 0, to: self.words.len() }
    }
}

/// Reads a quoted piece that starts here, if one does and it is closed.
fn quoted(raw: &str, at: usize) -> Option<Word> {
    let rest = &raw[at..];
    let open = rest.chars().next()?;
    let closers = QUOTES.iter().find(|(quote, _)| *quote == open)?.1;
    if raw[..at].chars().next_back().is_some_and(char::is_alphanumeric) {
        return None;
    }
    let inner = open.len_utf8();
    // An apostrophe may stand inside the words that it quotes: it closes only before a gap.
    let needs_gap = matches!(open, '\'' | '‘');
    let line = rest[inner..].split('\n').next().unwrap_or_default();
    // The sign that belongs to the opening one first; others only where that one does not come.
    let (inner_end, end) = closers.chars().find_map(|closer| {
        line.char_indices().filter(|(_, sign)| *sign == closer).map(|(offset, _)| inner + offset).find_map(|offset| {
            let end = offset + closer.len_utf8();
            let gap = rest[end..].chars().next().is_none_or(|next| !next.is_alphanumeric());
            (!needs_gap || gap).then_some((offset, end))
        })
    })?;
    (!rest[inner..inner_end].trim().is_empty()).then(|| Word {
        kind: Kind::Quoted,
        start: at,
        end: at + end,
        normal: String::new(),
    })
}

fn plain(raw: &str, at: usize, first: char) -> Word {
    let rest = &raw[at..];
    let (kind, skip) = match first {
        '#' if rest[1..].starts_with(is_inner) => (Kind::Tag, 1),
        _ if first.is_alphanumeric() => (Kind::Word, 0),
        _ => {
            let end = at + first.len_utf8();
            return Word { kind: Kind::Mark, start: at, end, normal: raw[at..end].to_owned() };
        }
    };
    let end = at + skip + run(&rest[skip..], kind);
    Word { kind, start: at, end, normal: normal(&raw[at + skip..end]) }
}

fn is_inner(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

/// The length of a word: letters and digits, and signs that stand between two of them.
fn run(rest: &str, kind: Kind) -> usize {
    let mut end = 0;
    let mut before = ' ';
    let mut signs = rest.char_indices().peekable();
    while let Some((offset, sign)) = signs.next() {
        let next = signs.peek().map_or(' ', |(_, next)| *next);
        let joins = match sign {
            '-' | '_' => true,
            '\'' | '’' | '/' | '.' | '@' | '&' => kind == Kind::Word,
            ':' | ',' => before.is_ascii_digit() && next.is_ascii_digit(),
            _ => false,
        };
        let combining = ('\u{300}'..='\u{36f}').contains(&sign) || matches!(sign, '\u{200d}' | '\u{fe0f}');
        if !(is_inner(sign) || combining || (joins && next.is_alphanumeric())) {
            break;
        }
        end = offset + sign.len_utf8();
        before = sign;
    }
    end
}

/// Lower case without typing accidents.
fn normal(word: &str) -> String {
    let lower = word.to_lowercase().replace(['’', '‘'], "'");
    let mended = match lower.as_str() {
        "dont" => "don't",
        "didnt" => "didn't",
        "doesnt" => "doesn't",
        "havent" => "haven't",
        "hasnt" => "hasn't",
        "isnt" => "isn't",
        "wasnt" => "wasn't",
        "cant" | "cannot" => "can't",
        "wont" => "won't",
        "shouldnt" => "shouldn't",
        "whats" => "what's",
        "im" => "i'm",
        "ive" => "i've",
        "lets" => "let's",
        "pls" | "plz" | "pleas" | "plese" => "please",
        "tmrw" | "tmr" | "tmw" | "2morrow" | "tomorow" | "tommorow" | "tommorrow" | "tomorrrow" => "tomorrow",
        "tonite" => "tonight",
        "u" => "you",
        "thx" | "thanx" | "ty" | "tnx" => "thanks",
        "to-do" => "todo",
        "to-dos" | "todo's" => "todos",
        "re-open" => "reopen",
        "un-delete" => "undelete",
        "compleet" | "coplete" | "complet" | "complte" | "compelte" => "complete",
        "delte" | "dlete" | "deleet" | "delet" => "delete",
        "addd" | "aadd" => "add",
        "remid" | "remmind" => "remind",
        "shwo" => "show",
        "lsit" => "list",
        "taks" | "taskes" => "tasks",
        "wednsday" | "wendesday" | "wensday" => "wednesday",
        "thrusday" | "thursady" => "thursday",
        "firday" | "fryday" => "friday",
        "teusday" | "tuseday" => "tuesday",
        "saterday" => "saturday",
        _ => return lower,
    };
    mended.to_owned()
}

// === impl Clause ===

impl<'t> Clause<'t> {
    /// Its words.
    pub(super) fn words(&self) -> &'t [Word] {
        &self.text.words[self.from..self.to]
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.from >= self.to
    }

    /// How many words it has.
    pub(super) fn len(&self) -> usize {
        self.to.saturating_sub(self.from)
    }

    /// The text that it covers.
    pub(super) fn raw(&self) -> &'t str {
        match self.words() {
            [] => "",
            [first, .., last] => &self.text.raw[first.start..last.end],
            [only] => &self.text.raw[only.start..only.end],
        }
    }

    /// The part between two of the text's words.
    pub(super) fn part(&self, from: usize, to: usize) -> Clause<'t> {
        let to = to.min(self.to);
        Clause { text: self.text, from: from.clamp(self.from, to.max(self.from)), to }
    }

    /// What stands before this word of the text.
    pub(super) fn before(&self, at: usize) -> Clause<'t> {
        self.part(self.from, at)
    }

    /// What stands from this word of the text on.
    pub(super) fn after(&self, at: usize) -> Clause<'t> {
        self.part(at, self.to)
    }

    /// The text inside the quotation marks of a word.
    pub(super) fn inner(&self, word: &Word) -> &'t str {
        let raw = &self.text.raw[word.start..word.end];
        if word.kind != Kind::Quoted {
            return raw;
        }
        let mut signs = raw.chars();
        signs.next();
        signs.next_back();
        signs.as_str().trim()
    }

    /// The pattern form of the word at this place of the text.
    pub(super) fn normal(&self, at: usize) -> &'t str {
        if at >= self.from && at < self.to { &self.text.words[at].normal } else { "" }
    }

    /// Whether white space stands before this word of the text.
    pub(super) fn gap_before(&self, at: usize) -> bool {
        at == 0 || at >= self.text.words.len() || self.text.words[at - 1].end < self.text.words[at].start
    }

    /// Whether a line ends between this word of the text and the one before.
    pub(super) fn line_before(&self, at: usize) -> bool {
        at > self.from && at < self.to && {
            let (before, here) = (&self.text.words[at - 1], &self.text.words[at]);
            self.text.raw[before.end..here.start].contains('\n')
        }
    }

    /// Where the pattern ends when it is laid against the words from `at` on.
    pub(super) fn fits(&self, at: usize, pattern: &str) -> Option<usize> {
        let parts: Vec<&str> = pattern.split(' ').collect();
        self.fits_parts(at, &parts)
    }

    fn fits_parts(&self, at: usize, parts: &[&str]) -> Option<usize> {
        let Some((part, rest)) = parts.split_first() else { return Some(at) };
        let (choices, optional) = match part.strip_suffix('?') {
            Some("") | None => (*part, false),
            Some(choices) => (choices, true),
        };
        if at < self.to {
            let word = &self.text.words[at];
            let here = matches!(word.kind, Kind::Word | Kind::Mark)
                && (choices == word.normal || choices.split('|').any(|choice| choice == word.normal));
            if here && let Some(end) = self.fits_parts(at + 1, rest) {
                return Some(end);
            }
        }
        if optional { self.fits_parts(at, rest) } else { None }
    }

    /// What follows the first of these patterns that it starts with.
    pub(super) fn eat(&self, patterns: &[&str]) -> Option<Clause<'t>> {
        patterns
            .iter()
            .find_map(|pattern| self.fits(self.from, pattern).filter(|end| *end > self.from))
            .map(|end| self.after(end))
    }

    /// What stands before the first of these patterns that it ends with.
    pub(super) fn eat_back(&self, patterns: &[&str]) -> Option<Clause<'t>> {
        patterns.iter().find_map(|pattern| {
            let most = pattern.split(' ').count();
            let first = self.to.saturating_sub(most).max(self.from);
            (first..self.to).find(|at| self.fits(*at, pattern) == Some(self.to)).map(|at| self.before(at))
        })
    }

    /// Whether it is, as a whole, one of these patterns.
    pub(super) fn is(&self, patterns: &[&str]) -> bool {
        !self.is_empty() && patterns.iter().any(|pattern| self.fits(self.from, pattern) == Some(self.to))
    }

    /// Whether one of these patterns stands anywhere in it.
    pub(super) fn has(&self, patterns: &[&str]) -> bool {
        self.find(patterns).is_some()
    }

    /// The first place where one of these patterns stands: its first word and the one after its last.
    pub(super) fn find(&self, patterns: &[&str]) -> Option<(usize, usize)> {
        (self.from..self.to).find_map(|at| {
            patterns.iter().find_map(|pattern| self.fits(at, pattern).filter(|end| *end > at)).map(|end| (at, end))
        })
    }

    /// Whether it starts with a word that leads a day or time in.
    pub(super) fn is_led(&self) -> bool {
        self.eat(&["to|until|till|for|on|at|by"]).is_some()
    }

    /// Without marks at the start.
    pub(super) fn trim_start(&self) -> Clause<'t> {
        let mut from = self.from;
        while from < self.to && self.text.words[from].kind == Kind::Mark {
            from += 1;
        }
        self.after(from)
    }

    /// Without marks at the end.
    pub(super) fn trim_end(&self) -> Clause<'t> {
        let mut to = self.to;
        while to > self.from && self.text.words[to - 1].kind == Kind::Mark {
            to -= 1;
        }
        self.before(to)
    }

    /// Without marks at either end.
    pub(super) fn trim(&self) -> Clause<'t> {
        self.trim_start().trim_end()
    }

    /// Whether it ends with this mark, other marks after it allowed.
    pub(super) fn ends_with(&self, mark: &str) -> bool {
        self.words().iter().rev().take_while(|word| word.kind == Kind::Mark).any(|word| word.normal == mark)
    }

    /// The only word, when it is a quoted piece and nothing else but marks stands around it.
    pub(super) fn only_quoted(&self) -> Option<&'t str> {
        match self.trim().words() {
            [word] if word.kind == Kind::Quoted => Some(self.inner(word)),
            _ => None,
        }
    }

    /// The text of it without the words in `gone`, on one line, without punctuation at its ends.
    pub(super) fn without(&self, gone: &[(usize, usize)]) -> String {
        let mut line = String::new();
        for at in self.from..self.to {
            if gone.iter().any(|(from, to)| (*from..*to).contains(&at)) {
                continue;
            }
            let word = &self.text.words[at];
            if self.gap_before(at) && !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&self.text.raw[word.start..word.end]);
        }
        tidy(&line)
    }
}

/// A single line without characters that no title may have, trimmed of loose punctuation.
pub(super) fn tidy(text: &str) -> String {
    let clean: String = text
        .chars()
        .filter(|sign| !matches!(sign, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .map(|sign| if sign.is_whitespace() || sign.is_control() { ' ' } else { sign })
        .collect();
    let line = clean.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let line = line.trim_start_matches([',', ';', ':', '.', '!', '-', '–', '—', ' ']);
    line.trim_end_matches([',', ';', ':', '.', '!', '-', '–', '—', ' ']).to_owned()
}
