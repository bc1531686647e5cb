//! Answering a question and taking a turn back by their ids, through the whole service.

use jiff::SignedDuration;

use super::{
    approval::{eager, fifty},
    *,
};
use crate::{
    domain::{approval::DECLINED, turn::undone},
    testing::now,
};

fn decision(asked: &Answered, is_yes: bool, request: &str) -> Decision {
    let hash = crate::domain::approval::question(&asked.events).unwrap().hash.clone();
    let request = (!request.is_empty()).then(|| named(request, "x").unwrap());
    Decision { turn: asked.turn, hash, is_yes, time_zone: "UTC".to_owned(), request }
}

fn refused_with(answer: Result<impl std::fmt::Debug, Error>) -> (Code, &'static str) {
    code_and_reason(answer.unwrap_err())
}

impl World {
    async fn decide(&self, decision: Decision) -> Result<Answered, Error> {
        self.app.decide(user(1), &voice(), decision).await
    }

    async fn undo(&self, turn: Uuid, request: &str) -> Result<Undone, Error> {
        self.app.undo(user(1), &voice(), turn, "UTC".to_owned(), named(request, "x")).await
    }
}

#[tokio::test]
async fn a_yes_by_id_is_a_yes_once_and_repeated_it_answers_the_same() {
    let file = File::new();
    let world = fifty(&file);
    let asked = world.send(say(None, "delete everything")).await.unwrap();
    let thought = world.model.asked();
    let (chat, question) = world.app.check_decision(user(1), &decision(&asked, true, "")).await.unwrap();
    assert_eq!((chat, question.affected.len()), (asked.conversation, 50));
    assert_eq!(world.task.made(), 50, "checked, and nothing done");
    let done = world.decide(decision(&asked, true, "y")).await.unwrap();
    assert_eq!(done.text, "Deleted 50 tasks. Say \"undo\" to take that back.");
    assert_eq!((world.task.made(), world.model.asked()), (0, thought), "no model had a part in it");
    let again = world.decide(decision(&asked, true, "y")).await.unwrap();
    assert_eq!((again.turn, again.text), (done.turn, done.text));
    let ended = (Code::FailedPrecondition, "APPROVAL_ENDED");
    assert_eq!(refused_with(world.decide(decision(&asked, true, "z")).await), ended);
    assert_eq!(refused_with(world.app.check_decision(user(1), &decision(&asked, true, "")).await), ended);
    let said = world.said(asked.conversation).await;
    assert_eq!(said[2], (Role::User, "Yes".to_owned()));
    assert_eq!((said.len(), world.task.tasks().taken.len()), (4, 1));
    world.close().await;
}

#[tokio::test]
async fn a_no_by_id_leaves_everything() {
    let file = File::new();
    let world = fifty(&file);
    let asked = world.send(say(None, "delete everything")).await.unwrap();
    assert_eq!(world.decide(decision(&asked, false, "n")).await.unwrap().text, DECLINED);
    assert_eq!(refused_with(world.decide(decision(&asked, true, "y")).await).1, "APPROVAL_ENDED");
    assert_eq!(world.task.made(), 50);
    world.close().await;
}

#[tokio::test]
async fn a_yes_by_id_is_bound_to_what_was_asked_and_to_its_moment() {
    let file = File::new();
    let world = fifty(&file);
    let asked = world.send(say(None, "delete everything")).await.unwrap();
    let other = Decision { hash: "0".repeat(64), ..decision(&asked, true, "") };
    assert_eq!(refused_with(world.decide(other).await), (Code::FailedPrecondition, "APPROVAL_MISMATCH"));
    let nobodys = Decision { turn: Uuid::from_u128(5), ..decision(&asked, true, "") };
    assert_eq!(refused_with(world.decide(nobodys).await), (Code::NotFound, "TURN_NOT_FOUND"));
    let foreign = world.app.decide(user(2), &voice(), decision(&asked, true, "")).await;
    assert_eq!(refused_with(foreign), (Code::NotFound, "TURN_NOT_FOUND"));
    let moved_on = world.send(say(Some(asked.conversation), "what a day")).await.unwrap();
    assert_eq!(refused_with(world.decide(decision(&asked, true, "")).await).1, "APPROVAL_ENDED");
    let nothing = Decision { turn: moved_on.turn, ..decision(&asked, true, "") };
    assert_eq!(refused_with(world.decide(nothing).await), (Code::FailedPrecondition, "APPROVAL_NOT_FOUND"));
    assert_eq!(world.task.made(), 50);
    world.close().await;
}

#[tokio::test]
async fn a_yes_by_id_is_too_late_after_ten_minutes_but_a_repeated_one_never() {
    let file = File::new();
    let clock = Arc::new(errand_chassis::clock::ManualClock::new(now()));
    let task = FakeTask::default();
    task.fill(50);
    let world = timed(Arc::new(file.open()), Arc::new(Puppet::new(eager)), &task, 8, clock.clone());
    let asked = world.send(say(None, "delete everything")).await.unwrap();
    clock.advance(SignedDuration::from_mins(10));
    let expired = (Code::FailedPrecondition, "APPROVAL_EXPIRED");
    assert_eq!(refused_with(world.app.check_decision(user(1), &decision(&asked, true, "")).await), expired);
    assert_eq!(refused_with(world.decide(decision(&asked, true, "late")).await), expired);
    assert_eq!(refused_with(world.decide(decision(&asked, true, "late")).await), expired);
    assert_eq!(task.made(), 50);
    let asked = world.send(say(Some(asked.conversation), "delete everything")).await.unwrap();
    world.decide(decision(&asked, true, "in time")).await.unwrap();
    clock.advance(SignedDuration::from_mins(11));
    assert!(world.decide(decision(&asked, true, "in time")).await.unwrap().text.starts_with("Deleted 50 tasks."));
    world.close().await;
}

#[tokio::test]
async fn a_change_before_the_yes_by_id_asks_anew_with_a_new_hash() {
    let file = File::new();
    let world = fifty(&file);
    let asked = world.send(say(None, "delete everything")).await.unwrap();
    let some_task = world.task.tasks().made.keys().next().cloned().unwrap();
    world.task.tasks().made.get_mut(&some_task).unwrap().etag = "2".to_owned();
    let again = world.decide(decision(&asked, true, "y")).await.unwrap();
    assert!(again.text.starts_with("Something has changed since I asked"), "{}", again.text);
    assert_ne!(decision(&again, true, "").hash, decision(&asked, true, "").hash);
    assert_eq!(world.task.made(), 50);
    assert!(world.decide(decision(&again, true, "y2")).await.unwrap().text.starts_with("Deleted 50 tasks."));
    world.close().await;
}

#[tokio::test]
async fn r_070_of_many_who_say_yes_at_once_one_is_heard() {
    for kept in Kept::each().await {
        let task = FakeTask::default();
        task.fill(50);
        let world = world(kept.open().await, Arc::new(Puppet::new(eager)), &task, 32);
        let asked = world.send(say(None, "delete everything")).await.unwrap();
        let answers = (0..16).map(|n| world.decide(decision(&asked, true, &format!("y{n}"))));
        let answers = futures_util::future::join_all(answers).await;
        let (heard, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!((heard.len(), task.made(), task.tasks().taken.len()), (1, 0, 1));
        for refused in refused {
            let (_, reason) = code_and_reason(refused.unwrap_err());
            assert!(["APPROVAL_ENDED", "TURN_IN_PROGRESS"].contains(&reason), "{reason}");
        }
        world.close().await;
    }
}

#[tokio::test]
async fn a_turn_is_taken_back_by_id_once_and_a_preview_does_nothing() {
    let file = File::new();
    let world = fifty(&file);
    let asked = world.send(say(None, "delete everything")).await.unwrap();
    let nothing = world.undo(asked.turn, "u0").await;
    assert_eq!(refused_with(nothing), (Code::NotFound, "CHANGES_NOT_FOUND"));
    let done = world.decide(decision(&asked, true, "")).await.unwrap();
    let said = world.said(asked.conversation).await.len();
    let preview = world.app.preview_undo(user(1), &voice(), done.turn).await.unwrap();
    assert_eq!((preview.text.as_str(), preview.turn), ("50 tasks would be as they were before.", None));
    assert_eq!((world.task.made(), world.said(asked.conversation).await.len()), (0, said));

    let thought = world.model.asked();
    let undone_ = world.undo(done.turn, "u").await.unwrap();
    assert_eq!((undone_.text.as_str(), world.task.made()), ("Taken back: 50 tasks are as they were before.", 50));
    assert_eq!(undone_.conversation, asked.conversation);
    let again = world.undo(done.turn, "u").await.unwrap();
    assert_eq!(again, undone_);
    assert_eq!((world.task.tasks().undone.len(), world.model.asked()), (1, thought), "once, and no model");
    let events = world.app.turn(user(1), undone_.turn.unwrap()).await.unwrap().events;
    assert_eq!(undone(&events, 0), Some(done.turn));
    let foreign = world.app.undo(user(2), &voice(), done.turn, "UTC".to_owned(), None).await;
    assert_eq!(refused_with(foreign), (Code::NotFound, "TURN_NOT_FOUND"));
    world.close().await;
}

#[tokio::test]
async fn taking_back_an_undo_can_be_taken_back_by_a_word() {
    let file = File::new();
    let world = fifty(&file);
    let asked = world.send(say(None, "delete everything")).await.unwrap();
    let done = world.decide(decision(&asked, true, "")).await.unwrap();
    let undone = world.undo(done.turn, "u").await.unwrap();
    let redone = world.undo(undone.turn.unwrap(), "r").await.unwrap();
    world.send(say(Some(asked.conversation), "undo")).await.unwrap();
    let expected = [done.turn, undone.turn.unwrap(), redone.turn.unwrap()].map(|turn| turn.to_string());
    assert_eq!(world.task.tasks().undone, expected);
    world.close().await;
}

#[tokio::test]
async fn r_117_an_undo_while_the_tasks_are_away_is_refused_and_works_later() {
    let file = File::new();
    let world = fifty(&file);
    let asked = world.send(say(None, "delete everything")).await.unwrap();
    let done = world.decide(decision(&asked, true, "")).await.unwrap();
    world.task.tasks().is_down = true;
    assert_eq!(refused_with(world.undo(done.turn, "u").await), (Code::Unavailable, "UNAVAILABLE"));
    assert_eq!(world.said(asked.conversation).await.len(), 4, "nothing was said");
    world.task.tasks().is_down = false;
    world.undo(done.turn, "u").await.unwrap();
    assert_eq!(world.task.made(), 50);
    world.close().await;
}
