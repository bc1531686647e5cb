//! What every engine must do. Each function is one property of a store that is empty at first.

use errand_changelog::UserId;
use uuid::Uuid;

use super::*;
use crate::{
    domain::{conversation::Role, tool::ToolCall, turn},
    testing::{by_user, call, named, now, user},
};

/// Stamps the suite on an engine.
macro_rules! suite {
    ($open:path: $($name:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            let file = $open();
            let store = file.open();
            $crate::store::conformance::$name(&store).await;
            $crate::store::Store::close(&store).await;
        })*
    };
}
pub(crate) use suite;

const ANN: u128 = 1;
const BOB: u128 = 2;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn lease(holder: u128) -> Lease {
    Lease { holder: id(holder), until: now() + LEASE }
}

fn new_turn(number: u128, place: Place, text: &str) -> NewTurn {
    NewTurn {
        id: id(number),
        place,
        message: id(number + 1000),
        content: Content::parse(text.to_owned()).unwrap(),
        time_zone: "Europe/Berlin".to_owned(),
        lease: lease(70),
        now: now(),
    }
}

fn events(from: usize, events: Vec<Event>) -> NewEvents {
    NewEvents { from, events, now: now() }
}

fn reply(number: u128, text: &str) -> Event {
    Event::Replied { message: id(number + 2000), text: text.to_owned() }
}

fn asked(call: ToolCall) -> Event {
    turn::asked(&[], vec![call], crate::task_tools::classify)
}

async fn open(store: &dyn Store, owner: UserId, number: u128, title: &str) -> Conversation {
    let new = NewConversation { id: id(number), title: title.to_owned(), now: now() };
    match store.create_conversation(owner, new, by_user(None)).await.unwrap() {
        Created::Opened(conversation) => conversation,
        Created::Reused => panic!("it has no request id"),
    }
}

/// A whole turn: said, answered.
async fn exchange(store: &dyn Store, owner: UserId, number: u128, place: Place) {
    let begun = store.start_turn(owner, new_turn(number, place, "hello"), by_user(None)).await.unwrap();
    assert_eq!(begun, Begun::New);
    assert!(store.append(owner, id(number), events(1, vec![turn::said("hi"), reply(number, "hi")])).await.unwrap());
}

async fn said(store: &dyn Store, owner: UserId, conversation: u128) -> Vec<Said> {
    let page = store.messages(owner, id(conversation), None, 200, usize::MAX).await.unwrap().unwrap();
    assert!(!page.more);
    page.items
}

const REACH: Reach = Reach { messages: 50, turns: 5, bytes: 10_000 };

pub(crate) async fn a_conversation_is_read_as_it_was_written(store: &dyn Store) {
    let opened = open(store, user(ANN), 1, "Groceries").await;
    assert_eq!((opened.version, opened.title.as_str()), (1, "Groceries"));
    assert_eq!(store.conversation(user(ANN), id(1)).await.unwrap(), Some(opened));
    assert_eq!(store.conversation(user(ANN), id(2)).await.unwrap(), None);
}

pub(crate) async fn r_064_a_repeated_request_opens_one_conversation(store: &dyn Store) {
    let create = |number: u128, body: &'static str| {
        let new = NewConversation { id: id(number), title: "a".to_owned(), now: now() };
        store.create_conversation(user(ANN), new, by_user(named("r", body)))
    };
    let first = create(1, "x").await.unwrap();
    assert_eq!(create(2, "x").await.unwrap(), first, "with the first answer");
    assert_eq!(create(3, "y").await.unwrap(), Created::Reused);
    let page = store.conversations(user(ANN), None, 10).await.unwrap();
    assert_eq!(page.items.len(), 1);
}

pub(crate) async fn r_066_a_request_id_is_its_owners(store: &dyn Store) {
    for (owner, number) in [(ANN, 1), (BOB, 2)] {
        let new = NewConversation { id: id(number), title: "a".to_owned(), now: now() };
        let created = store.create_conversation(user(owner), new, by_user(named("r", "x"))).await.unwrap();
        assert!(matches!(created, Created::Opened(conversation) if conversation.id == id(number)));
    }
}

pub(crate) async fn conversations_are_listed_newest_first_page_by_page(store: &dyn Store) {
    // Their ids say nothing about their order: the clock may have been set back.
    for number in [3, 1, 5, 2, 4] {
        open(store, user(ANN), number, "a").await;
    }
    open(store, user(BOB), 6, "b").await;
    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let page = store.conversations(user(ANN), after, 2).await.unwrap();
        seen.extend(page.items.iter().map(|conversation| conversation.id));
        after = page.items.last().map(|conversation| conversation.seq);
        if !page.more {
            break;
        }
        assert_eq!(page.items.len(), 2);
    }
    assert_eq!(seen, [4, 2, 5, 1, 3].map(id));
}

pub(crate) async fn r_035_what_is_another_users_is_not_there(store: &dyn Store) {
    exchange(store, user(ANN), 10, Place::New(id(1))).await;
    let bob = user(BOB);
    assert_eq!(store.conversation(bob, id(1)).await.unwrap(), None);
    assert_eq!(store.messages(bob, id(1), None, 10, usize::MAX).await.unwrap(), None);
    assert_eq!(store.turn(bob, id(10)).await.unwrap(), None);
    assert_eq!(store.conversations(bob, None, 10).await.unwrap().items, []);
    assert_eq!(store.history(bob, id(1), REACH).await.unwrap(), History::default());
    let begun = store.start_turn(bob, new_turn(11, Place::Existing(id(1)), "x"), by_user(None)).await.unwrap();
    assert_eq!(begun, Begun::ConversationUnknown);
    assert!(!store.append(bob, id(10), events(3, vec![turn::said("x")])).await.unwrap());
    assert_eq!(store.take_lease(bob, id(10), lease(1), now()).await.unwrap(), Taken::Over);
    assert_eq!(said(store, user(ANN), 1).await.len(), 2);
}

pub(crate) async fn a_turn_begins_with_its_message(store: &dyn Store) {
    let begun = store.start_turn(user(ANN), new_turn(10, Place::New(id(1)), "add milk"), by_user(None)).await.unwrap();
    assert_eq!(begun, Begun::New);
    let turn = store.turn(user(ANN), id(10)).await.unwrap().unwrap();
    assert_eq!((turn.conversation, turn.started, turn.time_zone()), (id(1), now(), "Europe/Berlin"));
    assert_eq!(turn.events.len(), 1);
    let messages = said(store, user(ANN), 1).await;
    assert_eq!(messages.len(), 1);
    assert_eq!((messages[0].message.role, messages[0].message.content.as_str()), (Role::User, "add milk"));
    assert_eq!((messages[0].message.turn, messages[0].message.id), (id(10), id(1010)));
    assert_eq!(store.conversation(user(ANN), id(1)).await.unwrap().unwrap().title, "add milk");
}

pub(crate) async fn a_conversation_without_a_title_gets_the_start_of_its_first_message(store: &dyn Store) {
    open(store, user(ANN), 1, "").await;
    open(store, user(ANN), 2, "Mine").await;
    exchange(store, user(ANN), 10, Place::Existing(id(1))).await;
    exchange(store, user(ANN), 11, Place::Existing(id(2))).await;
    let first = store.conversation(user(ANN), id(1)).await.unwrap().unwrap();
    assert_eq!((first.title.as_str(), first.version), ("hello", 3));
    assert_eq!(store.conversation(user(ANN), id(2)).await.unwrap().unwrap().title, "Mine");
}

pub(crate) async fn r_069_a_repeated_message_is_said_once(store: &dyn Store) {
    let start = |number: u128, body: &'static str| {
        store.start_turn(user(ANN), new_turn(number, Place::New(id(number + 100)), "hello"), by_user(named("r", body)))
    };
    assert_eq!(start(10, "x").await.unwrap(), Begun::New);
    assert_eq!(start(11, "x").await.unwrap(), Begun::Replayed(id(10)));
    assert_eq!(start(12, "y").await.unwrap(), Begun::Reused);
    assert_eq!(store.conversations(user(ANN), None, 10).await.unwrap().items.len(), 1);
    assert_eq!(said(store, user(ANN), 110).await.len(), 1);
}

pub(crate) async fn r_075_a_conversation_has_one_open_turn(store: &dyn Store) {
    open(store, user(ANN), 1, "a").await;
    let place = Place::Existing(id(1));
    let begin = |number: u128| store.start_turn(user(ANN), new_turn(number, place, "x"), by_user(None));
    assert_eq!(begin(10).await.unwrap(), Begun::New);
    assert_eq!(begin(11).await.unwrap(), Begun::Busy(id(10)));
    assert_eq!(said(store, user(ANN), 1).await.len(), 1, "what is refused is not kept");
    assert!(store.append(user(ANN), id(10), events(1, vec![turn::said("y"), reply(10, "y")])).await.unwrap());
    assert_eq!(begin(11).await.unwrap(), Begun::New);
    let failed = events(1, vec![Event::Failed { reason: "down".to_owned() }]);
    assert!(store.append(user(ANN), id(11), failed).await.unwrap());
    assert_eq!(begin(12).await.unwrap(), Begun::New, "a failed turn is over, too");
    let order: Vec<_> = said(store, user(ANN), 1).await.into_iter().map(|said| said.message.turn).collect();
    assert_eq!(order, [10, 10, 11, 12].map(id));
}

pub(crate) async fn of_two_who_store_a_step_one_loses(store: &dyn Store) {
    store.start_turn(user(ANN), new_turn(10, Place::New(id(1)), "x"), by_user(None)).await.unwrap();
    let one = events(1, vec![turn::said("one"), reply(10, "one")]);
    let two = events(1, vec![turn::said("two"), reply(20, "two")]);
    let (first, second) = tokio::join!(store.append(user(ANN), id(10), one), store.append(user(ANN), id(10), two));
    assert_eq!((first.unwrap(), second.unwrap()), (true, false));
    assert_eq!(said(store, user(ANN), 1).await.len(), 2);
    let skipping = events(7, vec![turn::said("x")]);
    assert!(!store.append(user(ANN), id(10), skipping).await.unwrap(), "no step is left out");
    assert!(!store.append(user(ANN), id(99), events(0, vec![turn::said("x")])).await.unwrap());
}

pub(crate) async fn events_come_back_in_order_and_with_the_reply(store: &dyn Store) {
    store.start_turn(user(ANN), new_turn(10, Place::New(id(1)), "x"), by_user(None)).await.unwrap();
    let asked = asked(call("a", "list_tasks", serde_json::json!({})));
    let finished = Event::ToolFinished { call_id: "a".to_owned(), outcome: Ok(serde_json::json!({"tasks": []})) };
    assert!(store.append(user(ANN), id(10), events(1, vec![asked.clone()])).await.unwrap());
    assert!(store.append(user(ANN), id(10), events(2, vec![finished.clone()])).await.unwrap());
    assert!(store.append(user(ANN), id(10), events(3, vec![turn::said("y"), reply(10, "y")])).await.unwrap());
    let turn = store.turn(user(ANN), id(10)).await.unwrap().unwrap();
    assert_eq!(turn.events[1..], [asked, finished, turn::said("y"), reply(10, "y")]);
    let messages = said(store, user(ANN), 1).await;
    assert_eq!((messages[1].message.role, messages[1].message.id), (Role::Assistant, id(2010)));
    assert_eq!(messages[1].events, turn.events);
    assert!(messages[0].events.is_empty());
}

pub(crate) async fn messages_are_listed_oldest_first_page_by_page(store: &dyn Store) {
    open(store, user(ANN), 1, "a").await;
    for number in 10..13 {
        exchange(store, user(ANN), number, Place::Existing(id(1))).await;
    }
    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let page = store.messages(user(ANN), id(1), after, 4, usize::MAX).await.unwrap().unwrap();
        seen.extend(page.items.iter().map(|said| (said.message.turn, said.message.role)));
        after = page.items.last().map(|said| said.seq);
        if !page.more {
            break;
        }
    }
    let expected: Vec<_> = (10..13).flat_map(|turn| [(id(turn), Role::User), (id(turn), Role::Assistant)]).collect();
    assert_eq!(seen, expected);
    let short = store.messages(user(ANN), id(1), None, 4, 0).await.unwrap().unwrap();
    assert_eq!((short.items.len(), short.more), (1, true), "a page that grows too large ends early");
}

pub(crate) async fn history_is_bounded_and_ends_with_what_was_said_last(store: &dyn Store) {
    open(store, user(ANN), 1, "a").await;
    for number in 10..15 {
        exchange(store, user(ANN), number, Place::Existing(id(1))).await;
    }
    store.start_turn(user(ANN), new_turn(20, Place::Existing(id(1)), "last"), by_user(None)).await.unwrap();
    let history = store.history(user(ANN), id(1), Reach { messages: 6, turns: 2, bytes: 10_000 }).await.unwrap();
    assert_eq!(history.messages.len(), 6);
    assert_eq!(history.messages[5].content, "last");
    assert_eq!(history.turns.iter().map(|(turn, _)| *turn).collect::<Vec<_>>(), [14, 13].map(id));
    let little = store.history(user(ANN), id(1), Reach { messages: 6, turns: 2, bytes: 1 }).await.unwrap();
    assert_eq!(little.turns.len(), 1, "the newest is always read");
}

pub(crate) async fn a_lease_is_one_runners_until_it_ends(store: &dyn Store) {
    store.start_turn(user(ANN), new_turn(10, Place::New(id(1)), "x"), by_user(None)).await.unwrap();
    let take = |holder: u128, at| store.take_lease(user(ANN), id(10), lease(holder), at);
    assert_eq!(take(71, now()).await.unwrap(), Taken::Held, "the one who began it has it");
    assert_eq!(take(70, now()).await.unwrap(), Taken::Yes);
    assert!(store.renew_lease(user(ANN), id(10), lease(70)).await.unwrap());
    assert!(!store.renew_lease(user(ANN), id(10), lease(71)).await.unwrap());
    assert_eq!(take(71, now() + LEASE).await.unwrap(), Taken::Yes, "it has run out");
    store.release_lease(user(ANN), id(10), id(70)).await.unwrap();
    assert_eq!(take(70, now()).await.unwrap(), Taken::Held, "only one's own lease is given back");
    store.release_lease(user(ANN), id(10), id(71)).await.unwrap();
    assert_eq!(take(70, now()).await.unwrap(), Taken::Yes);
    store.append(user(ANN), id(10), events(1, vec![turn::said("y"), reply(10, "y")])).await.unwrap();
    assert_eq!(take(70, now()).await.unwrap(), Taken::Over);
    assert!(!store.renew_lease(user(ANN), id(10), lease(70)).await.unwrap());
    assert_eq!(store.take_lease(user(ANN), id(99), lease(70), now()).await.unwrap(), Taken::Over);
}
