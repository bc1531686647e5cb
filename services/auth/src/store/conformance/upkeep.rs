//! What is done without being asked: signing keys, erasures, and the dropping of what has expired.

use super::*;

/// Runs every case.
pub(super) async fn all<F, O>(open: &F)
where
    F: Fn() -> O,
    O: Future<Output = Arc<dyn Store>>,
{
    signing_keys_end_when_a_newer_one_comes(open().await).await;
    of_many_first_signing_keys_one_is_made(open().await).await;
    an_erasure_is_due_again_and_again_until_it_is_finished(open().await).await;
    what_has_expired_is_dropped_and_nothing_else(open().await).await;
    what_was_refreshed_or_is_kept_anew_is_dropped_later(open().await).await;
    of_many_who_claim_erasures_each_is_taken_once(open().await).await;
}

async fn signing_keys_end_when_a_newer_one_comes(store: Arc<dyn Store>) {
    let key = |kid: &str, seconds| SealedKey {
        kid: kid.into(),
        create_time: at(seconds),
        not_before: at(seconds + 600),
        not_after: None,
        sealed: vec![1, 2, 3],
    };
    assert_eq!(store.signing_keys().await.unwrap(), []);
    assert!(!store.add_signing_key(key("a", 0), at(0), Some("b")).await.unwrap());
    assert!(store.add_signing_key(key("a", 0), at(0), None).await.unwrap());
    assert!(!store.add_signing_key(key("b", 10), at(1000), None).await.unwrap(), "another process was faster");
    assert!(store.add_signing_key(key("b", 10), at(1000), Some("a")).await.unwrap());
    assert!(!store.add_signing_key(key("c", 10), at(1000), Some("a")).await.unwrap());
    let ended = SealedKey { not_after: Some(at(1000)), ..key("a", 0) };
    assert_eq!(store.signing_keys().await.unwrap(), [ended.clone(), key("b", 10)]);
    assert!(!store.tidy(at(999), 10).await.unwrap());
    assert_eq!(store.signing_keys().await.unwrap(), [ended, key("b", 10)]);
    assert!(store.add_signing_key(key("c", 1000), at(2000), Some("b")).await.unwrap());
    assert!(store.tidy(at(1000), 10).await.unwrap());
    let ended = SealedKey { not_after: Some(at(2000)), ..key("b", 10) };
    assert_eq!(store.signing_keys().await.unwrap(), [ended, key("c", 1000)]);
    assert!(matches!(store.add_signing_key(key("c", 1000), at(5000), Some("c")).await, Err(Error::Constraint)));
}

async fn of_many_first_signing_keys_one_is_made(store: Arc<dyn Store>) {
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let store = store.clone();
            let key = SealedKey {
                kid: format!("{number}"),
                create_time: NOW,
                not_before: NOW,
                not_after: None,
                sealed: vec![1],
            };
            tokio::spawn(async move { store.add_signing_key(key, NOW, None).await.unwrap() })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += usize::from(task.await.unwrap());
    }
    assert_eq!((made, store.signing_keys().await.unwrap().len()), (1, 1));
}

async fn an_erasure_is_due_again_and_again_until_it_is_finished(store: Arc<dyn Store>) {
    for number in 1..=2 {
        sign_up(store.as_ref(), number).await;
        assert!(store.close_account(user(number), hash("first"), &["one", "two"], at(5)).await.unwrap());
    }
    assert_eq!(store.claim_erasures(at(4), 10).await.unwrap(), Claimed { due: vec![], next: Some(at(5)) });
    let first = store.claim_erasures(at(5), 3).await.unwrap();
    assert_eq!((first.due.len(), first.next), (3, Some(at(5))), "one is left");
    let second = store.claim_erasures(at(5), 3).await.unwrap();
    assert_eq!((second.due.len(), second.next), (1, Some(at(6))));
    let mut all: Vec<_> =
        first.due.into_iter().chain(second.due).map(|one| (one.owner, one.service, one.tries)).collect();
    all.sort();
    let expected = [(1, "one"), (1, "two"), (2, "one"), (2, "two")];
    assert_eq!(all, expected.map(|(number, service)| (user(number), service.to_owned(), 0)));

    for (number, service) in [(1, "one"), (1, "two"), (2, "one")] {
        store.finish_erasure(user(number), service).await.unwrap();
        store.finish_erasure(user(number), service).await.unwrap();
    }
    for (tries, now, next) in [(1, 6, 8), (2, 8, 12), (3, 12, 20)] {
        let left = Erasure { owner: user(2), service: "two".into(), tries };
        let claimed = store.claim_erasures(at(now), 10).await.unwrap();
        assert_eq!(claimed, Claimed { due: vec![left], next: Some(at(next)) });
    }
    store.finish_erasure(user(2), "two").await.unwrap();
    assert_eq!(store.claim_erasures(at(99), 10).await.unwrap(), Claimed { due: vec![], next: None });
}

async fn what_has_expired_is_dropped_and_nothing_else(store: Arc<dyn Store>) {
    let (ada, bob) = (sign_up(store.as_ref(), 1).await, sign_up(store.as_ref(), 2).await);
    open_session(store.as_ref(), user(1), 1001, at(60)).await;
    store.update(user(1), ada, asking("a", "x"), at(0)).await.unwrap();
    store.update(user(2), bob, asking("b", "x"), at(1)).await.unwrap();
    let end = NOW + session::LIFETIME;
    assert!(!store.tidy(end - SignedDuration::from_secs(1), 10).await.unwrap());
    // One at a time: two sessions and, a second later, a request.
    assert!(store.tidy(end, 1).await.unwrap());
    assert!(store.tidy(end, 1).await.unwrap());
    assert!(!store.tidy(end, 1).await.unwrap());
    for id in [1000, 2000] {
        assert_eq!(store.owner_of_session(Uuid::from_u128(id)).await.unwrap(), None);
    }
    assert_eq!(ids(store.as_ref(), user(1), NOW).await, [1001]);
    assert!(store.account(user(1), Some("a")).await.unwrap().record.is_some(), "a week to the second");
    assert!(store.tidy(end + SignedDuration::from_secs(1), 10).await.unwrap());
    assert_eq!(store.account(user(1), Some("a")).await.unwrap().record, None);
    assert!(store.account(user(2), Some("b")).await.unwrap().record.is_some());
    assert_eq!(kinds(store.as_ref(), user(1)).await, ["sign_up", "log_in", "log_in"], "no history of it");
}

async fn what_was_refreshed_or_is_kept_anew_is_dropped_later(store: Arc<dyn Store>) {
    let ada = sign_up(store.as_ref(), 1).await;
    let next = Held { session: held(1000, NOW).session.rotated(1, at(100)), secret_hash: [0xbb; 32] };
    assert!(store.rotate(user(1), next.clone()).await.unwrap());
    store.update(user(1), ada.clone(), asking("a", "x"), at(0)).await.unwrap();
    store.update(user(1), ada, asking("b", "x"), at(100)).await.unwrap();
    let end = NOW + session::LIFETIME;
    while store.tidy(end + SignedDuration::from_secs(1), 10).await.unwrap() {}
    assert_eq!(store.session(user(1), Uuid::from_u128(1000)).await.unwrap().unwrap().0, next);
    assert_eq!(store.account(user(1), Some("a")).await.unwrap().record, None);
    assert!(store.account(user(1), Some("b")).await.unwrap().record.is_some());
    while store.tidy(end + SignedDuration::from_secs(101), 10).await.unwrap() {}
    assert_eq!(store.session(user(1), Uuid::from_u128(1000)).await.unwrap(), None);
    assert_eq!(store.owner_of_session(Uuid::from_u128(1000)).await.unwrap(), None);
    assert_eq!(store.account(user(1), Some("b")).await.unwrap().record, None);
    assert!(!store.tidy(end + SignedDuration::from_secs(102), 10).await.unwrap());
}

async fn of_many_who_claim_erasures_each_is_taken_once(store: Arc<dyn Store>) {
    for number in 1..=20 {
        sign_up(store.as_ref(), number).await;
        assert!(store.close_account(user(number), hash("first"), &["one", "two"], at(5)).await.unwrap());
    }
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.claim_erasures(at(5), 7).await.unwrap().due })
        })
        .collect();
    let mut taken = Vec::new();
    for task in tasks {
        taken.extend(task.await.unwrap().into_iter().map(|one| (one.owner, one.service)));
    }
    assert_eq!(taken.len(), 40);
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 40, "nobody's twice");
    assert_eq!(store.claim_erasures(at(5), 7).await.unwrap(), Claimed { due: vec![], next: Some(at(6)) });
}
