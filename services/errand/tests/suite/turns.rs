//! Battery 2.5, 2.6 and 2.12 through the assistant: a turn of a language model that is asked for twice, that somebody
//! speaks into, and whose client goes away.
//!
//! A turn does not end with its client: it goes on, and its answer is there for whoever asks again. What ends it is
//! CancelTurn. So where the battery asks that a call's end stops what is below it, here the client is told in time,
//! and the turn has one end all the same.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use errand_model::{Dialect, Gate, ModelServer, Reply};
use errand_proto::chat::{
    CreateConversationRequest, ListMessagesRequest, ResumeTurnRequest, Role, SendMessageRequest, SendMessageResponse,
    turn_event::Event,
};
use serde_json::json;
use tonic::{Code, Status};

use crate::sandbox::{
    Person, Sandbox,
    door::{Call, Door},
    reason, refused, rounds,
};

/// How a client of Connect says how long it waits.
const IN_CONNECT: (&str, &str) = ("connect-timeout-ms", "500");

/// A model that adds what it is told to, and holds its breath before it says so.
struct Model {
    server: ModelServer,
    gate: Arc<Gate>,
}

impl Model {
    fn start() -> Self {
        let gate = Arc::new(Gate::default());
        let here = gate.clone();
        let server = ModelServer::start(Dialect::OpenAi, move |asked| match asked.results().as_slice() {
            [] => Reply::call("add_tasks", json!({ "requests": [{ "task": { "title": asked.said() } }] })),
            _ => Reply::Paused("I have ".to_owned(), here.clone(), "added it.".to_owned()),
        });
        Self { server, gate }
    }

    fn sandbox(&self) -> Sandbox {
        Sandbox::with(&[("ERRAND_LLM_BASE_URL", &self.server.base_url()), ("ERRAND_LLM_MODEL", "scripted")])
    }

    /// Waits until it has been asked so often.
    async fn is_asked(&self, times: usize) {
        let patience = Instant::now() + Duration::from_secs(20);
        while self.server.asked().len() < times {
            assert!(Instant::now() < patience, "asked {} times", self.server.asked().len());
            tokio::task::yield_now().await;
        }
    }
}

async fn conversation(person: &Person) -> String {
    let request = person.request(CreateConversationRequest::default());
    person.chat().create_conversation(request).await.unwrap().into_inner().id
}

fn send(conversation: &str, content: &str, key: &str) -> SendMessageRequest {
    SendMessageRequest {
        conversation_id: conversation.to_owned(),
        content: content.to_owned(),
        request_id: key.to_owned(),
        ..Default::default()
    }
}

async fn sent(person: Person, request: SendMessageRequest) -> Result<SendMessageResponse, Status> {
    Ok(person.chat().send_message(person.request(request)).await?.into_inner())
}

/// Who said what, in order.
async fn messages(person: &Person, conversation: &str) -> Vec<(Role, String)> {
    let request =
        ListMessagesRequest { conversation_id: conversation.to_owned(), page_size: 200, ..Default::default() };
    let listed = person.chat().list_messages(person.request(request)).await.unwrap().into_inner().messages;
    listed.into_iter().map(|message| (message.role(), message.content)).collect()
}

fn said(content: &str) -> (Role, String) {
    (Role::User, content.to_owned())
}

fn added() -> (Role, String) {
    (Role::Assistant, "I have added it.".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_069_a_message_that_is_repeated_while_the_model_writes_and_after_a_crash_is_one_turn() {
    let model = Model::start();
    let mut sandbox = model.sandbox();
    let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    let chat = conversation(&ann).await;
    let request = send(&chat, "buy milk", "key");
    let mut repeated = vec![tokio::spawn(sent(ann.clone(), request.clone()))];
    // The call of the tool, then the words that it waits in.
    model.is_asked(2).await;
    repeated.extend((0..rounds(10, 50)).map(|_| tokio::spawn(sent(ann.clone(), request.clone()))));
    assert_eq!(ann.titles().await, ["buy milk"], "the tool was called before the model speaks");
    model.gate.open();
    let mut answers = Vec::new();
    for answer in repeated {
        answers.push(answer.await.unwrap().unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    sandbox.kill_and_restart();
    let ann = sandbox.log_in("ann@example.com").await.unwrap();
    assert_eq!(sent(ann.clone(), request).await.unwrap(), answers[0]);
    assert_eq!(messages(&ann, &chat).await, [said("buy milk"), added()]);
    assert_eq!((ann.titles().await, model.server.asked().len()), (vec!["buy milk".to_owned()], 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_075_who_speaks_while_the_model_writes_is_refused_and_nothing_is_interleaved() {
    let model = Model::start();
    let sandbox = model.sandbox();
    let ann = sandbox.sign_up().await;
    let (chat, other) = (conversation(&ann).await, conversation(&ann).await);
    let first = tokio::spawn(sent(ann.clone(), send(&chat, "buy milk", "")));
    model.is_asked(2).await;
    // Whichever replica is asked, by either rpc.
    for _ in 0..rounds(4, 40) {
        let in_progress = refused(Code::Aborted, "TURN_IN_PROGRESS");
        assert_eq!(reason(sent(ann.clone(), send(&chat, "buy eggs", "eggs")).await), in_progress);
        let stream = ann.chat().stream_message(ann.request(send(&chat, "buy eggs", "eggs"))).await;
        assert_eq!(reason(stream.map(drop)), in_progress);
    }
    assert_eq!(messages(&ann, &chat).await, [said("buy milk")], "who was refused has said nothing");
    // Another conversation of the same person goes on meanwhile.
    let beside = tokio::spawn(sent(ann.clone(), send(&other, "buy tea", "")));
    model.is_asked(4).await;
    model.gate.open();
    first.await.unwrap().unwrap();
    beside.await.unwrap().unwrap();
    // What was refused was not used up: the same key is good for the same words now.
    sent(ann.clone(), send(&chat, "buy eggs", "eggs")).await.unwrap();
    assert_eq!(messages(&ann, &chat).await, [said("buy milk"), added(), said("buy eggs"), added()]);
    assert_eq!(messages(&ann, &other).await, [said("buy tea"), added()]);
    let mut titles = ann.titles().await;
    titles.sort();
    assert_eq!(titles, ["buy eggs", "buy milk", "buy tea"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_129_a_client_of_half_a_second_is_told_in_time_while_the_model_still_writes() {
    let model = Model::start();
    let sandbox = model.sandbox();
    let ann = sandbox.sign_up().await;
    let chat = conversation(&ann).await;
    let request = json!({ "conversationId": chat, "content": "buy milk", "requestId": "key" });
    // The first begins the turn, and the second finds it.
    for (door, header, http) in [(Door::Grpc, ("grpc-timeout", "500m"), 200), (Door::ConnectJson, IN_CONNECT, 504)] {
        let mut call = Call::new("SendMessage", request.clone(), Some(ann.token()));
        call.headers = vec![(header.0, header.1.to_owned())];
        let began = Instant::now();
        let told = door.call(sandbox.address, &call).await;
        let took = began.elapsed();
        assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&took), "{door:?} after {took:?}");
        assert_eq!((told.failure.unwrap().code, told.http), (Code::DeadlineExceeded as i64, http), "{door:?}");
    }
    model.gate.open();
    assert_eq!(sent(ann.clone(), send(&chat, "buy milk", "key")).await.unwrap().response, "I have added it.");
    assert_eq!(messages(&ann, &chat).await, [said("buy milk"), added()]);
    assert_eq!((ann.titles().await.len(), model.server.asked().len()), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_130_a_client_that_goes_away_does_not_stop_its_turn_and_finds_the_answer_later() {
    let model = Model::start();
    let sandbox = model.sandbox();
    let ann = sandbox.sign_up().await;
    let chat = conversation(&ann).await;
    let mut events =
        ann.chat().stream_message(ann.request(send(&chat, "buy milk", "milk"))).await.unwrap().into_inner();
    let (turn_id, seq) = loop {
        let event = events.message().await.unwrap().unwrap();
        if matches!(event.event, Some(Event::ToolFinished(_))) {
            break (event.turn_id, event.seq);
        }
    };
    model.is_asked(2).await;
    drop(events);
    // Nobody waits, and the model is still heard.
    assert_eq!(messages(&ann, &chat).await, [said("buy milk")]);
    model.gate.open();
    let resume = ResumeTurnRequest { turn_id, after_seq: seq };
    let mut events = ann.chat().resume_turn(ann.request(resume)).await.unwrap().into_inner();
    let mut replied = None;
    while let Some(event) = events.message().await.unwrap() {
        if let Some(Event::Replied(reply)) = event.event {
            replied = Some(reply.response);
        }
    }
    assert_eq!(replied.as_deref(), Some("I have added it."));
    assert_eq!(messages(&ann, &chat).await, [said("buy milk"), added()]);
    assert_eq!((model.server.asked().len(), model.server.abandoned()), (2, 0));
}
