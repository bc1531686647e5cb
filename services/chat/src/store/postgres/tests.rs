use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{
    domain::{
        conversation::{Content, Message, Role},
        turn::{self, Event},
    },
    store::{LEASE, Place, conformance::suite},
    testing::{File, Server, by_user, named, now, user},
};

suite!(Server);

const TABLES: [&str; 6] = ["conversations", "messages", "turns", "texts", "changes", "requests"];

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn new_turn(number: u128, place: Place) -> NewTurn {
    NewTurn {
        budget: None,
        id: id(number),
        place,
        message: id(number + 1_000_000),
        content: Content::parse("hello".to_owned()).unwrap(),
        time_zone: "UTC".to_owned(),
        lease: Lease { holder: id(70), until: now() + LEASE },
        now: now(),
    }
}

fn events(from: usize, events: Vec<Event>) -> NewEvents {
    NewEvents { from, events, has_changed: false, undone: None, now: now() }
}

fn answer(number: u128) -> NewEvents {
    events(
        1,
        vec![turn::said("hi"), Event::Replied { message: id(number + 2_000_000), text: "hi".to_owned(), usage: None }],
    )
}

/// Other users' rows, this many in each table and everything in one conversation each, and what
/// the engine knows of them.
async fn fill(server: &Server, rows: u32) {
    server
        .run(&format!(
            "INSERT INTO chat.heads SELECT ('0'||lpad(to_hex(i), 7, '0')||'-0000-0000-0000-00000000ffff')::uuid, 4
                 FROM generate_series(1, greatest({rows} / 100, 1)) i;
             CREATE TEMPORARY TABLE made AS
                 SELECT h.owner, row_number() OVER () AS n, md5('c'||i||h.owner)::uuid AS conversation,
                     md5('t'||i||h.owner)::uuid AS turn, i
                 FROM chat.heads h, generate_series(1, 100) i LIMIT {rows};
             INSERT INTO chat.conversations
                 SELECT owner, conversation, i, 'title', i, now(), now() FROM made;
             INSERT INTO chat.messages
                 SELECT owner, conversation, i + 1, md5('m'||i)::uuid, turn, 'user', 'hello', now() FROM made;
             INSERT INTO chat.turns (owner, id, conversation, steps, start_time, end_time)
                 SELECT owner, turn, conversation, 1, now(), now() FROM made;
             INSERT INTO chat.changes (owner, seq, time, actor, turn, step, kind, after, conversation)
                 SELECT owner, i, now(), 'user', turn, 0, 'turn_started', '{{}}', conversation FROM made;
             INSERT INTO chat.requests
                 SELECT owner, 'r'||i, 'm', decode(repeat('00', 32), 'hex'), '', now() FROM made;
             ANALYZE chat.heads, chat.conversations, chat.messages, chat.turns, chat.changes, chat.requests"
        ))
        .await;
}

async fn write_text(store: &Postgres, turn: u128) {
    let text = Text { step: 1, id: id(5), content: "He".to_owned() };
    assert!(store.keep_text(user(1), id(turn), id(70), text).await.unwrap());
}

/// Everything that is ever written, once, by a user who has nothing yet.
async fn every_write(store: &Postgres, owner: UserId, base: u128) {
    let at = |number: u128| id(base + number);
    let new = NewConversation { id: at(1), title: "a".to_owned(), now: now() };
    let created = store.create_conversation(owner, new, by_user(named("create", "x"))).await.unwrap();
    assert!(matches!(&created, Created::Opened(opened) if opened.version == 1), "{created:?}");
    let edit = Edit { expected: Some(1), title: "b".to_owned(), now: now() };
    let updated = store.update_conversation(owner, at(1), edit, by_user(named("update", "x"))).await.unwrap();
    assert!(matches!(&updated, Updated::Done(done) if done.title == "b" && done.version == 2), "{updated:?}");
    for (number, place) in [(10, Place::Existing(at(1))), (11, Place::New(at(2)))] {
        let number = base + number;
        assert_eq!(store.start_turn(owner, new_turn(number, place), by_user(None)).await.unwrap(), Begun::New);
        let lease = |holder: u128| Lease { holder: id(holder), until: now() + LEASE };
        assert_eq!(store.take_lease(owner, id(number), lease(71), now()).await.unwrap(), Taken::Held);
        store.release_lease(owner, id(number), id(70)).await.unwrap();
        assert_eq!(store.take_lease(owner, id(number), lease(71), now()).await.unwrap(), Taken::Yes);
        let renewed = store.renew_lease(owner, id(number), lease(71)).await.unwrap();
        assert_eq!(renewed, Renewed::Kept { is_cancelled: false });
        for content in ["He", "Hello"] {
            let text = Text { step: 1, id: id(5), content: content.to_owned() };
            assert!(store.keep_text(owner, id(number), id(71), text).await.unwrap());
        }
        let cancelled = store.cancel_turn(owner, id(number), now(), by_user(None)).await.unwrap();
        assert_eq!(cancelled, Cancel::Kept);
        assert!(store.append(owner, id(number), answer(number)).await.unwrap().is_stored());
        assert_eq!(store.turn(owner, id(number)).await.unwrap().unwrap().events.len(), 3);
    }
    let draft = store.draft(owner, at(2), Some(1), now()).await.unwrap().unwrap();
    let title = Some("Groceries".to_owned());
    let made = NewTitle { conversation: at(2), turn: at(11), draft, title, spent: None, now: now() };
    store.entitle(owner, made).await.unwrap();
    assert_eq!(store.conversation(owner, at(2)).await.unwrap().unwrap().title, "Groceries");
    let said = store.messages(owner, at(1), None, 10, usize::MAX).await.unwrap().unwrap();
    assert_eq!(said.items.iter().map(|said| said.events.len()).collect::<Vec<_>>(), [0, 3]);
    let reach = Reach { messages: 10, turns: 5, bytes: 10_000 };
    assert_eq!(store.history(owner, at(1), reach).await.unwrap().messages.len(), 2);
    let deleted = store.delete_conversation(owner, at(1), now(), by_user(None)).await.unwrap();
    assert_eq!(deleted, Deleted::Done);
    assert_eq!(store.conversations(owner, None, 10).await.unwrap().items.len(), 1);
    while !store.erase(owner, now()).await.unwrap() {}
    assert_eq!(store.conversations(owner, None, 10).await.unwrap().items.len(), 0);
}

#[tokio::test]
async fn every_write_is_the_same_beside_1_10_and_100_000_rows() {
    for rows in [1, 10, 100_000] {
        let Some(server) = Server::make().await else { return };
        fill(&server, rows).await;
        let store = server.alone().await;
        // More often than a plan is made anew.
        for number in 1..10 {
            every_write(&store, user(number), number * 1_000).await;
        }
        let old = now() + jiff::SignedDuration::from_hours(24 * 365);
        while !store.tidy(Ages { answered: old, changed: old }).await.unwrap() {}
        let left = server.run("SELECT count(*) FROM chat.requests UNION ALL SELECT count(*) FROM chat.changes").await;
        assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["0", "0"], "{rows}");
        store.close().await;
    }
}

#[tokio::test]
async fn no_read_scans_or_sorts_a_table() {
    let Some(server) = Server::make().await else { return };
    fill(&server, 100_000).await;
    let store = server.alone().await;
    let owner = user(0x0000_0001_0000_0000_0000_0000_0000_ffff);
    let page = store.conversations(owner, None, 5).await.unwrap();
    assert_eq!((page.items.len(), page.more), (5, true), "the user is one of those");
    let conversation = page.items[0].id;
    let turn = store.history(owner, conversation, Reach { messages: 5, turns: 5, bytes: 100 }).await.unwrap();
    let turn = turn.messages[0].turn;
    let mut read = 0;
    let reads = [
        super::conversations::reads(owner, conversation),
        super::turns::reads(owner, conversation, turn),
        super::titles::reads(owner, conversation),
    ];
    for (sql, statement) in reads.concat() {
        let rows = store.database.read(statement).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.try_get(0).unwrap()).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Index Scan") && !plan.contains("Seq Scan"), "{sql}\n{plan}");
        // What was read already may be put in order, up to a page of it.
        let sorted = plan.matches("Sort Key").count();
        assert!(sorted <= sql.matches("row_number").count() * 2, "{sql}\n{plan}");
        read += 1;
    }
    assert_eq!(read, 7);
    store.close().await;
}

#[tokio::test]
async fn r_040_without_its_owner_nothing_is_seen_and_nothing_written() {
    let Some(server) = Server::make().await else { return };
    let store = server.connect().await;
    store.start_turn(user(1), new_turn(10, Place::New(id(1))), by_user(named("r", "x"))).await.unwrap();
    write_text(&store, 10).await;
    for table in TABLES {
        let all = server.run(&format!("SELECT count(*) > 0 FROM chat.{table}")).await;
        assert_eq!(all.trim(), "t", "{table}");
        let sql: &'static str = format!("SELECT count(*) FROM chat.{table}").leak();
        let seen: i64 = store.database.read(Statement::new("count", sql)).await.unwrap()[0].try_get(0).unwrap();
        assert_eq!(seen, 0, "{table}");
        let sql: &'static str = format!("DELETE FROM chat.{table}").leak();
        store.database.write(Statement::new("delete", sql)).await.unwrap();
        assert_eq!(server.run(&format!("SELECT count(*) > 0 FROM chat.{table}")).await.trim(), "t", "{table}");
    }
    let own = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true))
        SELECT count(*) FROM me CROSS JOIN LATERAL (SELECT * FROM chat.changes OFFSET 0) c";
    for (number, expected) in [(1, 3), (2, 0)] {
        let statement = Statement::new("count", own).bind(user(number).to_string());
        let seen: i64 = store.database.read(statement).await.unwrap()[0].try_get(0).unwrap();
        assert_eq!(seen, expected);
    }
    let foreign = "INSERT INTO chat.requests SELECT $1, 'x', 'm', decode(repeat('00', 32), 'hex'), '', now()
        FROM set_config('errand.owner', $2, true)";
    let statement = Statement::new("insert", foreign).bind(id(2)).bind(user(1).to_string());
    assert!(store.database.write(statement).await.is_err(), "no row of somebody else");
    let forced = server
        .run(
            "SELECT relname FROM pg_class WHERE relnamespace = 'chat'::regnamespace AND relkind = 'r'
                  AND NOT (relrowsecurity AND relforcerowsecurity) ORDER BY 1",
        )
        .await;
    let exempt: Vec<&str> = forced.split_whitespace().filter(|table| *table != "_migrations").collect();
    assert_eq!(exempt, crate::SCHEMA.exempt);
    store.close().await;
}

#[tokio::test]
async fn the_log_replayed_is_what_the_tables_hold() {
    let Some(server) = Server::make().await else { return };
    let store = server.connect().await;
    for number in 1..=3 {
        let title = if number == 1 { String::new() } else { "with \"quotes\" and ünïcode".to_owned() };
        let new = NewConversation { id: id(number), title, now: now() };
        store.create_conversation(user(1), new, by_user(named(&number.to_string(), "x"))).await.unwrap();
        let begun = store.start_turn(user(1), new_turn(10 + number, Place::Existing(id(number))), by_user(None)).await;
        assert_eq!(begun.unwrap(), Begun::New);
        assert!(store.append(user(1), id(10 + number), answer(10 + number)).await.unwrap().is_stored());
    }
    let rows = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true))
        SELECT c.* FROM me CROSS JOIN LATERAL (
            SELECT seq, kind, actor, step, request_id, turn, after FROM chat.changes ORDER BY seq
        ) c";
    let rows = store.database.read(Statement::new("log", rows).bind(user(1).to_string())).await.unwrap();
    let (mut conversations, mut messages, mut kinds) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (row, place) in rows.iter().zip(1_i64..) {
        assert_eq!(row.get::<Seq, _>("seq"), place, "the log has a gap");
        let (kind, after): (String, String) = (row.get("kind"), row.get("after"));
        if kind.ends_with("_conversation") {
            let conversation: Conversation = serde_json::from_str(&after).unwrap();
            conversations.insert(conversation.id, conversation);
        } else if kind == "create_message" {
            messages.push(serde_json::from_str::<Message>(&after).unwrap());
        }
        if kinds.len() < 7 {
            let actor: String = row.get("actor");
            kinds.push((actor, kind, row.get::<Option<i64>, _>("step"), row.get::<Option<Uuid>, _>("turn").is_some()));
        }
    }
    let row = |actor: &str, kind: &str, step, turn| (actor.to_owned(), kind.to_owned(), step, turn);
    let first = [
        row("user", "create_conversation", None, false),
        row("user", "entitle_conversation", None, false),
        row("user", "create_message", None, false),
        row("user", "turn_started", Some(0), true),
        row("assistant", "model_answered", Some(1), true),
        row("assistant", "turn_replied", Some(2), true),
        row("assistant", "create_message", None, true),
    ];
    assert_eq!(kinds, first);
    let mut said = Vec::new();
    for held in store.conversations(user(1), None, 10).await.unwrap().items {
        assert_eq!(Some(&held), conversations.get(&held.id));
        let page = store.messages(user(1), held.id, None, 10, usize::MAX).await.unwrap().unwrap();
        said.extend(page.items.into_iter().map(|said| (said.seq, said.message)));
    }
    said.sort_by_key(|(seq, _)| *seq);
    assert_eq!(said.into_iter().map(|(_, message)| message).collect::<Vec<_>>(), messages);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r_077_64_writers_of_one_owner_all_get_through() {
    let Some(server) = Server::make().await else { return };
    let store = server.connect().await;
    let conversation = NewConversation { id: id(1), title: "a".to_owned(), now: now() };
    store.create_conversation(user(1), conversation, by_user(None)).await.unwrap();
    let writers: Vec<_> = (0..64_u128)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..5 {
                    let number = 1_000 + writer * 10 + round;
                    let begun =
                        store.start_turn(user(1), new_turn(number, Place::New(id(number))), by_user(None)).await;
                    assert_eq!(begun.unwrap(), Begun::New);
                    assert!(store.append(user(1), id(number), answer(number)).await.unwrap().is_stored());
                    let edit = Edit { expected: None, title: format!("{writer}.{round}"), now: now() };
                    let updated = store.update_conversation(user(1), id(1), edit, by_user(None)).await.unwrap();
                    assert!(matches!(updated, Updated::Done(_)), "{updated:?}");
                    let deleted = store.delete_conversation(user(1), id(number), now(), by_user(None)).await.unwrap();
                    assert_eq!(deleted, Deleted::Done);
                    let age = now() - LEASE;
                    store.tidy(Ages { answered: age, changed: age }).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let log = server.run("SELECT count(*), count(DISTINCT seq), max(seq) FROM chat.changes").await;
    let head = server.run("SELECT seq FROM chat.heads").await;
    // Each round: what was begun and said and deleted again, a new title, and that it is gone.
    assert_eq!(head.trim().parse::<u64>().unwrap(), 1 + 64 * 5 * 8);
    let log: Vec<u64> = log.trim().split('|').map(|number| number.trim().parse().unwrap()).collect();
    assert_eq!((log[0], log[1]), (1 + 64 * 5 * 2, 1 + 64 * 5 * 2));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r_075_of_many_who_speak_at_once_in_a_conversation_one_is_heard() {
    let Some(server) = Server::make().await else { return };
    let (one, two) = (server.connect().await, server.connect().await);
    let conversation = NewConversation { id: id(1), title: "a".to_owned(), now: now() };
    one.create_conversation(user(1), conversation, by_user(None)).await.unwrap();
    for round in 0..20_u128 {
        let begun: Vec<_> = (0..8_u128)
            .map(|speaker| {
                let store = if speaker % 2 == 0 { one.clone() } else { two.clone() };
                let turn = new_turn(1_000 + round * 10 + speaker, Place::Existing(id(1)));
                tokio::spawn(async move { (turn.id, store.start_turn(user(1), turn, by_user(None)).await.unwrap()) })
            })
            .collect();
        let mut heard = Vec::new();
        for begun in begun {
            match begun.await.unwrap() {
                (turn, Begun::New) => heard.push(turn),
                (_, Begun::Busy(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(heard.len(), 1, "round {round}");
        assert!(two.append(user(1), heard[0], answer(heard[0].as_u128())).await.unwrap().is_stored());
    }
    let page = one.messages(user(1), id(1), None, 100, usize::MAX).await.unwrap().unwrap();
    for (pair, said) in page.items.chunks(2).enumerate() {
        let roles = (said[0].message.role, said[1].message.role);
        assert_eq!((roles, said[0].message.turn), ((Role::User, Role::Assistant), said[1].message.turn), "{pair}");
    }
    assert_eq!(page.items.len(), 40);
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn a_lease_that_is_found_is_somebodys_until_it_runs_out() {
    let Some(server) = Server::make().await else { return };
    let one = server.connect().await;
    one.start_turn(user(1), new_turn(10, Place::New(id(1))), by_user(None)).await.unwrap();
    one.close().await;
    let two = server.connect().await;
    let mine = Lease { holder: id(71), until: now() + LEASE };
    assert_eq!(two.take_lease(user(1), id(10), mine, now()).await.unwrap(), Taken::Held);
    assert_eq!(two.take_lease(user(1), id(10), mine, now() + LEASE).await.unwrap(), Taken::Yes);
    two.close().await;
}

#[tokio::test]
async fn what_one_process_writes_wakes_who_waits_in_another_with_and_without_a_pooler() {
    let Some(server) = Server::make().await else { return };
    for pooler in [false, true] {
        let settings = Settings { pooler, ..server.settings("errand_chat") };
        let one = Postgres::open(&settings, &crate::SCHEMA).await.unwrap();
        let two = Postgres::open(&settings, &crate::SCHEMA).await.unwrap();
        let (owner, number) = (user(if pooler { 1 } else { 2 }), if pooler { 10 } else { 20 });
        let mut listener = two.hints().subscribe(owner);
        one.start_turn(owner, new_turn(number, Place::New(id(number))), by_user(None)).await.unwrap();
        let woken = tokio::time::timeout(Duration::from_secs(10), listener.newer_than(0)).await;
        assert_eq!(woken.unwrap(), 3);
        assert!(one.append(owner, id(number), answer(number)).await.unwrap().is_stored());
        let woken = tokio::time::timeout(Duration::from_secs(10), listener.newer_than(3)).await;
        assert_eq!(woken.unwrap(), 6);
        one.close().await;
        two.close().await;
    }
}

#[tokio::test]
async fn letting_go_visits_every_owner() {
    let Some(server) = Server::make().await else { return };
    fill(&server, 30_000).await;
    let store = server.connect().await;
    let old = now() + jiff::SignedDuration::from_hours(24 * 365);
    let mut parts = 1;
    while !store.tidy(Ages { answered: old, changed: old }).await.unwrap() {
        parts += 1;
    }
    assert!(parts >= 3, "{parts}");
    let left = server.run("SELECT count(*) FROM chat.requests").await;
    assert_eq!(left.trim(), "0");
    let left = server.run("SELECT count(*) FROM chat.changes").await;
    assert_eq!(left.trim(), "0", "events of turns that are over");
    store.close().await;
}

#[tokio::test]
async fn a_step_that_is_missing_is_an_error_and_never_an_answer() {
    let Some(server) = Server::make().await else { return };
    let store = server.connect().await;
    store.start_turn(user(1), new_turn(10, Place::New(id(1))), by_user(None)).await.unwrap();
    server.run("UPDATE chat.changes SET step = 5 WHERE step = 0").await;
    let broken = store.turn(user(1), id(10)).await;
    assert!(matches!(broken, Err(Error::Inconsistent { table: "changes", column: "step", .. })), "{broken:?}");
    store.close().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_conversation_or_an_erased_owner() {
    let Some(server) = Server::make().await else { return };
    let store = server.connect().await;
    store.start_turn(user(1), new_turn(10, Place::New(id(1))), by_user(named("r", "x"))).await.unwrap();
    write_text(&store, 10).await;
    let left = async || {
        let mut left = Vec::new();
        for table in TABLES {
            left.push(server.run(&format!("SELECT count(*) FROM chat.{table}")).await.trim().to_owned());
        }
        left
    };
    let done = store.delete_conversation(user(1), id(1), now(), by_user(named("d", "x"))).await.unwrap();
    assert_eq!(done, Deleted::Done);
    assert_eq!(
        left().await,
        ["0", "0", "0", "0", "1", "2"],
        "that it is gone, and what the requests were answered with"
    );
    while !store.erase(user(1), now()).await.unwrap() {}
    assert_eq!(left().await, ["0"; 6]);
    store.close().await;
}

#[tokio::test]
async fn what_was_kept_in_a_file_is_the_same_on_a_server() {
    let Some(server) = Server::make().await else { return };
    let file = File::new();
    let source = file.open();
    for number in 1..=3 {
        let started = new_turn(number, Place::New(id(100 + number)));
        source.start_turn(user(number), started, by_user(named("r", "x"))).await.unwrap();
        let answer = NewEvents { has_changed: true, ..answer(number) };
        assert!(source.append(user(number), id(number), answer).await.unwrap().is_stored());
        source
            .start_turn(user(number), new_turn(10 + number, Place::New(id(200 + number))), by_user(None))
            .await
            .unwrap();
        source.cancel_turn(user(number), id(10 + number), now(), by_user(None)).await.unwrap();
    }
    while !source.erase(user(3), now()).await.unwrap() {}
    let copied =
        errand_storage::copy::copy(&file.path(), &server.settings("errand_migrate"), &crate::SCHEMA, |_, _| {}).await;
    assert_eq!(copied.unwrap().owners, 3);
    let target = server.connect().await;
    let reach = Reach { messages: 10, turns: 5, bytes: 10_000 };
    for number in 1..=3 {
        let owner = user(number);
        let held = source.conversations(owner, None, 10).await.unwrap();
        assert_eq!(target.conversations(owner, None, 10).await.unwrap(), held);
        for conversation in held.items {
            let id = conversation.id;
            let all = |store: Arc<dyn Store>| async move {
                let messages = store.messages(owner, id, None, 10, usize::MAX).await.unwrap();
                (messages, store.history(owner, id, reach).await.unwrap())
            };
            assert_eq!(all(Arc::new(target.clone())).await, all(Arc::new(source.clone())).await);
        }
        for turn in [id(number), id(10 + number)] {
            assert_eq!(target.turn(owner, turn).await.unwrap(), source.turn(owner, turn).await.unwrap());
        }
        let again = new_turn(20 + number, Place::New(id(300 + number)));
        let again = target.start_turn(owner, again, by_user(named("r", "x"))).await.unwrap();
        assert_eq!(again, if number == 3 { Begun::Erased } else { Begun::Replayed(id(number)) });
    }
    source.close().await;
    target.close().await;
}
