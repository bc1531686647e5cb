use serde_json::json;

use super::*;

const ASKED: Timestamp = Timestamp::UNIX_EPOCH;

fn owner() -> UserId {
    UserId::from(Uuid::from_u128(1))
}

fn tasks(count: usize) -> Vec<Value> {
    (0..count).map(|n| json!({"id": format!("t{n}"), "title": format!("task {n}"), "etag": format!("e{n}")})).collect()
}

fn delete(count: usize) -> ToolCall {
    let requests: Vec<_> = (0..count).map(|n| json!({"taskId": format!("t{n}"), "etag": "old"})).collect();
    ToolCall { id: "c".into(), name: "delete_tasks".into(), arguments: json!({"requests": requests}) }
}

fn asked(count: usize) -> Approval {
    prepare(owner(), &delete(count), &tasks(50), ASKED, false).unwrap()
}

fn message(role: Role, turn: u128) -> Message {
    Message {
        id: Uuid::nil(),
        conversation: Uuid::nil(),
        turn: Uuid::from_u128(turn),
        role,
        content: "x".into(),
        created: ASKED,
    }
}

#[test]
fn the_question_says_how_many_of_how_many_and_names_ten() {
    let all = asked(50);
    assert!(all.preview.starts_with("This will delete 50 of 50 tasks:\n- \"task 0\"\n"), "{}", all.preview);
    assert!(all.preview.contains("- \"task 9\"\nand 40 more.\n"), "{}", all.preview);
    assert!(!all.preview.contains("task 10"));
    assert!(asked(2).preview.starts_with("This will delete 2 of 50 tasks:\n- \"task 0\"\n- \"task 1\"\nShall I"));
}

#[test]
fn a_call_is_bound_to_the_versions_of_today() {
    let approval = asked(2);
    let bound = json!({"requests": [{"taskId": "t0", "etag": "e0"}, {"taskId": "t1", "etag": "e1"}]});
    assert_eq!(approval.call.arguments, bound);
    let second = Affected { id: "t1".into(), title: "task 1".into(), etag: "e1".into(), changes: Vec::new() };
    assert_eq!(approval.affected[1], second);
    let update = json!({"requests": [{"task": {"id": "t3", "priority": "PRIORITY_LOW"}, "updateMask": "priority"}]});
    let call = ToolCall { id: "c".into(), name: "update_tasks".into(), arguments: update };
    let approval = prepare(owner(), &call, &tasks(9), ASKED, true).unwrap();
    assert_eq!(approval.call.arguments["requests"][0]["task"]["etag"], "e3");
    assert!(approval.preview.starts_with("Something has changed"), "{}", approval.preview);
    assert!(approval.preview.contains("- \"task 3\": priority nothing -> \"PRIORITY_LOW\""), "{}", approval.preview);
}

#[test]
fn what_is_not_there_is_not_asked_for() {
    let failure = prepare(owner(), &delete(3), &tasks(2), ASKED, false).unwrap_err();
    assert_eq!(failure.reason, "TASK_NOT_FOUND");
}

#[test]
fn nobody_is_asked_for_what_can_not_be_done() {
    let refused = |call: &ToolCall, count| prepare(owner(), call, &tasks(count), ASKED, false).unwrap_err().reason;
    assert_eq!(refused(&delete(1001), 1001), "INVALID_FIELDS");
    assert!(prepare(owner(), &delete(1000), &tasks(1001), ASKED, false).is_ok());
    let mut twice = delete(2);
    twice.arguments["requests"][1]["taskId"] = json!("t0");
    assert_eq!(refused(&twice, 2), "INVALID_FIELDS");
}

#[test]
fn new_tasks_are_counted_by_themselves() {
    let requests: Vec<_> = (0..6).map(|n| json!({"task": {"title": format!("new {n}")}})).collect();
    let call = ToolCall { id: "c".into(), name: "add_tasks".into(), arguments: json!({"requests": requests}) };
    let approval = prepare(owner(), &call, &tasks(2), ASKED, false).unwrap();
    assert!(approval.preview.starts_with("This will add 6 tasks:\n- \"new 0\""), "{}", approval.preview);
}

#[test]
fn what_would_be_written_is_shown_field_by_field_before_and_after() {
    let mut tasks = tasks(6);
    tasks[0]["dueTime"] = json!("2026-12-01T09:00:00Z");
    let item = |n: usize, task: Value, mask: &str| {
        let mut task = task;
        task["id"] = json!(format!("t{n}"));
        if mask.is_empty() { json!({"task": task}) } else { json!({"task": task, "updateMask": mask}) }
    };
    let requests = vec![
        item(0, json!({"title": "new", "due_time": "2027-01-01T00:00:00Z"}), "title,dueTime"),
        item(1, json!({"priority": "PRIORITY_HIGH"}), ""),
        item(2, json!({}), "due_time"),
        item(3, json!({"description": "x".repeat(900)}), "*"),
    ];
    let call = ToolCall { id: "c".into(), name: "update_tasks".into(), arguments: json!({"requests": requests}) };
    assert_eq!(named(&call).len(), 4);
    let approval = prepare(owner(), &call, &tasks, ASKED, false).unwrap();
    let lines: Vec<_> = approval.preview.lines().collect();
    assert_eq!(lines[0], "This will change 4 of 6 tasks:");
    let first = "- \"task 0\": title \"task 0\" -> \"new\", \
                 due time \"2026-12-01T09:00:00Z\" -> \"2027-01-01T00:00:00Z\"";
    assert_eq!(lines[1], first);
    assert_eq!(
        lines[2..4],
        ["- \"task 1\": priority nothing -> \"PRIORITY_HIGH\"", "- \"task 2\": due time nothing -> nothing"]
    );
    assert!(lines[4].ends_with('…') && lines[4].len() < 120, "{}", lines[4]);
    let change = &approval.affected[0].changes[1];
    let expected = ("due_time", json!("2026-12-01T09:00:00Z"), json!("2027-01-01T00:00:00Z"));
    assert_eq!((change.field.as_str(), change.before.clone(), change.after.clone()), expected);
}

#[test]
fn new_tasks_are_shown_with_what_they_are_given() {
    let task = json!({"title": "bread", "dueTime": "2027-01-01T00:00:00Z"});
    let call = ToolCall { id: "c".into(), name: "add_tasks".into(), arguments: json!({"requests": [{"task": task}]}) };
    let approval = prepare(owner(), &call, &tasks(2), ASKED, false).unwrap();
    assert!(approval.preview.contains("- \"bread\": due time \"2027-01-01T00:00:00Z\"\n"), "{}", approval.preview);
}

#[test]
fn plain_words_are_a_yes_or_a_no_and_everything_else_is_neither() {
    for yes in ["yes", "Yes!", "y", "YES PLEASE", "ok", "sure, go ahead", "do it", "yes, delete them all", "Go ahead."]
    {
        assert_eq!(yes_or_no(yes), Some(true), "{yes}");
    }
    for no in
        ["no", "No.", "nope", "cancel", "stop", "don\u{2019}t", "do not", "never mind", "no, keep them", "No thanks"]
    {
        assert_eq!(yes_or_no(no), Some(false), "{no}");
    }
    for neither in [
        "",
        "yes but keep the milk",
        "no wait, yes",
        "yes and add milk",
        "what?",
        "not yes",
        "yesterday",
        "the first one",
        "yes, delete the first one",
        "delete everything",
        "yes i do not",
    ] {
        assert_eq!(yes_or_no(neither), None, "{neither}");
    }
}

#[test]
fn a_question_is_answered_within_ten_minutes() {
    let approval = asked(2);
    let at = |seconds: i64| ASKED + SignedDuration::from_secs(seconds);
    assert_eq!(verdict(owner(), &approval, "yes", at(599)), Some(Verdict::Approved(approval.clone())));
    assert_eq!(verdict(owner(), &approval, "yes", at(600)), Some(Verdict::Expired));
    assert_eq!(verdict(owner(), &approval, "no", at(9999)), Some(Verdict::Declined));
    assert_eq!(verdict(owner(), &approval, "add milk", at(1)), None);
}

#[test]
fn yes_is_said_to_nothing_but_what_was_asked() {
    let mut other = asked(2);
    other.call.arguments["requests"][0]["taskId"] = json!("t9");
    assert_eq!(verdict(owner(), &other, "yes", ASKED), None);
    let mut other = asked(2);
    other.affected[0].etag = "e9".into();
    assert_eq!(verdict(owner(), &other, "yes", ASKED), None);
    let somebody = UserId::from(Uuid::from_u128(2));
    assert_eq!(verdict(somebody, &asked(2), "yes", ASKED), None);
}

#[test]
fn only_the_very_next_message_answers_a_question() {
    let reply = Event::Replied { message: Uuid::nil(), text: "?".into(), usage: None };
    let turns = vec![
        (Uuid::from_u128(1), vec![Event::ApprovalRequested(asked(2)), reply.clone()]),
        (Uuid::from_u128(2), vec![reply]),
    ];
    let [ann, asks] = [message(Role::User, 1), message(Role::Assistant, 1)];
    let next = message(Role::User, 3);
    let found = |messages: &[Message]| pending(messages, &turns).map(|(turn, _)| turn.as_u128());
    assert_eq!(found(&[ann.clone(), asks.clone(), next.clone()]), Some(1));
    let between = [message(Role::User, 2), message(Role::Assistant, 2)];
    assert_eq!(found(&[asks.clone(), between[0].clone(), between[1].clone(), next.clone()]), None);
    assert_eq!(found(&[asks, between[0].clone(), next.clone()]), None, "also when the one between failed");
    assert_eq!(found(&[next]), None);
}

#[test]
fn what_came_of_it_is_told_and_a_change_in_between_asks_again() {
    let failure = |reason: &str| Err(ToolFailure { reason: reason.into(), message: String::new() });
    let approval = asked(50);
    assert_eq!(approval.after(&Ok(json!({}))), After::Say("Deleted 50 tasks. Say \"undo\" to take that back.".into()));
    assert_eq!(approval.after(&failure("ETAG_MISMATCH")), After::AskAgain);
    assert!(matches!(approval.after(&failure("UNAVAILABLE")), After::Say(text) if text.contains("UNAVAILABLE")));
}

#[test]
fn undo_is_asked_for_in_words() {
    for yes in [
        "undo",
        "Undo that!",
        "please revert",
        "take that back",
        "bring them back",
        "no, undo that",
        "roll it back",
        "undid that",
        "put that back",
        "restore it",
    ] {
        assert!(asks_to_undo(yes), "{yes}");
    }
    for no in ["don't undo", "do not undo that", "never undo", "delete everything", "call me back", "yes"] {
        assert!(!asks_to_undo(no), "{no}");
    }
}
