//! A model that does not notice that it has done something, and asks for it again: the model is a scripted one behind a
//! real socket.

use errand_model::{Call, Dialect, ModelServer, Reply};
use serde_json::json;

use crate::{llm::thinking_with, sandbox::Person};

fn adding(title: &str) -> Call {
    Call::new("add_tasks", json!({ "requests": [{ "task": { "title": title } }] }))
}

/// What it says in the end, what came of each call, and what tasks there are then.
async fn said(person: &Person, words: &str) -> (String, Vec<String>, Vec<String>) {
    let answer = person.say("", words).await;
    let came = answer.tool_calls.into_iter().map(|call| call.error).collect();
    (answer.response, came, person.titles().await)
}

#[tokio::test]
async fn r_120_a_task_that_a_model_adds_again_and_again_is_added_once_and_the_turn_ends_honestly() {
    for dialect in [Dialect::OpenAi, Dialect::Ollama, Dialect::LlamaCpp] {
        let model = ModelServer::start(dialect, |_| Reply::Calls(vec![adding("milk")]));
        for mode in ["tools", "json_schema"] {
            let sandbox = thinking_with(&model, &[("ERRAND_LLM_MODE", mode)]);
            let before = model.asked().len();
            let (response, came, titles) = said(&sandbox.sign_up().await, "add milk").await;
            assert_eq!(titles, ["milk"], "{dialect:?} {mode}");
            assert_eq!(came, ["", "CALL_REPEATED", "CALL_REPEATED"], "{dialect:?} {mode}");
            assert!(response.ends_with("One task was changed; say \"undo\" to take that back."), "{response}");
            // It is told so, with what it was told before.
            let results = model.asked()[before + 2..].iter().map(errand_model::Asked::results).collect::<Vec<_>>();
            let [results] = results.as_slice() else { panic!("{results:?}") };
            let said = results.iter().find(|result| result.get("error").is_some()).unwrap();
            assert_eq!(
                (&said["error"]["reason"], &said["result"]["tasks"][0]["title"]),
                (&json!("CALL_REPEATED"), &json!("milk"))
            );
        }
    }
}

#[tokio::test]
async fn a_model_that_is_told_so_answers_and_goes_on_with_what_is_left() {
    let model = ModelServer::start(Dialect::OpenAi, |asked| match asked.results().as_slice() {
        [] | [_] => Reply::Calls(vec![adding("milk")]),
        [_, told] if told["error"]["reason"] == "CALL_REPEATED" => Reply::Calls(vec![adding("eggs")]),
        _ => Reply::text("Milk and eggs."),
    });
    let sandbox = thinking_with(&model, &[]);
    let (response, came, titles) = said(&sandbox.sign_up().await, "add milk and eggs").await;
    assert_eq!(
        (response.as_str(), came, titles),
        (
            "Milk and eggs.",
            ["", "CALL_REPEATED", ""].map(str::to_owned).to_vec(),
            ["milk", "eggs"].map(str::to_owned).to_vec()
        )
    );
}

#[tokio::test]
async fn two_tasks_of_one_name_are_added_where_one_answer_asks_for_both() {
    let model = ModelServer::start(Dialect::Vllm, |asked| match asked.results().as_slice() {
        [] => Reply::Calls(vec![adding("milk"), adding("milk")]),
        _ => Reply::text("Twice."),
    });
    let sandbox = thinking_with(&model, &[]);
    let (response, came, titles) = said(&sandbox.sign_up().await, "add two tasks called milk").await;
    assert_eq!((response.as_str(), came.concat().as_str(), titles), ("Twice.", "", vec!["milk".to_owned(); 2]));
}

#[tokio::test]
async fn r_120_a_list_that_is_read_again_and_again_ends_the_turn_before_its_rounds_do() {
    let model = ModelServer::start(Dialect::OpenAi, |_| Reply::call("list_tasks", json!({})));
    let sandbox = thinking_with(&model, &[]);
    let (response, came, _) = said(&sandbox.sign_up().await, "what is there?").await;
    assert_eq!(
        (came, model.asked().len()),
        (["", "", "CALL_REPEATED", "CALL_REPEATED"].map(str::to_owned).to_vec(), 4)
    );
    assert!(response.ends_with("Nothing was changed."), "{response}");
}
