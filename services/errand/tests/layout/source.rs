//! Reads Rust source far enough to see what it refers to.
//!
//! A lexer and a reader of paths, no parser: comments and literals are told apart from code, unit
//! tests are cut off, and nested `use` trees are written out. Macros and shadowing are not
//! understood; nothing in this workspace hides an import that way.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A piece of Rust source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A word, keyword or number.
    Word(String),
    /// The inside of a string literal, escapes as written.
    Text(String),
    /// Any other character that is no white space.
    Sign(char),
}

/// A source file: where it is and what it consists of, unit tests left out.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path from the root of the repository, with forward slashes.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
    /// The code without comments and without `#[cfg(test)]` modules.
    pub(crate) tokens: Vec<Token>,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("services/errand is two levels deep").to_path_buf()
}

/// Every file below these folders, sorted, as paths from the root; other people's and built files left out.
pub(crate) fn files(folders: &[&str]) -> Vec<String> {
    const SKIPPED: [&str; 5] = ["third_party", "target", "node_modules", "__pycache__", ".git"];
    let root = root();
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).filter(|path| path.exists()).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let path = entry.expect("a folder of the repository can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    open.push(path);
                }
            } else {
                let relative = path.strip_prefix(&root).expect("it was found below the root");
                found.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file below these folders.
pub(crate) fn sources(folders: &[&str]) -> Vec<Source> {
    let rust = files(folders).into_iter().filter(|path| Path::new(path).extension().is_some_and(|end| end == "rs"));
    rust.map(|path| {
        let text = fs::read_to_string(root().join(&path)).expect("a source file is UTF-8");
        Source::new(path, text)
    })
    .collect()
}

impl Source {
    /// Takes a file apart.
    pub(crate) fn new(path: String, text: String) -> Self {
        let tokens = without_tests(&lex(&text));
        Self { path, text, tokens }
    }

    /// Every path that the code mentions, written out: `use a::{b, c::d}` gives `a::b` and `a::c::d`.
    pub(crate) fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let after_path = at >= 2 && is(&self.tokens, at - 1, ':') && is(&self.tokens, at - 2, ':');
            let starts = matches!(&self.tokens[at], Token::Word(_)) && !after_path;
            at = if starts { tree(&self.tokens, at, &[], &mut paths) } else { at + 1 };
        }
        paths
    }

    /// Every string literal of the code.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The string literals that stand where the reason of an error stands: after `reason:`, or after
    /// `Code::Name,` and then with that name.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        let word = |at: usize| match self.tokens.get(at) {
            Some(Token::Word(word)) => Some(word.as_str()),
            _ => None,
        };
        self.tokens.iter().enumerate().filter_map(move |(at, token)| match token {
            Token::Text(text) if at >= 5 && is(&self.tokens, at - 1, ',') && word(at - 5) == Some("Code") => {
                Some((word(at - 2), text.as_str()))
            }
            Token::Text(text) if at >= 2 && is(&self.tokens, at - 1, ':') && word(at - 2) == Some("reason") => {
                Some((None, text.as_str()))
            }
            _ => None,
        })
    }

    /// Whether the code calls this macro.
    pub(crate) fn calls_macro(&self, name: &str) -> bool {
        self.tokens.windows(2).any(|pair| pair[0] == Token::Word(name.to_owned()) && pair[1] == Token::Sign('!'))
    }
}

/// Reads a path or a tree of paths that starts at `at`; answers where it ends.
fn tree(tokens: &[Token], mut at: usize, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(Token::Word(word)) = tokens.get(at) {
        path.push(word.clone());
        at += 1;
        if !(is(tokens, at, ':') && is(tokens, at + 1, ':')) {
            break;
        }
        at += 2;
        if is(tokens, at, '{') {
            at += 1;
            while at < tokens.len() && !is(tokens, at, '}') {
                at = if matches!(tokens[at], Token::Word(_)) { tree(tokens, at, &path, paths) } else { at + 1 };
            }
            return at + 1;
        }
    }
    paths.push(path);
    at
}

fn is(tokens: &[Token], at: usize, sign: char) -> bool {
    tokens.get(at) == Some(&Token::Sign(sign))
}

/// Leaves out what stands under `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mark = lex("#[cfg(test)]");
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].starts_with(&mark) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        // The item ends at its semicolon or at the brace that closes it.
        let mut depth = 0;
        at += mark.len();
        while at < tokens.len() {
            match tokens[at] {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') => depth -= 1,
                _ => {}
            }
            let ends = depth == 0 && matches!(tokens[at], Token::Sign(';' | '}'));
            at += 1;
            if ends {
                break;
            }
        }
    }
    kept
}

/// Splits Rust source into tokens; comments are left out.
fn lex(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let next = chars.get(at + 1).copied();
        match chars[at] {
            '/' if next == Some('/') => at = end_of_line(&chars, at),
            '/' if next == Some('*') => at = end_of_block_comment(&chars, at),
            '"' => at = text_literal(&chars, at + 1, &mut tokens),
            '\'' => at = after_quote(&chars, at),
            first if first.is_alphanumeric() || first == '_' => at = word(&chars, at, &mut tokens),
            other => {
                if !other.is_whitespace() {
                    tokens.push(Token::Sign(other));
                }
                at += 1;
            }
        }
    }
    tokens
}

fn end_of_line(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|&c| c == '\n').map_or(chars.len(), |length| at + length)
}

fn end_of_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// A character literal is skipped; a lifetime becomes a word that no rule asks for.
fn after_quote(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            let from = (at + 3).min(chars.len());
            chars[from..].iter().position(|&c| c == '\'').map_or(chars.len(), |length| from + length + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

fn text_literal(chars: &[char], mut at: usize, tokens: &mut Vec<Token>) -> usize {
    let start = at;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    let end = at.min(chars.len());
    tokens.push(Token::Text(chars[start..end].iter().collect()));
    end + 1
}

fn word(chars: &[char], at: usize, tokens: &mut Vec<Token>) -> usize {
    let mut end = at;
    while end < chars.len() && (chars[end].is_alphanumeric() || chars[end] == '_') {
        end += 1;
    }
    let text: String = chars[at..end].iter().collect();
    let hashes = chars[end..].iter().take_while(|&&c| c == '#').count();
    if matches!(text.as_str(), "r" | "br") && chars.get(end + hashes) == Some(&'"') {
        return raw_literal(chars, end + hashes + 1, hashes, tokens);
    }
    // The prefix of b"..." and b'...' is no word of its own.
    if !(text == "b" && matches!(chars.get(end), Some('"' | '\''))) {
        tokens.push(Token::Word(text));
    }
    end
}

fn raw_literal(chars: &[char], start: usize, hashes: usize, tokens: &mut Vec<Token>) -> usize {
    let closes =
        |at: usize| chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes;
    let end = (start..chars.len()).find(|&at| closes(at)).unwrap_or(chars.len());
    tokens.push(Token::Text(chars[start..end].iter().collect()));
    end + 1 + hashes
}
