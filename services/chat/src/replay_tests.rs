use serde_json::json;

use super::*;
use crate::{
    model::planner::Planner,
    testing::{Puppet, call, now, results},
};

fn done(number: u128, said: &str, calls: Vec<(ToolCall, Option<Outcome>)>) -> Exchange {
    let (turn, said) = (Uuid::from_u128(number), said.to_owned());
    Exchange { turn, said, at: now(), calls, answered: "Done.".to_owned() }
}

fn milk(id: &str) -> ToolCall {
    call(id, "add_tasks", json!({"requests": [{"task": {"title": "milk"}}]}))
}

fn added() -> Option<Outcome> {
    Some(Ok(json!({"tasks": [{"id": "t", "title": "milk"}]})))
}

async fn wanted(model: &dyn Model, exchanges: &[Exchange], at: usize) -> Vec<ToolCall> {
    match replay(model, exchanges, at, "UTC").await.unwrap() {
        Replayed::Calls(calls) => calls,
        Replayed::OwnWord => panic!("it is the model's"),
    }
}

fn looks(lines: &[Line<'_>]) -> String {
    let look = |line: &Line<'_>| match line {
        Line::Both(call) => format!("={}", call.name),
        Line::Recorded(call) => format!("-{}", call.name),
        Line::Replayed(call) => format!("+{}", call.name),
    };
    lines.iter().map(look).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_call_that_was_made_has_the_result_it_had_and_any_other_has_none() {
    let exchanges = [done(1, "add milk", vec![(milk("a"), added())])];
    let model = Puppet::new(|transcript| {
        Ok(match results(transcript) {
            // As it was recorded, the same a second time, and something else.
            0 => Step::Call(vec![milk(""), milk(""), call("", "delete_tasks", json!({"requests": []}))]),
            3 => Step::Call(vec![call("x", "list_tasks", json!({}))]),
            _ => Step::Reply("All right.".to_owned()),
        })
    });
    let calls = wanted(&model, &exchanges, 0).await;
    let recorded: Vec<ToolCall> = exchanges[0].calls.iter().map(|(call, _)| call.clone()).collect();
    assert_eq!(looks(&compared(&recorded, &calls)), "=add_tasks +add_tasks +delete_tasks +list_tasks");
    let read = model.read.lock().unwrap().last().unwrap().clone();
    let outcomes: Vec<_> = read
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Result(result) => {
                Some(result.outcome.as_ref().map_err(|failure| failure.reason.as_str()).map(|_| ()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [Ok(()), Err("NOT_REPLAYED"), Err("NOT_REPLAYED"), Err("NOT_REPLAYED")]);
}

#[tokio::test]
async fn a_model_reads_what_was_recorded_before_and_not_what_it_would_have_done() {
    let exchanges = [done(1, "add milk", vec![(milk("a"), added())]), done(2, "and now?", vec![])];
    let model = Puppet::saying("Nothing.");
    assert_eq!(wanted(&model, &exchanges, 1).await, []);
    let read = model.read.lock().unwrap().last().unwrap().clone();
    assert_eq!((read.entries.len(), read.last_turn), (5, Some(Uuid::from_u128(1))));
    assert_eq!(read.entries.last(), Some(&Entry::User("and now?".to_owned())));
}

#[tokio::test]
async fn the_planner_wants_what_it_wanted_when_it_is_asked_again() {
    let first = done(1, "add milk", vec![]);
    let calls = wanted(&Planner, std::slice::from_ref(&first), 0).await;
    assert_eq!(calls[0].name, "add_tasks");
    let recorded = Exchange { calls: vec![(calls[0].clone(), added())], ..first };
    assert_eq!(wanted(&Planner, &[recorded], 0).await.len(), 1);
}

#[tokio::test]
async fn the_users_own_word_is_no_models_to_read_again() {
    let waits = Some(Err(failure(APPROVAL_REQUIRED, "")));
    let all = call("a", "delete_tasks", json!({"requests": []}));
    let approved = ToolCall { id: "a-approved".to_owned(), ..all.clone() };
    let undo = (undo::call(Uuid::from_u128(2)), Some(Ok(json!({"tasks": [{"id": "t"}]}))));
    let exchanges = [
        done(1, "delete everything", vec![(all, waits)]),
        done(2, "yes", vec![(approved, added())]),
        done(3, "undo", vec![undo]),
        done(4, "yes", vec![]),
    ];
    let model = Puppet::saying("What?");
    for at in [1, 2] {
        assert_eq!(replay(&model, &exchanges, at, "UTC").await.unwrap(), Replayed::OwnWord, "{at}");
    }
    assert_eq!(model.asked(), 0);
    assert_eq!(wanted(&model, &exchanges, 3).await, [], "nobody was asked anything");
    assert_eq!(last_changed(&exchanges), None, "it was taken back");
    assert_eq!(last_changed(&exchanges[..2]), Some(Uuid::from_u128(2)));
}

#[tokio::test]
async fn a_call_that_waits_ends_the_turn_as_it_did() {
    let all = call("a", "delete_tasks", json!({"requests": [{"taskId": "x"}]}));
    let exchanges = [done(1, "delete everything", vec![(all.clone(), Some(Err(failure(APPROVAL_REQUIRED, ""))))])];
    let model = Puppet::new(move |_| Ok(Step::Call(vec![all.clone()])));
    assert_eq!((wanted(&model, &exchanges, 0).await.len(), model.asked()), (1, 1));
}

#[test]
fn calls_are_the_same_by_what_they_mean() {
    let list = |arguments: Value| call("", "list_tasks", arguments);
    let same = |one: Value, other: Value| list(one).is_same(&list(other));
    assert!(same(json!({"pageSize": 5, "filter": null}), json!({"pageSize": 5.0})));
    assert!(!same(json!({"pageSize": 5}), json!({"pageSize": 6})));
    assert!(!same(json!({"ids": [1, 2]}), json!({"ids": [2, 1]})));
    let (a, b, c) = (list(json!({})), milk(""), call("", "get_task", json!({})));
    let (one, other) = ([a.clone(), b.clone(), c.clone()], [b, c, a]);
    assert_eq!(looks(&compared(&one, &other)), "-list_tasks =add_tasks =get_task +list_tasks");
    assert_eq!(looks(&compared(&[], &other[..1])), "+add_tasks");
    assert_eq!(looks(&compared(&one[..1], &[])), "-list_tasks");
}
