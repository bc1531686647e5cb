//! The user's word: what is asked before something large is done, and how the answer is read.
//!
//! A call that may not run by itself is bound to what it would touch now: the tasks' ids and their
//! versions go into its arguments, so that what runs later is what was shown or nothing. The question
//! is stored as an event. It is answered by the user's very next message, once, within ten minutes,
//! and read here: no model has a part in it.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
};

use errand_changelog::UserId;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    conversation::{Message, Role},
    policy::task_id,
    tool::{ToolCall, ToolFailure},
    turn::Event,
};

/// How long a question can be answered.
pub const VALID: SignedDuration = SignedDuration::from_mins(10);

/// How many tasks a question names.
const NAMED: usize = 10;

/// How much of a value a question shows, in characters.
const LONGEST_SHOWN: usize = 60;

/// How many tasks one call takes, by the contract.
const MOST_ITEMS: usize = 1000;

/// Reasons that say that a task is no longer what it was when the user was asked.
const STALE: [&str; 4] = ["ETAG_MISMATCH", "TASK_NOT_FOUND", "TASK_DELETED", "TASK_NOT_DELETED"];

/// How words begin that ask to take something back.
const UNDOES: [&str; 8] = ["undo", "undid", "undelete", "unremove", "revert", "restor", "recover", "rollback"];

/// What is said before "back" to ask for that.
const RETURNS: [&str; 9] = ["take", "bring", "put", "roll", "get", "fetch", "want", "go", "change"];

/// A call that waits for the user's word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// The call, bound to the versions of what it touches.
    pub call: ToolCall,
    /// What it touches.
    pub affected: Vec<Affected>,
    /// How many tasks the user has.
    pub total: usize,
    /// SHA-256 of owner, tool, arguments, ids and versions, in hexadecimal.
    pub hash: String,
    /// Until when it can be answered.
    pub expires: Timestamp,
    /// The question as the user reads it.
    pub preview: String,
}

/// A task that a call touches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Affected {
    /// Its id; empty for one that is to be made.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its version; empty for one that is to be made.
    pub etag: String,
    /// The fields that would be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Changed>,
}

/// A field that a call would write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// Its name, as the contract has it.
    pub field: String,
    /// What it is.
    pub before: Value,
    /// What it would be.
    pub after: Value,
}

/// What the user said to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes: this may run now.
    Approved(Approval),
    /// No.
    Declined,
    /// Yes, but too late.
    Expired,
}

/// What to do after an approved call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// Tell the user.
    Say(String),
    /// Something has changed: ask again.
    AskAgain,
}

/// What the user gets to read after a no.
pub const DECLINED: &str = "All right, I left everything as it is.";

/// What the user gets to read after a yes that comes too late.
pub const EXPIRED: &str =
    "I asked that more than ten minutes ago, so I did nothing. Tell me again what to do and I will ask anew.";

/// What the user gets to read when nothing is left of what was asked.
pub const GONE: &str =
    "Something has changed since I asked, and some of these tasks are not there any more. I did nothing.";

/// Binds a call to what it would touch now. `tasks` are the user's, as they are listed.
///
/// # Errors
/// When it touches something that is not there, or could not be done anyway.
pub fn prepare(
    owner: UserId,
    call: &ToolCall,
    tasks: &[Value],
    at: Timestamp,
    is_again: bool,
) -> Result<Approval, ToolFailure> {
    let known: HashMap<&str, &Value> = tasks.iter().filter_map(|task| Some((text(task, "id")?, task))).collect();
    let mut call = call.clone();
    if !call.id.ends_with(APPROVED) {
        call.id.push_str(APPROVED);
    }
    let mut affected = Vec::new();
    let mut lines = Vec::new();
    let items = match call.arguments.get_mut("requests").and_then(Value::as_array_mut) {
        Some(items) => items.iter_mut().collect(),
        None => vec![&mut call.arguments],
    };
    if items.len() > MOST_ITEMS {
        return Err(impossible(format!("at most {MOST_ITEMS} tasks at once")));
    }
    let mut seen = HashSet::new();
    for item in items {
        let found = bind(item, &known)?;
        if !found.id.is_empty() && !seen.insert(found.id.clone()) {
            return Err(impossible(format!("the task {} is named twice", found.id)));
        }
        lines.push(found.line());
        affected.push(found);
    }
    let expires = at.checked_add(VALID).unwrap_or(Timestamp::MAX);
    let mut approval =
        Approval { call, affected, total: tasks.len(), hash: String::new(), expires, preview: String::new() };
    approval.hash = approval.digest(owner);
    approval.preview = approval.question(&lines, is_again);
    Ok(approval)
}

/// The question that the last message before this turn asked, and the turn that asked it.
/// `messages` end with what the user says in this turn.
#[must_use]
pub fn pending<'a>(messages: &[Message], turns: &'a [(Uuid, Vec<Event>)]) -> Option<(Uuid, &'a Approval)> {
    let [.., asked, _] = messages else { return None };
    if asked.role != Role::Assistant {
        return None;
    }
    let (turn, events) = turns.iter().find(|(turn, _)| *turn == asked.turn)?;
    question(events).map(|approval| (*turn, approval))
}

/// The question that a turn of these events ended with.
#[must_use]
pub fn question(events: &[Event]) -> Option<&Approval> {
    match events {
        [.., Event::ApprovalRequested(approval), Event::Replied { .. }] => Some(approval),
        _ => None,
    }
}

/// What somebody says who answers a question, in words that are read as that.
#[must_use]
pub const fn words_for(is_yes: bool) -> &'static str {
    if is_yes { "Yes" } else { "No" }
}

/// What the user's words mean as the answer to a question; nothing when they are something else,
/// and then the question is over, too.
#[must_use]
pub fn verdict(owner: UserId, approval: &Approval, said: &str, at: Timestamp) -> Option<Verdict> {
    match yes_or_no(said)? {
        false => Some(Verdict::Declined),
        true if at >= approval.expires => Some(Verdict::Expired),
        // What was stored is not what was asked: nobody has said yes to it.
        true if approval.digest(owner) != approval.hash => None,
        true => Some(Verdict::Approved(approval.clone())),
    }
}

/// Whether these words would be the answer to a question, if there is one.
#[must_use]
pub fn answers(said: &str) -> bool {
    yes_or_no(said).is_some()
}

/// Whether these words ask to take back what was done.
#[must_use]
pub fn asks_to_undo(said: &str) -> bool {
    let words = words(said);
    let is_negated = |at: usize| {
        words.iter().take(at).rev().take(2).any(|word| matches!(word.as_str(), "don't" | "dont" | "not" | "never"))
    };
    words.iter().enumerate().any(|(at, word)| {
        let undoes = match word.as_str() {
            "back" => words.iter().take(at).any(|before| RETURNS.contains(&before.as_str())),
            word => UNDOES.iter().any(|start| word.starts_with(start)),
        };
        undoes && !is_negated(at)
    })
}

/// What the id of a call ends with that the user has said yes to.
pub const APPROVED: &str = "-approved";

/// Yes or no, and nothing that could be more than that.
fn yes_or_no(said: &str) -> Option<bool> {
    let all = words(said);
    let mut words: Vec<&str> = all.iter().map(String::as_str).collect();
    while let Some("please" | "thanks" | "thank" | "you" | "now" | "all" | "them" | "it" | "that" | "then") =
        words.last().copied()
    {
        words.pop();
    }
    Some(match words.as_slice() {
        [
            "yes" | "y" | "yep" | "yeah" | "yup" | "sure" | "ok" | "okay" | "confirm" | "confirmed" | "proceed"
            | "absolutely" | "definitely" | "certainly" | "approve" | "approved",
        ]
        | [
            "yes",
            "yes" | "sure" | "confirm" | "proceed" | "delete" | "remove" | "add" | "complete" | "change" | "do",
        ]
        | ["do"]
        | ["do" | "please", "do"]
        | ["of", "course"]
        | ["go", "ahead" | "on" | "for"]
        | ["yes" | "ok" | "okay" | "sure", "go", "ahead" | "on" | "for"]
        | ["yes" | "ok" | "okay" | "sure", "do"]
        | ["yes", "i", "am" | "do", ..]
            if words.len() <= 4 && !words.contains(&"not") =>
        {
            true
        }
        ["i'm" | "yes", "sure"] | ["yes", "i'm", "sure"] => true,
        [
            "no" | "n" | "nope" | "nah" | "cancel" | "stop" | "don't" | "dont" | "abort" | "wait" | "nevermind"
            | "decline",
        ]
        | ["no", "no" | "don't" | "dont" | "stop" | "cancel" | "way" | "wait"]
        | ["never", "mind"]
        | ["do", "not"]
        | ["don't" | "dont", "do" | "delete"]
        | ["no", "never", "mind"]
        | ["better", "not"]
        | ["keep" | "leave"]
        | ["no", "keep" | "leave"] => false,
        _ => return None,
    })
}

/// The words in lower case, without what stands around them.
fn words(said: &str) -> Vec<String> {
    said.split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).replace('\u{2019}', "'").to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

/// Puts the version of today into one request, and says what it touches.
fn bind(item: &mut Value, known: &HashMap<&str, &Value>) -> Result<Affected, ToolFailure> {
    let Some(id) = task_id(item).map(str::to_owned) else {
        let title = item.get("task").and_then(|task| text(task, "title")).unwrap_or_default().to_owned();
        let mut changes = changes(item, &Value::Null);
        changes.retain(|change| change.field != "title");
        return Ok(Affected { id: String::new(), title, etag: String::new(), changes });
    };
    let task = known.get(id.as_str()).ok_or_else(|| ToolFailure {
        reason: "TASK_NOT_FOUND".to_owned(),
        message: format!("there is no task {id}"),
    })?;
    let (title, etag) = (text(task, "title").unwrap_or_default(), text(task, "etag").unwrap_or_default());
    let changes = changes(item, task);
    let holder = if item.get("task").is_some() { item.get_mut("task") } else { Some(item) };
    if let Some(fields) = holder.and_then(Value::as_object_mut) {
        fields.insert("etag".to_owned(), Value::String(etag.to_owned()));
    }
    Ok(Affected { id, title: title.to_owned(), etag: etag.to_owned(), changes })
}

/// What the call would be refused with: nobody is asked for what can not be done.
fn impossible(message: String) -> ToolFailure {
    ToolFailure { reason: "INVALID_FIELDS".to_owned(), message }
}

/// What a request would write into its task, field by field. Without a mask it is what has a value.
fn changes(item: &Value, before: &Value) -> Vec<Changed> {
    let Some(fields) = item.get("task").and_then(Value::as_object) else { return Vec::new() };
    let mask = ["updateMask", "update_mask"].iter().find_map(|key| item.get(key)).and_then(Value::as_str);
    let paths: Vec<String> = match mask {
        Some(mask) if !matches!(mask, "" | "*") => mask.split(',').map(|path| snake(path.trim())).collect(),
        _ => fields.keys().map(|key| snake(key)).filter(|path| !matches!(path.as_str(), "id" | "etag")).collect(),
    };
    let of = |task: &Value, path: &str| [path, &camel(path)].iter().find_map(|key| task.get(key)).cloned();
    let task = item.get("task").unwrap_or(&Value::Null);
    let change = |field: String| {
        let (before, after) = (of(before, &field).unwrap_or_default(), of(task, &field).unwrap_or_default());
        Changed { field, before, after }
    };
    paths.into_iter().map(change).collect()
}

/// The name of a field in the contract, of one in JSON or in the contract.
fn snake(name: &str) -> String {
    name.chars().fold(String::new(), |mut snake, c| {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
        snake
    })
}

/// The name of a field in JSON, of one in the contract.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |camel, part| {
        let mut letters = part.chars();
        let capital = letters.next().map(|c| c.to_ascii_uppercase());
        camel + &capital.into_iter().chain(letters).collect::<String>()
    })
}

/// A value in a question.
fn shown(value: &Value) -> String {
    if value.is_null() {
        return "nothing".to_owned();
    }
    let text = value.to_string();
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// The ids of the tasks that a call names.
#[must_use]
pub fn named(call: &ToolCall) -> HashSet<String> {
    let items = match call.arguments.get("requests").and_then(Value::as_array) {
        Some(items) => items.as_slice(),
        None => std::slice::from_ref(&call.arguments),
    };
    items.iter().filter_map(task_id).map(str::to_owned).collect()
}

fn text<'a>(task: &'a Value, field: &str) -> Option<&'a str> {
    task.get(field).and_then(Value::as_str)
}

/// A tool in words: what it will do, and what it did.
fn verbs(tool: &str) -> (&'static str, &'static str) {
    match tool {
        "add_task" | "add_tasks" => ("add", "Added"),
        "complete_task" | "complete_tasks" => ("complete", "Completed"),
        "reopen_task" => ("reopen", "Reopened"),
        "delete_task" | "delete_tasks" => ("delete", "Deleted"),
        "undelete_task" => ("bring back", "Brought back"),
        _ => ("change", "Changed"),
    }
}

fn counted(count: usize) -> String {
    format!("{count} task{}", if count == 1 { "" } else { "s" })
}

// === impl Affected ===

impl Affected {
    /// The task in a question, with what would be written into it.
    fn line(&self) -> String {
        let mut line = format!("- \"{}\"", self.title);
        for (at, Changed { field, before, after }) in self.changes.iter().enumerate() {
            let field = field.replace('_', " ");
            let _ = write!(line, "{} {field} ", if at == 0 { ":" } else { "," });
            let _ = match self.id.as_str() {
                "" => write!(line, "{}", shown(after)),
                _ => write!(line, "{} -> {}", shown(before), shown(after)),
            };
        }
        line
    }
}

// === impl Approval ===

impl Approval {
    /// What to do after the call was carried out with this outcome.
    #[must_use]
    pub fn after(&self, outcome: &Result<Value, ToolFailure>) -> After {
        match outcome {
            Ok(_) => {
                let (_, did) = verbs(&self.call.name);
                After::Say(format!("{did} {}. Say \"undo\" to take that back.", counted(self.affected.len())))
            }
            Err(failure) if STALE.contains(&failure.reason.as_str()) => After::AskAgain,
            Err(failure) => {
                After::Say(format!("That did not work ({}). Nothing was changed, as far as I know.", failure.reason))
            }
        }
    }

    fn question(&self, lines: &[String], is_again: bool) -> String {
        let (does, _) = verbs(&self.call.name);
        let count = self.affected.len();
        let what = if self.affected.iter().all(|affected| affected.id.is_empty()) {
            counted(count)
        } else {
            format!("{count} of {}", counted(self.total))
        };
        let mut said = String::new();
        if is_again {
            said.push_str("Something has changed since I asked, so I did nothing yet. ");
        }
        let _ = writeln!(said, "This will {does} {what}:");
        for line in lines.iter().take(NAMED) {
            let _ = writeln!(said, "{line}");
        }
        if count > NAMED {
            let _ = writeln!(said, "and {} more.", count - NAMED);
        }
        said.push_str("Shall I go ahead? Answer yes or no within ten minutes.");
        said
    }

    fn digest(&self, owner: UserId) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            // Each with its length, so that nothing can move from one part to the next.
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(owner.as_uuid().as_bytes());
        part(self.call.name.as_bytes());
        part(self.call.arguments.to_string().as_bytes());
        for affected in &self.affected {
            part(affected.id.as_bytes());
            part(affected.etag.as_bytes());
        }
        hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
#[path = "approval_tests.rs"]
mod tests;
