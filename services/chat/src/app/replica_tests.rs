//! Two processes on one database: what one does is seen in the other, and what one leaves behind the
//! other goes on with.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::testing::{LateClock, Server, call, results};

/// How long a test waits for what should happen at once.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens")
}

fn until() -> jiff::Timestamp {
    crate::testing::now() + SignedDuration::from_mins(15)
}

async fn replica(server: &Server, model: Puppet, task: &FakeTask) -> World {
    world(Arc::new(server.connect().await), Arc::new(model), task, 8)
}

/// The rest of a stream: the kinds of its events by their steps, and how it ends.
async fn rest(follower: &mut Follower) -> (Vec<(usize, &'static str)>, Option<Next>) {
    let mut seen = Vec::new();
    loop {
        match soon(follower.next()).await {
            Some(Next::Event { step, event, .. }) => seen.push((step, event.kind())),
            end => return (seen, end),
        }
    }
}

#[tokio::test]
async fn a_turn_is_followed_from_another_process_as_it_goes_on() {
    let Some(server) = Server::make().await else { return };
    let task = FakeTask::default();
    for pooler in [false, true] {
        let open = async || Arc::new(server.behind(pooler).await);
        let one = world(open().await, Arc::new(busy_model().waiting()), &task, 8);
        let two = world(open().await, Arc::new(busy_model()), &task, 8);
        let follower = one.app.stream(user(1), voice(), say(None, "add milk and eggs"), until()).await.unwrap();
        soon(one.asked(1)).await;
        let mut elsewhere = two.app.resume(user(1), voice(), follower.turn(), 0, until()).await.unwrap();
        assert!(matches!(soon(elsewhere.next()).await, Some(Next::Event { step: 0, .. })));
        one.model.gate.add_permits(1);
        for expected in 1..=3 {
            let next = soon(elsewhere.next()).await;
            assert!(matches!(next, Some(Next::Event { step, .. }) if step == expected), "{next:?}");
        }
        one.model.gate.add_permits(9);
        let (seen, end) = rest(&mut elsewhere).await;
        assert!(end.is_none(), "{end:?}");
        assert_eq!(seen.last(), Some(&(7, "turn_replied")));
        assert_eq!(two.model.asked(), 0, "only one of them works on it");
        one.close().await;
        two.close().await;
    }
}

#[tokio::test]
async fn a_turn_is_stopped_from_another_process_while_the_model_thinks() {
    let Some(server) = Server::make().await else { return };
    let task = FakeTask::default();
    for pooler in [false, true] {
        let open = async || Arc::new(server.behind(pooler).await);
        let one = world(open().await, Arc::new(Puppet::saying("hi").waiting()), &task, 8);
        let two = world(open().await, Arc::new(Puppet::saying("hi")), &task, 8);
        let mut follower = one.app.stream(user(1), voice(), say(None, "hello"), until()).await.unwrap();
        soon(one.asked(1)).await;
        let (turn, owner) = (follower.turn(), user(1));
        let name = named(if pooler { "p" } else { "d" }, "x");
        let answered = soon(two.app.cancel(owner, &voice(), turn, name.clone())).await.unwrap();
        assert_eq!(answered.text, "Stopped. Nothing was changed.");
        let (seen, end) = rest(&mut follower).await;
        assert!(end.is_none(), "{end:?}");
        assert_eq!(seen, [(0, "turn_started"), (1, "turn_cancelled"), (2, "turn_replied")]);
        assert_eq!(soon(one.app.cancel(owner, &voice(), turn, name)).await.unwrap(), answered, "a retry, elsewhere");
        assert_eq!(two.model.asked(), 0);
        one.close().await;
        two.close().await;
    }
}

#[tokio::test]
async fn a_yes_and_an_undo_are_taken_by_another_process_than_the_one_that_asked() {
    let Some(server) = Server::make().await else { return };
    let task = FakeTask::default();
    task.fill(50);
    let one = replica(&server, Puppet::new(approval::eager), &task).await;
    let two = replica(&server, Puppet::new(approval::eager), &task).await;
    let asked = one.send(say(None, "delete everything")).await.unwrap();
    assert!(asked.text.starts_with("This will delete 50 of 50 tasks:"), "{}", asked.text);
    let chat = Some(asked.conversation);
    let yes = || Say { request: named("y", "yes"), ..say(chat, "yes") };
    let (first, second) = tokio::join!(two.send(yes()), one.send(yes()));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first, second, "said through both, done once");
    assert_eq!((task.made(), task.tasks().taken.len()), (0, 1));
    let undone = one.send(say(chat, "undo that")).await.unwrap();
    let told = "Taken back: 50 tasks are as they were before.";
    assert_eq!((undone.text.as_str(), task.made()), (told, 50));
    assert_eq!(task.tasks().undone, [first.turn.to_string()]);
    one.close().await;
    two.close().await;
}

/// Whoever is dead neither releases a lease nor says a word.
#[test]
fn r_103_a_turn_goes_on_in_another_process_when_the_first_is_killed_and_nothing_is_done_twice() {
    let mine = tokio::runtime::Runtime::new().unwrap();
    let Some(server) = mine.block_on(Server::make()) else { return };
    let task = FakeTask::default();
    // It is killed while it thinks about each answer in turn.
    for thoughts in 0..3_usize {
        *task.tasks() = crate::testing::Tasks::default();
        let theirs = tokio::runtime::Runtime::new().unwrap();
        let words = format!("add milk and eggs {thoughts}");
        let said = || Say { request: named(&format!("k{thoughts}"), &words), ..say(None, &words) };
        let turn = theirs.block_on(async {
            let one = replica(&server, busy_model().waiting(), &task).await;
            one.model.gate.add_permits(thoughts);
            let follower = one.app.stream(user(1), voice(), said(), until()).await.unwrap();
            soon(one.asked(thoughts + 1)).await;
            follower.turn()
        });
        theirs.shutdown_background();

        mine.block_on(async {
            let store = Arc::new(server.connect().await);
            // The lease of the dead runs out while this one is asked and waits.
            let clock = Arc::new(errand_chassis::clock::ManualClock::new(crate::testing::now()));
            let early = timed(store.clone(), Arc::new(busy_model()), &task, 8, clock.clone());
            let waiting = tokio::time::timeout(Duration::from_millis(300), early.send(said())).await;
            assert!(waiting.is_err(), "somebody may be at work on it: {waiting:?}");
            let late =
                timed(store, Arc::new(busy_model()), &task, 8, Arc::new(LateClock(SignedDuration::from_secs(10))));
            let answered = soon(late.send(said())).await.unwrap();
            assert_eq!((answered.text.as_str(), answered.turn), ("Done.", turn));
            assert_eq!((task.made(), task.deleted().len()), (2, 1), "no tool ran twice");
            assert_eq!(late.said(answered.conversation).await.len(), 2);
            late.close().await;
        });
    }
}

#[tokio::test]
async fn r_114_a_process_that_ends_gives_its_turns_to_the_next_at_once() {
    let Some(server) = Server::make().await else { return };
    let task = FakeTask::default();
    let one = replica(&server, Puppet::saying("hi").waiting(), &task).await;
    let two = replica(&server, Puppet::saying("hi"), &task).await;
    let follower = one.app.stream(user(1), voice(), repeatable("hello"), until()).await.unwrap();
    soon(one.asked(1)).await;
    let mut elsewhere = two.app.resume(user(1), voice(), follower.turn(), 1, until()).await.unwrap();
    one.close().await;
    let again = soon(two.send(repeatable("hello"))).await.unwrap();
    assert_eq!(again.text, "hi", "no lease had to run out: the clock stands still");
    let (seen, end) = rest(&mut elsewhere).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(seen, [(1, "model_answered"), (2, "turn_replied")]);
    assert_eq!(two.model.asked(), 1);
    two.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_processes_that_are_asked_the_same_do_it_once() {
    let Some(server) = Server::make().await else { return };
    let task = FakeTask::default();
    let mut worlds = Vec::new();
    for _ in 0..3 {
        worlds.push(Arc::new(replica(&server, busy_model(), &task).await));
    }
    for round in 0..10 {
        let words = format!("add milk and eggs {round}");
        let sent: Vec<_> = (0..9)
            .map(|caller| {
                let world = worlds[caller % 3].clone();
                let said = Say { request: named(&format!("s{round}"), &words), ..say(None, &words) };
                tokio::spawn(async move { world.send(said).await })
            })
            .collect();
        let mut answers = Vec::new();
        for sent in sent {
            answers.push(soon(sent).await.unwrap().unwrap());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "round {round}: {answers:?}");
        assert_eq!((task.made(), task.deleted().len()), (2 * (round + 1), round + 1));
    }
}

#[tokio::test]
async fn a_tool_that_another_process_has_called_is_not_called_again() {
    let Some(server) = Server::make().await else { return };
    let task = FakeTask::default();
    let add = || {
        Puppet::new(|transcript| {
            Ok(match results(transcript) {
                0 => Step::Call(vec![call("a", "add_tasks", json!({"requests": [{"task": {"title": "milk"}}]}))]),
                _ => Step::Reply("Done.".to_owned()),
            })
        })
    };
    // The call is carried out, but whoever made it never hears of it: it is taken for slow, and the
    // next one makes it again under the same name.
    let one = replica(&server, add(), &task).await;
    task.tasks().hangs_after = true;
    let follower = one.app.stream(user(1), voice(), repeatable("milk"), until()).await.unwrap();
    soon(async {
        while task.made() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    task.tasks().hangs_after = false;
    let late = LateClock(SignedDuration::from_secs(10));
    let two = timed(Arc::new(server.connect().await), Arc::new(add()), &task, 8, Arc::new(late));
    let answered = soon(two.send(repeatable("milk"))).await.unwrap();
    assert_eq!((answered.text.as_str(), answered.turn, task.made()), ("Done.", follower.turn(), 1));
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn r_113_streams_that_wait_hold_no_connection_and_little_memory() {
    let Some(server) = Server::make().await else { return };
    #[expect(clippy::disallowed_methods, reason = "the size of the run")]
    let full = std::env::var("ERRAND_BATTERY").is_ok_and(|size| size == "full");
    let streams = if full { 1_000 } else { 200 };
    let task = FakeTask::default();
    let store = Arc::new(server.connect().await);
    let one = world(store.clone(), Arc::new(Puppet::saying("hi").waiting()), &task, streams);
    let two = replica(&server, Puppet::saying("hi"), &task).await;
    let before = resident();
    // Half of them are followed where they run, half elsewhere.
    let mut open: Vec<Follower> = stream::iter(0..u128::from(streams))
        .map(async |number| {
            let owner = user(1_000 + number);
            let mut follower = one.app.stream(owner, voice(), say(None, "hello"), until()).await.unwrap();
            if number % 2 == 1 {
                follower = two.app.resume(owner, voice(), follower.turn(), 0, until()).await.unwrap();
            }
            assert!(matches!(follower.next().await, Some(Next::Event { step: 0, .. })));
            follower
        })
        .buffered(16)
        .collect()
        .await;
    soon(one.asked(streams as usize)).await;
    let grown = resident().saturating_sub(before);
    eprintln!("{streams} streams: {grown} KiB");
    assert!(grown < 200 * 1024, "{grown} KiB for {streams}");
    for number in 0..50 {
        let created = one.app.create_conversation(user(number), "a".to_owned(), None, false).await;
        assert!(created.is_ok(), "{created:?}");
    }
    one.model.gate.add_permits(streams as usize);
    for follower in &mut open {
        let (seen, end) = rest(follower).await;
        assert!(end.is_none(), "{end:?}");
        assert_eq!(seen, [(1, "model_answered"), (2, "turn_replied")]);
    }
    one.close().await;
    two.close().await;
}

/// The memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
