use proptest::prelude::*;
use serde_json::json;

use super::{
    super::{
        approval,
        fault::{Fault, LONGEST_REASON, failed},
    },
    *,
};

fn started() -> Event {
    Event::Started { message: Uuid::from_u128(1), time_zone: "Europe/Berlin".to_owned() }
}

fn call(id: &str, name: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: json!({"task": {"title": "milk"}}) }
}

fn classify(name: &str) -> Option<Class> {
    match name {
        "list_tasks" => Some(Class::Read),
        "add_tasks" => Some(Class::Write),
        _ => None,
    }
}

fn done(id: &str) -> Event {
    finished(&[], id, Ok(json!({})))
}

fn calls_of(event: &Event) -> Vec<&str> {
    judged(event).iter().map(|judged| judged.call.id.as_str()).collect()
}

#[test]
fn a_turn_asks_the_model_then_calls_then_asks_again_then_replies() {
    let mut events = vec![started()];
    assert_eq!(next(&events), Action::AskModel);
    events.push(asked(&events, vec![call("a", "add_tasks"), call("b", "nonsense")], None, classify));
    assert_eq!(next(&events), Action::CallTool { call: &call("a", "add_tasks"), step: 2 });
    events.push(done("a"));
    assert!(matches!(next(&events), Action::Refuse { call_id: "b", failure } if failure.reason == "TOOL_UNKNOWN"));
    events.push(done("b"));
    assert_eq!(next(&events), Action::AskModel);
    events.push(said(" Added. "));
    assert_eq!(next(&events), Action::Reply("Added.".into()));
    events.push(Event::Replied { message: Uuid::from_u128(2), text: "Added.".to_owned(), usage: None });
    assert_eq!(next(&events), Action::Stop);
    assert_eq!(ending(&events), Some(Ending::Replied("Added.")));
    let runs = runs(&events);
    assert_eq!(runs.iter().map(|run| run.call.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(runs.iter().all(|run| run.outcome.is_some()));
}

#[test]
fn nothing_happens_before_the_start_or_after_the_end() {
    assert_eq!(next(&[]), Action::Stop);
    assert_eq!(next(&[said("a")]), Action::Stop);
    let failed = [started(), failed("down", Fault::Unavailable)];
    assert_eq!((next(&failed), ending(&failed)), (Action::Stop, Some(Ending::Failed("down", Fault::Unavailable))));
}

#[test]
fn r_120_a_model_that_never_stops_calling_is_stopped_after_eight_rounds() {
    let mut events = vec![started()];
    for round in 0..MOST_ROUNDS {
        assert_eq!(next(&events), Action::AskModel);
        let id = round.to_string();
        let another = ToolCall { arguments: json!({ "pageSize": round + 1 }), ..call(&id, "list_tasks") };
        events.push(asked(&events, vec![another], None, classify));
        events.push(done(&id));
    }
    assert_eq!(next(&events), Action::Reply(TOO_MANY_ROUNDS.into()));
}

#[test]
fn r_120_a_thousand_calls_at_once_are_cut_and_the_same_call_twice_is_told_apart() {
    let events = [started()];
    let many = asked(&events, vec![call("same", "list_tasks"); 1000], None, classify);
    let ids = calls_of(&many);
    assert_eq!(ids.len(), MOST_CALLS);
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len());
}

#[test]
fn an_id_of_an_earlier_round_is_not_taken_again() {
    let mut events = vec![started()];
    events.push(asked(&events, vec![call("a", "list_tasks")], None, classify));
    events.push(done("a"));
    let again = asked(&events, vec![call("a", "list_tasks"), call("", "list_tasks")], None, classify);
    assert_eq!(calls_of(&again), ["call-3-0", "call-3-1"]);
    events.push(again);
    assert!(matches!(next(&events), Action::CallTool { step: 4, .. }));
}

#[test]
fn words_are_never_blank_and_never_endless() {
    assert_eq!(said(" \n"), Event::ModelAnswered(Answer::Text(NOTHING_SAID.to_owned())));
    let Event::ModelAnswered(Answer::Text(long)) = said(&"é".repeat(LONGEST_REPLY + 1)) else { unreachable!() };
    assert_eq!(long.chars().count(), LONGEST_REPLY + 1);
    assert_eq!(next(&[started(), asked(&[], vec![], None, classify)]), Action::Reply(NOTHING_SAID.into()));
}

#[test]
fn an_event_is_read_back_from_what_is_stored() {
    let events = [
        started(),
        asked(&[], vec![call("a", "add_tasks"), call("b", "?")], None, classify),
        Event::ToolFinished {
            call_id: "a".to_owned(),
            outcome: Err(ToolFailure { reason: "X".to_owned(), message: "y".to_owned() }),
        },
        done("b"),
        said("hi"),
        Event::Replied { message: Uuid::from_u128(2), text: "hi".to_owned(), usage: None },
        Event::Replied {
            message: Uuid::from_u128(2),
            text: "hi".to_owned(),
            usage: Some(Usage { prompt: 7, completion: 2 }),
        },
        failed("r", Fault::Busy),
        Event::Cancelled,
        Event::ApprovalRequested(approval()),
        Event::Answered { asked_in: Uuid::nil(), verdict: approval::Verdict::Approved(approval()) },
        Event::Answered { asked_in: Uuid::nil(), verdict: approval::Verdict::Declined },
    ];
    for event in events {
        let stored = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&stored).unwrap(), event);
    }
}

#[test]
fn a_reply_says_what_its_turn_has_cost_and_one_of_old_says_nothing() {
    let events =
        [started(), Event::Spent(Usage { prompt: 5, completion: 1 }), Event::Spent(Usage { prompt: 7, completion: 2 })];
    let Event::Replied { usage, .. } = replied(&events, Uuid::nil(), "hi") else { unreachable!() };
    assert_eq!(usage, Some(Usage { prompt: 12, completion: 3 }));
    let old = r#"{"replied":{"message":"00000000-0000-0000-0000-000000000000","text":"hi"}}"#;
    let reply = Event::Replied { message: Uuid::nil(), text: "hi".to_owned(), usage: None };
    assert_eq!(serde_json::from_str::<Event>(old).unwrap(), reply);
    assert_eq!(serde_json::to_string(&reply).unwrap(), old, "who is older reads it, too");
}

#[test]
fn r_120_names_arguments_and_reasons_of_a_model_are_bounded() {
    let huge = ToolCall { id: "x".repeat(99), name: "y".repeat(99), arguments: json!({"title": "z".repeat(300_000)}) };
    let event = asked(&[started()], vec![huge], None, classify);
    let [Judged { call, refusal: Some(refusal), .. }] = judged(&event) else { panic!("{event:?}") };
    assert_eq!((call.id.as_str(), call.name.as_str(), &call.arguments), ("call-1-0", "…", &Value::Null));
    assert_eq!(refusal.reason, "TOOL_UNKNOWN");
    let fault = Fault::TimedOut;
    assert_eq!(failed(&"x".repeat(9_000), fault), Event::Failed { reason: "x".repeat(LONGEST_REASON), fault });
}

#[test]
fn r_120_heavy_arguments_are_taken_until_they_are_too_many_and_light_ones_always() {
    let heavy = |id: &str| ToolCall { arguments: json!({"text": "x".repeat(150_000)}), ..call(id, "add_tasks") };
    let mut events = vec![started()];
    events.push(asked(&events, vec![heavy("a"), call("b", "add_tasks"), heavy("c")], None, classify));
    events.push(asked(&events, vec![heavy("d"), call("e", "add_tasks")], None, classify));
    let kept: Vec<_> = events
        .iter()
        .flat_map(judged)
        .map(|judged| (judged.call.id.as_str(), !judged.call.arguments.is_null()))
        .collect();
    assert_eq!(kept, [("a", true), ("b", true), ("c", false), ("d", false), ("e", true)]);
}

#[test]
fn heavy_results_are_kept_until_they_are_too_many_and_light_ones_always() {
    let heavy = || Ok(json!({"text": "x".repeat(1_500_000)}));
    let mut events =
        vec![started(), asked(&[], (0..4).map(|n| call(&n.to_string(), "list_tasks")).collect(), None, classify)];
    for (id, result, is_kept) in
        [("0", heavy(), true), ("1", heavy(), true), ("2", heavy(), false), ("3", Ok(json!({})), true)]
    {
        let event = finished(&events, id, result);
        assert!(matches!(&event, Event::ToolFinished { outcome, .. } if outcome.is_ok() == is_kept), "{id}");
        events.push(event);
    }
}

fn approval() -> approval::Approval {
    let tasks = [json!({"id": "t", "title": "milk", "etag": "1"})];
    let call =
        ToolCall { id: "c".into(), name: "delete_tasks".into(), arguments: json!({"requests": [{"taskId": "t"}]}) };
    let owner = errand_changelog::UserId::from(Uuid::from_u128(1));
    approval::prepare(owner, &call, &tasks, Timestamp::UNIX_EPOCH, false).unwrap()
}

#[test]
fn what_a_peer_refused_leaves_room_for_another_try_and_what_is_in_doubt_does_not() {
    for (reason, expected) in [("INVALID_FIELDS", false), ("OUTCOME_UNKNOWN", true), ("UNAVAILABLE", true)] {
        let mut events = vec![started()];
        events.push(asked(&events, (0..5).map(|n| call(&n.to_string(), "add_tasks")).collect(), None, classify));
        for n in 0..5 {
            let failure = ToolFailure { reason: reason.to_owned(), message: String::new() };
            events.push(finished(&events, &n.to_string(), Err(failure)));
        }
        let again = asked(&events, vec![call("again", "add_tasks")], None, classify);
        assert_eq!(judged(&again)[0].waits, expected, "{reason}");
    }
}

#[test]
fn a_call_that_waits_ends_the_turn_with_the_question() {
    let judged = Judged { call: approval().call, refusal: None, waits: true };
    let read = Judged { call: call("a", "list_tasks"), refusal: None, waits: false };
    let mut events = vec![started(), Event::ModelAnswered(Answer::Calls(vec![judged, read]))];
    assert!(matches!(next(&events), Action::CallTool { call, .. } if call.id == "a"), "what waits comes last");
    events.push(done("a"));
    assert!(matches!(next(&events), Action::Prepare { is_again: false, .. }));
    events.push(finished(&events, "c-approved", Err(policy::waiting())));
    events.push(Event::ApprovalRequested(approval()));
    assert_eq!(next(&events), Action::Reply(approval().preview.into()));
}

#[test]
fn a_yes_is_carried_out_without_any_model_and_a_change_asks_again() {
    let answered = |verdict| vec![started(), Event::Answered { asked_in: Uuid::nil(), verdict }];
    let finished = |outcome| Event::ToolFinished { call_id: "c-approved".into(), outcome };
    let stale = || Err(ToolFailure { reason: "ETAG_MISMATCH".into(), message: String::new() });
    assert_eq!(next(&answered(approval::Verdict::Declined)), Action::Reply(DECLINED.into()));
    assert_eq!(next(&answered(approval::Verdict::Expired)), Action::Reply(EXPIRED.into()));
    let mut events = answered(approval::Verdict::Approved(approval()));
    assert_eq!(next(&events), Action::CallTool { call: &approval().call, step: 2 });
    let mut good = events.clone();
    good.push(finished(Ok(json!({"tasks": [{"id": "t"}]}))));
    assert!(matches!(next(&good), Action::Reply(text) if text.starts_with("Deleted 1 task.")));
    assert!(has_changed(&good, 2) && !has_changed(&good, 3) && !has_changed(&events, 0));
    events.push(finished(stale()));
    assert_eq!(next(&events), Action::Prepare { call: &approval().call, is_again: true });
    let mut gone = events.clone();
    gone.push(finished(stale()));
    assert_eq!(next(&gone), Action::Reply(GONE.into()));
    events.push(Event::ApprovalRequested(approval()));
    assert_eq!(next(&events), Action::Reply(approval().preview.into()));
}

fn any_event() -> impl Strategy<Value = Event> {
    let id = "[ab]?";
    prop_oneof![
        Just(started()),
        ".{0,5}".prop_map(|text| said(&text)),
        prop::collection::vec((id, "add_tasks|list_tasks|x"), 0..4).prop_map(|calls| {
            asked(&[], calls.into_iter().map(|(id, name)| call(&id, &name)).collect(), None, classify)
        }),
        id.prop_map(|id| done(&id)),
        Just(Event::Replied { message: Uuid::nil(), text: "x".to_owned(), usage: None }),
        Just(failed("x", Fault::TimedOut)),
        Just(Event::Cancelled),
        Just(Event::Spent(Usage { prompt: 1, completion: 2 })),
        Just(Event::ApprovalRequested(approval())),
        Just(Event::Answered { asked_in: Uuid::nil(), verdict: approval::Verdict::Approved(approval()) }),
    ]
}

proptest! {
    #[test]
    fn any_events_have_a_next_action(events in prop::collection::vec(any_event(), 0..20)) {
        let _ = (next(&events), runs(&events), ending(&events));
    }

    /// Whatever the model answers, a turn ends, and each call is carried out at a step of its own.
    #[test]
    fn r_120_every_turn_ends(script in prop::collection::vec(prop::collection::vec(("[a-c]{0,2}", "add_tasks|list_tasks|x"), 0..40), 0..12)) {
        let mut events = vec![started()];
        let mut script = script.into_iter();
        let mut carried_out = Vec::new();
        let mut asked_model = 0;
        for _ in 0..=1 + MOST_ROUNDS * (MOST_CALLS + 1) {
            let event = match next(&events) {
                Action::Stop => break,
                Action::AskModel => {
                    asked_model += 1;
                    match script.next() {
                        Some(calls) => asked(&events, calls.into_iter().map(|(id, name)| call(&id, &name)).collect(), None, classify),
                        None => said("done"),
                    }
                }
                Action::CallTool { call, step } => {
                    prop_assert_eq!(step, events.len());
                    prop_assert!(!carried_out.contains(&call.id));
                    carried_out.push(call.id.clone());
                    done(&call.id.clone())
                }
                Action::Refuse { call_id, failure } => Event::ToolFinished { call_id: call_id.to_owned(), outcome: Err(failure.clone()) },
                Action::Reply(text) => Event::Replied { message: Uuid::nil(), text: text.into_owned(), usage: None },
                Action::Prepare { call, .. } => finished(&events, &call.id, Err(policy::waiting())),
            };
            events.push(event);
        }
        prop_assert!(ending(&events).is_some());
        prop_assert!(asked_model <= MOST_ROUNDS);
        prop_assert!(runs(&events).iter().all(|run| run.outcome.is_some()));
    }
}
