use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use super::*;
use crate::domain::{
    task::{Description, Title},
    write::{Applied, Draft, Patch, Write, apply},
};
use errand_changelog::Actor;

type Tasks = BTreeMap<TaskId, Task>;

/// A log of one owner, and the tasks that it leads to.
#[derive(Debug, Default, Clone)]
struct History {
    tasks: Tasks,
    log: Vec<Change<Task>>,
}

const TURN: Uuid = Uuid::from_u128(9);

fn id(number: u128) -> TaskId {
    TaskId(Uuid::from_u128(number))
}

fn at(seconds: usize) -> Timestamp {
    Timestamp::constant(1_795_251_600, 0) + SignedDuration::from_secs(seconds as i64)
}

fn draft(title: &str) -> Write {
    Write::Create(Draft {
        title: Title::new(title).unwrap(),
        description: Description::default(),
        priority: Priority::None,
        due_time: None,
        labels: Labels::default(),
    })
}

fn renamed(title: &str) -> Write {
    Write::Patch(Patch { title: Some(Title::new(title).unwrap()), ..Patch::default() })
}

fn described(text: &str) -> Write {
    Write::Patch(Patch { description: Some(Description::new(text).unwrap()), ..Patch::default() })
}

impl History {
    /// Writes when the rules allow it.
    fn act(&mut self, number: u128, write: &Write, turn: Option<Uuid>) {
        let now = at(self.log.len());
        let before = self.tasks.get(&id(number)).cloned();
        if let Ok(Applied::Changed(task)) = apply(id(number), before.as_ref(), write, None, now) {
            self.put(before, task, write.kind(), turn);
        }
    }

    fn put(&mut self, before: Option<Task>, task: Task, kind: Kind, turn: Option<Uuid>) {
        let seq = self.log.len() as i64 + 1;
        let after = Task { version: seq, ..task };
        self.tasks.insert(after.id, after.clone());
        self.log.push(Change {
            seq,
            time: after.update_time,
            actor: if turn.is_some() { Actor::Assistant } else { Actor::User },
            turn,
            request_id: None,
            kind: kind.as_str().to_owned(),
            before,
            after: Some(after),
        });
    }

    fn undo(&mut self, turn: Uuid, by: Option<Uuid>) -> Undo {
        let selected: Vec<_> = self.log.iter().filter(|change| change.turn == Some(turn)).cloned().collect();
        let undone = undo(&selected, &self.tasks, at(self.log.len()));
        for Undone { before, after, kind } in undone.tasks.clone() {
            self.put(Some(before), after, kind, by);
        }
        undone
    }

    /// What a task is, whatever its version and its last change.
    fn state(&self) -> BTreeMap<TaskId, Task> {
        let plain = |task: &Task| Task { version: 0, update_time: at(0), ..task.clone() };
        self.tasks.values().map(|task| (task.id, plain(task))).collect()
    }
}

fn conflicts(undone: &Undo) -> Vec<(TaskId, Field)> {
    undone.conflicts.iter().map(|conflict| (conflict.task, conflict.field)).collect()
}

#[test]
fn a_field_that_nobody_else_wrote_becomes_what_it_was() {
    let mut history = History::default();
    history.act(1, &draft("a"), None);
    let before = history.state();
    for write in [renamed("b"), Write::Complete, renamed("c"), Write::Delete] {
        history.act(1, &write, Some(TURN));
    }
    assert_eq!(conflicts(&history.undo(TURN, None)), []);
    assert_eq!(history.state(), before);
    assert_eq!(history.log.last().unwrap().kind, "undelete");
}

#[test]
fn a_field_that_somebody_else_wrote_stays_and_is_a_conflict() {
    let mut history = History::default();
    history.act(1, &draft("a"), None);
    history.act(1, &renamed("b"), Some(TURN));
    history.act(1, &described("by the assistant"), Some(TURN));
    history.act(1, &renamed("mine"), None);
    let undone = history.undo(TURN, None);
    let (ours, theirs) = (Value::Text("a".into()), Value::Text("mine".into()));
    let title = "mine".to_owned();
    assert_eq!(undone.conflicts, [Conflict { task: id(1), field: Field::Title, ours, theirs, title }]);
    let task = &history.tasks[&id(1)];
    assert_eq!((task.title.as_str(), task.description.as_str()), ("mine", ""));
}

#[test]
fn what_somebody_else_wrote_between_two_changes_of_the_turn_is_a_conflict() {
    let mut history = History::default();
    history.act(1, &draft("a"), None);
    history.act(1, &renamed("b"), Some(TURN));
    history.act(1, &renamed("mine"), None);
    history.act(1, &renamed("c"), Some(TURN));
    assert_eq!(conflicts(&history.undo(TURN, None)), [(id(1), Field::Title)]);
}

#[test]
fn a_task_that_was_made_is_deleted_unless_somebody_else_wrote_to_it() {
    let mut history = History::default();
    history.act(1, &draft("a"), Some(TURN));
    history.act(2, &draft("b"), Some(TURN));
    history.act(2, &Write::Complete, None);
    let undone = history.undo(TURN, None);
    assert!(history.tasks[&id(1)].is_deleted() && !history.tasks[&id(2)].is_deleted());
    let (ours, theirs) = (Value::Nothing, Value::Flag(true));
    let title = "b".to_owned();
    assert_eq!(undone.conflicts, [Conflict { task: id(2), field: Field::Completed, ours, theirs, title }]);
}

#[test]
fn an_undo_can_be_undone_and_twice_is_once() {
    let mut history = History::default();
    for number in 0..50 {
        history.act(number, &draft("x"), None);
    }
    for number in 0..50 {
        history.act(number, &Write::Delete, Some(TURN));
    }
    let deleted = history.state();
    assert_eq!(history.undo(TURN, Some(Uuid::from_u128(10))).tasks.len(), 50);
    assert!(history.tasks.values().all(|task| !task.is_deleted()));
    assert_eq!(history.undo(TURN, None), Undo::default(), "nothing is left to take back");
    history.undo(Uuid::from_u128(10), None);
    assert_eq!(history.state(), deleted);
}

#[test]
fn a_task_that_is_gone_for_good_can_not_come_back() {
    let mut history = History::default();
    history.act(1, &draft("a"), None);
    history.act(1, &Write::Delete, Some(TURN));
    history.tasks.clear();
    let undone = history.undo(TURN, None);
    assert_eq!((conflicts(&undone), undone.tasks), (vec![(id(1), Field::Deleted)], vec![]));
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        2 => "[a-c]{1,2}".prop_map(|title| draft(&title)),
        3 => "[a-c]{1,2}".prop_map(|title| renamed(&title)),
        2 => "[a-c]{1,2}".prop_map(|text| described(&text)),
        1 => (0i64..3).prop_map(|seconds| Write::Patch(Patch {
            due_time: Some(Some(DueTime::new(seconds, 0).unwrap())),
            labels: Some(Labels::new(vec![seconds.to_string()]).unwrap()),
            ..Patch::default()
        })),
        2 => Just(Write::Complete),
        1 => Just(Write::Reopen),
        2 => Just(Write::Delete),
        1 => Just(Write::Undelete),
    ]
}

fn history() -> impl Strategy<Value = Vec<(u128, Write)>> {
    vec((0u128..5, write()), 0..15)
}

proptest! {
    #[test]
    fn undo_of_any_turn_restores_the_exact_state_when_nobody_else_wrote(first in history(), turn in history()) {
        let mut history = History::default();
        first.iter().for_each(|(number, write)| history.act(*number, write, None));
        let before = history.state();
        turn.iter().for_each(|(number, write)| history.act(*number, write, Some(TURN)));
        prop_assert_eq!(conflicts(&history.undo(TURN, None)), []);
        let mut after = history.state();
        // What the turn made is deleted; there was nothing before.
        after.retain(|id, task| before.contains_key(id) || !task.is_deleted());
        prop_assert_eq!(after, before);
    }

    #[test]
    fn undo_reports_exactly_the_fields_that_somebody_else_wrote(
        first in history(), turn in history(), others in history(),
    ) {
        let mut history = History::default();
        first.iter().for_each(|(number, write)| history.act(*number, write, None));
        let before = history.tasks.clone();
        turn.iter().for_each(|(number, write)| history.act(*number, write, Some(TURN)));
        let left = history.tasks.clone();
        others.iter().for_each(|(number, write)| history.act(*number, write, None));
        let today = history.tasks.clone();
        let undone = history.undo(TURN, None);

        for (id, left) in &left {
            let (today, after) = (&today[id], &history.tasks[id]);
            let made = !before.contains_key(id);
            let touched = history.log.iter().any(|change| {
                change.turn == Some(TURN) && change.after.as_ref().is_some_and(|task| task.id == *id)
            });
            for field in Field::ALL {
                let theirs = !field.is_same(left, today);
                let reported = conflicts(&undone).contains(&(*id, field));
                let wanted = before.get(id).is_none_or(|before| !field.is_same(before, today));
                let wrote = made || history.log.iter().any(|change| {
                    change.turn == Some(TURN)
                        && change.before.as_ref().is_some_and(|task| task.id == *id)
                        && writes(field, change)
                });
                let expected = touched && wrote && theirs && wanted && !(made && today.is_deleted());
                prop_assert_eq!(reported, expected, "{:?} of {:?}", field, id);
                if reported || !touched {
                    prop_assert!(field.is_same(today, after), "what somebody else wrote stays");
                }
            }
        }
    }
}
