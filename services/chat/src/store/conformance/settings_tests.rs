//! What owners set.

use super::{super::*, ANN, BOB};
use crate::testing::{by_user, named, now, user};

pub(crate) async fn settings_are_their_owners_and_have_versions(store: &dyn Store) {
    let (ann, bob) = (user(ANN), user(BOB));
    let rules = |text: &str| crate::rules(text).unwrap();
    let set = |owner, text: &str, expected, request: Option<errand_changelog::Request>| {
        store.update_settings(owner, NewSettings { expected, rules: rules(text), now: now() }, by_user(request))
    };
    assert_eq!(store.settings(ann).await.unwrap(), Settings::default());
    let Set::Done(first) = set(ann, "delete_tasks=deny", Some(0), named("s", "x")).await.unwrap() else { panic!() };
    assert_eq!((first.version, first.rules.clone(), first.updated), (1, rules("delete_tasks=deny"), Some(now())));
    assert_eq!(store.settings(ann).await.unwrap(), first);
    assert_eq!(store.settings(bob).await.unwrap(), Settings::default());
    // Repeated, unchanged, stale.
    assert_eq!(set(ann, "delete_tasks=deny", Some(0), named("s", "x")).await.unwrap(), Set::Done(first.clone()));
    assert_eq!(set(ann, "add_tasks=deny", None, named("s", "y")).await.unwrap(), Set::Reused);
    assert_eq!(set(ann, "delete_tasks=deny", None, None).await.unwrap(), Set::Done(first.clone()));
    assert_eq!(set(ann, "add_tasks=deny", Some(7), None).await.unwrap(), Set::Stale);
    let Set::Done(second) = set(ann, "", Some(1), None).await.unwrap() else { panic!() };
    assert_eq!((second.version, second.rules.clone()), (2, rules("")));
    while !store.erase(ann, now()).await.unwrap() {}
    assert_eq!(store.settings(ann).await.unwrap(), Settings::default());
    assert_eq!(set(ann, "add_tasks=deny", None, None).await.unwrap(), Set::Erased);
}
