//! What a model is writing, heard in another process than the one it is asked by.

use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::{
    domain::turn::Answer,
    testing::{LateClock, Server, call, results},
};

const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens")
}

fn until() -> jiff::Timestamp {
    crate::testing::now() + SignedDuration::from_mins(15)
}

/// A model that writes this, piece by piece, as the test lets it.
fn writing() -> Puppet {
    Puppet { pieces: vec!["Hä", "llo ", "to all."], ..Puppet::saying("Hällo to all.") }.waiting()
}

/// The store as two processes have it.
async fn twice(kept: &Kept) -> [Arc<dyn Store>; 2] {
    let one = kept.open().await;
    match kept {
        Kept::File(_) => [one.clone(), one],
        Kept::Server(_) => [one, kept.open().await],
    }
}

/// Hears words until the text is this long, and holds them against what was heard before.
async fn hear(follower: &mut Follower, heard: &mut String, expected: &str) {
    while heard != expected {
        match soon(follower.next()).await {
            Some(Next::Words { words, .. }) => {
                assert!(!words.text.is_empty());
                if words.offset == 0 {
                    heard.clear();
                }
                assert_eq!(words.offset, heard.chars().count(), "no gap, and nothing twice: {words:?} after {heard:?}");
                heard.push_str(&words.text);
                assert!(expected.starts_with(heard.as_str()), "{heard:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The rest of a stream: the kinds of its events by their steps.
async fn rest(follower: &mut Follower, heard: &mut String) -> Vec<(usize, &'static str)> {
    let mut seen = Vec::new();
    loop {
        match soon(follower.next()).await {
            Some(Next::Event { step, event, .. }) => seen.push((step, event.kind())),
            Some(Next::Words { words, .. }) => {
                assert_eq!(words.offset, heard.chars().count(), "{words:?} after {heard:?}");
                heard.push_str(&words.text);
            }
            None => return seen,
            end => panic!("{end:?}"),
        }
    }
}

#[tokio::test]
async fn who_follows_in_another_process_hears_the_text_so_far_and_then_what_comes_after_it() {
    for kept in Kept::each().await {
        let task = FakeTask::default();
        let [here, there] = twice(&kept).await;
        let one = world(here, Arc::new(writing()), &task, 8);
        let two = world(there, Arc::new(Puppet::saying("no")), &task, 8);
        let mut near = one.app.stream(user(1), voice(), say(None, "hello"), until()).await.unwrap();
        assert!(matches!(soon(near.next()).await, Some(Next::Event { step: 0, .. })));
        one.model.pen.add_permits(2);
        let (mut shown, mut told) = (String::new(), String::new());
        hear(&mut near, &mut shown, "Hällo ").await;
        let mut far = two.app.resume(user(1), voice(), near.turn(), 1, until()).await.unwrap();
        hear(&mut far, &mut told, "Hällo ").await;
        // Another one, from the beginning.
        let mut late = two.app.resume(user(1), voice(), near.turn(), 0, until()).await.unwrap();
        assert!(matches!(soon(late.next()).await, Some(Next::Event { step: 0, .. })));
        hear(&mut late, &mut String::new(), "Hällo ").await;
        one.model.pen.add_permits(1);
        hear(&mut near, &mut shown, "Hällo to all.").await;
        hear(&mut far, &mut told, "Hällo to all.").await;
        one.model.gate.add_permits(1);
        for (follower, heard) in [(&mut near, &mut shown), (&mut far, &mut told)] {
            assert_eq!(rest(follower, heard).await, [(1, "model_answered"), (2, "turn_replied")]);
            assert_eq!(heard, "Hällo to all.");
        }
        assert_eq!(two.model.asked(), 0);
        let left = one.store.follow(user(1), near.turn(), 0).await.unwrap().unwrap();
        assert_eq!(left.text, None, "nothing is left of it");
        one.close().await;
        two.close().await;
    }
}

#[tokio::test]
async fn the_text_of_a_process_that_ends_is_heard_first_and_then_the_model_begins_anew() {
    for kept in Kept::each().await {
        let task = FakeTask::default();
        let [here, there] = twice(&kept).await;
        let one = world(here, Arc::new(writing()), &task, 8);
        let two = world(there, Arc::new(writing()), &task, 8);
        let mut near = one.app.stream(user(1), voice(), say(None, "hello"), until()).await.unwrap();
        assert!(matches!(soon(near.next()).await, Some(Next::Event { step: 0, .. })));
        one.model.pen.add_permits(2);
        hear(&mut near, &mut String::new(), "Hällo ").await;
        // It is kept before the process ends.
        let is_kept = async || one.store.follow(user(1), near.turn(), 1).await.unwrap().unwrap().text.is_some();
        let waiting = async {
            while !is_kept().await {
                tokio::task::yield_now().await;
            }
        };
        soon(waiting).await;
        one.runner.close().await;
        let mut far = two.app.resume(user(1), voice(), near.turn(), 1, until()).await.unwrap();
        let mut told = String::new();
        hear(&mut far, &mut told, "Hällo ").await;
        two.model.pen.add_permits(1);
        match soon(far.next()).await {
            Some(Next::Words { words, .. }) => assert_eq!((words.text.as_str(), words.offset), ("Hä", 0), "anew"),
            other => panic!("{other:?}"),
        }
        let mut told = "Hä".to_owned();
        two.model.pen.add_permits(2);
        hear(&mut far, &mut told, "Hällo to all.").await;
        two.model.gate.add_permits(1);
        assert_eq!(rest(&mut far, &mut told).await, [(1, "model_answered"), (2, "turn_replied")]);
        assert_eq!((told.as_str(), two.model.asked()), ("Hällo to all.", 1));
        two.close().await;
    }
}

/// Whoever is dead neither lets go of its lease nor says a word more.
#[test]
fn r_103_the_text_of_a_process_that_was_killed_is_heard_in_the_next() {
    let mine = tokio::runtime::Runtime::new().unwrap();
    let Some(server) = mine.block_on(Server::make()) else { return };
    let task = FakeTask::default();
    let theirs = tokio::runtime::Runtime::new().unwrap();
    let turn = theirs.block_on(async {
        let one = world(Arc::new(server.connect().await), Arc::new(writing()), &task, 8);
        let mut near = one.app.stream(user(1), voice(), repeatable("hello"), until()).await.unwrap();
        one.model.pen.add_permits(2);
        assert!(matches!(soon(near.next()).await, Some(Next::Event { step: 0, .. })));
        hear(&mut near, &mut String::new(), "Hällo ").await;
        let is_kept = async || one.store.follow(user(1), near.turn(), 1).await.unwrap().unwrap().text.is_some();
        let waiting = async {
            while !is_kept().await {
                tokio::task::yield_now().await;
            }
        };
        soon(waiting).await;
        near.turn()
    });
    theirs.shutdown_background();
    mine.block_on(async {
        let two = world(Arc::new(server.connect().await), Arc::new(writing()), &task, 8);
        let mut far = two.app.resume(user(1), voice(), turn, 1, until()).await.unwrap();
        hear(&mut far, &mut String::new(), "Hällo ").await;
        assert_eq!(two.model.asked(), 0, "the lease of the dead has not run out");
        let late = LateClock(SignedDuration::from_secs(10));
        let three = timed(Arc::new(server.connect().await), Arc::new(writing()), &task, 8, Arc::new(late));
        three.model.pen.add_permits(3);
        three.model.gate.add_permits(1);
        let answered = soon(three.send(repeatable("hello"))).await.unwrap();
        assert_eq!(answered.text, "Hällo to all.");
        let ends = async {
            while let Some(next) = far.next().await {
                assert!(matches!(next, Next::Event { .. } | Next::Words { .. }), "{next:?}");
            }
        };
        soon(ends).await;
        two.close().await;
        three.close().await;
    });
}

#[tokio::test]
async fn each_text_of_a_turn_is_heard_before_its_own_event() {
    for kept in Kept::each().await {
        let task = FakeTask::default();
        let [here, there] = twice(&kept).await;
        // Some say what they are about to do before they do it.
        let model = Puppet::new(|transcript| {
            Ok(match results(transcript) {
                0 => Step::Call(vec![call("a", "list_tasks", serde_json::json!({}))]),
                _ => Step::Reply("Hällo to all.".to_owned()),
            })
        });
        let model = Puppet { pieces: vec!["Hä", "llo ", "to all."], ..model }.waiting();
        let one = world(here, Arc::new(model), &task, 8);
        let two = world(there, Arc::new(Puppet::saying("no")), &task, 8);
        let near = one.app.stream(user(1), voice(), say(None, "hello"), until()).await.unwrap();
        let mut far = two.app.resume(user(1), voice(), near.turn(), 1, until()).await.unwrap();
        for (step, expected) in [(1, "Hällo to all."), (3, "Hällo to all.")] {
            let mut told = String::new();
            one.model.pen.add_permits(2);
            hear(&mut far, &mut told, "Hällo ").await;
            one.model.pen.add_permits(1);
            hear(&mut far, &mut told, expected).await;
            one.model.gate.add_permits(1);
            match soon(far.next()).await {
                Some(Next::Event { step: found, event: Event::ModelAnswered(answer), .. }) => {
                    assert_eq!((found, matches!(answer, Answer::Text(_))), (step, step == 3));
                }
                other => panic!("{other:?}"),
            }
            let next = soon(far.next()).await;
            assert!(matches!(next, Some(Next::Event { .. })), "{next:?}");
        }
        one.close().await;
        two.close().await;
    }
}
