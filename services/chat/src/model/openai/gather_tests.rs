use serde_json::json;

use super::*;

fn gathered(pieces: &[Value]) -> Result<(Whole, Vec<String>), ModelError> {
    let mut said = Vec::new();
    let mut gathered = Gathered::default();
    let mut say = |text: &str| said.push(text.to_owned());
    for piece in pieces {
        gathered.take(piece, &mut say)?;
    }
    let (whole, _) = gathered.whole(true, &mut say)?;
    Ok((whole, said))
}

fn delta(delta: &Value) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta }] })
}

fn words(pieces: &[&str]) -> (String, Vec<String>) {
    let pieces: Vec<Value> = pieces.iter().map(|text| delta(&json!({ "content": text }))).collect();
    let (whole, said) = gathered(&pieces).unwrap();
    (whole.text, said)
}

fn calls(pieces: &[Value]) -> Vec<(String, String, Value)> {
    let pieces: Vec<Value> = pieces.iter().map(|call| delta(&json!({ "tool_calls": [call] }))).collect();
    let calls = gathered(&pieces).unwrap().0.calls;
    calls.into_iter().map(|call| (call.id, call.name, call.arguments)).collect()
}

fn call(id: &str, name: &str, arguments: Value) -> (String, String, Value) {
    (id.to_owned(), name.to_owned(), arguments)
}

#[test]
fn pieces_of_calls_are_told_apart_by_number() {
    let found = calls(&[
        json!({ "index": 0, "id": "a", "function": { "name": "list_tasks", "arguments": "" } }),
        json!({ "index": 1, "id": "b", "function": { "name": "get_task", "arguments": "{\"task" } }),
        json!({ "index": 0, "function": { "arguments": "{\"pageSize\":" } }),
        json!({ "index": 1, "function": { "arguments": "Id\": \"x\"}" } }),
        json!({ "index": 0, "function": { "arguments": " 5}" } }),
    ]);
    let expected = [call("a", "list_tasks", json!({"pageSize": 5})), call("b", "get_task", json!({"taskId": "x"}))];
    assert_eq!(found, expected);
}

#[test]
fn without_numbers_they_are_told_apart_by_id_or_by_name() {
    let expected = |a: &str, b: &str| [call(a, "one", json!({"x": 1})), call(b, "two", json!({"y": 2}))];
    let found = calls(&[
        json!({ "id": "a", "function": { "name": "one", "arguments": "{\"x\"" } }),
        json!({ "id": "a", "function": { "arguments": ": 1}" } }),
        json!({ "id": "b", "function": { "name": "two", "arguments": "{\"y\": 2}" } }),
    ]);
    assert_eq!(found, expected("a", "b"));
    let found = calls(&[
        json!({ "function": { "name": "one" } }),
        json!({ "function": { "arguments": "{\"x\": 1}" } }),
        json!({ "function": { "name": "two", "arguments": "{\"y\":" } }),
        json!({ "function": { "arguments": "2}" } }),
    ]);
    assert_eq!(found, expected("", ""));
}

#[test]
fn calls_that_all_have_the_number_of_the_first_are_told_apart_by_id() {
    let found = calls(&[
        json!({ "index": 0, "id": "a", "function": { "name": "one", "arguments": { "x": 1 } } }),
        json!({ "index": 0, "id": "b", "function": { "name": "two", "arguments": "{\"y\": 2}" } }),
    ]);
    assert_eq!(found, [call("a", "one", json!({"x": 1})), call("b", "two", json!({"y": 2}))]);
}

#[test]
fn arguments_may_be_an_object_nothing_or_json_twice_and_else_stay_a_text() {
    assert_eq!(arguments(""), json!({}));
    assert_eq!(arguments("{\"a\": 1}"), json!({"a": 1}));
    assert_eq!(arguments("\"{\\\"a\\\": 1}\""), json!({"a": 1}));
    assert_eq!(arguments("{\"a\":"), json!("{\"a\":"));
    let old = delta(&json!({ "function_call": { "name": "one", "arguments": "{}" } }));
    assert_eq!(gathered(&[old]).unwrap().0.calls[0].name, "one");
}

#[test]
fn r_120_of_a_thousand_calls_a_few_are_kept() {
    let many: Vec<Value> = (0..1000).map(|n| json!({ "index": n, "id": n.to_string() })).collect();
    assert_eq!(calls(&many).len(), MOST_CALLS);
}

#[test]
fn thinking_is_not_said() {
    assert_eq!(words(&["Hel", "lo"]), ("Hello".to_owned(), vec!["Hel".to_owned(), "lo".to_owned()]));
    let thought = words(&["<th", "ink>Hmm, ", "they want</thi", "nk>\n\nYes", "."]);
    assert_eq!(thought, ("Yes.".to_owned(), vec!["Yes".to_owned(), ".".to_owned()]));
    assert_eq!(words(&["<th"]), ("<th".to_owned(), vec!["<th".to_owned()]), "what only looked like it is said");
    assert_eq!(words(&["<think>for ever"]), (String::new(), vec![]));
    assert_eq!(words(&["<think>ä", "ö</think>", "ü"]).0, "ü");
}

#[test]
fn usage_comes_with_or_without_choices_and_null_is_nothing() {
    let mut gathered = Gathered::default();
    for piece in [
        json!({ "choices": [], "usage": null }),
        json!({ "choices": [], "usage": { "prompt_tokens": 7.0, "completion_tokens": 2 } }),
        json!({ "choices": [{ "delta": { "content": null, "tool_calls": null } }] }),
        json!({ "choices": null, "model": "m" }),
        json!([]),
        json!(null),
    ] {
        gathered.take(&piece, &mut |_: &str| {}).unwrap();
    }
    assert_eq!(gathered.usage, Some(Usage { prompt: 7, completion: 2 }));
    assert_eq!(gathered.model.as_deref(), Some("m"));
}

#[test]
fn an_answer_that_is_not_whole_or_holds_an_error_is_none() {
    let mut cut = Gathered::default();
    cut.take(&delta(&json!({ "content": "Well" })), &mut |_: &str| {}).unwrap();
    assert!(matches!(cut.whole(false, &mut |_: &str| {}), Err(ModelError::Unavailable(_))));
    let busy = json!({ "error": { "message": "slow down", "code": "429" } });
    assert!(matches!(gathered(&[busy]), Err(ModelError::Busy(_))));
    assert!(matches!(gathered(&[json!({ "error": "no" })]), Err(ModelError::Unavailable(_))));
    let unknown = json!({ "choices": [{ "message": { "content": "Hi" }, "finish_reason": "whatever" }] });
    assert_eq!(gathered(&[unknown]).unwrap().0.finish, "whatever");
}

#[test]
fn more_than_any_answer_weighs_is_refused() {
    let heavy = delta(&json!({ "content": "x".repeat(HEAVIEST_WORDS / 2) }));
    assert!(gathered(&[heavy.clone(), heavy.clone()]).is_ok());
    assert!(gathered(&[heavy.clone(), heavy.clone(), delta(&json!({ "content": "x" }))]).is_err());
}
