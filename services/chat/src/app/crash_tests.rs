//! A process that dies between any two things that it stores, on either engine.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use errand_changelog::{Hints, Origin, Seq};
use jiff::Timestamp;

use super::*;
use crate::{
    domain::{conversation::Conversation, rules::Settings, turn::Turn},
    store::{
        Ages, Appended, Begun, Cancel, Created, Deleted, Edit, Followed, History, Lease, NewConversation, NewEvents,
        NewSettings, NewTitle, NewTurn, Page, Reach, Renewed, Set, Taken, Text, Updated,
    },
    testing::LateClock,
};

/// A store of a process that dies at one of its writes.
#[derive(Debug)]
struct Mortal {
    store: Arc<dyn Store>,
    writes_left: AtomicUsize,
    /// Whether the last write is still stored, but nobody hears of it.
    stores_the_last: bool,
}

impl Mortal {
    async fn write<T>(&self, write: impl Future<Output = Result<T, store::Error>> + Send) -> Result<T, store::Error> {
        let left =
            self.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        match left.unwrap() {
            0 => Err(store::Error::OutcomeUnknown),
            1 => {
                if self.stores_the_last {
                    write.await?;
                }
                Err(store::Error::OutcomeUnknown)
            }
            _ => write.await,
        }
    }

    fn is_dead(&self) -> bool {
        self.writes_left.load(Ordering::SeqCst) == 0
    }
}

#[async_trait]
impl Store for Mortal {
    async fn create_conversation(
        &self,
        owner: UserId,
        new: NewConversation,
        origin: Origin,
    ) -> Result<Created, store::Error> {
        self.write(self.store.create_conversation(owner, new, origin)).await
    }

    async fn conversation(&self, owner: UserId, id: Uuid) -> Result<Option<Conversation>, store::Error> {
        self.store.conversation(owner, id).await
    }

    async fn conversations(
        &self,
        owner: UserId,
        after: Option<Seq>,
        size: usize,
    ) -> Result<Page<Conversation>, store::Error> {
        self.store.conversations(owner, after, size).await
    }

    async fn messages(
        &self,
        owner: UserId,
        conversation: Uuid,
        after: Option<Seq>,
        size: usize,
        bytes: usize,
    ) -> Result<Option<Page<Said>>, store::Error> {
        self.store.messages(owner, conversation, after, size, bytes).await
    }

    async fn start_turn(&self, owner: UserId, new: NewTurn, origin: Origin) -> Result<Begun, store::Error> {
        self.write(self.store.start_turn(owner, new, origin)).await
    }

    async fn turn(&self, owner: UserId, id: Uuid) -> Result<Option<Turn>, store::Error> {
        self.store.turn(owner, id).await
    }

    async fn append(&self, owner: UserId, turn: Uuid, new: NewEvents) -> Result<Appended, store::Error> {
        self.write(self.store.append(owner, turn, new)).await
    }

    async fn follow(&self, owner: UserId, turn: Uuid, from: usize) -> Result<Option<Followed>, store::Error> {
        self.store.follow(owner, turn, from).await
    }

    async fn cancel_turn(
        &self,
        owner: UserId,
        turn: Uuid,
        now: Timestamp,
        origin: Origin,
    ) -> Result<Cancel, store::Error> {
        self.write(self.store.cancel_turn(owner, turn, now, origin)).await
    }

    async fn update_conversation(
        &self,
        owner: UserId,
        id: Uuid,
        edit: Edit,
        origin: Origin,
    ) -> Result<Updated, store::Error> {
        self.write(self.store.update_conversation(owner, id, edit, origin)).await
    }

    async fn draft(
        &self,
        owner: UserId,
        conversation: Uuid,
        budget: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<Seq>, store::Error> {
        self.store.draft(owner, conversation, budget, now).await
    }

    async fn entitle(&self, owner: UserId, new: NewTitle) -> Result<(), store::Error> {
        self.write(self.store.entitle(owner, new)).await
    }

    async fn delete_conversation(
        &self,
        owner: UserId,
        id: Uuid,
        now: Timestamp,
        origin: Origin,
    ) -> Result<Deleted, store::Error> {
        self.write(self.store.delete_conversation(owner, id, now, origin)).await
    }

    async fn settings(&self, owner: UserId) -> Result<Settings, store::Error> {
        self.store.settings(owner).await
    }

    async fn update_settings(&self, owner: UserId, new: NewSettings, origin: Origin) -> Result<Set, store::Error> {
        self.write(self.store.update_settings(owner, new, origin)).await
    }

    async fn erase(&self, owner: UserId, now: Timestamp) -> Result<bool, store::Error> {
        self.write(self.store.erase(owner, now)).await
    }

    async fn tidy(&self, ages: Ages) -> Result<bool, store::Error> {
        self.write(self.store.tidy(ages)).await
    }

    fn hints(&self) -> &Hints {
        self.store.hints()
    }

    async fn history(&self, owner: UserId, conversation: Uuid, reach: Reach) -> Result<History, store::Error> {
        self.store.history(owner, conversation, reach).await
    }

    async fn take_lease(&self, owner: UserId, turn: Uuid, lease: Lease, now: Timestamp) -> Result<Taken, store::Error> {
        self.write(self.store.take_lease(owner, turn, lease, now)).await
    }

    async fn renew_lease(&self, owner: UserId, turn: Uuid, lease: Lease) -> Result<Renewed, store::Error> {
        self.write(self.store.renew_lease(owner, turn, lease)).await
    }

    async fn keep_text(&self, owner: UserId, turn: Uuid, holder: Uuid, text: Text) -> Result<bool, store::Error> {
        self.store.keep_text(owner, turn, holder, text).await
    }

    async fn release_lease(&self, owner: UserId, turn: Uuid, holder: Uuid) -> Result<(), store::Error> {
        self.write(self.store.release_lease(owner, turn, holder)).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

/// A process that begins when the leases of those before it have run out.
fn born(store: Arc<dyn Store>, model: Puppet, task: &FakeTask, life: i32) -> World {
    let clock = LateClock(jiff::SignedDuration::from_secs(11) * life);
    timed(store, Arc::new(model), task, 8, Arc::new(clock))
}

/// One life: sends the message and dies at this write, or not at all.
async fn live(kept: &Kept, task: &FakeTask, life: i32, writes: usize, stores_the_last: bool) -> Option<Answered> {
    say_and_die(kept, task, (busy_model(), "add milk and eggs"), life, writes, stores_the_last).await
}

/// The same with another model, which is told something else.
async fn say_and_die(
    kept: &Kept,
    task: &FakeTask,
    (model, said): (Puppet, &str),
    life: i32,
    writes: usize,
    stores_the_last: bool,
) -> Option<Answered> {
    let store = Mortal { store: kept.open().await, writes_left: AtomicUsize::new(writes), stores_the_last };
    let store = Arc::new(store);
    let world = born(store.clone(), model, task, life);
    let answered = world.send(repeatable(said)).await;
    let dead = store.is_dead();
    world.close().await;
    match answered {
        Ok(answered) => Some(answered),
        Err(error) => {
            assert!(dead, "{error:?}");
            assert!(matches!(error, Error::Store(store::Error::OutcomeUnknown)), "{error:?}");
            None
        }
    }
}

async fn check(kept: &Kept, task: &FakeTask, answered: &Answered) {
    let world = born(kept.open().await, busy_model(), task, 100);
    let expected = [(Role::User, "add milk and eggs".to_owned()), (Role::Assistant, "Done.".to_owned())];
    assert_eq!(world.said(answered.conversation).await, expected);
    assert_eq!(world.conversations().await.len(), 1);
    assert_eq!(world.send(repeatable("add milk and eggs")).await.unwrap(), *answered);
    assert_eq!(world.model.asked(), 0);
    assert_eq!((task.made(), task.deleted().len()), (2, 1), "no tool ran twice");
    world.close().await;
}

/// Lets somebody live on an empty store and die at its first write, then at its second, until nobody dies any more,
/// which `lives` answers. There are seven places to die at least.
async fn dying_at_each_write(mut lives: impl AsyncFnMut(&Kept, usize, bool) -> bool) {
    for mut kept in Kept::each().await {
        for stores_the_last in [false, true] {
            let mut writes = 0;
            let mut died = true;
            while died {
                writes += 1;
                kept = kept.emptied().await;
                died = lives(&kept, writes, stores_the_last).await;
            }
            assert!(writes >= 7, "{writes}");
        }
    }
}

#[tokio::test]
async fn r_103_a_crash_at_any_write_loses_nothing_and_repeats_nothing() {
    // Those are: start, answered, finished, finished, answered, finished, replied.
    dying_at_each_write(async |kept, writes, stores_the_last| {
        let task = FakeTask::default();
        let first = live(kept, &task, 0, writes, stores_the_last).await;
        let answered = match &first {
            Some(answered) => answered.clone(),
            None => live(kept, &task, 1, usize::MAX, false).await.expect("nothing dies any more"),
        };
        check(kept, &task, &answered).await;
        first.is_none()
    })
    .await;
}

/// A model that adds the same task whenever it is asked.
fn repeating() -> Puppet {
    Puppet::new(|transcript| {
        let milk = serde_json::json!({"requests": [{"task": {"title": "milk"}}]});
        let id = crate::testing::results(transcript).to_string();
        Ok(Step::Call(vec![crate::testing::call(&id, "add_tasks", milk)]))
    })
}

#[tokio::test]
async fn r_103_what_is_asked_for_again_is_done_once_wherever_a_process_dies() {
    // Those are: the message, three answers, and what came of each.
    dying_at_each_write(async |kept, writes, stores_the_last| {
        let task = FakeTask::default();
        let first = say_and_die(kept, &task, (repeating(), "add milk"), 0, writes, stores_the_last).await;

        let last = born(kept.open().await, repeating(), &task, 1);
        let done = last.send(repeatable("add milk")).await.unwrap();
        assert!(done.text.contains("One task was changed"), "{}", done.text);
        let failed = |run: &crate::domain::turn::Run<'_>| run.outcome.unwrap().as_ref().err().cloned();
        let came: Vec<_> = runs(&done.events).iter().map(|run| failed(run).map(|it| it.reason)).collect();
        assert_eq!(came, [None, Some("CALL_REPEATED".to_owned()), Some("CALL_REPEATED".to_owned())]);
        assert_eq!(task.made(), 1, "after {writes} writes");
        last.close().await;
        first.is_none()
    })
    .await;
}

#[tokio::test]
async fn r_103_a_process_that_dies_again_and_again_still_gets_there() {
    for kept in Kept::each().await {
        let task = FakeTask::default();
        let mut lives = 0;
        let answered = loop {
            lives += 1;
            assert!(lives < 50, "it gets nowhere");
            // Three writes a life: the request, the lease, and one step that is stored.
            if let Some(answered) = live(&kept, &task, lives, 3, true).await {
                break answered;
            }
        };
        assert!(lives > 3, "{lives}");
        check(&kept, &task, &answered).await;
    }
}

#[tokio::test]
async fn r_103_a_crash_at_any_write_after_a_yes_deletes_what_was_asked_and_once() {
    for mut kept in Kept::each().await {
        for stores_the_last in [false, true] {
            let mut writes = 1;
            loop {
                kept = kept.emptied().await;
                let task = FakeTask::default();
                task.fill(50);
                let model = || Puppet::new(approval::eager);
                let first = born(kept.open().await, model(), &task, 0);
                let asked = first.send(say(None, "delete everything")).await.unwrap();
                first.close().await;
                let yes = || Say { request: named("y", "yes"), ..say(Some(asked.conversation), "yes") };

                let store = kept.open().await;
                let mortal = Mortal { store, writes_left: AtomicUsize::new(writes), stores_the_last };
                let dying = born(Arc::new(mortal), model(), &task, 1);
                let died = dying.send(yes()).await.is_err();
                dying.close().await;

                let last = born(kept.open().await, model(), &task, 2);
                let done = last.send(yes()).await.unwrap();
                assert!(done.text.starts_with("Deleted 50 tasks."), "{}", done.text);
                assert_eq!((task.made(), task.tasks().taken.len(), last.model.asked()), (0, 1, 0));
                last.close().await;
                if !died {
                    break;
                }
                writes += 1;
            }
            // The message, what it answers, and what came of it: each was a place to die.
            assert!(writes >= 3, "{writes}");
        }
    }
}

/// Sends a message until it is answered, as a client does.
async fn insist(world: &World, words: &str, name: &str) -> Answered {
    loop {
        let said = Say { request: named(name, words), ..say(None, words) };
        match tokio::time::timeout(std::time::Duration::from_secs(60), world.send(said)).await.unwrap() {
            Ok(answered) => return answered,
            Err(error) => assert_eq!(code_and_reason(error).0, Code::Unavailable),
        }
        // As long as a patient client waits.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r_105_a_database_that_is_killed_loses_no_turn_and_repeats_no_tool() {
    let Some(cluster) = tokio::task::spawn_blocking(errand_cluster::Cluster::start).await.unwrap() else { return };
    let cluster = Arc::new(cluster);
    let server = crate::testing::Server::on(&cluster).await;
    let task = FakeTask::default();
    let clock = Arc::new(errand_chassis::clock::SystemClock);
    let world = Arc::new(timed(Arc::new(server.connect().await), Arc::new(busy_model()), &task, 64, clock));
    let (rounds, callers) = (3_usize, 8_usize);
    let done = Arc::new(AtomicUsize::new(0));
    let calling: Vec<_> = (0..callers)
        .map(|caller| {
            let (world, done) = (world.clone(), done.clone());
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while done.load(Ordering::SeqCst) < rounds {
                    let words = format!("add milk and eggs {caller} {}", answers.len());
                    answers.push(insist(&world, &words, &words.replace(' ', "-")).await);
                }
                answers
            })
        })
        .collect();
    let mut log = world.store.hints().subscribe(user(1));
    let mut reached = 0;
    for round in 1..=rounds {
        // Under load: some turns are over, others are under way.
        reached = log.newer_than(reached + 200).await;
        let cluster = cluster.clone();
        tokio::task::spawn_blocking(move || {
            cluster.kill9();
            cluster.restart();
        })
        .await
        .unwrap();
        done.store(round, Ordering::SeqCst);
    }
    let mut turns = 0;
    for calling in calling {
        for answered in calling.await.unwrap() {
            assert_eq!(answered.text, "Done.");
            assert_eq!(world.said(answered.conversation).await.len(), 2);
            turns += 1;
        }
    }
    assert_eq!((task.made(), task.deleted().len()), (2 * turns, turns), "no tool ran twice");
    assert_eq!(world.conversations().await.len(), turns.min(50));
    world.runner.close().await;
    world.store.close().await;
}
