//! What operators do: look, disable, enable, set a password, import.

use super::*;

/// Runs every case.
pub(super) async fn all<F, O>(open: &F)
where
    F: Fn() -> O,
    O: Future<Output = Arc<dyn Store>>,
{
    accounts_are_listed_by_their_addresses(open().await).await;
    a_disabled_account_opens_and_rotates_nothing_until_it_is_enabled(open().await).await;
    enabling_ends_the_sessions_from_before(open().await).await;
    a_password_that_was_reset_ends_every_session(open().await).await;
    an_imported_account_begins_without_a_session(open().await).await;
    imported_hashes_are_counted_until_they_are_replaced(open().await).await;
    r_071_no_session_lives_when_disabling_met_log_in_and_refresh(open().await).await;
}

async fn accounts_are_listed_by_their_addresses(store: Arc<dyn Store>) {
    assert_eq!(store.accounts("", 10).await.unwrap(), []);
    let mut all = Vec::new();
    for number in [3, 1, 2] {
        all.push(sign_up(store.as_ref(), number).await);
    }
    all.sort_by_key(|account| account.id.to_string());
    assert_eq!(store.accounts("", 10).await.unwrap(), all);
    assert_eq!(store.accounts("", 2).await.unwrap(), all[..2]);
    assert_eq!(store.accounts("2@example.com", 2).await.unwrap(), all[2..]);
    assert!(store.close_account(user(2), hash("first"), &[], at(1)).await.unwrap());
    assert_eq!(store.accounts("1@example.com", 2).await.unwrap(), all[2..]);
}

async fn a_disabled_account_opens_and_rotates_nothing_until_it_is_enabled(store: Arc<dyn Store>) {
    let account = sign_up(store.as_ref(), 1).await;
    let set = |disabled, seconds| store.set_disabled(user(1), disabled, origin(), at(seconds));
    assert_eq!(store.set_disabled(user(9), true, origin(), at(1)).await.unwrap(), None);
    assert_eq!(set(false, 1).await.unwrap(), Some(false));
    assert_eq!(set(true, 1).await.unwrap(), Some(true));
    assert_eq!(set(true, 2).await.unwrap(), Some(false), "twice");
    let disabled = Account { version: 3, update_time: at(1), disable_time: Some(at(1)), ..account.clone() };
    assert_eq!(store.account(user(1), None).await.unwrap().account, Some(disabled.clone()));
    assert_eq!(store.accounts("", 10).await.unwrap(), std::slice::from_ref(&disabled));

    let opening = || Opening { held: held(1001, at(3)), verified: hash("first"), upgraded: Some(hash("better")) };
    assert_eq!(store.open_session(user(1), opening(), origin(), at(3)).await.unwrap(), None);
    assert_eq!(store.credential(user(1)).await.unwrap().unwrap().1, hash("first"));
    let next = Held { session: held(1000, NOW).session.rotated(1, at(3)), secret_hash: [0xbb; 32] };
    assert!(!store.rotate(user(1), next.clone()).await.unwrap());
    let (_, seen) = store.session(user(1), Uuid::from_u128(1000)).await.unwrap().unwrap();
    assert_eq!(seen, disabled, "so that its holder can be told why");

    assert_eq!(set(false, 4).await.unwrap(), Some(true));
    assert!(!store.rotate(user(1), next).await.unwrap());
    assert!(store.open_session(user(1), opening(), origin(), at(5)).await.unwrap().is_some());
    let log = store.changes(user(1), 0, usize::MAX).await.unwrap();
    let kinds: Vec<_> = log.iter().map(|change| change.kind.as_str()).collect();
    assert_eq!(kinds, ["sign_up", "log_in", "disable_account", "enable_account", "end_session", "log_in"]);
    assert_eq!(log[2].before, Some(Subject::Account(account)));
    assert_eq!(log[2].after, Some(Subject::Account(disabled)));
}

async fn enabling_ends_the_sessions_from_before(store: Arc<dyn Store>) {
    sign_up(store.as_ref(), 1).await;
    sign_up(store.as_ref(), 2).await;
    open_session(store.as_ref(), user(1), 1001, at(1)).await;
    for disabled in [true, false] {
        assert_eq!(store.set_disabled(user(1), disabled, origin(), at(2)).await.unwrap(), Some(true));
    }
    assert_eq!(ids(store.as_ref(), user(1), at(2)).await, [0; 0]);
    for id in [1000, 1001] {
        assert_eq!(store.owner_of_session(Uuid::from_u128(id)).await.unwrap(), None);
    }
    assert_eq!(ids(store.as_ref(), user(2), at(2)).await, [2000]);
    assert_eq!(kinds(store.as_ref(), user(1)).await.len(), 7);
}

async fn a_password_that_was_reset_ends_every_session(store: Arc<dyn Store>) {
    sign_up(store.as_ref(), 1).await;
    open_session(store.as_ref(), user(1), 1001, at(1)).await;
    let reset = |owner| store.reset_password(owner, hash("new"), origin(), at(2));
    assert!(!reset(user(9)).await.unwrap());
    assert!(reset(user(1)).await.unwrap());
    assert_eq!(ids(store.as_ref(), user(1), at(2)).await, [0; 0]);
    let (account, password) = store.credential(user(1)).await.unwrap().unwrap();
    assert_eq!((password, account.version, account.update_time), (hash("new"), 4, at(2)));
    let kinds = kinds(store.as_ref(), user(1)).await;
    assert_eq!(kinds[3..], ["reset_password", "end_session", "end_session"]);
}

async fn an_imported_account_begins_without_a_session(store: Arc<dyn Store>) {
    let mut imported = Beginning { held: None, ..beginning(user(1), "Ada@Example.com", 1000) };
    imported.account.create_time = at(-1000);
    let account = store.sign_up(user(1), imported.clone(), origin()).await.unwrap().unwrap();
    assert_eq!((account.version, account.create_time, account.update_time), (1, at(-1000), NOW));
    assert_eq!(store.account(user(1), None).await.unwrap().account, Some(account.clone()));
    assert_eq!(store.owner_of_session(Uuid::from_u128(1000)).await.unwrap(), None);
    assert_eq!(store.sign_up(user(2), imported, origin()).await.unwrap(), None, "twice");
    open_session(store.as_ref(), user(1), 1001, at(1)).await;
    let log = store.changes(user(1), 0, usize::MAX).await.unwrap();
    let kinds: Vec<_> = log.iter().map(|change| (change.seq, change.kind.as_str(), change.time)).collect();
    assert_eq!(kinds, [(1, "import_account", NOW), (2, "log_in", at(1))]);
    assert_eq!(log[0].after, Some(Subject::Account(account)));
}

async fn imported_hashes_are_counted_until_they_are_replaced(store: Arc<dyn Store>) {
    assert_eq!(store.costs().await.unwrap(), Costs::default());
    for number in 1..=5 {
        let imported = (number > 1).then(|| if number == 5 { "b".to_owned() } else { "a".to_owned() });
        let email = format!("{number}@example.com");
        let beginning = Beginning { imported, held: None, ..beginning(user(number), &email, number * 1000) };
        store.sign_up(user(number), beginning, origin()).await.unwrap().unwrap();
    }
    let all = Costs { accounts: 5, imported: vec![("a".into(), 3), ("b".into(), 1)] };
    assert_eq!(store.costs().await.unwrap(), all);
    let opening = |number| Opening { held: held(number, NOW), verified: hash("first"), upgraded: Some(hash("ours")) };
    assert!(store.open_session(user(2), opening(2), origin(), NOW).await.unwrap().is_some());
    assert!(store.open_session(user(1), opening(1), origin(), NOW).await.unwrap().is_some());
    assert!(store.reset_password(user(3), hash("ours"), origin(), NOW).await.unwrap());
    let fewer = Costs { accounts: 5, imported: vec![("a".into(), 1), ("b".into(), 1)] };
    assert_eq!(store.costs().await.unwrap(), fewer);
    assert!(store.close_account(user(4), hash("first"), &[], NOW).await.unwrap());
    let one = Costs { accounts: 4, imported: vec![("b".into(), 1)] };
    assert_eq!(store.costs().await.unwrap(), one);
    open_session(store.as_ref(), user(5), 5, NOW).await;
    assert_eq!(store.costs().await.unwrap(), one, "the hash is the same");
    assert!(store.change_password(user(5), hash("first"), hash("ours"), Uuid::nil(), origin(), NOW).await.unwrap());
    assert_eq!(store.costs().await.unwrap(), Costs::default());
}

async fn r_071_no_session_lives_when_disabling_met_log_in_and_refresh(store: Arc<dyn Store>) {
    for round in 1..=20 {
        let owner = user(round);
        sign_up(store.as_ref(), round).await;
        let next = Held { session: held(round * 1000, NOW).session.rotated(1, at(1)), secret_hash: [0xbb; 32] };
        let opening = Opening { held: held(round * 1000 + 1, at(1)), verified: hash("first"), upgraded: None };
        let (a, b, c) = (store.clone(), store.clone(), store.clone());
        let tasks = [
            tokio::spawn(async move {
                a.set_disabled(owner, true, origin(), at(1)).await.unwrap();
            }),
            tokio::spawn(async move {
                b.rotate(owner, next).await.unwrap();
            }),
            tokio::spawn(async move {
                c.open_session(owner, opening, origin(), at(1)).await.unwrap();
            }),
        ];
        for task in tasks {
            task.await.unwrap();
        }
        store.set_disabled(owner, false, origin(), at(2)).await.unwrap();
        assert_eq!(ids(store.as_ref(), owner, at(2)).await, [0; 0], "round {round}");
        let seqs: Vec<_> = store.changes(owner, 0, usize::MAX).await.unwrap().iter().map(|change| change.seq).collect();
        assert_eq!(seqs, (1..=i64::try_from(seqs.len()).unwrap()).collect::<Vec<_>>());
    }
}
