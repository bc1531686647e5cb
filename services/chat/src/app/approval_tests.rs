//! Asking before something large is done, through the whole service.

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::{
    domain::approval::{DECLINED, EXPIRED},
    model::{Entry, Transcript},
    store::Ages,
    testing::call,
};

/// Lists, then deletes everything that it saw, on "delete everything"; takes the last turn back
/// whenever it can.
pub(super) fn eager(transcript: &Transcript) -> Result<Step, ModelError> {
    let said = transcript.entries.iter().rev().find_map(|entry| match entry {
        Entry::User(text) => Some(text.as_str()),
        _ => None,
    });
    let last = match transcript.entries.last() {
        Some(Entry::Result(result)) => Some(result),
        _ => None,
    };
    Ok(match (said, last) {
        (Some("delete everything"), None) => Step::Call(vec![call("l", "list_tasks", json!({"pageSize": 200}))]),
        (Some("delete everything"), Some(result)) if result.call_id == "l" => {
            let tasks = result.outcome.clone().unwrap()["tasks"].as_array().cloned().unwrap_or_default();
            let requests: Vec<_> =
                tasks.iter().map(|task| json!({"taskId": task["id"], "etag": task["etag"]})).collect();
            Step::Call(vec![call("d", "delete_tasks", json!({"requests": requests}))])
        }
        (Some(_), None) if transcript.last_turn.is_some() => {
            let turn = transcript.last_turn.unwrap_or_default().to_string();
            Step::Call(vec![call("u", "undo_turn", json!({"turnId": turn}))])
        }
        (_, Some(result)) => Step::Reply(match &result.outcome {
            Ok(_) => "Done.".to_owned(),
            Err(failure) => failure.reason.clone(),
        }),
        _ => Step::Reply("Hm?".to_owned()),
    })
}

pub(super) fn fifty(file: &File) -> World {
    let world = simple(file, Puppet::new(eager));
    world.task.fill(50);
    world
}

#[tokio::test]
async fn deleting_everything_is_asked_for_and_yes_does_it_and_undo_brings_it_back() {
    let file = File::new();
    let world = fifty(&file);
    let asked = world.send(say(None, "delete everything")).await.unwrap();
    assert!(asked.text.starts_with("This will delete 50 of 50 tasks:"), "{}", asked.text);
    assert_eq!(world.task.made(), 50);
    let chat = Some(asked.conversation);
    let thought = world.model.asked();
    let done = world.send(say(chat, "Yes!")).await.unwrap();
    assert_eq!(done.text, "Deleted 50 tasks. Say \"undo\" to take that back.");
    assert_eq!((world.task.made(), world.model.asked()), (0, thought), "no model had a part in it");
    let again = world.send(say(chat, "yes")).await.unwrap();
    assert_eq!(again.text, "APPROVAL_REQUIRED", "an answer counts once, and nobody said undo");
    let undone = world.send(say(chat, "undo that")).await.unwrap();
    let told = "Taken back: 50 tasks are as they were before.";
    assert_eq!((undone.text.as_str(), world.task.made()), (told, 50));
    assert_eq!(world.task.tasks().undone, [done.turn.to_string()]);
    assert_eq!(world.send(say(chat, "undo")).await.unwrap().text, "Hm?", "nothing is left to take back");
    world.close().await;
}

#[tokio::test]
async fn no_leaves_everything_and_other_words_end_the_question() {
    let file = File::new();
    let world = fifty(&file);
    let asked = world.send(say(None, "delete everything")).await.unwrap();
    let chat = Some(asked.conversation);
    assert_eq!(world.send(say(chat, "no, keep them")).await.unwrap().text, DECLINED);
    assert_eq!(world.send(say(chat, "yes")).await.unwrap().text, "Hm?", "the question is over");
    world.send(say(chat, "delete everything")).await.unwrap();
    assert_eq!(world.send(say(chat, "what a day")).await.unwrap().text, "Hm?");
    assert_eq!(world.send(say(chat, "yes")).await.unwrap().text, "Hm?");
    assert_eq!(world.task.made(), 50);
    let elsewhere = world.send(say(None, "yes")).await.unwrap();
    assert_eq!(elsewhere.text, "Hm?", "nor is it answered in another conversation");
    world.close().await;
}

#[tokio::test]
async fn a_change_in_between_asks_again() {
    let file = File::new();
    let world = fifty(&file);
    let asked = world.send(say(None, "delete everything")).await.unwrap();
    let chat = Some(asked.conversation);
    let some_task = world.task.tasks().made.keys().next().cloned().unwrap();
    world.task.tasks().made.get_mut(&some_task).unwrap().etag = "2".to_owned();
    let again = world.send(say(chat, "yes")).await.unwrap();
    assert!(again.text.starts_with("Something has changed since I asked"), "{}", again.text);
    assert!(again.text.contains("This will delete 50 of 50 tasks:"), "{}", again.text);
    assert_eq!(world.task.made(), 50);
    assert!(world.send(say(chat, "yes")).await.unwrap().text.starts_with("Deleted 50 tasks."));
    assert_eq!(world.task.made(), 0);
    world.close().await;
}

#[tokio::test]
async fn what_is_gone_meanwhile_is_not_asked_for_again() {
    let file = File::new();
    let world = fifty(&file);
    let asked = world.send(say(None, "delete everything")).await.unwrap();
    let some_task = world.task.tasks().made.keys().next().cloned().unwrap();
    world.task.tasks().made.remove(&some_task);
    let answered = world.send(say(Some(asked.conversation), "yes")).await.unwrap();
    assert_eq!(answered.text, crate::domain::approval::GONE);
    assert_eq!(world.task.made(), 49);
    world.close().await;
}

#[tokio::test]
async fn r_103_a_yes_is_carried_out_once_over_a_token_that_ran_out_and_a_restart() {
    let file = File::new();
    let first = fifty(&file);
    let asked = first.send(say(None, "delete everything")).await.unwrap();
    let yes = || Say { request: named("y", "yes"), ..say(Some(asked.conversation), "yes") };
    first.task.tasks().refusals.push_back(refusal(Code::Unauthenticated, "TOKEN_EXPIRED"));
    let parked = first.send(yes()).await.unwrap_err();
    assert_eq!(code_and_reason(parked), (Code::Unauthenticated, "TOKEN_EXPIRED"));
    let task = first.task.clone();
    first.close().await;
    let second = world(Arc::new(file.open()), Arc::new(Puppet::new(eager)), &task, 8);
    assert!(second.send(yes()).await.unwrap().text.starts_with("Deleted 50 tasks."));
    assert!(second.send(yes()).await.unwrap().text.starts_with("Deleted 50 tasks."));
    assert_eq!((task.made(), task.tasks().taken.len(), second.model.asked()), (0, 1, 0));
    second.close().await;
}

#[tokio::test]
async fn a_yes_that_comes_too_late_does_nothing_and_says_so() {
    let file = File::new();
    let clock = Arc::new(errand_chassis::clock::ManualClock::new(crate::testing::now()));
    let task = FakeTask::default();
    task.fill(50);
    let world = timed(Arc::new(file.open()), Arc::new(Puppet::new(eager)), &task, 8, clock.clone());
    let asked = world.send(say(None, "delete everything")).await.unwrap();
    clock.advance(SignedDuration::from_mins(10));
    assert_eq!(world.send(say(Some(asked.conversation), "yes")).await.unwrap().text, EXPIRED);
    assert_eq!(task.made(), 50);

    clock.advance(SignedDuration::from_hours(31 * 24));
    world.app.tidy(clock.now()).await.unwrap();
    let ages = Ages { answered: clock.now(), changed: clock.now() };
    assert!(world.store.tidy(ages).await.unwrap(), "everything old was let go");
    assert_eq!(world.said(asked.conversation).await.len(), 4, "messages stay");
    world.close().await;
}
