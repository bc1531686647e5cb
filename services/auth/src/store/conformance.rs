//! What every engine's store must do: one suite, written against `dyn Store`.
//!
//! An engine's own tests call [`all`] with a fresh store for each case; a difference between two
//! engines is a fault of one of them.

mod operators;
mod upkeep;

use std::{future::Future, sync::Arc};

use errand_changelog::{Actor, Origin, Request, UserId};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{Before, Beginning, Claimed, Committed, Costs, Error, Held, Opening, SealedKey, Store};
use crate::domain::{
    Subject,
    account::{Account, PasswordHash},
    erasure::Erasure,
    session::{self, Ending, Session},
};

pub(crate) const NOW: Timestamp = Timestamp::constant(1_795_251_600, 0);

/// One step of a random history; numbers choose among what is there.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Rename(u8),
    LogIn,
    End(usize),
    ChangePassword(usize),
    Rotate(usize),
}

/// Runs every case.
pub(crate) async fn all<F, O>(open: F)
where
    F: Fn() -> O,
    O: Future<Output = Arc<dyn Store>>,
{
    an_account_is_found_by_its_address_and_its_first_session(open().await).await;
    r_070_of_many_sign_ups_with_one_address_one_wins(open().await).await;
    an_update_is_done_once_and_only_at_its_version(open().await).await;
    a_request_is_kept_with_its_first_answer(open().await).await;
    an_update_that_changes_nothing_appends_nothing(open().await).await;
    r_072_of_many_updates_at_one_version_one_wins(open().await).await;
    r_012_a_new_password_ends_every_other_session(open().await).await;
    a_session_is_opened_only_with_the_hash_that_was_verified(open().await).await;
    the_oldest_of_more_than_a_hundred_sessions_end(open().await).await;
    r_024_of_many_rotations_of_one_generation_one_wins(open().await).await;
    a_session_that_ended_is_gone_with_its_look_up(open().await).await;
    sessions_are_listed_newest_first_without_the_expired(open().await).await;
    one_user_never_meets_another(open().await).await;
    the_log_has_every_change_in_order_and_no_secret(open().await).await;
    r_041_a_closed_account_leaves_nothing_but_what_others_are_to_erase(open().await).await;
    operators::all(&open).await;
    upkeep::all(&open).await;
}

pub(crate) fn user(number: u128) -> UserId {
    UserId::from(Uuid::from_u128(number))
}

fn at(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

pub(crate) fn origin() -> Origin {
    Origin { actor: Actor::User, turn: None, request: None }
}

fn asking(id: &str, body: &str) -> Origin {
    let method = "/errand.auth.v1.AuthService/UpdateMe";
    let request = Request::new(id, method, body.as_bytes());
    Origin { request: Some(request), ..origin() }
}

fn hash(text: &str) -> PasswordHash {
    PasswordHash::new(format!("hash-{text}"))
}

pub(crate) fn held(id: u128, now: Timestamp) -> Held {
    Held { session: Session::new(Uuid::from_u128(id), "grpcurl", "192.0.2.1".into(), now), secret_hash: [0xaa; 32] }
}

pub(crate) fn beginning(owner: UserId, email: &str, session: u128) -> Beginning {
    let account = Account {
        id: owner,
        email: email.into(),
        display_name: "Ada".into(),
        time_zone: "UTC".into(),
        version: 0,
        create_time: NOW,
        update_time: NOW,
        disable_time: None,
    };
    Beginning {
        account,
        email_key: email.to_lowercase(),
        password: hash("first"),
        imported: None,
        held: Some(held(session, NOW)),
    }
}

async fn sign_up(store: &dyn Store, number: u128) -> Account {
    let beginning = beginning(user(number), &format!("{number}@Example.com"), number * 1000);
    store.sign_up(user(number), beginning, origin()).await.unwrap().unwrap()
}

async fn open_session(store: &dyn Store, owner: UserId, id: u128, now: Timestamp) {
    let opening = Opening { held: held(id, now), verified: hash("first"), upgraded: None };
    assert!(store.open_session(owner, opening, origin(), now).await.unwrap().is_some());
}

async fn ids(store: &dyn Store, owner: UserId, now: Timestamp) -> Vec<u128> {
    let sessions = store.sessions(owner, None, usize::MAX, now).await.unwrap();
    sessions.iter().map(|session| session.id.as_u128()).collect()
}

async fn kinds(store: &dyn Store, owner: UserId) -> Vec<String> {
    store.changes(owner, 0, usize::MAX).await.unwrap().into_iter().map(|change| change.kind).collect()
}

async fn an_account_is_found_by_its_address_and_its_first_session(store: Arc<dyn Store>) {
    let account = sign_up(store.as_ref(), 1).await;
    assert_eq!((account.version, account.email.as_str()), (1, "1@Example.com"));
    assert_eq!(store.owner_of_email("1@example.com").await.unwrap(), Some(user(1)));
    assert_eq!(store.owner_of_email("1@Example.com").await.unwrap(), None);
    assert_eq!(store.owner_of_session(Uuid::from_u128(1000)).await.unwrap(), Some(user(1)));
    assert_eq!(store.credential(user(1)).await.unwrap(), Some((account.clone(), hash("first"))));
    assert_eq!(store.session(user(1), Uuid::from_u128(1000)).await.unwrap(), Some((held(1000, NOW), account)));
    assert_eq!(store.credential(user(2)).await.unwrap(), None);
}

async fn r_070_of_many_sign_ups_with_one_address_one_wins(store: Arc<dyn Store>) {
    let tasks: Vec<_> = (1..=32)
        .map(|number| {
            let store = store.clone();
            let beginning = beginning(user(number), "ada@example.com", number * 1000);
            tokio::spawn(async move { store.sign_up(user(number), beginning, origin()).await.unwrap() })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(store.owner_of_email("ada@example.com").await.unwrap(), Some(winners[0].id));
    for number in (1..=32).filter(|number| user(*number) != winners[0].id) {
        assert_eq!(store.account(user(number), None).await.unwrap().account, None);
        assert!(store.changes(user(number), 0, 10).await.unwrap().is_empty(), "a refusal writes nothing");
        assert_eq!(store.owner_of_session(Uuid::from_u128(number * 1000)).await.unwrap(), None);
    }
}

async fn an_update_is_done_once_and_only_at_its_version(store: Arc<dyn Store>) {
    let account = sign_up(store.as_ref(), 1).await;
    let after = Account { display_name: "Countess".into(), update_time: at(5), ..account.clone() };
    let Committed::Done(done) = store.update(user(1), after.clone(), origin(), at(5)).await.unwrap() else {
        panic!("it was at the expected version");
    };
    assert_eq!(done, Account { version: 3, ..after.clone() });
    assert_eq!(store.account(user(1), None).await.unwrap().account, Some(done));
    assert_eq!(store.update(user(1), after, origin(), at(6)).await.unwrap(), Committed::Stale);
    let nobody = Account { id: user(9), ..account };
    assert_eq!(store.update(user(9), nobody, origin(), at(6)).await.unwrap(), Committed::Stale);
    assert_eq!(kinds(store.as_ref(), user(1)).await, ["sign_up", "log_in", "update_me"]);
}

async fn a_request_is_kept_with_its_first_answer(store: Arc<dyn Store>) {
    let account = sign_up(store.as_ref(), 1).await;
    let after = Account { time_zone: "Europe/Berlin".into(), ..account };
    let Committed::Done(done) = store.update(user(1), after.clone(), asking("a", "x"), NOW).await.unwrap() else {
        panic!("it is new");
    };
    let Committed::Known(record) = store.update(user(1), after, asking("a", "x"), NOW).await.unwrap() else {
        panic!("it was seen");
    };
    assert_eq!(serde_json::from_slice::<Account>(&record.answer).unwrap(), done);
    assert_eq!(store.account(user(1), Some("a")).await.unwrap().record, Some(record));
    assert_eq!(store.account(user(1), Some("b")).await.unwrap().record, None);
    assert_eq!(store.account(user(2), Some("a")).await.unwrap().record, None);
}

async fn an_update_that_changes_nothing_appends_nothing(store: Arc<dyn Store>) {
    let account = sign_up(store.as_ref(), 1).await;
    let done = store.update(user(1), account.clone(), asking("a", "x"), at(5)).await.unwrap();
    assert_eq!(done, Committed::Done(account));
    assert_eq!(kinds(store.as_ref(), user(1)).await, ["sign_up", "log_in"]);
    assert!(store.account(user(1), Some("a")).await.unwrap().record.is_some());
}

async fn r_072_of_many_updates_at_one_version_one_wins(store: Arc<dyn Store>) {
    let account = sign_up(store.as_ref(), 1).await;
    let tasks: Vec<_> = (0..32)
        .map(|number| {
            let (store, after) = (store.clone(), Account { display_name: format!("Ada {number}"), ..account.clone() });
            tokio::spawn(async move { store.update(user(1), after, origin(), NOW).await.unwrap() })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += usize::from(matches!(task.await.unwrap(), Committed::Done(_)));
    }
    assert_eq!(done, 1);
    assert_eq!(kinds(store.as_ref(), user(1)).await.len(), 3);
}

async fn r_012_a_new_password_ends_every_other_session(store: Arc<dyn Store>) {
    sign_up(store.as_ref(), 1).await;
    sign_up(store.as_ref(), 2).await;
    open_session(store.as_ref(), user(1), 1001, at(1)).await;
    open_session(store.as_ref(), user(1), 1002, at(2)).await;
    let change =
        |verified, now| store.change_password(user(1), verified, hash("second"), Uuid::from_u128(1001), origin(), now);
    assert!(!change(hash("wrong"), at(3)).await.unwrap());
    assert_eq!(ids(store.as_ref(), user(1), at(3)).await, [1002, 1001, 1000]);
    assert!(change(hash("first"), at(3)).await.unwrap());
    assert_eq!(ids(store.as_ref(), user(1), at(3)).await, [1001]);
    assert_eq!(ids(store.as_ref(), user(2), at(3)).await, [2000]);
    let (account, password) = store.credential(user(1)).await.unwrap().unwrap();
    assert_eq!((password, account.update_time, account.version), (hash("second"), at(3), 5));
    let kinds = kinds(store.as_ref(), user(1)).await;
    assert_eq!(kinds[4..], ["change_password", "end_session", "end_session"]);
    assert!(!change(hash("first"), at(4)).await.unwrap());
}

async fn a_session_is_opened_only_with_the_hash_that_was_verified(store: Arc<dyn Store>) {
    let account = sign_up(store.as_ref(), 1).await;
    let opening = |id, verified: &str, upgraded: Option<&str>| Opening {
        held: held(id, NOW),
        verified: hash(verified),
        upgraded: upgraded.map(hash),
    };
    let open = |owner, opening| store.open_session(owner, opening, origin(), NOW);
    assert_eq!(open(user(1), opening(1001, "other", Some("better"))).await.unwrap(), None);
    assert_eq!(open(user(9), opening(1001, "first", None)).await.unwrap(), None);
    assert_eq!(open(user(1), opening(1001, "first", Some("better"))).await.unwrap(), Some(account.clone()));
    assert_eq!(store.credential(user(1)).await.unwrap(), Some((account, hash("better"))));
    assert_eq!(open(user(1), opening(1002, "first", None)).await.unwrap(), None);
    assert_eq!(ids(store.as_ref(), user(1), NOW).await, [1001, 1000]);
}

async fn the_oldest_of_more_than_a_hundred_sessions_end(store: Arc<dyn Store>) {
    sign_up(store.as_ref(), 1).await;
    for id in 1001..=1101 {
        open_session(store.as_ref(), user(1), id, NOW).await;
    }
    let ids = ids(store.as_ref(), user(1), NOW).await;
    assert_eq!((ids.len(), ids[0], ids[99]), (session::MOST, 1101, 1002));
    assert_eq!(store.owner_of_session(Uuid::from_u128(1001)).await.unwrap(), None);
    let evicted = kinds(store.as_ref(), user(1)).await.into_iter().filter(|kind| kind == "evict_session").count();
    assert_eq!(evicted, 2);
}

async fn r_024_of_many_rotations_of_one_generation_one_wins(store: Arc<dyn Store>) {
    sign_up(store.as_ref(), 1).await;
    let begun = held(1000, NOW);
    let tasks: Vec<_> = (0..32)
        .map(|number| {
            let store = store.clone();
            let next = Held { session: begun.session.rotated(1, at(number)), secret_hash: [0xbb; 32] };
            tokio::spawn(async move { store.rotate(user(1), next).await.unwrap() })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        winners += usize::from(task.await.unwrap());
    }
    assert_eq!(winners, 1);
    let (now_held, _) = store.session(user(1), begun.session.id).await.unwrap().unwrap();
    assert_eq!((now_held.session.generation, now_held.secret_hash), (1, [0xbb; 32]));
    let skipping = Held { session: begun.session.rotated(3, NOW), secret_hash: [0xcc; 32] };
    assert!(!store.rotate(user(1), skipping).await.unwrap());
    assert_eq!(kinds(store.as_ref(), user(1)).await, ["sign_up", "log_in"], "a rotation is no history");
}

async fn a_session_that_ended_is_gone_with_its_look_up(store: Arc<dyn Store>) {
    sign_up(store.as_ref(), 1).await;
    let id = Uuid::from_u128(1000);
    let end = |owner, ending| store.end_session(owner, id, ending, origin(), at(1));
    assert!(!end(user(2), Ending::Deleted).await.unwrap(), "another's");
    assert!(end(user(1), Ending::Revoked).await.unwrap());
    assert!(!end(user(1), Ending::LoggedOut).await.unwrap(), "twice");
    assert_eq!(store.owner_of_session(id).await.unwrap(), None);
    assert_eq!(store.session(user(1), id).await.unwrap(), None);
    let next = Held { session: held(1000, NOW).session.rotated(1, at(2)), secret_hash: [0xbb; 32] };
    assert!(!store.rotate(user(1), next).await.unwrap());
    assert_eq!(kinds(store.as_ref(), user(1)).await, ["sign_up", "log_in", "revoke_session"]);
}

async fn sessions_are_listed_newest_first_without_the_expired(store: Arc<dyn Store>) {
    sign_up(store.as_ref(), 1).await;
    for id in 1001..=1004 {
        open_session(store.as_ref(), user(1), id, at(60)).await;
    }
    let page = |after: u128, limit| store.sessions(user(1), Some(Uuid::from_u128(after)), limit, at(60));
    let first: Vec<_> = page(1004, 2).await.unwrap().iter().map(|session| session.id.as_u128()).collect();
    assert_eq!(first, [1003, 1002]);
    assert_eq!(page(1001, 5).await.unwrap().len(), 1);
    let end = NOW + session::LIFETIME;
    assert_eq!(ids(store.as_ref(), user(1), end).await, [1004, 1003, 1002, 1001]);
    assert!(store.session(user(1), Uuid::from_u128(1000)).await.unwrap().is_some(), "only hidden");
}

async fn one_user_never_meets_another(store: Arc<dyn Store>) {
    let (ada, bob) = (sign_up(store.as_ref(), 1).await, sign_up(store.as_ref(), 2).await);
    assert_eq!(ids(store.as_ref(), user(1), NOW).await, [1000]);
    assert_eq!(store.session(user(1), Uuid::from_u128(2000)).await.unwrap(), None);
    let foreign = Held { session: held(2000, NOW).session.rotated(1, NOW), secret_hash: [0xbb; 32] };
    assert!(!store.rotate(user(1), foreign).await.unwrap());
    let stolen = Account { display_name: "Eve".into(), ..bob.clone() };
    store.update(user(1), stolen, origin(), NOW).await.unwrap();
    assert!(!store.close_account(user(1), hash("other"), &[], NOW).await.unwrap());
    assert_eq!(store.account(user(2), None).await.unwrap().account, Some(bob));
    assert_eq!(ids(store.as_ref(), user(2), NOW).await, [2000]);
    assert_eq!(store.account(user(1), None).await.unwrap().account.unwrap().email, ada.email);
    assert_eq!(kinds(store.as_ref(), user(2)).await, ["sign_up", "log_in"]);
}

async fn the_log_has_every_change_in_order_and_no_secret(store: Arc<dyn Store>) {
    let account = sign_up(store.as_ref(), 1).await;
    let turn = Uuid::from_u128(77);
    let after = Account { display_name: "Countess".into(), ..account.clone() };
    let by_assistant = Origin { actor: Actor::Assistant, turn: Some(turn), ..asking("a", "x") };
    store.update(user(1), after.clone(), by_assistant, at(1)).await.unwrap();
    store.change_password(user(1), hash("first"), hash("second"), Uuid::nil(), origin(), at(2)).await.unwrap();
    let log = store.changes(user(1), 0, usize::MAX).await.unwrap();
    let seqs: Vec<_> = log.iter().map(|change| change.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
    assert_eq!((log[0].before.clone(), log[0].after.clone()), (None, Some(Subject::Account(account.clone()))));
    assert_eq!(log[1].after, Some(Subject::Session(held(1000, NOW).session)));
    assert_eq!(log[2].before, Some(Subject::Account(account)));
    assert_eq!(log[2].after, Some(Subject::Account(Account { version: 3, ..after })));
    assert_eq!((log[2].actor, log[2].turn, log[2].time), (Actor::Assistant, Some(turn), at(1)));
    assert_eq!(log[2].request_id.as_deref(), Some("a"));
    assert_eq!((log[4].before.is_some(), log[4].after.is_none()), (true, true));
    let written = serde_json::to_string(&log).unwrap();
    assert!(!written.contains("hash") && !written.contains("secret"), "{written}");
    let tail: Vec<_> = store.changes(user(1), 3, 1).await.unwrap().iter().map(|change| change.seq).collect();
    assert_eq!(tail, [4]);
}

async fn r_041_a_closed_account_leaves_nothing_but_what_others_are_to_erase(store: Arc<dyn Store>) {
    let account = sign_up(store.as_ref(), 1).await;
    sign_up(store.as_ref(), 2).await;
    let update = store.update(user(1), account.clone(), asking("a", "x"), NOW).await.unwrap();
    assert_eq!(update, Committed::Done(account.clone()));
    let close = |verified| store.close_account(user(1), verified, &["one", "two"], at(5));
    assert!(!close(hash("wrong")).await.unwrap());
    assert_eq!(store.claim_erasures(at(5), 10).await.unwrap(), Claimed { due: vec![], next: None });
    assert!(close(hash("first")).await.unwrap());
    assert!(!close(hash("first")).await.unwrap(), "twice");

    assert_eq!(store.account(user(1), Some("a")).await.unwrap(), Before { account: None, record: None });
    assert_eq!(store.credential(user(1)).await.unwrap(), None);
    assert_eq!(store.owner_of_email("1@example.com").await.unwrap(), None);
    assert_eq!(store.owner_of_session(Uuid::from_u128(1000)).await.unwrap(), None);
    assert_eq!(store.session(user(1), Uuid::from_u128(1000)).await.unwrap(), None);
    assert!(store.changes(user(1), 0, usize::MAX).await.unwrap().is_empty());
    assert_eq!(store.update(user(1), account, origin(), at(6)).await.unwrap(), Committed::Stale);
    let opening = Opening { held: held(1001, at(6)), verified: hash("first"), upgraded: None };
    assert_eq!(store.open_session(user(1), opening, origin(), at(6)).await.unwrap(), None);
    assert_eq!(store.claim_erasures(at(6), 10).await.unwrap().due.len(), 2);

    assert_eq!(ids(store.as_ref(), user(2), NOW).await, [2000], "nobody else is touched");
    let again = Beginning { email_key: "1@example.com".into(), ..beginning(user(3), "1@Example.com", 3000) };
    assert_eq!(store.sign_up(user(3), again, origin()).await.unwrap().unwrap().version, 1);
}

/// Every write once, each with what it must come to.
pub(crate) async fn every_write(store: Arc<dyn Store>) {
    let ada = sign_up(store.as_ref(), 1).await;
    let renamed = Account { display_name: "Countess".into(), ..ada };
    let done = store.update(user(1), renamed, asking("a", "x"), at(1)).await.unwrap();
    assert!(matches!(done, Committed::Done(account) if account.version == 3));
    open_session(store.as_ref(), user(1), 1001, at(1)).await;
    let next = Held { session: held(1001, at(1)).session.rotated(1, at(2)), secret_hash: [0xbb; 32] };
    assert!(store.rotate(user(1), next).await.unwrap());
    let keep = Uuid::from_u128(1001);
    assert!(store.change_password(user(1), hash("first"), hash("second"), keep, origin(), at(3)).await.unwrap());
    assert_eq!(ids(store.as_ref(), user(1), at(3)).await, [1001]);
    assert!(store.end_session(user(1), keep, Ending::LoggedOut, origin(), at(4)).await.unwrap());
    for disabled in [true, false] {
        assert_eq!(store.set_disabled(user(1), disabled, origin(), at(5)).await.unwrap(), Some(true));
    }
    assert!(store.reset_password(user(1), hash("third"), origin(), at(6)).await.unwrap());
    let opening = Opening { held: held(1002, at(6)), verified: hash("third"), upgraded: Some(hash("fourth")) };
    assert!(store.open_session(user(1), opening, origin(), at(6)).await.unwrap().is_some());
    let before = store.account(user(1), Some("a")).await.unwrap();
    assert!(before.account.is_some() && before.record.is_some());
    assert_eq!(store.owner_of_email("1@example.com").await.unwrap(), Some(user(1)));
    assert_eq!(store.owner_of_session(Uuid::from_u128(1002)).await.unwrap(), Some(user(1)));
    assert!(store.session(user(1), Uuid::from_u128(1002)).await.unwrap().is_some());
    assert_eq!(store.accounts("", 1).await.unwrap().len(), 1);
    assert_eq!(kinds(store.as_ref(), user(1)).await.len(), 11);
    while store.tidy(at(6) + session::LIFETIME, 10).await.unwrap() {}
    assert_eq!(store.owner_of_session(Uuid::from_u128(1002)).await.unwrap(), None);
    assert_eq!(store.account(user(1), Some("a")).await.unwrap().record, None);
    assert!(store.close_account(user(1), hash("fourth"), &["one"], at(7)).await.unwrap());
    let claimed = store.claim_erasures(at(7), 10).await.unwrap();
    assert_eq!((claimed.due.len(), claimed.next), (1, Some(at(8))));
    store.finish_erasure(user(1), "one").await.unwrap();
    assert_eq!(store.account(user(1), None).await.unwrap().account, None);
}

/// After any history the log, replayed from its beginning, gives what the tables hold.
pub(crate) async fn a_log_replayed_is_the_table(store: Arc<dyn Store>, steps: Vec<Step>) {
    sign_up(store.as_ref(), 1).await;
    for (number, step) in steps.into_iter().enumerate() {
        let now = at(i64::try_from(number).unwrap());
        let (account, password) = store.credential(user(1)).await.unwrap().unwrap();
        let open = store.sessions(user(1), None, usize::MAX, now).await.unwrap();
        match step {
            Step::Rename(name) => {
                let after = Account { display_name: format!("{}", name % 3), update_time: now, ..account };
                store.update(user(1), after, origin(), now).await.unwrap();
            }
            Step::LogIn => {
                let id = 2000 + u128::try_from(number).unwrap();
                let opening = Opening { held: held(id, now), verified: password, upgraded: None };
                store.open_session(user(1), opening, origin(), now).await.unwrap().unwrap();
            }
            Step::End(which) => {
                let id = open.get(which % (open.len() + 1)).map_or(Uuid::nil(), |session| session.id);
                store.end_session(user(1), id, Ending::Deleted, origin(), now).await.unwrap();
            }
            Step::ChangePassword(which) => {
                let keep = open.get(which % (open.len() + 1)).map_or(Uuid::nil(), |session| session.id);
                let next = hash(&format!("{number}"));
                assert!(store.change_password(user(1), password, next, keep, origin(), now).await.unwrap());
            }
            Step::Rotate(which) => {
                if let Some(session) = open.get(which % (open.len() + 1)) {
                    let next = Held { session: session.rotated(session.generation + 1, now), secret_hash: [1; 32] };
                    assert!(store.rotate(user(1), next).await.unwrap());
                }
            }
        }
    }
    let (mut account, mut sessions) = (None, std::collections::BTreeSet::new());
    for (index, change) in store.changes(user(1), 0, usize::MAX).await.unwrap().into_iter().enumerate() {
        assert_eq!(change.seq, i64::try_from(index).unwrap() + 1, "the log has no gap");
        match (change.before, change.after) {
            (before, Some(Subject::Account(after))) => {
                assert_eq!(before, account.replace(after).map(Subject::Account), "each change begins where one ended");
            }
            (None, Some(Subject::Session(begun))) => assert!(sessions.insert(begun.id.as_u128())),
            (Some(Subject::Session(ended)), None) => assert!(sessions.remove(&ended.id.as_u128())),
            other => panic!("no such change: {other:?}"),
        }
    }
    assert_eq!(account, store.account(user(1), None).await.unwrap().account);
    assert_eq!(sessions.into_iter().rev().collect::<Vec<_>>(), ids(store.as_ref(), user(1), NOW).await);
}
