use super::*;
use crate::domain::usage::Usage;

async fn said_first(store: &dyn Store, number: u128, place: Place) {
    exchange(store, user(ANN), number, place).await;
}

fn made(conversation: u128, draft: Seq, title: &str) -> NewTitle {
    let (conversation, title) = (id(conversation), Some(title.to_owned()));
    NewTitle { conversation, turn: id(10), draft, title, spent: None, now: now() }
}

async fn draft(store: &dyn Store, conversation: u128) -> Option<Seq> {
    store.draft(user(ANN), id(conversation), None, now()).await.unwrap()
}

async fn title(store: &dyn Store, conversation: u128) -> (String, Seq) {
    let found = store.conversation(user(ANN), id(conversation)).await.unwrap().unwrap();
    (found.title, found.version)
}

pub(crate) async fn a_draft_of_a_title_makes_room_for_a_better_one_once(store: &dyn Store) {
    let ann = user(ANN);
    // Opened by its first message, or before it.
    said_first(store, 10, Place::New(id(1))).await;
    open(store, ann, 2, "").await;
    assert_eq!(draft(store, 2).await, None, "there is nothing to make one of");
    said_first(store, 11, Place::Existing(id(2))).await;
    for conversation in [1, 2] {
        let version = draft(store, conversation).await.unwrap();
        assert_eq!(title(store, conversation).await, ("hello".to_owned(), version));
        let bob = user(BOB);
        assert_eq!(store.draft(bob, id(conversation), None, now()).await.unwrap(), None);
        store.entitle(bob, made(conversation, version, "Mine")).await.unwrap();
        store.entitle(ann, made(conversation, version + 1, "Of another time")).await.unwrap();
        store.entitle(ann, NewTitle { title: None, ..made(conversation, version, "") }).await.unwrap();
        assert_eq!(title(store, conversation).await.0, "hello");
        store.entitle(ann, made(conversation, version, "Greetings")).await.unwrap();
        store.entitle(ann, made(conversation, version, "Greetings again")).await.unwrap();
        let (found, newer) = title(store, conversation).await;
        assert_eq!((found.as_str(), draft(store, conversation).await), ("Greetings", None));
        assert!(newer > version, "it is a change as any other");
    }
    said_first(store, 12, Place::Existing(id(1))).await;
    assert_eq!((draft(store, 1).await, title(store, 1).await.0.as_str()), (None, "Greetings"));
}

pub(crate) async fn r_046_what_its_user_has_said_about_a_title_is_never_overwritten(store: &dyn Store) {
    let ann = user(ANN);
    open(store, ann, 1, "hello").await;
    said_first(store, 10, Place::Existing(id(1))).await;
    assert_eq!(draft(store, 1).await, None, "it was given one, which says the same");
    for (conversation, said) in [(2, "Mine"), (3, "hello")] {
        said_first(store, conversation + 10, Place::New(id(conversation))).await;
        let version = draft(store, conversation).await.unwrap();
        let edit = Edit { expected: None, title: said.to_owned(), now: now() };
        let updated = store.update_conversation(ann, id(conversation), edit, by_user(None)).await.unwrap();
        assert!(matches!(updated, Updated::Done(_)), "{updated:?}");
        assert_eq!(draft(store, conversation).await, None, "{said}");
        store.entitle(ann, made(conversation, version, "Greetings")).await.unwrap();
        assert_eq!(title(store, conversation).await.0, said);
    }
}

pub(crate) async fn r_083_a_title_is_made_within_the_budget_and_is_counted(store: &dyn Store) {
    let ann = user(ANN);
    said_first(store, 10, Place::New(id(1))).await;
    let version = draft(store, 1).await.unwrap();
    let within = async |budget| store.draft(ann, id(1), Some(budget), now()).await.unwrap();
    assert_eq!(within(1).await, Some(version));
    let spent = Some(Usage { prompt: 90, completion: 10 });
    store.entitle(ann, NewTitle { title: None, spent, ..made(1, version, "") }).await.unwrap();
    assert_eq!((within(100).await, within(101).await), (None, Some(version)), "what came to nothing has cost, too");
    store.entitle(ann, NewTitle { spent, ..made(1, version, "Greetings") }).await.unwrap();
    let start = |number, budget| NewTurn { budget: Some(budget), ..new_turn(number, Place::New(id(number)), "hi") };
    assert_eq!(store.start_turn(ann, start(20, 200), by_user(None)).await.unwrap(), Begun::Spent);
    assert_eq!(store.start_turn(ann, start(20, 201), by_user(None)).await.unwrap(), Begun::New);
    while !store.erase(ann, now()).await.unwrap() {}
    store.entitle(ann, made(1, version, "Of nobody")).await.unwrap();
    assert_eq!(store.conversation(ann, id(1)).await.unwrap(), None);
}
