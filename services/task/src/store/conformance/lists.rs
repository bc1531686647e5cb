//! Lists: filters, orders and pages, against a model that sorts everything in memory.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::*;
use crate::{
    domain::filter::{Key, Words},
    store::READ_AT_MOST,
};

const KEYS: [Key; 3] = [Key::CreateTime, Key::DueTime, Key::UpdateTime];

fn orders() -> impl Iterator<Item = Order> {
    KEYS.into_iter().flat_map(|key| [false, true].map(|descending| Order { key, descending }))
}

/// What a list should be.
fn expected(tasks: &[Task], filter: &Filter, order: Order) -> Vec<Task> {
    let mut tasks: Vec<_> = tasks.iter().filter(|task| filter.matches(task)).cloned().collect();
    tasks.sort_by_key(|task| order.position(task));
    if order.descending {
        tasks.reverse();
    }
    tasks
}

fn numbers(tasks: &[Task]) -> Vec<&str> {
    tasks.iter().map(|task| task.title.as_str()).collect()
}

/// A task, and what is done to it afterwards.
#[derive(Debug, Clone)]
struct Life {
    created: i64,
    due: Option<i64>,
    labels: Vec<&'static str>,
    title: &'static str,
    afterwards: Vec<(Write, i64)>,
}

fn life() -> impl Strategy<Value = Life> {
    let afterwards = prop_oneof![
        2 => Just(Write::Complete),
        1 => Just(Write::Reopen),
        2 => Just(Write::Delete),
        1 => Just(Write::Undelete),
        1 => prop::option::of(0i64..5).prop_map(|seconds| {
            Write::Patch(Patch { due_time: Some(seconds.and_then(due)), ..Patch::default() })
        }),
        1 => prop::sample::subsequence(vec!["a", "b", "A", "%"], 0..=4).prop_map(|some| {
            Write::Patch(Patch { labels: Some(labels(&some)), ..Patch::default() })
        }),
    ];
    (
        0i64..6,
        prop::option::of(-2i64..5),
        prop::sample::subsequence(vec!["a", "b", "A", "%"], 0..=4),
        prop::sample::select(vec!["Buy milk", "buy BREAD", "100 %_", "call Ägidius"]),
        prop::collection::vec((afterwards, 0i64..8), 0..4),
    )
        .prop_map(|(created, due, labels, title, afterwards)| Life { created, due, labels, title, afterwards })
}

fn filter() -> impl Strategy<Value = Filter> {
    (
        prop::option::of(any::<bool>()),
        prop::option::of(-2i64..5),
        prop::option::of(-2i64..5),
        prop::option::of(prop::sample::select(vec!["a", "A", "%", "none"])),
        prop::sample::select(vec!["", "", "", "buy", "MILK buy", "%", "äg"]),
        any::<bool>(),
    )
        .prop_map(|(completed, after, before, label, query, show_deleted)| Filter {
            completed,
            due_after: after.and_then(due),
            due_before: before.and_then(due),
            label: label.map(str::to_owned),
            words: Words::of(query),
            show_deleted,
        })
}

#[test]
fn r_036_every_list_equals_the_model_and_has_no_foreign_row() {
    let runtime = runtime();
    for Engine { name, store, .. } in runtime.block_on(engines()) {
        let mut owners = (1..).map(user);
        let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
        let owners = std::cell::RefCell::new(&mut owners);
        let result = runner.run(
            &(prop::collection::vec(life(), 0..25), prop::collection::vec(filter(), 4), 1usize..9),
            |(lives, mut filters, size)| {
                let owner = owners.borrow_mut().next().unwrap();
                runtime.block_on(async {
                    let mut tasks = Vec::new();
                    for (life, number) in lives.into_iter().zip(0..) {
                        let new = Draft {
                            due_time: life.due.and_then(due),
                            labels: labels(&life.labels),
                            ..draft(life.title)
                        };
                        let mut task = create(&*store, owner, id(number), new, at(life.created)).await;
                        for (write, seconds) in life.afterwards {
                            task = act(&*store, owner, id(number), &write, at(seconds)).await.unwrap_or(task);
                        }
                        tasks.push(task);
                    }
                    // Each filter that has an index of its own, too.
                    filters.push(Filter::default());
                    filters.push(Filter { completed: Some(true), ..Filter::default() });
                    filters.push(Filter { label: Some("a".to_owned()), ..Filter::default() });
                    filters.push(Filter { due_after: due(0), due_before: due(3), ..Filter::default() });
                    for (filter, order) in filters.iter().flat_map(|filter| orders().map(move |order| (filter, order)))
                    {
                        let listed = walk(&*store, owner, filter, order, size).await;
                        prop_assert_eq!(&listed, &expected(&tasks, filter, order), "{} {:?} {:?}", name, filter, order);
                    }
                    Ok(())
                })
            },
        );
        result.unwrap();
    }
}

#[test]
fn r_054_a_walk_beside_writers_shows_each_surviving_task_exactly_once() {
    /// What others do between two pages.
    #[derive(Debug, Clone)]
    enum Beside {
        Create(i64),
        Write(usize, Write),
    }
    let beside = prop_oneof![
        (0i64..40).prop_map(Beside::Create),
        (any::<prop::sample::Index>(), 0..5usize).prop_map(|(which, kind)| {
            let writes = [renamed("touched"), Write::Complete, Write::Reopen, Write::Delete, Write::Undelete];
            Beside::Write(which.index(1000), writes[kind].clone())
        }),
    ];
    let strategy =
        (prop::collection::vec(0i64..40, 1..30), prop::collection::vec(beside, 0..40), 1usize..6, any::<bool>());
    let runtime = runtime();
    for Engine { name, store, .. } in runtime.block_on(engines()) {
        let owners = std::cell::RefCell::new((1..).map(user));
        let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
        let result = runner.run(&strategy, |(created, beside, size, descending)| {
            let owner = owners.borrow_mut().next().unwrap();
            runtime.block_on(async {
                let mut count = 0;
                for seconds in created {
                    create(&*store, owner, id(count), draft("x"), at(seconds)).await;
                    count += 1;
                }
                let survivors = std::cell::RefCell::new((0..count).map(id).collect::<Vec<_>>());
                let mut beside = beside.into_iter();
                let (mut seen, mut after) = (Vec::new(), None);
                let order = Order { key: Key::CreateTime, descending };
                loop {
                    let query = Query { filter: Filter::default(), order, after, size };
                    let page = store.list(owner, query).await.unwrap();
                    seen.extend(page.tasks.iter().map(|task| task.id));
                    for other in beside.by_ref().take(3) {
                        match other {
                            Beside::Create(seconds) => {
                                create(&*store, owner, id(count), draft("new"), at(seconds)).await;
                                count += 1;
                            }
                            Beside::Write(which, write) => {
                                let id = id(which as u128 % count);
                                if act(&*store, owner, id, &write, at(50)).await.is_ok() && write == Write::Delete {
                                    survivors.borrow_mut().retain(|survivor| *survivor != id);
                                }
                            }
                        }
                    }
                    match page.next {
                        Some(next) => after = Some(next),
                        None => break,
                    }
                }
                let mut once = seen.clone();
                once.sort_unstable();
                once.dedup();
                prop_assert_eq!(once.len(), seen.len(), "{}: a task was shown twice", name);
                for survivor in survivors.borrow().iter() {
                    prop_assert!(seen.contains(survivor), "{name}: a task was lost");
                }
                Ok(())
            })
        });
        result.unwrap();
    }
}

#[tokio::test]
async fn tasks_without_a_due_time_come_last_and_first_when_descending() {
    for Engine { store, .. } in engines().await {
        for (number, (title, seconds)) in [("b", Some(2)), ("none", None), ("a", Some(1))].into_iter().enumerate() {
            let new = Draft { due_time: seconds.and_then(due), ..draft(title) };
            create(&*store, user(1), id(number as u128), new, at(0)).await;
        }
        let list = async |descending| {
            walk(&*store, user(1), &Filter::default(), Order { key: Key::DueTime, descending }, 2).await
        };
        assert_eq!(numbers(&list(false).await), ["a", "b", "none"]);
        assert_eq!(numbers(&list(true).await), ["none", "b", "a"]);
    }
}

#[tokio::test]
async fn a_filter_that_few_pass_answers_short_pages_and_ends() {
    for Engine { store, .. } in engines().await {
        let owner = user(1);
        let steps = |numbers: std::ops::Range<u128>| {
            let new = |number| {
                let title = if number % 700 == 0 { "needle" } else { "hay" };
                step(id(number), None, &Write::Create(draft(title)), at(i64::try_from(number).unwrap())).unwrap()
            };
            numbers.map(new).collect::<Vec<_>>()
        };
        store.commit(owner, by_user(), steps(0..1500).into(), at(0)).await.unwrap();
        store.commit(owner, by_user(), steps(1500..2300).into(), at(0)).await.unwrap();
        let filter = Filter { words: Words::of("needle"), ..Filter::default() };
        let (mut found, mut pages, mut after) = (Vec::new(), 0, None);
        loop {
            let query = Query { filter: filter.clone(), order: Order::default(), after, size: 200 };
            let page = store.list(owner, query).await.unwrap();
            found.push(page.tasks.len());
            pages += 1;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((found, pages), (vec![2, 1, 1], 2300 / READ_AT_MOST + 1));
        let whole = walk(&*store, owner, &Filter::default(), Order::default(), 200).await;
        assert_eq!(whole.len(), 2300);
    }
}

#[tokio::test]
async fn a_last_page_that_is_full_has_no_next() {
    for Engine { store, .. } in engines().await {
        for number in 0..4 {
            create(&*store, user(1), id(number), draft("x"), at(0)).await;
        }
        for show_deleted in [false, true] {
            let filter = Filter { show_deleted, ..Filter::default() };
            let query = Query { filter, order: Order::default(), after: None, size: 4 };
            let page = store.list(user(1), query).await.unwrap();
            assert_eq!((page.tasks.len(), page.next), (4, None));
        }
    }
}
