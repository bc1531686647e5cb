//! A turn as a client follows it: streamed, dropped, resumed, over the end of a process, cancelled;
//! and the conversations around it.

use errand_proto::chat::{
    CancelTurnRequest, Conversation, CreateConversationRequest, DeleteConversationRequest, GetConversationRequest,
    ListMessagesRequest, ResumeTurnRequest, SendMessageRequest, TurnEvent, UpdateConversationRequest,
    turn_event::Event,
};
use prost_types::FieldMask;
use tonic::{Code, Streaming};

use crate::sandbox::{Person, Sandbox, reason, refusal, refused};

fn message(conversation_id: &str, content: &str, request_id: &str) -> SendMessageRequest {
    SendMessageRequest {
        conversation_id: conversation_id.to_owned(),
        content: content.to_owned(),
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

async fn stream(person: &Person, request: SendMessageRequest) -> Streaming<TurnEvent> {
    person.chat().stream_message(person.request(request)).await.unwrap().into_inner()
}

async fn resume(person: &Person, turn_id: &str, after_seq: i32) -> Streaming<TurnEvent> {
    let request = ResumeTurnRequest { turn_id: turn_id.to_owned(), after_seq };
    person.chat().resume_turn(person.request(request)).await.unwrap().into_inner()
}

async fn rest(mut stream: Streaming<TurnEvent>) -> Vec<TurnEvent> {
    let mut events = Vec::new();
    while let Some(event) = stream.message().await.unwrap() {
        events.push(event);
    }
    events
}

fn answer(events: &[TurnEvent]) -> &str {
    match events.last().unwrap().event.as_ref().unwrap() {
        Event::Replied(replied) => &replied.response,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_streamed_turn_is_numbered_and_can_be_read_again_from_any_event() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let events = rest(stream(&ann, message("", "add buy milk", "one")).await).await;
    let numbers: Vec<i32> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=i32::try_from(events.len()).unwrap()).collect::<Vec<_>>());
    assert!(matches!(events[0].event, Some(Event::Started(_))), "{events:?}");
    assert!(events.iter().any(|event| matches!(event.event, Some(Event::ToolsCalled(_)))));
    assert!(events.iter().any(|event| matches!(event.event, Some(Event::ToolFinished(_)))));
    assert!(answer(&events).contains("buy milk"));
    let turn = events[0].turn_id.clone();
    for after in 0..=events.len() {
        let again = rest(resume(&ann, &turn, i32::try_from(after).unwrap()).await).await;
        assert_eq!(again, events[after..]);
    }
    // The same request is the same turn; nothing is said or done twice.
    assert_eq!(rest(stream(&ann, message("", "add buy milk", "one")).await).await, events);
    let sent = ann.chat().send_message(ann.request(message("", "add buy milk", "one"))).await.unwrap().into_inner();
    assert_eq!((sent.turn_id.as_str(), sent.response.as_str()), (turn.as_str(), answer(&events)));
    assert_eq!(ann.titles().await, ["buy milk"]);
    let bob = sandbox.sign_up().await;
    let foreign = ResumeTurnRequest { turn_id: turn, after_seq: 0 };
    let foreign = bob.chat().resume_turn(bob.request(foreign)).await;
    assert_eq!(reason(foreign), refused(Code::NotFound, "TURN_NOT_FOUND"));
}

#[tokio::test]
async fn a_stream_that_is_dropped_after_its_first_event_loses_nothing() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let mut first = stream(&ann, message("", "add buy milk", "")).await;
    let started = first.message().await.unwrap().unwrap();
    drop(first);
    let later = rest(resume(&ann, &started.turn_id, started.seq).await).await;
    assert_eq!(later[0].seq, 2);
    assert!(answer(&later).contains("buy milk"));
    assert_eq!(ann.titles().await, ["buy milk"]);
}

#[tokio::test]
async fn r_103_a_turn_is_read_and_finished_after_the_process_was_killed() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let mut first = stream(&ann, message("", "add buy milk", "one")).await;
    let started = first.message().await.unwrap().unwrap();
    sandbox.kill_and_restart();
    let ann = sandbox.log_in(&ann.user.email).await.unwrap();
    let later = rest(resume(&ann, &started.turn_id, 0).await).await;
    assert_eq!(later[0], started);
    assert!(answer(&later).contains("buy milk"));
    assert_eq!(ann.titles().await, ["buy milk"]);
}

#[tokio::test]
async fn a_turn_that_is_over_cannot_be_cancelled() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let turn_id = ann.say("", "add buy milk").await.turn_id;
    let cancel = |turn_id: &str| {
        let request = CancelTurnRequest { turn_id: turn_id.to_owned(), ..Default::default() };
        let request = ann.request(request);
        let mut chat = ann.chat();
        async move { chat.cancel_turn(request).await }
    };
    assert_eq!(reason(cancel(&turn_id).await), refused(Code::FailedPrecondition, "TURN_ENDED"));
    let unknown = "01890000-0000-7000-8000-000000000000";
    assert_eq!(reason(cancel(unknown).await), refused(Code::NotFound, "TURN_NOT_FOUND"));
    let beyond = ann.chat().resume_turn(ann.request(ResumeTurnRequest { turn_id, after_seq: 99 })).await;
    assert_eq!(refusal(beyond).fields, ["afterSeq"]);
}

#[tokio::test]
async fn a_conversation_is_renamed_and_deleted() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let turn = ann.say("", "add buy milk").await;
    let id = turn.conversation_id.clone();
    let get = GetConversationRequest { conversation_id: id.clone() };
    let found = ann.chat().get_conversation(ann.request(get.clone())).await.unwrap().into_inner();
    let update = |etag: &str, path: &str| UpdateConversationRequest {
        conversation: Some(Conversation {
            id: id.clone(),
            title: "Shopping".to_owned(),
            etag: etag.to_owned(),
            ..Default::default()
        }),
        update_mask: Some(FieldMask { paths: vec![path.to_owned()] }),
        ..Default::default()
    };
    let renamed = ann.chat().update_conversation(ann.request(update(&found.etag, "title"))).await.unwrap().into_inner();
    assert_eq!(renamed.title, "Shopping");
    let stale = ann.chat().update_conversation(ann.request(update(&found.etag, "title"))).await;
    assert_eq!(reason(stale), refused(Code::Aborted, "ETAG_MISMATCH"));
    let wrong = ann.chat().update_conversation(ann.request(update("", "create_time"))).await;
    assert_eq!(refusal(wrong).fields, ["updateMask"]);

    let delete =
        DeleteConversationRequest { conversation_id: id.clone(), request_id: "d".into(), ..Default::default() };
    for _ in 0..2 {
        ann.chat().delete_conversation(ann.request(delete.clone())).await.unwrap();
    }
    let gone = refused(Code::NotFound, "CONVERSATION_NOT_FOUND");
    assert_eq!(reason(ann.chat().get_conversation(ann.request(get)).await), gone);
    let list = ListMessagesRequest { conversation_id: id.clone(), ..Default::default() };
    assert_eq!(reason(ann.chat().list_messages(ann.request(list)).await), gone);
    let resumed = ResumeTurnRequest { turn_id: turn.turn_id, after_seq: 0 };
    let resumed = ann.chat().resume_turn(ann.request(resumed)).await;
    assert_eq!(reason(resumed), refused(Code::NotFound, "TURN_NOT_FOUND"));
    assert_eq!(ann.titles().await, ["buy milk"], "tasks stay");
    let empty = CreateConversationRequest::default();
    assert!(ann.chat().create_conversation(ann.request(empty)).await.is_ok());
}
