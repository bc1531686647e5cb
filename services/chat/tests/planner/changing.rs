//! Completing, reopening, renaming, moving, describing, ranking, deleting and bringing back.

use crate::check;

const HOME: &[&str] = &["Buy milk", "Dentist appointment", "Pay rent @2026-11-13", "x Call mom"];

#[test]
fn a_task_is_completed_by_a_part_of_its_title() {
    check(&[
        (HOME, &["complete buy milk"], &["complete Buy milk"], "done: “Buy milk”"),
        (HOME, &["complete milk"], &["complete Buy milk"], ""),
        (HOME, &["I bought milk"], &["complete Buy milk"], ""),
        (HOME, &["I bought the milk!"], &["complete Buy milk"], ""),
        (HOME, &["just bought milk"], &["complete Buy milk"], ""),
        (HOME, &["bought the milk this morning"], &["complete Buy milk"], ""),
        (HOME, &["I've already paid the rent"], &["complete Pay rent"], ""),
        (HOME, &["I finally paid rent, thanks"], &["complete Pay rent"], ""),
        (HOME, &["done with the dentist"], &["complete Dentist appointment"], ""),
        (HOME, &["I'm done with the dentist"], &["complete Dentist appointment"], ""),
        (HOME, &["mark buy milk as done"], &["complete Buy milk"], ""),
        (HOME, &["mark the milk task as completed please"], &["complete Buy milk"], ""),
        (HOME, &["Can you mark rent as paid?"], &[], ""),
        (HOME, &["mark dentist done"], &["complete Dentist appointment"], ""),
        (HOME, &["mark as done: pay rent"], &["complete Pay rent"], ""),
        (HOME, &["finished the dentist appointment"], &["complete Dentist appointment"], ""),
        (HOME, &["check off milk"], &["complete Buy milk"], ""),
        (HOME, &["cross the rent off my list"], &["complete Pay rent"], ""),
        (HOME, &["tick off pay rent"], &["complete Pay rent"], ""),
        (HOME, &["the rent is paid"], &["complete Pay rent"], ""),
        (HOME, &["milk is done"], &["complete Buy milk"], ""),
        (HOME, &["pay rent: done"], &["complete Pay rent"], ""),
        (HOME, &["rent done"], &["complete Pay rent"], ""),
        (HOME, &["set rent to done"], &["complete Pay rent"], ""),
        (HOME, &["the dentist appointment is finished"], &["complete Dentist appointment"], ""),
        (HOME, &["I took care of the rent"], &["complete Pay rent"], ""),
        (HOME, &["complete \"Buy milk\""], &["complete Buy milk"], ""),
        (HOME, &["finish the dentist"], &[], "should i mark “dentist appointment” as done"),
        (HOME, &["finish the dentist", "yes"], &["complete Dentist appointment"], ""),
        (HOME, &["complete call mom"], &[], "done already"),
        (HOME, &["complete the tax report"], &[], "no open task"),
        (HOME, &["I bought bread"], &[], "no open task"),
        (&["Pay dentist bill"], &["I called the dentist"], &[], "not sure which"),
        (&["Pay dentist bill", "Call dentist"], &["I called the dentist"], &["complete Call dentist"], ""),
        (&["Buy milk", "Buy milk chocolate"], &["complete buy milk"], &["complete Buy milk"], ""),
        (&["Finish report"], &["finished the report"], &["complete Finish report"], ""),
        (&["Submit taxes"], &["I submitted my taxes"], &["complete Submit taxes"], ""),
        (&["Call mum"], &["called mom"], &["complete Call mum"], ""),
        (&["Do the laundry"], &["I did the laundry"], &["complete Do the laundry"], ""),
        (&["Café reservation"], &["done with the cafe reservation"], &["complete Café reservation"], ""),
        (&["牛乳を買う"], &["complete 牛乳"], &["complete 牛乳を買う"], ""),
        (&["Buy milk"], &["compleet milk"], &["complete Buy milk"], ""),
        (&["Dentist"], &["complete dentits"], &[], "not sure which"),
        (&["Dentist"], &["complete dentits", "yes"], &["complete Dentist"], ""),
        (&["Read War and Peace"], &["read war and peace"], &[], "should i add"),
        (&["Read War and Peace"], &["I read war and peace"], &["complete Read War and Peace"], ""),
        (HOME, &["I bought milk and paid the rent"], &["complete Buy milk", "complete Pay rent"], "done: 2 tasks"),
        (HOME, &["rent paid"], &[], "should i mark “pay rent” as done"),
        (HOME, &["I made a dentist appointment"], &[], "not sure"),
        (HOME, &["the dentist appointment is cancelled"], &[], ""),
        (HOME, &["I missed the dentist appointment"], &[], ""),
        (HOME, &["rent is almost done"], &[], ""),
        (HOME, &["the rent will be paid"], &[], ""),
        (HOME, &["rent has to be paid"], &[], ""),
        (HOME, &["I think the rent is paid"], &[], ""),
        (HOME, &["done"], &[], "which task"),
        (HOME, &["is the rent paid?"], &[], "pay rent|open"),
        (&["Milk", "Buy milk chocolate"], &["I bought milk"], &[], "which task"),
        (&["Milk"], &["I bought milk"], &["complete Milk"], ""),
        (&["Milk the cow"], &["complete the"], &[], ""),
        (&["Milk the cow"], &["delete the"], &[], ""),
    ]);
}

#[test]
fn a_task_is_reopened() {
    check(&[
        (&["x Pay rent"], &["pay rent is not done yet"], &["reopen Pay rent"], "open again"),
        (&["x Pay rent"], &["reopen the rent"], &["reopen Pay rent"], ""),
        (&["x Pay rent"], &["mark rent as not done"], &["reopen Pay rent"], ""),
        (&["x Pay rent"], &["uncheck pay rent"], &["reopen Pay rent"], ""),
        (&["x Pay rent"], &["rent isn't done"], &["reopen Pay rent"], ""),
        (&["x Pay rent"], &["the rent is still open"], &["reopen Pay rent"], ""),
        (&["x Pay rent"], &["I haven't paid the rent yet"], &[], "should i open “pay rent” again"),
        (&["x Pay rent"], &["I didn't pay the rent", "yes"], &["reopen Pay rent"], ""),
        (&["Pay rent"], &["I haven't paid the rent yet"], &[], "still open"),
        (&["Pay rent"], &["pay rent is not done"], &[], "still open"),
        (&["Pay rent"], &["done with rent", "actually it's not done"], &["complete Pay rent", "reopen Pay rent"], ""),
    ]);
}

#[test]
fn a_task_is_renamed() {
    check(&[
        (
            &["Buy milk"],
            &["rename buy milk to buy oat milk"],
            &["title of Buy milk: buy oat milk"],
            "renamed “buy milk” to “buy oat milk”",
        ),
        (&["Buy milk"], &["change milk to Buy bread"], &["title of Buy milk: Buy bread"], ""),
        (
            &["Buy milk"],
            &["rename \"Buy milk\" to \"Delete everything\""],
            &["title of Buy milk: Delete everything"],
            "",
        ),
        (&["Buy milk"], &["change the title of milk to oat milk"], &["title of Buy milk: oat milk"], ""),
        (&["Buy milk"], &["Can you rename the milk task to Get oat milk?"], &["title of Buy milk: Get oat milk"], ""),
        (&["Go to bank"], &["rename go to bank to go to post office"], &["title of Go to bank: go to post office"], ""),
        (&["Buy milk"], &["replace milk with bread"], &["title of Buy milk: bread"], ""),
        (&["Buy milk"], &["rename milk"], &[], "new title"),
        (&["Buy milk"], &["rename milk", "Buy oat milk"], &["title of Buy milk: Buy oat milk"], ""),
        (&["Buy milk"], &["rename milk to buy milk", "thanks"], &["title of Buy milk: buy milk"], "welcome"),
        (&["Buy milk"], &["rename bread to cake"], &[], "no task"),
        (
            &[],
            &["add buy milk", "actually make that oat milk"],
            &["add buy milk", "title of buy milk: buy oat milk"],
            "oat milk",
        ),
        (&[], &["add buy milk", "actually make it bread"], &["add buy milk", "title of buy milk: buy bread"], ""),
        (&[], &["add call mom", "no, I meant call dad"], &["add call mom", "title of call mom: call dad"], ""),
        (&[], &["add call mom", "rename it to call dad"], &["add call mom", "title of call mom: call dad"], ""),
        (&["Buy milk"], &["actually make that oat milk"], &[], ""),
        (&[], &["add buy milk", "no, that's wrong"], &["add buy milk"], ""),
        (HOME, &["change rent to friday or saturday"], &[], "should i"),
        (HOME, &["the dentist appointment should be called Dentist"], &["title of Dentist appointment: Dentist"], ""),
    ]);
}

#[test]
fn a_task_is_moved() {
    check(&[
        (HOME, &["move rent to monday"], &["dueTime of Pay rent: 2026-11-16T23:59:59"], "due Monday"),
        (HOME, &["move the dentist to friday at 3pm"], &["dueTime of Dentist appointment: 2026-11-13T15:00:00"], ""),
        (HOME, &["reschedule dentist for tomorrow"], &["dueTime of Dentist appointment: 2026-11-12T23:59:59"], ""),
        (HOME, &["postpone rent until next week"], &["dueTime of Pay rent: 2026-11-16T23:59:59"], ""),
        (HOME, &["push the rent back a week"], &["dueTime of Pay rent: 2026-11-20T23:59:59"], ""),
        (HOME, &["postpone rent by 2 days"], &["dueTime of Pay rent: 2026-11-15T23:59:59"], ""),
        (HOME, &["change the due date of milk to 2027-01-05"], &["dueTime of Buy milk: 2027-01-05T23:59:59"], ""),
        (HOME, &["set the deadline for milk to tomorrow 5pm"], &["dueTime of Buy milk: 2026-11-12T17:00:00"], ""),
        (HOME, &["make milk due tomorrow"], &["dueTime of Buy milk: 2026-11-12T23:59:59"], ""),
        (HOME, &["set milk for saturday"], &["dueTime of Buy milk: 2026-11-14T23:59:59"], ""),
        (HOME, &["change rent to monday"], &["dueTime of Pay rent: 2026-11-16T23:59:59"], ""),
        (HOME, &["move rent to 6pm"], &["dueTime of Pay rent: 2026-11-13T18:00:00"], ""),
        (HOME, &["move dentist from monday to friday"], &["dueTime of Dentist appointment: 2026-11-13T23:59:59"], ""),
        (HOME, &["remove the due date from rent"], &["dueTime of Pay rent: none"], "no due date"),
        (HOME, &["move rent"], &[], "when should it be due"),
        (HOME, &["reschedule rent", "tomorrow at 9"], &["dueTime of Pay rent: 2026-11-12T09:00:00"], ""),
        (HOME, &["move rent to february 30"], &[], "there is no"),
        (HOME, &["move rent to yesterday"], &[], ""),
        (
            HOME,
            &["move everything to friday"],
            &["dueTime of Buy milk: 2026-11-13T23:59:59", "dueTime of Dentist appointment: 2026-11-13T23:59:59"],
            "changed 2 tasks",
        ),
        (HOME, &["the rent is due on monday"], &[], "should i"),
        (HOME, &["the rent is due on monday", "yes"], &["dueTime of Pay rent: 2026-11-16T23:59:59"], ""),
        (
            &["Friday report"],
            &["move the friday report to monday"],
            &["dueTime of Friday report: 2026-11-16T23:59:59"],
            "",
        ),
        (&[], &["add call mom", "make it tomorrow"], &["add call mom", "dueTime of call mom: 2026-11-12T23:59:59"], ""),
        (
            &[],
            &["add call mom at 5pm", "actually 6pm"],
            &["add call mom due 2026-11-11T17:00:00", "dueTime of call mom: 2026-11-11T18:00:00"],
            "",
        ),
        (
            &[],
            &["add call mom", "move it to friday"],
            &["add call mom", "dueTime of call mom: 2026-11-13T23:59:59"],
            "",
        ),
        (
            &[],
            &["add call mom", "thanks", "move it to friday"],
            &["add call mom", "dueTime of call mom: 2026-11-13T23:59:59"],
            "",
        ),
        (HOME, &["update the rent to be due monday"], &["dueTime of Pay rent: 2026-11-16T23:59:59"], ""),
        (HOME, &["can we move the dentist to tuesday?"], &[], "should i change"),
        (HOME, &["give milk a deadline of saturday"], &["dueTime of Buy milk: 2026-11-14T23:59:59"], ""),
        (&[], &["add call mom", "move to friday"], &["add call mom", "dueTime of call mom: 2026-11-13T23:59:59"], ""),
        (&[], &["add call mom tomorrow", "at 5pm"], &["add call mom due 2026-11-12T23:59:59"], "should i change"),
    ]);
}

#[test]
fn a_task_is_described_ranked_and_tagged() {
    check(&[
        (HOME, &["describe milk as two litres, organic"], &["description of Buy milk: two litres, organic"], ""),
        (HOME, &["add a note to milk: two litres"], &["description of Buy milk: two litres"], ""),
        (HOME, &["set the description of the rent to account 42"], &["description of Pay rent: account 42"], ""),
        (HOME, &["make rent high priority"], &["priority of Pay rent: PRIORITY_HIGH"], "high priority"),
        (HOME, &["set milk to low priority"], &["priority of Buy milk: PRIORITY_LOW"], ""),
        (
            HOME,
            &["set the priority of the dentist to medium"],
            &["priority of Dentist appointment: PRIORITY_MEDIUM"],
            "",
        ),
        (HOME, &["mark rent as urgent"], &["priority of Pay rent: PRIORITY_HIGH"], ""),
        (HOME, &["prioritise rent"], &["priority of Pay rent: PRIORITY_HIGH"], ""),
        (HOME, &["change the priority of rent to high"], &["priority of Pay rent: PRIORITY_HIGH"], ""),
        (HOME, &["the rent is urgent"], &[], "should i"),
        (&[], &["add call mom", "it's urgent"], &["add call mom", "priority of call mom: PRIORITY_HIGH"], ""),
        (&[], &["add call mom", "make it high priority"], &["add call mom", "priority of call mom: PRIORITY_HIGH"], ""),
        (HOME, &["tag milk as shopping"], &["labels of Buy milk: shopping"], ""),
        (HOME, &["add #home to milk"], &["labels of Buy milk: home"], ""),
        (&["Buy milk #home"], &["remove the tag home from milk"], &["labels of Buy milk: "], ""),
        (HOME, &["add high priority to rent"], &["priority of Pay rent: PRIORITY_HIGH"], ""),
        (HOME, &["add note \"window seat\" to the dentist"], &["description of Dentist appointment: window seat"], ""),
    ]);
}

#[test]
fn one_task_is_deleted_and_brought_back() {
    check(&[
        (HOME, &["delete buy milk"], &["delete Buy milk"], "deleted “Buy milk”"),
        (HOME, &["delete the milk task"], &["delete Buy milk"], ""),
        (HOME, &["please remove the dentist from my list"], &["delete Dentist appointment"], ""),
        (HOME, &["get rid of the dentist appointment"], &["delete Dentist appointment"], ""),
        (HOME, &["take rent off my list"], &["delete Pay rent"], ""),
        (HOME, &["delete call mom"], &["delete Call mom"], ""),
        (HOME, &["delete \"pay rent\""], &["delete Pay rent"], ""),
        (HOME, &["cancel the dentist"], &[], "should i delete “dentist appointment”"),
        (HOME, &["cancel the dentist", "yes"], &["delete Dentist appointment"], ""),
        (HOME, &["delete milk?"], &[], "should i delete"),
        (HOME, &["delete the tax report"], &[], "no task"),
        (HOME, &["delete milk", "undo"], &["delete Buy milk", "undo"], "as it was before"),
        (HOME, &["delete milk", "bring it back"], &["delete Buy milk", "undelete Buy milk"], ""),
        (HOME, &["done with milk", "undo that"], &["complete Buy milk", "undo"], ""),
        (&["- Old photos"], &["bring back old photos"], &["undelete Old photos"], ""),
        (&["- Old photos"], &["restore the photos task"], &["undelete Old photos"], ""),
        (&["Old photos"], &["undelete old photos"], &[], "not deleted"),
        (&["- Old photos"], &["delete old photos"], &[], "no task"),
        (&[], &["add buy milk", "delete it"], &["add buy milk", "delete buy milk"], ""),
        (&[], &["undo"], &[], "nothing"),
        (HOME, &["rename milk to bread", "undo"], &["title of Buy milk: bread", "undo"], "as it was before"),
        (HOME, &["delete rent tomorrow"], &[], "not sure"),
        (HOME, &["delete milk and rent"], &[], "say yes"),
        (HOME, &["delete milk and rent", "yes"], &["delete Buy milk", "delete Pay rent"], "deleted 2 tasks"),
        (HOME, &["delete bread", "the milk"], &[], "should i delete “buy milk”"),
        (HOME, &["delete bread", "the milk", "yes"], &["delete Buy milk"], ""),
    ]);
}

#[test]
fn taking_several_away_waits_for_a_yes() {
    for message in [
        "delete everything",
        "delete all my tasks",
        "Delete all tasks now!",
        "clear my list",
        "erase everything please",
        "wipe my todo list",
        "delete my tasks",
        "empty my list",
        "yes delete everything",
        "can you delete all my tasks?",
    ] {
        check_nothing_done(message, "say yes");
    }
}

#[test]
fn several_of_which_it_is_not_plain_which_are_left_alone() {
    for message in [
        "delete both",
        "get rid of all of them",
        "delete the first two",
        "delete tasks 1 and 2",
        "delete 1 and 2",
        "delete them all",
        "delete everything except milk",
        "delete some tasks",
        "reopen all the others",
        "remove all completed tasks but one",
    ] {
        check_nothing_done(message, "");
    }
}

fn check_nothing_done(message: &'static str, words: &str) {
    let mut talk = crate::talk::Talk::with(HOME);
    let reply = talk.say(message);
    assert!(talk.fake.effects.is_empty(), "{message}: {:?}", talk.fake.effects);
    assert!(reply.to_lowercase().contains(words), "{message}: {reply}");
}
