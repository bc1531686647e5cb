use jiff::ToSpan;

use super::*;
use crate::domain::usage::Usage;

pub(crate) async fn r_083_what_was_spent_on_a_day_keeps_turns_of_that_day_from_beginning(store: &dyn Store) {
    let ann = user(ANN);
    let start = |owner, number, budget, now, request: Option<errand_changelog::Request>| {
        store.start_turn(
            owner,
            NewTurn { budget, now, ..new_turn(number, Place::New(id(number)), "hi") },
            by_user(request),
        )
    };
    assert_eq!(start(ann, 10, Some(100), now(), named("r", "x")).await.unwrap(), Begun::New);
    let spent = Event::Spent(Usage { prompt: 60, completion: 40 });
    let end = events(1, vec![turn::said("hi"), spent, reply(10, "hi")]);
    assert!(store.append(ann, id(10), end).await.unwrap().is_stored());
    assert_eq!(start(ann, 11, Some(100), now(), None).await.unwrap(), Begun::Spent);
    assert_eq!(start(ann, 11, Some(100), now(), named("r", "x")).await.unwrap(), Begun::Replayed(id(10)));
    let spending = store.history(ann, id(10), REACH).await.unwrap().spending;
    assert_eq!((spending.left_of(130, now()), spending.left_of(130, now() + 24.hours())), (30, 130));
    assert_eq!(store.history(user(BOB), id(10), REACH).await.unwrap().spending.left_of(130, now()), 130);
    store.delete_conversation(ann, id(10), now(), by_user(None)).await.unwrap();
    assert_eq!(start(ann, 11, Some(100), now(), None).await.unwrap(), Begun::Spent, "what was spent stays spent");
    assert_eq!(start(ann, 11, Some(101), now(), None).await.unwrap(), Begun::New);
    assert_eq!(start(user(BOB), 20, Some(100), now(), None).await.unwrap(), Begun::New, "everybody has their own");
    let tomorrow = now() + 24.hours();
    assert_eq!(start(ann, 13, Some(100), tomorrow, None).await.unwrap(), Begun::New);
}
