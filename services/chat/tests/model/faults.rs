//! What servers do wrong: each fault has its error, nothing of a broken answer counts, and nobody waits for ever.

use std::time::{Duration, Instant};

use errand_chat::model::{ModelError, Step, openai::OpenAi};
use errand_model::{Call, Dialect, Fault, ModelServer, Reply};
use secrecy::SecretString;
use serde_json::json;

use crate::{asked, heard, model, settings};

fn unavailable(error: &ModelError) -> bool {
    matches!(error, ModelError::Unavailable(_))
}

/// Whether an error is the one that is due.
type Judge = fn(&ModelError) -> bool;

fn failing(fault: &Fault) -> ModelServer {
    let fault = fault.clone();
    ModelServer::start(Dialect::OpenAi, move |_| Reply::Fault(fault.clone()))
}

#[tokio::test]
async fn r_119_every_fault_has_its_error_and_is_over_in_time() {
    let busy = |error: &ModelError| matches!(error, ModelError::Busy(_));
    let late = |error: &ModelError| matches!(error, ModelError::TimedOut(_));
    let expected: Vec<(Fault, Judge, usize)> = vec![
        (Fault::status(500), unavailable, 3),
        (Fault::status(503), unavailable, 3),
        (Fault::status(429), busy, 3),
        (Fault::Status { code: 429, message: "no".into(), retry_after: Some(3600) }, busy, 1),
        (Fault::status(401), unavailable, 1),
        (Fault::status(404), unavailable, 1),
        (Fault::Hang, late, 1),
        (Fault::Stall, late, 1),
        (Fault::Slow(Duration::from_millis(100)), late, 1),
        (Fault::HangUp, unavailable, 3),
        (Fault::Cut, unavailable, 1),
        (Fault::BadStream, unavailable, 1),
        (Fault::BadJson, unavailable, 1),
        (Fault::HugeToken(10 * 1024 * 1024), unavailable, 1),
        (Fault::Endless, unavailable, 1),
        (Fault::Html, unavailable, 1),
        (Fault::Redirect("http://127.0.0.1:1/v1/chat/completions".into()), unavailable, 1),
        (Fault::ErrorMidStream, unavailable, 1),
        (Fault::EndsEarly, unavailable, 1),
    ];
    for (fault, is_expected, tries) in expected {
        let server = failing(&fault);
        let started = Instant::now();
        let error = asked(&model(&server), "list").await.unwrap_err();
        assert!(is_expected(&error), "{fault:?}: {error:?}");
        assert_eq!(server.asked().len(), tries, "{fault:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{fault:?} took {:?}", started.elapsed());
        assert!(!error.to_string().contains("scripted to fail"), "the words of a server may be those of a user");
    }
}

#[tokio::test]
async fn r_119_a_stream_that_says_it_is_something_else_is_read_all_the_same() {
    let server = failing(&Fault::WrongContentType);
    assert_eq!(asked(&model(&server), "list").await, Ok(Step::Reply("Said as plain text.".to_owned())));
}

#[tokio::test]
async fn r_119_a_server_that_recovers_answers_the_same_question() {
    let server = ModelServer::start(Dialect::Vllm, {
        let tries = std::sync::atomic::AtomicUsize::new(0);
        move |_| match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Reply::Fault(Fault::Status { code: 429, message: "wait".into(), retry_after: Some(0) }),
            1 => Reply::Fault(Fault::status(502)),
            _ => Reply::text("Here again."),
        }
    });
    assert_eq!(asked(&model(&server), "list").await, Ok(Step::Reply("Here again.".to_owned())));
}

#[tokio::test]
async fn r_119_the_breaker_opens_and_closes() {
    let server = ModelServer::start(Dialect::OpenAi, |asked| match asked.said() {
        "fail" => Reply::Fault(Fault::Cut),
        _ => Reply::text("Hello."),
    });
    let mut settings = settings(&server);
    settings.pause = Duration::from_millis(300);
    let model = OpenAi::new(settings).unwrap();
    for _ in 0..5 {
        assert!(asked(&model, "fail").await.is_err());
    }
    let before = server.asked().len();
    assert!(asked(&model, "hello").await.is_err_and(|error| unavailable(&error)));
    assert_eq!(server.asked().len(), before, "nobody asks while it is open");
    let started = Instant::now();
    while asked(&model, "hello").await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(10), "it never closes");
        tokio::task::yield_now().await;
    }
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!(asked(&model, "hello").await, Ok(Step::Reply("Hello.".to_owned())));
}

#[tokio::test]
async fn r_120_a_thousand_calls_unknown_tools_and_bad_arguments_are_only_data() {
    let server = ModelServer::start(Dialect::OpenAi, |asked| match asked.said() {
        "many" => Reply::Calls((0..1000).map(|_| Call::new("list_tasks", json!({}))).collect()),
        "unknown" => Reply::call("format_disk", json!({ "disk": "c" })),
        _ => {
            Reply::Calls(vec![Call { id: "x".into(), name: "add_tasks".into(), arguments: "{\"requests\": [".into() }])
        }
    });
    let model = model(&server);
    let Ok(Step::Call(calls)) = asked(&model, "many").await else { panic!("no calls") };
    assert!(calls.len() <= 64, "{}", calls.len());
    let Ok(Step::Call(calls)) = asked(&model, "unknown").await else { panic!("no calls") };
    assert_eq!(calls[0].name, "format_disk");
    let Ok(Step::Call(calls)) = asked(&model, "bad").await else { panic!("no calls") };
    assert_eq!(calls[0].arguments, json!("{\"requests\": ["));
}

#[tokio::test]
async fn r_124_the_key_goes_to_the_configured_host_and_a_redirect_is_not_followed() {
    let elsewhere = ModelServer::saying(Dialect::OpenAi, "I got your key.");
    let there = format!("{}/chat/completions", elsewhere.base_url());
    let server = failing(&Fault::Redirect(there));
    let mut settings = settings(&server);
    settings.key = Some(SecretString::from("sk-secret"));
    let model = OpenAi::new(settings).unwrap();
    let error = asked(&model, "list").await.unwrap_err();
    assert!(unavailable(&error));
    assert_eq!(server.asked()[0].header("authorization"), Some("Bearer sk-secret"));
    assert_eq!(elsewhere.asked().len(), 0);
    assert!(!format!("{model:?} {error:?}").contains("sk-secret"));
}

#[tokio::test]
async fn r_130_who_stops_waiting_stops_the_model() {
    let server = failing(&Fault::Slow(Duration::from_millis(20)));
    let model = model(&server);
    let mut say = |_: &str| {};
    let transcript = crate::transcript("list");
    let waiting = errand_chat::model::Model::next(&model, &transcript, &mut say);
    assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
    let started = Instant::now();
    while server.abandoned() == 0 {
        assert!(started.elapsed() < Duration::from_secs(5), "the server goes on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = ModelServer::saying(Dialect::OpenAi, "Hello.");
    let model = model(&server);
    for _ in 0..5 {
        assert!(heard(&model, "hello").await.0.is_ok());
    }
    assert_eq!(server.connections(), 1);
}
