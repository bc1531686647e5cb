//! When two tasks fit, when places are named, when answers are given.

use crate::check;

const MILKS: &[&str] = &["Buy oat milk", "Buy cow milk", "Pay rent"];

#[test]
fn two_fitting_tasks_are_asked_about() {
    check(&[
        (MILKS, &["complete milk"], &[], "which task|1. buy oat milk|2. buy cow milk"),
        (MILKS, &["I bought milk"], &[], "which task"),
        (MILKS, &["delete milk"], &[], "which task"),
        (MILKS, &["complete milk", "the second"], &["complete Buy cow milk"], ""),
        (MILKS, &["complete milk", "the second one please"], &["complete Buy cow milk"], ""),
        (MILKS, &["complete milk", "2"], &["complete Buy cow milk"], ""),
        (MILKS, &["complete milk", "number 1"], &["complete Buy oat milk"], ""),
        (MILKS, &["complete milk", "the first"], &["complete Buy oat milk"], ""),
        (MILKS, &["complete milk", "oat"], &["complete Buy oat milk"], ""),
        (MILKS, &["complete milk", "the oat milk"], &["complete Buy oat milk"], ""),
        (MILKS, &["complete milk", "buy cow milk"], &["complete Buy cow milk"], ""),
        (MILKS, &["complete milk", "I mean the cow one"], &["complete Buy cow milk"], ""),
        (MILKS, &["complete milk", "the last one"], &["complete Buy cow milk"], ""),
        (MILKS, &["complete milk", "5"], &[], "only 2"),
        (MILKS, &["complete milk", "never mind"], &[], "nothing was changed"),
        (MILKS, &["complete milk", "none of them"], &[], "nothing was changed"),
        (MILKS, &["complete milk", "both"], &["complete Buy oat milk", "complete Buy cow milk"], "done: 2 tasks"),
        (MILKS, &["complete milk", "yes"], &[], "which task"),
        (MILKS, &["complete milk", "milk"], &[], "which task"),
        (MILKS, &["complete milk", "milk", "the first one"], &["complete Buy oat milk"], ""),
        (MILKS, &["complete milk", "what is due today?"], &[], "no open tasks"),
        (MILKS, &["complete milk", "delete rent"], &["delete Pay rent"], ""),
        (MILKS, &["delete milk", "the oat one"], &["delete Buy oat milk"], ""),
        (MILKS, &["rename milk to buy soy milk", "the second"], &["title of Buy cow milk: buy soy milk"], ""),
        (MILKS, &["move milk to friday", "1"], &["dueTime of Buy oat milk: 2026-11-13T23:59:59"], ""),
        (MILKS, &["cancel milk", "the second"], &["delete Buy cow milk"], ""),
        (&["Buy milk", "x Buy milk"], &["delete buy milk"], &[], "which task|done"),
        (&["Buy milk", "x Buy milk"], &["delete buy milk", "the second"], &["delete Buy milk"], ""),
        (&["Buy milk", "Buy milk"], &["complete buy milk"], &[], "which task"),
        (MILKS, &["complete"], &[], "which task"),
        (MILKS, &["complete a task", "rent"], &["complete Pay rent"], ""),
        (MILKS, &["delete a task", "the rent"], &["delete Pay rent"], ""),
        (MILKS, &["delete it"], &[], "which task"),
    ]);
}

#[test]
fn places_are_those_of_the_last_list() {
    check(&[
        (MILKS, &["list my tasks", "complete the first one"], &["complete Buy oat milk"], ""),
        (MILKS, &["list my tasks", "delete number 2"], &["delete Buy cow milk"], ""),
        (MILKS, &["list my tasks", "mark 3 as done"], &["complete Pay rent"], ""),
        (MILKS, &["list my tasks", "mark the last one as done"], &["complete Pay rent"], ""),
        (MILKS, &["list my tasks", "complete #2"], &["complete Buy cow milk"], ""),
        (MILKS, &["list my tasks", "move the third to friday"], &["dueTime of Pay rent: 2026-11-13T23:59:59"], ""),
        (MILKS, &["list my tasks", "rename 1 to buy tea"], &["title of Buy oat milk: buy tea"], ""),
        (MILKS, &["list my tasks", "thanks", "delete the second task"], &["delete Buy cow milk"], ""),
        (MILKS, &["list my tasks", "delete number 7"], &[], "only 3"),
        (MILKS, &["delete number 2"], &[], "not shown you a list"),
        (MILKS, &["complete the first one"], &[], "not shown you a list"),
        (MILKS, &["list my tasks", "the first one is done"], &["complete Buy oat milk"], ""),
        (MILKS, &["list my tasks", "the second one"], &[], "what should i do"),
        (
            &["Take first aid course", "Buy milk"],
            &["complete first aid course"],
            &["complete Take first aid course"],
            "",
        ),
        (&["Task (draft)", "Task"], &["list my tasks", "complete 1"], &["complete Task (draft)"], ""),
    ]);
}

#[test]
fn a_renamed_task_keeps_its_place_in_the_list_that_was_shown() {
    let mut talk = crate::talk::Talk::with(MILKS);
    talk.say("list my tasks");
    talk.say("rename 1 to buy tea");
    talk.say("complete 1");
    assert_eq!(talk.fake.effects, ["title of Buy oat milk: buy tea", "complete buy tea"]);
}

#[test]
fn twins_are_told_apart_by_their_place() {
    let mut talk = crate::talk::Talk::with(&["Buy milk", "Buy milk"]);
    talk.say("complete buy milk");
    talk.say("the second");
    assert_eq!(talk.fake.effects, ["complete Buy milk"]);
    assert!(talk.fake.tasks[0].get("completed").is_none());
    assert_eq!(talk.fake.tasks[1]["completed"], true);
}
