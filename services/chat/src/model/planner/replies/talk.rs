//! What the planner says when nothing is to be done: small talk, help, failures.

use crate::domain::tool::ToolFailure;
use crate::model::planner::intent::Talk;

const EXAMPLES: &str = "For example:\n- add buy milk tomorrow at 5pm\n- what is due today?\n- done with the dentist\n- move the report to friday\n- rename milk to oat milk\n- delete the dentist task";

/// Answers small talk, questions about the assistant, and what is refused or imagined.
pub(in super::super) fn talk(talk: Talk) -> String {
    match talk {
        Talk::Greeting => "Hello! I look after your tasks. Say for example: add buy milk tomorrow, or: what is due today?".to_owned(),
        Talk::Thanks => "You are welcome!".to_owned(),
        Talk::Bye => "Goodbye!".to_owned(),
        Talk::HowAreYou => "I am fine, thank you. What can I do for your tasks?".to_owned(),
        Talk::Who => "I am Errand's built-in assistant: a program that reads plain English and looks after your tasks.".to_owned(),
        Talk::Help | Talk::HowTo => {
            format!("I can add, list, find, count, complete, reopen, rename, move, describe, prioritise, tag, delete and bring back tasks, one or several, and undo it. {EXAMPLES}")
        }
        Talk::Fine => "Good. Tell me when there is something to do.".to_owned(),
        Talk::Yes => "There is nothing to confirm. What should I do?".to_owned(),
        Talk::No => "All right, nothing was changed.".to_owned(),
        Talk::Negated => "All right, I leave it as it is. Nothing was changed.".to_owned(),
        Talk::Imagined => {
            "Nothing was changed: I only act when you tell me to. Say it as an order, for example: delete the dentist task.".to_owned()
        }
        Talk::Elsewhere => format!("I only know about your tasks, so I cannot help with that. {EXAMPLES}"),
        Talk::Foreign => foreign(),
    }
}

/// Another language than English.
pub(in super::super) fn foreign() -> String {
    format!("Sorry, I only understand English so far. {EXAMPLES}")
}

/// Nothing was understood.
pub(in super::super) fn unknown() -> String {
    format!("Sorry, I did not understand that, so nothing was changed. {EXAMPLES}")
}

/// A tool failed.
pub(in super::super) fn failure(failure: &ToolFailure, writing: bool) -> String {
    let outcome = if writing { " Nothing was changed." } else { "" };
    match failure.reason.as_str() {
        "ETAG_MISMATCH" => "That task was changed by somebody else at the same moment, so I left it alone. Say it again to act on it as it is now.".to_owned(),
        "APPROVAL_REQUIRED" => "I ask before I do that, so nothing was changed yet. Say yes to go on, or no to leave it.".to_owned(),
        "CHANGES_NOT_FOUND" => "There is nothing that I could take back. Nothing was changed.".to_owned(),
        "TASK_NOT_FOUND" => format!("That task is not there any more.{outcome}"),
        "TASK_DELETED" => "That task is deleted. Say “undelete” and its title to bring it back first.".to_owned(),
        "TASK_NOT_DELETED" => "That task is not deleted, so there is nothing to bring back.".to_owned(),
        "INVALID_FIELDS" => "The task service did not accept that: a title has 1 to 200 characters on one line. Nothing was changed.".to_owned(),
        "STORAGE_FULL" => "There is no room left to store that. Nothing was changed.".to_owned(),
        "OUTCOME_UNKNOWN" | "DEADLINE_EXCEEDED" => {
            "I could not learn whether that worked. Say “list my tasks” to see how things are.".to_owned()
        }
        "SCOPE_MISSING" => "You are signed in without the right to do that. Nothing was changed.".to_owned(),
        "TOKEN_EXPIRED" | "TOKEN_INVALID" | "TOKEN_MISSING" => "You are not signed in any more. Sign in again and repeat it.".to_owned(),
        "OVERLOADED" | "TOO_MANY_ATTEMPTS" | "STORAGE_BUSY" => {
            format!("There is too much to do at the moment. Please try again soon.{outcome}")
        }
        _ => format!("I could not reach your tasks just now. Please try again.{}", if writing { " Say “list my tasks” to see how things are." } else { "" }),
    }
}
