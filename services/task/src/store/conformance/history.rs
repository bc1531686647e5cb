//! The change log: replayed, it is the table.

use std::{cell::RefCell, collections::BTreeMap};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::*;

/// The tasks of one owner.
type Tasks = BTreeMap<TaskId, Task>;

#[derive(Debug, Clone)]
struct Act {
    /// One of two owners.
    second: bool,
    /// One of few ids, which both owners use.
    number: u128,
    write: Write,
    seconds: i64,
}

fn act_strategy() -> impl Strategy<Value = Act> {
    let write = prop_oneof![
        3 => "[a-c]{1,3}".prop_map(|title| Write::Create(draft(&title))),
        2 => "[a-c]{1,2}".prop_map(|title| renamed(&title)),
        1 => prop::option::of(0i64..9).prop_map(|seconds| {
            Write::Patch(Patch { due_time: Some(seconds.and_then(due)), ..Patch::default() })
        }),
        1 => Just(Write::Patch(Patch { labels: Some(labels(&["x"])), ..Patch::default() })),
        2 => Just(Write::Complete),
        1 => Just(Write::Reopen),
        2 => Just(Write::Delete),
        1 => Just(Write::Undelete),
    ];
    (any::<bool>(), 0u128..6, write, 0i64..20).prop_map(|(second, number, write, seconds)| Act {
        second,
        number,
        write,
        seconds,
    })
}

async fn replayed(store: &dyn Store, owner: UserId) -> Result<Tasks, TestCaseError> {
    let mut tasks = Tasks::new();
    let mut seq = 0;
    loop {
        // Small pieces, so that reading on from a place is tested, too.
        let changes = store.changes(owner, seq, None, 7).await.unwrap().0;
        if changes.is_empty() {
            return Ok(tasks);
        }
        for change in changes {
            seq += 1;
            prop_assert_eq!(change.seq, seq, "the log has a gap");
            let after = change.after.expect("tasks are only deleted softly");
            prop_assert_eq!(after.version, seq);
            prop_assert_eq!(tasks.insert(after.id, after), change.before, "before is not what was");
        }
    }
}

#[test]
fn r_036_a_random_history_replayed_from_the_change_log_equals_the_table() {
    let runtime = runtime();
    for Engine { store, .. } in runtime.block_on(engines()) {
        let owners = RefCell::new((1..).map(user));
        let mut runner = TestRunner::new(Config { cases: 50, failure_persistence: None, ..Config::default() });
        let result = runner.run(&prop::collection::vec(act_strategy(), 1..60), |acts| {
            let [first, second] = [(); 2].map(|()| owners.borrow_mut().next().unwrap());
            runtime.block_on(async {
                let mut models: BTreeMap<UserId, Tasks> = [first, second].map(|owner| (owner, Tasks::new())).into();
                for Act { second: other, number, write, seconds } in acts {
                    let owner = if other { second } else { first };
                    let model = models.get_mut(&owner).unwrap();
                    let expected = apply(id(number), model.get(&id(number)), &write, None, at(seconds));
                    let done = act(&*store, owner, id(number), &write, at(seconds)).await;
                    match (expected, done) {
                        (Ok(Applied::Changed(task)), Ok(done)) => {
                            prop_assert_eq!(&Task { version: done.version, ..task }, &done);
                            model.insert(done.id, done);
                        }
                        (Ok(Applied::Unchanged(task)), Ok(done)) => prop_assert_eq!(task, done),
                        (Err(expected), Err(refusal)) => prop_assert_eq!(expected, refusal),
                        (expected, done) => prop_assert!(false, "{:?} but {:?}", expected, done),
                    }
                }
                for (owner, model) in models {
                    prop_assert_eq!(&replayed(&*store, owner).await?, &model);
                    let filter = Filter { show_deleted: true, ..Filter::default() };
                    let table = walk(&*store, owner, &filter, Order::default(), 3).await;
                    let table: Tasks = table.into_iter().map(|task| (task.id, task)).collect();
                    prop_assert_eq!(&table, &model);
                }
                Ok(())
            })
        });
        result.unwrap();
    }
}
