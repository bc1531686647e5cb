//! What servers differ in, and what is understood all the same.

use errand_chat::{
    domain::usage::Usage,
    model::{
        Step,
        openai::{Mode, OpenAi},
    },
};
use errand_model::{COST, Call, Dialect, ModelServer, Quirks, Reply};
use serde_json::{Value, json};

use crate::{DIALECTS, asked, heard, model, settings};

const WORDS: &str = "You have two tasks, milk and eggs.";

fn calls() -> Vec<Call> {
    vec![
        Call::new("add_tasks", json!({ "requests": [{ "task": { "title": "milk \"fresh\"" } }] })),
        Call::new("list_tasks", json!({})),
    ]
}

fn is_what_was_called(step: &Step) -> bool {
    let Step::Call(found) = step else { return false };
    let pairs = found.iter().zip(calls());
    found.len() == 2
        && pairs
            .into_iter()
            .all(|(found, call)| found.name == call.name && same_json(&found.arguments, &call.arguments))
}

fn same_json(found: &Value, text: &str) -> bool {
    text.parse().is_ok_and(|value: Value| value == *found)
}

/// What makes a server differ.
type Change = fn(&mut Quirks);

/// Every way in which a server may differ, alone.
fn quirks() -> Vec<(&'static str, Change)> {
    vec![
        ("no stream options", |q| q.no_stream_options = true),
        ("no tools", |q| q.no_tools = true),
        ("no tools and no schema", |q| (q.no_tools, q.no_schema) = (true, true)),
        ("nothing that is new", |q| (q.no_stream_options, q.no_tools, q.no_schema) = (true, true, true)),
        ("no stream", |q| q.no_stream = true),
        ("no mark of the end", |q| q.no_done = true),
        ("lines as in HTTP", |q| q.crlf = true),
        ("comments", |q| q.comments = true),
        ("no numbers", |q| q.no_index = true),
        ("no ids", |q| q.no_id = true),
        ("neither numbers nor ids", |q| (q.no_index, q.no_id) = (true, true)),
        ("all calls the first", |q| (q.same_index, q.whole_calls) = (true, true)),
        ("whole calls", |q| q.whole_calls = true),
        ("arguments as an object", |q| (q.whole_calls, q.object_arguments) = (true, true)),
        ("null where nothing is", |q| q.null_content = true),
        ("another word for the end", |q| q.finish = Some("done_i_think")),
        ("usage beside the last words", |q| q.usage_within = true),
        ("fields that nobody asked for", |q| q.extras = true),
        ("another name of the limit", |q| q.no_max_tokens = true),
        ("no limit", |q| q.no_limit = true),
    ]
}

#[tokio::test]
async fn words_come_in_pieces_and_with_what_they_cost_from_every_server() {
    for dialect in DIALECTS {
        let server = ModelServer::saying(dialect, WORDS);
        let (answer, pieces) = heard(&model(&server), "list").await;
        let answer = answer.unwrap();
        assert_eq!(answer.step, Step::Reply(WORDS.to_owned()), "{dialect:?}");
        assert_eq!((pieces.concat().as_str(), pieces.len()), (WORDS, 7), "{dialect:?}");
        assert_eq!(answer.usage, Some(Usage { prompt: COST.0, completion: COST.1 }), "{dialect:?}");
        assert_eq!(answer.model.as_deref(), Some("scripted"), "{dialect:?}");
    }
}

#[tokio::test]
async fn calls_of_tools_are_put_together_from_every_server() {
    for dialect in DIALECTS {
        let server = ModelServer::start(dialect, |_| Reply::Calls(calls_of_server()));
        let step = asked(&model(&server), "add milk").await.unwrap();
        assert!(is_what_was_called(&step), "{dialect:?}: {step:?}");
    }
}

fn calls_of_server() -> Vec<Call> {
    calls()
}

#[tokio::test]
async fn every_difference_is_tolerated_by_itself() {
    for (name, change) in quirks() {
        let server = ModelServer::start(Dialect::OpenAi, |asked| match asked.said() {
            "call" => Reply::Calls(calls_of_server()),
            _ => Reply::text(WORDS),
        });
        server.set(|quirks| *quirks = Quirks::default());
        server.set(change);
        let model = model(&server);
        // Twice: what was found out about a server is remembered.
        for _ in 0..2 {
            assert_eq!(asked(&model, "say").await, Ok(Step::Reply(WORDS.to_owned())), "{name}");
            let step = asked(&model, "call").await.unwrap();
            assert!(is_what_was_called(&step), "{name}: {step:?}");
        }
    }
}

#[tokio::test]
async fn a_server_without_tools_is_asked_for_them_once() {
    let server = ModelServer::saying(Dialect::Ollama, WORDS);
    server.set(|quirks| quirks.no_tools = true);
    let model = model(&server);
    for _ in 0..3 {
        let (answer, pieces) = heard(&model, "list").await;
        assert_eq!(answer.unwrap().step, Step::Reply(WORDS.to_owned()));
        assert!(pieces.len() > 1 && pieces.concat() == WORDS, "words are heard as they are written: {pieces:?}");
    }
    let with_tools = server.asked().iter().filter(|asked| asked.body.get("tools").is_some()).count();
    assert_eq!((with_tools, server.asked().len()), (1, 4));
}

#[tokio::test]
async fn a_mode_that_was_set_is_kept() {
    let server = ModelServer::start(Dialect::LlamaCpp, |_| Reply::Calls(calls_of_server()));
    let mut by_schema = settings(&server);
    by_schema.mode = Mode::JsonSchema;
    let step = asked(&OpenAi::new(by_schema).unwrap(), "add milk").await.unwrap();
    assert!(is_what_was_called(&step), "{step:?}");
    assert!(server.asked()[0].wants_schema() && server.asked()[0].body.get("tools").is_none());
    server.set(|quirks| quirks.no_tools = true);
    let mut by_tools = settings(&server);
    by_tools.mode = Mode::Tools;
    let before = server.asked().len();
    assert!(asked(&OpenAi::new(by_tools).unwrap(), "add milk").await.is_err());
    assert!(server.asked()[before..].iter().all(|asked| !asked.wants_schema()));
}
