//! A question answered and a turn taken back by their ids, over gRPC and over REST; and what tools may do.

use errand_proto::{
    chat::{
        ApprovalDecision, ApproveTurnRequest, SendMessageResponse, Settings, ToolPolicy, ToolSetting, UndoTurnRequest,
        UndoTurnResponse, UpdateSettingsRequest,
    },
    task::{Task, UpdateTaskRequest},
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    batch::create_all,
    rest::{call, json_of},
    sandbox::{Person, Sandbox, reason, refused},
};

/// A yes or no to what this answer asks.
fn decision(asked: &SendMessageResponse, decision: ApprovalDecision) -> ApproveTurnRequest {
    ApproveTurnRequest {
        turn_id: asked.turn_id.clone(),
        hash: asked.approval_requested.as_ref().unwrap_or_else(|| panic!("{asked:?}")).hash.clone(),
        decision: decision.into(),
        ..Default::default()
    }
}

async fn decide(person: &Person, request: ApproveTurnRequest) -> Result<SendMessageResponse, Status> {
    Ok(person.chat().approve_turn(person.request(request)).await?.into_inner())
}

async fn undo(person: &Person, turn_id: &str, validate_only: bool) -> Result<UndoTurnResponse, Status> {
    let request = UndoTurnRequest { turn_id: turn_id.to_owned(), validate_only, ..Default::default() };
    Ok(person.chat().undo_turn(person.request(request)).await?.into_inner())
}

async fn rename(person: &Person, id: &str, title: &str) {
    let task = Task { id: id.to_owned(), title: title.to_owned(), ..Default::default() };
    let request = UpdateTaskRequest { task: Some(task), ..Default::default() };
    person.tasks().update_task(person.request(request)).await.unwrap();
}

#[tokio::test]
async fn a_question_is_answered_by_its_hash_once_and_undone_by_its_turn() {
    let sandbox = Sandbox::start();
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    create_all(&ann, 7).await;
    let before = ann.list().await;
    let asked = ann.say("", "delete everything").await;
    let yes = || decision(&asked, ApprovalDecision::Approve);

    let checked = decide(&ann, ApproveTurnRequest { validate_only: true, ..yes() }).await.unwrap();
    assert_eq!(checked.approval_requested, asked.approval_requested);
    let wrong = ApproveTurnRequest { hash: "0".repeat(64), ..yes() };
    assert_eq!(reason(decide(&ann, wrong).await), refused(Code::FailedPrecondition, "APPROVAL_MISMATCH"));
    let neither = ApproveTurnRequest { decision: 0, ..yes() };
    assert_eq!(reason(decide(&ann, neither).await), refused(Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(reason(decide(&bob, yes()).await), refused(Code::NotFound, "TURN_NOT_FOUND"));
    assert_eq!(ann.list().await, before, "nothing has happened yet");

    let named = ApproveTurnRequest { request_id: "yes-1".to_owned(), ..yes() };
    let done = decide(&ann, named.clone()).await.unwrap();
    assert!(done.response.starts_with("Deleted 7 tasks."), "{}", done.response);
    assert_eq!(decide(&ann, named).await.unwrap(), done);
    assert_eq!(reason(decide(&ann, yes()).await), refused(Code::FailedPrecondition, "APPROVAL_ENDED"));
    assert!(ann.list().await.is_empty());

    let preview = undo(&ann, &done.turn_id, true).await.unwrap();
    assert_eq!((preview.tasks.len(), preview.turn_id.as_str()), (7, ""));
    assert!(ann.list().await.is_empty(), "a preview");
    assert_eq!(reason(undo(&bob, &done.turn_id, false).await), refused(Code::NotFound, "TURN_NOT_FOUND"));
    let undone = undo(&ann, &done.turn_id, false).await.unwrap();
    assert_eq!((undone.tasks.len(), undone.conflicts.len()), (7, 0), "{}", undone.response);
    let titles = |tasks: &[Task]| tasks.iter().map(|task| task.title.clone()).collect::<Vec<_>>();
    assert_eq!(titles(&ann.list().await), titles(&before));

    // The undo is a turn like every other: it can be taken back.
    undo(&ann, &undone.turn_id, false).await.unwrap();
    assert!(ann.list().await.is_empty());
    assert_eq!(reason(undo(&ann, &asked.turn_id, false).await), refused(Code::NotFound, "CHANGES_NOT_FOUND"));
}

#[tokio::test]
async fn an_undo_by_id_and_one_by_a_word_tell_the_same_conflicts() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let milk = ann.create("buy milk").await;
    ann.create("buy bread").await;
    for by_id in [true, false] {
        let said = ann.say("", "rename buy milk to buy soy milk").await;
        rename(&ann, &milk.id, "buy oat milk").await;
        let response = if by_id {
            let undone = undo(&ann, &said.turn_id, false).await.unwrap();
            let [conflict] = undone.conflicts.as_slice() else { panic!("{undone:?}") };
            assert_eq!((&*conflict.task_id, &*conflict.title, &*conflict.field), (&*milk.id, "buy oat milk", "title"));
            let (ours, theirs) = (format!("{:?}", conflict.ours), format!("{:?}", conflict.theirs));
            assert!(ours.contains("\"buy milk\"") && theirs.contains("\"buy oat milk\""), "{conflict:?}");
            assert!(undone.tasks.is_empty());
            undone.response
        } else {
            ann.say(&said.conversation_id, "undo").await.response
        };
        let expected = "Nothing is left to take back. What was changed since stays as it is:\n\
                        - \"buy oat milk\": its title is \"buy oat milk\", not \"buy milk\" as before";
        assert_eq!(response, expected, "by id: {by_id}");
        rename(&ann, &milk.id, "buy milk").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_are_told_over_rest_from_the_same_contract() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    create_all(&ann, 6).await;
    let post = |path: String, body: Value| {
        let answer = tokio::task::block_in_place(|| call(&sandbox, &format!("POST {path}"), ann.token(), &body));
        (answer.status, json_of(&answer))
    };
    let asked = ann.say("", "complete everything").await;
    let hash = &asked.approval_requested.as_ref().unwrap().hash;
    let yes = json!({"hash": hash, "decision": "APPROVAL_DECISION_APPROVE"});
    let (status, done) = post(format!("/v1/turns/{}:approve", asked.turn_id), yes.clone());
    assert_eq!(status, 200, "{done}");
    assert!(ann.list().await.iter().all(|task| task.completed));
    let (status, said) = post(format!("/v1/turns/{}:approve", asked.turn_id), yes);
    assert_eq!((status, said["details"][0]["reason"].as_str()), (400, Some("APPROVAL_ENDED")), "{said}");
    let turn = done["turnId"].as_str().unwrap();
    let (status, undone) = post(format!("/v1/turns/{turn}:undo"), json!({}));
    assert_eq!((status, undone["tasks"].as_array().map(Vec::len)), (200, Some(6)), "{undone}");
    assert!(ann.list().await.iter().all(|task| !task.completed));
}

async fn set(person: &Person, tools: &[(&str, ToolPolicy)], etag: &str) -> Result<Settings, Status> {
    let setting = |(tool, policy): &(&str, ToolPolicy)| ToolSetting {
        tool: (*tool).to_owned(),
        policy: (*policy).into(),
        ..Default::default()
    };
    let settings = Settings { tools: tools.iter().map(setting).collect(), etag: etag.to_owned(), ..Default::default() };
    let request = UpdateSettingsRequest { settings: Some(settings), ..Default::default() };
    Ok(person.chat().update_settings(person.request(request)).await?.into_inner())
}

fn effective(settings: &Settings, tool: &str) -> ToolPolicy {
    settings.tools.iter().find(|setting| setting.tool == tool).unwrap().effective_policy()
}

#[tokio::test]
async fn a_user_can_be_stricter_than_the_operator_and_never_looser() {
    let sandbox = Sandbox::with(&[("ERRAND_TOOL_POLICY", "complete_tasks=deny, update_tasks=approve")]);
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    let settings =
        set(&ann, &[("add_tasks", ToolPolicy::Approve), ("complete_tasks", ToolPolicy::Auto)], "").await.unwrap();
    assert_eq!(effective(&settings, "add_tasks"), ToolPolicy::Approve);
    assert_eq!(effective(&settings, "complete_tasks"), ToolPolicy::Deny, "never looser");
    assert_eq!(effective(&settings, "update_tasks"), ToolPolicy::Approve);
    assert_eq!(effective(&settings, "list_tasks"), ToolPolicy::Auto);

    // One task waits for her word, and for nobody else's.
    let asked = ann.say("", "add buy milk").await;
    assert!(ann.list().await.is_empty());
    let question = asked.approval_requested.as_ref().unwrap_or_else(|| panic!("{asked:?}"));
    assert_eq!(question.tool, "add_tasks");
    decide(&ann, decision(&asked, ApprovalDecision::Approve)).await.unwrap();
    assert_eq!(ann.titles().await, ["buy milk"]);
    bob.say("", "add buy bread").await;
    assert_eq!(bob.titles().await, ["buy bread"]);
    let renaming = ann.say("", "rename buy milk to buy oat milk").await;
    let question = renaming.approval_requested.as_ref().unwrap_or_else(|| panic!("{renaming:?}"));
    assert!(question.preview.contains("title \"buy milk\" -> \"buy oat milk\""), "{}", question.preview);
    assert_eq!(question.affected[0].changes[0].field, "title");
    ann.say("", "complete buy milk").await;
    assert!(!ann.list().await[0].completed, "the operator does not let it");

    // A yes to what is forbidden meanwhile is no yes any more.
    let asked = ann.say("", "add buy eggs").await;
    set(&ann, &[("add_tasks", ToolPolicy::Deny)], &settings.etag).await.unwrap();
    let _ = decide(&ann, decision(&asked, ApprovalDecision::Approve)).await;
    assert_eq!(ann.titles().await, ["buy milk"]);

    let stale = set(&ann, &[], &settings.etag).await;
    assert_eq!(reason(stale), refused(Code::Aborted, "ETAG_MISMATCH"));
    for (tool, policy) in [("purge_tasks", ToolPolicy::Deny), ("list_tasks", ToolPolicy::Approve)] {
        assert_eq!(reason(set(&ann, &[(tool, policy)], "").await), refused(Code::InvalidArgument, "INVALID_FIELDS"));
    }
}
