//! The assistant with a language model, as a client meets it: the model is a scripted one behind a real socket.

use std::{sync::Arc, time::Duration};

use errand_model::{COST, Dialect, Fault, Gate, ModelServer, Reply};
use errand_proto::chat::{
    CancelTurnRequest, ListMessagesRequest, ResumeTurnRequest, SendMessageRequest, TurnEvent, turn_event::Event,
};
use serde_json::json;
use tonic::{Code, Streaming};

use crate::sandbox::{Person, Sandbox, reason, refused};

/// A suite that thinks with this model.
pub(crate) fn thinking_with(model: &ModelServer, more: &[(&str, &str)]) -> Sandbox {
    let url = model.base_url();
    let mut environment = vec![("ERRAND_LLM_BASE_URL", url.as_str()), ("ERRAND_LLM_MODEL", "scripted")];
    environment.extend(more);
    Sandbox::with(&environment)
}

/// A model that adds what it is told to, and says so.
pub(crate) fn adding(dialect: Dialect) -> ModelServer {
    ModelServer::start(dialect, |asked| match asked.results().as_slice() {
        [] => Reply::call("add_tasks", json!({ "requests": [{ "task": { "title": asked.said() } }] })),
        [result] if result.get("tasks").is_some() => Reply::text("I have added it."),
        [result] => Reply::Text(format!("That failed: {result}")),
        _ => Reply::text("Done."),
    })
}

async fn try_to_say(person: &Person, conversation_id: &str, content: &str) -> Result<String, tonic::Status> {
    let request = SendMessageRequest {
        conversation_id: conversation_id.to_owned(),
        content: content.to_owned(),
        ..Default::default()
    };
    Ok(person.chat().send_message(person.request(request)).await?.into_inner().response)
}

#[tokio::test]
async fn a_model_adds_tasks_by_calling_tools_in_every_dialect() {
    let models = [Dialect::OpenAi, Dialect::LlamaCpp, Dialect::LiteLlm].map(adding);
    for model in &models {
        let sandbox = thinking_with(model, &[]);
        let ann = sandbox.sign_up().await;
        let answer = ann.say("", "buy milk").await;
        assert_eq!(answer.response, "I have added it.");
        assert_eq!(answer.tool_calls[0].name, "add_tasks");
        assert_eq!(ann.titles().await, ["buy milk"]);
    }
}

#[tokio::test]
async fn a_model_that_can_not_call_tools_adds_tasks_by_json() {
    let model = adding(Dialect::Ollama);
    model.set(|quirks| quirks.no_tools = true);
    let sandbox = thinking_with(&model, &[]);
    let ann = sandbox.sign_up().await;
    assert_eq!(ann.say("", "buy milk").await.response, "I have added it.");
    assert_eq!(ann.titles().await, ["buy milk"]);
}

#[tokio::test]
async fn r_119_faults_of_the_model_are_the_clients_errors_and_leave_the_conversation_intact() {
    let model = ModelServer::start(Dialect::OpenAi, |asked| match asked.said() {
        "500" => Reply::Fault(Fault::status(500)),
        "429" => Reply::Fault(Fault::Status { code: 429, message: "no".into(), retry_after: Some(600) }),
        "hang" => Reply::Fault(Fault::Hang),
        "cut" => Reply::Fault(Fault::Cut),
        "html" => Reply::Fault(Fault::Html),
        _ => Reply::text("Here."),
    });
    let sandbox = thinking_with(&model, &[("ERRAND_LLM_FIRST_BYTE_TIMEOUT", "300ms")]);
    let ann = sandbox.sign_up().await;
    let conversation = ann.say("", "hello").await.conversation_id;
    for (said, code, why) in [
        ("500", Code::Unavailable, "TURN_FAILED"),
        ("429", Code::ResourceExhausted, "MODEL_BUSY"),
        ("hang", Code::DeadlineExceeded, "MODEL_TIMED_OUT"),
        ("cut", Code::Unavailable, "TURN_FAILED"),
        ("html", Code::Unavailable, "TURN_FAILED"),
    ] {
        assert_eq!(reason(try_to_say(&ann, &conversation, said).await), refused(code, why), "{said}");
        assert_eq!(try_to_say(&ann, &conversation, "hello").await.unwrap(), "Here.", "after {said}");
    }
}

#[tokio::test]
async fn the_planner_answers_in_the_place_of_a_model_that_is_away_where_that_is_wished() {
    let model = ModelServer::start(Dialect::OpenAi, |_| Reply::Fault(Fault::status(401)));
    let sandbox = thinking_with(&model, &[("ERRAND_LLM_FALLBACK", "planner")]);
    let ann = sandbox.sign_up().await;
    let answer = ann.say("", "add buy milk").await;
    assert!(answer.response.contains("buy milk"), "{answer:?}");
    assert_eq!(ann.titles().await, ["buy milk"]);
}

#[tokio::test]
async fn r_120_a_model_that_never_stops_is_stopped_and_is_told_what_is_wrong() {
    let model = ModelServer::start(Dialect::Vllm, |asked| match asked.said() {
        // Never the same twice, which would end it sooner.
        "loop" => Reply::call("list_tasks", json!({ "pageSize": asked.results().len() + 1 })),
        "many" if asked.results().is_empty() => {
            let call = || errand_model::Call::new("add_tasks", json!({ "requests": [{ "task": { "title": "x" } }] }));
            Reply::Calls((0..1000).map(|_| call()).collect())
        }
        "wrong" => match asked.results().last() {
            None => Reply::call("format_disk", json!({})),
            Some(result) if result["error"]["reason"] == "TOOL_UNKNOWN" => {
                Reply::call("get_task", json!({ "taskId": 7 }))
            }
            Some(result) => Reply::Text(result["error"]["reason"].as_str().unwrap_or("nothing").to_owned()),
        },
        _ => Reply::text("Done."),
    });
    let sandbox = thinking_with(&model, &[]);
    let ann = sandbox.sign_up().await;
    let answer = ann.say("", "loop").await;
    assert_eq!((answer.tool_calls.len(), model.asked().len()), (8, 8), "{}", answer.response);
    assert_eq!(ann.say("", "wrong").await.response, "INVALID_FIELDS");
    let answer = ann.say("", "many").await;
    assert!(answer.tool_calls.len() <= 16, "{}", answer.tool_calls.len());
    assert!(ann.list().await.len() <= 16);
}

#[tokio::test]
async fn r_123_a_model_has_no_tool_that_reaches_out() {
    let model = ModelServer::saying(Dialect::OpenAi, "Look: ![x](http://evil.example/x.png) http://evil.example");
    let sandbox = thinking_with(&model, &[]);
    let ann = sandbox.sign_up().await;
    // Words are words: what a link in them does is up to who shows them, and nobody here follows it.
    assert!(ann.say("", "hello").await.response.contains("http://evil.example"));
    let asked = model.asked().remove(0);
    let tools = asked.body["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["function"]["name"].as_str().unwrap()).collect();
    let known = ["get_task", "list_tasks", "reopen_task", "undelete_task", "add_tasks", "update_tasks"];
    let known = [&known[..], &["complete_tasks", "delete_tasks", "undo_turn"]].concat();
    assert_eq!(names, known);
    assert!(!asked.body["tools"].to_string().to_lowercase().contains("url"), "no argument is an address");
}

#[tokio::test]
async fn r_124_where_the_model_is_and_its_key_come_from_the_configuration_only() {
    let model = ModelServer::saying(Dialect::OpenAi, "Here.");
    let elsewhere = ModelServer::saying(Dialect::OpenAi, "I got your key.");
    let sandbox = thinking_with(&model, &[("ERRAND_LLM_API_KEY", "sk-secret")]);
    let ann = sandbox.sign_up().await;
    let mut request = ann.request(SendMessageRequest { content: "hello".to_owned(), ..Default::default() });
    for (name, value) in [
        ("x-errand-llm-base-url", elsewhere.base_url()),
        ("x-base-url", elsewhere.base_url()),
        ("openai-api-key", "sk-mine".to_owned()),
        ("x-model", "another".to_owned()),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    assert_eq!(ann.chat().send_message(request).await.unwrap().into_inner().response, "Here.");
    let asked = model.asked().remove(0);
    assert_eq!((asked.header("authorization"), &asked.body["model"]), (Some("Bearer sk-secret"), &json!("scripted")));
    let everything = format!("{:?} {}", asked.headers, asked.body);
    for foreign in [ann.token(), &elsewhere.base_url(), "sk-mine"] {
        assert!(!everything.contains(foreign), "{foreign}");
    }
    assert_eq!(elsewhere.asked().len(), 0);
    assert!(!sandbox.log().contains("sk-secret"));
}

async fn stream(person: &Person, content: &str) -> Streaming<TurnEvent> {
    let request = SendMessageRequest { content: content.to_owned(), ..Default::default() };
    person.chat().stream_message(person.request(request)).await.unwrap().into_inner()
}

#[tokio::test]
async fn words_are_streamed_while_the_model_writes_them_and_the_whole_takes_their_place() {
    let gate = Arc::new(Gate::default());
    let waiting = gate.clone();
    let model = ModelServer::start(Dialect::OpenAi, move |_| {
        Reply::Paused("Hällo ".to_owned(), waiting.clone(), "again and again.".to_owned())
    });
    let sandbox = thinking_with(&model, &[]);
    let ann = sandbox.sign_up().await;
    let mut events = stream(&ann, "hello").await;
    let mut shown = String::new();
    let mut numbers = Vec::new();
    let mut kinds = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        match event.event.unwrap() {
            Event::TextDelta(delta) => {
                assert_eq!(event.seq, 0, "a part of a text is nothing to go on after");
                assert_eq!(usize::try_from(delta.offset).unwrap(), shown.chars().count());
                shown.push_str(&delta.text);
                // The model has not said the rest: these words came before its answer was whole.
                if shown == "Hällo " {
                    gate.open();
                }
                continue;
            }
            Event::Started(_) => kinds.push("started"),
            Event::Text(text) => {
                kinds.push(if text.text == "Hällo again and again." { "text" } else { "another text" });
            }
            Event::Usage(usage) => {
                let tokens = (usage.prompt_tokens, usage.completion_tokens);
                assert_eq!(tokens, (i64::try_from(COST.0).unwrap(), i64::try_from(COST.1).unwrap()));
                kinds.push("usage");
            }
            Event::Replied(replied) => {
                assert_eq!(replied.response, "Hällo again and again.");
                kinds.push("replied");
            }
            other => panic!("{other:?}"),
        }
        numbers.push(event.seq);
    }
    assert!(shown.starts_with("Hällo "), "{shown}");
    assert_eq!((kinds, numbers), (vec!["started", "text", "usage", "replied"], vec![1, 2, 3, 4]));
}

#[tokio::test]
async fn an_answer_says_what_its_turn_has_cost() {
    let model = adding(Dialect::Vllm);
    let sandbox = thinking_with(&model, &[]);
    let ann = sandbox.sign_up().await;
    let usage = ann.say("", "buy milk").await.usage.unwrap();
    let twice = |tokens: u64| i64::try_from(2 * tokens).unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (twice(COST.0), twice(COST.1)));
}

#[tokio::test]
async fn the_last_event_and_the_list_of_messages_say_what_a_turn_has_cost_to_who_comes_later_too() {
    let model = adding(Dialect::OpenAi);
    let sandbox = thinking_with(&model, &[]);
    let ann = sandbox.sign_up().await;
    let answer = ann.say("", "buy milk").await;
    assert!(answer.usage.is_some());
    // Who resumes after everything but the last event has seen no part of the sum.
    let resumed = async |after_seq| {
        let request = ResumeTurnRequest { turn_id: answer.turn_id.clone(), after_seq };
        let mut events = ann.chat().resume_turn(ann.request(request)).await.unwrap().into_inner();
        let mut last = None;
        while let Some(event) = events.message().await.unwrap() {
            last = Some(event);
        }
        last.unwrap()
    };
    let last = resumed(0).await;
    assert_eq!(resumed(last.seq - 1).await, last);
    let Some(Event::Replied(replied)) = last.event else { panic!("{last:?}") };
    assert_eq!(replied.usage, answer.usage);
    let request = ListMessagesRequest { conversation_id: answer.conversation_id.clone(), ..Default::default() };
    let listed = ann.chat().list_messages(ann.request(request)).await.unwrap().into_inner().messages;
    assert_eq!(listed.iter().map(|message| message.usage).collect::<Vec<_>>(), [None, answer.usage]);
    // The planner costs nothing, and nobody says that it cost nothing.
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    assert_eq!(ann.say("", "add buy milk").await.usage, None);
}

#[tokio::test]
async fn r_130_a_turn_that_is_cancelled_while_the_model_writes_stops_the_model() {
    let model = ModelServer::start(Dialect::OpenAi, |_| Reply::Fault(Fault::Slow(Duration::from_millis(20))));
    let sandbox = thinking_with(&model, &[]);
    let ann = sandbox.sign_up().await;
    let mut events = stream(&ann, "hello").await;
    let turn_id = loop {
        let event = events.message().await.unwrap().unwrap();
        if matches!(event.event, Some(Event::TextDelta(_))) {
            break event.turn_id;
        }
    };
    let cancel = CancelTurnRequest { turn_id, ..Default::default() };
    let answer = ann.chat().cancel_turn(ann.request(cancel)).await.unwrap().into_inner();
    assert_eq!(answer.response, "Stopped. Nothing was changed.");
    let patience = std::time::Instant::now() + Duration::from_secs(5);
    while model.abandoned() == 0 {
        assert!(std::time::Instant::now() < patience, "the model writes on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn r_083_who_has_spent_the_tokens_of_a_day_is_told_so_and_the_conversation_is_intact() {
    let model = adding(Dialect::OpenAi);
    let cost = 2 * (COST.0 + COST.1);
    let mut sandbox = thinking_with(&model, &[("ERRAND_LLM_TOKENS_PER_DAY", &(cost + 1).to_string())]);
    let ann = sandbox.sign_up().await;
    let conversation = ann.say("", "buy milk").await.conversation_id;
    // Below the limit by one: this turn is begun, and finished.
    ann.say(&conversation, "buy eggs").await;
    let asked = model.asked().len();
    let said = |person: &Person| {
        let request = ListMessagesRequest { conversation_id: conversation.clone(), ..Default::default() };
        let (mut chat, request) = (person.chat(), person.request(request));
        async move { chat.list_messages(request).await.unwrap().into_inner().messages.len() }
    };
    let spent = refused(Code::ResourceExhausted, "TOKEN_BUDGET_SPENT");
    assert_eq!(reason(try_to_say(&ann, &conversation, "buy bread").await), spent);
    assert_eq!((model.asked().len(), said(&ann).await), (asked, 4));
    // It holds after a restart, for whatever replica answers; and for nobody else.
    sandbox.kill_and_restart();
    let ann = sandbox.log_in(&ann.user.email).await.unwrap();
    for _ in 0..4 {
        assert_eq!(reason(try_to_say(&ann, "", "buy bread").await), spent);
    }
    assert_eq!(said(&ann).await, 4);
    let bob = sandbox.sign_up().await;
    assert_eq!(bob.say("", "buy tea").await.response, "I have added it.");
}

#[tokio::test]
async fn r_083_one_answer_may_not_have_more_tokens_than_are_left_of_the_day() {
    let model = adding(Dialect::OpenAi);
    let sandbox = thinking_with(&model, &[("ERRAND_LLM_TOKENS_PER_DAY", "9000"), ("ERRAND_LLM_ANSWER_TOKENS", "8000")]);
    let ann = sandbox.sign_up().await;
    ann.say("", "buy milk").await;
    let most: Vec<u64> = model.asked().iter().map(|asked| asked.most_tokens().unwrap()).collect();
    let [first, second] = most.as_slice() else { panic!("{most:?}") };
    // What is read counts, too.
    assert!((256..8000).contains(first), "{most:?}");
    assert!(*second + COST.0 + COST.1 <= *first, "{most:?}");
}

#[tokio::test]
async fn an_answer_that_comes_to_the_length_that_it_may_have_says_so_and_does_nothing_by_half() {
    let model = ModelServer::start(Dialect::Vllm, |asked| match asked.said() {
        "talk" => Reply::Text("on and ".repeat(1000)),
        _ => {
            let task = |number: usize| json!({ "task": { "title": format!("a task with number {number}") } });
            let call = |count: usize| {
                errand_model::Call::new("add_tasks", json!({ "requests": (0..count).map(task).collect::<Vec<_>>() }))
            };
            Reply::Calls(vec![call(1), call(100)])
        }
    });
    model.set(|quirks| quirks.keeps_limit = true);
    let sandbox = thinking_with(&model, &[("ERRAND_LLM_ANSWER_TOKENS", "256")]);
    let ann = sandbox.sign_up().await;
    let answer = ann.say("", "talk").await;
    assert!(answer.response.starts_with("on and on and"), "{}", answer.response);
    assert!(answer.response.ends_with("came to the greatest length that it may have.]"), "{}", answer.response);
    let answer = ann.say(&answer.conversation_id, "add a hundred").await;
    assert!(answer.response.contains("so I left that undone"), "{}", answer.response);
    assert!(answer.tool_calls.is_empty() && ann.list().await.is_empty());
}
