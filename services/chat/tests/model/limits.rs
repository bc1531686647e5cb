//! How long an answer may be: how servers are told, and what becomes of one that comes to its limit.

use errand_chat::model::{Model, Step, Transcript, openai::OpenAi};
use errand_model::{Call, Dialect, ModelServer, Quirks, Reply};
use serde_json::json;

use crate::{DIALECTS, asked, model, settings, transcript};

/// By which names each question has told the limit.
fn told(server: &ModelServer) -> Vec<Option<&'static str>> {
    let name = |body: &serde_json::Value| {
        ["max_tokens", "max_completion_tokens"].into_iter().find(|name| body.get(*name).is_some())
    };
    server.asked().iter().map(|asked| name(&asked.body)).collect()
}

fn saying(change: impl FnOnce(&mut Quirks)) -> ModelServer {
    let server = ModelServer::saying(Dialect::OpenAi, "Hello.");
    server.set(change);
    server
}

#[tokio::test]
async fn r_083_every_server_is_told_how_long_its_answer_may_be() {
    for dialect in DIALECTS {
        let server = ModelServer::saying(dialect, "Hello.");
        asked(&model(&server), "hello").await.unwrap();
        assert_eq!(server.asked()[0].most_tokens(), Some(4096), "{dialect:?}");
        assert_eq!(told(&server), [Some("max_tokens")], "{dialect:?}");
    }
}

#[tokio::test]
async fn a_server_that_calls_it_otherwise_or_does_not_know_it_is_found_out_once() {
    let other = saying(|quirks| quirks.no_max_tokens = true);
    let none = saying(|quirks| quirks.no_limit = true);
    for (server, expected) in [
        (other, vec![Some("max_tokens"), Some("max_completion_tokens"), Some("max_completion_tokens")]),
        (none, vec![Some("max_tokens"), Some("max_completion_tokens"), None, None]),
    ] {
        let model = model(&server);
        for _ in 0..2 {
            assert_eq!(asked(&model, "hello").await, Ok(Step::Reply("Hello.".to_owned())));
        }
        assert_eq!(told(&server), expected);
    }
}

#[tokio::test]
async fn a_limit_that_a_model_can_not_keep_is_left_out_of_one_question_only() {
    let server = saying(|quirks| quirks.most_tokens = Some(1000));
    let model = model(&server);
    assert_eq!(asked(&model, "hello").await, Ok(Step::Reply("Hello.".to_owned())));
    let poor = Transcript { left: Some(0), ..transcript("hello") };
    assert!(model.next(&poor, &mut |_: &str| {}).await.is_ok());
    assert_eq!(told(&server), [Some("max_tokens"), None, Some("max_tokens")]);
    assert_eq!(server.asked()[2].most_tokens(), Some(256), "whoever has spent everything is answered, shortly");
}

#[tokio::test]
async fn words_that_come_to_the_limit_are_kept_and_said_to_be_not_all() {
    for by_schema in [false, true] {
        let server = ModelServer::start(Dialect::Ollama, |_| Reply::Text("again and ".repeat(1000)));
        server.set(|quirks| (quirks.keeps_limit, quirks.no_tools) = (true, by_schema));
        let Ok(Step::Reply(said)) = asked(&short(&server), "go on").await else { panic!("no words") };
        assert!(said.starts_with("again and again") && said.len() < 1200, "{said}");
        assert!(said.ends_with("came to the greatest length that it may have.]") && !said.contains('{'), "{said}");
    }
}

#[tokio::test]
async fn of_calls_that_come_to_the_limit_none_is_made() {
    let many = || {
        let task = |number: usize| json!({ "task": { "title": format!("task {number}") } });
        let requests = |count: usize| json!({ "requests": (0..count).map(task).collect::<Vec<_>>() });
        vec![Call::new("add_tasks", requests(1)), Call::new("add_tasks", requests(100))]
    };
    for (dialect, by_schema) in DIALECTS.into_iter().flat_map(|dialect| [(dialect, false), (dialect, true)]) {
        let server = ModelServer::start(dialect, move |_| Reply::Calls(many()));
        server.set(|quirks| (quirks.keeps_limit, quirks.no_tools) = (true, by_schema));
        let Ok(Step::Reply(said)) = asked(&short(&server), "add a hundred").await else { panic!("{dialect:?}") };
        assert!(said.contains("so I left that undone"), "{dialect:?}: {said}");
    }
}

#[tokio::test]
async fn a_title_that_comes_to_the_limit_is_none() {
    let server = ModelServer::saying(Dialect::OpenAi, "Hello.");
    server.entitle(|_| Reply::Text("long ".repeat(5000)));
    server.set(|quirks| quirks.keeps_limit = true);
    let answer = model(&server).title("hello", "hi").await.unwrap();
    assert_eq!(answer.step, Step::Reply(String::new()));
    assert_eq!(server.asked_for_titles()[0].most_tokens(), Some(1024));
}

#[tokio::test]
async fn who_makes_titles_is_a_setting() {
    let server = ModelServer::saying(Dialect::OpenAi, "Hello.");
    let mut settings = settings(&server);
    assert!(OpenAi::new(settings.clone()).unwrap().makes_titles());
    settings.titles = false;
    assert!(!OpenAi::new(settings).unwrap().makes_titles());
}

/// A model with short answers.
fn short(server: &ModelServer) -> OpenAi {
    let mut settings = settings(server);
    settings.answer_tokens = 256;
    OpenAi::new(settings).unwrap()
}
