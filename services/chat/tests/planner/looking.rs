//! Lists, counts, searches and questions about one task: nothing is ever written.

use crate::check;

const WEEK: &[&str] = &[
    "Buy milk @2026-11-11 #home",
    "Pay rent @2026-11-10 !high",
    "Dentist @2026-11-12T15:00",
    "Write report @2026-11-16",
    "Learn Polish",
    "x Call mom",
];

#[test]
fn lists_show_what_was_asked_for() {
    check(&[
        (
            WEEK,
            &["list"],
            &[],
            "5 open tasks|1. buy milk (due today, #home)|2. pay rent (overdue since yesterday, high priority)|3. dentist (due tomorrow 15:00)|4. write report (due monday)|5. learn polish",
        ),
        (WEEK, &["show my tasks"], &[], "5 open tasks"),
        (WEEK, &["Show me my to-do list please"], &[], "5 open tasks"),
        (WEEK, &["what's on my list?"], &[], "5 open tasks"),
        (WEEK, &["what do I have to do?"], &[], "5 open tasks"),
        (WEEK, &["what are my tasks"], &[], "5 open tasks"),
        (WEEK, &["my tasks"], &[], "5 open tasks"),
        (WEEK, &["tasks"], &[], "5 open tasks"),
        (WEEK, &["what's left?"], &[], "5 open tasks"),
        (WEEK, &["can I see my list?"], &[], "5 open tasks"),
        (WEEK, &["I want to see my tasks"], &[], "5 open tasks"),
        (WEEK, &["list all tasks"], &[], "6 tasks|call mom (done)"),
        (WEEK, &["show everything"], &[], "6 tasks"),
        (WEEK, &["show completed tasks"], &[], "one completed task|call mom"),
        (WEEK, &["what have I done?"], &[], "call mom"),
        (WEEK, &["which tasks are done?"], &[], "one completed"),
        (WEEK, &["what is due today?"], &[], "due today|1. buy milk"),
        (WEEK, &["what's due tomorrow"], &[], "due tomorrow|1. dentist"),
        (WEEK, &["anything due today?"], &[], "1. buy milk"),
        (WEEK, &["do I have anything tomorrow?"], &[], "dentist"),
        (WEEK, &["what do I have to do today?"], &[], "buy milk"),
        (WEEK, &["tasks for tomorrow"], &[], "dentist"),
        (WEEK, &["what's due this week?"], &[], "3 open tasks"),
        (WEEK, &["what is due next week?"], &[], "write report"),
        (WEEK, &["what's due on monday?"], &[], "write report"),
        (WEEK, &["what is overdue?"], &[], "one overdue task|pay rent"),
        (WEEK, &["show overdue tasks"], &[], "pay rent"),
        (WEEK, &["show my high priority tasks"], &[], "pay rent"),
        (WEEK, &["which tasks are urgent?"], &[], "pay rent"),
        (WEEK, &["show #home tasks"], &[], "buy milk"),
        (WEEK, &["tasks tagged home"], &[], "buy milk"),
        (WEEK, &["tasks without a due date"], &[], "learn polish"),
        (WEEK, &["find milk"], &[], "buy milk"),
        (WEEK, &["search for the report"], &[], "write report"),
        (WEEK, &["find reports"], &[], "write report"),
        (WEEK, &["show tasks about polish"], &[], "learn polish"),
        (WEEK, &["do I have any tasks about unicorns?"], &[], "no open tasks"),
        (WEEK, &["list tasks containing \"rent\""], &[], "pay rent"),
        (WEEK, &["what should I do next?"], &[], "next is|pay rent"),
        (&[], &["list"], &[], "no open tasks"),
        (&[], &["what's overdue"], &[], "no overdue tasks"),
    ]);
}

#[test]
fn counts_and_single_tasks_are_told() {
    check(&[
        (WEEK, &["how many tasks do I have?"], &[], "5 open tasks"),
        (WEEK, &["how many tasks are done?"], &[], "one completed task"),
        (WEEK, &["How many tasks are left"], &[], "5 open"),
        (WEEK, &["how many are due today?"], &[], "one open task due today"),
        (WEEK, &["how many overdue tasks do i have"], &[], "one overdue"),
        (WEEK, &["count my tasks"], &[], "5 open"),
        (WEEK, &["when is the dentist?"], &[], "dentist|due tomorrow 15:00"),
        (WEEK, &["when is the report due?"], &[], "due monday"),
        (WEEK, &["is the milk done?"], &[], "open"),
        (WEEK, &["did I call mom?"], &[], "call mom|done"),
        (WEEK, &["have I paid the rent"], &[], "pay rent|open"),
        (WEEK, &["tell me about the report"], &[], "write report"),
        (WEEK, &["show me the dentist task"], &[], "dentist"),
        (WEEK, &["what's the priority of rent?"], &[], "high priority"),
        (&["Buy milk | two litres"], &["describe milk"], &[], "two litres"),
        (&["Buy milk"], &["when is the dentist?"], &[], "no task"),
    ]);
}

#[test]
fn long_lists_are_cut_and_paged() {
    let titles: Vec<String> = (0..450).map(|number| format!("Job {number}")).collect();
    let tasks: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut talk = crate::talk::Talk::with(&tasks);
    let reply = talk.say("list my tasks");
    assert!(reply.contains("20. Job 19") && !reply.contains("21. "), "{reply}");
    assert!(reply.contains("450 open tasks") && reply.ends_with("and 430 more."), "{reply}");
    assert_eq!(talk.fake.calls.len(), 3);
    talk.say("complete job 449");
    assert_eq!(talk.fake.effects, ["complete Job 449"]);
}

#[test]
fn a_task_far_down_a_very_long_list_is_found_by_its_words() {
    let mut titles: Vec<String> = (0..1000).map(|number| format!("Job {number}")).collect();
    titles.push("Feed the hamster".to_owned());
    let tasks: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut talk = crate::talk::Talk::with(&tasks);
    assert!(talk.say("how many tasks do I have?").contains("at least 800"));
    talk.say("complete the hamster");
    assert_eq!(talk.fake.effects, ["complete Feed the hamster"]);
}
