use std::collections::BTreeMap;

use errand_changelog::Seq;
use proptest::prelude::*;

use super::*;
use crate::{
    domain::{
        conversation::{Content, Message},
        fault, turn,
    },
    store::{LEASE, Place, conformance::suite},
    testing::{File, by_user, named, now, user},
};

suite!(File);

type LogRow = (Seq, String, String, Option<Seq>, Option<String>, bool);

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

async fn began(store: &Sqlite) {
    let new = NewTurn {
        budget: None,
        id: id(10),
        place: Place::New(id(1)),
        message: id(2),
        content: Content::parse("hello".to_owned()).unwrap(),
        time_zone: "UTC".to_owned(),
        lease: Lease { holder: id(70), until: now() + LEASE },
        now: now(),
    };
    assert_eq!(store.start_turn(user(1), new, by_user(named("r", "x"))).await.unwrap(), Begun::New);
}

fn query<T, F>(file: &File, sql: &str, read: F) -> Vec<T>
where
    F: FnMut(&Row<'_>) -> rusqlite::Result<T>,
{
    let connection = Connection::open(file.path()).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], read).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn every_change_is_in_the_one_log_without_a_gap() {
    let file = File::new();
    let store = file.open();
    began(&store).await;
    let events = vec![turn::said("hi"), turn::Event::Replied { message: id(3), text: "hi".to_owned(), usage: None }];
    assert!(
        store
            .append(user(1), id(10), NewEvents { from: 1, events, has_changed: false, undone: None, now: now() })
            .await
            .unwrap()
            .is_stored()
    );
    let log: Vec<LogRow> = query(
        &file,
        "SELECT seq, actor, kind, step, request_id, turn IS NOT NULL FROM changes ORDER BY owner, seq",
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)),
    );
    let row = |seq, actor: &str, kind: &str, step, request: Option<&str>, turn| {
        (seq, actor.to_owned(), kind.to_owned(), step, request.map(str::to_owned), turn)
    };
    let expected = [
        row(1, "user", "create_conversation", None, Some("r"), false),
        row(2, "user", "create_message", None, Some("r"), false),
        row(3, "user", "turn_started", Some(0), Some("r"), true),
        row(4, "assistant", "model_answered", Some(1), None, true),
        row(5, "assistant", "turn_replied", Some(2), None, true),
        row(6, "assistant", "create_message", None, None, true),
    ];
    assert_eq!(log, expected);
    assert_eq!(query(&file, "SELECT seq FROM heads", |row| row.get::<_, Seq>(0)), [6]);
    store.close().await;
}

/// What a random user does.
#[derive(Debug, Clone)]
enum Deed {
    Open(bool),
    Say(usize),
    Answer(usize, bool),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        any::<bool>().prop_map(Deed::Open),
        (0..4usize).prop_map(Deed::Say),
        (0..12usize, any::<bool>()).prop_map(|(turn, replies)| Deed::Answer(turn, replies)),
    ]
}

async fn act(store: &Sqlite, deeds: Vec<Deed>) {
    let (mut places, mut turns) = (Vec::new(), Vec::new());
    for (number, deed) in (1u128..).zip(deeds) {
        let origin = by_user(named(&number.to_string(), "x"));
        match deed {
            Deed::Open(titled) => {
                let title = if titled { "mine".to_owned() } else { String::new() };
                store
                    .create_conversation(user(1), NewConversation { id: id(number), title, now: now() }, origin)
                    .await
                    .unwrap();
                places.push(id(number));
            }
            Deed::Say(at) => {
                let place = places.get(at).copied().map_or(Place::New(id(number + 500)), Place::Existing);
                let content = Content::parse("hello".to_owned()).unwrap();
                let lease = Lease { holder: id(70), until: now() };
                let new = NewTurn {
                    budget: None,
                    id: id(number),
                    place,
                    message: id(number + 1000),
                    content,
                    time_zone: "UTC".into(),
                    lease,
                    now: now(),
                };
                store.start_turn(user(1), new, origin).await.unwrap();
                turns.push(id(number));
            }
            Deed::Answer(at, replies) => {
                let Some(turn) = turns.get(at).copied() else { continue };
                let events = match replies {
                    true => {
                        vec![
                            turn::said("hi"),
                            turn::Event::Replied { message: id(number + 2000), text: "hi".into(), usage: None },
                        ]
                    }
                    false => vec![fault::failed("down", fault::Fault::Unavailable)],
                };
                store
                    .append(user(1), turn, NewEvents { from: 1, events, has_changed: false, undone: None, now: now() })
                    .await
                    .unwrap();
            }
        }
    }
}

fn replayed(file: &File) -> (BTreeMap<Uuid, Conversation>, Vec<Message>) {
    let (mut conversations, mut messages) = (BTreeMap::new(), Vec::new());
    let log: Vec<(Seq, String, String)> = query(file, "SELECT seq, kind, after FROM changes ORDER BY seq", |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    });
    for (place, (seq, kind, after)) in (1..).zip(log) {
        assert_eq!(seq, place, "the log has a gap");
        if kind.ends_with("_conversation") {
            let conversation: Conversation = serde_json::from_str(&after).unwrap();
            conversations.insert(conversation.id, conversation);
        } else if kind == "create_message" {
            messages.push(serde_json::from_str(&after).unwrap());
        }
    }
    (conversations, messages)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn the_log_replayed_is_what_the_tables_hold(deeds in prop::collection::vec(deed(), 0..25)) {
        let file = File::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = file.open();
            act(&store, deeds).await;
            let (conversations, messages) = replayed(&file);
            let held = store.conversations(user(1), None, 200).await.unwrap().items;
            assert_eq!(held.len(), conversations.len());
            let mut said = Vec::new();
            for conversation in held {
                assert_eq!(Some(&conversation), conversations.get(&conversation.id));
                let page = store.messages(user(1), conversation.id, None, 200, usize::MAX).await.unwrap().unwrap();
                said.extend(page.items.into_iter().map(|said| (said.seq, said.message)));
            }
            said.sort_by_key(|(seq, _)| *seq);
            assert_eq!(said.into_iter().map(|(_, message)| message).collect::<Vec<_>>(), messages);
            store.close().await;
        });
    }
}

#[tokio::test]
async fn leases_of_a_process_that_is_gone_are_cleared() {
    let file = File::new();
    let store = file.open();
    began(&store).await;
    store.close().await;
    let store = file.open();
    let mine = Lease { holder: id(71), until: now() + LEASE };
    assert_eq!(store.take_lease(user(1), id(10), mine, now()).await.unwrap(), Taken::Yes);
    store.close().await;
}

#[tokio::test]
async fn a_step_that_is_missing_is_an_error_and_never_an_answer() {
    let file = File::new();
    let store = file.open();
    began(&store).await;
    let connection = Connection::open(file.path()).unwrap();
    connection.execute("UPDATE changes SET step = 5 WHERE step = 0", []).unwrap();
    drop(connection);
    let broken = store.turn(user(1), id(10)).await;
    assert!(matches!(broken, Err(Error::Inconsistent { table: "changes", column: "step", .. })), "{broken:?}");
    store.close().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_conversation_or_an_erased_owner() {
    let file = File::new();
    let store = file.open();
    began(&store).await;
    let left = |file: &File| {
        ["conversations", "messages", "turns", "changes", "requests"].map(|table| {
            let count: Vec<i64> = query(file, &format!("SELECT count(*) FROM {table}"), |row| row.get(0));
            count[0]
        })
    };
    let done = store.delete_conversation(user(1), id(1), now(), by_user(named("d", "x"))).await.unwrap();
    assert_eq!(done, Deleted::Done);
    assert_eq!(left(&file), [0, 0, 0, 1, 2], "that it is gone, and what the requests were answered with");
    while !store.erase(user(1), now()).await.unwrap() {}
    assert_eq!(left(&file), [0; 5]);
    store.close().await;
}

#[test]
fn changes_of_an_older_schema_learn_their_conversation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    errand_storage::migrate::up(&path, &MIGRATIONS[..1]).unwrap();
    let connection = Connection::open(&path).unwrap();
    let (owner, conversation, turn) = (id(1).into_bytes(), id(5), id(9).into_bytes());
    connection
        .execute(
            "INSERT INTO conversations VALUES (?1, ?2, 1, 't', 1, 0, 0)",
            params![owner, conversation.into_bytes()],
        )
        .unwrap();
    connection
        .execute(
            "INSERT INTO turns VALUES (?1, ?2, ?3, 1, 0, NULL, NULL, NULL)",
            params![owner, turn, conversation.into_bytes()],
        )
        .unwrap();
    let opened = format!("{{\"id\": \"{conversation}\"}}");
    let said = format!("{{\"id\": \"{}\", \"conversation\": \"{conversation}\"}}", id(7));
    for (seq, turn, step, kind, after) in [
        (1, None, None, "create_conversation", opened),
        (2, None, None, "create_message", said),
        (3, Some(turn), Some(0), "turn_started", "{}".to_owned()),
    ] {
        connection
            .execute(
                "INSERT INTO changes (owner, seq, time, actor, turn, step, kind, after) VALUES (?1, ?2, 0, 'user', ?3, ?4, ?5, ?6)",
                params![owner, seq, turn, step, kind, after],
            )
            .unwrap();
    }
    drop(connection);
    errand_storage::migrate::up(&path, MIGRATIONS).unwrap();
    let connection = Connection::open(&path).unwrap();
    let known: i64 = connection
        .query_row("SELECT count(*) FROM changes WHERE conversation = ?1", [conversation.into_bytes()], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(known, 3);
}

#[tokio::test]
async fn no_statement_scans_a_table() {
    let file = File::new();
    let sources = [
        include_str!("mod.rs"),
        include_str!("conversations.rs"),
        include_str!("turns.rs"),
        include_str!("housekeeping.rs"),
        include_str!("texts.rs"),
        include_str!("titles.rs"),
    ]
    .concat();
    let connection = Connection::open(file.path()).unwrap();
    let mut read = 0;
    for piece in sources.split('"').filter(|text| text.starts_with("SELECT ") && text.contains(" FROM ")) {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {piece}")).unwrap();
        let count = statement.parameter_count();
        let plan: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(vec![0; count]), |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(plan.iter().all(|step| step.starts_with("SEARCH")), "{piece}: {plan:?}");
        read += 1;
    }
    assert!(read >= 8, "only {read} statements were found");
}
