//! Light stemming: "bought" and "buying" are "buy", "taxes" is "tax".

/// Past forms that no rule makes.
const IRREGULAR: &[(&str, &str)] = &[
    ("bought", "buy"),
    ("paid", "pay"),
    ("sent", "send"),
    ("went", "go"),
    ("gone", "go"),
    ("did", "do"),
    ("done", "do"),
    ("got", "get"),
    ("gotten", "get"),
    ("made", "make"),
    ("wrote", "write"),
    ("written", "write"),
    ("took", "take"),
    ("taken", "take"),
    ("brought", "bring"),
    ("met", "meet"),
    ("spoke", "speak"),
    ("spoken", "speak"),
    ("told", "tell"),
    ("gave", "give"),
    ("given", "give"),
    ("found", "find"),
    ("sold", "sell"),
    ("built", "build"),
    ("drew", "draw"),
    ("drove", "drive"),
    ("ate", "eat"),
    ("eaten", "eat"),
    ("fed", "feed"),
    ("felt", "feel"),
    ("fixed", "fix"),
    ("flew", "fly"),
    ("grew", "grow"),
    ("held", "hold"),
    ("kept", "keep"),
    ("left", "leave"),
    ("lent", "lend"),
    ("lost", "lose"),
    ("meant", "mean"),
    ("ran", "run"),
    ("rode", "ride"),
    ("rang", "ring"),
    ("said", "say"),
    ("saw", "see"),
    ("seen", "see"),
    ("sang", "sing"),
    ("sat", "sit"),
    ("slept", "sleep"),
    ("spent", "spend"),
    ("stood", "stand"),
    ("swam", "swim"),
    ("swept", "sweep"),
    ("taught", "teach"),
    ("thought", "think"),
    ("threw", "throw"),
    ("thrown", "throw"),
    ("understood", "understand"),
    ("woke", "wake"),
    ("won", "win"),
    ("wore", "wear"),
    ("wound", "wind"),
    ("chose", "choose"),
    ("chosen", "choose"),
    ("came", "come"),
    ("caught", "catch"),
    ("dealt", "deal"),
    ("dug", "dig"),
    ("forgot", "forget"),
    ("forgotten", "forget"),
    ("hung", "hang"),
    ("heard", "hear"),
    ("hid", "hide"),
    ("knew", "know"),
    ("known", "know"),
    ("laid", "lay"),
    ("led", "lead"),
    ("lit", "light"),
    ("began", "begin"),
    ("begun", "begin"),
    ("became", "become"),
    ("had", "have"),
    ("was", "be"),
    ("were", "be"),
    ("been", "be"),
    ("submitted", "submit"),
    ("cancelled", "cancel"),
    ("canceled", "cancel"),
    ("returned", "return"),
    ("called", "call"),
    ("filled", "fill"),
    ("mailed", "mail"),
    ("emailed", "email"),
    ("sewed", "sew"),
    ("sewn", "sew"),
    ("mown", "mow"),
    ("shaken", "shake"),
    ("shot", "shoot"),
    ("signed", "sign"),
    ("texted", "text"),
    ("rebuilt", "rebuild"),
    ("redid", "redo"),
    ("redone", "redo"),
    ("unpacked", "unpack"),
    ("e-mailed", "email"),
    ("e-mail", "email"),
    ("picked", "pick"),
    ("refilled", "refill"),
    ("rewrote", "rewrite"),
    ("withdrew", "withdraw"),
];
/// Past forms that look like the base form; a statement with "I" makes them past.
const SAME: &[&str] = &["read", "put", "set", "cut", "let", "cost", "hit", "shut", "reset"];
/// Words that end like a past form and are none.
const NOT_PAST: &[&str] = &[
    "need", "feed", "seed", "speed", "weed", "bed", "red", "shed", "sled", "wed", "hundred", "embed", "bleed", "breed",
    "exceed", "proceed", "succeed", "indeed", "deed", "reed", "greed", "med", "unused", "scared", "united", "sacred",
    "naked", "wicked", "limited", "fed", "led",
];
/// Deeds that titles begin with.
const DEEDS: &[&str] = &[
    "buy", "get", "call", "ring", "phon", "email", "mail", "text", "write", "send", "pay", "book", "order", "fix",
    "clean", "wash", "cook", "bak", "finish", "prepar", "pick", "drop", "return", "visit", "meet", "take", "bring",
    "water", "feed", "walk", "read", "study", "learn", "review", "renew", "cancel", "fil", "print", "sign", "submit",
    "plan", "repair", "replac", "install", "paint", "mow", "vacuum", "iron", "pack", "post", "ask", "tell", "invit",
    "contact", "schedul", "arrang", "mak", "collect", "fetch", "grab", "purchas", "sell", "updat", "check", "start",
    "build", "draft", "donat", "wrap", "tidy", "sort", "organiz", "organis", "delet", "remov", "complet", "giv",
    "find", "apply", "attend", "deliver",
];
/// Deeds that mean the same.
const ALIKE: &[&[&str]] = &[
    &["buy", "get", "purchas", "grab", "pick", "order", "fetch", "collect"],
    &["call", "ring", "phon"],
    &["fix", "repair", "mend"],
    &["clean", "tidy", "wash"],
    &["finish", "complet", "writ", "do", "mak", "submit"],
    &["mail", "post", "send", "email"],
    &["mak", "cook", "bak", "prepar"],
    &["go", "attend", "visit"],
];

/// Names that mean the same.
const NAMES: &[&[&str]] =
    &[&["mom", "mum", "mother"], &["dad", "father"], &["doctor", "dr"], &["telephon", "phon"], &["tv", "television"]];

/// Splits a text at everything that is neither letter nor digit and drops "'s".
pub(super) fn split(text: &str) -> Vec<String> {
    let lower = text.to_lowercase().replace('’', "'");
    lower
        .split(|sign: char| {
            sign.is_whitespace() || !(sign.is_alphanumeric() || sign == '\'' || ('\u{300}'..='\u{36f}').contains(&sign))
        })
        .map(|word| word.trim_matches('\'').trim_end_matches("'s").replace('\'', ""))
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().map(plain).collect())
        .collect()
}

/// A letter without its accent, for the accents that are often left out.
fn plain(sign: char) -> char {
    match sign {
        'à' | 'á' | 'â' | 'ã' | 'å' => 'a',
        'ç' => 'c',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        'ñ' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' => 'o',
        'ù' | 'ú' | 'û' => 'u',
        other => other,
    }
}

/// The stems of all words of a text.
pub(in super::super) fn stems(text: &str) -> Vec<String> {
    split(text).iter().map(|word| stem(word)).collect()
}

/// The stem of a word in lower case.
pub(in super::super) fn stem(word: &str) -> String {
    if !word.is_ascii() || word.bytes().any(|byte| byte.is_ascii_digit()) {
        return word.to_owned();
    }
    if let Some((_, base)) = IRREGULAR.iter().find(|(past, _)| *past == word) {
        return ending(base);
    }
    let length = word.len();
    let cut = if let Some(base) = word.strip_suffix("ies").or_else(|| word.strip_suffix("ied")).filter(|_| length > 4) {
        format!("{base}y")
    } else if let Some(base) = word.strip_suffix("ing").filter(|base| base.len() >= 3 && has_vowel(base)) {
        single(base)
    } else if let Some(base) =
        word.strip_suffix("ed").filter(|base| base.len() >= 3 && has_vowel(base) && !NOT_PAST.contains(&word))
    {
        single(base)
    } else if let Some(base) = word.strip_suffix('s').filter(|base| length > 3 && !base.ends_with(['s', 'u', 'i'])) {
        return if base.ends_with("ing") { stem(base) } else { ending(base) };
    } else {
        word.to_owned()
    };
    ending(&cut)
}

/// Without a silent "e", so that "invoice" and "invoiced" meet.
fn ending(word: &str) -> String {
    word.strip_suffix('e').filter(|base| base.len() >= 2).unwrap_or(word).to_owned()
}

fn has_vowel(base: &str) -> bool {
    base.contains(['a', 'e', 'i', 'o', 'u', 'y'])
}

/// "stopp" is "stop", "call" stays.
fn single(base: &str) -> String {
    let mut signs = base.chars().rev();
    match (signs.next(), signs.next()) {
        (Some(a), Some(b)) if a == b && !matches!(a, 'l' | 's' | 'z' | 'f') => base[..base.len() - 1].to_owned(),
        _ => base.to_owned(),
    }
}

/// The base form of a past form: "bought" is "buy". Nothing for other words.
pub(in super::super) fn base_of_past(word: &str) -> Option<String> {
    if let Some((_, base)) = IRREGULAR.iter().find(|(past, _)| *past == word) {
        return Some((*base).to_owned());
    }
    let regular = word.len() > 4 && word.is_ascii() && word.ends_with("ed") && !NOT_PAST.contains(&word);
    regular.then(|| {
        let base = &word[..word.len() - 2];
        if let Some(start) = word.strip_suffix("ied") { format!("{start}y") } else { single(base) }
    })
}

/// As [`base_of_past`], also for verbs whose past form is the base form: after "I" they are past.
pub(in super::super) fn base_of_told(word: &str) -> Option<String> {
    if SAME.contains(&word) { Some(word.to_owned()) } else { base_of_past(word) }
}

/// Whether a stem is a verb that titles begin with.
pub(super) fn is_deed(stem: &str) -> bool {
    DEEDS.contains(&stem) || DEEDS.iter().any(|deed| self::stem(deed) == stem)
}

/// Whether two stems mean the same thing to do.
pub(super) fn alike(a: &str, b: &str) -> bool {
    ALIKE.iter().any(|group| group.contains(&a) && group.contains(&b))
}

/// Whether two stems name the same person or thing.
pub(super) fn same_name(a: &str, b: &str) -> bool {
    NAMES.iter().any(|group| group.contains(&a) && group.contains(&b))
}

/// Whether one word is the other with a typing mistake or two.
pub(super) fn mistyped(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(30).collect(), b.chars().take(30).collect());
    let shorter = a.len().min(b.len());
    if shorter < 4 || a.len().abs_diff(b.len()) > 2 {
        return false;
    }
    let allowed = if shorter >= 7 { 2 } else { 1 };
    // Rows of the edit distance in which a swap of two neighbours counts once.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()] <= allowed
}
