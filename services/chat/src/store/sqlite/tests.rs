use errand_changelog::Seq;

use super::*;
use crate::{
    domain::{conversation::Content, turn},
    store::{LEASE, Place, conformance::suite},
    testing::{File, by_user, named, now, user},
};

suite! { File::new:
    a_conversation_is_read_as_it_was_written,
    r_064_a_repeated_request_opens_one_conversation,
    r_066_a_request_id_is_its_owners,
    conversations_are_listed_newest_first_page_by_page,
    r_035_what_is_another_users_is_not_there,
    a_turn_begins_with_its_message,
    a_conversation_without_a_title_gets_the_start_of_its_first_message,
    r_069_a_repeated_message_is_said_once,
    r_075_a_conversation_has_one_open_turn,
    of_two_who_store_a_step_one_loses,
    events_come_back_in_order_and_with_the_reply,
    messages_are_listed_oldest_first_page_by_page,
    history_is_bounded_and_ends_with_what_was_said_last,
    a_lease_is_one_runners_until_it_ends,
}

type LogRow = (Seq, String, String, Option<Seq>, Option<String>, bool);

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

async fn began(store: &Sqlite) {
    let new = NewTurn {
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
    let events = vec![turn::said("hi"), turn::Event::Replied { message: id(3), text: "hi".to_owned() }];
    assert!(store.append(user(1), id(10), NewEvents { from: 1, events, now: now() }).await.unwrap());
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
async fn no_statement_scans_a_table() {
    let file = File::new();
    let sources = [include_str!("mod.rs"), include_str!("conversations.rs"), include_str!("turns.rs")].concat();
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
