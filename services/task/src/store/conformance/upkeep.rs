//! Looking back, and letting go.

use super::*;
use crate::domain::write::Kind;
use crate::store::{Ages, Back, Earlier, Selection};

const TURN: Uuid = Uuid::from_u128(77);
const OTHER: Uuid = Uuid::from_u128(78);

fn in_turn(turn: Uuid) -> Origin {
    Origin { actor: Actor::Assistant, turn: Some(turn), request: None }
}

async fn write(store: &dyn Store, origin: Origin, number: u128, write: &Write, now: Timestamp) -> Task {
    let before = store.get(user(1), id(number)).await.unwrap();
    let step = step(id(number), before, write, now).unwrap();
    match store.commit(user(1), origin, vec![step].into(), now).await.unwrap() {
        Commit::Committed(mut answer) => answer.tasks.remove(0),
        other => panic!("{other:?}"),
    }
}

async fn seqs(store: &dyn Store, owner: UserId) -> Vec<i64> {
    store.changes(owner, 0, None, 100).await.unwrap().0.into_iter().map(|change| change.seq).collect()
}

async fn all_gone(mut part: impl AsyncFnMut() -> bool) {
    while !part().await {}
}

#[tokio::test]
async fn a_turn_or_a_range_is_found_with_the_tasks_as_they_are() {
    for Engine { store, .. } in engines().await {
        write(&*store, by_user(), 1, &Write::Create(draft("one")), at(0)).await;
        write(&*store, in_turn(TURN), 1, &renamed("two"), at(1)).await;
        let second = write(&*store, in_turn(OTHER), 2, &Write::Create(draft("x")), at(2)).await;
        write(&*store, in_turn(TURN), 1, &Write::Complete, at(3)).await;
        let today = write(&*store, by_user(), 1, &renamed("three"), at(4)).await;

        let look = async |owner, selection, limit| store.look_back(owner, selection, None, limit, at(5)).await.unwrap();
        let Back { earlier, log, changes, tasks } = look(user(1), Selection::Turn(TURN), 10).await;
        assert_eq!((earlier, log.extent.head, log.is_erased), (Earlier::New, 5, false));
        assert_eq!(changes.iter().map(|change| change.seq).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(tasks, std::slice::from_ref(&today));
        let back = look(user(1), Selection::Range(3, 4), 10).await;
        assert_eq!(back.changes.iter().map(|change| change.seq).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(back.tasks.len(), 2);
        assert!(back.tasks.contains(&today) && back.tasks.contains(&second));
        assert_eq!(look(user(1), Selection::Turn(TURN), 1).await.changes.len(), 1);
        let nothing = look(user(2), Selection::Turn(TURN), 10).await;
        assert_eq!((nothing.changes, nothing.tasks, nothing.log.extent.head), (vec![], vec![], 0));

        let (of_turn, log) = store.changes(user(1), 2, Some(TURN), 10).await.unwrap();
        assert_eq!((of_turn.len(), of_turn[0].seq, log.extent.head), (1, 4, 5));
        assert_eq!(store.log(user(1)).await.unwrap(), log);
        assert_ne!(log.extent.epoch, Uuid::nil());
    }
}

#[tokio::test]
async fn compaction_keeps_the_newest_change_of_each_live_task_and_moves_the_mark() {
    for Engine { store, .. } in engines().await {
        write(&*store, by_user(), 1, &Write::Create(draft("kept")), at(0)).await;
        write(&*store, by_user(), 2, &Write::Create(draft("a")), at(1)).await;
        write(&*store, by_user(), 2, &renamed("b"), at(2)).await;
        write(&*store, by_user(), 3, &Write::Create(draft("gone")), at(3)).await;
        write(&*store, by_user(), 3, &Write::Delete, at(4)).await;
        write(&*store, by_user(), 2, &renamed("c"), at(5)).await;
        let compact = async |until: i64| {
            all_gone(async || store.compact(user(1), at(until)).await.unwrap()).await;
            let log = store.log(user(1)).await.unwrap();
            (seqs(&*store, user(1)).await, log.extent.compacted)
        };
        assert_eq!(compact(-1).await, (vec![1, 2, 3, 4, 5, 6], 0));
        assert_eq!(compact(1).await, (vec![1, 3, 4, 5, 6], 2));
        assert_eq!(compact(4).await, (vec![1, 6], 5));
        assert_eq!(compact(5).await, (vec![1, 6], 6));
        // What was kept goes when something newer has been compacted.
        write(&*store, by_user(), 1, &Write::Complete, at(6)).await;
        assert_eq!(compact(5).await, (vec![1, 6, 7], 6));
        assert_eq!(compact(6).await, (vec![6, 7], 7));
    }
}

#[tokio::test]
async fn who_is_untidy_is_told_until_it_is_tidied() {
    for Engine { store, .. } in engines().await {
        for owner in 1..=5 {
            create(&*store, user(owner), id(1), draft("x"), at(0)).await;
        }
        act(&*store, user(2), id(1), &Write::Delete, at(10)).await.unwrap();
        let new = step(id(2), None, &Write::Create(draft("y")), at(20)).unwrap();
        store.commit(user(3), requested("r", "x"), vec![new].into(), at(20)).await.unwrap();
        let ages =
            |deleted, changed, answered| Ages { deleted: at(deleted), changed: at(changed), answered: at(answered) };
        let untidy = async |ages| {
            let (owners, next) = store.untidy(None, ages).await.unwrap();
            assert_eq!(next, None, "few owners are one look");
            owners
        };
        assert_eq!(untidy(ages(9, -1, 19)).await, []);
        assert_eq!(untidy(ages(10, -1, 19)).await, [user(2)]);
        assert_eq!(untidy(ages(9, -1, 20)).await, [user(3)]);
        assert_eq!(untidy(ages(9, 0, 19)).await, [1, 2, 3, 4, 5].map(user));
        assert_eq!(store.untidy(Some(user(3)), ages(9, 0, 19)).await.unwrap().0, [4, 5].map(user));

        assert_eq!(store.expired(user(2), at(9), 5).await.unwrap(), []);
        let [expired] = store.expired(user(2), at(10), 5).await.unwrap().try_into().unwrap();
        let purge = Step {
            expected: Some(expired.version),
            change: Some(Difference { kind: Kind::Purge, before: Some(expired.clone()) }),
            task: expired.clone(),
        };
        let purged = store.commit(user(2), by_user(), vec![purge.clone()].into(), at(30)).await.unwrap();
        assert!(matches!(purged, Commit::Committed(_)));
        assert_eq!(store.commit(user(2), by_user(), vec![purge].into(), at(30)).await.unwrap(), Commit::Stale);
        assert_eq!(store.get(user(2), id(1)).await.unwrap(), None);
        let last = store.changes(user(2), 2, None, 10).await.unwrap().0.remove(0);
        assert_eq!((last.kind.as_str(), last.before, last.after), ("purge", Some(expired), None));

        all_gone(async || store.forget(user(3), at(20)).await.unwrap()).await;
        for owner in 1..=5 {
            all_gone(async || store.compact(user(owner), at(40)).await.unwrap()).await;
        }
        assert_eq!(untidy(ages(40, 40, 40)).await, []);
        assert_eq!((seqs(&*store, user(2)).await, seqs(&*store, user(3)).await), (vec![], vec![1, 2]));
    }
}

#[tokio::test]
async fn r_041_an_erased_owner_has_nothing_and_writes_nothing() {
    for Engine { store, .. } in engines().await {
        let steps = (0..1200).map(|number| step(id(number), None, &Write::Create(draft("x")), at(0)).unwrap());
        let steps: Vec<_> = steps.collect();
        store.commit(user(1), requested("r", "x"), steps.into(), at(0)).await.unwrap();
        let theirs = create(&*store, user(2), id(1), draft("theirs"), at(0)).await;
        // The door is shut by the first part already.
        assert!(!store.erase(user(1), at(1)).await.unwrap());
        let new = step(id(5000), None, &Write::Create(draft("y")), at(1)).unwrap();
        let again = store.commit(user(1), requested("r", "x"), vec![new].into(), at(1)).await.unwrap();
        assert_eq!(again, Commit::Erased);
        all_gone(async || store.erase(user(1), at(2)).await.unwrap()).await;
        assert!(store.erase(user(1), at(3)).await.unwrap(), "can be repeated");
        assert!(seqs(&*store, user(1)).await.is_empty());
        assert_eq!(
            walk(&*store, user(1), &Filter { show_deleted: true, ..Filter::default() }, Order::default(), 9).await,
            []
        );
        assert!(store.log(user(1)).await.unwrap().is_erased);
        let (looked, earlier) = store.look(user(1), vec![id(1)], requested("r", "x").request, at(3)).await.unwrap();
        assert_eq!((looked, earlier), (vec![None], Earlier::New));
        assert_eq!(store.get(user(2), id(1)).await.unwrap(), Some(theirs));
        assert!(store.compact(user(1), at(9)).await.unwrap());
    }
}
