//! What every engine must do. Each function is one property of a store that is empty at first.

mod settings_tests;
mod spending_tests;
mod texts_tests;
mod titles_tests;

use errand_changelog::UserId;
use uuid::Uuid;

use super::*;
use crate::{
    domain::{conversation::Role, fault, tool::ToolCall, turn},
    testing::{by_user, call, named, now, user},
};

/// Stamps the suite on an engine.
macro_rules! suite {
    ($place:ty) => {
        $crate::store::conformance::suite! { $place;
            a_conversation_is_read_as_it_was_written,
            r_064_a_repeated_request_opens_one_conversation,
            r_066_a_request_id_is_its_owners,
            conversations_are_listed_newest_first_page_by_page,
            r_035_what_is_another_users_is_not_there,
            a_turn_begins_with_its_message,
            a_conversation_without_a_title_gets_the_start_of_its_first_message,
            r_069_a_repeated_message_is_said_once,
            r_075_a_conversation_has_one_open_turn,
            an_answer_to_a_turn_begins_one_only_while_nothing_else_was_said,
            r_083_what_was_spent_on_a_day_keeps_turns_of_that_day_from_beginning,
            of_two_who_store_a_step_one_loses,
            events_come_back_in_order_and_with_the_reply,
            messages_are_listed_oldest_first_page_by_page,
            history_is_bounded_and_ends_with_what_was_said_last,
            a_lease_is_one_runners_until_it_ends,
            a_title_is_changed_where_the_version_is_the_expected_one,
            what_is_deleted_is_gone_with_everything_in_it,
            a_wish_to_stop_is_kept_with_the_turn,
            a_turn_is_followed_from_any_step,
            the_last_turn_that_changed_something_is_known_however_far_back,
            r_041_an_erased_owner_writes_nothing_more,
            what_is_old_is_let_go_and_messages_stay,
            settings_are_their_owners_and_have_versions,
            what_is_being_written_is_kept_for_others_until_it_is_whole,
            a_draft_of_a_title_makes_room_for_a_better_one_once,
            r_046_what_its_user_has_said_about_a_title_is_never_overwritten,
            r_083_a_title_is_made_within_the_budget_and_is_counted,
        }
    };
    ($place:ty; $($name:ident),*,) => {
        $(#[tokio::test]
        async fn $name() {
            let Some(place) = <$place>::make().await else { return };
            let store = place.connect().await;
            $crate::store::conformance::$name(&store).await;
            $crate::store::Store::close(&store).await;
        })*
    };
}
pub(crate) use settings_tests::settings_are_their_owners_and_have_versions;
pub(crate) use suite;
pub(crate) use texts_tests::what_is_being_written_is_kept_for_others_until_it_is_whole;
pub(crate) use titles_tests::{
    a_draft_of_a_title_makes_room_for_a_better_one_once,
    r_046_what_its_user_has_said_about_a_title_is_never_overwritten,
    r_083_a_title_is_made_within_the_budget_and_is_counted,
};

pub(crate) use spending_tests::r_083_what_was_spent_on_a_day_keeps_turns_of_that_day_from_beginning;

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
        budget: None,
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
    NewEvents { from, events, has_changed: false, undone: None, now: now() }
}

fn reply(number: u128, text: &str) -> Event {
    Event::Replied { message: id(number + 2000), text: text.to_owned(), usage: None }
}

fn asked(call: ToolCall) -> Event {
    turn::asked(&[], vec![call], None, crate::task_tools::classify)
}

async fn open(store: &dyn Store, owner: UserId, number: u128, title: &str) -> Conversation {
    let new = NewConversation { id: id(number), title: title.to_owned(), now: now() };
    match store.create_conversation(owner, new, by_user(None)).await.unwrap() {
        Created::Opened(conversation) => conversation,
        other => panic!("{other:?}"),
    }
}

/// A whole turn: said, answered.
async fn exchange(store: &dyn Store, owner: UserId, number: u128, place: Place) {
    let begun = store.start_turn(owner, new_turn(number, place, "hello"), by_user(None)).await.unwrap();
    assert_eq!(begun, Begun::New);
    assert!(
        store
            .append(owner, id(number), events(1, vec![turn::said("hi"), reply(number, "hi")]))
            .await
            .unwrap()
            .is_stored()
    );
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
    assert!(!store.append(bob, id(10), events(3, vec![turn::said("x")])).await.unwrap().is_stored());
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
    assert!(
        store.append(user(ANN), id(10), events(1, vec![turn::said("y"), reply(10, "y")])).await.unwrap().is_stored()
    );
    assert_eq!(begin(11).await.unwrap(), Begun::New);
    let failed = events(1, vec![fault::failed("down", fault::Fault::Unavailable)]);
    assert!(store.append(user(ANN), id(11), failed).await.unwrap().is_stored());
    assert_eq!(begin(12).await.unwrap(), Begun::New, "a failed turn is over, too");
    let order: Vec<_> = said(store, user(ANN), 1).await.into_iter().map(|said| said.message.turn).collect();
    assert_eq!(order, [10, 10, 11, 12].map(id));
}

pub(crate) async fn of_two_who_store_a_step_one_loses(store: &dyn Store) {
    store.start_turn(user(ANN), new_turn(10, Place::New(id(1)), "x"), by_user(None)).await.unwrap();
    let one = events(1, vec![turn::said("one"), reply(10, "one")]);
    let two = events(1, vec![turn::said("two"), reply(20, "two")]);
    let (first, second) = tokio::join!(store.append(user(ANN), id(10), one), store.append(user(ANN), id(10), two));
    assert_ne!(first.unwrap().is_stored(), second.unwrap().is_stored());
    assert_eq!(said(store, user(ANN), 1).await.len(), 2);
    let skipping = events(7, vec![turn::said("x")]);
    assert!(!store.append(user(ANN), id(10), skipping).await.unwrap().is_stored(), "no step is left out");
    assert!(!store.append(user(ANN), id(99), events(0, vec![turn::said("x")])).await.unwrap().is_stored());
}

pub(crate) async fn events_come_back_in_order_and_with_the_reply(store: &dyn Store) {
    store.start_turn(user(ANN), new_turn(10, Place::New(id(1)), "x"), by_user(None)).await.unwrap();
    let asked = asked(call("a", "list_tasks", serde_json::json!({})));
    let finished = Event::ToolFinished { call_id: "a".to_owned(), outcome: Ok(serde_json::json!({"tasks": []})) };
    assert!(store.append(user(ANN), id(10), events(1, vec![asked.clone()])).await.unwrap().is_stored());
    assert!(store.append(user(ANN), id(10), events(2, vec![finished.clone()])).await.unwrap().is_stored());
    assert!(
        store.append(user(ANN), id(10), events(3, vec![turn::said("y"), reply(10, "y")])).await.unwrap().is_stored()
    );
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
    let renew = |holder: u128| store.renew_lease(user(ANN), id(10), lease(holder));
    assert_eq!(renew(70).await.unwrap(), Renewed::Kept { is_cancelled: false });
    assert_eq!(renew(71).await.unwrap(), Renewed::Lost);
    assert_eq!(take(71, now() + LEASE).await.unwrap(), Taken::Yes, "it has run out");
    store.release_lease(user(ANN), id(10), id(70)).await.unwrap();
    assert_eq!(take(70, now()).await.unwrap(), Taken::Held, "only one's own lease is given back");
    store.release_lease(user(ANN), id(10), id(71)).await.unwrap();
    assert_eq!(take(70, now()).await.unwrap(), Taken::Yes);
    store.append(user(ANN), id(10), events(1, vec![turn::said("y"), reply(10, "y")])).await.unwrap();
    assert_eq!(take(70, now()).await.unwrap(), Taken::Over);
    assert_eq!(renew(70).await.unwrap(), Renewed::Lost);
    assert_eq!(store.take_lease(user(ANN), id(99), lease(70), now()).await.unwrap(), Taken::Over);
}

pub(crate) async fn a_title_is_changed_where_the_version_is_the_expected_one(store: &dyn Store) {
    let opened = open(store, user(ANN), 1, "Groceries").await;
    let edit = |expected, title: &str| Edit { expected, title: title.to_owned(), now: now() };
    let change = |edit, request| store.update_conversation(user(ANN), id(1), edit, by_user(request));
    assert_eq!(change(edit(Some(7), "x"), None).await.unwrap(), Updated::Stale);
    let Updated::Done(changed) = change(edit(Some(opened.version), "Food"), named("r", "x")).await.unwrap() else {
        panic!("it has that version")
    };
    assert_eq!((changed.title.as_str(), changed.version), ("Food", 2));
    assert_eq!(store.conversation(user(ANN), id(1)).await.unwrap(), Some(changed.clone()));
    assert_eq!(change(edit(Some(9), "y"), named("r", "x")).await.unwrap(), Updated::Done(changed.clone()), "a retry");
    assert_eq!(change(edit(None, "y"), named("r", "y")).await.unwrap(), Updated::Reused);
    assert_eq!(change(edit(None, "Food"), None).await.unwrap(), Updated::Done(changed), "nothing changes");
    let foreign = store.update_conversation(user(BOB), id(1), edit(None, "x"), by_user(None)).await.unwrap();
    assert_eq!(foreign, Updated::Unknown);
}

pub(crate) async fn what_is_deleted_is_gone_with_everything_in_it(store: &dyn Store) {
    exchange(store, user(ANN), 10, Place::New(id(1))).await;
    exchange(store, user(ANN), 11, Place::New(id(2))).await;
    store.start_turn(user(ANN), new_turn(12, Place::Existing(id(1)), "x"), by_user(None)).await.unwrap();
    let delete = |owner, request| store.delete_conversation(owner, id(1), now(), by_user(request));
    assert_eq!(delete(user(BOB), None).await.unwrap(), Deleted::Unknown);
    assert_eq!(delete(user(ANN), named("r", "x")).await.unwrap(), Deleted::Done);
    assert_eq!(delete(user(ANN), named("r", "x")).await.unwrap(), Deleted::Done, "a retry");
    assert_eq!(delete(user(ANN), named("r", "y")).await.unwrap(), Deleted::Reused);
    assert_eq!(delete(user(ANN), None).await.unwrap(), Deleted::Unknown);
    assert_eq!(store.conversation(user(ANN), id(1)).await.unwrap(), None);
    assert_eq!(store.turn(user(ANN), id(10)).await.unwrap(), None);
    assert!(
        !store.append(user(ANN), id(12), events(1, vec![turn::said("x")])).await.unwrap().is_stored(),
        "its runner stops"
    );
    assert_eq!(said(store, user(ANN), 2).await.len(), 2, "the other one stays");
}

pub(crate) async fn a_wish_to_stop_is_kept_with_the_turn(store: &dyn Store) {
    store.start_turn(user(ANN), new_turn(10, Place::New(id(1)), "x"), by_user(None)).await.unwrap();
    let cancel = |owner, request| store.cancel_turn(owner, id(10), now(), by_user(request));
    assert!(!store.turn(user(ANN), id(10)).await.unwrap().unwrap().is_cancelled);
    assert_eq!(cancel(user(BOB), None).await.unwrap(), Cancel::Unknown);
    assert_eq!(cancel(user(ANN), named("r", "x")).await.unwrap(), Cancel::Kept);
    assert!(store.turn(user(ANN), id(10)).await.unwrap().unwrap().is_cancelled);
    assert!(store.follow(user(ANN), id(10), usize::MAX).await.unwrap().unwrap().is_cancelled);
    let renewed = store.renew_lease(user(ANN), id(10), lease(70)).await.unwrap();
    assert_eq!(renewed, Renewed::Kept { is_cancelled: true }, "whoever works on it is told");
    let said = store.append(user(ANN), id(10), events(1, vec![turn::said("x")])).await.unwrap();
    assert!(matches!(said, Appended::Stored { is_cancelled: true, .. }), "{said:?}");
    assert!(
        store
            .append(user(ANN), id(10), events(2, vec![Event::Cancelled, reply(10, "stopped")]))
            .await
            .unwrap()
            .is_stored()
    );
    assert_eq!(cancel(user(ANN), None).await.unwrap(), Cancel::Over);
    assert_eq!(cancel(user(ANN), named("r", "x")).await.unwrap(), Cancel::Kept, "a retry");
    assert_eq!(cancel(user(ANN), named("r", "y")).await.unwrap(), Cancel::Reused);
}

pub(crate) async fn a_turn_is_followed_from_any_step(store: &dyn Store) {
    let mut listener = store.hints().subscribe(user(ANN));
    store.start_turn(user(ANN), new_turn(10, Place::New(id(1)), "x"), by_user(None)).await.unwrap();
    let first = store.follow(user(ANN), id(10), 0).await.unwrap().unwrap();
    assert_eq!((first.events.len(), first.is_open, first.conversation), (1, true, id(1)));
    assert_eq!(listener.newer_than(0).await, first.head, "whoever waits was woken");
    assert!(
        store.append(user(ANN), id(10), events(1, vec![turn::said("y"), reply(10, "y")])).await.unwrap().is_stored()
    );
    assert!(listener.newer_than(first.head).await > first.head);
    for from in 0..=3 {
        let followed = store.follow(user(ANN), id(10), from).await.unwrap().unwrap();
        assert_eq!((followed.events.len(), followed.is_open), (3 - from, false));
    }
    assert_eq!(store.follow(user(BOB), id(10), 0).await.unwrap(), None);
}

pub(crate) async fn the_last_turn_that_changed_something_is_known_however_far_back(store: &dyn Store) {
    open(store, user(ANN), 1, "a").await;
    let changing = |number: u128| async move {
        let begun = store.start_turn(user(ANN), new_turn(number, Place::Existing(id(1)), "x"), by_user(None)).await;
        assert_eq!(begun.unwrap(), Begun::New);
        let new = NewEvents { has_changed: true, ..events(1, vec![turn::said("y")]) };
        assert!(store.append(user(ANN), id(number), new).await.unwrap().is_stored());
        assert!(store.append(user(ANN), id(number), events(2, vec![reply(number, "y")])).await.unwrap().is_stored());
    };
    changing(10).await;
    changing(11).await;
    for number in 12..20 {
        exchange(store, user(ANN), number, Place::Existing(id(1))).await;
    }
    let last = |owner, conversation: u128| store.history(owner, id(conversation), REACH);
    assert_eq!(last(user(ANN), 1).await.unwrap().last_turn, Some(id(11)));
    assert_eq!(last(user(ANN), 2).await.unwrap().last_turn, None);
    assert_eq!(last(user(BOB), 1).await.unwrap().last_turn, None);
    store.start_turn(user(ANN), new_turn(30, Place::Existing(id(1)), "undo"), by_user(None)).await.unwrap();
    let undo = NewEvents { undone: Some(id(11)), ..events(1, vec![turn::said("y"), reply(30, "y")]) };
    assert!(store.append(user(ANN), id(30), undo).await.unwrap().is_stored());
    assert_eq!(last(user(ANN), 1).await.unwrap().last_turn, Some(id(10)), "the next undo goes further back");
}

pub(crate) async fn r_041_an_erased_owner_writes_nothing_more(store: &dyn Store) {
    exchange(store, user(ANN), 10, Place::New(id(1))).await;
    exchange(store, user(BOB), 20, Place::New(id(2))).await;
    let new = NewConversation { id: id(3), title: "a".to_owned(), now: now() };
    store.create_conversation(user(ANN), new.clone(), by_user(named("r", "x"))).await.unwrap();
    while !store.erase(user(ANN), now()).await.unwrap() {}
    assert!(store.erase(user(ANN), now()).await.unwrap(), "and again");
    assert_eq!(store.conversations(user(ANN), None, 10).await.unwrap().items, []);
    assert_eq!(store.turn(user(ANN), id(10)).await.unwrap(), None);
    let again = store.create_conversation(user(ANN), new, by_user(named("r", "x"))).await.unwrap();
    assert_eq!(again, Created::Erased, "no answer is replayed");
    let begun = store.start_turn(user(ANN), new_turn(11, Place::New(id(4)), "x"), by_user(None)).await.unwrap();
    assert_eq!(begun, Begun::Erased);
    let edit = Edit { expected: None, title: "x".to_owned(), now: now() };
    let updated = store.update_conversation(user(ANN), id(1), edit, by_user(None)).await.unwrap();
    assert_eq!(updated, Updated::Erased);
    let deleted = store.delete_conversation(user(ANN), id(1), now(), by_user(None)).await.unwrap();
    assert_eq!(deleted, Deleted::Erased);
    assert_eq!(store.cancel_turn(user(ANN), id(10), now(), by_user(None)).await.unwrap(), Cancel::Erased);
    assert_eq!(said(store, user(BOB), 2).await.len(), 2, "others keep what they have");
}

pub(crate) async fn what_is_old_is_let_go_and_messages_stay(store: &dyn Store) {
    let start = new_turn(10, Place::New(id(1)), "hello");
    store.start_turn(user(ANN), start, by_user(named("r", "x"))).await.unwrap();
    assert!(
        store.append(user(ANN), id(10), events(1, vec![turn::said("hi"), reply(10, "hi")])).await.unwrap().is_stored()
    );
    store.start_turn(user(ANN), new_turn(11, Place::Existing(id(1)), "open"), by_user(None)).await.unwrap();
    let before = now() - jiff::SignedDuration::from_secs(1);
    let ages = |answered, changed| Ages { answered, changed };
    assert!(store.tidy(ages(before, before)).await.unwrap(), "nothing is old");
    while !store.tidy(ages(now(), before)).await.unwrap() {}
    let again = new_turn(12, Place::New(id(2)), "hello");
    let begun = store.start_turn(user(ANN), again, by_user(named("r", "x"))).await.unwrap();
    assert_eq!(begun, Begun::New, "the request is forgotten");
    assert_eq!(store.turn(user(ANN), id(10)).await.unwrap().unwrap().events.len(), 3);
    while !store.tidy(ages(now(), now())).await.unwrap() {}
    assert_eq!(store.turn(user(ANN), id(10)).await.unwrap(), None);
    assert_eq!(store.follow(user(ANN), id(10), 0).await.unwrap(), None);
    assert_eq!(store.turn(user(ANN), id(11)).await.unwrap().unwrap().events.len(), 1, "one that is open goes on");
    assert_eq!(said(store, user(ANN), 1).await.len(), 3);
}

pub(crate) async fn an_answer_to_a_turn_begins_one_only_while_nothing_else_was_said(store: &dyn Store) {
    let ann = user(ANN);
    open(store, ann, 1, "").await;
    exchange(store, ann, 10, Place::Existing(id(1))).await;
    let after = |turn| Place::After { conversation: id(1), turn: id(turn) };
    let start = |number, place, request: Option<errand_changelog::Request>| {
        store.start_turn(ann, new_turn(number, place, "yes"), by_user(request))
    };
    assert_eq!(start(11, after(9), None).await.unwrap(), Begun::Moved);
    let elsewhere = Place::After { conversation: id(2), turn: id(10) };
    assert_eq!(start(11, elsewhere, None).await.unwrap(), Begun::ConversationUnknown);
    let foreign = store.start_turn(user(BOB), new_turn(11, after(10), "yes"), by_user(None)).await.unwrap();
    assert_eq!(foreign, Begun::ConversationUnknown);
    assert_eq!(start(11, after(10), named("y", "yes")).await.unwrap(), Begun::New);
    // The same once more is the same turn; anything else comes too late.
    assert_eq!(start(12, after(10), named("y", "yes")).await.unwrap(), Begun::Replayed(id(11)));
    assert_eq!(start(12, after(10), named("z", "yes")).await.unwrap(), Begun::Moved);
    let end = events(1, vec![turn::said("done"), reply(11, "done")]);
    assert!(store.append(ann, id(11), end).await.unwrap().is_stored());
    assert_eq!(start(12, after(10), None).await.unwrap(), Begun::Moved);
    assert_eq!(start(12, after(11), None).await.unwrap(), Begun::New);
}
