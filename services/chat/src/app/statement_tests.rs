//! How many statements each rpc costs: what `docs/statements.md` says.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::*;
use crate::{
    store::postgres::Postgres,
    testing::{Server, now},
};

/// The table of the page.
fn page() -> BTreeMap<String, u64> {
    let page = include_str!("../../../../docs/statements.md");
    let section = page.split("\n## ").find(|section| section.starts_with("Chat\n")).unwrap();
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        Some((cells.next()?.to_owned(), cells.next()?.parse().ok()?))
    });
    rows.collect()
}

/// What calls of one rpc cost.
struct Bill {
    store: Postgres,
    rpcs: BTreeMap<String, u64>,
}

impl Bill {
    async fn add<T>(&mut self, rpc: &str, call: impl Future<Output = T>) -> T {
        let before = self.store.statements();
        let answer = call.await;
        self.rpcs.insert(rpc.to_owned(), self.store.statements() - before);
        answer
    }

    fn last(&self, rpc: &str) -> u64 {
        self.rpcs[rpc]
    }
}

/// The service over the same store, with a model that deletes everything.
fn world_of(store: Postgres) -> World {
    world(Arc::new(store), Arc::new(Puppet::new(super::approval::eager)), &FakeTask::default(), 8)
}

async fn drained(follower: &mut Follower) {
    while let Some(next) = follower.next().await {
        assert!(matches!(next, Next::Event { .. }), "{next:?}");
    }
}

#[tokio::test]
async fn every_rpc_costs_the_statements_that_the_page_says() {
    let Some(server) = Server::make().await else { return };
    let store = server.connect().await;
    let world = world(Arc::new(store.clone()), Arc::new(Puppet::saying("hi").waiting()), &FakeTask::default(), 8);
    let (app, owner, until) = (&world.app, user(1), now() + SignedDuration::from_mins(15));
    let mut bill = Bill { store, rpcs: BTreeMap::new() };
    let list = Wanted { method: LIST, size: 200, token: String::new() };

    let created = app.create_conversation(owner, "a".to_owned(), named("c", "x"), false);
    let chat = bill.add("CreateConversation", created).await.unwrap().id;
    bill.add("GetConversation", app.conversation(owner, chat)).await.unwrap();
    let change = |id, title: &str| Change { id, etag: String::new(), title: Some(title.to_owned()) };
    let updated = app.update_conversation(owner, change(chat, "b"), named("u", "x"), false);
    bill.add("UpdateConversation", updated).await.unwrap();

    world.model.gate.add_permits(1);
    let sent = bill.add("SendMessage", world.send(say(Some(chat), "hello"))).await.unwrap();
    let streamed = bill.add("StreamMessage", async {
        let mut follower = app.stream(owner, voice(), say(Some(chat), "hello"), until).await.unwrap();
        assert!(matches!(follower.next().await, Some(Next::Event { step: 0, .. })));
        world.asked(2).await;
        world.model.gate.add_permits(1);
        drained(&mut follower).await;
    });
    streamed.await;
    let resumed = bill.add("ResumeTurn", async {
        drained(&mut app.resume(owner, voice(), sent.turn, 0, until).await.unwrap()).await;
    });
    resumed.await;
    let follower = app.stream(owner, voice(), say(Some(chat), "hello"), until).await.unwrap();
    world.asked(3).await;
    bill.add("CancelTurn", app.cancel(owner, &voice(), follower.turn(), None)).await.unwrap();

    // A question is answered, and the turn that the answer began is taken back.
    let other = world_of(bill.store.clone());
    other.task.fill(50);
    let asked = other.send(say(None, "delete everything")).await.unwrap();
    let hash = crate::domain::approval::question(&asked.events).unwrap().hash.clone();
    let zone = || "UTC".to_owned();
    let decision = Decision { turn: asked.turn, hash, is_yes: true, time_zone: zone(), request: named("y", "x") };
    let done = bill.add("ApproveTurn", other.app.decide(owner, &voice(), decision)).await.unwrap();
    bill.add("UndoTurn", other.app.undo(owner, &voice(), done.turn, zone(), named("n", "x"))).await.unwrap();
    other.runner.close().await;

    // A page of twenty turns costs what a page of one costs.
    for _ in 0..20 {
        world.model.gate.add_permits(1);
        world.send(say(Some(chat), "hello")).await.unwrap();
    }
    let page = bill.add("ListMessages", app.messages(owner, chat, &list)).await.unwrap();
    assert_eq!(page.items.len(), 46);
    bill.add("ListConversations", app.conversations(owner, &list)).await.unwrap();
    bill.add("DeleteConversation", app.delete_conversation(owner, chat, named("d", "x"), false)).await.unwrap();
    app.create_conversation(owner, "last".to_owned(), None, false).await.unwrap();
    let rules = crate::rules("delete_tasks=deny").unwrap();
    bill.add("UpdateSettings", app.update_settings(owner, rules, "", named("s", "x"), false)).await.unwrap();
    bill.add("GetSettings", app.settings(owner)).await.unwrap();
    bill.add("EraseMe", app.erase(owner)).await.unwrap();

    assert_eq!(bill.rpcs, self::page());
    world.close().await;
}

#[tokio::test]
async fn r_035_an_id_of_somebody_else_costs_what_an_id_of_nobody_costs() {
    let Some(server) = Server::make().await else { return };
    let store = server.connect().await;
    let world = world(Arc::new(store.clone()), Arc::new(Puppet::saying("hi")), &FakeTask::default(), 8);
    let mut bill = Bill { store, rpcs: BTreeMap::new() };
    let sent = world.send(say(None, "hello")).await.unwrap();
    let (app, owner) = (&world.app, user(2));
    app.create_conversation(owner, "mine".to_owned(), None, false).await.unwrap();
    let until = now() + SignedDuration::from_mins(15);
    let list = Wanted { method: LIST, size: 200, token: String::new() };
    for (chat, turn, what) in
        [(sent.conversation, sent.turn, "foreign"), (Uuid::from_u128(5), Uuid::from_u128(6), "unknown")]
    {
        let change = Change { id: chat, etag: String::new(), title: Some("b".to_owned()) };
        let rpc = |rpc: &str| format!("{rpc} {what}");
        bill.add(&rpc("get"), app.conversation(owner, chat)).await.unwrap_err();
        bill.add(&rpc("update"), app.update_conversation(owner, change, None, false)).await.unwrap_err();
        bill.add(&rpc("delete"), app.delete_conversation(owner, chat, None, false)).await.unwrap_err();
        bill.add(&rpc("list"), app.messages(owner, chat, &list)).await.unwrap_err();
        bill.add(&rpc("say"), app.send(owner, &voice(), say(Some(chat), "hello"))).await.unwrap_err();
        bill.add(&rpc("resume"), app.resume(owner, voice(), turn, 0, until)).await.unwrap_err();
        bill.add(&rpc("cancel"), app.cancel(owner, &voice(), turn, None)).await.unwrap_err();
    }
    for rpc in ["get", "update", "delete", "list", "say", "resume", "cancel"] {
        let costs = (bill.last(&format!("{rpc} foreign")), bill.last(&format!("{rpc} unknown")));
        assert_eq!(costs, (1, 1), "{rpc}");
    }
    world.close().await;
}
