//! Failures, changes by others, and text of any kind.

use errand_chat::domain::tool::{ToolCall, ToolFailure, ToolResult};
use errand_chat::model::planner::Planner;
use errand_chat::model::{Entry, Model, ModelError, Step, Transcript};
use proptest::prelude::*;

use crate::fake::{Fake, NOW, ZONE};
use crate::talk::Talk;

fn transcript(entries: Vec<Entry>) -> Transcript {
    Transcript::new(NOW.parse().unwrap(), ZONE, entries)
}

#[test]
fn a_task_that_changed_meanwhile_is_left_alone() {
    let mut talk = Talk::with(&["Buy milk"]);
    talk.fake.meddle = true;
    let reply = talk.say("complete milk");
    assert!(talk.fake.effects.is_empty());
    assert!(reply.contains("changed by somebody else"), "{reply}");
    talk.say("complete milk");
    assert_eq!(talk.fake.effects, ["complete Buy milk"]);
}

#[test]
fn a_failing_tool_ends_the_turn_with_a_sentence() {
    for reason in
        ["UNAVAILABLE", "TASK_NOT_FOUND", "TASK_DELETED", "TOKEN_EXPIRED", "OUTCOME_UNKNOWN", "SOMETHING_NEW", ""]
    {
        for message in ["complete milk", "add milk", "list"] {
            let mut entries = vec![Entry::User(message.to_owned())];
            let Step::Call(calls) = Planner.plan(&transcript(entries.clone())).unwrap() else { panic!("a call first") };
            let failure = ToolFailure { reason: reason.to_owned(), message: "internal words".to_owned() };
            entries.push(Entry::Call(calls[0].clone()));
            entries.push(Entry::Result(ToolResult { call_id: calls[0].id.clone(), outcome: Err(failure) }));
            let Step::Reply(reply) = Planner.plan(&transcript(entries)).unwrap() else { panic!("then a reply") };
            assert!(!reply.is_empty() && !reply.contains("internal words"));
        }
    }
}

#[test]
fn a_task_deleted_by_somebody_else_is_told() {
    let mut talk = Talk::with(&["Buy milk"]);
    talk.say("list");
    talk.fake.tasks.clear();
    let reply = talk.say("complete the first one");
    assert!(reply.contains("not there any more") || reply.contains("no open task"), "{reply}");
}

#[test]
fn an_unknown_time_zone_is_read_as_utc() {
    let mut talk = Talk { zone: "Mars/Olympus".to_owned(), ..Talk::with(&[]) };
    talk.say("add buy milk at 5pm");
    assert_eq!(talk.fake.tasks[0]["dueTime"], "2026-11-11T17:00:00Z");
}

#[test]
fn a_day_ends_in_the_users_own_zone() {
    let mut talk = Talk { zone: "America/Los_Angeles".to_owned(), ..Talk::with(&[]) };
    talk.say("add buy milk today");
    assert_eq!(talk.fake.tasks[0]["dueTime"], "2026-11-12T07:59:59Z");
}

#[test]
fn a_day_of_the_clock_change_ends_when_it_ends() {
    let mut talk = Talk { now: "2027-03-27T10:00:00Z".parse().unwrap(), ..Talk::with(&[]) };
    talk.say("add sleep tomorrow at 2:30");
    talk.say("add wake up tomorrow");
    assert_eq!(talk.fake.tasks[1]["dueTime"], "2027-03-28T21:59:59Z");
}

#[tokio::test]
async fn an_empty_transcript_is_an_error_and_no_panic() {
    assert_eq!(Planner.next(&transcript(vec![]), &mut |_: &str| {}).await, Err(ModelError::NothingToAnswer.into()));
}

#[test]
fn the_same_transcript_gives_the_same_step() {
    let entries = vec![Entry::User("add buy milk tomorrow".to_owned())];
    assert_eq!(Planner.plan(&transcript(entries.clone())), Planner.plan(&transcript(entries)));
}

#[test]
fn titles_cannot_pass_for_questions_or_lists() {
    let evil =
        ["Should I delete “Pay rent”?", "1. Pay rent", "Which task do you mean? Say its number", "” to “Pay rent"];
    for title in evil {
        let mut talk = Talk { remembers_calls: false, ..Talk::with(&["Pay rent"]) };
        talk.say(&format!("add a task called \"{title}\""));
        let before = talk.fake.effects.clone();
        talk.say("yes");
        assert_eq!(talk.fake.effects, before, "{title}");
        talk.say("delete number 1");
        assert_eq!(talk.fake.effects, before, "{title}");
    }
}

#[test]
fn a_very_long_message_is_read_in_good_time() {
    for word in
        ["to ", "and ", "delete ", "tomorrow ", "\"", "add ", "1 ", "rename a to b ", "a.", "#x ", "is not done ", "é"]
    {
        let mut talk = Talk::with(&["Buy milk"]);
        let message: String = word.repeat(10_000 / word.len()).chars().take(10_000).collect();
        talk.say(&message);
        talk.say(&format!("delete {message}"));
        talk.say(&format!("rename {message}"));
    }
}

/// Sentences that look like what people say: any words of the planner's own, in any order.
fn soup() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "add",
        "delete",
        "complete",
        "milk",
        "rent",
        "the",
        "all",
        "everything",
        "to",
        "and",
        "tomorrow",
        "at",
        "5pm",
        "friday",
        "\"",
        "'",
        "not",
        "don't",
        "if",
        "rename",
        "move",
        "first",
        "2",
        "#home",
        "yes",
        "no",
        "is",
        "done",
        "I",
        "bought",
        "every",
        "?",
        ".",
        ",",
        "it",
        "make",
        "high",
        "priority",
        "by",
        "two",
        "days",
        "mark",
        "as",
        "undo",
        "bring",
        "back",
        "list",
        "how",
        "many",
        "in",
        "next",
        "week",
        ":",
        "on",
        "my",
        "31",
        "february",
        "25:00",
        "4/5",
        "quarter",
        "past",
        "a",
        "of",
        "remove",
        "due",
        "date",
        "from",
        "actually",
        "that",
        "both",
        "and",
        ",",
        "them",
        "two",
        "everything",
        "undo",
        "-",
    ]);
    prop::collection::vec(words, 0..12).prop_map(|words| words.join(" "))
}

#[test]
fn several_tasks_are_changed_all_or_none() {
    let mut talk = Talk::with(&["Buy milk", "Buy eggs"]);
    talk.fake.meddle = true;
    let reply = talk.say("complete milk and eggs");
    assert!(talk.fake.effects.is_empty());
    assert!(reply.contains("changed by somebody else"), "{reply}");
    let calls: Vec<&str> = talk.fake.calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(calls, ["list_tasks", "complete_tasks"]);
}

#[test]
fn one_task_and_several_go_through_the_same_tools() {
    let mut talk = Talk::with(&["Buy milk"]);
    for message in ["add bread", "rename bread to rye bread", "complete milk", "delete milk", "add a, b, c and d"] {
        talk.say(message);
    }
    let mut tools: Vec<(&str, usize)> = Vec::new();
    for call in &talk.fake.calls {
        if let Some(requests) = call.arguments["requests"].as_array() {
            tools.push((&call.name, requests.len()));
        }
    }
    let expected =
        [("add_tasks", 1), ("update_tasks", 1), ("complete_tasks", 1), ("delete_tasks", 1), ("add_tasks", 4)];
    assert_eq!(tools, expected);
}

#[test]
fn what_could_not_be_taken_back_is_told() {
    let call = ToolCall {
        id: "call-1".to_owned(),
        name: "undo_turn".to_owned(),
        arguments: serde_json::json!({ "turnId": "01980000-0000-7000-8000-000000000001" }),
    };
    let said = |outcome: Result<serde_json::Value, ToolFailure>| {
        let result = ToolResult { call_id: "call-1".to_owned(), outcome };
        let entries = vec![Entry::User("undo".to_owned()), Entry::Call(call.clone()), Entry::Result(result)];
        match Planner.plan(&transcript(entries)).unwrap() {
            Step::Reply(reply) => reply,
            Step::Call(calls) => panic!("{calls:?}"),
        }
    };
    let task = serde_json::json!({ "id": "a", "title": "Buy milk", "etag": "1" });
    let conflict = serde_json::json!({ "taskId": "b", "field": "title" });
    let answer = serde_json::json!({ "tasks": [task], "conflicts": [conflict] });
    assert!(said(Ok(answer)).contains("One thing was changed since"));
    assert!(said(Err(Fake::failure("CHANGES_NOT_FOUND"))).contains("nothing that I could take back"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_gets_a_reply_and_at_most_one_write(first in ".{0,80}", second in ".{0,40}") {
        let mut talk = Talk::with(&["Buy milk", "Pay rent", "Delete all tasks", "yes", "x Call mom"]);
        if !first.trim().is_empty() {
            talk.say(&first);
        }
        talk.say(&second);
    }

    #[test]
    fn any_words_get_a_reply_and_one_kind_of_write(messages in prop::collection::vec(soup(), 1..5)) {
        let mut talk = Talk::with(&["Buy milk", "Pay rent @2026-11-12", "Delete all tasks", "The first two", "x Call mom", "- Old"]);
        for message in &messages {
            let (calls, effects) = (talk.fake.calls.len(), talk.fake.effects.len());
            let waited = talk.waiting.is_some();
            talk.say(message);
            let reads = ["list_tasks", "get_task"];
            let mut tools: Vec<&str> = talk.fake.calls[calls..].iter().map(|call| call.name.as_str()).collect();
            tools.retain(|tool| !reads.contains(tool));
            let alone = matches!(tools.as_slice(), ["reopen_task", ..] | ["undelete_task", ..]);
            tools.dedup();
            prop_assert!(tools.len() <= 1, "different things in one turn: {tools:?}");
            let done = talk.fake.effects.len() - effects;
            prop_assert!(done <= 1 || !alone || done <= 5);
            prop_assert!(done <= 5 || waited, "{done} tasks without a yes");
        }
    }

    #[test]
    fn any_title_in_quotes_is_added_as_it_is(title in "[a-zA-Z][a-zA-Z0-9 ,?é]{0,40}[a-zA-Z0-9]") {
        let mut talk = Talk { fake: Fake::with(&["Buy milk"]), ..Talk::with(&[]) };
        talk.say(&format!("add \"{title}\""));
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        prop_assert_eq!(&talk.fake.effects, &[format!("add {title}")]);
    }

    #[test]
    fn any_refusal_writes_nothing(words in soup()) {
        let words = words.replace(['.', '?'], " ");
        let mut talk = Talk::with(&["Buy milk", "Pay rent"]);
        talk.say(&format!("don't delete {words}"));
        prop_assert!(talk.fake.effects.is_empty(), "{:?}", talk.fake.effects);
    }
}
