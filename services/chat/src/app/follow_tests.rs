use std::{sync::Arc, time::Duration};

use errand_chassis::clock::Clock;
use serde_json::json;
use tonic::Code;

use super::*;
use crate::{
    app::tests::{World, code_and_reason, repeatable, say, simple, voice, world},
    model::Step,
    testing::{FakeTask, File, Puppet, StillClock, busy_model, call, named, refusal, results, user},
};

fn until() -> Timestamp {
    StillClock.now() + jiff::SignedDuration::from_mins(15)
}

async fn stream(world: &World, say: Say) -> Follower {
    world.app.stream(user(1), voice(), say, until()).await.unwrap()
}

async fn resume(world: &World, turn: Uuid, after: usize) -> Follower {
    world.app.resume(user(1), voice(), turn, after, until()).await.unwrap()
}

/// The rest of a stream: the kinds of its events by their steps, and how it ends.
async fn rest(follower: &mut Follower) -> (Vec<(usize, &'static str)>, Option<Next>) {
    let mut seen = Vec::new();
    loop {
        match follower.next().await {
            Some(Next::Event { step, event, .. }) => seen.push((step, event.kind())),
            end => return (seen, end),
        }
    }
}

const WHOLE: [&str; 8] = [
    "turn_started",
    "model_answered",
    "tool_finished",
    "tool_finished",
    "model_answered",
    "tool_finished",
    "model_answered",
    "turn_replied",
];

fn whole(from: usize) -> Vec<(usize, &'static str)> {
    WHOLE.iter().copied().enumerate().skip(from).collect()
}

#[tokio::test]
async fn a_stream_has_every_event_once_in_order_and_ends_after_the_answer() {
    let file = File::new();
    let world = simple(&file, busy_model());
    let mut follower = stream(&world, say(None, "add milk and eggs")).await;
    let (seen, end) = rest(&mut follower).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(seen, whole(0));
    world.close().await;
}

#[tokio::test]
async fn a_turn_is_resumed_after_any_of_its_events() {
    let file = File::new();
    let world = simple(&file, busy_model());
    let answered = world.send(say(None, "add milk and eggs")).await.unwrap();
    for after in 0..=WHOLE.len() {
        let (seen, end) = rest(&mut resume(&world, answered.turn, after).await).await;
        assert!(end.is_none(), "{end:?}");
        assert_eq!(seen, whole(after));
    }
    let beyond = world.app.resume(user(1), voice(), answered.turn, 9, until()).await.unwrap_err();
    assert_eq!(code_and_reason(beyond), (Code::InvalidArgument, "INVALID_FIELDS"));
    let foreign = world.app.resume(user(2), voice(), answered.turn, 0, until()).await.unwrap_err();
    assert_eq!(code_and_reason(foreign), (Code::NotFound, "TURN_NOT_FOUND"));
    world.close().await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_does_not_stop_the_turn() {
    let file = File::new();
    let world = simple(&file, Puppet::saying("hi").waiting());
    let mut follower = stream(&world, repeatable("hello")).await;
    assert!(matches!(follower.next().await, Some(Next::Event { step: 0, .. })));
    let turn = follower.turn();
    drop(follower);
    world.model.gate.add_permits(1);
    let (seen, end) = rest(&mut resume(&world, turn, 1).await).await;
    assert_eq!((seen.len(), end.is_none(), world.model.asked()), (2, true, 1));
    world.close().await;
}

#[tokio::test]
async fn r_114_a_drain_hands_the_stream_over_and_the_next_process_finishes_the_turn() {
    let file = File::new();
    let first = simple(&file, Puppet::saying("hi").waiting());
    let mut follower = stream(&first, repeatable("hello")).await;
    assert!(matches!(follower.next().await, Some(Next::Event { step: 0, .. })));
    first.asked(1).await;
    first.drain.begin();
    let (seen, end) = rest(&mut follower).await;
    assert!(seen.is_empty() && matches!(end, Some(Next::Handover(1))), "{end:?}");
    assert!(follower.next().await.is_none(), "nothing after the handover");
    let turn = follower.turn();
    drop(follower);
    first.close().await;
    let second = simple(&file, Puppet::saying("hi"));
    let (seen, end) = rest(&mut resume(&second, turn, 1).await).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(seen, [(1, "model_answered"), (2, "turn_replied")]);
    second.close().await;
}

#[tokio::test]
async fn a_token_that_is_refused_ends_the_stream_and_a_new_one_goes_on() {
    let file = File::new();
    let world = simple(&file, busy_model());
    world.task.tasks().refusals.push_back(refusal(Code::Unauthenticated, "TOKEN_EXPIRED"));
    let mut follower = stream(&world, say(None, "add milk and eggs")).await;
    let (seen, end) = rest(&mut follower).await;
    let Some(Next::Failed(error)) = end else { panic!("{end:?}") };
    assert_eq!(code_and_reason(error), (Code::Unauthenticated, "TOKEN_EXPIRED"));
    assert_eq!(seen.len(), 2);
    let (seen, end) = rest(&mut resume(&world, follower.turn(), 2).await).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(seen, whole(2));
    world.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_token() {
    let file = File::new();
    let world = simple(&file, Puppet::saying("hi").waiting());
    let soon = StillClock.now() + jiff::SignedDuration::from_secs(1);
    let mut follower = world.app.stream(user(1), voice(), say(None, "hello"), soon).await.unwrap();
    let (_, end) = tokio::time::timeout(Duration::from_secs(60), rest(&mut follower)).await.unwrap();
    assert!(matches!(end, Some(Next::Handover(_))), "{end:?}");
    world.model.gate.add_permits(1);
}

#[tokio::test]
async fn a_failed_turn_ends_its_stream_with_the_reason() {
    let file = File::new();
    let world = simple(&file, Puppet::new(|_| Err(crate::model::ModelError::NothingToAnswer)));
    let (seen, end) = rest(&mut stream(&world, say(None, "hello")).await).await;
    let Some(Next::Failed(error)) = end else { panic!("{end:?}") };
    assert_eq!((seen.len(), code_and_reason(error)), (1, (Code::Unavailable, "TURN_FAILED")));
    world.close().await;
}

#[tokio::test]
async fn a_turn_that_is_cancelled_while_the_model_thinks_ends_at_once_and_says_so() {
    let file = File::new();
    let world = simple(&file, Puppet::saying("hi").waiting());
    let mut follower = stream(&world, repeatable("hello")).await;
    world.asked(1).await;
    let turn = follower.turn();
    let answered = world.app.cancel(user(1), &voice(), turn, named("c", "x")).await.unwrap();
    assert_eq!(answered.text, "Stopped. Nothing was changed.");
    let (seen, end) = rest(&mut follower).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(seen, [(0, "turn_started"), (1, "turn_cancelled"), (2, "turn_replied")]);
    assert_eq!(world.app.cancel(user(1), &voice(), turn, named("c", "x")).await.unwrap(), answered, "a retry");
    let again = world.app.cancel(user(1), &voice(), turn, None).await.unwrap_err();
    assert_eq!(code_and_reason(again), (Code::FailedPrecondition, "TURN_ENDED"));
    let foreign = world.app.cancel(user(2), &voice(), turn, None).await.unwrap_err();
    assert_eq!(code_and_reason(foreign), (Code::NotFound, "TURN_NOT_FOUND"));
    world.close().await;
}

#[tokio::test]
async fn a_cancelled_turn_stops_before_its_next_action_and_tells_what_it_did() {
    let file = File::new();
    // It adds two tasks, and would go on after that.
    let model = Puppet::new(|transcript| {
        Ok(match results(transcript) {
            0 => Step::Call(vec![call("a", "add_tasks", json!({"requests": [{"task": {"title": "milk"}}]}))]),
            _ => Step::Call(vec![call("b", "add_tasks", json!({"requests": [{"task": {"title": "eggs"}}]}))]),
        })
    });
    let world = simple(&file, model.waiting());
    let mut follower = stream(&world, say(None, "add")).await;
    world.model.gate.add_permits(1);
    world.asked(2).await;
    let answered = world.app.cancel(user(1), &voice(), follower.turn(), None).await.unwrap();
    assert!(answered.text.starts_with("Stopped. One task was changed"), "{}", answered.text);
    assert_eq!(world.task.made(), 1);
    assert_eq!(rest(&mut follower).await.0.last(), Some(&(4, "turn_replied")));
    world.close().await;
}

#[tokio::test]
async fn a_turn_that_waits_is_cancelled_after_a_restart_without_doing_anything() {
    let file = File::new();
    let first = simple(&file, busy_model());
    first.task.tasks().refusals.push_back(refusal(Code::Unauthenticated, "TOKEN_EXPIRED"));
    let mut follower = stream(&first, say(None, "add")).await;
    let _ = rest(&mut follower).await;
    let turn = follower.turn();
    drop(follower);
    first.close().await;
    let second = simple(&file, busy_model());
    let answered = second.app.cancel(user(1), &voice(), turn, None).await.unwrap();
    assert_eq!(answered.text, "Stopped. Nothing was changed.");
    assert_eq!((second.task.made(), second.model.asked()), (0, 0));
    second.close().await;
}

#[tokio::test]
async fn a_turn_of_another_process_is_followed_and_taken_over_when_that_dies() {
    let file = File::new();
    let store: Arc<dyn crate::store::Store> = Arc::new(file.open());
    let task = FakeTask::default();
    let one = world(store.clone(), Arc::new(Puppet::saying("hi").waiting()), &task, 8);
    let two = world(store, Arc::new(Puppet::saying("hi")), &task, 8);
    let follower = stream(&one, repeatable("hello")).await;
    one.asked(1).await;
    let mut elsewhere = resume(&two, follower.turn(), 0).await;
    assert!(matches!(elsewhere.next().await, Some(Next::Event { step: 0, .. })));
    one.runner.close().await;
    let (seen, end) = rest(&mut elsewhere).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(seen, [(1, "model_answered"), (2, "turn_replied")]);
    assert_eq!(two.model.asked(), 1);
}

#[tokio::test]
async fn deleting_the_conversation_ends_what_goes_on_in_it() {
    let file = File::new();
    let world = simple(&file, Puppet::saying("hi").waiting());
    let conversation = world.app.create_conversation(user(1), String::new(), None, false).await.unwrap().id;
    let mut follower = stream(&world, say(Some(conversation), "hello")).await;
    world.asked(1).await;
    world.app.delete_conversation(user(1), conversation, named("d", "x"), false).await.unwrap();
    let (_, end) = rest(&mut follower).await;
    let Some(Next::Failed(error)) = end else { panic!("{end:?}") };
    assert_eq!(code_and_reason(error), (Code::NotFound, "TURN_NOT_FOUND"));
    world.model.gate.add_permits(1);
    world.close().await;
}
