//! What counts against the budget of a day, and what may be said when it is spent.

use jiff::SignedDuration;

use super::*;
use crate::domain::usage;

const COST: Usage = Usage { prompt: 60, completion: 40 };

/// A world in which one answer of the model is all that a day has.
fn poor(store: Arc<dyn Store>, model: Puppet, task: &FakeTask) -> World {
    let model = Puppet { cost: Some(COST), ..model };
    thrifty(store, Arc::new(model), task, 8, Arc::new(StillClock), Some(100))
}

fn is_spent<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::BudgetSpent { .. }))
}

#[tokio::test]
async fn r_083_an_answer_to_a_question_and_an_undo_are_heard_when_the_budget_is_spent() {
    for kept in Kept::each().await {
        let task = FakeTask::default();
        task.fill(50);
        let world = poor(kept.open().await, Puppet::new(super::approval::eager), &task);
        let asked = world.send(say(None, "delete everything")).await.unwrap();
        let (chat, models) = (Some(asked.conversation), world.model.asked());
        assert!(asked.text.starts_with("This will delete 50 of 50 tasks:"), "{}", asked.text);
        assert!(is_spent(&world.send(say(None, "yes")).await), "there is no question here");
        assert!(is_spent(&world.send(say(chat, "undo")).await), "there is nothing to take back");
        world.send(say(chat, "Yes, please")).await.unwrap();
        assert_eq!(task.made(), 0);
        assert!(is_spent(&world.send(say(chat, "yes")).await), "it was answered");
        assert!(is_spent(&world.send(say(chat, "undo that and tell me a story")).await), "a model would read that");
        let undone = world.send(say(chat, "undo")).await.unwrap();
        assert_eq!((undone.text.as_str(), task.made()), ("Taken back: 50 tasks are as they were before.", 50));
        assert_eq!(world.model.asked(), models, "no model has read any of it");
        world.close().await;
    }
}

#[tokio::test]
async fn r_083_approve_turn_and_undo_turn_work_when_the_budget_is_spent() {
    for kept in Kept::each().await {
        let task = FakeTask::default();
        task.fill(50);
        let world = poor(kept.open().await, Puppet::new(super::approval::eager), &task);
        let asked = world.send(say(None, "delete everything")).await.unwrap();
        assert!(is_spent(&world.send(say(None, "hello")).await));
        let hash = crate::domain::approval::question(&asked.events).unwrap().hash.clone();
        let zone = || "UTC".to_owned();
        let decision = Decision { turn: asked.turn, hash, is_yes: true, time_zone: zone(), request: None };
        let done = world.app.decide(user(1), &voice(), decision).await.unwrap();
        assert_eq!(task.made(), 0);
        let undone = world.app.undo(user(1), &voice(), done.turn, zone(), None).await.unwrap();
        assert_eq!((undone.turn.is_some(), task.made()), (true, 50));
        world.close().await;
    }
}

#[tokio::test]
async fn r_083_what_a_failed_answer_has_cost_is_counted() {
    let file = File::new();
    let model = Puppet::new(|_| Err(ModelError::Unavailable("its answer broke off".to_owned())));
    let world = poor(Arc::new(file.open()), model, &FakeTask::default());
    let Err(Error::TurnFailed { turn, .. }) = world.send(say(None, "hello")).await else { panic!() };
    let events = world.store.turn(user(1), turn).await.unwrap().unwrap().events;
    assert_eq!(usage::spent(&events), Some(COST));
    assert!(is_spent(&world.send(say(None, "hello")).await));
    world.close().await;
}

#[tokio::test]
async fn r_083_an_answer_that_is_cancelled_is_counted_for_by_what_was_heard_of_it() {
    let file = File::new();
    let model = Puppet { pieces: vec!["a text of forty bytes, which are ten of ", "them"], ..Puppet::saying("hi") };
    let world = poor(Arc::new(file.open()), model, &FakeTask::default());
    let until = crate::testing::now() + SignedDuration::from_mins(15);
    let mut follower = world.app.stream(user(1), voice(), say(None, "hello"), until).await.unwrap();
    world.model.pen.add_permits(1);
    while !matches!(follower.next().await, Some(Next::Words { .. })) {}
    let answered = world.app.cancel(user(1), &voice(), follower.turn(), None).await.unwrap();
    assert_eq!(answered.text, "Stopped. Nothing was changed.");
    assert_eq!(usage::spent(&answered.events), Some(Usage { prompt: 1, completion: 10 }));
    world.close().await;
}

#[tokio::test]
async fn r_083_a_model_is_told_how_much_its_user_has_left_each_time_that_it_is_asked() {
    for kept in Kept::each().await {
        let task = FakeTask::default();
        let model = Puppet { cost: Some(COST), ..crate::testing::busy_model() };
        let clock = Arc::new(StillClock);
        let world = thrifty(kept.open().await, Arc::new(model), &task, 8, clock.clone(), Some(250));
        world.send(say(None, "add milk and eggs")).await.unwrap();
        let left = |world: &World| world.model.read.lock().unwrap().iter().map(|read| read.left).collect::<Vec<_>>();
        assert_eq!(left(&world), [Some(250), Some(150), Some(50)]);
        world.close().await;
        let model = Puppet { cost: Some(COST), ..Puppet::saying("hi") };
        let world = thrifty(kept.open().await, Arc::new(model), &task, 8, clock, None);
        world.send(say(None, "hello")).await.unwrap();
        assert_eq!(left(&world), [None]);
        world.close().await;
    }
}
