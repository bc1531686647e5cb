use serde_json::{Value, json};

use super::{
    super::{Action, Answer, Class, MOST_ROUNDS, asked, finished, next, runs, said},
    *,
};

fn started() -> Event {
    Event::Started { message: uuid::Uuid::nil(), time_zone: "UTC".to_owned() }
}

fn classify(name: &str) -> Option<Class> {
    match name {
        "list_tasks" => Some(Class::Read),
        "add_tasks" | "complete_tasks" => Some(Class::Write),
        _ => None,
    }
}

fn call(name: &str, arguments: Value) -> ToolCall {
    ToolCall { id: String::new(), name: name.to_owned(), arguments }
}

fn add(title: &str) -> ToolCall {
    call("add_tasks", json!({"requests": [{"task": {"title": title}}]}))
}

fn list(label: &str) -> ToolCall {
    call("list_tasks", json!({"label": label}))
}

/// A turn whose model asks for these calls, one answer after the other, as far as it goes: what it says at the end if it
/// does, and what came of each call. What runs makes a task, or comes to this.
fn turn(answers: Vec<Vec<ToolCall>>, outcome: impl Fn(usize) -> Option<ToolFailure>) -> (Option<String>, Vec<String>) {
    let mut events = vec![started()];
    let mut answers = answers.into_iter();
    let mut made = 0;
    loop {
        let event = match next(&events) {
            Action::AskModel => match answers.next() {
                Some(calls) => asked(&events, calls, None, classify),
                None => said("Done."),
            },
            Action::CallTool { call, .. } => {
                made += 1;
                let result = outcome(made).map_or_else(|| Ok(json!({"tasks": [{"id": made.to_string()}]})), Err);
                finished(&events, &call.id.clone(), result)
            }
            Action::Refuse { call_id, failure } => finished(&events, call_id, Err(failure.clone())),
            Action::Reply(text) => {
                let runs = runs(&events);
                let came = runs.iter().map(|run| match run.outcome {
                    Some(Ok(_)) => "made".to_owned(),
                    Some(Err(failure)) => failure.reason.clone(),
                    None => "open".to_owned(),
                });
                return ((text != "Done.").then(|| text.into_owned()), came.collect());
            }
            other => panic!("{other:?}"),
        };
        // What is stored is all that is known of it later, here or elsewhere.
        let stored = serde_json::to_string(&event).unwrap();
        events.push(serde_json::from_str(&stored).unwrap());
    }
}

fn good(_: usize) -> Option<ToolFailure> {
    None
}

#[test]
fn r_120_a_write_that_has_succeeded_is_made_once_and_the_third_wish_for_it_ends_the_turn() {
    let again = std::iter::repeat_with(|| vec![add("milk")]).take(MOST_ROUNDS).collect();
    let (end, came) = turn(again, good);
    assert_eq!(came, ["made", CALL_REPEATED, CALL_REPEATED]);
    let end = end.unwrap();
    assert!(end.ends_with("One task was changed; say \"undo\" to take that back."), "{end}");
}

#[test]
fn a_model_that_heeds_what_it_is_told_goes_on() {
    let (end, came) = turn(vec![vec![add("milk")], vec![add("milk")], vec![add("eggs")], vec![add("eggs")]], good);
    assert_eq!((end, came), (None, ["made", CALL_REPEATED, "made", CALL_REPEATED].map(str::to_owned).to_vec()));
    // As long as something in an answer is new, it is not at its end.
    let (end, came) = turn(vec![vec![add("a")], vec![add("a")], vec![add("a"), add("b")]], good);
    assert_eq!((end, came), (None, ["made", CALL_REPEATED, CALL_REPEATED, "made"].map(str::to_owned).to_vec()));
}

#[test]
fn two_that_are_alike_in_one_answer_are_two_wishes() {
    let (end, came) = turn(vec![vec![add("milk"), add("milk")], vec![add("milk"), add("milk")]], good);
    assert_eq!((end, came), (None, ["made", "made", CALL_REPEATED, CALL_REPEATED].map(str::to_owned).to_vec()));
}

#[test]
fn r_122_what_is_not_made_again_neither_asks_the_user_nor_takes_the_room_of_others() {
    let four = || {
        let requests = ["a", "b", "c", "d"].map(|title| json!({"task": {"title": title}}));
        call("add_tasks", json!({"requests": requests}))
    };
    let (end, came) = turn(vec![vec![four()], vec![four(), add("e")]], good);
    assert_eq!((end, came), (None, ["made", CALL_REPEATED, "made"].map(str::to_owned).to_vec()));
}

#[test]
fn what_has_failed_may_be_tried_again() {
    let failure = |reason: &str| ToolFailure { reason: reason.to_owned(), message: String::new() };
    let (end, came) = turn(vec![vec![add("milk")], vec![add("milk")], vec![add("milk")]], |made| {
        (made == 1).then(|| failure("INVALID_FIELDS"))
    });
    assert_eq!((end, came), (None, ["INVALID_FIELDS", "made", CALL_REPEATED].map(str::to_owned).to_vec()));
}

#[test]
fn r_120_the_same_is_read_twice_and_again_once_something_was_written() {
    let (end, came) = turn((0..MOST_ROUNDS).map(|_| vec![list("home")]).collect(), good);
    assert_eq!(came, ["made", "made", CALL_REPEATED, CALL_REPEATED]);
    let end = end.unwrap();
    assert!(end.ends_with("Nothing was changed."), "{end}");
    let reads =
        vec![vec![list("a")], vec![list("b")], vec![list("a")], vec![list("b")], vec![add("milk")], vec![list("a")]];
    assert_eq!(turn(reads, good), (None, vec!["made".to_owned(); 6]));
    // What may have been written counts as written, what was refused does not.
    for (reason, expected) in [("OUTCOME_UNKNOWN", "made"), ("TASK_NOT_FOUND", CALL_REPEATED)] {
        let reads = vec![vec![list("a")], vec![list("a")], vec![add("milk")], vec![list("a")]];
        let outcome = |made| (made == 3).then(|| ToolFailure { reason: reason.to_owned(), message: String::new() });
        assert_eq!(turn(reads, outcome).1.last().unwrap(), expected, "{reason}");
    }
}

#[test]
fn however_it_is_written_it_is_the_same() {
    let one = call("complete_tasks", json!({"requests": [{"taskId": "a", "etag": "1"}]}));
    let same = call("complete_tasks", json!({"requests": [{"etag": "1", "task_id": "a"}]}));
    let newer = call("complete_tasks", json!({"requests": [{"taskId": "a", "etag": "2"}]}));
    let (end, came) = turn(vec![vec![one], vec![same], vec![newer]], good);
    assert_eq!((end, came), (None, ["made", CALL_REPEATED, "made"].map(str::to_owned).to_vec()));
}

#[test]
fn what_may_have_been_done_is_tried_again_under_the_name_that_it_had() {
    let doubt = || Err(ToolFailure { reason: "OUTCOME_UNKNOWN".to_owned(), message: String::new() });
    let mut events = vec![started()];
    let mut names = Vec::new();
    let twice = || vec![add("milk"), add("milk")];
    let answers = [twice(), twice(), vec![list("a")], vec![add("milk")], vec![list("a")]];
    for calls in answers {
        events.push(asked(&events, calls, None, classify));
        while let Action::CallTool { call, step } = next(&events) {
            names.push((call.name.clone(), step));
            let id = call.id.clone();
            events.push(finished(&events, &id, doubt()));
        }
    }
    let add = |step| ("add_tasks".to_owned(), step);
    let list = |step| ("list_tasks".to_owned(), step);
    assert_eq!(names, [add(2), add(3), add(2), add(3), list(8), add(2), list(12)]);
}

#[test]
fn an_answer_of_words_is_no_repetition() {
    let words = Event::ModelAnswered(Answer::Text("hi".to_owned()));
    assert!(!goes_on(&[started(), words]) && !goes_on(&[]));
}
