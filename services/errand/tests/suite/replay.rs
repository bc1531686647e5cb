//! `errand replay`: a conversation once more, as the person at the terminal sees it. Nothing is done by it.

use std::process::{Command, Output};

use errand_model::{Dialect, Fault, ModelServer, Reply};
use serde_json::{Value, json};

use crate::{
    llm::{adding, thinking_with},
    sandbox::{Person, Sandbox},
};

/// What the command says about a conversation of this person.
async fn replay(
    sandbox: &Sandbox,
    person: &Person,
    conversation: &str,
    more: &[&str],
    model: &[(&str, &str)],
) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, format!("{}\n", person.token())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_errand"));
    command.env_clear().envs(model.iter().copied());
    command.args(["replay", conversation, "--url", &format!("http://{}", sandbox.address), "--token-file"]).arg(&token);
    command.args(more).arg("--data-dir").arg(folder.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    drop(folder);
    output
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[tokio::test]
async fn a_conversation_is_alike_with_the_model_that_it_was_held_with_and_differs_with_another() {
    let model = adding(Dialect::OpenAi);
    let sandbox = thinking_with(&model, &[]);
    let ann = sandbox.sign_up().await;
    let conversation = ann.say("", "buy milk").await.conversation_id;
    ann.say(&conversation, "buy eggs").await;
    ann.say(&conversation, "undo").await;
    let (before, asked) = (ann.titles().await, model.asked().len());
    let url = model.base_url();
    let same = [("ERRAND_LLM_BASE_URL", url.as_str()), ("ERRAND_LLM_MODEL", "scripted")];
    let (code, text) = said(&replay(&sandbox, &ann, &conversation, &[], &same).await);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("turn 2  alike     buy eggs\n  = add_tasks {"), "{text}");
    assert!(text.contains("turn 3  own word  undo") && text.contains("2 of 2 turns alike, with scripted"), "{text}");
    assert_eq!(model.asked().len(), asked + 4, "each turn was asked for again, with the results that it had");

    let other = ModelServer::start(Dialect::Ollama, |asked| match asked.results().last() {
        None if asked.said() == "buy eggs" => Reply::call("delete_tasks", json!({ "requests": [{ "taskId": "x" }] })),
        None => Reply::call("add_tasks", json!({ "requests": [{ "task": { "title": asked.said() } }] })),
        Some(_) => Reply::text("Done."),
    });
    let url = other.base_url();
    let model = [("ERRAND_LLM_BASE_URL", url.as_str()), ("ERRAND_LLM_MODEL", "scripted")];
    let output = replay(&sandbox, &ann, &conversation, &["--model", "another", "--json"], &model).await;
    assert_eq!(output.status.code(), Some(1));
    let whole: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&whole["alike"], &whole["compared"], &whole["model"]), (&json!(1), &json!(2), &json!("another")));
    let turn = &whole["turns"][1];
    assert_eq!((&turn["alike"], &turn["said"]), (&json!(false), &json!("buy eggs")));
    assert_eq!(
        (&turn["recorded"][0]["name"], &turn["replayed"][0]["name"]),
        (&json!("add_tasks"), &json!("delete_tasks"))
    );
    assert_eq!(other.asked().last().unwrap().results()[0]["error"]["reason"], "NOT_REPLAYED");
    assert_eq!(ann.titles().await, before, "nothing was done");
    assert_eq!(sandbox.stored("chat", "SELECT id FROM messages").await.len(), 6, "and nothing was said");
}

#[tokio::test]
async fn the_planner_is_a_model_to_compare_with_and_what_can_not_be_compared_is_said() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let conversation = ann.say("", "add buy milk").await.conversation_id;
    ann.say(&conversation, "what is there to do?").await;
    let (code, text) = said(&replay(&sandbox, &ann, &conversation, &["--model", "planner"], &[]).await);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("2 of 2 turns alike, with planner"), "{text}");
    // No model, nobody there, a model that fails, somebody else's conversation, no conversation.
    let (code, text) = said(&replay(&sandbox, &ann, &conversation, &[], &[]).await);
    assert!(code == Some(78) && text.contains("--model planner"), "{text}");
    let broken = ModelServer::start(Dialect::OpenAi, |_| Reply::Fault(Fault::status(401)));
    let url = broken.base_url();
    let model = [("ERRAND_LLM_BASE_URL", url.as_str()), ("ERRAND_LLM_MODEL", "scripted")];
    let (code, text) = said(&replay(&sandbox, &ann, &conversation, &[], &model).await);
    assert!(code == Some(75) && text.contains("turn 1: "), "{text}");
    let bob = sandbox.sign_up().await;
    let (code, text) = said(&replay(&sandbox, &bob, &conversation, &["--model", "planner"], &[]).await);
    assert!(code == Some(1) && text.contains("CONVERSATION_NOT_FOUND"), "{text}");
    let (code, text) = said(&replay(&sandbox, &ann, "first", &["--model", "planner"], &[]).await);
    assert!(code == Some(2), "{text}");
}
