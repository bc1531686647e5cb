use errand_chassis::clock::ManualClock;
use serde_json::json;

use super::*;
use crate::testing::{FakeTask, call, refusal};

const TURN: Uuid = Uuid::from_u128(7);

fn voice() -> Voice {
    Voice::new("raw.token", Some(RequestId::of(&HeaderMap::new(), &ManualClock::default())), None)
}

fn add(arguments: &Value) -> ToolCall {
    call("a", "add_tasks", json!({"requests": [arguments]}))
}

fn milk() -> ToolCall {
    add(&json!({"task": {"title": "milk", "priority": "PRIORITY_HIGH"}}))
}

fn reason_of(finished: Finished) -> String {
    match finished {
        Finished::Outcome(Err(failure)) => failure.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_is_made_in_the_users_name_and_answered_in_json() {
    let task = FakeTask::default();
    let voice = voice();
    let finished = TaskTools::new(task.upstream()).call(&voice, TURN, 4, &milk()).await;
    let Finished::Outcome(Ok(result)) = finished else { panic!("{finished:?}") };
    let result = &result["tasks"][0];
    assert_eq!((&result["title"], &result["priority"]), (&json!("milk"), &json!("PRIORITY_HIGH")));
    let tasks = task.tasks();
    assert_eq!(tasks.made.keys().collect::<Vec<_>>(), [&format!("turn-{TURN}-4/0000")]);
    let header = |name: &str| tasks.headers[0].get(name).unwrap().to_str().unwrap();
    assert_eq!(header("authorization"), "Bearer raw.token");
    assert_eq!(header("x-errand-turn"), TURN.to_string());
    assert_eq!(header("x-request-id"), voice.request_id.as_ref().unwrap().as_str());
    assert!(tasks.headers[0].contains_key("grpc-timeout"));
}

#[tokio::test]
async fn a_request_id_of_a_call_fits_the_contract() {
    assert!(format!("turn-{}-{}", Uuid::max(), usize::MAX).len() <= 64);
}

#[test]
fn r_034_a_voice_is_never_printed() {
    assert!(!format!("{:?}", voice()).contains("raw.token"));
}

#[tokio::test]
async fn r_120_wrong_arguments_are_told_to_the_model_and_not_to_the_peer() {
    let task = FakeTask::default();
    let tools = TaskTools::new(task.upstream());
    for arguments in [
        json!({"task": {"name": "milk"}}),
        json!({"task": {"title": 5}}),
        json!([]),
        json!(null),
        json!({"task": {"title": "a"}, "owner": "somebody"}),
    ] {
        let finished = tools.call(&voice(), TURN, 1, &add(&arguments)).await;
        assert_eq!(reason_of(finished), "INVALID_FIELDS", "{arguments}");
    }
    assert_eq!(reason_of(tools.call(&voice(), TURN, 1, &call("a", "purge", json!({}))).await), "TOOL_UNKNOWN");
    assert!(task.tasks().headers.is_empty());
}

#[tokio::test]
async fn r_121_the_model_names_no_request_and_checks_nothing() {
    let task = FakeTask::default();
    for field in ["requestId", "request_id", "validateOnly", "validate_only"] {
        let mut call = milk();
        call.arguments[field] = json!("x");
        let finished = TaskTools::new(task.upstream()).call(&voice(), TURN, 1, &call).await;
        assert_eq!(reason_of(finished), "INVALID_FIELDS", "{field}");
    }
}

#[tokio::test]
async fn rules_of_the_contract_are_checked_by_the_peer() {
    let task = FakeTask::default();
    let long = add(&json!({"task": {"title": "x".repeat(201)}}));
    let finished = TaskTools::new(task.upstream()).call(&voice(), TURN, 1, &long).await;
    assert_eq!(reason_of(finished), "INVALID_FIELDS");
}

#[tokio::test]
async fn a_refusal_of_the_peer_keeps_its_reason() {
    let task = FakeTask::default();
    let get = call("a", "get_task", json!({"taskId": Uuid::from_u128(1).to_string()}));
    let finished = TaskTools::new(task.upstream()).call(&voice(), TURN, 1, &get).await;
    assert_eq!(reason_of(finished), "TASK_NOT_FOUND");
    assert_eq!(task.calls(), 1, "it is not tried again");
}

#[tokio::test(start_paused = true)]
async fn r_117_a_peer_that_is_away_for_a_moment_is_tried_again_under_the_same_name() {
    let task = FakeTask::default();
    task.tasks().refusals.extend([Status::unavailable("away"), refusal(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")]);
    let finished = TaskTools::new(task.upstream()).call(&voice(), TURN, 1, &milk()).await;
    assert!(matches!(finished, Finished::Outcome(Ok(_))), "{finished:?}");
    assert_eq!((task.calls(), task.made()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn r_117_a_peer_that_stays_away_or_silent_is_a_failure_without_internals() {
    let task = FakeTask::default();
    task.tasks().is_down = true;
    let asked = Instant::now();
    let finished = TaskTools::new(task.upstream()).call(&voice(), TURN, 1, &milk()).await;
    let Finished::Outcome(Err(failure)) = finished else { panic!("{finished:?}") };
    assert_eq!(failure.reason, "UNAVAILABLE");
    assert!(!failure.message.contains("10.0.0.1"));
    let took = asked.elapsed();
    assert!(took > INSISTENCE - LONGEST_PAUSE && took <= INSISTENCE, "given up after {took:?}");
    assert!((8..16).contains(&task.calls()), "{} tries", task.calls());

    let silent = FakeTask::default();
    silent.tasks().hangs = true;
    let finished = TaskTools::new(silent.upstream()).call(&voice(), TURN, 1, &milk()).await;
    assert_eq!(reason_of(finished), "DEADLINE_EXCEEDED");
}

#[tokio::test(start_paused = true)]
async fn r_105_a_write_whose_outcome_is_not_known_is_made_again_until_it_is() {
    let task = FakeTask::default();
    let unknown = || refusal(Code::Unavailable, "OUTCOME_UNKNOWN");
    task.tasks().refusals.extend((0..6).map(|_| unknown()));
    let finished = TaskTools::new(task.upstream()).call(&voice(), TURN, 1, &milk()).await;
    assert!(matches!(finished, Finished::Outcome(Ok(_))), "{finished:?}");
    assert_eq!((task.calls(), task.made()), (7, 1));
}

#[tokio::test(start_paused = true)]
async fn r_117_a_call_is_given_up_in_time_to_tell_the_user() {
    for (hangs, reason) in [(false, "UNAVAILABLE"), (true, "DEADLINE_EXCEEDED")] {
        let task = FakeTask::default();
        (task.tasks().is_down, task.tasks().hangs) = (!hangs, hangs);
        let deadline = Deadline::after(Duration::from_secs(3));
        let hurried = Voice::new("t", None, Some(deadline));
        let finished = TaskTools::new(task.upstream()).call(&hurried, TURN, 1, &milk()).await;
        assert_eq!(reason_of(finished), reason);
        // The clock of tests goes in steps of a millisecond.
        let left = deadline.remaining() + Duration::from_millis(2);
        assert!(left >= LAST_WORDS, "{left:?} are left");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_too_busy_is_asked_again_when_it_says_and_a_lasting_limit_is_told() {
    let busy = |seconds| {
        let error = errand_chassis::Error::new(Code::ResourceExhausted, "STORAGE_BUSY", "busy");
        Status::from(error.retry_after(Duration::from_secs(seconds)))
    };
    let task = FakeTask::default();
    task.tasks().refusals.push_back(busy(1));
    let finished = TaskTools::new(task.upstream()).call(&voice(), TURN, 1, &milk()).await;
    assert!(matches!(finished, Finished::Outcome(Ok(_))), "{finished:?}");

    let limited = FakeTask::default();
    limited.tasks().refusals.push_back(busy(60));
    let finished = TaskTools::new(limited.upstream()).call(&voice(), TURN, 1, &milk()).await;
    assert_eq!((reason_of(finished), limited.calls()), ("STORAGE_BUSY".to_owned(), 1));
}

#[tokio::test(start_paused = true)]
async fn r_129_a_peer_gets_no_more_time_than_the_user_has_left() {
    let task = FakeTask::default();
    let hurried = Voice::new("t", None, Some(Deadline::after(Duration::from_millis(500))));
    TaskTools::new(task.upstream()).call(&hurried, TURN, 1, &milk()).await;
    let timeout = task.tasks().headers[0].get("grpc-timeout").unwrap().to_str().unwrap().to_owned();
    assert!(timeout == "500m" || timeout == "500000u", "{timeout}");
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_no_matter_for_the_model() {
    for reason in ["TOKEN_EXPIRED", "TOKEN_INVALID"] {
        let task = FakeTask::default();
        task.tasks().refusals.push_back(refusal(Code::Unauthenticated, reason));
        let finished = TaskTools::new(task.upstream()).call(&voice(), TURN, 1, &milk()).await;
        assert_eq!(finished, Finished::TokenRefused, "{reason}");
    }
    let task = FakeTask::default();
    task.tasks().refusals.push_back(refusal(Code::Unauthenticated, "ACCOUNT_DELETED"));
    let finished = TaskTools::new(task.upstream()).call(&voice(), TURN, 1, &milk()).await;
    assert_eq!(reason_of(finished), "ACCOUNT_DELETED");
}
