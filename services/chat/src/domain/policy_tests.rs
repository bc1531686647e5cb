use proptest::prelude::*;
use serde_json::json;

use super::*;

const LAST: Uuid = Uuid::from_u128(7);

fn classify(name: &str) -> Option<Class> {
    match name {
        "list_tasks" => Some(Class::Read),
        "add_tasks" | "update_tasks" | "complete_tasks" | "reopen_task" => Some(Class::Write),
        "delete_tasks" => Some(Class::Destructive),
        "undo_turn" => Some(Class::Undo),
        _ => None,
    }
}

fn call(id: usize, name: &str, task: &str) -> ToolCall {
    let arguments = match name {
        "add_tasks" | "update_tasks" | "complete_tasks" | "delete_tasks" => return batch(id, name, &[task]),
        "undo_turn" => json!({"turnId": task}),
        _ => json!({"taskId": task}),
    };
    ToolCall { id: id.to_string(), name: name.to_owned(), arguments }
}

fn batch(id: usize, name: &str, tasks: &[&str]) -> ToolCall {
    let requests: Vec<_> = tasks
        .iter()
        .map(|task| match name {
            "add_tasks" => json!({"task": {"title": task}}),
            "update_tasks" => json!({"task": {"id": task, "title": "x"}, "updateMask": "title"}),
            _ => json!({"taskId": task, "etag": "1"}),
        })
        .collect();
    ToolCall { id: id.to_string(), name: name.to_owned(), arguments: json!({"requests": requests}) }
}

fn verdicts(before: &[Judged], calls: Vec<ToolCall>) -> Vec<&'static str> {
    undoing(before, calls, None)
}

fn undoing(before: &[Judged], calls: Vec<ToolCall>, undoable: Option<Uuid>) -> Vec<&'static str> {
    let before: Vec<&Judged> = before.iter().collect();
    judge(&before, calls, undoable, classify).iter().map(said).collect()
}

fn said(judged: &Judged) -> &'static str {
    match judged.refusal.as_ref().map(|refusal| refusal.reason.as_str()) {
        None if judged.waits => "waits",
        None => "runs",
        Some("APPROVAL_REQUIRED") => "refused",
        Some("TOOL_UNKNOWN") => "unknown",
        Some("TOOL_DENIED") => "denied",
        Some(other) => panic!("{other}"),
    }
}

fn ruled(rules: &str, before: &[Judged], calls: Vec<ToolCall>) -> Vec<&'static str> {
    let (before, rules): (Vec<&Judged>, _) = (before.iter().collect(), Rules::parse(rules, classify).unwrap());
    let judged = judge(&before, calls, Some(LAST), classify);
    restrict(&before, judged, &rules, classify).iter().map(said).collect()
}

#[test]
fn a_rule_makes_stricter_what_runs_and_loosens_nothing() {
    let rules = "add_tasks=approve,reopen_task=deny,list_tasks=deny,delete_tasks=auto";
    let one = |name: &str| vec![call(0, name, "a")];
    assert_eq!(ruled(rules, &[], one("add_tasks")), ["waits"]);
    assert_eq!(ruled(rules, &[], one("reopen_task")), ["denied"]);
    assert_eq!(ruled(rules, &[], one("list_tasks")), ["denied"]);
    assert_eq!(ruled(rules, &[], one("nonsense")), ["unknown"]);
    assert_eq!(ruled(rules, &[], vec![batch(0, "delete_tasks", &["a", "b"])]), ["waits"], "auto is no way around");
    assert_eq!(ruled(rules, &[], vec![call(0, "add_tasks", ""), call(1, "add_tasks", "")]), ["refused"; 2]);
    let beside = vec![call(0, "add_tasks", ""), batch(1, "delete_tasks", &["a", "b"])];
    assert_eq!(ruled(rules, &[], beside), ["refused", "waits"], "there is one question");
    let asked = judge(&[], vec![batch(0, "delete_tasks", &["a", "b"])], None, classify);
    assert_eq!(ruled(rules, &asked, one("add_tasks")), ["refused"], "a turn asks once");
    let undo = vec![call(0, "undo_turn", &LAST.to_string())];
    assert_eq!(ruled("undo_turn=deny", &[], undo.clone()), ["denied"]);
    assert_eq!(ruled("", &[], undo), ["runs"]);
}

#[test]
fn r_122_writing_the_same_task_over_and_over_waits_after_five_times() {
    let again =
        |from: usize, count: usize| (from..from + count).map(|n| call(n, "update_tasks", "a")).collect::<Vec<_>>();
    assert_eq!(verdicts(&[], again(0, 5)), ["runs"; 5]);
    let before = judge(&[], again(0, 5), None, classify);
    assert_eq!(verdicts(&before, again(9, 1)), ["waits"]);
    assert_eq!(verdicts(&[], again(0, 6)), ["refused"; 6]);
    assert_eq!(verdicts(&before, vec![call(9, "list_tasks", "")]), ["runs"]);
}

#[test]
fn a_read_and_a_single_write_run_by_themselves() {
    let calls = vec![call(0, "list_tasks", ""), call(1, "update_tasks", "a"), call(2, "delete_tasks", "b")];
    assert_eq!(verdicts(&[], calls), ["runs"; 3]);
    assert_eq!(verdicts(&[], vec![batch(0, "update_tasks", &["a", "b", "c", "d", "e"])]), ["runs"]);
    assert_eq!(verdicts(&[], vec![batch(0, "delete_tasks", &["a"])]), ["runs"]);
}

#[test]
fn r_122_a_call_that_deletes_two_tasks_or_changes_six_waits() {
    assert_eq!(verdicts(&[], vec![batch(0, "delete_tasks", &["a", "b"])]), ["waits"]);
    let six = ["a", "b", "c", "d", "e", "f"];
    for name in ["add_tasks", "update_tasks"] {
        assert_eq!(verdicts(&[], vec![batch(0, name, &six)]), ["waits"], "{name}");
        assert_eq!(verdicts(&[], vec![batch(0, name, &six[..5])]), ["runs"], "{name}");
    }
    let beside = vec![call(0, "list_tasks", ""), batch(1, "delete_tasks", &["a", "b"])];
    assert_eq!(verdicts(&[], beside), ["runs", "waits"]);
}

#[test]
fn r_122_deleting_two_tasks_by_two_calls_is_refused_whole() {
    let calls = vec![call(0, "delete_tasks", "a"), call(1, "list_tasks", ""), call(2, "delete_tasks", "b")];
    assert_eq!(verdicts(&[], calls), ["refused", "runs", "refused"]);
}

#[test]
fn r_122_deleting_another_task_later_in_the_turn_waits() {
    let before = judge(&[], vec![call(0, "delete_tasks", "a")], None, classify);
    assert_eq!(verdicts(&before, vec![call(1, "delete_tasks", "b")]), ["waits"]);
    assert_eq!(verdicts(&before, vec![call(1, "delete_tasks", "a")]), ["runs"], "the same one may be tried again");
    assert_eq!(verdicts(&before, vec![call(1, "complete_tasks", "b")]), ["runs"]);
}

#[test]
fn r_122_a_sixth_task_is_not_changed() {
    let calls = |count: usize| (0..count).map(|n| call(n, "add_tasks", "")).collect::<Vec<_>>();
    assert_eq!(verdicts(&[], calls(5)), ["runs"; 5]);
    assert_eq!(verdicts(&[], calls(6)), ["refused"; 6]);
    let before = judge(&[], calls(5), None, classify);
    assert_eq!(verdicts(&before, vec![call(9, "complete_tasks", "x")]), ["waits"]);
}

#[test]
fn the_user_is_asked_once_a_turn() {
    let before = judge(&[], vec![batch(0, "delete_tasks", &["a", "b"])], None, classify);
    assert!(before[0].waits);
    assert_eq!(verdicts(&before, vec![batch(1, "delete_tasks", &["c", "d"])]), ["refused"]);
    let two = vec![batch(0, "delete_tasks", &["a", "b"]), batch(1, "delete_tasks", &["c", "d"])];
    assert_eq!(verdicts(&[], two), ["refused", "refused"]);
}

#[test]
fn undo_runs_by_itself_for_the_last_turn_and_when_it_was_asked_for() {
    let last = LAST.to_string();
    let undo = || vec![call(0, "undo_turn", &last)];
    assert_eq!(undoing(&[], undo(), Some(LAST)), ["runs"]);
    assert_eq!(undoing(&[], undo(), None), ["refused"], "nobody asked for it");
    assert_eq!(undoing(&[], undo(), Some(Uuid::from_u128(8))), ["refused"], "another turn");
    let read = judge(&[], vec![call(9, "list_tasks", "")], None, classify);
    assert_eq!(undoing(&read, undo(), Some(LAST)), ["runs"]);
    let done = judge(&[], undo(), Some(LAST), classify);
    let again = vec![call(1, "undo_turn", &last)];
    assert_eq!(undoing(&done, again, Some(LAST)), ["refused"], "it would be taken back again");
    let beside = vec![call(0, "undo_turn", &last), call(1, "add_tasks", "")];
    assert_eq!(undoing(&[], beside, Some(LAST)), ["refused", "runs"]);
    let range = ToolCall {
        id: "r".into(),
        name: "undo_turn".into(),
        arguments: json!({"turnId": last, "range": {"firstCursor": "a", "lastCursor": "b"}}),
    };
    assert_eq!(undoing(&[], vec![range], Some(LAST)), ["refused"]);
}

#[test]
fn r_120_an_unknown_tool_is_refused() {
    assert_eq!(verdicts(&[], vec![call(0, "rm -rf", "a")]), ["unknown"]);
}

proptest! {
    #[test]
    fn r_122_no_turn_goes_beyond_the_limits_whatever_the_model_asks(
        rounds in prop::collection::vec(prop::collection::vec((0..7usize, prop::collection::vec(0..9u8, 0..7)), 0..12), 0..8),
    ) {
        let names = ["list_tasks", "add_tasks", "reopen_task", "delete_tasks", "nonsense", "delete_tasks", "add_tasks"];
        let mut before: Vec<Judged> = Vec::new();
        let mut id = 0;
        for round in rounds {
            let calls = round
                .into_iter()
                .map(|(name, tasks)| {
                    id += 1;
                    let tasks: Vec<String> = tasks.iter().map(ToString::to_string).collect();
                    let tasks: Vec<&str> = tasks.iter().map(String::as_str).collect();
                    if name > 4 { batch(id, names[name], &tasks) } else { call(id, names[name], tasks.first().unwrap_or(&"")) }
                })
                .collect();
            let judged = judge(&before.iter().collect::<Vec<_>>(), calls, Some(LAST), classify);
            before.extend(judged);
        }
        let run: Vec<&ToolCall> = before.iter().filter(|j| j.refusal.is_none() && !j.waits).map(|j| &j.call).collect();
        prop_assert!(targets(run.iter().copied(), classify, |class| class != Class::Read).len() <= MOST_TASKS);
        prop_assert!(targets(run.iter().copied(), classify, |class| class == Class::Destructive).len() <= MOST_TAKEN_AWAY);
        let writes: usize = run.iter().filter(|call| classify(&call.name) != Some(Class::Read)).map(|call| touched(call).len()).sum();
        prop_assert!(writes <= MOST_WRITES, "{writes}");
        prop_assert!(before.iter().filter(|judged| judged.waits).count() <= 1);
    }
}
