//! The write door: versions, requests, the change log.

use tokio::task::JoinSet;

use super::*;
use crate::store::Earlier;

#[tokio::test]
async fn a_write_is_stored_and_logged_once() {
    for Engine { store, .. } in engines().await {
        let turn = Some(Uuid::from_u128(77));
        let origin = Origin { actor: Actor::Assistant, turn, ..requested("r1", "body") };
        let full = Draft {
            description: Description::new("line\nline\t'; DROP TABLE tasks; --").unwrap(),
            priority: Priority::High,
            due_time: due(-62_135_596_800),
            labels: labels(&["b", "a", "100 %_"]),
            ..draft("Ünïcode 😀 \u{202f}")
        };
        let step = step(id(1), None, &Write::Create(full), at(0)).unwrap();
        let expected = Task { version: 1, ..step.task.clone() };
        let committed = store.commit(user(1), origin.clone(), vec![step].into(), at(0)).await.unwrap();
        assert_eq!(committed, Commit::Committed(vec![expected.clone()].into()));
        assert_eq!(store.get(user(1), id(1)).await.unwrap().as_ref(), Some(&expected));

        let changes = store.changes(user(1), 0, None, 10).await.unwrap().0;
        let [change] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!((change.seq, change.time, change.actor, change.turn), (1, at(0), Actor::Assistant, turn));
        assert_eq!((change.request_id.as_deref(), change.kind.as_str()), (Some("r1"), "create"));
        assert_eq!((&change.before, &change.after), (&None, &Some(expected)));
    }
}

#[tokio::test]
async fn r_035_another_owners_task_is_as_if_it_did_not_exist() {
    for Engine { store, .. } in engines().await {
        let task = create(&*store, user(1), id(1), draft("mine"), at(0)).await;
        assert_eq!(store.get(user(2), id(1)).await.unwrap(), None);
        let looked = store.look(user(2), vec![id(1)], None, at(0)).await.unwrap();
        assert_eq!(looked, (vec![None], Earlier::New));
        assert_eq!(store.changes(user(2), 0, None, 10).await.unwrap().0, []);
        assert_eq!(walk(&*store, user(2), &Filter::default(), Order::default(), 10).await, []);
        for write in [renamed("theirs"), Write::Complete, Write::Delete, Write::Undelete] {
            assert_eq!(act(&*store, user(2), id(1), &write, at(1)).await, Err(Refusal::NotFound));
            // Even with the row in hand, the door compares with what the owner has.
            let forged = Step { expected: Some(task.version), task: task.clone(), change: None };
            assert_eq!(store.commit(user(2), by_user(), vec![forged].into(), at(1)).await.unwrap(), Commit::Stale);
        }
        // The same id is free for another owner.
        create(&*store, user(2), id(1), draft("also mine"), at(2)).await;
        assert_eq!(store.get(user(1), id(1)).await.unwrap(), Some(task));
    }
}

#[tokio::test]
async fn a_stale_step_leaves_nothing_of_its_commit() {
    for Engine { store, .. } in engines().await {
        let owner = user(1);
        let first = create(&*store, owner, id(1), draft("one"), at(0)).await;
        let second = create(&*store, owner, id(2), draft("two"), at(0)).await;
        let newer = act(&*store, owner, id(2), &renamed("two!"), at(1)).await.unwrap();
        let steps = vec![
            step(id(1), Some(first.clone()), &Write::Complete, at(2)).unwrap(),
            step(id(2), Some(second), &Write::Complete, at(2)).unwrap(),
        ];
        let commit = store.commit(owner, requested("r1", "x"), steps.into(), at(2)).await.unwrap();
        assert_eq!(commit, Commit::Stale);
        assert_eq!(store.get(owner, id(1)).await.unwrap().as_ref(), Some(&first));
        assert_eq!(store.changes(owner, 0, None, 10).await.unwrap().0.len(), 3);
        let looked = store.look(owner, vec![id(1)], requested("r1", "x").request, at(2)).await.unwrap();
        assert_eq!(looked.1, Earlier::New, "a refusal is not remembered");

        let steps = vec![
            step(id(1), Some(first), &Write::Complete, at(3)).unwrap(),
            step(id(2), Some(newer), &Write::Delete, at(3)).unwrap(),
        ];
        let Commit::Committed(Answer { tasks, .. }) =
            store.commit(owner, by_user(), steps.into(), at(3)).await.unwrap()
        else {
            panic!()
        };
        assert_eq!(tasks.iter().map(|task| task.version).collect::<Vec<_>>(), [4, 5]);
        let again = step(id(1), None, &Write::Create(draft("taken")), at(4)).unwrap();
        assert_eq!(store.commit(owner, by_user(), vec![again].into(), at(4)).await.unwrap(), Commit::Stale);
    }
}

#[tokio::test]
async fn r_064_a_repeated_request_gets_its_first_answer() {
    for Engine { store, .. } in engines().await {
        let owner = user(1);
        let new = step(id(1), None, &Write::Create(draft("one")), at(0)).unwrap();
        let first = store.commit(owner, requested("r1", "x"), vec![new.clone()].into(), at(0)).await.unwrap();
        let Commit::Committed(answer) = first else { panic!("{first:?}") };
        act(&*store, owner, id(1), &renamed("changed since"), at(1)).await.unwrap();

        let other = step(id(2), None, &Write::Create(draft("one")), at(2)).unwrap();
        let again = store.commit(owner, requested("r1", "x"), vec![other.clone()].into(), at(2)).await.unwrap();
        assert_eq!(again, Commit::Replayed(answer.clone()));
        let looked = store.look(owner, vec![id(1)], requested("r1", "x").request, at(2)).await.unwrap();
        assert_eq!(looked.1, Earlier::Replayed(answer));

        let reused = store.commit(owner, requested("r1", "y"), vec![other.clone()].into(), at(2)).await.unwrap();
        assert_eq!(reused, Commit::Reused);
        let looked = store.look(owner, vec![id(1)], requested("r1", "y").request, at(2)).await.unwrap();
        assert_eq!(looked.1, Earlier::Reused);
        let mut method = requested("r1", "x");
        method.request.as_mut().unwrap().method = "/errand.task.v1.TaskService/UpdateTask";
        assert_eq!(store.commit(owner, method, vec![other].into(), at(2)).await.unwrap(), Commit::Reused);
        assert_eq!(store.get(owner, id(2)).await.unwrap(), None);
        assert_eq!(store.changes(owner, 0, None, 10).await.unwrap().0.len(), 2);
    }
}

#[tokio::test]
async fn r_066_request_ids_of_two_owners_are_independent() {
    for Engine { store, .. } in engines().await {
        for owner in [user(1), user(2)] {
            let new = step(id(1), None, &Write::Create(draft(&owner.to_string())), at(0)).unwrap();
            let commit = store.commit(owner, requested("same", "x"), vec![new].into(), at(0)).await.unwrap();
            assert!(matches!(commit, Commit::Committed(_)), "{commit:?}");
        }
    }
}

#[tokio::test]
async fn what_is_so_already_is_remembered_and_not_logged() {
    for Engine { store, .. } in engines().await {
        let owner = user(1);
        let task = create(&*store, owner, id(1), draft("one"), at(0)).await;
        let open = step(id(1), Some(task.clone()), &Write::Reopen, at(1)).unwrap();
        assert_eq!(open.change, None);
        let commit = store.commit(owner, requested("r1", "x"), vec![open.clone()].into(), at(1)).await.unwrap();
        assert_eq!(commit, Commit::Committed(vec![task.clone()].into()));
        let again = store.commit(owner, requested("r1", "x"), vec![open].into(), at(2)).await.unwrap();
        assert_eq!(again, Commit::Replayed(vec![task].into()));
        assert_eq!(store.changes(owner, 0, None, 10).await.unwrap().0.len(), 1);
    }
}

#[tokio::test]
async fn a_request_is_forgotten_after_seven_days() {
    const DAY: i64 = 24 * 3600;
    for Engine { store, .. } in engines().await {
        let owner = user(1);
        let new = |number, now| vec![step(id(number), None, &Write::Create(draft("x")), now).unwrap()];
        store.commit(owner, requested("r1", "x"), new(1, at(0)).into(), at(0)).await.unwrap();
        let late = at(7 * DAY - 1);
        assert!(matches!(
            store.commit(owner, requested("r1", "x"), new(2, late).into(), late).await.unwrap(),
            Commit::Replayed(_)
        ));
        let later = at(7 * DAY);
        assert!(matches!(
            store.commit(owner, requested("r1", "y"), new(3, later).into(), later).await.unwrap(),
            Commit::Committed(_)
        ));
        assert!(matches!(
            store.commit(owner, requested("r1", "y"), new(4, later).into(), later).await.unwrap(),
            Commit::Replayed(_)
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r_064_fifty_equal_requests_at_once_make_one_task() {
    for Engine { store, .. } in engines().await {
        for round in 0..20 {
            let mut calls = JoinSet::new();
            for number in 0..50 {
                let store = store.clone();
                calls.spawn(async move {
                    let new = step(id(round * 100 + number), None, &Write::Create(draft("one")), at(0)).unwrap();
                    let origin = requested(&format!("round {round}"), "x");
                    match store.commit(user(1), origin, vec![new].into(), at(0)).await.unwrap() {
                        Commit::Committed(answer) => (true, answer.tasks),
                        Commit::Replayed(answer) => (false, answer.tasks),
                        other => panic!("{other:?}"),
                    }
                });
            }
            let answers = calls.join_all().await;
            assert_eq!(answers.iter().filter(|(committed, _)| *committed).count(), 1);
            assert!(answers.iter().all(|(_, tasks)| *tasks == answers[0].1));
        }
        assert_eq!(walk(&*store, user(1), &Filter::default(), Order::default(), 50).await.len(), 20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r_072_of_32_writes_to_one_version_one_wins() {
    for Engine { store, .. } in engines().await {
        let mut task = create(&*store, user(1), id(1), draft("0"), at(0)).await;
        for round in 0..20 {
            let mut calls = JoinSet::new();
            for number in 0..32 {
                let (store, before) = (store.clone(), task.clone());
                calls.spawn(async move {
                    let write = renamed(&format!("{round}/{number}"));
                    let step = step(id(1), Some(before), &write, at(1)).unwrap();
                    store.commit(user(1), by_user(), vec![step].into(), at(1)).await.unwrap()
                });
            }
            let (won, lost): (Vec<_>, Vec<_>) =
                calls.join_all().await.into_iter().partition(|commit| matches!(commit, Commit::Committed(_)));
            assert_eq!((won.len(), lost.len()), (1, 31));
            assert!(lost.iter().all(|commit| *commit == Commit::Stale));
            task = store.get(user(1), id(1)).await.unwrap().unwrap();
            assert_eq!(won, [Commit::Committed(vec![task.clone()].into())]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r_073_sixteen_counters_lose_no_step() {
    for Engine { store, .. } in engines().await {
        create(&*store, user(1), id(1), draft("0"), at(0)).await;
        let mut calls = JoinSet::new();
        for _ in 0..16 {
            let store = store.clone();
            calls.spawn(async move {
                for _ in 0..20 {
                    loop {
                        let task = store.get(user(1), id(1)).await.unwrap().unwrap();
                        let count: u32 = task.title.as_str().parse().unwrap();
                        let step = step(id(1), Some(task), &renamed(&(count + 1).to_string()), at(1)).unwrap();
                        match store.commit(user(1), by_user(), vec![step].into(), at(1)).await.unwrap() {
                            Commit::Stale => {}
                            _ => break,
                        }
                    }
                }
            });
        }
        calls.join_all().await;
        let task = store.get(user(1), id(1)).await.unwrap().unwrap();
        assert_eq!((task.title.as_str(), task.version), ("320", 321));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r_074_a_deleted_task_is_never_brought_back_by_an_update() {
    for Engine { store, .. } in engines().await {
        for number in 0..20 {
            create(&*store, user(1), id(number), draft("x"), at(0)).await;
            let updates = {
                let store = store.clone();
                tokio::spawn(async move {
                    for count in 0.. {
                        let write = renamed(&format!("x{count}"));
                        if act(&*store, user(1), id(number), &write, at(1)).await == Err(Refusal::Deleted) {
                            return;
                        }
                    }
                })
            };
            act(&*store, user(1), id(number), &Write::Delete, at(2)).await.unwrap();
            updates.await.unwrap();
            assert!(store.get(user(1), id(number)).await.unwrap().unwrap().is_deleted());
        }
        assert_eq!(walk(&*store, user(1), &Filter::default(), Order::default(), 50).await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r_077_64_writers_are_committed_or_told_that_they_are_late() {
    for Engine { store, .. } in engines().await {
        let mut writers = JoinSet::new();
        for writer in 0..64 {
            let store = store.clone();
            writers.spawn(async move {
                // Eight owners, a task for all of an owner's writers and one for each writer.
                let owner = user(1 + writer % 8);
                create(&*store, owner, id(100 + writer), draft("own"), at(0)).await;
                let _ = act(&*store, owner, id(1), &Write::Create(draft("shared")), at(0)).await;
                for count in 0..6 {
                    let both = [id(100 + writer), id(1)];
                    let both = if count % 2 == 0 { both } else { [both[1], both[0]] };
                    let origin = requested(&format!("{writer}/{count}"), "x");
                    loop {
                        let (before, earlier) =
                            store.look(owner, both.to_vec(), origin.request.clone(), at(1)).await.unwrap();
                        assert_eq!(earlier, Earlier::New);
                        let write = renamed(&format!("{writer}/{count}"));
                        let steps = both.into_iter().zip(before).map(|(id, before)| step(id, before, &write, at(1)));
                        let steps: Vec<_> = steps.map(Result::unwrap).collect();
                        match store.commit(owner, origin.clone(), steps.into(), at(1)).await.unwrap() {
                            Commit::Committed(_) => break,
                            Commit::Stale => {}
                            other => panic!("{other:?}"),
                        }
                    }
                }
            });
        }
        writers.join_all().await;
        for owner in 1..=8 {
            // 8 writers, each with its own task, 6 writes of two tasks; and the shared task, made once.
            let head = store.log(user(owner)).await.unwrap().extent.head;
            assert_eq!(head, 8 + 8 * 6 * 2 + 1);
            let changes = store.changes(user(owner), 0, None, 1000).await.unwrap().0;
            assert_eq!(changes.iter().map(|change| change.seq).collect::<Vec<_>>(), (1..=head).collect::<Vec<_>>());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clashing_calls_on_one_owner_leave_a_log_without_a_gap() {
    #[expect(clippy::disallowed_methods, reason = "the size of the run")]
    let full = std::env::var("ERRAND_BATTERY").is_ok_and(|size| size == "full");
    let calls: u128 = if full { 1000 } else { 60 };
    for Engine { store, .. } in engines().await {
        let mut clients = JoinSet::new();
        for client in 0..16 {
            let store = store.clone();
            clients.spawn(async move {
                let mut committed = Vec::new();
                for call in 0..calls {
                    // Two clients send each request; every fourth call clashes with all others.
                    let request = format!("{}/{call}", client / 2);
                    let number = if call % 4 == 0 { call } else { 1000 * (client / 2 + 1) + call };
                    let new = step(id(number), None, &Write::Create(draft(&request)), at(0)).unwrap();
                    match store.commit(user(1), requested(&request, "x"), vec![new].into(), at(0)).await.unwrap() {
                        Commit::Committed(answer) => committed.push(answer.tasks[0].version),
                        Commit::Replayed(_) | Commit::Stale => {}
                        other => panic!("{other:?}"),
                    }
                }
                committed
            });
        }
        let mut versions: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
        versions.sort_unstable();
        let made = i64::try_from(calls / 4 + 8 * (calls - calls / 4)).unwrap();
        assert_eq!(versions, (1..=made).collect::<Vec<_>>());
        let (mut after, mut seqs) = (0, Vec::new());
        loop {
            let changes = store.changes(user(1), after, None, 500).await.unwrap().0;
            let Some(last) = changes.last() else { break };
            after = last.seq;
            seqs.extend(changes.iter().map(|change| change.seq));
        }
        assert_eq!(seqs, versions);
    }
}
